"""The forms of a result: JSON, a table for a terminal, a page for a browser."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from cielo.errors import CieloError
from cielo.text.language import say
from cielo.workbench.bench import figures
from cielo.workbench.bench.page import to_html
from cielo.workbench.bench.results import BenchResult, ScenarioResult, to_json
from cielo.workbench.page.parts import count
from cielo.workbench.records import write_text

if TYPE_CHECKING:
    from rich.console import Console


def write_reports(result: BenchResult, json_path: Path | None = None, html_path: Path | None = None) -> None:
    """Write the JSON and the page, each whole or not at all.

    Raises:
        CieloError: where a file cannot be written, or the extra ``report`` is not installed.
    """
    if json_path is not None:
        write_text(json_path, to_json(result).decode("utf-8"))
    if html_path is not None:
        write_text(html_path, to_html(result))


def check_writable(path: Path) -> None:
    """Refuse a path at which no file can be written, before a minute of measuring is lost.

    Raises:
        CieloError: where its directory is missing or not writable, or a directory stands there.
    """
    if path.is_dir() or not os.access(path.absolute().parent, os.W_OK | os.X_OK):
        raise CieloError(f"{path}: cannot be written; name a file in a writable directory")


def _remarks(entry: ScenarioResult) -> Iterator[str]:
    if entry.ended_by == "budget":
        yield say("ended by its budget")
    if lost := entry.settings.get("unanswered"):
        yield say("{count} never answered", count=count(lost))
    if entry.cached:
        yield say("{count} from a cache", count=count(entry.cached))


def show(result: BenchResult, console: Console) -> None:
    """Print the figures as a table, in the language of `cielo.text.language.speaking`."""
    from rich.table import Table

    unit = figures.Unit(value for entry in result.scenarios for value in figures.percentiles(entry.latency))
    provenance, bundle = result.provenance, result.provenance.bundle
    title = f"{bundle.name}@{bundle.sha256[:12]}, {provenance.decoding}, {provenance.compute_type}"
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    table.add_column(say("scenario"), no_wrap=True)
    times = (f"{say(name)} {unit.name}" for name in figures.LATENCY)
    for name in (say("queries"), *times, say("mentions/s"), say("peak memory")):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("")
    for entry in result.scenarios:
        repeated = entry.throughput_of_repeats
        table.add_row(
            entry.scenario,
            count(entry.queries),
            *(unit.write(value) for value in figures.percentiles(entry.latency)),
            figures.significant(repeated.median if repeated else entry.throughput),
            figures.memory(entry.memory.peak),
            ", ".join(_remarks(entry)),
        )
    console.print(table)
