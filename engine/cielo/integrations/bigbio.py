"""BigBio's documents (the schema ``kb``): codes as ``normalized`` of the entities."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cielo.documents.bigbio import bigbio_document
from cielo.documents.records import Document
from cielo.link.document_links import DocumentLink
from cielo.link.linker import Linker
from cielo.options import LinkOptions
from cielo.records import Json

DATABASE = "CIE10ES"


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
    read = bigbio_document(document)
    found = linker.link_document(
        read.text,
        [entity.span for entity in read.spans],
        kinds=[(kinds or {}).get(entity.type or "") for entity in read.spans],
        texts=[entity.text for entity in read.spans],
        options=options,
    )
    return normalized(read, found, database=database)


def normalized(document: Document, found: Sequence[DocumentLink], *, database: str = DATABASE) -> Normalized:
    """Return a document of the schema ``kb`` with the codes that were found for its spans, as `add_normalized` does.

    Args:
        document: of any form; where it is not BigBio's, one is made of its text and of the spans that were linked.
        found: the result for each span, in their order.
        database: ``db_name`` of the entries.
    """
    problems = tuple(f"{one.name}: {link.error}" for one, link in zip(document.spans, found, strict=True) if link.error)
    given = document.given
    if given is None:
        found = [link for link in found if link.link is not None]
        given = _made(document, found)
    old = given["entities"]
    entities: list[Json] = []
    for entity, linked in zip(old if isinstance(old, Sequence) else (), found, strict=True):
        copy = dict(entity) if isinstance(entity, dict) else {}
        if linked.link is not None:
            before = copy.get("normalized")
            kept = [entry for entry in (before if isinstance(before, list) else []) if not _of(entry, database)]
            codes: list[Json] = [{"db_name": database, "db_id": code} for code in linked.link.codes]
            copy["normalized"] = kept + codes
        entities.append(copy)
    return Normalized({**given, "entities": entities}, problems)


def _made(document: Document, found: Sequence[DocumentLink]) -> dict[str, Json]:
    name, text = document.name, document.text
    whole: Json = {"id": f"{name}-text", "type": "text", "text": [text], "offsets": [[0, len(text)]]}
    entities: list[Json] = [_entity(link, number, name, text) for number, link in enumerate(found, start=1)]
    return {
        "id": name, "document_id": name, "passages": [whole], "entities": entities, "events": [], "coreferences": [],
        "relations": [],
    }  # fmt: skip


def _entity(found: DocumentLink, number: int, name: str, text: str) -> Json:
    return {
        "id": f"{name}-{number}",
        "type": (found.link.kind if found.link else None) or "",
        "text": [text[start:end] for start, end in found.spans],
        "offsets": [[start, end] for start, end in found.spans],
        "normalized": [],
    }


def _of(entry: Json, database: str) -> bool:
    return isinstance(entry, dict) and entry.get("db_name") == database
