"""The four scenarios, after MLPerf Inference, each a function of a linker and its mentions.

Single stream: one mention a query, the next when the last is answered. Multi-stream: the same with several mentions a
query. Offline: all mentions at once, several times. Server: mentions arrive at random (a Poisson process) whether or
not the linker is ready for them, and a latency counts from the arrival, so that waiting shows.

Nothing here keeps a mention or a link: what is recorded are times, lengths and counts.
"""

from __future__ import annotations

import itertools
import math
import time
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any, Literal, Protocol

from cielo.records import Link, Mention
from cielo.text.language import sentence

Scenario = Literal["single-stream", "multi-stream", "offline", "server"]
EndedBy = Literal["samples", "budget"]
STAGES = (sentence("tokenize"), sentence("generate"), sentence("match"), sentence("embed"), sentence("search"))
_WARM_UP_SHARE = 0.25  # of a scenario's budget, at most, after the first query
_FIRST_PASS = 16  # mentions of the first warm-up pass of the offline scenario
_GROWTH = 4
_TICK = 1e-9  # seconds; nothing took less
_OVERTIME = 1.0  # budgets that a server may take to answer what has arrived


class Links(Protocol):
    """What the scenarios need of a linker."""

    def link(self, mentions: Sequence[Mention], /) -> list[Link]:
        """Link mentions, in one batch."""


@dataclass(frozen=True, slots=True)
class Clock:
    """Where the times come from: seconds that pass, a way to wait, and seconds of processor time of this process."""

    now: Callable[[], float] = time.perf_counter
    sleep: Callable[[float], None] = time.sleep
    processor: Callable[[], float] = time.process_time


@dataclass(frozen=True, slots=True)
class Limits:
    """When a scenario ends.

    Attributes:
        seconds: its budget; queries begun within it are finished.
        queries: the most queries.
        least: so many queries are made even where the budget is spent.
        repeats: the most repeats of the offline scenario, of which three are made even where the budget is spent.
        warmup: the most queries before those that count.
    """

    seconds: float = 10.0
    queries: int = 1000
    least: int = 5
    repeats: int = 9
    warmup: int = 3

    def __post_init__(self) -> None:
        if not (math.isfinite(self.seconds) and self.seconds > 0):
            raise ValueError(f"got a budget of {self.seconds} seconds, expected more than 0")
        for name in ("queries", "least", "repeats", "warmup"):
            if getattr(self, name) < 1:
                raise ValueError(f"got {name} {getattr(self, name)}, expected at least 1")

    @property
    def least_queries(self) -> int:
        """The queries that are made even where the budget is spent."""
        return min(self.least, self.queries)

    @property
    def least_repeats(self) -> int:
        """The repeats that are made even where the budget is spent."""
        return min(3, self.repeats)


@dataclass(frozen=True, slots=True)
class Call:
    """One call of the linker: seconds since the scenario began, and the seconds of each stage in it."""

    begun: float
    ended: float
    mentions: int
    stages: dict[str, float]

    @property
    def seconds(self) -> float:
        """How long it took."""
        return self.ended - self.begun

    @property
    def throughput(self) -> float:
        """Mentions a second."""
        return self.mentions / max(self.seconds, _TICK)

    @property
    def other(self) -> float:
        """The seconds that no stage accounts for; 0 where stages that ran at the same time add up to more."""
        return max(0.0, self.seconds - sum(self.stages.values()))


@dataclass(frozen=True, slots=True)
class Query:
    """One query: when it should have begun, and which call answered it; None where none did before the end."""

    intended: float
    call: int | None


@dataclass(frozen=True, slots=True)
class ScenarioOutcome:
    """What a scenario recorded, warm-up excluded.

    Attributes:
        settings: what the scenario was run with, for the reader of a report.
        seconds: from its beginning to its last answer.
        processor_seconds: of all threads of the process in that time.
        ended_by: whether it ran to its number of ``samples``, or its ``budget`` ended it.
        methods: how many links were found in which way.
        warmup: mentions linked before those that count.
    """

    scenario: Scenario
    settings: dict[str, int | float]
    calls: tuple[Call, ...]
    queries: tuple[Query, ...]
    seconds: float
    processor_seconds: float
    ended_by: EndedBy
    methods: dict[str, int]
    warmup: int

    @property
    def mentions(self) -> int:
        """The mentions that were linked."""
        return sum(call.mentions for call in self.calls)

    @property
    def throughput(self) -> float:
        """Mentions a second, over the whole scenario."""
        return self.mentions / max(self.seconds, _TICK)

    def latencies(self) -> list[float]:
        """Return each query's seconds from its intended start to its answer; infinite where it has none."""
        return [
            math.inf if query.call is None else self.calls[query.call].ended - query.intended for query in self.queries
        ]


