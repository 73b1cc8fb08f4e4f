"""Workbooks (XLSX) by openpyxl, row by row: only cells that hold something, and what a person should know of a sheet.

openpyxl's own rows hold an object for each cell that is merely formatted, of which a sheet can have a million rows, and
tell neither which rows are hidden nor which formulas were never computed.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, BinaryIO

from cielo.tables.sheets import EMPTY, SheetCell, SheetNotes


@dataclass(slots=True)
class XlsxSheet:
    """A sheet.

    Attributes:
        notes: what was seen of it so far.
    """

    _sheet: Any
    notes: SheetNotes = field(default_factory=SheetNotes)

    @property
    def title(self) -> str:
        """Its name."""
        return str(self._sheet.title)

    @property
    def is_hidden(self) -> bool:
        """Whether a person does not see it."""
        return bool(self._sheet.sheet_state != "visible")

    def rows(self, first: int, last: int) -> Iterator[tuple[int, Sequence[Any]]]:
        """Yield the numbers, from 1, and the cells of the rows that hold something."""
        book = self._sheet.parent
        with self._sheet._get_source() as source:
            parser = _parser_class()(
                source, self._sheet._shared_strings, data_only=True, epoch=book.epoch,
                date_formats=book._date_formats, timedelta_formats=book._timedelta_formats,
            )  # fmt: skip
            for number, cells in parser.parse():
                if number > last:
                    break
                hidden = parser.row_dimensions.pop(str(number), {}).get("hidden") in ("1", "true")
                if number < first or not cells:
                    continue
                self.notes.hidden += hidden
                yield number, self._row(cells)

    def _row(self, cells: list[dict[str, Any]]) -> list[Any]:
        row = [EMPTY] * max(cell["column"] for cell in cells)
        for cell in cells:
            if cell["data_type"] == "f":
                self.notes.uncomputed += 1
            number_format = self._number_format(cell["style_id"]) if cell["data_type"] == "n" else "General"
            row[cell["column"] - 1] = SheetCell(cell["value"], cell["data_type"], number_format)
        return row

    def _number_format(self, style: int) -> str:
        from openpyxl.cell.read_only import ReadOnlyCell

        return str(ReadOnlyCell(self._sheet, 1, 1, None, "n", style).number_format)


_PARSER: list[Any] = []


def _parser_class() -> Any:
    """Return openpyxl's parser of sheets, which passes over cells that hold nothing."""
    if not _PARSER:
        from openpyxl.worksheet._reader import FORMULA_TAG, WorkSheetParser

        class Parser(WorkSheetParser):  # type: ignore[misc]
            def parse_cell(self, element: Any) -> dict[str, Any] | None:
                if not len(element) and element.get("r"):
                    return None
                cell: dict[str, Any] = super().parse_cell(element)
                if cell["value"] is None and element.find(FORMULA_TAG) is not None:
                    cell["data_type"] = "f"
                return cell if cell["value"] is not None or cell["data_type"] == "f" else None

            def parse_row(self, row: Any) -> tuple[int, list[dict[str, Any]]]:
                number, cells = super().parse_row(row)
                return number, [cell for cell in cells if cell is not None]

        _PARSER.append(Parser)
    return _PARSER[0]


@dataclass(frozen=True, slots=True)
class XlsxBook:
    """A workbook: its sheets that hold cells."""

    worksheets: list[XlsxSheet]


def open_xlsx(stream: BinaryIO) -> XlsxBook:
    """Open a workbook; its sheets are read as their rows are asked for."""
    import openpyxl

    with warnings.catch_warnings():  # of styles and of checks that no table needs
        warnings.simplefilter("ignore")
        book = openpyxl.load_workbook(stream, read_only=True, data_only=True, keep_links=False)
    return XlsxBook([XlsxSheet(sheet) for sheet in book.worksheets])
