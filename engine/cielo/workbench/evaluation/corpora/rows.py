"""Rows of cielo's own: a mention and its code in each, as JSON Lines, CSV or TSV."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from cielo.errors import MentionError, TableError
from cielo.tables.mentions import Format, InputRow, format_of, open_input
from cielo.tables.mentions import read_rows as read_table
from cielo.workbench.evaluation.corpora.lines import Gathering, in_order
from cielo.workbench.evaluation.records import Annotated, Corpus

EXPECTED = "rows with the columns text and code (several codes with `|` between them), and, if wanted, sentence, kind"


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
    form = format_of(str(path), form)
    gathering = Gathering()
    try:
        with open_input(str(path)) as stream:
            for row in read_table(stream, form):
                _add(gathering, row, f"{path.name}, {'line' if form == 'jsonl' else 'row'} {row.number}")
    except ValueError as error:  # a zero byte in the name
        raise TableError(f"{path}: there is no such file") from error
    except TableError as error:
        raise TableError(f"{path}: {str(error).removeprefix(f'{path}: ')}") from error
    return gathering.corpus(path, EXPECTED)


def _add(gathering: Gathering, row: InputRow, place: str) -> None:
    try:
        mention = row.mention()
        mention = replace(mention, id=mention.id or str(row.number))
        codes = _codes(row.values)
        document, description = (_text(row.values, name) or None for name in ("document", "description"))
        generated = _text(row.values, "generated" if row.values.get("generated") is not None else "pred")
    except MentionError as error:
        gathering.skip(place, str(error))
        return
    if not codes:
        gathering.skip(place, "the row has no code; expected one in the column code")
        return
    gathering.read += 1
    gathering.mentions.append(Annotated(mention, codes, description, document, generated=generated))


def _codes(values: dict[str, Any]) -> tuple[str, ...]:
    given = values.get("codes") or values.get("code") or ""
    parts = given if isinstance(given, list) else [given]
    if not all(isinstance(part, str) for part in parts):
        raise MentionError("a code of the row is no text; write codes as strings")
    return in_order(code for part in parts for code in part.split("|"))


def _text(values: dict[str, Any], name: str) -> str | None:
    value = values.get(name)
    if value is not None and not isinstance(value, str):
        raise MentionError(f"the row's {name} is of type {type(value).__name__}; give a string")
    return value
