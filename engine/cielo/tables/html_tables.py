"""Tables of a page (HTML), which hospital systems export and call .xls: each is read as a sheet."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import BinaryIO

from cielo.tables.encodings import open_lines
from cielo.tables.sheets import EMPTY, Grid, Grids, SheetCell

_CHARSET = re.compile(rb"<meta[^>]*charset\s*=\s*[\"']?([A-Za-z0-9_-]+)", re.IGNORECASE)
_HEAD = 4096
_BREAKS = ("br", "p", "div", "li")
_HIDDEN = ("style", "script", "head", "title")
_MOST_SPANNED = 256  # columns: what is more is no table's
_SPACES = re.compile(r"[^\S\n\xa0]+")


class _Tables(HTMLParser):
    """Gathers the cells of the tables; a table inside of a cell belongs to its text."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.grids: list[Grid] = []
        self._depth = self._silent = self._row = self._column = self._span = self._down = 0
        self._text: list[str] | None = None
        self._covered: dict[int, int] = {}  # up to which row a cell above covers a column

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in _HIDDEN:
            self._silent += 1
        elif tag == "table":
            self._depth += 1
            if self._depth == 1:
                self.grids.append(Grid(f"table {len(self.grids) + 1}"))
                self._row, self._covered = 0, {}
        elif self._depth == 1 and tag == "tr":
            self._end_cell()
            self._row, self._column = self._row + 1, 0
            self.grids[-1].cells[self._row] = []
        elif self._depth == 1 and tag in ("td", "th") and self._row:
            self._end_cell()
            given = dict(attrs)
            self._span, self._down = _count(given.get("colspan")), _count(given.get("rowspan"))
            self._text = []
        elif tag in _BREAKS and self._text:
            self._text.append("\n")

    def handle_endtag(self, tag: str) -> None:
        if tag in _HIDDEN:
            self._silent = max(0, self._silent - 1)
        elif tag == "table" and self._depth:
            if self._depth == 1:
                self._end_cell()
            self._depth -= 1
        elif self._depth == 1 and tag in ("td", "th", "tr"):
            self._end_cell()

    def handle_data(self, data: str) -> None:
        if self._text is not None and not self._silent:
            self._text.append(_SPACES.sub(" ", data.replace("\n", " ").replace("\r", "")))

    def _end_cell(self) -> None:
        if self._text is None:
            return
        text = "".join(self._text).replace("\xa0", " ").strip()
        row = self.grids[-1].cells[self._row]
        while self._covered.get(self._column, 0) >= self._row:
            self._column += 1
        if text:
            row += [EMPTY] * (self._column - len(row))
            row.append(SheetCell(text))
        if self._down > 1:
            last = self._row + self._down - 1
            self._covered.update(dict.fromkeys(range(self._column, self._column + self._span), last))
        self._column += self._span
        self._text = None


def _count(value: str | None) -> int:
    return min(max(int(value), 1), _MOST_SPANNED) if value and value.strip().isdecimal() else 1


def open_html(stream: BinaryIO, name: str, encoding: str | None) -> Grids:
    """Read the tables of a page; every cell is the text that it shows.

    Args:
        stream: of it.
        name: of it in errors.
        encoding: None: that of a byte order mark, the page's own word for it, or found out.

    Raises:
        TableError: where the encoding is not known.
    """
    head = stream.read(_HEAD)
    stream.seek(0)
    said = _CHARSET.search(head)
    marked = head.startswith((b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff"))
    if encoding is None and said is not None and not marked:
        encoding = _said(said[1].decode("ascii"))
    parser = _Tables()
    _, lines = open_lines(stream, name, encoding)
    for line in lines:
        parser.feed(line)
    parser.close()
    return Grids([grid for grid in parser.grids if any(grid.cells.values())])


def _said(encoding: str) -> str | None:
    """Return the encoding that a page names; what browsers read as Windows-1252 is, and UTF-8 has to be seen."""
    folded = encoding.lower()
    if folded in ("iso-8859-1", "latin1", "ascii", "us-ascii", "windows-1252"):
        return "windows-1252"
    return None if folded in ("utf-8", "utf8", "utf-16", "unicode") else folded
