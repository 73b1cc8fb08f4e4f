"""What a run hands back, and its forms: a dictionary for JSON, a table for a terminal, a page for a browser."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cielo.errors import CieloError
from cielo.records import Provenance
from cielo.workbench.bench import figures
from cielo.workbench.bench.page import to_html
from cielo.workbench.bench.scenarios import STAGES, Outcome
from cielo.workbench.bench.statistics import histogram, latencies, percentile, spread
from cielo.workbench.bench.system import Memory
from cielo.workbench.page.frame import write

if TYPE_CHECKING:
    from rich.console import Console

SCHEMA = 1
_DIGITS = 6  # of a second: a microsecond
_CALL_COLUMNS = ("begun", "ended", "mentions", *STAGES)


@dataclass(frozen=True, slots=True)
class Measurement:
    """A scenario's outcome, the memory while it ran, and the links that a cache gave: those took no time to find."""

    outcome: Outcome
    memory: Memory
    cached: int = 0


@dataclass(frozen=True, slots=True)
class BenchResult:
    """All that a run of the harness found out. It holds times, lengths and counts, and none of the texts.

    Attributes:
        made: when it began, in UTC.
        cielo: the version of cielo.
        provenance: what the linker's links name as their origin.
        plan: the thread plan.
        system: see `cielo.workbench.bench.system.describe_system`.
        settings: of the run.
        workload: its name, hash and counts.
        lengths: of the prompts in characters, and of inputs and outputs in tokens, by name.
        opened: resident bytes before the first scenario.
        measurements: of each scenario.
    """

    made: str
    cielo: str
    provenance: Provenance
    plan: Mapping[str, Any]
    system: Mapping[str, Any]
    settings: Mapping[str, Any]
    workload: Mapping[str, Any]
    lengths: Mapping[str, Sequence[int]]
    opened: int | None
    measurements: Sequence[Measurement]

    def to_dict(self) -> dict[str, Any]:
        """Return the result as plain dictionaries and lists, ready for JSON, raw samples included."""
        return {
            "schema": SCHEMA,
            "made": self.made,
            "cielo": self.cielo,
            "provenance": self.provenance.to_dict(),
            "plan": dict(self.plan),
            "system": dict(self.system),
            "settings": dict(self.settings),
            "workload": dict(self.workload),
            "lengths": {name: _lengths(values) for name, values in self.lengths.items() if values},
            "memory": _memory(self.opened, [entry.memory for entry in self.measurements]),
            "scenarios": [_scenario(entry) for entry in self.measurements],
        }


def _lengths(values: Sequence[int]) -> dict[str, Any]:
    bins = histogram(values)
    return {
        "count": len(values),
        "mean": round(sum(values) / len(values), 2),
        **{f"p{percent}": percentile(values, percent) for percent in (50, 95, 99)},
        "max": max(values),
        "histogram": {**asdict(bins), "counts": list(bins.counts)},
        "values": sorted(values),
    }


def _memory(opened: int | None, watched: Sequence[Memory]) -> dict[str, Any]:
    """Return the process's memory: once opened, after the last scenario, and the most in any of them."""
    peaks = [(memory.peak, memory.peak_by) for memory in watched if memory.peak is not None]
    peak, peak_by = max(peaks, key=lambda entry: entry[0], default=(None, None))
    return {"opened": opened, "steady": watched[-1].steady if watched else None, "peak": peak, "peak_by": peak_by}


def _scenario(measurement: Measurement) -> dict[str, Any]:
    outcome = measurement.outcome
    offline = outcome.scenario == "offline"
    stages = {name: sum(call.stages[name] for call in outcome.calls) for name in STAGES}
    stages["other"] = sum(call.other for call in outcome.calls)
    return {
        "scenario": outcome.scenario,
        "settings": outcome.settings,
        "ended_by": outcome.ended_by,
        "queries": len(outcome.queries),
        "mentions": outcome.mentions,
        "warmup_mentions": outcome.warmup,
        "seconds": round(outcome.seconds, _DIGITS),
        "processor_seconds": round(outcome.processor_seconds, _DIGITS),
        "throughput": outcome.throughput,
        "throughput_of_repeats": asdict(spread([call.throughput for call in outcome.calls])) if offline else None,
        "latency": None if offline else asdict(latencies(outcome.latencies())),
        "stages": {name: round(value, _DIGITS) for name, value in stages.items()},
        "methods": outcome.methods,
        "cached": measurement.cached,
        "memory": asdict(measurement.memory),
        "samples": _samples(outcome),
    }


def _samples(outcome: Outcome) -> dict[str, Any]:
    """Return the raw samples: a row for each call of the linker, and one for each query."""
    return {
        "call_columns": list(_CALL_COLUMNS),
        "calls": [
            [round(call.begun, _DIGITS), round(call.ended, _DIGITS), call.mentions]
            + [round(call.stages[name], _DIGITS) for name in STAGES]
            for call in outcome.calls
        ],
        "query_columns": ["intended", "call"],
        "queries": [[round(query.intended, _DIGITS), query.call] for query in outcome.queries],
    }


def write_reports(result: BenchResult, json_path: Path | None = None, html_path: Path | None = None) -> None:
    """Write the JSON and the page, each whole or not at all.

    Raises:
        CieloError: where a file cannot be written.
    """
    report = result.to_dict()
    for path, render in ((json_path, _to_json), (html_path, to_html)):
        if path is not None:
            write(path, render(report))


def check_writable(path: Path) -> None:
    """Refuse a path at which no file can be written, before a minute of measuring is lost.

    Raises:
        CieloError: where its directory is missing or not writable, or a directory stands there.
    """
    if path.is_dir() or not os.access(path.absolute().parent, os.W_OK | os.X_OK):
        raise CieloError(f"{path}: cannot be written; name a file in a writable directory")


def _to_json(report: dict[str, Any]) -> str:
    return json.dumps(report, ensure_ascii=False, allow_nan=False) + "\n"


def _remarks(entry: dict[str, Any]) -> Iterator[str]:
    if entry["ended_by"] == "budget":
        yield "ended by its budget"
    if lost := entry["settings"].get("unanswered"):
        yield f"{lost:,} never answered"
    if entry["cached"]:
        yield f"{entry['cached']:,} from a cache"


def show(result: BenchResult, console: Console) -> None:
    """Print the figures as a table."""
    from rich.table import Table

    report = result.to_dict()
    scenarios = report["scenarios"]
    unit = figures.Unit(value for entry in scenarios for value in (entry["latency"] or {"p50": None}).values())
    provenance, bundle = report["provenance"], report["provenance"]["bundle"]
    title = f"{bundle['name']}@{bundle['sha256'][:12]}, {provenance['decoding']}, {provenance['compute_type']}"
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    table.add_column("scenario", no_wrap=True)
    names = ("p50", "p90", "p95", "p99", "max")
    for name in ("queries", *(f"{name} {unit.name}" for name in names), "mentions/s", "peak memory"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("")
    for entry in scenarios:
        latency = entry["latency"] or {}
        repeated = entry["throughput_of_repeats"]
        table.add_row(
            entry["scenario"],
            f"{entry['queries']:,}",
            *(unit.write(latency.get(name)) for name in names),
            figures.significant(repeated["median"] if repeated else entry["throughput"]),
            figures.memory(entry["memory"]["peak"]),
            ", ".join(_remarks(entry)),
        )
    console.print(table)
