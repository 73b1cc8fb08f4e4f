"""Rows of cielo's own: a mention and its code in each, in any format of tables."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

from cielo.errors import MentionError
from cielo.knowledge.code_columns import CODE
from cielo.said import Said
from cielo.tables import Cell, ColumnFinder, Role, TableFormat, read_table
from cielo.tables.mentions import InputRow, MentionColumns, read_mentions
from cielo.tables.rows import UnfitError, text_of
from cielo.text.kinds import kind_of
from cielo.workbench.evaluation.corpora.lines import Gathering, in_order, line_of, split_codes
from cielo.workbench.evaluation.records import Annotated, Corpus

EXPECTED = (
    "rows with the columns text and code (several codes with `|`, `;` or commas between them), and, if wanted, "
    "sentence, kind"
)

_OTHERS = (
    Role("document", ("document", "documento")),
    Role("description", ("description", "descripcion")),
    Role("generated text", ("generated",)),
    Role("stored output", ("pred",)),
)
_CODES = Role("codes", ("codes", "codigos"))


@dataclass(frozen=True, slots=True, kw_only=True)
class RowsReading:
    """How rows of mentions with their codes are read.

    Attributes:
        table: what is known of the format.
        columns: of the mentions.
        code: the column of the code or codes; None: one of the usual names.
    """

    table: TableFormat = field(default_factory=TableFormat)
    columns: MentionColumns = field(default_factory=MentionColumns)
    code: str | None = None

    def roles(self) -> tuple[Role, Role]:
        """Return the columns that a header must have: the text, and the code or the codes."""
        either = Role("code", _CODES.usual + CODE.usual)
        return self.columns.roles()[0], either.called(self.code)

    def finder(self) -> ColumnFinder:
        """Return what finds the cells of the codes, the code, and the others."""
        named = self.code is not None
        return ColumnFinder(Role("codes", ()) if named else _CODES, CODE.called(self.code), *_OTHERS)


def is_rows(path: Path, reading: RowsReading) -> bool:
    """Tell whether a file is a table with the columns of mentions and their codes.

    Raises:
        TableError: where it cannot be read.
    """
    with read_table(path, reading.table, reading.roles()) as table:
        return table.header is not None


def read_rows(path: Path, reading: RowsReading | None = None) -> Corpus:
    """Read rows of mentions with their codes.

    Columns: ``text``, ``code`` or ``codes`` (several: see `split_codes`; in JSON a list will do); if wanted
    ``sentence``, ``kind``, ``id``, ``document``, ``description``, and ``generated`` or ``pred``. Others are ignored.

    Args:
        path: the file.
        reading: its format and columns.

    Raises:
        TableError: where none of it can be read.
    """
    reading, gathering = reading or RowsReading(), Gathering()
    mentions = read_mentions(path, reading.table, columns=reading.columns)
    finder = reading.finder()
    in_lines = mentions.table.format in ("csv", "tsv", "jsonl")
    for row in mentions:
        where = Said("{name}, row {number}", name=path.name, number=row.number)
        _add(gathering, row, finder, line_of(path.name, row.number) if in_lines else where)
    return gathering.corpus(path, EXPECTED)


def _add(gathering: Gathering, row: InputRow, finder: ColumnFinder, place: str) -> None:
    try:
        mention = row.mention()
        kind = None if mention.kind is None else kind_of(mention.kind) or mention.kind
        mention = replace(mention, id=mention.id or str(row.number), kind=kind)
        codes, code, *others = finder.cells(row.values)
        given = _codes(codes or code or "")
        document, description, generated, stored = (
            _text(cell, role.name) for cell, role in zip(others, _OTHERS, strict=True)
        )
    except MentionError as error:
        gathering.skip(place, error.said)
        return
    if not given:
        gathering.skip(
            place, Said("the row has no code; expected one in the column code (--code-column names another)")
        )
        return
    gathering.read += 1
    text = generated if generated is not None else stored
    gathering.mentions.append(Annotated(mention, given, description or None, document or None, generated=text))


def _codes(given: Cell) -> tuple[str, ...]:
    parts = given if isinstance(given, list) else [given]
    try:
        return in_order(code for part in parts for code in split_codes(text_of(part, "code", digits=True)))
    except UnfitError as error:
        raise MentionError(error.said) from error


def _text(cell: Cell, name: str) -> str | None:
    try:
        return None if cell is None else text_of(cell, name, digits=True)
    except UnfitError as error:
        raise MentionError(error.said) from error
