"""Workbooks of Excel 97 to 2003 (XLS), by xlrd, in the shape in which openpyxl gives the newer ones."""

from __future__ import annotations

import datetime
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO


@dataclass(frozen=True, slots=True)
class XlsCell:
    """A cell: its value, its type as openpyxl names it (``e``: an error value), and how its number is shown."""

    value: str | float | bool | datetime.date | datetime.time | None
    data_type: str = "s"
    number_format: str = "General"


@dataclass(frozen=True, slots=True)
class XlsSheet:
    """A sheet."""

    title: str
    _book: Any
    _sheet: Any

    def reset_dimensions(self) -> None:
        """Do nothing: the size of a sheet is that of its cells here."""

    def iter_rows(self, min_row: int = 1, max_row: int | None = None) -> Iterator[tuple[XlsCell, ...]]:
        """Yield the cells of each row, which are counted from 1."""
        for row in range(min_row - 1, min(self._sheet.nrows, max_row or self._sheet.nrows)):
            yield tuple(self._cell(row, column) for column in range(self._sheet.row_len(row)))

    def _cell(self, row: int, column: int) -> XlsCell:
        import xlrd

        cell = self._sheet.cell(row, column)
        if cell.ctype in (xlrd.XL_CELL_EMPTY, xlrd.XL_CELL_BLANK):
            return XlsCell(None)
        if cell.ctype == xlrd.XL_CELL_TEXT:
            return XlsCell(cell.value)
        if cell.ctype == xlrd.XL_CELL_ERROR:
            return XlsCell(xlrd.error_text_from_code.get(cell.value, "#ERROR"), "e")
        if cell.ctype == xlrd.XL_CELL_BOOLEAN:
            return XlsCell(bool(cell.value), "b")
        if cell.ctype == xlrd.XL_CELL_DATE:
            return XlsCell(_date(cell.value, self._book.datemode), "d")
        style = self._book.format_map[self._book.xf_list[cell.xf_index].format_key]
        return XlsCell(cell.value, "n", style.format_str)


def _date(value: float, mode: int) -> datetime.date | datetime.time | str:
    from xlrd import xldate

    try:
        found: datetime.datetime = xldate.xldate_as_datetime(value, mode)
        return found
    except (xldate.XLDateError, ValueError, OverflowError):
        return str(value)


@dataclass(frozen=True, slots=True)
class XlsBook:
    """A workbook: its sheets that hold cells."""

    worksheets: list[XlsSheet]


def open_xls(stream: BinaryIO) -> XlsBook:
    """Read a workbook whole, the formats of its numbers too."""
    import xlrd

    with open(os.devnull, "w") as silent:  # noqa: PTH123, what it thinks of the file goes to standard output else
        book = xlrd.open_workbook(file_contents=stream.read(), formatting_info=True, logfile=silent)
    return XlsBook([XlsSheet(sheet.name, book, sheet) for sheet in book.sheets()])
