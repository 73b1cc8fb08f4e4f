"""BigBio's documents (the schema ``kb``): codes as ``normalized`` of the entities."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec

from cielo.errors import MentionError
from cielo.link.linker import Linker
from cielo.options import LinkOptions
from cielo.records import Json

DATABASE = "CIE10ES"


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


@dataclass(frozen=True, slots=True)
class Normalized:
    """A document with codes.

    Attributes:
        document: a copy of the one that was given, with `normalized` of its entities.
        problems: which entities could not be linked, by their id, and why.
    """

    document: Mapping[str, Json]
    problems: tuple[str, ...] = ()


def add_normalized(
    document: Mapping[str, Json],
    linker: Linker,
    options: LinkOptions | None = None,
    *,
    kinds: Mapping[str, str] | None = None,
    database: str = DATABASE,
) -> Normalized:
    """Link the entities of a document, and add the codes of each to its `normalized`, the link's own first.

    Entries of other databases stay; those of `database` are replaced where the entity was linked.

    Args:
        document: of the schema ``kb``, its offsets in characters of the whole document. It stays as it is.
        linker: that finds the codes.
        options: how; default: `LinkOptions()`.
        kinds: of an entity's type; others are linked to codes of any kind.
        database: ``db_name`` of the entries.

    Raises:
        MentionError: where the document is not of that schema.
    """
    try:
        read = msgspec.convert(document, _Document)
    except msgspec.ValidationError as error:
        raise MentionError(f"the document is none of the schema kb ({error}); give passages and entities") from error
    found = linker.link_document(
        _text(read.passages),
        [entity.offsets for entity in read.entities],
        kinds=[(kinds or {}).get(entity.type) for entity in read.entities],
        texts=[" ".join(entity.text) for entity in read.entities],
        options=options,
    )
    entities: list[Json] = []
    given = document["entities"]
    for entity, linked in zip(given if isinstance(given, Sequence) else (), found, strict=True):
        copy = dict(entity) if isinstance(entity, dict) else {}
        if linked.link is not None:
            old = copy.get("normalized")
            kept = [entry for entry in (old if isinstance(old, list) else []) if not _of(entry, database)]
            made: list[Json] = [{"db_name": database, "db_id": code} for code in linked.link.codes]
            copy["normalized"] = kept + made
        entities.append(copy)
    problems = tuple(f"{one.id}: {link.error}" for one, link in zip(read.entities, found, strict=True) if link.error)
    return Normalized({**document, "entities": entities}, problems)


def _of(entry: Json, database: str) -> bool:
    return isinstance(entry, dict) and entry.get("db_name") == database


def _text(passages: Sequence[_Passage]) -> str:
    """Return the text of a document, in which each passage stands at its offsets, with spaces between them."""
    text = ""
    pieces = [piece for one in passages for piece in zip(one.offsets, one.text, strict=False)]
    for (start, _), content in sorted(pieces):
        if start > len(text) + sum(len(each) for _, each in pieces) + 1_000:
            raise MentionError("the offsets of a passage lie far beyond the text before it; expected characters")
        text = text[:start].ljust(start) + content
    return text
