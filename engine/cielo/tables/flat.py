"""Tables of separated values: TSV without quoting (the IANA media type), CSV as in RFC 4180."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import BinaryIO

from cielo.said import Said
from cielo.tables.columns import Role, unique_names
from cielo.tables.delimiters import DELIMITERS, HEAD_LINES, NO_DELIMITER, find_dialect, separator_line
from cielo.tables.encodings import UNDECODED, not_decoded, open_lines
from cielo.tables.formats import GZIP, Quoting, TableFormat
from cielo.tables.records import Lines, Record, split_records
from cielo.tables.rows import Cell, RejectedRow, TableRow, is_blank, is_decoded
from cielo.tables.table import Table

_TOO_MANY = Said("the row has {count} columns; the header has {width} (a delimiter inside a value cuts it)")
_TOO_MANY_FOR_FIRST = Said(
    "the row has {count} columns; the first row has {width} (a delimiter inside a value cuts it)"
)
_CUT = Said("the row has {count} columns; the header has {width} (the file may have been cut short)")
_CUT_FOR_FIRST = Said("the row has {count} columns; the first row has {width} (the file may have been cut short)")


def open_flat(
    stream: BinaryIO, table: Table, form: TableFormat, roles: Sequence[Role]
) -> Iterator[TableRow | RejectedRow]:
    """Find the layout of a CSV or a TSV, and return its rows.

    Args:
        stream: of its bytes.
        table: gets the columns, the header's line, the encoding and the delimiter.
        form: see `TableFormat`.
        roles: whose columns a header has.

    Raises:
        TableError: where the encoding is not known.
    """
    tsv = table.format == "tsv"
    table.encoding, decoded = open_lines(stream, table.name, form.encoding)
    lines = _without_comments(decoded, form.comment) if form.comment else decoded
    head = list(itertools.islice(lines, HEAD_LINES))
    named = separator_line(head[0]) if head and not tsv else None
    if named is not None:
        head[0] = "\n"
    candidates = form.delimiter or named or ("\t" if tsv else DELIMITERS)
    # Excel writes its quotes into a "text with tabs", which is called .txt.
    plain: Quoting = "lenient" if table.name.lower().removesuffix(GZIP).endswith(".txt") else "none"
    quoting = form.quoting or (plain if tsv else "strict")
    layout = find_dialect(head, roles, candidates, quoting)
    if tsv and roles and layout.header is None and not any("\t" in line for line in head):
        other = find_dialect(head, roles, DELIMITERS, form.quoting or "strict")
        if other.header is not None or _is_cut_by_semicolons(head):
            table.format, layout, quoting = "csv", other, form.quoting or "strict"
    table.delimiter = layout.delimiter if layout.delimiter != NO_DELIMITER else None
    table.header = layout.header
    table.raw_columns = layout.columns
    table.columns = tuple(unique_names(layout.columns))
    if not layout.columns:
        table.nearest = tuple(next((line.strip().split(layout.delimiter) for line in head if line.strip()), ()))
    source = Lines(itertools.chain(head, lines))
    records = split_records(source, layout.delimiter, quoting, len(layout.columns) or None, _check(table))
    return _rows(source, table, records)


def _is_cut_by_semicolons(head: Sequence[str]) -> bool:
    counts = {line.count(";") for line in head if line.strip()}
    return len(counts) == 1 and counts != {0}


def _check(table: Table) -> Callable[[str], str | None]:
    look, reason = table.signs.look, not_decoded(table.encoding or "")

    def check(line: str) -> str | None:
        look(line)
        return reason if UNDECODED in line else None

    return check


def _without_comments(lines: Iterator[str], mark: str) -> Iterator[str]:
    """Yield an empty line for each comment, so that lines keep their numbers."""
    return ("\n" if line.startswith(mark) else line for line in lines)


def _rows(lines: Lines, table: Table, records: Iterator[Record]) -> Iterator[TableRow | RejectedRow]:
    header, names, width = table.header or 0, table.columns, len(table.columns)
    unnamed = [name for name, raw in zip(names, table.raw_columns, strict=True) if not raw.strip()]
    for line, cells, fault in records:
        table.lines = lines.number
        if line <= header:
            continue
        # Most rows are seen not to be blank by their first cell.
        if fault is None and not (cells[0].isprintable() and cells[0].strip()) and all(map(is_blank, cells)):
            continue
        if not table.columns and (width < 2 or table.format == "tsv") and fault is None:  # without a header
            width = len(cells)
            names = tuple(str(place) for place in range(1, width + 1))
        values: dict[str, Cell] = dict(zip(names, cells, strict=False))
        fault = fault or _fault_of_width(cells, width, table, lines)
        if fault is not None:
            yield RejectedRow(line, fault, {name: cell for name, cell in values.items() if is_decoded(str(cell))})
            continue
        for name in unnamed:
            if is_blank(str(values.get(name, "x"))):
                del values[name]
        yield TableRow(line, values)


def _fault_of_width(cells: list[str], width: int, table: Table, lines: Lines) -> str | None:
    count = len(cells)
    if count > width and any(map(str.strip, cells[width:])):
        return Said(_TOO_MANY if table.columns else _TOO_MANY_FOR_FIRST, count=count, width=width)
    if 1 < width > count and not lines.is_ended:
        return Said(_CUT if table.columns else _CUT_FOR_FIRST, count=count, width=width)
    return None
