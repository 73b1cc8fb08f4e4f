"""The rows of a file, linked: what ``cielo link --input`` does."""

from __future__ import annotations

import contextlib
import functools
import itertools
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cielo.cli.base import EXIT_ROWS, echo, open_linker, report_problems, report_withheld, require_codes
from cielo.cli.progress import Progress, Summary
from cielo.decisions import Thresholds, decision_of
from cielo.errors import CieloError, MentionError
from cielo.records import Json, Link, Mention
from cielo.tables import Format, Table, TableFormat, format_of
from cielo.tables.formats import OutputStyle, require_library
from cielo.tables.links import OutputColumns, kept_columns, output_row, write_rows
from cielo.tables.mentions import InputRow, MentionColumns, open_input, read_mentions
from cielo.tables.writing import open_output
from cielo.text.wording import WORDS

if TYPE_CHECKING:
    from cielo.link.linker import Linker
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
    """

    source: str
    reading: TableFormat
    columns: MentionColumns
    target: str
    form: Format
    style: OutputStyle
    thresholds: Thresholds
    kind: str | None = None


def reading_of(source: str, named: TableFormat, target: str, other: Format | None) -> TableFormat:
    """Return how the input is read: its format is the one named, else its name tells, else it is the output's.

    Raises:
        TableError: where none of these tells it, or its library is missing.
    """
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
    with open_input(rows.source) as stream:
        name = "standard input" if rows.source == "-" else rows.source
        read = read_mentions(stream, rows.reading, columns=rows.columns, name=name)
        with open_linker(**opening) as linker, open_output(rows.target, rows.form) as output:
            require_codes(linker, options.subset)
            report_problems(linker.lexicon_problems())
            summary = Summary()
            drawn = rows.target != "-" or not sys.stdout.isatty()  # rows on the terminal are progress enough
            with Progress("linking", functools.partial(_count, rows), drawn=drawn) as progress:
                each = functools.partial(linker.link_each, options=options, progress=progress.advance)
                columns = _known_columns(rows, read.table, options, linker)
                outcomes = _outcomes(rows, read, each, summary)
                write_rows(output, rows.form, outcomes, style=rows.style, columns=columns)
            linked = summary.rows - summary.errors
            report_withheld(linker, options.subset, summary.without, linked)
    _report_table(read.table)
    summary.show()
    if summary.errors:
        echo(f"cielo: {summary.errors} row(s) hold an error; see their column `error`", err=True)
        sys.exit(EXIT_ROWS)


def _outcomes(
    rows: Rows, read: Iterable[InputRow], each: Callable[..., Iterator[Link | CieloError]], summary: Summary
) -> Iterator[dict[str, Json]]:
    # Rows and mentions go in step: `link_each` reads ahead by a chunk, whose rows wait here.
    waiting, handed = itertools.tee(read)
    mentions = (_mention_or_error(row, rows.kind, summary) for row in handed)
    chunk = {"chunk": _LIVE} if rows.target == "-" else {}
    words = WORDS[rows.style.language]
    for row, outcome in zip(waiting, each(mentions, **chunk), strict=True):
        summary.add(outcome)
        if isinstance(outcome, Link):
            decision = decision_of(outcome, rows.thresholds)
            summary.decisions[words["byHand" if decision == "none" else decision]] += 1
            yield output_row(row, outcome, rows.thresholds)
        else:
            yield output_row(row, str(outcome))


def _known_columns(rows: Rows, table: Table, options: LinkOptions, linker: Linker) -> OutputColumns | None:
    """Return the output's columns where rows are printed as they are done, and the input has a header."""
    if rows.target != "-" or not table.columns:
        return None
    constrained = linker.provenance(options).decoding == "constrained"
    return OutputColumns(kept_columns(table.columns), options.top_k, decision=True, proof=constrained)


def _report_table(table: Table) -> None:
    """Report what is odd about the input as a whole, and that no row of it was lost, on standard error."""
    for warning in table.warnings():
        echo(f"cielo: {click.format_filename(table.name)}: {warning}", err=True)
    if table.rejected:
        echo(f"cielo: {table.lines:,} lines were read, {table.rows:,} rows given", err=True)


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
