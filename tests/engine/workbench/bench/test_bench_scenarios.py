from __future__ import annotations

import itertools
import math
from typing import Any

import pytest
from bench_fakes import FakeLinker, FakeTime, make_link, make_mentions
from cielo.records import Timings
from cielo.workbench.bench import scenarios
from cielo.workbench.bench.scenarios import (
    STAGES,
    Limits,
    ScenarioOutcome,
    cycle,
    draw_arrivals,
    offline,
    server,
    stage_seconds,
    stream,
)
from hypothesis import given
from hypothesis import strategies as st

MENTIONS = make_mentions(20)


def run_server(
    linker: FakeLinker, limits: Limits, *, rate: float = 1.0, most: int = 4, seed: int = 0
) -> ScenarioOutcome:
    return server(linker, MENTIONS, limits, rate=rate, most=most, seed=seed, clock=linker.time.clock())


@pytest.fixture
def linker() -> FakeLinker:
    return FakeLinker(FakeTime())


@pytest.fixture
def arrivals(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Arrivals that a test sets, in the place of drawn ones."""
    times: list[float] = []
    monkeypatch.setattr(scenarios, "draw_arrivals", lambda *_: (times, True))
    return times


class TestLimits:
    @pytest.mark.parametrize("change", [{"seconds": 0}, {"seconds": -1}, {"seconds": math.nan}, {"seconds": math.inf}])
    def test_a_budget_is_more_than_nothing(self, change: dict[str, Any]) -> None:
        with pytest.raises(ValueError, match="expected more than 0"):
            Limits(**change)

    @pytest.mark.parametrize("name", ["queries", "least", "repeats", "warmup"])
    def test_counts_are_at_least_one(self, name: str) -> None:
        with pytest.raises(ValueError, match=f"got {name} 0, expected at least 1"):
            Limits(**{name: 0})

    def test_what_is_asked_for_bounds_what_is_made_in_any_case(self) -> None:
        assert (Limits(queries=2).least_queries, Limits(repeats=1).least_repeats) == (2, 1)
        assert (Limits().least_queries, Limits().least_repeats) == (5, 3)


@given(st.integers(1, 30), st.integers(0, 50), st.integers(1, 12))
def test_a_cycle_goes_round_in_order(count: int, start: int, size: int) -> None:
    groups = list(itertools.islice(cycle(make_mentions(count), size, start), 4))
    texts = [mention.text.split()[1] for group in groups for mention in group]
    assert [len(group) for group in groups] == [size] * 4
    assert texts == [str(number % count) for number in range(start, start + 4 * size)]


class TestStreams:
    def test_a_single_stream_links_one_mention_after_the_other(self, linker: FakeLinker) -> None:
        outcome = stream(linker, MENTIONS, Limits(seconds=100, queries=7, warmup=3), clock=linker.time.clock())
        assert outcome.scenario == "single-stream"
        assert outcome.latencies() == [0.125] * 7
        assert [query.intended for query in outcome.queries] == [0.125 * number for number in range(7)]
        assert (outcome.ended_by, outcome.mentions, outcome.seconds, outcome.throughput) == ("samples", 7, 0.875, 8.0)
        assert outcome.processor_seconds == 2 * 0.875
        assert linker.time.slept == []

    def test_warm_up_is_not_among_the_samples(self) -> None:
        costs = itertools.chain([0.5, 0.5, 0.5], itertools.repeat(0.25))
        linker = FakeLinker(FakeTime(), lambda _: next(costs))
        outcome = stream(linker, MENTIONS, Limits(seconds=100, queries=4, warmup=3), clock=linker.time.clock())
        assert outcome.latencies() == [0.25] * 4
        assert outcome.seconds == 1.0
        assert outcome.warmup == 3
        assert [batch[0] for batch in linker.batches] == MENTIONS[:7], "warm-up has mentions of its own"
        assert sum(outcome.methods.values()) == 4

    def test_a_slow_warm_up_ends_early_and_leaves_the_samples_as_they_are(self) -> None:
        linker = FakeLinker(FakeTime(), lambda _: 3.0)
        outcome = stream(linker, MENTIONS, Limits(seconds=10, queries=4, warmup=3), clock=linker.time.clock())
        assert outcome.warmup == 1
        assert [batch[0] for batch in linker.batches[1:]] == MENTIONS[3:7]

    def test_the_budget_ends_a_stream(self, linker: FakeLinker) -> None:
        outcome = stream(linker, MENTIONS, Limits(seconds=1.0, queries=1000, least=2), clock=linker.time.clock())
        assert (len(outcome.queries), outcome.ended_by) == (8, "budget")

    def test_the_least_queries_are_made_beyond_the_budget(self) -> None:
        linker = FakeLinker(FakeTime(), lambda _: 4.0)
        outcome = stream(linker, MENTIONS, Limits(seconds=1.0, least=3), clock=linker.time.clock())
        assert (len(outcome.queries), outcome.ended_by, outcome.seconds) == (3, "budget", 12.0)

    def test_a_multi_stream_links_several_mentions_a_query(self, linker: FakeLinker) -> None:
        outcome = stream(linker, MENTIONS, Limits(seconds=100, queries=5), size=8, clock=linker.time.clock())
        assert outcome.scenario == "multi-stream"
        assert outcome.settings == {"mentions_per_query": 8}
        assert outcome.latencies() == [1.0] * 5
        assert (outcome.mentions, outcome.throughput) == (40, 8.0)

    def test_no_query_holds_a_mention_twice(self, linker: FakeLinker) -> None:
        limits = Limits(seconds=100, queries=5)
        outcome = stream(linker, MENTIONS[:3], limits, size=8, clock=linker.time.clock())
        assert outcome.settings == {"mentions_per_query": 3}
        assert all(len(set(batch)) == 3 for batch in linker.batches)


class TestOffline:
    def test_all_mentions_are_linked_at_once_several_times(self, linker: FakeLinker) -> None:
        outcome = offline(linker, MENTIONS, Limits(seconds=100, repeats=4), clock=linker.time.clock())
        assert [call.mentions for call in outcome.calls] == [20] * 4
        assert [call.throughput for call in outcome.calls] == [8.0] * 4
        assert outcome.ended_by == "samples"
        assert outcome.settings == {"mentions_per_repeat": 20, "mentions_of_workload": 20}

    def test_repeats_end_with_the_budget_but_there_are_three(self) -> None:
        for seconds, repeats in ((11.0, 5), (8.0, 4), (7.5, 3)):
            linker = FakeLinker(FakeTime())  # a repeat takes 2.5 seconds
            outcome = offline(linker, MENTIONS, Limits(seconds=seconds), clock=linker.time.clock())
            assert (len(outcome.queries), outcome.ended_by) == (repeats, "budget"), seconds

    def test_a_slow_linker_gets_as_many_mentions_as_the_budget_affords(self) -> None:
        mentions = make_mentions(1000)
        linker = FakeLinker(FakeTime())  # eight mentions a second
        outcome = offline(linker, mentions, Limits(seconds=30), clock=linker.time.clock())
        assert {len(batch) for batch in linker.batches[1:]} == {80}, "30 seconds for three repeats"
        assert outcome.settings == {"mentions_per_repeat": 80, "mentions_of_workload": 1000}
        assert (len(outcome.queries), outcome.ended_by, outcome.warmup) == (3, "budget", 16)

    def test_a_very_slow_linker_still_gets_a_batch(self) -> None:
        linker = FakeLinker(FakeTime(), lambda mentions: 2.0 * mentions)
        outcome = offline(linker, make_mentions(1000), Limits(seconds=10), clock=linker.time.clock())
        assert [call.mentions for call in outcome.calls] == [16] * 3

    def test_warm_up_grows_while_it_is_cheap(self) -> None:
        linker = FakeLinker(FakeTime(), lambda mentions: mentions / 1000)
        outcome = offline(linker, make_mentions(2000), Limits(seconds=10, repeats=1), clock=linker.time.clock())
        assert [len(batch) for batch in linker.batches] == [16, 64, 256, 1024, 2000]
        assert outcome.warmup == 16 + 64 + 256 + 1024
        assert [call.mentions for call in outcome.calls] == [2000]


class TestServer:
    def test_latency_counts_from_the_arrival_and_batches_take_what_waits(
        self, linker: FakeLinker, arrivals: list[float]
    ) -> None:
        linker.cost = lambda mentions: 0.5 + 0.25 * mentions
        arrivals += [1.0, 1.25, 1.5, 3.5, 10.0]
        outcome = run_server(linker, Limits(seconds=100))
        # 1.0: one alone until 1.75; then the two that came in the meantime, until 2.75; the others found it free.
        assert [(call.begun, call.ended, call.mentions) for call in outcome.calls] == [
            (1.0, 1.75, 1), (1.75, 2.75, 2), (3.5, 4.25, 1), (10.0, 10.75, 1),
        ]  # fmt: skip
        assert outcome.latencies() == [0.75, 1.5, 1.25, 0.75, 0.75]
        assert linker.time.slept == [1.0, 0.75, 5.75]
        assert (outcome.ended_by, outcome.settings["unanswered"]) == ("samples", 0)

    def test_a_batch_holds_no_more_than_allowed(self, linker: FakeLinker, arrivals: list[float]) -> None:
        linker.cost = lambda _: 1.0
        arrivals += [0.0, 0.25, 0.25, 0.25, 0.5, 0.5, 0.5]
        outcome = run_server(linker, Limits(seconds=100), most=4)
        assert [call.mentions for call in outcome.calls] == [1, 4, 2]
        assert outcome.latencies() == [1.0, 1.75, 1.75, 1.75, 1.5, 2.5, 2.5]

    def test_waiting_shows_where_the_linker_is_too_slow(self, linker: FakeLinker, arrivals: list[float]) -> None:
        linker.cost = lambda _: 1.0
        arrivals += [0.5 * number for number in range(12)]
        outcome = run_server(linker, Limits(seconds=100), most=1)
        # Two arrive a second and one is answered: each waits half a second longer than the one before.
        assert outcome.latencies() == [1.0 + 0.5 * number for number in range(12)]
        assert [call.seconds for call in outcome.calls] == [1.0] * 12, "the linker itself is no slower"
        assert linker.time.slept == [], "no arrival waits for the linker"

    def test_what_is_not_answered_after_twice_the_budget_never_is(
        self, linker: FakeLinker, arrivals: list[float]
    ) -> None:
        linker.cost = lambda _: 1.0
        arrivals += [0.25 * number for number in range(16)]
        outcome = run_server(linker, Limits(seconds=4, least=2), most=1)
        assert outcome.latencies() == [1.0 + 0.75 * number for number in range(8)] + [math.inf] * 8
        assert (outcome.ended_by, outcome.settings["unanswered"], outcome.mentions) == ("budget", 8, 8)

    def test_the_least_queries_are_answered_however_long_it_takes(
        self, linker: FakeLinker, arrivals: list[float]
    ) -> None:
        linker.cost = lambda _: 50.0
        arrivals += [0.25 * number for number in range(16)]
        outcome = run_server(linker, Limits(seconds=4, least=3), most=1)
        assert sum(math.isfinite(latency) for latency in outcome.latencies()) == 3

    def test_warm_up_is_not_among_the_samples(self, linker: FakeLinker, arrivals: list[float]) -> None:
        arrivals += [1.0, 2.0]
        outcome = run_server(linker, Limits(seconds=100, warmup=3))
        assert (outcome.warmup, outcome.mentions) == (3, 2)
        assert [batch[0] for batch in linker.batches] == MENTIONS[:5]
        assert outcome.queries[0].intended == 1.0
        assert outcome.calls[0].begun == pytest.approx(1.0)

    def test_drawn_arrivals_are_those_that_are_answered(self, linker: FakeLinker) -> None:
        outcome = run_server(linker, Limits(seconds=20), rate=2.0, seed=3)
        assert [query.intended for query in outcome.queries] == draw_arrivals(2.0, Limits(seconds=20), 3)[0]
        assert outcome.settings == {"rate": 2.0, "most_per_batch": 4, "seed": 3, "unanswered": 0}
        assert outcome.ended_by == "budget"
        for query, latency in zip(outcome.queries, outcome.latencies(), strict=True):
            assert latency >= 0.125 - 1e-9, query


class TestArrivals:
    @given(st.floats(0.1, 500), st.integers(0, 100), st.integers(1, 400), st.integers(1, 8))
    def test_they_rise_and_keep_the_limits(self, rate: float, seed: int, queries: int, least: int) -> None:
        limits = Limits(seconds=5.0, queries=queries, least=least)
        times, complete = draw_arrivals(rate, limits, seed)
        assert times == sorted(times)
        assert limits.least_queries <= len(times) <= queries
        assert complete == (len(times) == queries)
        assert all(time <= 5.0 for time in times[limits.least_queries :])
        assert draw_arrivals(rate, limits, seed) == (times, complete)

    def test_they_are_a_poisson_process_of_the_rate(self) -> None:
        times, _ = draw_arrivals(50.0, Limits(seconds=1e6, queries=20_000), 1)
        gaps = [second - first for first, second in itertools.pairwise(times)]
        mean = sum(gaps) / len(gaps)
        assert mean == pytest.approx(1 / 50, rel=0.03)
        assert sum(gap > mean for gap in gaps) / len(gaps) == pytest.approx(math.exp(-1), rel=0.03)
        deviation = math.sqrt(sum((gap - mean) ** 2 for gap in gaps) / len(gaps))
        assert deviation == pytest.approx(mean, rel=0.05), "as wide as it is long: exponential"

    def test_another_seed_draws_others(self) -> None:
        assert draw_arrivals(5.0, Limits(), 1) != draw_arrivals(5.0, Limits(), 2)


class TestStages:
    def test_the_links_of_a_batch_share_its_seconds(self) -> None:
        first = Timings(tokenize=0.5, generate=4.0, search=1.0, mentions=4)
        second = Timings(generate=1.0, match=0.25, mentions=1)
        links = [make_link(mention, first) for mention in MENTIONS[:4]] + [make_link(MENTIONS[4], second)]
        assert stage_seconds(links) == {"tokenize": 0.5, "generate": 5.0, "match": 0.25, "embed": 0.0, "search": 1.0}
        assert tuple(stage_seconds([])) == STAGES

    def test_a_call_knows_what_no_stage_accounts_for(self, linker: FakeLinker) -> None:
        call = stream(linker, MENTIONS, Limits(queries=1), size=8, clock=linker.time.clock()).calls[0]
        assert call.stages["generate"] == pytest.approx(0.9)
        assert call.other == pytest.approx(0.05)

    def test_stages_side_by_side_leave_nothing_over(self) -> None:
        assert scenarios.Call(0.0, 1.0, 4, {"generate": 1.8}).other == 0.0


def test_methods_are_counted(linker: FakeLinker) -> None:
    outcome = offline(linker, MENTIONS, Limits(seconds=100, repeats=1), clock=linker.time.clock())
    assert outcome.methods == {"exact": 10, "none": 10}
