"""A run of the harness: the scenarios in order, the memory while they run, and what the reports need besides."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Protocol

from cielo.records import Link, Mention, Provenance
from cielo.text.language import say
from cielo.workbench.bench.report import check_writable, show, write_reports
from cielo.workbench.bench.results import (
    BenchResult,
    RunnerSettings,
    WorkloadSummary,
    lengths_of,
    memory_of,
    result_of,
)
from cielo.workbench.bench.scenarios import (
    Clock,
    Limits,
    Links,
    Scenario,
    ScenarioOutcome,
    measure_rate,
    offline,
    server,
    stream,
)
from cielo.workbench.bench.statistics import percentile
from cielo.workbench.bench.system import MemoryWatch, describe_system, resident
from cielo.workbench.bench.workload import Workload, load_workload
from cielo.workbench.page.extra import require_all

if TYPE_CHECKING:
    from rich.console import Console

    from cielo.cache.protocol import CacheStats
    from cielo.generation.plan import ThreadPlan
    from cielo.tables import Format

SCENARIOS: tuple[Scenario, ...] = ("single-stream", "multi-stream", "offline", "server")
_SERVER_SHARE = 0.5  # of the offline throughput: busy, and still able to keep up
_MOST_REMEMBERED = 1000  # links kept until their lengths are counted
_MOST_COUNTED = 20_000  # mentions whose lengths are counted

Progress = Callable[[str], None]


class Measurable(Links, Protocol):
    """What a run needs of a linker."""

    @property
    def plan(self) -> ThreadPlan:
        """How it uses the processors."""

    @property
    def cache_stats(self) -> CacheStats:
        """What its cache did; a linker that is measured has none."""

    def provenance(self) -> Provenance:
        """Return what its links name as their origin."""

    def check(self, mention: Mention, /) -> None:
        """Refuse a mention that it cannot link."""

    def input_lengths(self, mentions: Sequence[Mention], /) -> list[int]:
        """Return the tokens of each mention's prompt."""

    def output_lengths(self, links: Sequence[Link], /) -> list[int]:
        """Return the tokens of each link's generated text."""


@dataclass(frozen=True, slots=True)
class BenchSettings:
    """What to run, and for how long.

    Attributes:
        scenarios: which; they always run in the order of `SCENARIOS`.
        seconds: the budget of each scenario, warm-up excluded.
        queries: the most queries of a scenario.
        least: queries that are made even where the budget is spent.
        repeats: the most repeats of the offline scenario.
        warmup: the most queries before those that count.
        query_mentions: mentions in a query of the multi-stream scenario.
        rate: mentions a second that arrive at the server; None: half of the offline throughput.
        server_batch: the most waiting mentions that the server takes at once.
        seed: of the arrivals and of the order of the mentions.
    """

    scenarios: tuple[Scenario, ...] = SCENARIOS
    seconds: float = 10.0
    queries: int = 1000
    least: int = 5
    repeats: int = 9
    warmup: int = 3
    query_mentions: int = 8
    rate: float | None = None
    server_batch: int = 32
    seed: int = 0

    def __post_init__(self) -> None:
        unknown = sorted(set(self.scenarios) - set(SCENARIOS))
        if unknown or not self.scenarios:
            raise ValueError(f"got scenarios {list(self.scenarios)}, expected some of {', '.join(SCENARIOS)}")
        if self.rate is not None and not (math.isfinite(self.rate) and self.rate > 0):
            raise ValueError(f"got a rate of {self.rate} mentions a second, expected more than 0")
        if self.query_mentions < 2 or self.server_batch < 1:
            raise ValueError(
                f"got {self.query_mentions} mentions a query and {self.server_batch} a server's batch, "
                "expected at least 2 and 1"
            )
        _ = self.limits

    @property
    def limits(self) -> Limits:
        """When a scenario ends."""
        return Limits(self.seconds, self.queries, self.least, self.repeats, self.warmup)


class _Remembering:
    """A linker that keeps the first links it gives for each mention, so that their lengths can be counted later."""

    def __init__(self, linker: Links) -> None:
        self._linker = linker
        self.links: dict[Mention, Link] = {}

    def link(self, mentions: Sequence[Mention], /) -> list[Link]:
        links = self._linker.link(mentions)
        if len(self.links) < _MOST_REMEMBERED:
            self.links.update(zip(mentions, links, strict=True))
        return links