@dataclass(slots=True)
class _Recorder:
    """Calls the linker, and keeps the times and the counts of what it answers."""

    linker: Links
    clock: Clock
    start: float = 0.0
    processor: float = 0.0
    calls: list[Call] = field(default_factory=list)
    methods: Counter[str] = field(default_factory=Counter)

    def begin(self) -> None:
        """Start to count from now."""
        self.processor = self.clock.processor()
        self.start = self.clock.now()

    def elapsed(self) -> float:
        """The seconds since it began."""
        return self.clock.now() - self.start

    def call(self, mentions: Sequence[Mention]) -> Call:
        """Link one batch."""
        begun = self.elapsed()
        links = self.linker.link(mentions)
        call = Call(begun, self.elapsed(), len(mentions), stage_seconds(links))
        self.methods.update(link.method for link in links)
        self.calls.append(call)
        return call

    def outcome(self, scenario: Scenario, queries: Sequence[Query], **rest: Any) -> ScenarioOutcome:
        """Return what was recorded."""
        return ScenarioOutcome(
            scenario=scenario,
            calls=tuple(self.calls),
            queries=tuple(queries),
            seconds=self.calls[-1].ended,
            processor_seconds=self.clock.processor() - self.processor,
            methods=dict(sorted(self.methods.items())),
            **rest,
        )


def stage_seconds(links: Sequence[Link]) -> dict[str, float]:
    """Return the seconds of each stage: of a batch, each of its links stands for an equal share."""
    return {
        stage: sum(getattr(link.timings, stage) / max(1, link.timings.mentions) for link in links) for stage in STAGES
    }


def cycle(mentions: Sequence[Mention], size: int, start: int = 0) -> Iterator[list[Mention]]:
    """Yield groups of `size` mentions without end, from number `start`; after the last comes the first again."""
    numbers = itertools.count(start)
    while True:
        yield [mentions[number % len(mentions)] for number in itertools.islice(numbers, size)]


def stream(
    linker: Links, mentions: Sequence[Mention], limits: Limits, *, size: int = 1, clock: Clock
) -> ScenarioOutcome:
    """Run queries of `size` mentions, one after the other (single stream: 1; multi-stream: more).

    A query holds no mention twice: where there are fewer than `size` mentions, it holds these.
    """
    size = min(size, len(mentions))
    warmup = _warm_up(linker, itertools.islice(cycle(mentions, size), limits.warmup), limits, clock)
    recorder = _Recorder(linker, clock)
    queries: list[Query] = []
    recorder.begin()
    for group in itertools.islice(cycle(mentions, size, limits.warmup * size), limits.queries):
        if len(queries) >= limits.least_queries and recorder.elapsed() >= limits.seconds:
            break
        queries.append(Query(recorder.call(group).begun, len(queries)))
    return recorder.outcome(
        "single-stream" if size == 1 else "multi-stream",
        queries,
        settings={"mentions_per_query": size},
        ended_by="samples" if len(queries) == limits.queries else "budget",
        warmup=warmup,
    )


def offline(linker: Links, mentions: Sequence[Mention], limits: Limits, *, clock: Clock) -> ScenarioOutcome:
    """Link all mentions at once, several times; only the first of them where all would take longer than the budget."""
    rate, warmup = measure_rate(linker, mentions, limits, clock=clock)
    affordable = int(rate * limits.seconds / limits.least_repeats)
    batch = mentions[: max(affordable, _FIRST_PASS)]
    recorder = _Recorder(linker, clock)
    queries: list[Query] = []
    recorder.begin()
    while len(queries) < limits.repeats:
        if len(queries) >= limits.least_repeats and recorder.elapsed() >= limits.seconds:
            break
        queries.append(Query(recorder.call(batch).begun, len(queries)))
    whole = len(queries) == limits.repeats and len(batch) == len(mentions)
    return recorder.outcome(
        "offline",
        queries,
        settings={"mentions_per_repeat": len(batch), "mentions_of_workload": len(mentions)},
        ended_by="samples" if whole else "budget",
        warmup=warmup,
    )


