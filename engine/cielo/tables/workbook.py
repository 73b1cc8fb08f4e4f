"""Workbooks (XLSX): the header is looked for in each sheet, and a number is a code only where nothing was lost."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from typing import Any

from cielo.errors import TableError
from cielo.tables.columns import Columns, find_code, find_columns, find_description, no_columns
from cielo.tables.lines import open_bytes
from cielo.tables.rows import CodeTable, Rejected, TableRow, UnfitError, is_blank, row_of

_HEADER_ROWS = 50
# The format's own limit; a damaged row number must not ask for more rows than that.
_MAX_ROWS = 1 << 20
_SHOWN_SHEETS = 24
# How a workbook writes a carriage return inside a text.
_RETURN = "_x000D_"
_CHANGED = "Excel has changed it; format the column as text and enter the code anew"
_SCIENTIFIC = re.compile(r"[Ee][+-]")
_ZEROS = re.compile("0+")
# `General` shows larger numbers in scientific notation, and no number keeps more than fifteen digits.
_MAX_GENERAL = 10**11
_MAX_EXACT = 10**15


def read_workbook(table: CodeTable) -> Iterator[TableRow | Rejected]:
    """Read a sheet of a workbook; formulas count with the values that were last computed."""
    try:
        import openpyxl
    except ImportError as error:
        raise TableError(f"{table.path}: reading workbooks needs openpyxl; pip install 'cielo[tables]'") from error
    try:
        with open_bytes(table.path) as stream:
            with warnings.catch_warnings():  # of styles and of checks that no table needs
                warnings.simplefilter("ignore")
                book = openpyxl.load_workbook(stream, read_only=True, data_only=True, keep_links=False)
            yield from _rows(book, table)
    except TableError:
        raise
    except Exception as error:  # the library has none of its own: damaged files bring out every kind
        raise TableError(
            f"{table.path}: is no XLSX workbook, or is damaged or encrypted ({type(error).__name__}); save it anew"
        ) from error


def _rows(book: Any, table: CodeTable) -> Iterator[TableRow | Rejected]:
    sheet, header, columns = _find_header(book, table)
    for line, cells in enumerate(sheet.iter_rows(min_row=header + 1, max_row=_MAX_ROWS), start=header + 1):
        if not all(_is_blank(cell.value) for cell in cells):
            yield _row(line, cells, columns, table)


def _find_header(book: Any, table: CodeTable) -> tuple[Any, int, Columns]:
    sheets = book.worksheets
    if table.sheet is not None:
        sheets = [sheet for sheet in sheets if sheet.title == table.sheet]
        if not sheets:
            raise TableError(
                f"{table.path}: there is no sheet {table.sheet!r}; the sheets are: {_titles(book.worksheets)}"
            )
    nearest: list[str] = []  # the names to show where no row is a header
    for sheet in sheets:
        sheet.reset_dimensions()  # what a sheet says of its own size is often wrong
        for row, cells in enumerate(sheet.iter_rows(max_row=_HEADER_ROWS), start=1):
            names = [cell.value if isinstance(cell.value, str) else "" for cell in cells]
            columns = find_columns(names, table)
            if columns is not None:
                return sheet, row, columns
            nearest = max(nearest, names, key=lambda found: _likeness(found, table))
    where = f" (the first {_HEADER_ROWS} rows of {_titles(sheets) or 'no sheet'})"
    raise no_columns(table, nearest, where)


def _likeness(names: list[str], table: CodeTable) -> tuple[bool, bool]:
    named = find_code(names, table) is not None or find_description(names, table) is not None
    return named, sum(bool(name.strip()) for name in names) > 1


def _titles(sheets: list[Any]) -> str:
    more = f" and {len(sheets) - _SHOWN_SHEETS} more" if len(sheets) > _SHOWN_SHEETS else ""
    return ", ".join(repr(sheet.title) for sheet in sheets[:_SHOWN_SHEETS]) + more


class _Nothing:
    """A cell beyond the last one of its row."""

    value = None
    data_type = "n"


def _cell(cells: tuple[Any, ...], place: int) -> Any:
    return cells[place] if place < len(cells) else _Nothing


def _is_blank(value: object) -> bool:
    return value is None or (isinstance(value, str) and is_blank(value))


def _row(line: int, cells: tuple[Any, ...], columns: Columns, table: CodeTable) -> TableRow | Rejected:
    try:
        code = _code(_cell(cells, columns.code))
        description = _cell(cells, columns.description)
        if description.data_type == "e":
            raise UnfitError("the description is an error value")
    except UnfitError as error:
        return Rejected(line, str(error))
    text = description.value
    if isinstance(text, str):
        text = text.replace(_RETURN, "\r")
    mark = True if columns.preferred is None else _cell(cells, columns.preferred).value
    return row_of(line, code, text, mark, table)


def _code(cell: Any) -> str | None:
    """Return the text of a code's cell.

    Raises:
        UnfitError: where the cell holds something else, and what was entered cannot be told from it.
    """
    value = cell.value
    if cell.data_type == "e":
        raise UnfitError(f"the code is an error value: {_CHANGED}")
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        raise UnfitError(f"the code is a truth value: {_CHANGED}")
    if isinstance(value, (int, float)):
        return _digits(value, cell.number_format)
    raise UnfitError(f"the code is a date or a time: {_CHANGED}")


def _digits(value: int | float, number_format: str) -> str:
    if _SCIENTIFIC.search(number_format):
        raise UnfitError(f"the code is a number in scientific notation: {_CHANGED}")
    if value != value or value in (float("inf"), float("-inf")) or value != int(value):
        raise UnfitError(f"the code is a number with a fraction: {_CHANGED}")
    whole = int(value)
    if 0 <= whole < _MAX_GENERAL and number_format.casefold() in ("general", "@"):
        return str(whole)
    if 0 <= whole < _MAX_EXACT and _ZEROS.fullmatch(number_format):
        return str(whole).zfill(len(number_format))
    raise UnfitError(f"the code is a number whose format does not show its digits alone: {_CHANGED}")
