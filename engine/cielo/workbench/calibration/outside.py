"""Mentions that mean no concept of a knowledge base: whatever is answered to them is wrong."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from cielo.errors import MentionError
from cielo.tables import ColumnFinder, Role
from cielo.tables.mentions import InputRow, read_mentions
from cielo.workbench.evaluation.corpora.lines import Gathering
from cielo.workbench.evaluation.records import Annotated, Corpus

EXPECTED = "rows with the column text and, if wanted, sentence and kind, and without codes"

_finder = ColumnFinder(Role("codes", ("codes", "codigos")), Role("code", ("code", "codigo")))


def read_outside(path: Path) -> Corpus:
    """Read mentions that mean no concept: ``text``, and if wanted ``sentence``, ``kind``, ``id``; others are ignored.

    A row with a code is skipped: what has a code is a concept.

    Raises:
        TableError: where none of it can be read.
    """
    gathering = Gathering()
    mentions = read_mentions(path)
    for row in mentions:
        _add(gathering, row, f"{path.name}, row {row.number}")
    return gathering.corpus(path, EXPECTED)


def _add(gathering: Gathering, row: InputRow, place: str) -> None:
    try:
        mention = row.mention()
    except MentionError as error:
        gathering.skip(place, str(error))
        return
    if any(_finder.cells(row.values)):
        gathering.skip(place, "the row has a code; expected mentions that mean no concept of the knowledge base")
        return
    gathering.read += 1
    gathering.mentions.append(Annotated(replace(mention, id=mention.id or str(row.number)), ()))
