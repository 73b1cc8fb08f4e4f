"""``/``: the page for coders. Its files are read once, at the start; no folder is served."""

from __future__ import annotations

import hashlib
from importlib import resources

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from cielo.server.http import HttpError
from cielo.server.service import Service

_INDEX = "index.html"
_TYPES = {
    ".html": "text/html; charset=utf-8", ".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}  # fmt: skip


def routes(service: Service) -> list[Route]:
    """Return the routes."""
    files = _files()

    async def index(request: Request) -> Response:
        return _answer(request, files[_INDEX], _INDEX)

    async def static(request: Request) -> Response:
        name = request.path_params["name"]
        if name not in files:
            raise HttpError("not_found", "the page has no such file")
        return _answer(request, files[name], name)

    return [Route("/", index), Route("/static/{name}", static)]


def _files() -> dict[str, bytes]:
    folder = resources.files("cielo.server") / "page"
    return {file.name: file.read_bytes() for file in folder.iterdir() if f".{file.name.rpartition('.')[2]}" in _TYPES}


def _answer(request: Request, content: bytes, name: str) -> Response:
    tag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
    headers = {"ETag": tag, "Cache-Control": "no-cache"}
    if tag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    return Response(content, headers=headers, media_type=_TYPES[f".{name.rpartition('.')[2]}"])
