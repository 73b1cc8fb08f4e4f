"""The application: routes, and around them what every request goes through."""

from __future__ import annotations

import logging
import re
import time
import uuid
from collections.abc import MutableMapping
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.routing import BaseRoute, Match, Route, Router
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cielo.server import concepts, fhir, health, linking, medcat, openapi, page, tabling
from cielo.server.http import HttpError, failure
from cielo.server.keys import Keys
from cielo.server.linking import CallerLeftError
from cielo.server.logs import place_of
from cielo.server.service import Service
from cielo.wire import STATUS

_LOG = logging.getLogger("cielo.server")
PARTS = (page, linking, concepts, tabling, fhir, medcat, health)
_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
# What everybody may ask: whether it lives, and the page, which holds nothing of anybody.
_OPEN = frozenset({"/", "/livez", "/readyz", "/static/{name}"})
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Cache-Control": "no-store",
}
_FAILED = "the server failed at this request; its log says where, under the request's id"


def application(service: Service, keys: Keys | None) -> ASGIApp:
    """Return the ASGI application of a service.

    Args:
        service: opened.
        keys: that are asked for; None: anybody may ask.
    """
    routes: list[BaseRoute] = [route for part in PARTS for route in part.routes(service)]
    routes += openapi.routes(service, routes)
    return _Around(routes, service, keys)


def _as_ours(error: HTTPException) -> HttpError:
    """Return what the router found wrong: an address, or a method."""
    if error.status_code == STATUS["method_not_allowed"]:
        return HttpError("method_not_allowed", "this address answers other methods", headers=error.headers)
    return HttpError("not_found", "there is nothing at this address; see /v1/openapi.json")


class _Around:
    """What every request goes through: its name, hosts and keys, headers, the log, figures, and errors as JSON."""

    def __init__(self, routes: list[BaseRoute], service: Service, keys: Keys | None) -> None:
        # A path with a slash too many is not found: nobody is sent elsewhere with what the request held.
        self._router = Router(routes, redirect_slashes=False)
        self._routes, self._service, self._keys = routes, service, keys
        self._hosts = frozenset(service.settings.hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise RuntimeError(f"got a connection of type {scope['type']}, expected http")
        scope["app"] = self  # the router then raises what it finds wrong, for `_answer`
        began = time.perf_counter()
        visit = _Visit(scope, self._route_of(scope), send)
        self._service.active += 1
        try:
            await self._answer(scope, receive, visit)
        finally:
            self._service.active -= 1
            self._note(scope, visit, time.perf_counter() - began)

    async def _answer(self, scope: Scope, receive: Receive, visit: _Visit) -> None:
        try:
            self._let_in(scope, visit)
            await self._router(scope, receive, visit.send)
        except (ClientDisconnect, CallerLeftError):
            visit.problem = "left"
        except HttpError as error:
            await self._refuse(scope, receive, visit, error)
        except HTTPException as error:
            await self._refuse(scope, receive, visit, _as_ours(error))
        except Exception as error:
            _LOG.error("request failed", extra={"event": "failed", "request_id": visit.id, **place_of(error)})
            await self._refuse(scope, receive, visit, HttpError("failed", _FAILED))

    async def _refuse(self, scope: Scope, receive: Receive, visit: _Visit, error: HttpError) -> None:
        visit.problem = error.code
        if visit.status is None:  # else the answer has begun: it ends where it is, and the caller sees that
            answer = fhir.failure(error) if scope["path"].startswith("/fhir") else failure(error, visit.id)
            await answer(scope, receive, visit.send)

    def _let_in(self, scope: Scope, visit: _Visit) -> None:
        headers = Headers(scope=scope)
        host = headers.get("host", "").lower()
        name = host.rpartition(":")[0] if re.search(r":\d+$", host) else host
        if self._hosts and name.strip("[]") not in self._hosts:
            raise HttpError(
                "bad_request", "this server is not asked by this name (Host); see the setting allowed_hosts"
            )
        if self._keys is None or visit.route in _OPEN:
            return
        kind, _, key = headers.get("authorization", "").partition(" ")
        visit.key = self._keys.name_of(key.strip()) if kind.lower() == "bearer" else None
        if visit.key is None:
            self._service.metrics.refused.labels("unauthorized").inc()
            raise HttpError(
                "unauthorized",
                "expected a key: send `Authorization: Bearer KEY`",
                headers={"WWW-Authenticate": "Bearer"},
            )

    def _route_of(self, scope: Scope) -> str:
        """Return the template of a route; the path itself can hold anything."""
        for route in self._routes:
            if isinstance(route, Route) and route.matches(scope)[0] is not Match.NONE:
                return route.path
        return "none"

    def _note(self, scope: Scope, visit: _Visit, seconds: float) -> None:
        status = visit.status or 499  # nginx's word for a caller who left
        metrics = self._service.metrics
        metrics.requests.labels(visit.route, str(status)).inc()
        metrics.request_seconds.labels(visit.route).observe(seconds)
        state: MutableMapping[str, Any] = scope.get("state", {})
        more = {name: state[name] for name in ("mentions", "tokens", "bytes") if name in state}
        _LOG.info(
            "request",
            extra={
                "event": "request", "request_id": visit.id, "key": visit.key, "method": visit.method,
                "route": visit.route, "status": status, "problem": visit.problem, "ms": round(1000 * seconds, 1),
                **more,
            },
        )  # fmt: skip


class _Visit:
    """One request, as the log sees it; and the sender that puts the headers on its answer."""

    def __init__(self, scope: Scope, route: str, send: Send) -> None:
        given = Headers(scope=scope).get("x-request-id", "")
        self.id = given if _ID.fullmatch(given) else uuid.uuid4().hex
        self.route, self._send = route, send
        self.method = scope["method"] if scope["method"] in ("GET", "HEAD", "POST", "OPTIONS") else "other"
        self.status: int | None = None
        self.key: str | None = None
        self.problem: str | None = None
        scope.setdefault("state", {})["request_id"] = self.id

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = MutableHeaders(scope=message)
            for name, value in _HEADERS.items():
                headers.setdefault(name, value)
            headers["X-Request-ID"] = self.id
        await self._send(message)
