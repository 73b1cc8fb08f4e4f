"""Workbooks (XLSX, XLS): the header is looked for in each sheet, and a number is text only where nothing was lost."""

from __future__ import annotations

import datetime
import re
import warnings
from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO

from cielo.errors import TableError
from cielo.said import Said
from cielo.tables.columns import Role, has_all, unique_names
from cielo.tables.formats import TableFormat
from cielo.tables.rows import (
    A_NUMBER,
    A_TRUTH_VALUE,
    AN_ERROR_VALUE,
    OF_ANOTHER_TYPE,
    Cell,
    NotText,
    RejectedRow,
    TableRow,
    is_blank,
)
from cielo.tables.table import Table
from cielo.tables.xls import open_xls

_HEADER_ROWS = 50
# The format's own limit; a damaged row number must not ask for more rows than that.
MAX_ROWS = 1 << 20
_SHOWN_SHEETS = 24
# How a workbook writes characters that XML does not hold: ``_x000D_`` for a carriage return.
_ESCAPED = re.compile("_x([0-9A-Fa-f]{4})_")
_SCIENTIFIC = re.compile(r"[Ee][+-]")
_ZEROS = re.compile("0+")
# `General` shows larger numbers in scientific notation, and no number keeps more than fifteen digits.
_MAX_GENERAL = 10**11
_MAX_EXACT = 10**15


def _changed(what: Said) -> Said:
    return Said("{what}: Excel has changed it; format the column as text and enter the code again", what=what)


_SPOILED = {what: _changed(what) for what in (AN_ERROR_VALUE, A_TRUTH_VALUE)}
_DATE = _changed(Said("a date or a time"))
_SCIENTIFIC_NUMBER = _changed(Said("a number in scientific notation"))
_FRACTION = _changed(Said("a number with a fraction"))
_OTHER_FORMAT = _changed(Said("a number whose format does not show its digits alone"))


def open_workbook(
    stream: BinaryIO, table: Table, form: TableFormat, roles: Sequence[Role]
) -> Iterator[TableRow | RejectedRow]:
    """Find the sheet and the header, and return the rows; formulas count with the values that were last computed.

    Raises:
        TableError: where it is no workbook, or has no such sheet.
    """
    try:
        old = table.format == "xls" and not _is_archive(stream)  # many a file that is called .xls is an XLSX
        book = open_xls(stream) if old else _open_xlsx(stream)
        sheet = _find_header(book, table, form.sheet, roles)
    except TableError:
        raise
    except Exception as error:  # the library has none of its own: damaged files bring out every kind
        raise _damaged(table, error) from error
    return _rows(sheet, table)


def _is_archive(stream: BinaryIO) -> bool:
    beginning = stream.read(2)
    stream.seek(0)
    return beginning == b"PK"


def _open_xlsx(stream: BinaryIO) -> Any:
    import openpyxl

    with warnings.catch_warnings():  # of styles and of checks that no table needs
        warnings.simplefilter("ignore")
        return openpyxl.load_workbook(stream, read_only=True, data_only=True, keep_links=False)


def _damaged(table: Table, error: Exception) -> TableError:
    form = table.format.upper()
    return TableError(
        f"{table.name}: is no {form} workbook, or is damaged or encrypted ({type(error).__name__}); save it again"
    )


def _rows(sheet: Any, table: Table) -> Iterator[TableRow | RejectedRow]:
    if sheet is None:
        return
    names, first = table.columns, (table.header or 0) + 1
    try:
        for number, cells in enumerate(sheet.iter_rows(min_row=first, max_row=MAX_ROWS), start=first):
            table.lines = number
            values = [_value(cell) for cell in cells]
            if all(value is None or (isinstance(value, str) and is_blank(value)) for value in values):
                continue
            if len(values) > len(names):
                names = (*names, *(str(place) for place in range(len(names) + 1, len(values) + 1)))
                names = tuple(unique_names(names))
            yield TableRow(number, dict(zip(names, _whole(values, len(table.columns)), strict=False)))
    except Exception as error:
        raise _damaged(table, error) from error


