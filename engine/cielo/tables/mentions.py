"""Rows of mentions in and rows of links out, in every format of tables. Everything is text; codes are never numbers.

A row that cannot be read is handed on with its error, so that it is answered in its place and its neighbours are
not lost.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from cielo.errors import MentionError, TableError
from cielo.records import Json, Link, Mention
from cielo.tables.columns import ColumnFinder, Role, refuse_twice
from cielo.tables.formats import Format, TableFormat
from cielo.tables.reading import open_bytes, read_table
from cielo.tables.rows import Cell, NotText, RejectedRow, UnfitError, shown, text_of
from cielo.tables.table import Table
from cielo.tables.writing import cell_text, write_table

TEXT = Role("text", ("text", "texto", "mention", "mencion"))
SENTENCE = Role("sentence", ("sentence", "oracion", "frase"))
KIND = Role("kind", ("kind",))
ID = Role("id", ("id",))
_RESULT_COLUMNS = (
    "code", "codes", "description", "title", "kind", "method", "match", "confidence", "generated", "log_prob",
    "probability", "distance", "candidates", "proof", "truncated", "provenance", "error",
)  # fmt: skip
_ALWAYS = tuple(name for name in _RESULT_COLUMNS if name != "proof")  # which only constrained searches give
_finder = ColumnFinder(TEXT, SENTENCE, KIND, ID)


@dataclass(frozen=True, slots=True)
class InputRow:
    """One row of the input: its line, its values by the names of its columns, and its fault, if it has one."""

    number: int
    values: dict[str, Cell]
    error: str | None = None

    def mention(self, kind: str | None = None) -> Mention:
        """Return the row's mention, of the kind that is given where the row names none.

        Raises:
            MentionError: where the row holds none.
        """
        if self.error is not None:
            raise MentionError(self.error)
        text, sentence, own, name = _finder.cells(self.values)
        if text is None:
            raise MentionError("the row has no text; give a column `text`")
        try:
            named = None if name is None else str(shown(name))
            # What is no text Mention refuses itself.
            values: list[Any] = [_text(text, TEXT), _text(sentence or None, SENTENCE), _text(own or kind, KIND), named]
            return Mention(*values)
        except UnfitError as error:
            raise MentionError(str(error)) from error


def _text(cell: Cell, role: Role) -> Cell:
    return text_of(cell, role.name, digits=True) if isinstance(cell, NotText) else cell


class MentionTable:
    """The rows of a table of mentions; they come once, one after the other.

    Attributes:
        table: that they are read from: it counts lines and rows, and has warnings.
    """

    def __init__(self, table: Table) -> None:
        self.table = table

    def __iter__(self) -> Iterator[InputRow]:
        width = len(self.table.columns)
        for row in self.table:
            if isinstance(row, RejectedRow):
                yield InputRow(row.line, {name: shown(cell) for name, cell in row.values.items()}, row.reason)
            elif width and len(row.values) != width:
                reason = f"the row has {len(row.values)} columns; the header has {width}"
                yield InputRow(row.number, row.values, reason)
            else:
                yield InputRow(row.number, row.values)


def read_mentions(source: Path | BinaryIO, form: TableFormat | None = None, *, name: str | None = None) -> MentionTable:
    """Open a table of mentions: a column ``text`` and, if wanted, ``sentence``, ``kind`` and ``id``; others are kept.

    Args:
        source: a file, or a stream of bytes, which stays open.
        form: what is known of its format.
        name: of the source in errors; default: the file's.

    Raises:
        TableError: where the file as a whole cannot be read, has no header with a column ``text``, or has one name
            twice in it.
    """
    table = read_table(source, form or TableFormat(), (TEXT,), name=name)
    if table.format not in ("jsonl", "json"):
        if table.header is None:
            table.close()
            raise TableError(
                f"{table.name}: the header has no column `text`; expected text, sentence and, if wanted, kind and id"
            )
        refuse_twice(table.name, table.raw_columns)
    return MentionTable(table)


@contextlib.contextmanager
def open_input(path: str) -> Iterator[BinaryIO]:
    """Open a file, or standard input for ``-``.

    Raises:
        TableError: where it cannot be opened.
    """
    if path == "-":
        yield sys.stdin.buffer
        return
    with open_bytes(Path(path)) as stream:
        yield stream


def output_row(row: InputRow, outcome: Link | str) -> dict[str, Json]:
    """Return the output row: the input's columns, then the link's, or the error.

    An input column that bears the name of a result column is kept as ``input_<name>`` (``input_input_<name>`` where
    the input has that column too); ``kind`` is the linked code's, and the input's where nothing was linked.
    """
    return joined_row(row, {"error": outcome} if isinstance(outcome, str) else link_columns(outcome))


def joined_row(row: InputRow, columns: Mapping[str, Json]) -> dict[str, Json]:
    """Return the output row of `output_row` from what `link_columns` gave, or from an ``error`` alone."""
    kept = {_kept_name(name, row.values): shown(value) for name, value in row.values.items()}
    result = dict(columns)
    if "kind" in result and result["kind"] is None:
        result["kind"] = shown(row.values.get("kind")) or None
    return {**kept, **result}


def _kept_name(name: str, others: Iterable[str]) -> str:
    if name not in _RESULT_COLUMNS or name == "kind":
        return name
    kept = f"input_{name}"
    while kept in others:
        kept = f"input_{kept}"
    return kept


def link_columns(link: Link) -> dict[str, Json]:
    """Return what the output shows of a link, in the order of its columns; a proof where there is one."""
    values = link.to_dict()
    shown_of = _RESULT_COLUMNS if link.proof else _ALWAYS
    return {name: values[name] for name in shown_of if name in values}


def kept_columns(row: InputRow) -> list[str]:
    """Return the names under which an input row's columns stand in the output."""
    return [_kept_name(name, row.values) for name in row.values]


def write_rows(
    stream: BinaryIO,
    form: Format,
    rows: Iterable[dict[str, Json]],
    *,
    guarded: bool = False,
    columns: Sequence[str] | None = None,
) -> None:
    """Write output rows; a table of cells gets the columns of all rows, in the order in which they first occur.

    Args:
        stream: of bytes.
        form: of the output.
        rows: see `output_row`.
        guarded: see `cielo.tables.writing.write_table`.
        columns: that a table of cells gets whatever these rows have, the result's with them; None: those of the rows.

    Raises:
        TableError: see `cielo.tables.writing.write_table`.
    """
    write_table(stream, form, rows, order=lambda found: _ordered(columns or found), cell=_cell, guarded=guarded)


def _ordered(columns: Iterable[str]) -> list[str]:
    names = list(columns)
    given = [name for name in names if name not in _RESULT_COLUMNS]
    return given + list(_RESULT_COLUMNS if "proof" in names else _ALWAYS)


def _cell(name: str, value: Any) -> str | None:
    """Write a value as a cell's text: codes with ``|`` between them, the provenance as its bundle and options."""
    if name == "codes" and isinstance(value, (list, tuple)):
        return "|".join(value)
    if name == "provenance" and isinstance(value, dict):
        bundle, how = value["bundle"], [value["decoding"], value["pipeline"]]
        if value["matching"] == "published":
            how.append("published matching")
        return " ".join([f"{bundle['name']}@{bundle['sha256'][:12]}", *how])
    return cell_text(value)
