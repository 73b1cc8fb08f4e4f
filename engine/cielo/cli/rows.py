"""The rows of a file, linked: what ``cielo link --input`` does."""

from __future__ import annotations

import contextlib
import functools
import itertools
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cielo.bulk.records import BulkOptions
from cielo.cli.base import EXIT_ROWS, KEPT, echo
from cielo.cli.linkers import open_linker, report_problems, report_withheld, require_codes
from cielo.cli.outputs import PRINTED
from cielo.cli.progress import Progress, Summary
from cielo.cli.resuming import ROWS, Partial, Repeats, identity_of_rows
from cielo.decisions import Thresholds
from cielo.errors import CieloError, MentionError
from cielo.link.linker import CHUNK, Linker
from cielo.link.progress import Told
from cielo.link.streams import chunks
from cielo.records import Json, Link, Mention
from cielo.tables import Format, Table, TableFormat, format_of
from cielo.tables.formats import OutputStyle, known_format, require_library
from cielo.tables.links import OutputColumns, joined_row, kept_columns, language_of, link_columns, write_rows
from cielo.tables.mentions import InputRow, MentionColumns, open_input, read_mentions
from cielo.tables.reading import sniffed_format
from cielo.tables.writing import LIVE, open_output
from cielo.text import wording
from cielo.text.language import numeral, retell, say

if TYPE_CHECKING:
    from cielo.options import LinkOptions

_LIVE = 64  # mentions at a time where somebody waits for the rows


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """The rows that are linked, and how they are written.

    Attributes:
        source: the input, ``-``: standard input.
        reading: how it is read, its format included (see `reading_of`).
        columns: what its columns are called.
        target: the output, ``-``: standard output.
        form: of the output (see `written_form`).
        style: of tables for people.
        thresholds: of the decisions.
        kind: of all mentions; None: each row's own.
        resumed: whether what is done is kept until the run is finished, and gone on with.
    """

    source: str
    reading: TableFormat
    columns: MentionColumns
    target: str
    form: Format
    style: OutputStyle
    thresholds: Thresholds
    kind: str | None = None
    resumed: bool = False


def reading_of(source: str, named: TableFormat, target: str, other: Format | None) -> TableFormat:
    """Return how the input is read: its format is the one named, else as its name or contents tell, else the output's.

    Raises:
        TableError: where none of these tells it, or its library is missing.
    """
    if source != "-" and known_format(source, named.format) is None:
        other = sniffed_format(Path(source)) or other
    if named.format is None and other is None and target != "-":
        other = format_of(target, default="jsonl")
    form = format_of(source, named.format, default=other)
    require_library(source, form)
    return TableFormat(format=form, encoding=named.encoding, delimiter=named.delimiter, sheet=named.sheet)


def written_form(target: str, named: Format | None, reading: TableFormat) -> Format:
    """Return the format of the output: as it is named or its name tells, else that of the input.

    Raises:
        TableError: where none of these tells it, or its library is missing.
    """
    like_input: Format | None = "xlsx" if reading.format == "xls" else reading.format
    form = format_of(target, named, default=like_input)
    if target == "-" and named is None and form in ("xlsx", "parquet"):
        return "jsonl"  # for a terminal or a pipe
    require_library(target, form)
    return form


def link_rows(rows: Rows, options: LinkOptions, **opening: Any) -> None:
    """Link the rows of a file, and end with the code for it where some hold an error.

    Args:
        rows: what is linked, and how it is written.
        options: how it is linked.
        opening: of the linker; see `open_linker`.

    Raises:
        CieloError: where a file cannot be read or written, or no linker opens.
    """
    if rows.target == "-" and rows.form in LIVE:
        click.get_current_context().meta[KEPT] = PRINTED
    with open_input(rows.source) as stream:
        name = "standard input" if rows.source == "-" else rows.source
        read = read_mentions(stream, rows.reading, columns=rows.columns, name=name)
        with contextlib.ExitStack() as stack:
            linker = stack.enter_context(open_linker(**opening))
            kept = stack.enter_context(_kept(rows, linker, options)) if rows.resumed else None
            output = stack.enter_context(open_output(rows.target, rows.form))
            require_codes(linker, options.subset)
            report_problems(linker.lexicon_problems())
            summary = Summary()
            drawn = rows.target != "-" or not sys.stdout.isatty()  # rows on the terminal are progress enough
            with Progress(say("linking"), functools.partial(_count, rows), drawn=drawn) as progress:
                if kept is not None:
                    progress.skip(kept.done)
                chunk = _LIVE if rows.target == "-" else CHUNK
                each = functools.partial(linker.link_each, options=options, chunk=chunk, progress=progress.advance)
                if kept is None:
                    outcomes = _outcomes(rows, iter(read), each, summary)
                else:
                    outcomes = _resumed(rows, iter(read), each, summary, kept, progress.advance)
                columns = _known_columns(rows, read.table, options, linker)
                write_rows(output, rows.form, outcomes, style=rows.style, columns=columns)
            report_withheld(linker, options.subset, summary.without, summary.rows - summary.errors)
    if kept is not None:
        kept.finish()
    _report_table(read.table)
    summary.show()
    if summary.errors:
        column = wording.labels(language_of(rows.form, rows.style)).get("error", "error")
        told = say(
            "{count} row(s) hold an error; see their column `{column}`", count=numeral(f"{summary.errors:,}"),
            column=column,
        )  # fmt: skip
        echo(f"cielo: {told}", err=True)
        sys.exit(EXIT_ROWS)


