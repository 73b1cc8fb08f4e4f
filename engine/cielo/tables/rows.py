"""What a table is read into: rows of cells, and rows that cannot be read; and what counts as text in a cell."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TypeAlias

from cielo.records import Json, has_content
from cielo.said import Said, SayingError

# The cells of text formats are strings; JSON, workbooks and Parquet have other types too.
Cell: TypeAlias = "Json | NotText | list[Cell] | dict[str, Cell]"

_SURROGATE = re.compile("[\ud800-\udfff]")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
A_NUMBER, AN_ERROR_VALUE, A_TRUTH_VALUE = Said("a number"), Said("an error value"), Said("a truth value")
OF_ANOTHER_TYPE = Said("of another type")
_TYPES = {
    bool: A_TRUTH_VALUE, int: A_NUMBER, float: A_NUMBER, list: Said("a list"), dict: Said("an object"),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class NotText:
    """A cell of a workbook or a Parquet file that holds no text.

    Attributes:
        what: it is: ``a number``.
        shown: as a spreadsheet shows it, as nearly as that is known.
        spoiled: why it cannot be trusted to be what was entered, to follow "the code is"; None: its digits can be.
    """

    what: str
    shown: str
    spoiled: str | None = None


@dataclass(frozen=True, slots=True)
class TableRow:
    """One row.

    Attributes:
        number: of its line in the file (of a workbook or a Parquet file its row, of a JSON array its element), from 1.
        values: its cells by the names of the columns; by "1", "2" and so on in a table without a header. A row that
            ends early lacks the names of its last columns.
    """

    number: int
    values: dict[str, Cell]


@dataclass(frozen=True, slots=True)
class RejectedRow:
    """A row that cannot be taken.

    Attributes:
        line: as `TableRow.number`.
        reason: says nothing of what the row holds.
        values: the cells that could be read all the same, to be handed back to who gave them.
    """

    line: int
    reason: str
    values: dict[str, Cell] = field(default_factory=dict, repr=False, compare=False)


class UnfitError(SayingError, ValueError):
    """A row cannot be taken; the message is the reason."""


def text_of(cell: Cell, name: str, *, digits: bool = False) -> str:
    """Return the text of a cell.

    Args:
        cell: of any type.
        name: of the column's role, for the reason.
        digits: take the digits of a number where the file shows that no zero and no letter was lost.

    Raises:
        UnfitError: where it holds no text.
    """
    if isinstance(cell, str):
        return cell
    if cell is None:
        raise UnfitError("the {name} is empty", name=name)
    if isinstance(cell, NotText):
        if digits and cell.spoiled is None:
            return cell.shown
        if digits or cell.what == AN_ERROR_VALUE:
            raise UnfitError("the {name} is {found}", name=name, found=cell.spoiled if digits else cell.what)
        found = cell.what
    else:
        found = _TYPES.get(type(cell), OF_ANOTHER_TYPE)
    if name == "code" and found == A_NUMBER:
        raise UnfitError(
            "the code is a number, expected text; as a number a code can lose zeros and letters; write it as text"
        )
    raise UnfitError("the {name} is {found}, expected text; write it as text", name=name, found=found)


def check_text(text: str, name: str) -> None:
    """Check that a code or a description can be kept.

    Raises:
        UnfitError: where it is empty, or holds half of a surrogate pair or a control character.
    """
    if text and text.isprintable():  # neither control characters nor lone surrogates are, nor is any space but ``" "``
        return
    if not is_decoded(text):
        raise UnfitError("the {name} is not valid Unicode", name=name)
    if _CONTROL.search(text):
        raise UnfitError("the {name} holds a control character", name=name)
    if not has_content(text):
        raise UnfitError("the {name} is empty", name=name)


def is_decoded(text: str) -> bool:
    """Tell whether `text` has no lone surrogate: neither half of a pair nor the mark of bytes that were no text."""
    return text.isascii() or not _SURROGATE.search(text)


def is_blank(text: str) -> bool:
    """Tell whether `text` shows nothing (see `has_content`)."""
    return not (text.isprintable() and text.strip()) and not has_content(text)


def shown(cell: Cell) -> Json:
    """Return a cell as it is handed back to who gave it: what is no text of a workbook as it was shown there."""
    if isinstance(cell, NotText):
        return cell.shown
    if isinstance(cell, (list, tuple)):
        return [shown(part) for part in cell]
    return {name: shown(part) for name, part in cell.items()} if isinstance(cell, dict) else cell
