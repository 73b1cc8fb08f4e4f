"""``cielo bulk``: tables and folders of any size, linked so that the run can be stopped, gone on with and shared."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cielo.cli.base import EXIT_ROWS, KEPT, console, echo, echo_json, main, open_linker, report_problems, require_codes
from cielo.cli.options import (
    ALLOW_UNVERIFIED,
    BUNDLE,
    DECODING,
    GUARD,
    LEXICON,
    MEMORY,
    VERIFY,
    link_options,
    linking_options,
    model_options,
)
from cielo.records import Decoding

if TYPE_CHECKING:
    from cielo.bulk.records import BulkOptions, Plan, Summary
    from cielo.bulk.running import Run
    from cielo.bulk.working import Event
    from cielo.options import LinkOptions
    from cielo.tables.formats import Format

_EVERY = 10.0  # seconds between two lines of progress where there is no terminal
_SHOWN = 10
_KEPT = "what is done stays; the same command goes on"


@main.command()
@click.argument("inputs", nargs=-1, required=True, metavar="INPUT...")
@click.option("--output", required=True, type=click.Path(file_okay=False, path_type=Path), metavar="DIR",
              help="Empty, or of the same run, which is gone on with.")  # fmt: skip
@click.option("--format", "form", type=click.Choice(["parquet", "jsonl", "csv"]), default="jsonl", show_default=True,
              help="Of the output.")  # fmt: skip
@click.option("--rows", type=click.IntRange(1), default=2048, show_default=True, help="Of the input in a fragment.")
@click.option("--limit", type=click.IntRange(1), metavar="ROWS", help="The first rows of the input alone.")
@click.option("--dry-run", is_flag=True, help="Say how many mentions differ and how long they take; write nothing.")
@click.option("--only-errors", is_flag=True, help="Link nothing; write the rows that cannot be linked.")
@click.option("--kind", help="Of the mentions that name none (in the mini: diagnosis, procedure).")
@click.option("--encoding", help="Of the input; default: detected (UTF-8, UTF-16 by its mark, else Windows-1252).")
@click.option("--takeover", type=float, metavar="SECONDS", default=60.0, show_default=True,
              help="Without a sign of life after which another process's fragment is taken over.")  # fmt: skip
@click.option("--events", is_flag=True, help="Print each step as a JSON object on standard output.")
@click.option("--engine", type=click.Choice(["local", "ray"]), default="local", show_default=True,
              help="Who works: this process, or actors of Ray.")  # fmt: skip
@click.option("--address", help="Of a Ray cluster (auto: the one here); default: Ray on this machine alone.")
@click.option("--actors", type=click.IntRange(1),
              help="Of Ray, with --threads cores each (1); default: as many as cores and memory hold.")  # fmt: skip
@DECODING
@MEMORY
@BUNDLE
@ALLOW_UNVERIFIED
@VERIFY
@LEXICON
@GUARD
@linking_options
@model_options
def bulk(
    inputs: tuple[str, ...],
    output: Path,
    form: Format,
    rows: int,
    limit: int | None,
    dry_run: bool,
    only_errors: bool,
    kind: str | None,
    encoding: str | None,
    takeover: float,
    events: bool,
    engine: str,
    address: str | None,
    actors: int | None,
    decoding: Decoding | None,
    guard_formulas: bool,
    **given: Any,
) -> None:
    """Link the rows of INPUTs (files, folders, patterns) into the directory --output.

    The same command goes on with a run that was stopped, and works at it together with those that run already.
    """
    from cielo.bulk.records import BulkOptions
    from cielo.bulk.running import Run

    linking = link_options(given, decoding=decoding)
    options = BulkOptions(
        form=form, rows=rows, limit=limit, kind=kind, only_errors=only_errors, guarded=guard_formulas,
        encoding=encoding, takeover=takeover,
    )  # fmt: skip
    if engine == "ray":
        if dry_run or events:
            raise click.UsageError("--dry-run and --events are of --engine local")
        click.get_current_context().meta[KEPT] = _KEPT
        _show_summary(
            _on_ray(inputs, output, linking, options, (address, actors), {**given, "decoding": decoding}), output
        )
        return
    if address is not None or actors is not None:
        raise click.UsageError("--address and --actors are of --engine ray")
    # A cache would hand on what another batch gave, which can differ in the last digits.
    with open_linker(**given, decoding=decoding, cache=False, use="bulk") as linker:
        require_codes(linker, linking.subset)
        report_problems(linker.lexicon_problems())
        run = Run(inputs, output, linker, linking, options, bundle=given["bundle"])
        if dry_run:
            _show_estimate(run)
            return
        click.get_current_context().meta[KEPT] = _KEPT
        plan = run.prepare()
        for warning in plan.warnings[:_SHOWN]:
            echo(f"cielo: {warning}", err=True)
        with _Progress(plan, events=events) as progress:
            summary = run.work(plan, progress.report)
    _show_summary(summary, output)


def _on_ray(
    inputs: tuple[str, ...],
    output: Path,
    linking: LinkOptions,
    options: BulkOptions,
    where: tuple[str | None, int | None],
    opening: dict[str, Any],
) -> Summary:
    """Work at a run by actors of Ray."""
    import functools

    from cielo.bulk.distributed import RayOptions, run_on_ray
    from cielo.link.linker import Linker

    cores = opening["threads"] or 1
    opened = functools.partial(Linker.open, **{**opening, "threads": cores, "cache": False, "use": "bulk"})
    wanted = RayOptions(address=where[0], actors=where[1], cores=cores)
    return run_on_ray(
        inputs, output, opened, linking, options, ray_options=wanted, bundle=opening["bundle"],
        started=lambda actors: echo(f"cielo: {len(actors)} actor(s) of Ray, {cores} core(s) each", err=True),
    )  # fmt: skip


def _show_estimate(run: Run) -> None:
    found = run.estimate()
    echo(
        f"{found.rows:,} rows, {found.distinct:,} distinct mentions, {found.fragments:,} fragments; "
        f"{found.mentions_per_second:,.1f} mentions per second (measured on {found.sample}): "
        f"about {found.seconds:,.0f} s in one process"
    )


def _show_summary(summary: Summary, output: Path) -> None:
    methods = ", ".join(f"{count:,} {name}" for name, count in summary.methods.items())
    echo(
        f"cielo: {summary.rows:,} rows, {summary.distinct:,} distinct mentions, {summary.linked:,} linked ({methods}); "
        f"{summary.rows_written:,} rows here in {summary.seconds:,.1f} s",
        err=True,
    )
    if summary.errors:
        echo(f"cielo: {summary.errors:,} row(s) hold an error; see {output / 'errors.csv'}", err=True)
        sys.exit(EXIT_ROWS)


class _Progress:
    """One line of progress: on a terminal drawn again and again, else written now and then; and events."""

    def __init__(self, plan: Plan, *, events: bool) -> None:
        self._rows, self._events = plan.rows, events
        self._done = 0
        self._started = self._said = time.monotonic()
        self._console = console(stderr=True)
        self._status = self._console.status("linking") if self._console.is_terminal else None

    def __enter__(self) -> _Progress:
        if self._status is not None:
            self._status.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._status is not None:
            self._status.stop()

    def report(self, event: Event) -> None:
        """Show a step that was done."""
        if self._events:
            echo_json(
                json.dumps(
                    {"step": event.step, "fragment": event.fragment, "rows": event.rows, "seconds": event.seconds}
                )
            )
        if event.step == "write":
            self._done += event.rows
        now = time.monotonic()
        rate = self._done / max(1e-9, now - self._started)
        left = f"{(self._rows - self._done) / rate:,.0f} s left" if rate else "..."
        line = f"{self._done:,} of {self._rows:,} rows, {rate:,.0f} rows per second, {left}"
        if self._status is not None:
            self._status.update(line)
        elif now - self._said >= _EVERY:
            self._said = now
            echo(f"cielo: {line}", err=True)
