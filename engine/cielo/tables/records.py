"""Lines into records of cells: quotes, values over several lines, and quotes that are never closed."""

from __future__ import annotations

import csv
import itertools
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import TypeAlias

from cielo.said import Said
from cielo.tables.formats import Quoting

# Its first line, from 1; its cells; what is wrong with it, if anything is.
Record: TypeAlias = tuple[int, list[str], str | None]

# How far a quoted value may reach, in lines: farther, the quote is taken for a fault of its own row.
MAX_LINES = 100
# So many lines inside a quoted value that are all rows by themselves are rows, and the quote before them is a fault.
_WHOLE_ROWS = 3
_MAX_CELL = 1 << 28
_JOINED = ",;"  # with other delimiters a line end ends the row, in files that know no quoting
MALFORMED = Said('the row is not well-formed CSV; close its quotes, and write a quote inside them as ""')
RETURN = Said("the row holds a carriage return inside a value; end lines with line feeds")

csv.field_size_limit(max(csv.field_size_limit(), _MAX_CELL))


class Lines:
    """Numbered lines that can be put back."""

    def __init__(self, lines: Iterable[str]) -> None:
        self._lines = iter(lines)
        self._waiting: deque[str] = deque()
        self.number = 0  # of the line given last, from 1
        self.is_ended = True  # whether the line given last has a line end

    def __iter__(self) -> Lines:
        return self

    def __next__(self) -> str:
        line = self._waiting.popleft() if self._waiting else next(self._lines)
        self.number += 1
        self.is_ended = line.endswith("\n")
        return line

    def put_back(self, lines: list[str]) -> None:
        """Put lines back that were given last, in their order."""
        self._waiting.extendleft(reversed(lines))
        self.number -= len(lines)
        self.is_ended = True


def read_records(lines: Iterable[str], delimiter: str, quoting: Quoting, width: int | None = None) -> list[Record]:
    """Return all records of lines; see `split_records`."""
    return list(split_records(Lines(lines), delimiter, quoting, width))


def split_records(
    lines: Lines,
    delimiter: str,
    quoting: Quoting,
    width: int | None = None,
    check: Callable[[str], str | None] | None = None,
) -> Iterator[Record]:
    """Yield the records of lines.

    A quoted value may hold line ends where it is closed within `MAX_LINES` lines, the record then has `width` cells,
    and the lines inside it are not plainly rows. Else the quote is a fault of its own row, and the next line is read
    as the next row.

    Args:
        lines: with their ends.
        delimiter: between cells.
        quoting: see `cielo.tables.formats.TableFormat`.
        width: how many cells the header has; None: not known.
        check: says what is wrong with a line that is not ASCII, if anything is.
    """
    for line in lines:
        number = lines.number
        taken = [line]
        if quoting == "none" or '"' not in line:
            text = line.removesuffix("\n").removesuffix("\r")
            cells: list[str] | None = text.split(delimiter)
            fault: str | None = RETURN if "\r" in text else None
        else:
            cells = _quoted(taken, lines, delimiter, joining=quoting == "strict" or delimiter in _JOINED)
            if cells is None or (len(taken) > 1 and not _is_whole(cells, taken, delimiter, width)):
                lines.put_back(taken[1:])
                del taken[1:]
                cells = None if quoting == "strict" else line.rstrip("\r\n").split(delimiter)
            fault = MALFORMED if cells is None else None
        if check is not None and fault is None:
            fault = next((found for part in taken if not part.isascii() and (found := check(part))), None)
        yield number, cells or [], fault


def _quoted(taken: list[str], lines: Lines, delimiter: str, *, joining: bool) -> list[str] | None:
    """Return the cells of the record that begins with the line taken; take more lines where a quote is open."""

    def feed() -> Iterator[str]:
        yield taken[0]
        for line in itertools.islice(lines, MAX_LINES - 1 if joining else 0):
            taken.append(line)
            yield line

    try:
        return next(csv.reader(feed(), delimiter=delimiter, strict=True))
    except csv.Error:
        return None


def _is_whole(cells: list[str], taken: list[str], delimiter: str, width: int | None) -> bool:
    if width is not None and len(cells) != width:
        return False
    inner = taken[1:-1]
    if len(inner) < _WHOLE_ROWS or len(cells) < 2:
        return True
    rows = [line.rstrip("\r\n").split(delimiter) for line in inner]
    return not all(len(row) == len(cells) and any(map(str.strip, row)) for row in rows)
