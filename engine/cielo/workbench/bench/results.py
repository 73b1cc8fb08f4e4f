"""What a run of the harness found, as records: what the JSON holds, and what table and page are made of.

They hold times, lengths and counts, and none of the texts. Times are in seconds, memory in bytes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cielo.generation.plan import ThreadPlan
from cielo.records import Provenance
from cielo.workbench.bench.scenarios import STAGES, EndedBy, Scenario, ScenarioOutcome
from cielo.workbench.bench.statistics import Histogram, Latencies, Spread, histogram, latencies, percentile, spread
from cielo.workbench.bench.system import Memory, System
from cielo.workbench.records import decode, encode

SCHEMA = 1
_DIGITS = 6  # of a second: a microsecond
_CALL_COLUMNS = ("begun", "ended", "mentions", *STAGES)
_QUERY_COLUMNS = ("intended", "call")


@dataclass(frozen=True, slots=True)
class RunnerSettings:
    """What was asked for: see `cielo.workbench.bench.run.BenchSettings`."""

    scenarios: tuple[Scenario, ...]
    seconds: float
    queries: int
    least: int
    repeats: int
    warmup: int
    query_mentions: int
    rate: float | None
    server_batch: int
    seed: int


@dataclass(frozen=True, slots=True)
class WorkloadSummary:
    """What was linked: ``default`` or ``own``, the file's hash, its mentions, and the rows that were left out."""

    name: str
    sha256: str
    mentions: int
    distinct: int
    left_out: int


@dataclass(frozen=True, slots=True)
class Lengths:
    """How long texts are, in characters or tokens; `values` are sorted."""

    count: int
    mean: float
    p50: int
    p95: int
    p99: int
    max: int
    histogram: Histogram
    values: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class ProcessMemory:
    """The process's memory: once opened, after the last scenario, and the most in any of them."""

    opened: int | None
    steady: int | None
    peak: int | None
    peak_by: str | None


@dataclass(frozen=True, slots=True)
class Samples:
    """The raw samples: a row for each call of the linker, and one for each query: its intended start, and its call.

    A query without an answer has no call.
    """

    call_columns: tuple[str, ...]
    calls: tuple[tuple[int | float, ...], ...]
    query_columns: tuple[str, ...]
    queries: tuple[tuple[float, int | None], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ScenarioResult:
    """What a scenario came to.

    Attributes:
        scenario: which.
        settings: what it was run with, by name.
        ended_by: whether it ran to its number of ``samples``, or its ``budget`` ended it.
        queries, mentions, warmup_mentions: how many; the warm-up counts in nothing else.
        seconds: from its beginning to its last answer; `processor_seconds`: of all threads in that time.
        throughput: mentions a second; `throughput_of_repeats`: of the offline scenario's repeats.
        latency: None for the offline scenario.
        stages: seconds of each, over all calls; ``other`` is what no stage accounts for.
        methods: how many links were found in which way.
        cached: links that a cache gave: those took no time to find.
        memory: while it ran.
        samples: every call and query.
    """

    scenario: Scenario
    settings: dict[str, int | float]
    ended_by: EndedBy
    queries: int
    mentions: int
    warmup_mentions: int
    seconds: float
    processor_seconds: float
    throughput: float
    throughput_of_repeats: Spread | None
    latency: Latencies | None
    stages: dict[str, float]
    methods: dict[str, int]
    cached: int
    memory: Memory
    samples: Samples


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchResult:
    """All that a run of the harness found out.

    Attributes:
        schema: of this record.
        made: when it began, in UTC.
        cielo: the version of cielo.
        provenance: what the linker's links name as their origin.
        plan: the thread plan.
        system: the machine.
        settings: of the run.
        workload: what was linked.
        lengths: of the prompts in characters, and of inputs and outputs in tokens, by name.
        memory: of the process.
        scenarios: in the order in which they ran.
    """

    schema: int = SCHEMA
    made: str
    cielo: str
    provenance: Provenance
    plan: ThreadPlan
    system: System
    settings: RunnerSettings
    workload: WorkloadSummary
    lengths: dict[str, Lengths]
    memory: ProcessMemory
    scenarios: tuple[ScenarioResult, ...]


def lengths_of(lengths: Mapping[str, Sequence[int]]) -> dict[str, Lengths]:
    """Return the lengths by name, without those that are empty."""
    return {name: _lengths(values) for name, values in lengths.items() if values}


def _lengths(values: Sequence[int]) -> Lengths:
    p50, p95, p99 = (percentile(values, percent) for percent in (50, 95, 99))
    mean = round(sum(values) / len(values), 2)
    return Lengths(
        len(values), mean, int(p50), int(p95), int(p99), max(values), histogram(values), tuple(sorted(values))
    )


def memory_of(opened: int | None, watched: Sequence[Memory]) -> ProcessMemory:
    """Return the process's memory, given what was resident before the first scenario and during each."""
    peaks = [(memory.peak, memory.peak_by) for memory in watched if memory.peak is not None]
    peak, peak_by = max(peaks, key=lambda entry: entry[0], default=(None, None))
    return ProcessMemory(opened, watched[-1].steady if watched else None, peak, peak_by)


def result_of(outcome: ScenarioOutcome, memory: Memory, cached: int) -> ScenarioResult:
    """Return what a scenario came to, given the memory while it ran and the links that a cache gave."""
    offline = outcome.scenario == "offline"
    stages = {name: sum(call.stages[name] for call in outcome.calls) for name in STAGES}
    stages["other"] = sum(call.other for call in outcome.calls)
    return ScenarioResult(
        scenario=outcome.scenario,
        settings=outcome.settings,
        ended_by=outcome.ended_by,
        queries=len(outcome.queries),
        mentions=outcome.mentions,
        warmup_mentions=outcome.warmup,
        seconds=round(outcome.seconds, _DIGITS),
        processor_seconds=round(outcome.processor_seconds, _DIGITS),
        throughput=outcome.throughput,
        throughput_of_repeats=spread([call.throughput for call in outcome.calls]) if offline else None,
        latency=None if offline else latencies(outcome.latencies()),
        stages={name: round(value, _DIGITS) for name, value in stages.items()},
        methods=outcome.methods,
        cached=cached,
        memory=memory,
        samples=_samples(outcome),
    )


def _samples(outcome: ScenarioOutcome) -> Samples:
    return Samples(
        call_columns=_CALL_COLUMNS,
        calls=tuple(
            (
                round(call.begun, _DIGITS),
                round(call.ended, _DIGITS),
                call.mentions,
                *(round(call.stages[name], _DIGITS) for name in STAGES),
            )
            for call in outcome.calls
        ),
        query_columns=_QUERY_COLUMNS,
        queries=tuple((round(query.intended, _DIGITS), query.call) for query in outcome.queries),
    )


def to_json(result: BenchResult) -> bytes:
    """Return a result as JSON."""
    return encode(result)


def from_json(content: bytes) -> BenchResult:
    """Return the result that was kept as JSON.

    Raises:
        CieloError: where `content` is not one; it names the field.
    """
    return decode(BenchResult, content, "the report")
