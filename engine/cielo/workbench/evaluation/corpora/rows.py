"""Rows of cielo's own: a mention and its code in each, in any format of tables."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from cielo.errors import MentionError
from cielo.tables import Cell, ColumnFinder, Format, Role, TableFormat
from cielo.tables.mentions import InputRow, read_mentions
from cielo.tables.rows import UnfitError, text_of
from cielo.workbench.evaluation.corpora.lines import Gathering, in_order
from cielo.workbench.evaluation.records import Annotated, Corpus

EXPECTED = "rows with the columns text and code (several codes with `|` between them), and, if wanted, sentence, kind"

_OTHERS = (
    Role("document", ("document",)),
    Role("description", ("description",)),
    Role("generated text", ("generated",)),
    Role("stored output", ("pred",)),
)
_finder = ColumnFinder(Role("codes", ("codes", "codigos")), Role("code", ("code", "codigo")), *_OTHERS)


def read_rows(path: Path, form: Format | None = None) -> Corpus:
    """Read rows of mentions with their codes.

    Columns: ``text``, ``code`` or ``codes`` (with ``|`` between several; in JSON a list will do); if wanted
    ``sentence``, ``kind``, ``id``, ``document``, ``description``, and ``generated`` or ``pred``. Others are ignored.

    Args:
        path: the file.
        form: its format; None: by its name's ending.

    Raises:
        TableError: where none of it can be read.
    """
    gathering = Gathering()
    mentions = read_mentions(path, TableFormat(format=form))
    unit = "line" if mentions.table.format in ("csv", "tsv", "jsonl") else "row"
    for row in mentions:
        _add(gathering, row, f"{path.name}, {unit} {row.number}")
    return gathering.corpus(path, EXPECTED)


def _add(gathering: Gathering, row: InputRow, place: str) -> None:
    try:
        mention = row.mention()
        mention = replace(mention, id=mention.id or str(row.number))
        codes, code, *others = _finder.cells(row.values)
        given = _codes(codes or code or "")
        document, description, generated, stored = (
            _text(cell, role.name) for cell, role in zip(others, _OTHERS, strict=True)
        )
    except MentionError as error:
        gathering.skip(place, str(error))
        return
    if not given:
        gathering.skip(place, "the row has no code; expected one in the column code")
        return
    gathering.read += 1
    text = generated if generated is not None else stored
    gathering.mentions.append(Annotated(mention, given, description or None, document or None, generated=text))


def _codes(given: Cell) -> tuple[str, ...]:
    parts = given if isinstance(given, list) else [given]
    try:
        return in_order(code for part in parts for code in text_of(part, "code", digits=True).split("|"))
    except UnfitError as error:
        raise MentionError(str(error)) from error


def _text(cell: Cell, name: str) -> str | None:
    try:
        return None if cell is None else text_of(cell, name, digits=True)
    except UnfitError as error:
        raise MentionError(str(error)) from error