def _whole(values: list[Cell], width: int) -> list[Cell]:
    """Return the cells of a row without the blank ones beyond the header, and None for those that are not stored."""
    while len(values) > width > 0 and (values[-1] is None or (isinstance(values[-1], str) and is_blank(values[-1]))):
        values.pop()
    return values + [None] * (width - len(values))


def _find_header(book: Any, table: Table, named: str | None, roles: Sequence[Role]) -> Any:
    sheets = book.worksheets
    if named is not None:
        sheets = [sheet for sheet in sheets if sheet.title == named]
        if not sheets:
            raise TableError(f"{table.name}: there is no sheet {named!r}; the sheets are: {_titles(book.worksheets)}")
    filled = None
    nearest: tuple[str, ...] = ()  # the names to show where no row is a header
    for sheet in sheets:
        sheet.reset_dimensions()  # what a sheet says of its own size is often wrong
        for row, cells in enumerate(sheet.iter_rows(max_row=_HEADER_ROWS), start=1):
            names = tuple(cell.value if isinstance(cell.value, str) else "" for cell in cells)
            filled = sheet if filled is None and any(cell.value is not None for cell in cells) else filled
            if any(map(str.strip, names)) and has_all(names, roles):
                table.header, table.raw_columns = row, names
                table.columns = tuple(unique_names(names))
                return sheet
            nearest = max(nearest, names, key=lambda found: _likeness(found, roles))
    table.nearest = nearest
    table.where = f" (the first {_HEADER_ROWS} rows of {_titles(sheets) or 'no sheet'})"
    return filled


def _likeness(names: Sequence[str], roles: Sequence[Role]) -> tuple[bool, bool]:
    return any(role.find(names) is not None for role in roles), sum(bool(name.strip()) for name in names) > 1


def _titles(sheets: list[Any]) -> str:
    more = f" and {len(sheets) - _SHOWN_SHEETS} more" if len(sheets) > _SHOWN_SHEETS else ""
    return ", ".join(repr(sheet.title) for sheet in sheets[:_SHOWN_SHEETS]) + more


def _value(cell: Any) -> Cell:
    """Return what a cell holds: its text, or what else it is and how it is shown."""
    value = cell.value
    if cell.data_type == "e":
        return NotText(AN_ERROR_VALUE, str(value), _SPOILED[AN_ERROR_VALUE])
    if value is None:
        return None
    if isinstance(value, str):
        return _unescaped(value)
    if isinstance(value, bool):
        return NotText(A_TRUTH_VALUE, str(value).upper(), _SPOILED[A_TRUTH_VALUE])
    if isinstance(value, (int, float)):
        return _number(value, cell.number_format)
    if isinstance(value, datetime.datetime) and value.time() == datetime.time():
        value = value.date()  # a workbook knows a day as its midnight
    shown = value.isoformat() if isinstance(value, (datetime.date, datetime.time)) else str(value)
    return NotText(OF_ANOTHER_TYPE, shown, _DATE)


def _unescaped(text: str) -> str:
    return _ESCAPED.sub(lambda found: chr(int(found[1], 16)), text) if "_x" in text else text


def _number(value: int | float, number_format: str) -> NotText:
    shown = str(int(value)) if value == value and abs(value) < _MAX_EXACT and value == int(value) else str(value)
    digits, spoiled = _digits(value, number_format)
    return NotText(A_NUMBER, shown if digits is None else digits, spoiled)


def _digits(value: int | float, number_format: str) -> tuple[str | None, Said | None]:
    """Return the digits that were entered, or why they are not known."""
    if _SCIENTIFIC.search(number_format):
        return None, _SCIENTIFIC_NUMBER
    if value != value or value in (float("inf"), float("-inf")) or value != int(value):
        return None, _FRACTION
    whole = int(value)
    if 0 <= whole < _MAX_GENERAL and number_format.casefold() in ("general", "@"):
        return str(whole), None
    if 0 <= whole < _MAX_EXACT and _ZEROS.fullmatch(number_format):
        return str(whole).zfill(len(number_format)), None
    return None, _OTHER_FORMAT
