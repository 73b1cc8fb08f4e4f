"""What all readers of workbooks give: cells, sheets of cells, and what a person should know of a sheet."""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True, slots=True)
class SheetCell:
    """A cell: its value, its type as openpyxl names it (``e``: an error value), and how its number is shown.

    The type ``f`` is that of a formula whose value was never computed.
    """

    value: str | float | bool | datetime.date | datetime.time | datetime.timedelta | None
    data_type: str = "s"
    number_format: str = "General"


EMPTY = SheetCell(None)


@dataclass(slots=True)
class SheetNotes:
    """What was seen of a sheet: how many of the rows read are hidden, and how many formulas were never computed."""

    hidden: int = 0
    uncomputed: int = 0


class Sheet(Protocol):
    """A sheet of a workbook."""

    notes: SheetNotes

    @property
    def title(self) -> str:
        """Its name."""

    @property
    def is_hidden(self) -> bool:
        """Whether a person does not see it."""

    def rows(self, first: int, last: int) -> Iterator[tuple[int, Sequence[SheetCell]]]:
        """Yield the numbers, from 1, and the cells of the rows from `first` to `last` that may hold something."""


class Book(Protocol):
    """A workbook."""

    @property
    def worksheets(self) -> Sequence[Sheet]:
        """Its sheets that hold cells."""


@dataclass(slots=True)
class Grid:
    """A sheet whose cells are all in memory.

    Attributes:
        title: its name.
        cells: the rows, by their numbers, in order.
        is_hidden: whether a person does not see it.
        notes: see `SheetNotes`.
    """

    title: str
    cells: dict[int, list[SheetCell]] = field(default_factory=dict, repr=False)
    is_hidden: bool = False
    notes: SheetNotes = field(default_factory=SheetNotes)

    def rows(self, first: int, last: int) -> Iterator[tuple[int, Sequence[SheetCell]]]:
        """Yield the numbers and the cells of its rows."""
        yield from ((number, cells) for number, cells in self.cells.items() if first <= number <= last)


@dataclass(frozen=True, slots=True)
class Grids:
    """A workbook whose cells are all in memory."""

    worksheets: list[Grid]
