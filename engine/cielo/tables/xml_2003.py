"""XML spreadsheets of Excel 2003 (SpreadsheetML), which hospital systems export and call .xls."""

from __future__ import annotations

import datetime
from typing import BinaryIO
from xml.etree import ElementTree

from cielo.errors import TableError
from cielo.tables.sheets import EMPTY, Grid, Grids, SheetCell

_NAMESPACE = "{urn:schemas-microsoft-com:office:spreadsheet}"
_MAX_PLACE = 1 << 20
_FORMATS = {"general number": "General", "standard": "#,##0.00", "scientific": "0.00E+00", "fixed": "0.00"}


class _Builder:
    """Gathers cells while the text is parsed (`ElementTree` calls the methods)."""

    def __init__(self, file: str) -> None:
        self._file = file
        self.grids: list[Grid] = []
        self._formats: dict[str, str] = {}
        self._parents: dict[str, str] = {}
        self._style = ""
        self._row = self._column = self._across = 0
        self._cell_style = self._type = ""
        self._text: list[str] | None = None
        self._value: list[str] = []
        self._formula = False

    def doctype(self, *_: object) -> None:
        raise TableError(f"{self._file}: declares a document type of XML, which no table needs; save it as XLSX or CSV")

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        name = tag.removeprefix(_NAMESPACE)
        given = {key.removeprefix(_NAMESPACE): value for key, value in attributes.items()}
        if name == "Style":
            self._style = given.get("ID", "")
            self._parents[self._style] = given.get("Parent", "")
        elif name == "NumberFormat":
            self._formats[self._style] = given.get("Format", "General")
        elif name == "Worksheet":
            self.grids.append(Grid(given.get("Name", "")))
            self._row = 0
        elif not self.grids:
            return
        elif name == "Row":
            self._row, self._column = _place(given, self._row), 0
            self.grids[-1].notes.hidden += given.get("Hidden") == "1"
        elif name == "Cell":
            self._column = _place(given, self._column)
            self._cell_style, self._type = given.get("StyleID", ""), "String"
            self._value, self._formula = [], "Formula" in given
            self._across = int(given.get("MergeAcross", "0") or 0)
        elif name == "Data":
            self._type, self._text = given.get("Type", "String"), self._value

    def data(self, text: str) -> None:
        if self._text is not None:
            self._text.append(text)

    def end(self, tag: str) -> None:
        name = tag.removeprefix(_NAMESPACE)
        if name == "Data":
            self._text = None
        elif name == "Cell" and self.grids:
            if self._value:
                row = self.grids[-1].cells.setdefault(self._row, [])
                row += [EMPTY] * (self._column - 1 - len(row))
                row.append(self._cell("".join(self._value)))
            elif self._formula:
                self.grids[-1].notes.uncomputed += 1
            self._column += self._across

    def close(self) -> None:
        """End: `ElementTree` asks for it."""

    def grids_read(self) -> Grids:
        """Return the sheets that hold cells."""
        return Grids([grid for grid in self.grids if grid.cells])

    def _cell(self, text: str) -> SheetCell:
        if self._type == "Number":
            return SheetCell(float(text), "n", self._format(self._cell_style))
        if self._type == "Boolean":
            return SheetCell(text.strip() == "1", "b")
        if self._type == "Error":
            return SheetCell(text, "e")
        if self._type == "DateTime":
            return SheetCell(datetime.datetime.fromisoformat(text), "d")
        return SheetCell(text)

    def _format(self, style: str) -> str:
        for _ in range(len(self._parents) + 1):
            if style in self._formats:
                found = self._formats[style]
                return _FORMATS.get(found.lower(), found)
            style = self._parents.get(style, "")
        return "General"


def _place(given: dict[str, str], last: int) -> int:
    place = int(given.get("Index", last + 1))
    if not last < place <= _MAX_PLACE:
        raise ValueError("a place that goes back, or is beyond any sheet")
    return place


def open_xml_2003(stream: BinaryIO, name: str) -> Grids:
    """Read a workbook whole, the formats of its numbers too.

    Raises:
        TableError: where it declares a document type: entities can grow without end.
        Exception: of any kind, where it is damaged.
    """
    builder = _Builder(name)
    parser = ElementTree.XMLParser(target=builder)  # noqa: S314, a document type is refused
    while chunk := stream.read(1 << 20):
        parser.feed(chunk)
    parser.close()
    return builder.grids_read()
