"""``cielo link``: one mention for a reader, or the rows of a file."""

from __future__ import annotations

import contextlib
import functools
import itertools
import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import click

from cielo.cli.base import (
    EXIT_ROWS,
    console,
    echo,
    echo_json,
    main,
    open_linker,
    report_problems,
    report_withheld,
    require_codes,
)
from cielo.cli.options import (
    ALLOW_UNVERIFIED,
    BUNDLE,
    DECODINGS,
    GUARD,
    LEXICON,
    VERIFY,
    Size,
    link_options,
    linking_options,
    model_options,
)
from cielo.cli.outputs import Output, writes
from cielo.errors import MentionError
from cielo.records import Candidate, Decoding, Link, Mention, Proof
from cielo.tables import FORMATS, Format, Table, TableFormat, format_of
from cielo.tables import mentions as tables
from cielo.tables.formats import require_library
from cielo.tables.writing import open_output

if TYPE_CHECKING:
    from cielo.link.linker import Linker
    from cielo.options import LinkOptions


@main.command()
@click.argument("text", required=False)
@click.option("--sentence", help="The sentence that the mention stands in.")
@click.option("--kind", help="Only codes of this kind (in the mini: diagnosis, procedure).")
@click.option(
    "--input", "source", metavar="FILE|-", type=click.Path(allow_dash=True), help="Rows to link, with a column `text`."
)
@click.option(
    "--output",
    "target",
    metavar="FILE|-",
    type=Output(allow_dash=True),
    default="-",
    show_default=True,
    help="Where the rows go.",
)
@click.option(
    "--format", "form", type=click.Choice(FORMATS), help="Of --output; default: by its name, else that of --input."
)
@click.option(
    "--input-format", type=click.Choice(FORMATS), help="Of --input; default: by its name, else that of --output."
)
@click.option("--encoding", help="Of --input; default: detected (UTF-8, UTF-16 by its mark, else Windows-1252).")
@click.option("--sheet", help="Of a workbook; default: the first with a column `text`.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option(
    "--decoding", type=click.Choice(DECODINGS), help="How outputs are searched for; default: the bundle's own."
)
@BUNDLE
@ALLOW_UNVERIFIED
@VERIFY
@click.option(
    "--memory", type=Size(), help="Keep the process within this much memory, such as 3GB, by making batches smaller."
)
@click.option(
    "--cache", type=Output(kept=True, dir_okay=False, path_type=Path), help="Keep links in this file; it holds no text."
)
@LEXICON
@GUARD
@linking_options
@model_options
@writes
def link(
    text: str | None,
    sentence: str | None,
    kind: str | None,
    source: str | None,
    target: str,
    form: Format | None,
    input_format: Format | None,
    encoding: str | None,
    sheet: str | None,
    as_json: bool,
    decoding: Decoding | None,
    cache: Path | None,
    guard_formulas: bool,
    **given: Any,
) -> None:
    """Link one mention (TEXT), or the rows of a file (--input)."""
    if (text is None) == (source is None):
        raise click.UsageError("give either one TEXT or --input, not both and not neither")
    if source is not None and (sentence is not None or as_json):
        raise click.UsageError(
            "--sentence and --json belong to one TEXT; rows bring their own, and --format names their form"
        )
    options = link_options(given, decoding=decoding, neighbours="misses" if source is not None else "always")
    opening = {**given, "cache": cache or True, "decoding": decoding}
    if source is not None:
        reading = TableFormat(format=_format(source, input_format, target, form), encoding=encoding, sheet=sheet)
        written = _output_format(target, form, reading)
        write = functools.partial(tables.write_rows, form=written, guarded=guard_formulas)
        _link_rows(source, target, reading, write, kind, options, opening)
        return
    mention = Mention(text or "", sentence, kind)
    with open_linker(**opening) as linker:
        require_codes(linker, options.subset)
        report_problems(linker.lexicon_problems())
        linked = linker.link([mention], options)[0]
        report_withheld(linker, options.subset, linked.code is None, 1)
    if as_json:
        echo_json(json.dumps({"text": text, "sentence": sentence, **tables.link_columns(linked)}, ensure_ascii=False))
    else:
        _show_link(linked)


def _link_rows(
    source: str,
    target: str,
    reading: TableFormat,
    write: Callable[..., None],
    kind: str | None,
    options: LinkOptions,
    opening: dict[str, Any],
) -> None:
    failed = linked = without = 0

    def outcomes(linker: Linker, rows: Iterable[tables.InputRow]) -> Iterator[dict[str, Any]]:
        nonlocal failed, linked, without
        # Rows and mentions go in step: `link_each` reads ahead by a chunk, whose rows wait here.
        waiting, handed = itertools.tee(rows)
        mentions = (_mention_or_error(row, kind) for row in handed)
        for row, outcome in zip(waiting, linker.link_each(mentions, options), strict=True):
            if isinstance(outcome, Link):
                linked, without = linked + 1, without + (outcome.code is None)
                yield tables.output_row(row, outcome)
            else:
                failed += 1
                yield tables.output_row(row, str(outcome))

    with tables.open_input(source) as stream:
        rows = tables.read_mentions(stream, reading, name="standard input" if source == "-" else source)
        with open_linker(**opening) as linker, open_output(target) as output:
            require_codes(linker, options.subset)
            report_problems(linker.lexicon_problems())
            write(output, rows=outcomes(linker, _with_progress(rows, source, stream)))
            report_withheld(linker, options.subset, without, linked)
    _report_table(rows.table)
    if failed:
        echo(f"cielo: {failed} row(s) hold an error; see their column `error`", err=True)
        sys.exit(EXIT_ROWS)


