"""``/v1/concepts``: codes looked up, and searched by words."""

from __future__ import annotations

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from cielo.knowledge.reading import KnowledgeBase
from cielo.server.http import HttpError, json_response, whole_number
from cielo.server.service import Service

_SUGGESTED = 5
MOST_FOUND = 100
LONGEST_QUERY = 200


def routes(service: Service) -> list[Route]:
    """Return the routes."""
    base = service.knowledge_base

    async def show(request: Request) -> Response:
        kind = _kind(base, request)
        code = request.path_params["code"]
        details = await run_in_threadpool(base.show, code, kind) if len(code) <= LONGEST_QUERY else None
        if details is None:
            raise HttpError("not_found", _unknown(base, code, kind), field="code")
        return json_response(details)

    async def search(request: Request) -> Response:
        text = request.query_params.get("query", "")
        if not text.strip() or len(text) > LONGEST_QUERY:
            raise HttpError("invalid", f"expected a text of 1 to {LONGEST_QUERY} characters", field="query")
        limit = whole_number(request.query_params, "limit", 20, most=MOST_FOUND)
        return json_response(await run_in_threadpool(base.search, text, _kind(base, request), limit))

    return [Route("/v1/concepts", search), Route("/v1/concepts/{code}", show)]


def _kind(base: KnowledgeBase, request: Request) -> str | None:
    kind = request.query_params.get("kind")
    if kind is not None and kind not in base.kinds:
        raise HttpError("invalid", f"expected one of {', '.join(base.kinds)}", field="kind")
    return kind


def _unknown(base: KnowledgeBase, code: str, kind: str | None) -> str:
    near = base.beginning_with(code[:3], _SUGGESTED, kind) if len(code) >= 3 else []
    others = f"; codes that begin so: {', '.join(concept.code for concept in near)}" if near else ""
    return f"the knowledge base has no such code{others}"
