"""A list of codes in a file: a code on each line, a table with a column of codes, or lines that begin with a code."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cielo.errors import TableError
from cielo.knowledge.code_columns import CODE
from cielo.knowledge.codes import code_key
from cielo.tables import ColumnFinder, RejectedRow, TableFormat, format_of, read_table
from cielo.tables.rows import Cell, NotText, UnfitError, text_of

_BETWEEN = re.compile(r"[\s,;|]+")
_UNKNOWN = "the knowledge base does not know the code; correct it, or remove the line"


@dataclass(frozen=True, slots=True)
class CodeList:
    """The codes of a file.

    Attributes:
        lines: the line of each code, and the code as it is written.
        rejected: lines that name none.
    """

    lines: tuple[tuple[int, str], ...]
    rejected: tuple[RejectedRow, ...] = ()

    @property
    def codes(self) -> frozenset[str]:
        """Every code of the file."""
        return frozenset(code for _, code in self.lines)

    def problems(self, knows: Callable[[str], bool]) -> list[RejectedRow]:
        """Return the lines that name no code, or one that `knows` refuses, in their order."""
        unknown = [RejectedRow(line, _UNKNOWN) for line, code in self.lines if not knows(code)]
        return sorted([*self.rejected, *unknown], key=lambda row: row.line)


def read_codes(path: Path) -> CodeList:
    """Return the codes that a file names.

    Where it has a header with a column of codes (``codigo``, ``code``), they are that column's; else the code is the
    first word of each line, whatever stands behind it: white space, a comma, a semicolon, a tab or ``|``.

    Raises:
        TableError: where it cannot be read, or names no code.
    """
    form = format_of(path, default="tsv")
    text = form in ("csv", "tsv")
    given = TableFormat(format="csv" if text else form, quoting="lenient" if text else None)
    table = read_table(path, given, (CODE,))
    finder = ColumnFinder(CODE)
    lines: list[tuple[int, str]] = []
    rejected: list[RejectedRow] = []
    for row in table:
        if isinstance(row, RejectedRow):
            rejected.append(RejectedRow(row.line, row.reason))
            continue
        headed = table.header is not None or form in ("json", "jsonl")
        cell = finder.cells(row.values)[0] if headed else next(iter(row.values.values()), None)
        try:
            lines.append((row.number, _code(cell)))
        except UnfitError as error:
            rejected.append(RejectedRow(row.number, str(error)))
    if not lines:
        first = (
            f" ({len(rejected)} lines; the first, line {rejected[0].line}: {rejected[0].reason})" if rejected else ""
        )
        raise TableError(f"{path}: names no code{first}; expected one on each line")
    return CodeList(tuple(lines), tuple(rejected))


def _code(cell: Cell) -> str:
    text = text_of(cell, "code", digits=isinstance(cell, NotText))
    code = next((word for word in _BETWEEN.split(text.replace('"', " ")) if word), "")
    if not code_key(code):
        raise UnfitError("the line names no code; expected one with a letter or a digit")
    return code