def _format(source: str, named: Format | None, target: str, other: Format | None) -> Format:
    """Return the format of the input: as it is named or its name tells, else that of the output."""
    if named is None and other is None and target != "-":
        other = format_of(target, default="jsonl")
    form = format_of(source, named, default=other)
    require_library(source, form)
    return form


def _output_format(target: str, named: Format | None, reading: TableFormat) -> Format:
    """Return the format of the output: as it is named or its name tells, else that of the input."""
    form = format_of(target, named, default=reading.format)
    if target == "-" and named is None and form in ("xlsx", "parquet"):
        return "jsonl"  # for a terminal or a pipe
    require_library(target, form)
    return form


def _report_table(table: Table) -> None:
    """Report what is odd about the input as a whole, and that no row of it was lost, on standard error."""
    for warning in table.warnings():
        echo(f"cielo: {click.format_filename(table.name)}: {warning}", err=True)
    if table.rejected:
        echo(f"cielo: {table.lines:,} lines were read, {table.rows:,} rows given", err=True)


def _mention_or_error(row: tables.InputRow, kind: str | None) -> Mention | MentionError:
    try:
        mention = row.mention()
    except MentionError as error:
        return error
    return replace(mention, kind=kind) if mention.kind is None else mention


def _with_progress(rows: Iterable[tables.InputRow], source: str, stream: BinaryIO) -> Iterator[tables.InputRow]:
    """Show on a terminal how far the file has been read."""
    terminal = console(stderr=True)
    if not terminal.is_terminal or source == "-":
        yield from rows
        return
    from rich.progress import Progress

    with Progress(console=terminal, transient=True) as progress:
        task = progress.add_task("linking", total=os.fstat(stream.fileno()).st_size)
        for row in rows:
            yield row
            with contextlib.suppress(ValueError, OSError):
                progress.update(task, completed=stream.tell(), description=f"linking: row {row.number}")


_FOUND = {
    "exact": "exact: the generated text is a description of the knowledge base",
    "semantic": "semantic: the nearest description to the generated text",
    "lexicon": "lexicon: the mention stands in the lexicon; nothing was generated",
    "none": "none: no description lies near the generated text",
}


def _show_link(linked: Link) -> None:
    from rich.markup import escape
    from rich.table import Table

    out = console()
    out.print(_head(linked))
    if linked.title is not None and linked.title != linked.description:
        out.print(f"  title:     {escape(linked.title)}")
    if len(linked.codes) > 1:
        out.print(f"  also:      {escape(', '.join(linked.codes[1:]))}")
    out.print(f"  found by:  {_how(linked)}")
    if linked.probability is not None:
        distance = "" if linked.distance is None else f", distance {linked.distance:.3f}"
        out.print(f"  generated: {escape(linked.generated)}  (probability {linked.probability:.3f}{distance})")
    if linked.proof is not None:
        out.print(f"  proof:     {_proof(linked.proof)}")
    if linked.truncated:
        out.print("  note:      the prompt was longer than the model takes, and was cut")
    others = linked.candidates[1:] if linked.code else linked.candidates
    if others:
        table = Table(box=None, pad_edge=False, show_header=True, header_style="dim")
        for name in ("  runners-up", "kind", "description", "evidence"):
            table.add_column(name, no_wrap=name != "description")
        for candidate in others:
            evidence = ", ".join(_evidence(candidate))
            table.add_row(f"  {escape(candidate.code)}", candidate.kind, escape(candidate.description), evidence)
        out.print(table)
    origin, bundle = linked.provenance, linked.provenance.bundle
    source = f"{bundle.name}@{bundle.sha256[:12]}, {bundle.edition}"
    how = f"pipeline {origin.pipeline}{', matched as in the paper' if origin.matching == 'published' else ''}"
    out.print(f"[dim]  {escape(source)}, {origin.decoding}, {how}, {origin.compute_type} on {origin.device}[/]")


def _head(linked: Link) -> str:
    from rich.markup import escape

    if not linked.code:
        return "[bold]no code[/]"
    sure = "" if linked.confidence is None else f"  [bold](confidence {linked.confidence:.2f})[/]"
    return f"[bold]{escape(linked.code)}[/]  {escape(linked.description or '')}{sure}"


def _how(linked: Link) -> str:
    if linked.method == "none" and linked.confidence is not None:
        return f"none: the first candidate's confidence, {linked.confidence:.2f}, is too low"
    return _FOUND[linked.method] + (" (in normal form)" if linked.match == "normal" else "")


def _proof(proof: Proof) -> str:
    found = f"{proof.mass:.3f} of the probability in the descriptions found, {proof.passes} passes of the decoder"
    if proof.exact:
        return f"no description is more probable; {found}"
    return f"open: one that was not looked at could be more probable by {proof.gap:.2f} nats; {found}"


def _evidence(candidate: Candidate) -> Iterator[str]:
    if candidate.log_prob is not None:
        yield f"log-prob. {candidate.log_prob:.2f}"
    if candidate.distance is not None:
        yield f"distance {candidate.distance:.3f}"
