"""Tables of codes: which rows of a table are codes with their descriptions, and why the others are not."""

from __future__ import annotations

import stat
import unicodedata
from dataclasses import dataclass
from pathlib import Path

from cielo.errors import TableError
from cielo.knowledge.code_columns import CODE, DESCRIPTION, PREFERRED, Chosen, choose_columns
from cielo.tables import Cell, ColumnFinder, Format, RejectedRow, TableFormat, TableRow, read_table
from cielo.tables.rows import NotText, UnfitError, check_text, text_of
from cielo.text.normal import fold_spaces

_TRUE = frozenset({"1", "true", "verdadero", "s", "si", "x", "y", "yes"})
_FALSE = frozenset({"", "0", "false", "falso", "n", "no"})


@dataclass(frozen=True, slots=True)
class CodeTable:
    """What to read and how.

    Attributes:
        path: of the file.
        kind: of its rows (``diagnosis``, ``procedure``).
        format: None: by the name's ending.
        encoding: of a text file; None: detected (see `cielo.tables.encodings.encoding_of`).
        sheet: of a workbook, by name; None: the first that has a header with both columns.
        code_column: by name, without regard to case, accents, spaces and punctuation; None: by the usual names and by
            what the columns hold (see `cielo.knowledge.code_columns`).
        description_column: likewise.
        synonyms: whether its descriptions are never the preferred ones (an index of terms).
    """

    path: Path
    kind: str
    format: Format | None = None
    encoding: str | None = None
    sheet: str | None = None
    code_column: str | None = None
    description_column: str | None = None
    synonyms: bool = False


@dataclass(frozen=True, slots=True)
class CodeRow:
    """One row: its line (of a workbook or a Parquet file: its row), a code as it was written, and a description."""

    line: int
    code: str
    description: str
    preferred: bool


@dataclass(frozen=True, slots=True)
class CodeRows:
    """The rows of a table of codes.

    Attributes:
        rows: in their order, and in their places those that cannot be taken.
        warnings: what seems wrong with the table as a whole.
        lines: how many lines of the file were read (of a workbook or a Parquet file: rows).
    """

    rows: tuple[CodeRow | RejectedRow, ...]
    warnings: tuple[str, ...] = ()
    lines: int = 0


def read_code_table(table: CodeTable) -> CodeRows:
    """Read the rows of a table of codes.

    Codes are text: nothing but white space around them is taken off. Descriptions have their white space folded. A
    row is preferred where the column ``preferred`` says so, or where there is none and the table is not one of
    synonyms.

    Raises:
        TableError: where the file as a whole cannot be read, or it is not clear which columns to read.
    """
    _check_regular(table.path)
    roles = CODE.called(table.code_column), DESCRIPTION.called(table.description_column)
    form = TableFormat(format=table.format, encoding=table.encoding, sheet=table.sheet)
    with read_table(table.path, form, roles) as source:
        read = list(source)
    chosen = choose_columns(source, read, roles, synonyms=table.synonyms)
    finder = ColumnFinder(*(chosen.roles or roles), PREFERRED)
    rows = [_row(row, finder, chosen, table) for row in read[chosen.above :]]
    return CodeRows(tuple(rows), (*source.warnings(), *chosen.warnings), source.lines)


def _check_regular(path: Path) -> None:
    try:
        if not stat.S_ISREG(path.stat().st_mode) and not path.is_dir():
            raise TableError(f"{path}: cannot be read (it is no regular file); save it as a file")
    except (OSError, ValueError):
        return  # the reader says what is wrong


def _row(row: TableRow | RejectedRow, finder: ColumnFinder, chosen: Chosen, table: CodeTable) -> CodeRow | RejectedRow:
    if isinstance(row, RejectedRow):
        return row
    values = row.values
    if chosen.needed > len(values):
        return RejectedRow(row.number, f"the row has {len(values)} column(s), expected {chosen.needed} or more")
    code, description, mark = chosen.names or finder.names(values)
    try:
        cell = None if code is None else values[code]
        found = (cell if isinstance(cell, str) else text_of(cell, "code", digits=True)).strip()
        if not found.isalnum():  # a code that is needs no other check
            check_text(found, "code")
        cell = None if description is None else values[description]
        text = fold_spaces(cell if isinstance(cell, str) else text_of(cell, "description"))
        if not text or not text.isprintable():
            check_text(text, "description")
        preferred = not table.synonyms and (mark is None or _is_preferred(values.get(mark)))
        return CodeRow(row.number, found, text, preferred)
    except UnfitError as error:
        return RejectedRow(row.number, str(error))


def _is_preferred(cell: Cell) -> bool:
    value = cell.shown if isinstance(cell, NotText) else cell
    if value is None:
        return False
    if isinstance(value, (bool, int, float)) and value in (0, 1):
        return bool(value)
    if isinstance(value, str):
        plain = unicodedata.normalize("NFKD", value.strip().casefold()).replace("\u0301", "")
        if plain in _TRUE or plain in _FALSE:
            return plain in _TRUE
    raise UnfitError("the mark of preference is not known; expected yes or no, true or false, 1 or 0, x or nothing")
