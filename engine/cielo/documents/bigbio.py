"""Documents of BigBio's schema ``kb``, as xMEN writes them: passages that make up the text, and entities in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec

from cielo.documents.records import Document, MarkedSpan
from cielo.errors import MentionError
from cielo.records import Json

_FARTHEST = 1_000  # characters beyond the text before it


@dataclass(frozen=True, slots=True)
class _Passage:
    text: tuple[str, ...]
    offsets: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class _Entity:
    id: str
    type: str
    text: tuple[str, ...]
    offsets: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class _Document:
    passages: tuple[_Passage, ...]
    entities: tuple[_Entity, ...]


def bigbio_document(given: Mapping[str, Json], *, name: str = "", place: str = "") -> Document:
    """Return a document of the schema ``kb``, its offsets in characters of the whole document.

    Args:
        given: of that schema; other members are kept with it.
        name: of the document.
        place: where it stands, for messages.

    Raises:
        MentionError: where it is not of that schema.
    """
    try:
        read = msgspec.convert(given, _Document)
    except msgspec.ValidationError as error:
        raise MentionError(
            "the document is none of the schema kb ({found}); give passages and entities", found=str(error)
        ) from error
    spans = tuple(
        MarkedSpan(entity.offsets, entity.id, type=entity.type, text=" ".join(entity.text).strip() or None, line=number)
        for number, entity in enumerate(read.entities, start=1)
    )
    return Document(name, place, _text(read.passages), spans, given=given)


def _text(passages: Sequence[_Passage]) -> str:
    """Return the text of a document, in which each passage stands at its offsets, with spaces between them."""
    text = ""
    pieces = [piece for one in passages for piece in zip(one.offsets, one.text, strict=False)]
    for (start, _), content in sorted(pieces):
        if start > len(text) + sum(len(each) for _, each in pieces) + _FARTHEST:
            raise MentionError("the offsets of a passage lie far beyond the text before it; expected characters")
        text = text[:start].ljust(start) + content
    return text
