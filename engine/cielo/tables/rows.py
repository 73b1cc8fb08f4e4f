"""A code table, its rows, and what a code, a description and a mark of preference must be."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from cielo.records import has_content
from cielo.text.normal import fold_spaces

TableFormat = Literal["tsv", "csv", "jsonl", "xlsx", "parquet"]

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_SURROGATE = re.compile("[\ud800-\udfff]")
_TRUE = frozenset({"1", "true", "verdadero", "s", "si", "x", "y", "yes"})
_FALSE = frozenset({"", "0", "false", "falso", "n", "no"})
_TYPES = {bool: "a truth value", int: "a number", float: "a number", list: "a list", dict: "an object"}


@dataclass(frozen=True, slots=True)
class CodeTable:
    """What to read and how.

    Attributes:
        path: of the file.
        kind: of its rows (``diagnosis``, ``procedure``).
        format: None: by the name's ending.
        encoding: of a text file; None: detected (see `encoding_of`).
        sheet: of a workbook, by name; None: the first that has a header with both columns.
        code_column: by name, without regard to case, accents, spaces and punctuation; None: by the usual names, and
            in a text file without a header the first column.
        description_column: likewise, and in a text file without a header the second column.
        synonyms: whether its descriptions are never the preferred ones (an index of terms).
    """

    path: Path
    kind: str
    format: TableFormat | None = None
    encoding: str | None = None
    sheet: str | None = None
    code_column: str | None = None
    description_column: str | None = None
    synonyms: bool = False


@dataclass(frozen=True, slots=True)
class TableRow:
    """One row: its line (of a workbook or a Parquet file: its row), a code as it was written, and a description."""

    line: int
    code: str
    description: str
    preferred: bool


@dataclass(frozen=True, slots=True)
class Rejected:
    """A row that cannot be taken, and why; the reason shows nothing of what the row holds."""

    line: int
    reason: str


class UnfitError(ValueError):
    """A row cannot be taken; the message is the reason."""


def row_of(line: int, code: object, description: object, preferred: object, table: CodeTable) -> TableRow | Rejected:
    """Return a row from its values, or why there is none.

    Args:
        line: its number in the file.
        code: the value of its code: a string, or it is rejected.
        description: likewise.
        preferred: the value of its mark of preference; True where the table has no such column.
        table: that it stands in.
    """
    try:
        found = _text(code, "code").strip()
        _check(found, "code")
        text = fold_spaces(_text(description, "description"))
        _check(text, "description")
        return TableRow(line, found, text, not table.synonyms and (preferred is True or _is_preferred(preferred)))
    except UnfitError as error:
        return Rejected(line, str(error))


def is_decoded(text: str) -> bool:
    """Tell whether `text` has no lone surrogate: neither half of a pair nor the mark of bytes that were no text."""
    return text.isascii() or not _SURROGATE.search(text)


def _text(value: object, name: str) -> str:
    if isinstance(value, str):
        return value
    if value is None:
        raise UnfitError(f"the {name} is empty")
    found = _TYPES.get(type(value), "of another type")
    why = "; as a number a code can lose zeros and letters" if name == "code" and found == "a number" else ""
    raise UnfitError(f"the {name} is {found}, expected text{why}; write it as text")


def is_blank(text: str) -> bool:
    """Tell whether `text` shows nothing (see `has_content`)."""
    return not (text.isprintable() and text.strip()) and not has_content(text)


def _check(text: str, name: str) -> None:
    if text and text.isprintable():  # neither control characters nor lone surrogates are, nor is any space but ``" "``
        return
    if not is_decoded(text):
        raise UnfitError(f"the {name} is not valid Unicode")
    if _CONTROL.search(text):
        raise UnfitError(f"the {name} holds a control character")
    if not has_content(text):
        raise UnfitError(f"the {name} is empty")


def _is_preferred(value: object) -> bool:
    if value is None:
        return False
    if isinstance(value, (bool, int, float)) and value in (0, 1):
        return bool(value)
    if isinstance(value, str):
        plain = unicodedata.normalize("NFKD", value.strip().casefold()).replace("\u0301", "")
        if plain in _TRUE or plain in _FALSE:
            return plain in _TRUE
    raise UnfitError("the mark of preference is not known; expected yes or no, true or false, 1 or 0, x or nothing")
