"""``cielo bulk``: archives of any size, part by part, and to be gone on with."""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cielo.cli.base import EXIT_ROWS, console, echo, main, open_linker, report_problems, require_codes
from cielo.cli.options import (
    ALLOW_UNVERIFIED,
    BUNDLE,
    DECODINGS,
    FORMATS,
    LEXICON,
    VERIFY,
    Size,
    link_options,
    linking_options,
    model_options,
)
from cielo.records import Decoding

if TYPE_CHECKING:
    from cielo.bulk.records import PartFormat, Request
    from cielo.bulk.run import Progress
    from cielo.link.linker import Linker
    from cielo.tables import Format

_SAMPLE = 256  # mentions that a dry run links


@main.command()
@click.argument("inputs", nargs=-1, required=True, metavar="INPUT...")
@click.option("--output", type=click.Path(file_okay=False, path_type=Path), required=True, help="The run's folder.")
@click.option("--format", "form", type=click.Choice(["parquet", "jsonl", "csv"]), default="parquet", show_default=True,
              help="Of the parts.")  # fmt: skip
@click.option("--input-format", type=click.Choice(FORMATS), help="Of INPUT; default: by the names.")
@click.option("--encoding", help="Of INPUT; default: detected.")
@click.option("--kind", help="Of rows that name none.")
@click.option("--limit", type=click.IntRange(1), help="Rows that are taken; default: all.")
@click.option("--part-rows", type=click.IntRange(1), default=50_000, show_default=True, help="Rows of a part.")
@click.option("--unit-mentions", type=click.IntRange(1), default=2_048, show_default=True,
              help="Distinct mentions that are linked, and recorded, together.")  # fmt: skip
@click.option("--take-over-after", type=click.FloatRange(1), default=120.0, show_default=True, metavar="SECONDS",
              help="When the work of a process that is dead or stopped is taken over.")  # fmt: skip
@click.option("--dry-run", is_flag=True, help="Say how much there is to do and how long it may take; write nothing.")
@click.option("--only-errors", is_flag=True, help="List the rows that cannot be linked; link nothing.")
@click.option("--engine", type=click.Choice(["local", "ray"]), default="local", show_default=True,
              help="Who works: this process, or processes on a Ray cluster.")  # fmt: skip
@click.option("--address", help="Of the Ray cluster; default: one on this machine alone.")
@click.option("--actors", type=click.IntRange(1), help="Processes on the cluster; default: as many as have room.")
@click.option("--events", is_flag=True, help="Progress as JSON, a line each, on standard output.")
@click.option("--decoding", type=click.Choice(DECODINGS), help="How outputs are searched for; default: the bundle's.")
@BUNDLE
@ALLOW_UNVERIFIED
@VERIFY
@click.option("--memory", type=Size(), help="Keep the process within this much memory, such as 3GB.")
@LEXICON
@linking_options
@model_options
def bulk(
    inputs: tuple[str, ...],
    output: Path,
    form: PartFormat,
    input_format: Format | None,
    encoding: str | None,
    kind: str | None,
    limit: int | None,
    part_rows: int,
    unit_mentions: int,
    take_over_after: float,
    dry_run: bool,
    only_errors: bool,
    engine: str,
    address: str | None,
    actors: int | None,
    events: bool,
    decoding: Decoding | None,
    **given: Any,
) -> None:
    """Link the rows of INPUT (files, folders, globs) into a folder of parts.

    The same command goes on where a run was interrupted. Several processes, on one machine or many, can be given the
    same command at the same time: they share the work. Exit code 3: done, and some rows hold an error.
    """
    from cielo.bulk.cluster import work_on_ray
    from cielo.bulk.run import Run
    from cielo.tables.formats import TableFormat, require_library

    require_library(output, form)
    options = link_options(given, decoding=decoding, neighbours="misses")
    reading = TableFormat(format=input_format, encoding=encoding)
    opening = {**given, "cache": False, "decoding": decoding, "use": "bulk"}
    with open_linker(**opening) as linker:
        require_codes(linker, options.subset)
        report_problems(linker.lexicon_problems())
        request = _request(
            inputs, linker, reading=reading, options=options, kind=kind, limit=limit, format=form,
            part_rows=part_rows, unit_mentions=unit_mentions,
        )  # fmt: skip
        if only_errors:
            _list_errors(request, linker)
            return
        if dry_run:
            _estimate(request, linker, events)
            return
        if engine == "local":
            tell = _told_as_json() if events else _told_to_people()
            summary = Run(output, request, linker, stale_seconds=take_over_after, tell=tell).work()
    if engine == "ray":
        summary = work_on_ray(
            output.absolute(), request, opening, stale_seconds=take_over_after, actors=actors, address=address
        )
    measured = summary.measured
    echo(
        f"{click.format_filename(output)}: {summary.rows:,} rows, {summary.mentions:,} distinct mentions, "
        f"{summary.errors:,} errors, {summary.without_code:,} without a code; {measured.seconds:,.0f} s, "
        f"{measured.rows_per_second:,.0f} rows a second",
        err=True,
    )
    if summary.errors:
        sys.exit(EXIT_ROWS)


