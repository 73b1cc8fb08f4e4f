from __future__ import annotations

from math import comb

import msgspec
import numpy as np
import pytest
from cielo.workbench.evaluation import bootstrap
from cielo.workbench.evaluation.bootstrap import accuracy_interval, compare, documents, mcnemar_p_value, ratio_interval
from cielo.workbench.evaluation.records import Outcome
from hypothesis import given, settings
from hypothesis import strategies as st
from outcome_fakes import outcome, outcomes
from scipy import stats


def run_of(answers: list[bool], documents: list[str | None] | None = None) -> list[Outcome]:
    places = documents or [None] * len(answers)
    return [
        outcome("T68" if right else "I10", annotated={"document": place})
        for right, place in zip(answers, places, strict=True)
    ]


def test_the_interval_of_mentions_is_scipy_s() -> None:
    values = np.random.default_rng(3).random(200) < 0.7
    found = ratio_interval(values.tolist(), resamples=9_999, seed=1)
    expected = stats.bootstrap(
        (values,), np.mean, n_resamples=9_999, method="percentile", rng=np.random.default_rng(5)
    ).confidence_interval
    assert found.value == values.mean()
    assert found.low == pytest.approx(expected.low, abs=0.006)
    assert found.high == pytest.approx(expected.high, abs=0.006)
    deviation = np.sqrt(found.value * (1 - found.value) / len(values))
    assert (found.high - found.low) / (2 * 1.96) == pytest.approx(deviation, rel=0.05)


def test_the_interval_of_documents_is_scipy_s() -> None:
    rng = np.random.default_rng(4)
    sizes = rng.integers(1, 30, size=40)
    rights = rng.binomial(sizes, rng.beta(2, 2, size=40))
    parts = [float(place < right) for size, right in zip(sizes, rights, strict=True) for place in range(size)]
    names = [f"d{number}" for number, size in enumerate(sizes) for _ in range(size)]
    found = ratio_interval(parts, clusters=names, resamples=9_999)
    expected = stats.bootstrap(
        (rights, sizes),
        lambda right, size, axis=-1: right.sum(axis=axis) / size.sum(axis=axis),
        paired=True,
        vectorized=True,
        n_resamples=9_999,
        method="percentile",
        rng=np.random.default_rng(5),
    ).confidence_interval
    assert (found.count, found.clusters) == (len(parts), 40)
    assert found.low == pytest.approx(expected.low, abs=0.01)
    assert found.high == pytest.approx(expected.high, abs=0.01)
    alone = ratio_interval(parts, resamples=9_999)
    assert found.high - found.low > 1.5 * (alone.high - alone.low)  # mentions of a document are alike here


def test_a_single_document_leaves_nothing_to_vary() -> None:
    found = accuracy_interval(run_of([True, False, False, True], ["a"] * 4))
    assert (found.value, found.low, found.high, found.clusters) == (50.0, 50.0, 50.0, 1)


def test_documents_are_drawn_whole_and_strangers_alone() -> None:
    assert documents(run_of([True] * 4, ["a", None, "a", None])) == ["a", 1, "a", 3]
    found = accuracy_interval(run_of([True] * 4, ["a", None, "a", None]))
    assert (found.count, found.clusters, found.low, found.high) == (4, 3, 100.0, 100.0)


def test_a_share_of_some_mentions_is_a_ratio() -> None:
    run = [*run_of([True, False, True]), *[outcome(None)] * 5]
    found = accuracy_interval(run, among=lambda one: one.code is not None)
    assert found.value == pytest.approx(200 / 3)
    assert 0 < found.resamples < 2_000  # some resamples hold no answer at all
    assert 0 <= found.low <= found.value <= found.high <= 100


def test_the_interval_covers_the_truth_as_often_as_it_says() -> None:
    rng = np.random.default_rng(8)
    hits = 0
    for seed in range(200):
        sizes = rng.integers(2, 10, size=60)
        chances = rng.beta(3, 1.5, size=60)
        parts = np.concatenate([rng.random(size) < chance for size, chance in zip(sizes, chances, strict=True)])
        found = ratio_interval(parts.tolist(), clusters=np.repeat(range(60), sizes).tolist(), resamples=400, seed=seed)
        hits += found.low <= 3 / 4.5 <= found.high
    assert 180 <= hits <= 198  # 190 wanted; percentile intervals of 60 documents are a little narrow


def test_chunks_make_no_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    run, other = run_of([True, False] * 20), run_of([True, True, False, False] * 10)
    whole = accuracy_interval(run), compare(run, other)
    monkeypatch.setattr(bootstrap, "_AT_ONCE", 1_000)
    parted = accuracy_interval(run), compare(run, other)
    assert whole == parted


@settings(deadline=None)
@given(st.lists(outcomes(), min_size=1, max_size=12), st.integers(0, 5))
def test_one_seed_gives_one_interval_about_the_value(run: list[Outcome], seed: int) -> None:
    found = accuracy_interval(run, resamples=50, seed=seed)
    assert found == accuracy_interval(run, resamples=50, seed=seed)
    assert 0 <= found.low <= found.high <= 100
    assert msgspec.json.decode(msgspec.json.encode(found), type=type(found)) == found


