"""Documents in JSON: one object on each line, or one array of objects, with a text and spans, or of BigBio's schema."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import BinaryIO

import msgspec

from cielo.documents.bigbio import bigbio_document
from cielo.documents.records import Document, MarkedSpan
from cielo.errors import MentionError
from cielo.records import Json
from cielo.said import Said
from cielo.tables import RejectedRow, TableFormat, read_table
from cielo.tables.rows import shown
from cielo.wire import SpanRequest

_NO_SPAN = Said(
    "the span is neither a list nor an object; give [start, end], a list of such pairs, or an object with start and "
    "end, or fragments"
)
_OTHER_SPAN = Said(
    "the span is not as expected ({found}); give [start, end], a list of such pairs, or an object with start and end, "
    "or fragments"
)


def json_documents(stream: BinaryIO, form: TableFormat, name: str) -> Iterator[Document]:
    """Yield the documents of a file; one that cannot be read stands in its place with the reason.

    A document has a ``text``, and ``spans``: each ``[start, end]``, a list of such fragments, or an object with
    ``start`` and ``end`` or ``fragments``, and, if wanted, ``kind``, ``id``, ``type`` and ``text`` (what the span is
    expected to hold). ``id`` and ``subject`` (the patient, for FHIR) are optional. Where there are no spans but
    ``passages`` and ``entities``, it is read as BigBio's.

    Args:
        stream: of bytes, which stays open.
        form: of the file, ``jsonl`` or ``json``.
        name: of the file, for messages.

    Raises:
        TableError: where the file as a whole cannot be read.
    """
    for row in read_table(stream, form, name=name):
        if isinstance(row, RejectedRow):
            yield Document(str(row.line), _place(name, form, row.line), error=row.reason)
            continue
        values = {member: shown(value) for member, value in row.values.items()}
        place, named = _place(name, form, row.number), str(row.number)
        try:
            named = _name(values, row.number)
            yield _document(values, named, place)
        except MentionError as error:
            yield Document(named, place, error=error.said)


def _place(name: str, form: TableFormat, number: int) -> Said:
    if form.format == "json":
        return Said("{name}, element {number}", name=name, number=number)
    return Said("{name}, line {number}", name=name, number=number)


def _name(values: Mapping[str, Json], number: int) -> str:
    found = values.get("id", values.get("document_id"))
    if found is None or found == "":
        return str(number)
    if isinstance(found, bool) or not isinstance(found, str | int):
        raise MentionError("the document's id is neither a string nor a whole number; give one of them, or none")
    return str(found)


def _document(values: Mapping[str, Json], name: str, place: str) -> Document:
    if "spans" not in values and "passages" in values:
        return replace(bigbio_document(values, name=name, place=place), subject=_subject(values))
    text, spans = values.get("text"), values.get("spans")
    if not isinstance(text, str):
        raise MentionError("the document has no text; give a string `text`")
    if not isinstance(spans, list):
        raise MentionError("the document has no spans; give a list `spans`, which may be empty")
    marked = tuple(_span(entry, number) for number, entry in enumerate(spans, start=1))
    return Document(name, place, text, marked, subject=_subject(values))


def _subject(values: Mapping[str, Json]) -> str | None:
    found = values.get("subject")
    if found is not None and not isinstance(found, str):
        raise MentionError("the document's subject is no string; give one such as Patient/1, or none")
    return found or None


def _span(entry: Json, number: int) -> MarkedSpan:
    if isinstance(entry, list):
        return MarkedSpan(entry, line=number)
    if not isinstance(entry, dict):
        return MarkedSpan(line=number, error=_NO_SPAN)
    name = entry.get("id")
    name = str(name) if isinstance(name, int) and not isinstance(name, bool) else name
    try:
        asked = msgspec.convert({**entry, "id": name}, SpanRequest)
    except msgspec.ValidationError as error:
        kept = name if isinstance(name, str) else None
        return MarkedSpan(name=kept, line=number, error=Said(_OTHER_SPAN, found=str(error)))
    kind = entry.get("type")
    return MarkedSpan(
        asked.pairs, asked.id, asked.kind, kind if isinstance(kind, str) else None, asked.text or None, number
    )
