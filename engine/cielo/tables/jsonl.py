"""JSON Lines: one object on each line, its members by the names of the columns."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from cielo.tables.columns import find_code, find_columns, find_description, find_preferred, no_columns
from cielo.tables.lines import open_lines
from cielo.tables.rows import CodeTable, Rejected, TableRow, is_blank, is_decoded, row_of

_TYPES = {list: "list", str: "string", int: "number", float: "number", bool: "truth value", type(None): "null"}


def read_jsonl(table: CodeTable) -> Iterator[TableRow | Rejected]:
    """Read JSON Lines. A line that lacks a column is rejected; a table in which no line has it is an error."""
    names: dict[str, None] = {}  # of all members of all lines
    members = _Members(table)
    with open_lines(table) as (encoding, lines):
        for number, line in enumerate(lines, start=1):
            if not is_decoded(line):
                yield Rejected(number, f"the line is not {encoding}; save the file as UTF-8 or name its encoding")
            elif not is_blank(line):
                values = _object(line)
                if isinstance(values, str):
                    yield Rejected(number, values)
                else:
                    names.update(dict.fromkeys(values))
                    yield row_of(number, *members.of(values), table)
    if names and find_columns(list(names), table) is None:
        raise no_columns(table, names)


class _Members:
    """Finds the members of an object; they are looked for anew only where its names are not those of the one before."""

    def __init__(self, table: CodeTable) -> None:
        self._table = table
        self._names: tuple[str, ...] = ()
        self._found: tuple[str | None, str | None, str | None] = (None, None, None)

    def of(self, values: dict[str, Any]) -> tuple[object, object, object]:
        """Return an object's code, description and mark of preference (True where it has none)."""
        names = tuple(values)
        if names != self._names:
            places = find_code(names, self._table), find_description(names, self._table), find_preferred(names)
            code, description, mark = (None if place is None else names[place] for place in places)
            self._names, self._found = names, (code, description, mark)
        code, description, mark = self._found
        return (
            None if code is None else values[code],
            None if description is None else values[description],
            True if mark is None else values[mark],
        )


def _object(line: str) -> dict[str, Any] | str:
    try:
        values = json.loads(line)
    except (ValueError, RecursionError):
        return "the line is not JSON; expected one object on each line"
    if not isinstance(values, dict):
        return f"the line holds a JSON {_TYPES[type(values)]}; expected an object"
    return values
