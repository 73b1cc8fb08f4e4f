"""How the delimiter of a table of separated values is guessed, and where its header is found.

In a CSV the delimiter is the one that Excel's line ``sep=;`` names, else the one with which a row among the first 50
lines is the header that is looked for, else the one with which most of these lines have equally many cells. A header
of one column over rows that no delimiter cuts into equally many cells is that of a table without delimiters, whose
texts may hold any sign.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cielo.tables.columns import Role, has_all
from cielo.tables.formats import Quoting
from cielo.tables.records import Record, read_records

DELIMITERS = ",;\t|"
# Between the cells of a table of one column: no text that was decoded holds it.
NO_DELIMITER = "\udc00"
HEAD_LINES = 50
_SEP = re.compile(r'\s*"?sep=(.)"?\s*', re.IGNORECASE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class Dialect:
    """How a table of separated values is laid out.

    Attributes:
        delimiter: between cells.
        header: the line of the header, and its cells; None: none was found.
        columns: its cells.
    """

    delimiter: str
    header: int | None = None
    columns: tuple[str, ...] = ()


def separator_line(line: str) -> str | None:
    """Return the delimiter that Excel's first line ``sep=;`` names; None: it is another line."""
    found = _SEP.fullmatch(line.rstrip("\r\n"))
    return None if found is None else found[1]


def find_dialect(lines: Sequence[str], roles: Sequence[Role], candidates: str, quoting: Quoting) -> Dialect:
    """Return the layout of a table.

    Args:
        lines: the first ones.
        roles: whose columns a header has; without any the first row with anything in it is the header.
        candidates: the delimiters to try, the likeliest first.
        quoting: see `cielo.tables.formats.TableFormat`.
    """
    read = {mark: read_records(lines, mark, quoting) for mark in candidates}
    best: tuple[int, int, Dialect] | None = None
    for mark, records in read.items():
        for line, cells, _ in records:
            if any(map(str.strip, cells)) and (not roles or has_all(cells, roles)):
                if best is None or (line, -len(cells)) < best[:2]:
                    best = line, -len(cells), Dialect(mark, line, tuple(cells))
                break
    if best is not None and roles:
        found = best[2]
        lone = len(candidates) > 1 and len(found.columns) == 1 and not _is_cut(read, best[0])
        return Dialect(NO_DELIMITER, found.header, found.columns) if lone else found
    if [role.named for role in roles] == ["1"] and len(candidates) > 1 and not _is_cut(read, 0):
        return Dialect(NO_DELIMITER)
    first_line = next((line for line in lines if line.strip()), "")
    # Of two that are equally regular it is the one that stands first.
    likeliest = max(candidates, key=lambda mark: (*_regularity(read[mark]), -(first_line + mark).index(mark)))
    if best is None:
        return Dialect(likeliest)
    first = next(((line, cells) for line, cells, _ in read[likeliest] if any(map(str.strip, cells))), None)
    return Dialect(likeliest) if first is None else Dialect(likeliest, first[0], tuple(first[1]))


def _is_cut(read: Mapping[str, Sequence[Record]], header: int) -> bool:
    """Tell whether a delimiter cuts all rows below the header into equally many cells, so that it may be one."""
    for records in read.values():
        widths = {len(cells) for line, cells, _ in records if line > header and any(map(str.strip, cells))}
        if len(widths) == 1 and widths != {1}:
            return True
    return False


def _regularity(records: Sequence[Record]) -> tuple[float, int]:
    """Return which share of the rows has the commonest number of cells, 0 where that is one, and that number."""
    widths = Counter(len(cells) for _, cells, _ in records if any(map(str.strip, cells)))
    if not widths:
        return 0.0, 0
    width, count = max(widths.items(), key=lambda item: (item[0] > 1, item[1], item[0]))
    return (count / len(records), width) if width > 1 else (0.0, 0)
