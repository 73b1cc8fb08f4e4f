"""The sentence files and prediction files of the paper: a mention, its sentence and its code in each line."""

from __future__ import annotations

from pathlib import Path

from cielo.errors import MentionError, TableError
from cielo.records import Mention
from cielo.said import Said
from cielo.tables import Cell, ColumnFinder, RejectedRow, Role, TableFormat, format_of, read_table
from cielo.tables.columns import refuse_twice
from cielo.workbench.evaluation.corpora.codiesp import KINDS
from cielo.workbench.evaluation.corpora.lines import Gathering, has_header, in_order, line_of
from cielo.workbench.evaluation.records import Annotated, Corpus

NEEDED = ("sentence", "words", "label")
_ROLES = tuple(Role(name, (name,)) for name in NEEDED)
_FURTHER = tuple(
    Role(name, (name.replace("_", ""),)) for name in ("label_type", "codigo", "file_id", "descripcion", "pred")
)
EXPECTED = f"a table whose header names the columns {', '.join(NEEDED)} (and label_type, descripcion, pred …)"


def is_header(line: str) -> bool:
    """Tell whether a first line names the columns, each once."""
    return has_header(line, _ROLES)


def read_sentences(path: Path) -> Corpus:
    """Read a file of sentences, or of predictions.

    The columns are known by their names, in any order, with tabs between them (or commas); cells that pandas quoted
    are read as it wrote them. The right code is the ``label``: ``codigo`` was joined to it by the code itself, and
    is the same or empty; where it nevertheless differs (another edition's code for the description), either counts as
    right. The sentences are already prepared. ``pred`` is the output that a prediction file stores.

    Raises:
        TableError: where the columns are not there, or none of it can be read.
    """
    form = format_of(path, default="csv")
    flat = TableFormat(format="csv", quoting="lenient")
    table = read_table(path, flat if form == "tsv" or form == "csv" else TableFormat(format=form), _ROLES)
    if table.header is None and form not in ("json", "jsonl"):
        raise TableError(f"{path}: no line names the columns; expected {EXPECTED}")
    refuse_twice(table.name, table.raw_columns)
    gathering = Gathering()
    finder = ColumnFinder(*_ROLES, *_FURTHER)
    width = len(table.columns)
    for row in table:
        place = line_of(path.name, row.line if isinstance(row, RejectedRow) else row.number)
        if isinstance(row, RejectedRow):
            gathering.skip(place, row.reason)
        elif width and len(row.values) != width:
            said = Said("the row has {count} columns; the header has {width}", count=len(row.values), width=width)
            gathering.skip(place, said)
        else:
            _add(gathering, [_text(cell) for cell in finder.cells(row.values)], place, row.number)
    return gathering.corpus(path, EXPECTED)


def _text(cell: Cell) -> str | None:
    return cell if isinstance(cell, str) else None


def _add(gathering: Gathering, cells: list[str | None], place: str, number: int) -> None:
    sentence, words, label, label_type, codigo, file_id, description, generated = cells
    codes = in_order((label, codigo))
    label_type = (label_type or "").strip()
    if not codes:
        gathering.skip(place, Said("the line has no code; expected one in the column label"))
        return
    if label_type and label_type not in KINDS:
        gathering.skip(place, Said("the label_type is none of {kinds}", kinds=", ".join(KINDS)))
        return
    document = (file_id or "").strip() or None
    name = f"{document}:{number}" if document else str(number)
    try:
        mention = Mention(words or "", (sentence or "").strip() or None, KINDS.get(label_type), name)
    except MentionError as error:
        gathering.skip(place, error.said)
        return
    gathering.read += 1
    gathering.mentions.append(
        Annotated(mention, codes, (description or "").strip() or None, document, generated=generated)
    )
