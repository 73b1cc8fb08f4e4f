"""The rows of a file, linked: what ``cielo link --input`` does."""

from __future__ import annotations

import contextlib
import functools
import itertools
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cielo.cli.base import EXIT_ROWS, echo, open_linker, report_problems, report_withheld, require_codes
from cielo.cli.progress import Progress, Summary
from cielo.errors import CieloError, MentionError
from cielo.records import Link, Mention
from cielo.tables import Format, Table, TableFormat, format_of
from cielo.tables import mentions as tables
from cielo.tables.formats import require_library
from cielo.tables.writing import open_output

if TYPE_CHECKING:
    from cielo.link.linker import Linker
    from cielo.options import LinkOptions


def reading_of(
    source: str,
    named: Format | None,
    target: str,
    other: Format | None,
    *,
    encoding: str | None = None,
    sheet: str | None = None,
) -> TableFormat:
    """Return how the input is read: its format is the one named, else its name tells, else it is the output's.

    Raises:
        TableError: where none of these tells it, or its library is missing.
    """
    return TableFormat(format=_format(source, named, target, other), encoding=encoding, sheet=sheet)


def link_rows(
    source: str,
    target: str,
    reading: TableFormat,
    form: Format | None,
    kind: str | None,
    options: LinkOptions,
    *,
    guarded: bool,
    **opening: Any,
) -> None:
    """Link the rows of a file, and end with the code for it where some hold an error.

    Args:
        source: the input, ``-``: standard input.
        target: the output, ``-``: standard output.
        reading: how the input is read.
        form: of the output; None: by its name, else that of the input.
        kind: of the mentions that name none.
        options: how they are linked.
        guarded: whether formulas are guarded; see `cielo.tables.writing`.
        opening: of the linker; see `open_linker`.

    Raises:
        CieloError: where a file cannot be read or written, or no linker opens.
    """
    written = _output_format(target, form, reading)
    linked = without = 0

    def outcomes(
        linker: Linker, rows: Iterable[tables.InputRow], summary: Summary, progress: Progress
    ) -> Iterator[dict[str, Any]]:
        nonlocal linked, without
        # Rows and mentions go in step: `link_each` reads ahead by a chunk, whose rows wait here.
        waiting, handed = itertools.tee(rows)
        mentions = (_mention_or_error(row, kind, summary) for row in handed)
        each = linker.link_each(mentions, options, progress=progress.advance)
        for row, outcome in zip(waiting, each, strict=True):
            summary.add(outcome)
            if isinstance(outcome, Link):
                linked, without = linked + 1, without + (outcome.code is None)
                yield tables.output_row(row, outcome)
            else:
                yield tables.output_row(row, str(outcome))

    with tables.open_input(source) as stream:
        rows = tables.read_mentions(stream, reading, name="standard input" if source == "-" else source)
        with open_linker(**opening) as linker, open_output(target) as output:
            require_codes(linker, options.subset)
            report_problems(linker.lexicon_problems())
            summary = Summary()
            drawn = target != "-" or not sys.stdout.isatty()  # rows on the terminal are progress enough
            with Progress("linking", functools.partial(_count, source, reading), drawn=drawn) as progress:
                tables.write_rows(output, written, outcomes(linker, rows, summary, progress), guarded=guarded)
            report_withheld(linker, options.subset, without, linked)
    _report_table(rows.table)
    summary.show()
    if summary.errors:
        echo(f"cielo: {summary.errors} row(s) hold an error; see their column `error`", err=True)
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


def _mention_or_error(row: tables.InputRow, kind: str | None, summary: Summary) -> Mention | MentionError:
    try:
        mention = row.mention(kind)
    except MentionError as error:
        return error
    summary.read(mention)
    return mention


def _count(source: str, reading: TableFormat) -> int | None:
    """Return how many rows a file has, by reading it once more; None where it can be read but once."""
    with contextlib.suppress(OSError, CieloError):
        if Path(source).is_file():
            with tables.open_input(source) as stream:
                return sum(1 for _ in tables.read_mentions(stream, reading, name=source))
    return None
