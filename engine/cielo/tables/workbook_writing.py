"""Workbooks (XLSX) out: a text is text whatever it looks like, figures are numbers, the header stays in sight."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, BinaryIO, Literal, TypeAlias

OutCell: TypeAlias = str | float | None
"""What is written into a cell: a text, a figure, or nothing."""

Tone = Literal["look", "stop"]
"""Why a cell is coloured: it is to be looked at, or not to be used."""

_NOT_XML = re.compile("[\x00-\x08\x0b\x0c\x0d\x0e-\x1f\ufffe\uffff]|_(?=x[0-9A-Fa-f]{4}_)")
_FILLS: Mapping[Tone, str] = {"look": "FFF2CC", "stop": "F8CBAD"}
_MEASURED = 200  # rows by which the widths of columns are chosen
_WIDTHS = (6, 60)  # characters


def write_workbook(
    stream: BinaryIO,
    columns: Sequence[str],
    rows: Iterable[Mapping[str, OutCell]],
    *,
    label: Callable[[str], str] = str,
    tones: Callable[[Mapping[str, OutCell]], Mapping[str, Tone]] | None = None,
) -> None:
    """Write a workbook of one sheet, whose header is frozen and has a filter.

    Args:
        stream: of bytes; it stays open.
        columns: their names.
        rows: the cells by the names of the columns.
        label: what stands above a column.
        tones: which cells of a row are coloured.
    """
    import openpyxl
    from openpyxl.styles import Font
    from openpyxl.utils import get_column_letter

    book = openpyxl.Workbook(write_only=True)
    sheet: Any = book.create_sheet("links")
    cells = iter(rows)
    first = list(itertools.islice(cells, _MEASURED))
    labels = [label(name) for name in columns]
    for place, width in enumerate(_widths(columns, labels, first), start=1):
        sheet.column_dimensions[get_column_letter(place)].width = width
    sheet.freeze_panes = "A2"
    make = _maker(sheet)
    sheet.append([make(text, None, Font(bold=True)) for text in labels])
    count = 1
    for row in itertools.chain(first, cells):
        count += 1
        toned = tones(row) if tones else {}
        sheet.append([make(row.get(name), toned.get(name), None) for name in columns])
    if columns:
        sheet.auto_filter.ref = f"A1:{get_column_letter(len(columns))}{count}"
    book.save(stream)


def _widths(columns: Sequence[str], labels: Sequence[str], rows: Sequence[Mapping[str, OutCell]]) -> Iterator[int]:
    least, most = _WIDTHS
    for name, label in zip(columns, labels, strict=True):
        longest = max([len(label) + 3, *(len(str(row.get(name) or "")) + 1 for row in rows)])  # room for the filter
        yield min(max(longest, least), most)


def _maker(sheet: Any) -> Callable[[OutCell, Tone | None, Any], Any]:
    from openpyxl.cell import WriteOnlyCell
    from openpyxl.styles import PatternFill

    fills = {tone: PatternFill("solid", fgColor=colour) for tone, colour in _FILLS.items()}

    def make(value: OutCell, tone: Tone | None, font: Any) -> Any:
        """Return a cell; a text is never a number, a date or a formula."""
        if value is None or value == "":
            return None
        cell = WriteOnlyCell(sheet)
        if isinstance(value, str):
            cell.value = _escaped(value)
            cell.data_type, cell.number_format = "s", "@"
        else:
            cell.value, cell.number_format = value, "0.000"
        if tone is not None:
            cell.fill = fills[tone]
        if font is not None:
            cell.font = font
        return cell

    return make


def _escaped(value: str) -> str:
    whole = value.encode("utf-8", "backslashreplace").decode("utf-8")
    return _NOT_XML.sub(lambda found: f"_x{ord(found[0]):04X}_", whole)