def _kept(rows: Rows, linker: Linker, options: LinkOptions) -> Partial:
    reading = BulkOptions(table=rows.reading, columns=rows.columns, thresholds=rows.thresholds, kind=rows.kind)
    partial = Partial(Path(rows.target), identity_of_rows(Path(rows.source), linker, options, reading))
    click.get_current_context().meta[KEPT] = (
        f"whole chunks of {ROWS} rows stay in {partial.path}; the same command goes on"
    )
    if partial.done:
        told = say("going on after {count} rows", count=numeral(f"{partial.done:,}"))
        echo(f"cielo: {told}", err=True)
    return partial


_Each = Callable[[Iterable[Mention | MentionError]], Iterator[Link | CieloError]]


def _outcomes(rows: Rows, read: Iterator[InputRow], each: _Each, summary: Summary) -> Iterator[dict[str, Json]]:
    """Yield the output's rows."""
    summary.expect_decisions()
    # Rows and mentions go in step: `link_each` reads ahead by a chunk, whose rows wait here.
    waiting, handed = itertools.tee(read)
    for row, outcome in zip(waiting, each(_mention_or_error(row, rows.kind, summary) for row in handed), strict=True):
        yield _joined(row, _told(outcome, rows, summary), rows, summary)


def _resumed(
    rows: Rows, read: Iterator[InputRow], each: _Each, summary: Summary, kept: Partial, told: Told
) -> Iterator[dict[str, Json]]:
    """Yield the output's rows: those that are done, then chunk by chunk the others, which are kept."""
    summary.expect_decisions()
    repeats = Repeats()
    for columns in kept.stored():
        row = next(read)
        repeats.keep(_mention_or_error(row, rows.kind, summary), columns)
        summary.count(columns)
        yield _joined(row, columns, rows, summary)
    for chunk in chunks(read, ROWS):
        entries = [_mention_or_error(row, rows.kind, summary) for row in chunk]
        known = [repeats.find(entry) for entry in entries]
        fresh = each(entry for entry, found in zip(entries, known, strict=True) if found is None)
        for row, entry, found in zip(chunk, entries, known, strict=True):
            if found is None:
                shown: Mapping[str, Json] = _told(next(fresh), rows, summary)
            else:
                shown = found
                summary.count(shown)
                told(1)
            repeats.keep(entry, shown)
            kept.append(shown)
            yield _joined(row, shown, rows, summary)


def _told(outcome: Link | CieloError, rows: Rows, summary: Summary) -> dict[str, Json]:
    summary.add(outcome)
    return link_columns(outcome, rows.thresholds) if isinstance(outcome, Link) else {"error": outcome.said}


def _joined(row: InputRow, columns: Mapping[str, Json], rows: Rows, summary: Summary) -> dict[str, Json]:
    if "decision" in columns:
        summary.decide(str(columns["decision"]))
    return joined_row(row, columns, language_of(rows.form, rows.style))


def _known_columns(rows: Rows, table: Table, options: LinkOptions, linker: Linker) -> OutputColumns | None:
    """Return the output's columns where rows are printed as they are done, and the input has a header."""
    if rows.target != "-" or not table.columns:
        return None
    constrained = linker.provenance(options).decoding == "constrained"
    return OutputColumns(
        kept_columns(table.columns, language_of(rows.form, rows.style)), options.top_k, decision=True, proof=constrained
    )


def _report_table(table: Table) -> None:
    """Report what is odd about the input as a whole, and that no row of it was lost, on standard error."""
    for warning in table.warnings():
        echo(f"cielo: {click.format_filename(table.name)}: {retell(warning)}", err=True)
    if table.rejected:
        lines, given = numeral(f"{table.lines:,}"), numeral(f"{table.rows:,}")
        told = say("{lines} lines were read, {rows} rows given", lines=lines, rows=given)
        echo(f"cielo: {told}", err=True)


def _mention_or_error(row: InputRow, kind: str | None, summary: Summary) -> Mention | MentionError:
    try:
        mention = row.mention(kind)
    except MentionError as error:
        return error
    summary.read(mention)
    return mention


def _count(rows: Rows) -> int | None:
    """Return how many rows a file has, by reading it once more; None where it can be read but once."""
    with contextlib.suppress(OSError, CieloError):
        if Path(rows.source).is_file():
            with open_input(rows.source) as stream:
                return sum(1 for _ in read_mentions(stream, rows.reading, columns=rows.columns, name=rows.source))
    return None
