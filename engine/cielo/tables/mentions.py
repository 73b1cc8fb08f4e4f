"""Rows of mentions in, in every format of tables. Everything is text; codes are never numbers.

A row that cannot be read is handed on with its error, so that it is answered in its place and its neighbours are
not lost.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from cielo.errors import MentionError, TableError
from cielo.records import NAMES, Mention
from cielo.said import Said
from cielo.tables.columns import ColumnFinder, Role, looks_like_header, refuse_ambiguous, show_names
from cielo.tables.formats import TableFormat
from cielo.tables.reading import open_bytes, read_table
from cielo.tables.rows import Cell, NotText, RejectedRow, UnfitError, shown, text_of
from cielo.tables.table import Table

TEXT = Role("text", ("text", "texto", "mention", "mencion", "entity", "entidad"))
SENTENCE = Role("sentence", ("sentence", "oracion", "frase", "contexto"))
KIND = Role("kind", ("kind", "tipo"))
ID = Role("id", ("id",))
_OPTIONS = "the columns (--text-column, --sentence-column, --kind-column, --id-column)"


@dataclass(frozen=True, slots=True, kw_only=True)
class MentionColumns:
    """The columns that mentions are read from, by name (case and accents do not matter); None: one of the usual names.

    In a table without a header a column is named by its place: ``1``.

    Attributes:
        text: of the mention.
        sentence: that it stands in.
        kind: of its code.
        id: the caller's own name of the row.
    """

    text: str | None = None
    sentence: str | None = None
    kind: str | None = None
    id: str | None = None

    def roles(self) -> tuple[Role, ...]:
        """Return the columns that are looked for: text, sentence, kind, id."""
        names = (self.text, self.sentence, self.kind, self.id)
        return tuple(role.called(name) for role, name in zip((TEXT, SENTENCE, KIND, ID), names, strict=True))

    def required(self) -> tuple[Role, ...]:
        """Return the columns that a header must have: the text, and what was named."""
        return tuple(role for role in self.roles() if role.name == TEXT.name or role.named is not None)


_USUAL = ColumnFinder(*MentionColumns().roles())


@dataclass(frozen=True, slots=True)
class InputRow:
    """One row of the input: its line, its values by the names of its columns, and its fault, if it has one.

    Attributes:
        finder: of its text, sentence, kind and id.
    """

    number: int
    values: dict[str, Cell]
    error: str | None = None
    finder: ColumnFinder = field(default=_USUAL, repr=False, compare=False)

    def mention(self, kind: str | None = None) -> Mention:
        """Return the row's mention, of the kind that is given, else of the row's own.

        Raises:
            MentionError: where the row holds none.
        """
        if self.error is not None:
            raise MentionError(self.error)
        text, sentence, own, name = self.finder.cells(self.values)
        if text is None and self.finder.names(self.values)[0] is not None:
            text = ""  # the column is there, and Mention says what is wrong
        if text is None:
            found = show_names(self.values)  # of columns, or of the members of an object: no text of a mention
            raise MentionError(
                "the row has no text; found {found}: give a column `text`, or name it (--text-column)", found=found
            )
        try:
            named = None if name is None else str(shown(name))
            # What is no text Mention refuses itself.
            roles = ((text, TEXT), (sentence or None, SENTENCE), (kind or own or None, KIND))
            values: list[Any] = [*(_text(cell, role) for cell, role in roles), named]
            return Mention(*values)
        except UnfitError as error:
            raise MentionError(error.said) from error


def _text(cell: Cell, role: Role) -> Cell:
    return text_of(cell, NAMES[role.name], digits=True) if isinstance(cell, NotText) else cell


class MentionTable:
    """The rows of a table of mentions; they come once, one after the other.

    Attributes:
        table: that they are read from: it counts lines and rows, and has warnings.
    """

    def __init__(self, table: Table, columns: MentionColumns) -> None:
        self.table = table
        self._finder = ColumnFinder(*columns.roles())

    def __iter__(self) -> Iterator[InputRow]:
        names, short = self.table.columns, 0
        text, sentence, *_ = self._finder.names(dict.fromkeys(names))
        last = next((name for name, raw in zip(reversed(names), reversed(self.table.raw_columns), strict=False)
                     if raw.strip()), None)  # fmt: skip
        for row in self.table:
            if isinstance(row, RejectedRow):
                values: dict[str, Cell] = {name: shown(cell) for name, cell in row.values.items()}
                yield InputRow(row.line, values, row.reason, self._finder)
                continue
            fault = None
            if last is not None and last not in row.values:
                # Excel leaves out the empty cells at the end of rows further down.
                if text in row.values and (sentence is None or sentence in row.values):
                    short += 1
                else:
                    fault = Said(
                        "the row has {count} columns; the header has {width}", count=len(row.values), width=len(names)
                    )
            yield InputRow(row.number, row.values, fault, self._finder)
        if short:
            self.table.notes.append(
                Said(
                    "{count:,} row(s) have fewer cells than the header; the missing ones were taken as empty",
                    count=short,
                )
            )


def read_mentions(
    source: Path | BinaryIO,
    form: TableFormat | None = None,
    *,
    columns: MentionColumns | None = None,
    name: str | None = None,
) -> MentionTable:
    """Open a table of mentions: a column ``text`` and, if wanted, ``sentence``, ``kind`` and ``id``; others are kept.

    Args:
        source: a file, or a stream of bytes, which stays open.
        form: what is known of its format.
        columns: what its columns are called; None: as is usual.
        name: of the source in errors; default: the file's.

    Raises:
        TableError: where the file as a whole cannot be read, has no header with these columns, or has one of them
            twice.
    """
    columns = columns or MentionColumns()
    required = columns.required()
    table = read_table(source, form or TableFormat(), required, name=name)
    if table.format not in ("jsonl", "json"):
        if table.header is None and not all((role.named or "").isdecimal() for role in required):
            table.close()
            raise TableError(f"{table.name}: {_missing(table, required)}")
        try:
            refuse_ambiguous(table.name, table.raw_columns, columns.roles())
        except TableError:
            table.close()
            raise
    return MentionTable(table, columns)


def _missing(table: Table, required: Sequence[Role]) -> str:
    first = table.nearest
    lacking = [role for role in required if role.find(first) is None] or required
    wanted = " and ".join(f"`{role.named or role.name}`" for role in lacking)
    if not first:
        return f"there is no row{table.where}, and so no column {wanted}; give it a header"
    if looks_like_header(first):
        return f"the header has no column {wanted}{table.where}; found {show_names(first)}: name {_OPTIONS}"
    # They are not shown: where there is no header, they are a patient's words.
    return (
        f"the header has no column {wanted}{table.where}; the first row has {len(first)} column(s): name {_OPTIONS}, "
        "by place (1, 2, ...) where there is no header"
    )


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
