"""Tables of separated values: TSV without quoting (the IANA media type), CSV as in RFC 4180."""

from __future__ import annotations

import csv
import itertools
import re
from collections import deque
from collections.abc import Iterable, Iterator

from cielo.tables.columns import Columns, find_columns, is_partial, no_columns
from cielo.tables.lines import open_lines
from cielo.tables.rows import CodeTable, Rejected, TableRow, is_blank, is_decoded, row_of

_SEPARATORS = ",;\t"
_QUOTED = re.compile(r'"[^"]*"?')
# How far a quoted value may reach: a quote that is never closed must not cost the time of the whole file.
_MAX_LINES = 100

_Record = tuple[int, list[str] | str]  # its first line; its cells, or why it has none


def read_tsv(table: CodeTable) -> Iterator[TableRow | Rejected]:
    """Read a TSV: every tab separates, a quote is a character like any other."""
    with open_lines(table) as (encoding, lines):
        yield from _rows(_tsv_records(lines, encoding), table, quoting=False)


def read_csv(table: CodeTable) -> Iterator[TableRow | Rejected]:
    """Read a CSV; the separator is the one with which the first row is a header, else the first one in that row."""
    with open_lines(table) as (encoding, lines):
        head: list[str] = []
        for line in lines:
            head.append(line)
            if not is_blank(line.strip(f'{_SEPARATORS}" \r\n')):
                break
        separator = _separator(head[-1], table) if head else ","
        yield from _rows(_csv_records(_Lines(itertools.chain(head, lines)), separator, encoding), table, quoting=True)


def _tsv_records(lines: Iterator[str], encoding: str) -> Iterator[_Record]:
    for number, line in enumerate(lines, start=1):
        if is_decoded(line):
            yield number, line.rstrip("\r\n").split("\t")
        else:
            yield number, _not_text(encoding)


def _not_text(encoding: str) -> str:
    return f"the row is not {encoding}; save the file as UTF-8 or name its encoding"


def _separator(line: str, table: CodeTable) -> str:
    headers = [mark for mark in _SEPARATORS if find_columns(line.split(mark), table)]
    if headers:
        return headers[0]
    outside = _QUOTED.sub("", line)
    return next((char for char in outside if char in _SEPARATORS), ",")


class _Lines:
    """Lines that can be put back."""

    def __init__(self, lines: Iterable[str]) -> None:
        self._lines = iter(lines)
        self._waiting: deque[str] = deque()

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        return self._waiting.popleft() if self._waiting else next(self._lines)

    def put_back(self, lines: list[str]) -> None:
        self._waiting.extendleft(reversed(lines))


def _csv_records(lines: _Lines, separator: str, encoding: str) -> Iterator[_Record]:
    number = 1
    for line in lines:
        taken = [line]
        cells = _csv_cells(taken, lines, separator)
        if cells is None:
            lines.put_back(taken[1:])
            del taken[1:]
            yield number, 'the row is not well-formed CSV; close its quotes, and write a quote inside them as ""'
        else:
            yield number, cells if all(map(is_decoded, taken)) else _not_text(encoding)
        number += len(taken)


def _csv_cells(taken: list[str], lines: _Lines, separator: str) -> list[str] | None:
    """Return the cells of the record that begins with the line taken; take more lines where a quote is open."""
    if '"' not in taken[0]:
        return taken[0].rstrip("\r\n").split(separator)

    def feed() -> Iterator[str]:
        yield taken[0]
        for line in itertools.islice(lines, _MAX_LINES - 1):
            taken.append(line)
            yield line

    try:
        return next(csv.reader(feed(), delimiter=separator, strict=True))
    except csv.Error:
        return None


def _rows(records: Iterator[_Record], table: CodeTable, *, quoting: bool) -> Iterator[TableRow | Rejected]:
    columns: Columns | None = None
    width: int | None = None
    for line, cells in records:
        if isinstance(cells, list) and all(map(is_blank, cells)):
            continue
        if columns is None:
            columns, is_header = _columns(cells, table)
            width = len(cells) if isinstance(cells, list) and (is_header or quoting) else None
            if is_header:
                continue
        yield Rejected(line, cells) if isinstance(cells, str) else _row(line, cells, columns, width, table)


def _columns(cells: list[str] | str, table: CodeTable) -> tuple[Columns, bool]:
    """Return the columns, and whether the first row names them."""
    names = cells if isinstance(cells, list) else []
    found = find_columns(names, table)
    if found is not None:
        return found, True
    if is_partial(names, table):
        raise no_columns(table, names)
    return Columns(0, 1), False


def _row(line: int, cells: list[str], columns: Columns, width: int | None, table: CodeTable) -> TableRow | Rejected:
    if len(cells) < columns.needed:
        return Rejected(line, f"the row has {len(cells)} column(s), expected {columns.needed} or more")
    if width is not None and len(cells) > width and not all(map(is_blank, cells[width:])):
        return Rejected(
            line,
            f"the row has {len(cells)} columns, the first row {width}; a separator inside a value would cut it short",
        )
    mark: object = True
    if columns.preferred is not None:
        mark = cells[columns.preferred] if columns.preferred < len(cells) else None
    return row_of(line, cells[columns.code], cells[columns.description], mark, table)