def measure_rate(linker: Links, mentions: Sequence[Mention], limits: Limits, *, clock: Clock) -> tuple[float, int]:
    """Link more and more mentions at once, within a share of the budget: the offline scenario's warm-up.

    Returns:
        The mentions a second of the last and largest pass, and the mentions linked in all passes.
    """
    size, linked = _FIRST_PASS, 0
    while True:
        batch = mentions[:size]
        begun = clock.now()
        linker.link(batch)
        took = max(clock.now() - begun, _TICK)
        linked += len(batch)
        if len(batch) == len(mentions) or took * _GROWTH > limits.seconds * _WARM_UP_SHARE:
            return len(batch) / took, linked
        size *= _GROWTH


def server(
    linker: Links,
    mentions: Sequence[Mention],
    limits: Limits,
    *,
    rate: float,
    most: int,
    seed: int,
    clock: Clock,
) -> ScenarioOutcome:
    """Answer mentions that arrive at random: one worker takes all that wait, up to `most`, as soon as it is free.

    Arrivals are drawn beforehand and never wait for the worker (an open loop). Where the linker is too slow, they
    pile up; what is not answered after twice the budget never is, and counts as infinitely long.
    """
    arrivals, complete = draw_arrivals(rate, limits, seed)
    most = min(most, len(mentions))
    warmup = _warm_up(linker, itertools.islice(cycle(mentions, 1), limits.warmup), limits, clock)
    source = (group[0] for group in cycle(mentions, 1, limits.warmup))
    recorder = _Recorder(linker, clock)
    queries: list[Query] = []
    recorder.begin()
    while len(queries) < len(arrivals) and not _overdue(recorder, limits, len(queries)):
        if (wait := arrivals[len(queries)] - recorder.elapsed()) > 0:
            clock.sleep(wait)
        arrived = bisect_right(arrivals, recorder.elapsed(), lo=len(queries) + 1)
        taken = arrivals[len(queries) : min(arrived, len(queries) + most)]
        recorder.call(list(itertools.islice(source, len(taken))))
        queries.extend(Query(arrival, len(recorder.calls) - 1) for arrival in taken)
    unanswered = [Query(arrival, None) for arrival in arrivals[len(queries) :]]
    return recorder.outcome(
        "server",
        queries + unanswered,
        settings={"rate": rate, "most_per_batch": most, "seed": seed, "unanswered": len(unanswered)},
        ended_by="samples" if complete and not unanswered else "budget",
        warmup=warmup,
    )


def _overdue(recorder: _Recorder, limits: Limits, answered: int) -> bool:
    return answered >= limits.least_queries and recorder.elapsed() >= limits.seconds * (1 + _OVERTIME)


def draw_arrivals(rate: float, limits: Limits, seed: int) -> tuple[list[float], bool]:
    """Draw the times of a Poisson process: the gaps are exponential, `rate` arrivals a second on average.

    Returns:
        The times in order, those of the budget and of the most queries; and whether the latter ended them.
    """
    rng = Random(seed)  # noqa: S311  no secret
    times: list[float] = []
    at = 0.0
    while len(times) < limits.queries:
        at += rng.expovariate(rate)
        if at > limits.seconds and len(times) >= limits.least_queries:
            return times, False
        times.append(at)
    return times, True


def _warm_up(linker: Links, groups: Iterator[list[Mention]], limits: Limits, clock: Clock) -> int:
    """Run queries that are not recorded, within a share of the budget, the first in any case; return their mentions."""
    begun, linked = clock.now(), 0
    for group in groups:
        linker.link(group)
        linked += len(group)
        if clock.now() - begun > limits.seconds * _WARM_UP_SHARE:
            break
    return linked
