"""``/fhir``: terminology reads of FHIR R4 (https://hl7.org/fhir/R4/terminology-service.html).

They are answered where the knowledge base, or a setting, names the address of its code systems: none is invented.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

import msgspec
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from cielo.knowledge.codes import code_key
from cielo.knowledge.records import CodeSystem, ConceptDetails
from cielo.machine import library_versions
from cielo.records import Json
from cielo.server.concepts import LONGEST_QUERY
from cielo.server.http import HttpError, document_of, read_body, whole_number
from cielo.server.service import Service
from cielo.text.normal import normal_form
from cielo.wire import STATUS

FHIR = "application/fhir+json"
_LANGUAGE = "es"
_MOST_EXPANDED = 1000
_WHOLE = "?fhir_vs"  # the implicit value set of all codes of a system, as SNOMED CT and LOINC name theirs
_SETTING = "name it by --code-system KIND=URL, or in the recipe of the bundle"
_NO_ID = re.compile(r"[^A-Za-z0-9.-]")
_Resource = dict[str, Json]
_Answer = Callable[[Request, Mapping[str, str]], Awaitable[_Resource]]
_ISSUES = {"not_found": "not-found", "invalid": "invalid", "too_large": "too-costly", "unsupported_media_type": "value",
           "unauthorized": "login", "method_not_allowed": "not-supported", "bad_request": "structure",
           "timeout": "timeout"}  # fmt: skip


@dataclass(frozen=True, slots=True)
class _System:
    kind: str
    known: CodeSystem


def routes(service: Service) -> list[Route]:
    """Return the routes."""
    fhir = _Fhir(service)
    operations: dict[str, _Answer] = {
        "/fhir/CodeSystem/$lookup": fhir.look_up,
        "/fhir/CodeSystem/$validate-code": fhir.validate_code,
        "/fhir/ValueSet/$validate-code": fhir.validate_code,
        "/fhir/ValueSet/$expand": fhir.expand,
    }
    return [
        Route("/fhir/metadata", fhir.read(fhir.metadata), methods=["GET"]),
        Route("/fhir/CodeSystem", fhir.read(fhir.code_systems), methods=["GET"]),
        *(Route(path, fhir.read(answer), methods=["GET", "POST"]) for path, answer in operations.items()),
    ]


def failure(error: HttpError) -> Response:
    """Return an error as an OperationOutcome."""
    issue: _Resource = {"severity": "error", "code": _ISSUES.get(error.code, "exception"), "diagnostics": error.message}
    content = {"resourceType": "OperationOutcome", "issue": [issue]}
    return Response(msgspec.json.encode(content), STATUS[error.code], error.headers, FHIR)


class _Fhir:
    def __init__(self, service: Service) -> None:
        self._service, self._base = service, service.knowledge_base
        self._began = _now()
        self._systems = [_System(kind, system) for kind, system in service.code_systems.items()]

    def read(self, answer: _Answer) -> Callable[[Request], Awaitable[Response]]:
        """Return a route of an operation: parameters come from the query or a Parameters resource."""

        async def route(request: Request) -> Response:
            content = await answer(request, await self._parameters(request))
            return Response(msgspec.json.encode(content), media_type=FHIR)

        return route

    async def _parameters(self, request: Request) -> dict[str, str]:
        given = dict(request.query_params)
        if request.method == "POST":
            settings = self._service.settings
            body = await read_body(request, most=settings.body_bytes, seconds=settings.body_seconds)
            given |= _of_resource(document_of(body))
        return given

    async def metadata(self, request: Request, given: Mapping[str, str]) -> _Resource:
        """Return what the server can do; with ``mode=terminology`` its code systems."""
        version = library_versions().get("cielo", "")
        head: _Resource = {
            "status": "active", "date": self._began[:10], "kind": "instance",
            "software": {"name": "cielo", "version": version},
            "implementation": {"description": f"cielo: {self._base.edition or self._service.bundle.name}"},
        }  # fmt: skip
        if given.get("mode") == "terminology":
            systems: list[Json] = [
                {"uri": one.known.url, **({"version": [{"code": one.known.version}]} if one.known.version else {})}
                for one in self._systems
            ]
            lists: _Resource = {"codeSystem": systems} if systems else {}
            return {"resourceType": "TerminologyCapabilities", **head, **lists}
        resources: list[Json] = [
            {
                "type": "CodeSystem", "interaction": [{"code": "search-type"}],
                "searchParam": [{"name": "url", "type": "uri"}],
                "operation": [_operation("CodeSystem", "lookup"), _operation("CodeSystem", "validate-code")],
            },
            {
                "type": "ValueSet",
                "operation": [_operation("ValueSet", "expand"), _operation("ValueSet", "validate-code")],
            },
        ]  # fmt: skip
        return {
            "resourceType": "CapabilityStatement", **head, "fhirVersion": "4.0.1", "format": ["json"],
            "rest": [{"mode": "server", "resource": resources}],
        }  # fmt: skip

    async def code_systems(self, request: Request, given: Mapping[str, str]) -> _Resource:
        """Return the code systems, without their codes."""
        wanted = given.get("url")
        entries: list[Json] = [
            {"fullUrl": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, one.known.url)}", "resource": self._code_system(one)}
            for one in self._systems
            if wanted in (None, one.known.url)
        ]
        lists: _Resource = {"entry": entries} if entries else {}
        return {"resourceType": "Bundle", "type": "searchset", "total": len(entries), **lists}

    def _code_system(self, system: _System) -> _Resource:
        return {
            "resourceType": "CodeSystem", "id": _NO_ID.sub("-", system.kind),
            "url": system.known.url, **_version(system),
            "name": system.kind.title().replace("-", "_").replace(" ", "_"), "title": self._base.edition or system.kind,
            "status": "active", "language": _LANGUAGE, "content": "not-present", "hierarchyMeaning": "is-a",
            "count": self._base.concepts[system.kind], "valueSet": f"{system.known.url}{_WHOLE}",
        }  # fmt: skip

    async def look_up(self, request: Request, given: Mapping[str, str]) -> _Resource:
        """Return a code's title, its other descriptions and its place in the hierarchy."""
        system = self._system(_needed(given, "system"), given.get("version"))
        details = await self._details(_needed(given, "code"), system)
        version: list[Json] = [{"name": "version", "valueString": system.known.version}] if system.known.version else []
        parameters: list[Json] = [
            {"name": "name", "valueString": self._base.edition or system.kind},
            *version,
            {"name": "display", "valueString": details.title},
            *(_part("designation", language=_LANGUAGE, value=text) for text in details.descriptions),
            *(_property("parent", code) for code, _ in details.ancestors[:1]),
            *(_property("child", code) for code, _ in details.children),
            *([_property("chapter", details.chapter)] if details.chapter else []),
        ]
        return {"resourceType": "Parameters", "parameter": parameters}

    async def validate_code(self, request: Request, given: Mapping[str, str]) -> _Resource:
        """Tell whether a code exists, and whether a display is one of its descriptions."""
        of_set = "ValueSet" in request.url.path
        if of_set and given.get("url"):
            system = self._of_set(given["url"])
            if given.get("system", system.known.url) != system.known.url:
                raise HttpError("not_found", "the value set holds no code of that system")
        else:
            address = given.get("system") or given.get("url") or _needed(given, "url")
            system = self._system(address, given.get("systemVersion" if of_set else "version"))
        code = _needed(given, "code")
        try:
            details = await self._details(code, system)
        except HttpError as error:
            return _result(False, error.message)
        display = given.get("display")
        known = {normal_form(text) for text in (details.title, *details.descriptions)}
        if display is not None and normal_form(display) not in known:
            return _result(False, "the display is no description of the code", details.title)
        return _result(True, None, details.title)

    async def expand(self, request: Request, given: Mapping[str, str]) -> _Resource:
        """Return the codes of a system whose descriptions hold the words of a filter."""
        url = _needed(given, "url")
        system = self._of_set(url)
        count = whole_number(given, "count", 100, least=0, most=_MOST_EXPANDED)
        offset = whole_number(given, "offset", 0, least=0, most=10_000_000)
        text = given.get("filter", "")
        if len(text) > LONGEST_QUERY:
            raise HttpError("invalid", f"expected a filter of at most {LONGEST_QUERY} characters")
        total, rows = await run_in_threadpool(self._expanded, system, text, offset, count)
        contains: list[Json] = [
            {"system": system.known.url, **_version(system), "code": code, "display": title} for code, title in rows
        ]
        identifier = f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, self._service.bundle.sha256)}"
        expansion: _Resource = {
            "identifier": identifier, "timestamp": _now(),
            "total": total, "offset": offset, **({"contains": contains} if contains else {}),
        }  # fmt: skip
        return {"resourceType": "ValueSet", "url": url, "status": "active", "expansion": expansion}

    def _expanded(self, system: _System, text: str, offset: int, count: int) -> tuple[int, list[tuple[str, str]]]:
        if text.strip():
            result = self._base.search(text, system.kind, offset + count)
            return result.total, [(concept.code, concept.title) for concept in result.found[offset:]]
        codes = self._base.codes(system.kind)
        titles = [(code, self._base.find(code, system.kind)) for code in codes[offset : offset + count]]
        return len(codes), [(code, concept.title if concept else "") for code, concept in titles]

    async def _details(self, code: str, system: _System) -> ConceptDetails:
        details = await run_in_threadpool(self._base.show, code, system.kind) if len(code) <= LONGEST_QUERY else None
        if details is None or code_key(details.code) != code_key(code):
            raise HttpError("not_found", "the code system has no such code")
        return details

    def _of_set(self, url: str) -> _System:
        if not url.endswith(_WHOLE):
            raise HttpError("not_found", f"expected the value set of a whole code system: its address and {_WHOLE}")
        return self._system(url.removesuffix(_WHOLE))

    def _system(self, address: str, asked: str | None = None) -> _System:
        url, _, version = address.partition("|")
        version = version or asked or ""
        for one in self._systems:
            if one.known.url == url and version in ("", one.known.version):
                return one
        known = ", ".join(one.known.url for one in self._systems)
        raise HttpError(
            "not_found", f"the code system is not known; expected {known}" if known else
            f"the knowledge base names no address of its code systems: {_SETTING}",
        )  # fmt: skip


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _operation(resource: str, name: str) -> _Resource:
    return {"name": name, "definition": f"http://hl7.org/fhir/OperationDefinition/{resource}-{name}"}


