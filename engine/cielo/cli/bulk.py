"""``cielo bulk``: tables and folders of any size, linked so that the run can be stopped, gone on with and shared."""

from __future__ import annotations

import functools
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cielo.cli.base import EXIT_ROWS, KEPT, echo, echo_json, main
from cielo.cli.linkers import open_linker, report_problems, require_codes
from cielo.cli.options import (
    ALLOW_UNVERIFIED,
    BUNDLE,
    DECODING,
    LEXICON,
    LINKING,
    MEMORY,
    VERIFY,
    link_options,
    linking_options,
    model_options,
)
from cielo.cli.progress import Progress, counted_lines
from cielo.cli.tabular import (
    decision_options,
    mention_columns,
    reading_options,
    refuse_given,
    refuse_idle,
    style_of,
    style_options,
    table_format,
    thresholds_of,
)
from cielo.cli.verbosity import is_quiet
from cielo.decisions import DECISIONS
from cielo.records import Decoding
from cielo.text.language import numeral, say

if TYPE_CHECKING:
    from cielo.bulk.records import BulkOptions, Summary
    from cielo.bulk.running import Run
    from cielo.bulk.working import Event
    from cielo.options import LinkOptions
    from cielo.tables.formats import Format

_SHOWN = 10
_OF_LINKING = ("accept", "review", "decoding", "lexicon", *LINKING)


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
@click.option("--kind", help="Of all mentions, whatever a column says (in the mini: diagnosis, procedure).")
@reading_options
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
@decision_options
@style_options
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
    takeover: float,
    events: bool,
    engine: str,
    address: str | None,
    actors: int | None,
    decoding: Decoding | None,
    **given: Any,
) -> None:
    """Link the rows of INPUTs (files, folders, patterns) into the directory --output.

    The same command goes on with a run that was stopped, and works at it together with those that run already.
    """
    from cielo.bulk.inputs import find_sources, formats_of
    from cielo.bulk.records import BulkOptions
    from cielo.bulk.running import Run

    refuse_idle(formats_of(find_sources(inputs)), [form])
    if only_errors:
        refuse_given(dict.fromkeys(_OF_LINKING, "of linking, and --only-errors links nothing"))
    if dry_run:
        refuse_given(dict.fromkeys(("takeover", "form", "only_errors"), "of a run, and --dry-run makes none"))
    linking = link_options(given, decoding=decoding)
    options = BulkOptions(
        form=form, rows=rows, limit=limit, kind=kind, only_errors=only_errors, takeover=takeover,
        thresholds=thresholds_of(given), columns=mention_columns(given), table=table_format(given),
        style=style_of(given),
    )  # fmt: skip
    if not dry_run:
        click.get_current_context().meta[KEPT] = functools.partial(_kept, output)
    if engine == "ray":
        if dry_run or events:
            raise click.UsageError("--dry-run and --events are of --engine local")
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
        plan = run.prepare()
        for warning in plan.warnings[:_SHOWN]:
            echo(f"cielo: {warning}", err=True)
        with Progress(say("linking"), plan.distinct) as progress:
            summary = run.work(plan, _print_event if events else lambda _: None, progress)
    _show_summary(summary, output)


def _kept(output: Path) -> str:
    """Return what is in the output after a signal."""
    from cielo.bulk.layout import RunFolder

    folder = RunFolder(output)
    if not folder.work.is_dir():
        return "nothing was written"
    named = click.format_filename(output)
    if not folder.plan.is_file():
        return f"no row was linked; {named} holds the input as far as it was read, and the same command begins again"
    done = "the run is whole" if folder.manifest.is_file() else "what is done stays"
    return f"{done}; the same command goes on in {named}"


def _on_ray(
    inputs: tuple[str, ...],
    output: Path,
    linking: LinkOptions,
    options: BulkOptions,
    where: tuple[str | None, int | None],
    opening: dict[str, Any],
) -> Summary:
    """Work at a run by actors of Ray."""
    from cielo.bulk.distributed import RayOptions, planned, run_on_ray
    from cielo.link.linker import Linker

    cores = opening["threads"] or 1
    opened = functools.partial(Linker.open, **{**opening, "threads": cores, "cache": False, "use": "bulk"})
    wanted = RayOptions(address=where[0], actors=where[1], cores=cores)
    with Progress(say("linking"), lambda: planned(output)) as progress:
        return run_on_ray(
            inputs, output, opened, linking, options, ray_options=wanted, bundle=opening["bundle"],
            started=lambda actors: _say_actors(len(actors), cores), watcher=progress,
        )  # fmt: skip


def _say_actors(count: int, cores: int) -> None:
    if not is_quiet():
        told = say("{actors} actor(s) of Ray, {cores} core(s) each", actors=count, cores=cores)
        echo(f"cielo: {told}", err=True)


def _show_estimate(run: Run) -> None:
    found = run.estimate()
    echo(say(
        "{rows} rows, {distinct} distinct mentions, {fragments} fragments; {rate} mentions per second (measured on "
        "{sample}): about {seconds} s in one process",
        rows=numeral(f"{found.rows:,}"), distinct=numeral(f"{found.distinct:,}"),
        fragments=numeral(f"{found.fragments:,}"), rate=numeral(f"{found.mentions_per_second:,.1f}"),
        sample=found.sample, seconds=numeral(f"{found.seconds:,.0f}"),
    ))  # fmt: skip


def _print_event(event: Event) -> None:
    echo_json(
        json.dumps({"step": event.step, "fragment": event.fragment, "rows": event.rows, "seconds": event.seconds})
    )


def _show_summary(summary: Summary, output: Path) -> None:
    if not is_quiet():
        told = say(
            "{rows} rows, {distinct} distinct mentions, {linked} linked; {written} rows here in {seconds} s",
            rows=numeral(f"{summary.rows:,}"), distinct=numeral(f"{summary.distinct:,}"),
            linked=numeral(f"{summary.linked:,}"), written=numeral(f"{summary.rows_written:,}"),
            seconds=numeral(f"{summary.seconds:,.1f}"),
        )  # fmt: skip
        echo(f"cielo: {told}", err=True)
        decisions: dict[str, int] = {name: summary.decisions.get(name, 0) for name in DECISIONS}
        for line in counted_lines(summary.methods, decisions if summary.linked else {}):
            echo(line, err=True)
    if summary.errors:
        count = numeral(f"{summary.errors:,}")
        told = say("{count} row(s) hold an error; see {file}", count=count, file=output / "errors.csv")
        echo(f"cielo: {told}", err=True)
        sys.exit(EXIT_ROWS)