def test_resampling_ten_thousand_mentions_holds_few_draws_at_once() -> None:
    found = ratio_interval([1.0, 0.0] * 5_000)
    assert (found.resamples, found.clusters, found.value) == (2_000, 10_000, 0.5)
    assert (found.high - found.low) / (2 * 1.96) == pytest.approx(0.005, rel=0.1)


@pytest.mark.parametrize(
    ("values", "options"),
    [
        ([], {}),
        ([1.0], {"wholes": [0.0]}),
        ([1.0], {"wholes": [1.0, 1.0]}),
        ([1.0], {"clusters": ["a", "b"]}),
        ([1.0], {"resamples": 0}),
        ([1.0], {"level": 1.0}),
    ],
)
def test_what_has_no_interval_is_refused(values: list[float], options: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="expected"):
        ratio_interval(values, **options)  # type: ignore[arg-type]


def test_a_comparison_by_hand() -> None:
    first = run_of([True, True, True, False, False, False])
    second = run_of([True, False, False, True, False, False])
    found = compare(first, second)
    assert (found.first, found.second) == (50.0, pytest.approx(100 / 3))
    assert found.difference == pytest.approx(-100 / 6)
    assert (found.only_first, found.only_second, found.both, found.neither) == (2, 1, 1, 2)
    assert found.mcnemar_p_value == 1.0
    assert found.p_value == 1.0  # with three differing mentions, every arrangement is at least as far from nought
    assert found.low <= found.difference <= found.high
    assert msgspec.json.decode(msgspec.json.encode(found), type=type(found)) == found


def test_a_run_does_not_differ_from_itself() -> None:
    run = run_of([True, False, True], ["a", "a", "b"])
    found = compare(run, run)
    assert (found.difference, found.low, found.high, found.p_value, found.mcnemar_p_value) == (0.0, 0.0, 0.0, 1.0, 1.0)


def test_the_randomisation_test_is_scipy_s() -> None:
    rng = np.random.default_rng(6)
    first, second = (rng.random(300) < 0.6).tolist(), (rng.random(300) < 0.68).tolist()
    names: list[str | None] = [f"d{number // 4}" for number in range(300)]
    found = compare(run_of(first, names), run_of(second, names), resamples=9_999)
    sums = (np.array(second, dtype=float) - np.array(first)).reshape(75, 4).sum(axis=1)
    expected = stats.permutation_test(
        (sums,), lambda one, axis=-1: one.sum(axis=axis), permutation_type="samples", vectorized=True,
        n_resamples=9_999, rng=np.random.default_rng(7),
    )  # fmt: skip
    assert found.p_value == pytest.approx(expected.pvalue, abs=0.015)
    assert found.clusters == 75


def test_chance_alone_is_seldom_found_significant() -> None:
    rng = np.random.default_rng(9)
    names: list[str | None] = [f"d{number // 5}" for number in range(100)]
    found = []
    for seed in range(200):
        # Whole documents are easier for one run or the other: independent mentions would be a wrong assumption.
        sides = np.repeat(rng.random(20) < 0.5, 5)
        first, second = sides & (rng.random(100) < 0.8), ~sides & (rng.random(100) < 0.8)
        comparison = compare(run_of(first.tolist(), names), run_of(second.tolist(), names), resamples=400, seed=seed)
        found.append((comparison.p_value < 0.05, comparison.mcnemar_p_value < 0.05))
    randomised, mcnemar = np.mean(found, axis=0)
    assert randomised <= 0.09
    assert mcnemar > 0.2


@settings(deadline=None)
@given(st.integers(0, 60), st.integers(0, 60))
def test_mcnemar_s_exact_test_is_a_binomial_s(only_first: int, only_second: int) -> None:
    found = mcnemar_p_value(only_first, only_second)
    if only_first + only_second:
        assert found == pytest.approx(stats.binomtest(only_first, only_first + only_second).pvalue)
    assert found == mcnemar_p_value(only_second, only_first)
    assert 0 < found <= 1


def test_mcnemar_s_test_with_many_mentions_and_by_hand() -> None:
    assert mcnemar_p_value(0, 0) == 1.0
    assert mcnemar_p_value(0, 5) == 2 / 32
    assert mcnemar_p_value(1, 6) == 2 * (1 + comb(7, 1)) / 2**7
    assert mcnemar_p_value(4_900, 5_100) == pytest.approx(stats.binomtest(4_900, 10_000).pvalue)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ([], []),
        (run_of([True]), run_of([True, True])),
        (run_of([True], ["a"]), run_of([True], ["b"])),
        ([outcome("T68", text="fiebre")], [outcome("T68", text="tos")]),
    ],
)
def test_runs_on_other_mentions_are_not_compared(first: list[Outcome], second: list[Outcome]) -> None:
    with pytest.raises(ValueError, match="the same mentions") as raised:
        compare(first, second)
    assert "fiebre" not in str(raised.value)
