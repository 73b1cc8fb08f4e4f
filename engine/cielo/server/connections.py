"""Connections: uvicorn's protocol with two more limits, how many there are at once, and the time for headers."""

from __future__ import annotations

import asyncio

from uvicorn.protocols.http.h11_impl import H11Protocol

from cielo.server.settings import ServeSettings


class LimitedProtocol(H11Protocol):
    """One connection. Whoever sends headers a byte at a time, or none, loses it."""

    header_seconds = 10.0
    max_connections = 2048
    _due: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin, or end at once where there are too many."""
        super().connection_made(transport)
        if len(self.connections) > self.max_connections:
            self.connections.discard(self)
            transport.abort()
            return
        self._expect()

    def data_received(self, data: bytes) -> None:
        """Take what has come: headers, whole or not, or a part of a body."""
        before = self.cycle
        super().data_received(data)
        if self.cycle is not before:
            self._forget()
        elif self._is_between():
            self._expect()

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        self._forget()
        super().connection_lost(exc)

    def _is_between(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def _expect(self) -> None:
        if self._due is None:
            self._due = self.loop.call_later(self.header_seconds, self._too_slow)

    def _forget(self) -> None:
        if self._due is not None:
            self._due.cancel()
            self._due = None

    def _too_slow(self) -> None:
        self._due = None
        if self._is_between():
            self.transport.abort()


def limited_protocol(settings: ServeSettings) -> type[LimitedProtocol]:
    """Return the protocol with the limits of the settings."""
    limits = {"header_seconds": settings.header_seconds, "max_connections": settings.max_connections}
    return type("LimitedProtocol", (LimitedProtocol,), limits)
