"""``/v1/openapi.json``: the description of all routes (OpenAPI 3.1), made of the records that they take and give."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from cielo.knowledge.records import ConceptDetails, SearchResult
from cielo.machine import library_versions
from cielo.options import LinkOptions
from cielo.records import Json
from cielo.server.concepts import LONGEST_QUERY, MOST_FOUND
from cielo.server.fhir import FHIR
from cielo.server.http import JSON, NDJSON
from cielo.server.metrics import CONTENT_TYPE
from cielo.server.service import Service
from cielo.server.tabling import BYTES, WRITTEN, ReadTable, WrittenTable
from cielo.wire import STATUS, DocumentRequest, DocumentResults, Failure, Info, LinkRequest, Problem, Result, Results

PATH = "/v1/openapi.json"
_RECORDS = (
    LinkRequest, Results, DocumentRequest, DocumentResults, Result, Failure, Info, ConceptDetails, SearchResult,
    ReadTable, WrittenTable,
)  # fmt: skip
_TEXT = "text/plain"
_Node = dict[str, Any]
_ANYWHERE: tuple[Problem, ...] = ("bad_request", "failed")
_OF_BODY: tuple[Problem, ...] = ("timeout", "too_large", "unsupported_media_type", "invalid")
_OF_LINKS: tuple[Problem, ...] = (*_OF_BODY, "overloaded", "not_ready", "deadline")
_MENTION = {"text": "HTA", "sentence": "Paciente con HTA mal controlada.", "kind": "diagnosis", "id": "1"}
_OPEN = frozenset({"/livez", "/readyz", "/", "/static/{name}"})


@dataclass(frozen=True, slots=True)
class _Operation:
    """One method of a route: what it takes, and what it answers."""

    summary: str
    answers: tuple[tuple[int, str, _Node], ...]
    problems: tuple[Problem, ...] = ()
    query: tuple[_Node, ...] = ()
    body: tuple[str, _Node, object] | None = None
    error: tuple[str, _Node] | None = None


def routes(service: Service, others: Iterable[BaseRoute]) -> list[Route]:
    """Return the route of the description of the other routes."""
    content = msgspec.json.encode(document(others, keys=service.settings.keys is not None))

    async def describe(request: Request) -> Response:
        return Response(content, media_type=JSON)

    return [Route(PATH, describe)]


def document(others: Iterable[BaseRoute], *, keys: bool) -> dict[str, Json]:
    """Return the description of some routes.

    Args:
        others: the routes.
        keys: whether a key is asked for.
    """
    paths = [route.path for route in others if isinstance(route, Route)] + [PATH]
    schemas = _schemas(*_RECORDS)
    schemas["Link"]["properties"]["probability"] = {"anyOf": [{"type": "number"}, {"type": "null"}]}
    components: _Node = {"schemas": schemas}
    if keys:
        components["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "cielo", "version": library_versions().get("cielo", "0"), "license": {"name": "Apache-2.0"},
            "description": "Spanish clinical mentions to ICD-10 (CIE-10-ES) codes.",
        },
        "paths": {path: _path(path, keys) for path in paths},
        "components": components,
    }  # fmt: skip


def _schemas(*records: type) -> _Node:
    """Return the schemas of records, and of those in them."""
    template = "#/components/schemas/{name}"
    _, schemas = msgspec.json.schema_components(records, schema_hook=_any, ref_template=template)
    return {name: _simple(schema) for name, schema in schemas.items()}


def _simple(schema: Any) -> Any:
    """Return a schema in which pairs of one type are lists of two: tools that know no `prefixItems` read it too."""
    if isinstance(schema, list):
        return [_simple(entry) for entry in schema]
    if not isinstance(schema, dict):
        return schema
    node = {key: _simple(value) for key, value in schema.items()}
    pair = node.get("prefixItems")
    if isinstance(pair, list) and all(entry == pair[0] for entry in pair):
        del node["prefixItems"]
        node["items"] = pair[0]
    return node


def _any(kind: type) -> _Node:
    """Return the schema of whatever msgspec has none for: `object`, which may be anything."""
    if kind is object:
        return {"description": "any value"}
    raise NotImplementedError(kind)


def _path(path: str, keys: bool) -> _Node:
    return {method: _operation(path, operation, keys) for method, operation in _operations()[path].items()}


def _operation(path: str, operation: _Operation, keys: bool) -> _Node:
    asks = keys and path not in _OPEN
    problems = (*_ANYWHERE, *operation.problems, *(("unauthorized",) if asks else ()))
    kind, schema = operation.error or (JSON, _of(Failure))
    answers: _Node = {}
    for status, media, shape in operation.answers:
        answer = answers.setdefault(str(status), _answer("done"))
        answer["content"][media] = {"schema": shape}
    for problem in problems:
        answer = answers.setdefault(str(int(STATUS[problem])), _answer(problem))
        answer["content"].setdefault(kind, {"schema": schema})
    node: _Node = {"summary": operation.summary, "responses": answers}
    if operation.query:
        node["parameters"] = list(operation.query)
    if operation.body:
        media, shape, example = operation.body
        content: _Node = {"schema": shape} if example is None else {"schema": shape, "example": example}
        node["requestBody"] = {"required": True, "content": {media: content}}
    if asks:
        node["security"] = [{"key": []}]
    return node


def _answer(description: str) -> _Node:
    return {"description": description, "content": {}}


def _of(record: type) -> _Node:
    return {"$ref": f"#/components/schemas/{record.__name__}"}


def _text(name: str, description: str, *, place: str = "query", required: bool = False, **more: Any) -> _Node:
    return {
        "name": name, "in": place, "required": required or place == "path", "description": description,
        "schema": {"type": "string", **more},
    }  # fmt: skip


def _number(name: str, description: str, least: int, most: int) -> _Node:
    return {
        "name": name, "in": "query", "required": False, "description": description,
        "schema": {"type": "integer", "minimum": least, "maximum": most},
    }  # fmt: skip


def _option_parameters() -> tuple[_Node, ...]:
    """Return the options of linking as parameters of a query."""
    known: Mapping[str, Any] = _schemas(LinkOptions)["LinkOptions"]["properties"]
    return tuple(
        {"name": field.name, "in": "query", "required": False, "schema": known[field.name]}
        for field in fields(LinkOptions)
        if field.name != "subset"
    )


def _operations() -> Mapping[str, Mapping[str, _Operation]]:
    words: _Node = {"type": "string"}
    plain = ((200, _TEXT, words),)
    kind = _text("kind", "only codes of this kind")
    return {
        "/v1/link": {
            "post": _Operation(
                "Link mentions; each has its own result.",
                ((200, JSON, _of(Results)), *_failing(Results)),
                body=(JSON, _of(LinkRequest), {"mentions": [_MENTION]}), problems=_OF_LINKS,
            )
        },
        "/v1/link/stream": {
            "post": _Operation(
                "Link lines of NDJSON, each a mention; the answer has a result on each line, in their order.",
                ((200, NDJSON, _of(Result)),), problems=(*_OF_BODY, "draining"), query=_option_parameters(),
                body=(NDJSON, words, None),
            )
        },
        "/v1/documents": {
            "post": _Operation(
                "Link spans of a text, each in its sentence; offsets are in Unicode characters.",
                ((200, JSON, _of(DocumentResults)), *_failing(DocumentResults)),
                body=(JSON, _of(DocumentRequest), {"text": "Paciente con HTA.", "spans": [{"start": 13, "end": 16}]}),
                problems=_OF_LINKS,
            )
        },
        "/v1/concepts": {
            "get": _Operation(
                "Search codes by the words of their descriptions, or by the code.",
                ((200, JSON, _of(SearchResult)),), problems=("invalid",),
                query=(
                    _text("query", "words or a code", required=True, minLength=1, maxLength=LONGEST_QUERY), kind,
                    _number("limit", "the most that are returned", 1, MOST_FOUND),
                ),
            )
        },
        "/v1/concepts/{code}": {
            "get": _Operation(
                "A code with its descriptions and its place in the hierarchy.",
                ((200, JSON, _of(ConceptDetails)),), problems=("not_found", "invalid"),
                query=(_text("code", "with or without its dot", place="path"), kind),
            )
        },
        "/v1/tables/read": {
            "post": _Operation(
                "Read a table of mentions; nothing is kept.", ((200, JSON, _of(ReadTable)),), problems=_OF_BODY,
                query=(_text("name", "of the file; its ending tells the format", required=True),),
                body=(BYTES, {"type": "string", "format": "binary"}, None),
            )
        },
        "/v1/tables/write": {
            "post": _Operation(
                "Write rows with their links as a table; nothing is kept.",
                tuple((200, media, {}) for media in WRITTEN.values()), problems=_OF_BODY,
                query=(_text("format", "of the file", enum=list(WRITTEN)),),
                body=(JSON, _of(WrittenTable), None),
            )
        },
        "/v1/info": {"get": _Operation("What is served, and its limits.", ((200, JSON, _of(Info)),))},
        PATH: {"get": _Operation("This description.", ((200, JSON, {"type": "object"}),))},
        "/livez": {"get": _Operation("Whether the process answers.", plain)},
        "/readyz": {"get": _Operation("Whether links would be answered now.", (*plain, (503, _TEXT, words)))},
        "/metrics": {"get": _Operation("Figures for Prometheus.", ((200, CONTENT_TYPE, words),))},
        **_fhir_operations(),
        **_medcat_operations(),
        **_page_operations(),
    }  # fmt: skip


def _failing(record: type) -> tuple[tuple[int, str, _Node], ...]:
    """Return the answers in which no mention has a link: they have the results too, where it came to any."""
    either: _Node = {"anyOf": [_of(Failure), _of(record)]}
    codes: tuple[Problem, ...] = ("too_large", "invalid", "failed", "not_ready", "deadline", "bad_request")
    return tuple((int(STATUS[code]), JSON, either) for code in codes)


def _fhir_operations() -> dict[str, dict[str, _Operation]]:
    resource: _Node = {"type": "object", "required": ["resourceType"]}
    done = ((200, FHIR, resource),)
    text = _text
    every: dict[str, tuple[str, tuple[_Node, ...]]] = {
        "/fhir/metadata": ("CapabilityStatement", (text("mode", "terminology: TerminologyCapabilities"),)),
        "/fhir/CodeSystem": ("The code systems.", (text("url", "of the one that is wanted"),)),
        "/fhir/CodeSystem/$lookup": ("A code of a system.", (text("system", "its address"), text("code", "of it"))),
        "/fhir/CodeSystem/$validate-code": (
            "Whether a system has a code.",
            (text("url", "of the system"), text("code", "of it"), text("display", "that the code should have")),
        ),
        "/fhir/ValueSet/$validate-code": (
            "Whether the value set of a whole system has a code.",
            (text("url", "system and ?fhir_vs"), text("code", "of it"), text("display", "that it should have")),
        ),
        "/fhir/ValueSet/$expand": (
            "The codes of a system whose descriptions hold the words of a filter.",
            (
                text("url", "of the system, and ?fhir_vs"), text("filter", "words"),
                _number("count", "the most that are returned", 0, 1000), _number("offset", "the first", 0, 10_000_000),
            ),
        ),
    }  # fmt: skip
    problems: tuple[Problem, ...] = ("not_found", *_OF_BODY)
    return {
        path: {
            method: _Operation(
                f"FHIR: {summary}", done, problems=problems, query=query, error=(FHIR, resource),
                body=(FHIR, resource, None) if method == "post" else None,
            )
            for method in (("get", "post") if "$" in path else ("get",))
        }
        for path, (summary, query) in every.items()
    }  # fmt: skip


def _medcat_operations() -> dict[str, dict[str, _Operation]]:
    anything: _Node = {"type": "object"}
    entity = {"start": 13, "end": 16}
    one = {"content": {"text": "Paciente con HTA.", "entities": [entity]}}
    many = {"content": [one["content"]]}
    return {
        "/api/info": {"get": _Operation("MedCAT: what is served.", ((200, JSON, anything),))},
        "/api/process": {
            "post": _Operation(
                "MedCAT: a document with its entities.", ((200, JSON, anything),), problems=_OF_LINKS,
                body=(JSON, anything, one),
            )
        },
        "/api/process_bulk": {
            "post": _Operation(
                "MedCAT: documents with their entities.", ((200, JSON, anything),), problems=_OF_LINKS,
                body=(JSON, anything, many),
            )
        },
    }  # fmt: skip


def _page_operations() -> dict[str, dict[str, _Operation]]:
    words: _Node = {"type": "string"}
    name = _text("name", "of the file", place="path")
    return {
        "/": {"get": _Operation("The page for coders.", ((200, "text/html", words),))},
        "/static/{name}": {
            "get": _Operation("A file of the page.", ((200, "*/*", words),), problems=("not_found",), query=(name,))
        },
    }
