"""What operators ask: ``/livez``, ``/readyz``, ``/v1/info``, ``/metrics``."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from cielo.server.http import json_response
from cielo.server.metrics import CONTENT_TYPE
from cielo.server.service import Service


def routes(service: Service) -> list[Route]:
    """Return the routes."""

    async def live(request: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def ready(request: Request) -> Response:
        if service.ready:
            return PlainTextResponse("ok\n")
        return PlainTextResponse("draining\n" if service.draining else "not ready\n", 503, {"Retry-After": "2"})

    async def info(request: Request) -> Response:
        return json_response(service.info())

    async def metrics(request: Request) -> Response:
        return Response(service.metrics.text(), media_type=CONTENT_TYPE)

    return [
        Route("/livez", live),
        Route("/readyz", ready),
        Route("/v1/info", info),
        Route("/metrics", metrics),
    ]
