"""JSON: one object on each line, or one array of objects; members are cells by the names of their columns."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from typing import Any, BinaryIO, Literal

from cielo.said import Said
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
_NO_JSON: dict[_Unit, Said] = {
    "line": Said("the line is not JSON; expected one object on each line"),
    "element": Said("the element is not JSON; expected one object"),
}
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


def open_json(stream: BinaryIO, table: Table, form: TableFormat) -> Iterator[TableRow | RejectedRow]:
    """Return the rows of JSON Lines, or of an array where the text begins with ``[`` and is no list on one line.

    Raises:
        TableError: where the encoding is not known.
    """
    table.encoding, lines = open_lines(stream, table.name, form.encoding)
    return _array("".join(lines), table) if table.format == "json" else _lines(lines, table)


def _lines(lines: Iterator[str], table: Table) -> Iterator[TableRow | RejectedRow]:
    look, undecoded = table.signs.look, not_decoded(table.encoding or "")
    for number, line in enumerate(lines, start=1):
        table.lines = number
        if not line.isascii():
            look(line)
            if UNDECODED in line:
                yield RejectedRow(number, undecoded)
                continue
        elif not line.strip():
            continue
        if number == 1 and line.startswith("[") and (rest := _rest_of_array(line, lines)) is not None:
            yield from _array(rest, table)
            return
        yield _row(number, line, "line")


def _rest_of_array(line: str, lines: Iterator[str]) -> str | None:
    """Return the whole text where it is one array of objects after all, else None."""
    if re.match(r"\[\s*(\{|$)", line) is None:
        return None
    return line + "".join(lines)


def _row(number: int, text: str, what: _Unit) -> TableRow | RejectedRow:
    try:
        text = text.strip(" \t\r\n")
        values, end = _DECODER.raw_decode(text)
        if end != len(text):
            raise ValueError("something follows the object")
    except _TwiceError:
        return RejectedRow(number, _TWICE[what])
    except (ValueError, RecursionError):
        return RejectedRow(number, _NO_JSON[what])
    # Most rows hold neither a list nor an object in their object.
    return _checked(number, values, what, flat="[" not in text and text.count("{") == 1)


def _checked(number: int, values: Any, what: _Unit, *, flat: bool = False) -> TableRow | RejectedRow:
    if not isinstance(values, dict):
        return RejectedRow(number, Said(_OTHER_TYPE[what], found=_TYPES[type(values)]))
    if not flat and _nested_deeper(values, _MAX_NESTING):
        return RejectedRow(number, Said(_TOO_DEEP[what], most=_MAX_NESTING))
    return TableRow(number, values)


def _nested_deeper(value: Cell, levels: int) -> bool:
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return any(levels == 0 or _nested_deeper(part, levels - 1) for part in parts if isinstance(part, (dict, list)))


def _array(text: str, table: Table) -> Iterator[TableRow | RejectedRow]:
    """Yield the elements of an array; one that is malformed ends where the next object seems to begin."""
    row: TableRow | RejectedRow | None = None
    table.lines = text.count("\n") + (not text.endswith("\n"))
    undecoded = not_decoded(table.encoding or "")
    place, number = _after_spaces(text, 0), 0
    if text[place : place + 1] == "[":
        place = _after_spaces(text, place + 1)
    elif place < len(text):
        yield RejectedRow(1, Said("the file is no JSON array; expected one array of objects"))
        return
    while place < len(text) and text[place] != "]":
        number += 1
        start = place
        row, place = _element(text, place, number)
        part = text[start:place]
        if not part.isascii():
            table.signs.look(part)
            row = RejectedRow(number, undecoded) if UNDECODED in part else row
        yield row
        place = _after_spaces(text, place)
        if text[place : place + 1] == ",":
            place = _after_spaces(text, place + 1)
    if place >= len(text) and isinstance(row, TableRow):
        yield RejectedRow(number + 1, Said("the array is not closed; the file may have been cut short"))


def _after_spaces(text: str, place: int) -> int:
    found = _SPACES.match(text, place)
    return place if found is None else found.end()


def _element(text: str, place: int, number: int) -> tuple[TableRow | RejectedRow, int]:
    """Return an element of an array, and where what follows it begins."""
    try:
        try:
            values, end = _DECODER.raw_decode(text, place)
            row = _checked(number, values, "element")
        except _TwiceError:
            _, end = _LENIENT.raw_decode(text, place)
            row = RejectedRow(number, _TWICE["element"])
        after = _after_spaces(text, end)
        if text[after : after + 1] in (",", "]", ""):
            return row, end
    except (ValueError, RecursionError):
        pass
    found = _NEXT_OBJECT.search(text, place)
    return RejectedRow(number, _NO_JSON["element"]), len(text) if found is None else found.end()