@dataclass(slots=True)
class _Run:
    """The scenarios of one run, and what one of them learns for another."""

    linker: Links
    mentions: Sequence[Mention]
    settings: BenchSettings
    clock: Clock
    rate: float | None

    def scenario(self, name: Scenario) -> ScenarioOutcome:
        """Run one scenario."""
        limits, settings = self.settings.limits, self.settings
        if name == "single-stream":
            return stream(self.linker, self.mentions, limits, clock=self.clock)
        if name == "multi-stream":
            return stream(self.linker, self.mentions, limits, size=settings.query_mentions, clock=self.clock)
        if name == "offline":
            outcome = offline(self.linker, self.mentions, limits, clock=self.clock)
            median = percentile([call.throughput for call in outcome.calls], 50)
            self.rate = self.rate or median * _SERVER_SHARE
            return outcome
        rate = self.rate or measure_rate(self.linker, self.mentions, limits, clock=self.clock)[0] * _SERVER_SHARE
        return server(
            self.linker,
            self.mentions,
            limits,
            rate=rate,
            most=settings.server_batch,
            seed=settings.seed,
            clock=self.clock,
        )


def run_bench(
    linker: Measurable,
    workload: Workload,
    settings: BenchSettings | None = None,
    progress: Progress | None = None,
    *,
    clock: Clock | None = None,
) -> BenchResult:
    """Run the scenarios on an opened linker.

    Args:
        linker: what to measure; opened without a cache, or repeats measure that.
        workload: the mentions; they are shuffled, so that the first of them stand for all.
        settings: what to run, and for how long.
        progress: gets the name of each scenario when it begins.
        clock: where the times come from.
    """
    settings, clock = settings or BenchSettings(), clock or Clock()
    mentions = list(workload.mentions)
    Random(settings.seed).shuffle(mentions)  # noqa: S311  no secret
    made, system, opened = datetime.now(UTC), describe_system(), resident()
    remembering = _Remembering(linker)
    run = _Run(remembering, mentions, settings, clock, settings.rate)
    found, watched = [], []
    for name in (name for name in SCENARIOS if name in settings.scenarios):
        if progress is not None:
            progress(name)
        known = linker.cache_stats.hits
        with MemoryWatch() as watch:
            outcome = run.scenario(name)
        watched.append(watch.memory)
        found.append(result_of(outcome, watch.memory, linker.cache_stats.hits - known))
    return BenchResult(
        made=made.isoformat(timespec="seconds"),
        cielo=system.libraries.get("cielo", "not installed"),
        provenance=linker.provenance(),
        plan=linker.plan,
        system=system,
        settings=RunnerSettings(**asdict(settings)),
        workload=_describe(workload),
        lengths=lengths_of(
            {
                "prompt_characters": workload.characters()[:_MOST_COUNTED],
                "input_tokens": linker.input_lengths(mentions[:_MOST_COUNTED]),
                "output_tokens": linker.output_lengths(list(remembering.links.values())),
            }
        ),
        memory=memory_of(opened, watched),
        scenarios=tuple(found),
    )


def _describe(workload: Workload) -> WorkloadSummary:
    return WorkloadSummary(
        name=workload.name,
        sha256=workload.sha256,
        mentions=len(workload.mentions),
        distinct=len({(mention.text, mention.sentence) for mention in workload.mentions}),
        left_out=workload.left_out,
    )


def run_with_reports(
    linker: Measurable,
    *,
    settings: BenchSettings | None = None,
    workload: str | Path | None = None,
    form: Format | None = None,
    json_path: Path | None = None,
    html_path: Path | None = None,
    console: Console,
    status: Console,
) -> BenchResult:
    """Do all that ``cielo bench`` does with an opened linker: read, run, write the reports, show the table.

    Args:
        linker: what to measure.
        settings: what to run, and for how long.
        workload: a file of one's own; default: the workload that comes with cielo.
        form: its format, where its name does not tell.
        json_path: where the JSON goes, if anywhere.
        html_path: where the page goes, if anywhere.
        console: gets the table.
        status: gets a line for each scenario when it begins.

    Raises:
        TableError: where the workload cannot be read, or holds no mention at all.
        CieloError: where a report cannot be written, or the libraries of a page are not installed.
    """
    for path in (json_path, html_path):
        if path is not None:
            check_writable(path)
    if html_path is not None:
        require_all()
    read = load_workload(workload, form, check=linker.check)
    if read.left_out:
        status.print(
            say(
                "{count} row(s) of the workload hold no mention that can be linked, and are left out",
                count=read.left_out,
            )
        )
    result = run_bench(linker, read, settings, lambda name: status.print(f"{name} …"))
    write_reports(result, json_path, html_path)
    show(result, console)
    return result
