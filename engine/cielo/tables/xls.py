"""Workbooks of Excel 97 to 2003 (XLS), by xlrd, in the shape of the newer ones."""

from __future__ import annotations

import datetime
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, BinaryIO

from cielo.tables.sheets import EMPTY, SheetCell, SheetNotes


@dataclass(slots=True)
class XlsSheet:
    """A sheet.

    Attributes:
        title: its name.
        notes: what was seen of it so far.
    """

    title: str
    _book: Any
    _sheet: Any
    notes: SheetNotes = field(default_factory=SheetNotes)

    @property
    def is_hidden(self) -> bool:
        """Whether a person does not see it."""
        return bool(self._sheet.visibility)

    def rows(self, first: int, last: int) -> Iterator[tuple[int, Sequence[SheetCell]]]:
        """Yield the numbers, from 1, and the cells of its rows."""
        for row in range(first - 1, min(self._sheet.nrows, last)):
            cells = [self._cell(row, column) for column in range(self._sheet.row_len(row))]
            shown = self._sheet.rowinfo_map.get(row)
            self.notes.hidden += bool(shown and shown.hidden and any(cell.value is not None for cell in cells))
            yield row + 1, cells

    def _cell(self, row: int, column: int) -> SheetCell:
        import xlrd

        cell = self._sheet.cell(row, column)
        if cell.ctype in (xlrd.XL_CELL_EMPTY, xlrd.XL_CELL_BLANK):
            return EMPTY
        if cell.ctype == xlrd.XL_CELL_TEXT:
            return SheetCell(cell.value)
        if cell.ctype == xlrd.XL_CELL_ERROR:
            return SheetCell(xlrd.error_text_from_code.get(cell.value, "#ERROR"), "e")
        if cell.ctype == xlrd.XL_CELL_BOOLEAN:
            return SheetCell(bool(cell.value), "b")
        if cell.ctype == xlrd.XL_CELL_DATE:
            return SheetCell(_date(cell.value, self._book.datemode), "d")
        style = self._book.format_map[self._book.xf_list[cell.xf_index].format_key]
        return SheetCell(cell.value, "n", style.format_str)


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