def _version(system: _System) -> _Resource:
    return {"version": system.known.version} if system.known.version else {}


def _part(name: str, **values: str) -> _Resource:
    kinds = {"language": "valueCode", "code": "valueCode"}
    parts: list[Json] = [{"name": key, kinds.get(key, "valueString"): value} for key, value in values.items()]
    return {"name": name, "part": parts}


def _property(name: str, code: str) -> _Resource:
    return _part("property", code=name, value=code)


def _result(fine: bool, message: str | None, display: str | None = None) -> _Resource:
    parameters: list[Json] = [{"name": "result", "valueBoolean": fine}]
    parameters += [{"name": "message", "valueString": message}] if message else []
    parameters += [{"name": "display", "valueString": display}] if display else []
    return {"resourceType": "Parameters", "parameter": parameters}


def _needed(given: Mapping[str, str], name: str) -> str:
    value = given.get(name, "")
    if not value:
        raise HttpError("invalid", f"the parameter {name} is missing")
    return value


def _of_resource(document: object) -> dict[str, str]:
    """Return the parameters of a Parameters resource, a coding's parts by their names."""
    if not isinstance(document, dict) or document.get("resourceType") != "Parameters":
        raise HttpError("invalid", "expected a resource of type Parameters")
    entries = document.get("parameter")
    found: dict[str, str] = {}
    for entry in entries if isinstance(entries, list) else []:
        if isinstance(entry, dict):
            coding = _coding_of(entry)
            found |= _texts({entry.get("name"): _value_of(entry)} if coding is None else coding)
    return found


def _coding_of(entry: dict[str, object]) -> dict[object, object] | None:
    """Return the coding of a parameter, or the first of its codeable concept."""
    concept = entry.get("valueCodeableConcept")
    codings = concept.get("coding") if isinstance(concept, dict) else [entry.get("valueCoding")]
    first = codings[0] if isinstance(codings, list) and codings else None
    return first if isinstance(first, dict) else None


def _value_of(entry: dict[str, object]) -> object:
    return next((value for key, value in entry.items() if key.startswith("value")), None)


def _texts(values: Mapping[object, object]) -> dict[str, str]:
    return {
        str(key): str(value)
        for key, value in values.items()
        if isinstance(key, str) and isinstance(value, str | int) and not isinstance(value, bool)
    }
