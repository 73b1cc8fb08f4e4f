"""Workbooks (XLSX, XLS): the header is looked for in each sheet, and a number is text only where nothing was lost."""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterator, Sequence
from typing import BinaryIO

from cielo.errors import TableError
from cielo.said import Said
from cielo.tables.columns import Role, has_all, unique_names
from cielo.tables.contents import Content
from cielo.tables.formats import TableFormat
from cielo.tables.html_tables import open_html
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
from cielo.tables.sheets import Book, Sheet, SheetCell, SheetNotes
from cielo.tables.table import Table
from cielo.tables.xls import open_xls
from cielo.tables.xlsx import open_xlsx
from cielo.tables.xml_2003 import open_xml_2003

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


_UNCOMPUTED = Said("a formula without a value: open the workbook in a spreadsheet, which computes it, and save it")
_SPOILED = {what: _changed(what) for what in (AN_ERROR_VALUE, A_TRUTH_VALUE)}
_DATE = _changed(Said("a date or a time"))
_SCIENTIFIC_NUMBER = _changed(Said("a number in scientific notation"))
_FRACTION = _changed(Said("a number with a fraction"))
_OTHER_FORMAT = _changed(Said("a number whose format does not show its digits alone"))


def open_workbook(
    stream: BinaryIO, table: Table, form: TableFormat, roles: Sequence[Role], content: Content
) -> Iterator[TableRow | RejectedRow]:
    """Find the sheet and the header, and return the rows; formulas count with the values that were last computed.

    Sheets that are hidden are looked at last. What of a sheet a person would not see, or would miss, is said in the
    table's warnings: hidden rows, which are read as the others, other sheets with the same columns, which are not, and
    formulas without a value.

    Raises:
        TableError: where it is no workbook, or has no such sheet.
    """
    try:
        book = _open(stream, table, form, content)
        sheet = _find_header(book, table, form.sheet, roles)
    except TableError:
        raise
    except Exception as error:  # the library has none of its own: damaged files bring out every kind
        raise _damaged(table, error) from error
    return _rows(sheet, table)


def _open(stream: BinaryIO, table: Table, form: TableFormat, content: Content) -> Book:
    if content == "html":
        return open_html(stream, table.name, form.encoding)
    if content == "xml-2003":
        return open_xml_2003(stream, table.name)
    return open_xls(stream) if content == "xls" else open_xlsx(stream)


def _damaged(table: Table, error: Exception) -> TableError:
    form = table.format.upper()
    return TableError(
        f"{table.name}: is no {form} workbook, or is damaged or encrypted ({type(error).__name__}); save it again"
    )


def _rows(sheet: Sheet | None, table: Table) -> Iterator[TableRow | RejectedRow]:
    if sheet is None:
        return
    names, first = table.columns, (table.header or 0) + 1
    unnamed = [name for name, raw in zip(names, table.raw_columns, strict=True) if not raw.strip()]
    before = SheetNotes(sheet.notes.hidden, sheet.notes.uncomputed)
    table.later = lambda: _seen(sheet, before)
    try:
        for number, cells in sheet.rows(first, MAX_ROWS):
            table.lines = number
            values = [_value(cell) for cell in cells]
            if all(map(_is_empty, values)) and all(cell.data_type != "f" for cell in cells):
                continue
            if len(values) > len(names):
                names = (*names, *(str(place) for place in range(len(names) + 1, len(values) + 1)))
                names = tuple(unique_names(names))
            row = dict(zip(names, _whole(values, len(table.columns)), strict=False))
            for name in unnamed:
                if _is_empty(row[name]):
                    del row[name]
            yield TableRow(number, row)
    except Exception as error:
        raise _damaged(table, error) from error


def _is_empty(value: Cell) -> bool:
    return value is None or (isinstance(value, str) and is_blank(value))


def _seen(sheet: Sheet, before: SheetNotes) -> Iterator[str]:
    """Yield what a person should know of the rows that were read."""
    if count := sheet.notes.hidden - before.hidden:
        yield Said(
            "{count:,} hidden row(s) of the sheet {sheet} were read like the others",
            count=count,
            sheet=repr(sheet.title),
        )
    if count := sheet.notes.uncomputed - before.uncomputed:
        yield Said(
            "{count:,} formula(s) of the sheet {sheet} have no value, since no spreadsheet has computed them; open the "
            "workbook in one, and save it",
            count=count, sheet=repr(sheet.title),
        )  # fmt: skip


def _whole(values: list[Cell], width: int) -> list[Cell]:
    """Return the cells of a row without the blank ones beyond the header, and None for those that are not stored."""
    while len(values) > width > 0 and _is_empty(values[-1]):
        values.pop()
    return values + [None] * (width - len(values))


def _find_header(book: Book, table: Table, named: str | None, roles: Sequence[Role]) -> Sheet | None:
    sheets = sorted(book.worksheets, key=lambda sheet: sheet.is_hidden)
    if named is not None:
        sheets = [sheet for sheet in sheets if sheet.title == named]
        if not sheets:
            raise TableError(f"{table.name}: there is no sheet {named!r}; the sheets are: {_titles(book.worksheets)}")
    filled = found = None
    others: list[Sheet] = []  # that have the same columns
    nearest: tuple[str, ...] = ()  # the names to show where no row is a header
    for sheet in sheets:
        for row, cells in sheet.rows(1, _HEADER_ROWS):
            names = tuple(cell.value if isinstance(cell.value, str) else "" for cell in cells)
            filled = sheet if filled is None and any(cell.value is not None for cell in cells) else filled
            if any(map(str.strip, names)) and has_all(names, roles):
                if found is None:
                    found, table.header, table.raw_columns = sheet, row, names
                    table.columns = tuple(unique_names(names))
                elif roles:
                    others.append(sheet)
                break
            nearest = max(nearest, names, key=lambda found: _likeness(found, roles))
    if found is not None:
        table.notes += _unread(found, others, named)
        return found
    table.nearest = nearest
    table.where = f" (the first {_HEADER_ROWS} rows of {_titles(sheets) or 'no sheet'})"
    return filled


def _unread(found: Sheet, others: Sequence[Sheet], named: str | None) -> Iterator[str]:
    if found.is_hidden and named is None:
        yield Said("the sheet {sheet}, which is read, is hidden", sheet=repr(found.title))
    shown = [sheet for sheet in others if not sheet.is_hidden]
    if shown:
        yield Said(
            "the sheet {sheet} is read; {others} with the same columns not: name one with --sheet",
            sheet=repr(found.title), others=_titles(shown),
        )  # fmt: skip


def _likeness(names: Sequence[str], roles: Sequence[Role]) -> tuple[bool, bool]:
    return any(role.find(names) is not None for role in roles), sum(bool(name.strip()) for name in names) > 1


def _titles(sheets: Sequence[Sheet]) -> str:
    more = f" and {len(sheets) - _SHOWN_SHEETS} more" if len(sheets) > _SHOWN_SHEETS else ""
    return ", ".join(repr(sheet.title) for sheet in sheets[:_SHOWN_SHEETS]) + more


def _value(cell: SheetCell) -> Cell:
    """Return what a cell holds: its text, or what else it is and how it is shown."""
    value = cell.value
    if cell.data_type == "f":
        return NotText(_UNCOMPUTED, "", _UNCOMPUTED)
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
