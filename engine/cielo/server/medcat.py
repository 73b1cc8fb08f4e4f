"""``/api``: requests and answers in the shape of MedCATservice (https://github.com/CogStack/MedCATservice).

cielo links mentions and finds none in a text. So a document brings its mentions in ``entities``, each with ``start``
and ``end``; a short text without any is one mention itself. An annotation has ``cui``, ``pretty_name`` and the other
keys that readers of MedCAT's annotations look for; its ``acc`` is the confidence, or else the probability.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from cielo.link.documents import DocumentMention
from cielo.machine import library_versions
from cielo.options import LinkOptions
from cielo.records import Json, Mention
from cielo.server.frames import Linked, Refused
from cielo.server.http import HttpError, json_response, record_of, require_unicode
from cielo.server.linking import Linking
from cielo.server.service import Service, link_of
from cielo.wire import SpanRequest

LONGEST_MENTION = 200  # characters of a text that is one mention


@dataclass(frozen=True, slots=True)
class _Document:
    text: str
    spans: list[SpanRequest]
    footer: object = None


def routes(service: Service) -> list[Route]:
    """Return the routes."""
    linking = Linking(service)

    async def info(request: Request) -> Response:
        return json_response(_info(service))

    async def process(request: Request) -> Response:
        content = _content(await linking.json(request))
        results = await _processed(linking, request, [content])
        return json_response({"result": results[0], "medcat_info": _info(service)})

    async def process_bulk(request: Request) -> Response:
        contents = _content(await linking.json(request))
        if not isinstance(contents, list):
            raise HttpError("invalid", "expected a list of documents", field="content")
        results = await _processed(linking, request, contents)
        return json_response({"result": results, "medcat_info": _info(service)})

    return [
        Route("/api/info", info),
        Route("/api/process", process, methods=["POST"]),
        Route("/api/process_bulk", process_bulk, methods=["POST"]),
    ]


def _content(document: object) -> object:
    if not isinstance(document, dict) or document.get("content") is None:
        raise HttpError("bad_request", "expected an object with the key content", field="content")
    require_unicode(document, "the body")
    return document["content"]


def _info(service: Service) -> dict[str, Json]:
    return {
        "service_app_name": "cielo",
        "service_language": "es",
        "service_version": library_versions().get("cielo", ""),
        "service_model": f"{service.bundle.name}@{service.bundle.sha256[:12]}",
    }


async def _processed(linking: Linking, request: Request, contents: Sequence[object]) -> list[dict[str, Json]]:
    """Return the result of each document; one that is none says so in its own, as MedCATservice does."""
    documents = [_document(content) for content in contents]
    good = [document for document in documents if isinstance(document, _Document)]
    linking.require_few(sum(len(document.spans) for document in good), "entities")
    for document in good:
        linking.require_short(document.text)
    found = [await asyncio.to_thread(linking.mentions_in, document.text, document.spans) for document in good]
    entries: list[Mention | Refused] = [
        entry.mention if isinstance(entry, DocumentMention) else entry for part in found for entry in part
    ]
    options = LinkOptions()
    outcomes = iter((await linking.link(request, entries, options, None)).outcomes if entries else [])
    parts = iter([[(entry, next(outcomes)) for entry in part] for part in found])
    return [_failed(one) if isinstance(one, str) else _result(one, next(parts)) for one in documents]


def _document(content: object) -> _Document | str:
    """Return a document with its spans, or what is wrong with it."""
    if not isinstance(content, dict) or not isinstance(content.get("text"), str | None) or "text" not in content:
        return "'text' field missing in the payload content."
    text = content["text"] or ""
    entities = content.get("entities")
    if isinstance(entities, list):
        try:
            spans = [record_of(SpanRequest, _span(entity), "entities", what="the entity") for entity in entities]
        except HttpError as error:
            return error.message
        return _Document(text, spans, content.get("footer"))
    if len(text.strip()) > LONGEST_MENTION:
        return (
            f"mentions are linked, not found: send entities with start and end, or at most {LONGEST_MENTION} characters"
        )
    return _Document(text, [SpanRequest(0, len(text))] if text.strip() else [], content.get("footer"))


def _span(entity: object) -> object:
    """Return an entity without what only MedCAT knows."""
    if not isinstance(entity, dict):
        return entity
    return {name: entity[name] for name in ("start", "end", "kind", "text") if name in entity}


def _failed(message: str) -> dict[str, Json]:
    return {"success": False, "errors": [message], "timestamp": _now()}


def _result(
    document: _Document, found: Sequence[tuple[DocumentMention | Refused, Linked | Refused]]
) -> dict[str, Json]:
    annotations: dict[str, Json] = {}
    errors: list[Json] = []
    for number, (entry, outcome) in enumerate(found):
        if isinstance(entry, DocumentMention) and isinstance(outcome, Linked):
            annotation = _annotation(number, entry, outcome)
            annotations |= {str(number): annotation} if annotation else {}
        elif isinstance(outcome, Refused):
            errors.append(f"entity {number}: {outcome.message}")
    result: dict[str, Json] = {
        "text": document.text, "annotations": annotations or [], "success": True,
        "timestamp": _now(),
    }  # fmt: skip
    if errors:
        result["errors"] = errors
    if document.footer is not None:
        result["footer"] = document.footer  # type: ignore[assignment]
    return result


def _annotation(number: int, entry: DocumentMention, outcome: Linked) -> dict[str, Json] | None:
    """Return the annotation of a mention; None where it was linked to no code."""
    link = link_of(outcome)
    if link.code is None:
        return None
    sure = link.probability if link.confidence is None else link.confidence
    return {
        "pretty_name": link.title, "cui": link.code, "type_ids": [link.kind], "types": [link.kind],
        "source_value": entry.mention.text, "detected_name": link.generated or link.description, "acc": sure,
        "context_similarity": sure, "start": entry.spans[0][0], "end": entry.spans[-1][1], "icd10": list(link.codes),
        "ontologies": [link.provenance.bundle.edition], "snomed": [], "id": number, "meta_anns": {},
        "method": link.method,
    }  # fmt: skip


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
