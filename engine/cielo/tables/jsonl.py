"""JSON: an object on each line, an array of objects, or an object with one in it; members are cells by their names."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO, Literal

from cielo.said import Said
from cielo.tables.columns import Role
from cielo.tables.encodings import UNDECODED, not_decoded, open_lines
from cielo.tables.formats import TableFormat
from cielo.tables.rows import Cell, RejectedRow, TableRow
from cielo.tables.table import Table

_MAX_NESTING = 64
_NUMBER = Said("number")
_TYPES = {
    list: Said("list"), str: Said("string"), int: _NUMBER, float: _NUMBER, bool: Said("truth value"),
    type(None): Said("null"),
}  # fmt: skip
_Unit = Literal["line", "element"]  # what a row is: of JSON Lines, of an array
_TWICE: dict[_Unit, Said] = {
    "line": Said("the line names a member twice; name each once"),
    "element": Said("the element names a member twice; name each once"),
}
_NO_JSON = Said("the line is not JSON; expected one object on each line")
_OTHER_TYPE: dict[_Unit, Said] = {
    "line": Said("the line holds a JSON {found}; expected an object"),
    "element": Said("the element holds a JSON {found}; expected an object"),
}
_TOO_DEEP: dict[_Unit, Said] = {
    "line": Said("the line nests values more than {most} deep; expected plain columns"),
    "element": Said("the element nests values more than {most} deep; expected plain columns"),
}
_SPACES = re.compile(r"[ \t\r\n]*")
# Where a malformed element of an array ends, as far as can be seen: before what may be the next element.
_NEXT_OBJECT = re.compile(r"\}[ \t\r\n]*,[ \t\r\n]*(?=[^\s\"])")


class _TwiceError(ValueError):
    """An object names a member twice."""


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) != len(pairs):
        raise _TwiceError
    return values


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _finite(number: str) -> float:
    value = float(number)
    if math.isinf(value):  # ``1e999``: what is read must be written again, and JSON has no infinity
        raise ValueError("a number is too large")
    return value


_DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_constant=_refuse_constant, parse_float=_finite)
_LENIENT = json.JSONDecoder()  # to find where an element ends that is refused


def open_json(
    stream: BinaryIO, table: Table, form: TableFormat, roles: Sequence[Role]
) -> Iterator[TableRow | RejectedRow]:
    """Return the rows of JSON: of lines, of an array, or of an object with one array in it.

    Which of them a file has its text tells, and not whether it is called JSON or JSON Lines. Where one column is all
    that is looked for, a string in an array is its cell.

    Raises:
        TableError: where the encoding is not known.
    """
    table.encoding, lines = open_lines(stream, table.name, form.encoding)
    read = _Reader(table, next((role.named or role.name for role in roles), None) if len(roles) == 1 else None)
    return read.whole("".join(lines)) if table.format == "json" else read.lines(lines)


@dataclass(frozen=True, slots=True)
class _Reader:
    """Reads the rows of one text.

    Attributes:
        table: that they belong to.
        only: the column whose cells strings are; None: they are refused.
    """

    table: Table
    only: str | None

    def lines(self, lines: Iterator[str], *, begun: bool = False) -> Iterator[TableRow | RejectedRow]:
        """Yield the rows of lines or, where they are not plainly `begun`, of the whole that begins on the first."""
        look, undecoded = self.table.signs.look, not_decoded(self.table.encoding or "")
        for number, line in enumerate(lines, start=1):
            self.table.lines = number
            if not line.isascii():
                look(line)
                if UNDECODED in line:
                    yield RejectedRow(number, undecoded)
                    continue
            elif not line.strip():
                continue
            if not begun and (rest := self._rest_of_whole(line, lines)) is not None:
                yield from self.whole("\n" * (number - 1) + rest)
                return
            begun = True
            yield self._row(number, line)

    def _rest_of_whole(self, line: str, lines: Iterator[str]) -> str | None:
        """Return the whole text where it is one array of rows, or one object over several lines, else None."""
        beginning = r"\s*(\[\s*(\{|\"|$)|\{\s*$)" if self.only is not None else r"\s*(\[\s*(\{|$)|\{\s*$)"
        return None if re.match(beginning, line) is None else line + "".join(lines)

    def _row(self, number: int, text: str) -> TableRow | RejectedRow:
        text = text.strip(" \t\r\n")
        try:
            values, end = _DECODER.raw_decode(text)
            if end != len(text):
                raise ValueError("something follows the object")
        except _TwiceError:
            return RejectedRow(number, _TWICE["line"])
        except (ValueError, RecursionError):
            return RejectedRow(number, _NO_JSON)
        # Most rows hold neither a list nor an object in their object.
        return self._checked(number, values, "line", flat="[" not in text and text.count("{") == 1)

    def _checked(self, number: int, values: Any, what: _Unit, *, flat: bool = False) -> TableRow | RejectedRow:
        if isinstance(values, str) and self.only is not None and what == "element":
            return TableRow(number, {self.only: values})
        if not isinstance(values, dict):
            return RejectedRow(number, Said(_OTHER_TYPE[what], found=_TYPES[type(values)]))
        if not flat and _nested_deeper(values, _MAX_NESTING):
            return RejectedRow(number, Said(_TOO_DEEP[what], most=_MAX_NESTING))
        return TableRow(number, values)

    def whole(self, text: str) -> Iterator[TableRow | RejectedRow]:
        """Yield the rows of a text that is one array, one object, or lines after all."""
        self.table.lines = text.count("\n") + (not text.endswith("\n"))
        place = _after_spaces(text, 0)
        if place < len(text) and text[place] != "[":
            end = _end_of_value(text, place)
            if text[place] != "{" or end is None or _after_spaces(text, end) < len(text):
                yield from self.lines((f"{line}\n" for line in text.split("\n")), begun=True)
                return
            array = _only_array(text, place)
            if array is None:
                yield self._element(text, place, 1)[0]
            else:
                yield from self._array(text, array, inner=True)
            return
        yield from self._array(text, place)

    def _array(self, text: str, place: int, *, inner: bool = False) -> Iterator[TableRow | RejectedRow]:
        """Yield the elements of an array; one that is malformed ends where the next object seems to begin."""
        row: TableRow | RejectedRow | None = None
        undecoded = not_decoded(self.table.encoding or "")
        place, number = _after_spaces(text, min(place + 1, len(text))), 0
        while place < len(text) and text[place] != "]":
            number += 1
            start = place
            row, place = self._element(text, place, number)
            part = text[start:place]
            if not part.isascii():
                self.table.signs.look(part)
                row = RejectedRow(number, undecoded) if UNDECODED in part else row
            yield row
            place = _after_spaces(text, place)
            if text[place : place + 1] == ",":
                place = _after_spaces(text, place + 1)
        if place >= len(text) and isinstance(row, TableRow):
            yield RejectedRow(number + 1, Said("the array is not closed; the file may have been cut short"))
        elif not inner and _after_spaces(text, place + 1) < len(text):
            follows = Said("something follows the array; give one array, or an object on each line")
            yield RejectedRow(number + 1, follows)

    def _element(self, text: str, place: int, number: int) -> tuple[TableRow | RejectedRow, int]:
        """Return an element of an array, and where what follows it begins."""
        wrong = place
        try:
            try:
                values, end = _DECODER.raw_decode(text, place)
                row = self._checked(number, values, "element")
            except _TwiceError:
                _, end = _LENIENT.raw_decode(text, place)
                row = RejectedRow(number, _TWICE["element"])
            after = _after_spaces(text, end)
            if text[after : after + 1] in (",", "]", ""):
                return row, end
            wrong = after
        except json.JSONDecodeError as error:
            wrong = error.pos
        except (ValueError, RecursionError):
            pass
        found = _NEXT_OBJECT.search(text, place)
        reason = Said(
            "the element is not JSON (line {line}, column {column}); expected one object",
            line=text.count("\n", 0, wrong) + 1, column=wrong - text.rfind("\n", 0, wrong),
        )  # fmt: skip
        return RejectedRow(number, reason), len(text) if found is None else found.end()


def _end_of_value(text: str, place: int) -> int | None:
    try:
        return _LENIENT.raw_decode(text, place)[1]
    except (ValueError, RecursionError):
        return None


def _only_array(text: str, place: int) -> int | None:
    """Return where the array of rows begins that is the only one among an object's own members; None: it has none."""
    values, _ = _LENIENT.raw_decode(text, place)
    arrays = [name for name, value in values.items() if isinstance(value, list) and _holds_rows(value)]
    if len(arrays) != 1:
        return None
    place = _after_spaces(text, place + 1)
    while True:
        name, end = _LENIENT.raw_decode(text, place)
        place = _after_spaces(text, _after_spaces(text, end) + 1)
        if name == arrays[0] and text[place] == "[":
            return place
        _, end = _LENIENT.raw_decode(text, place)
        place = _after_spaces(text, _after_spaces(text, end) + 1)


def _holds_rows(values: list[Any]) -> bool:
    return bool(values) and all(isinstance(value, dict) for value in values)


def _nested_deeper(value: Cell, levels: int) -> bool:
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return any(levels == 0 or _nested_deeper(part, levels - 1) for part in parts if isinstance(part, (dict, list)))


def _after_spaces(text: str, place: int) -> int:
    found = _SPACES.match(text, place)
    return place if found is None else found.end()
