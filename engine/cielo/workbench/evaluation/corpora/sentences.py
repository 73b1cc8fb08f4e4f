"""The sentence files and prediction files of the paper: a mention, its sentence and its code in each line."""

from __future__ import annotations

from pathlib import Path

from cielo.errors import MentionError, TableError
from cielo.records import Mention
from cielo.workbench.evaluation.corpora.codiesp import KINDS
from cielo.workbench.evaluation.corpora.lines import NOT_UTF8, Gathering, in_order, read_lines, split_records, twice
from cielo.workbench.evaluation.records import Annotated, Corpus

NEEDED = ("sentence", "words", "label")
EXPECTED = f"a table whose first line names the columns {', '.join(NEEDED)} (and label_type, descripcion, pred …)"


def header_of(line: str) -> tuple[str, list[str]] | None:
    """Return what stands between the columns of a first line, and their names; None: it names other columns."""
    for delimiter in "\t,":
        _, _, cells = next(split_records([(1, line)], delimiter))
        names = [cell.strip() for cell in cells or ()]
        if all(name in names for name in NEEDED) and not twice(names):
            return delimiter, names
    return None


def read_sentences(path: Path) -> Corpus:
    """Read a file of sentences, or of predictions.

    The columns are known by their names, in any order, with tabs between them (or commas); cells that pandas quoted
    are read as it wrote them. The right code is the ``label``: ``codigo`` was joined to it by the code itself, and
    is the same or empty; where it nevertheless differs (another edition's code for the description), either counts as
    right. The sentences are already prepared. ``pred`` is the output that a prediction file stores.

    Raises:
        TableError: where the columns are not there, or none of it can be read.
    """
    numbered = read_lines(path)
    first = next(numbered, (0, None))
    found = header_of(first[1]) if first[1] is not None else None
    if found is None:
        raise TableError(f"{path}: the first line does not name the columns; expected {EXPECTED}")
    delimiter, names = found
    gathering = Gathering()
    for number, line, cells in split_records(numbered, delimiter):
        place = f"{path.name}, line {number}"
        if cells is None:
            gathering.skip(place, NOT_UTF8)
        elif line.strip() and len(cells) != len(names):
            gathering.skip(place, f"the line has {len(cells)} columns; the header has {len(names)}")
        elif line.strip():
            _add(gathering, dict(zip(names, cells, strict=True)), place, number)
    return gathering.corpus(path, EXPECTED)


def _add(gathering: Gathering, row: dict[str, str], place: str, number: int) -> None:
    codes = in_order((row["label"], row.get("codigo")))
    label_type = row.get("label_type", "").strip()
    if not codes:
        gathering.skip(place, "the line has no code; expected one in the column label")
        return
    if label_type and label_type not in KINDS:
        gathering.skip(place, f"the label_type is another than {' and '.join(KINDS)}")
        return
    document = row.get("file_id", "").strip() or None
    name = f"{document}:{number}" if document else str(number)
    try:
        mention = Mention(row["words"], row["sentence"].strip() or None, KINDS.get(label_type), name)
    except MentionError as error:
        gathering.skip(place, str(error))
        return
    gathering.read += 1
    gathering.mentions.append(
        Annotated(mention, codes, row.get("descripcion", "").strip() or None, document, generated=row.get("pred"))
    )