def _request(inputs: tuple[str, ...], linker: Linker, **asked: Any) -> Request:
    from cielo import __version__
    from cielo.bulk.records import Request
    from cielo.bulk.sources import find_sources

    return Request(
        sources=find_sources(inputs, asked["reading"]),
        provenance=linker.provenance(asked["options"]),
        lexicon_sha256=linker.lexicon_sha256,
        version=__version__,
        **asked,
    )


def _list_errors(request: Request, linker: Linker) -> None:
    from cielo.bulk.planning import checker
    from cielo.bulk.run import faults

    found = 0
    for source, line, reason in faults(request, checker(linker.kinds, request.kind)):
        found += 1
        echo(f"{click.format_filename(source)}, line {line}: {reason}")
    if found:
        sys.exit(EXIT_ROWS)


def _estimate(request: Request, linker: Linker, events: bool) -> None:
    from cielo.bulk.folder import Folder
    from cielo.bulk.mentions import opened
    from cielo.bulk.planning import checker, make_plan
    from cielo.bulk.units import link_unit

    with tempfile.TemporaryDirectory() as name:
        folder = Folder(Path(name))
        folder.make()
        plan = make_plan(request, folder, checker(linker.kinds, request.kind))
        with opened(folder.mentions) as mentions:
            sample = mentions.unit(0, min(_SAMPLE, request.unit_mentions))
        began = time.perf_counter()
        link_unit(linker, sample, request.options)
        seconds = (time.perf_counter() - began) / max(1, len(sample)) * plan.mentions
    if events:
        told = {"rows": plan.rows, "mentions": plan.mentions, "parts": len(plan.parts), "seconds": round(seconds, 1)}
        click.echo(json.dumps({"event": "estimate", **told}))
        return
    echo(
        f"{plan.rows:,} rows, {plan.mentions:,} distinct mentions, {len(plan.parts):,} parts; about "
        f"{_duration(seconds)} by one process, as {len(sample)} of the mentions took here"
    )


def _duration(seconds: float) -> str:
    hours, rest = divmod(int(seconds), 3600)
    return f"{hours} h {rest // 60} min" if hours else f"{rest // 60} min {rest % 60} s"


def _told_as_json() -> Callable[[Progress], None]:
    def tell(progress: Progress) -> None:
        click.echo(json.dumps({"event": "progress", **asdict(progress)}))

    return tell


def _told_to_people() -> Callable[[Progress], None]:
    """Return what draws one line on a terminal, and says each tenth of a step elsewhere."""
    terminal = console(stderr=True)
    began, first, said = time.monotonic(), -1, ""

    def tell(progress: Progress) -> None:
        nonlocal first, said
        if progress.step == "linked" and first < 0:
            first = progress.done
        rate = progress.mentions / max(1e-6, time.monotonic() - began)
        left = ""
        if progress.step == "linked" and progress.done > first:
            seconds = (time.monotonic() - began) / (progress.done - first) * (progress.of - progress.done)
            left = f", {rate:,.0f} mentions a second, {_duration(seconds)} left"
        if terminal.is_terminal:
            terminal.print(f"{progress.step}: {progress.done:,} of {progress.of:,}{left}", end="\r", soft_wrap=True)
            return
        tenth = f"{progress.step} {10 * progress.done // max(1, progress.of)}"
        if tenth != said:
            said = tenth
            echo(f"cielo: {progress.step}: {progress.done:,} of {progress.of:,}{left}", err=True)

    return tell
