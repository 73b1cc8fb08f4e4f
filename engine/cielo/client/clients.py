"""The clients: one that waits, one for `asyncio`. They say the same; what they ask is in `exchanges`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx

from cielo.client import exchanges
from cielo.client.exchanges import Exchange, Patience
from cielo.client.records import LinkError
from cielo.errors import ConnectionFailedError, ServerError
from cielo.knowledge.records import ConceptDetails, SearchResult
from cielo.options import LinkOptions
from cielo.records import Link, Mention
from cielo.wire import DocumentResult, Info, Limits, SpanRequest

T = TypeVar("T")
_SECONDS = 90.0  # longer than the server takes before it gives a request up


def _settings(url: str, key: str | None, timeout: float) -> dict[str, Any]:
    headers = {} if key is None else {"Authorization": f"Bearer {key}"}
    return {"base_url": url, "headers": headers, "timeout": timeout}


def _request(exchange: Exchange[Any]) -> dict[str, Any]:
    return {
        "method": exchange.method, "url": exchange.path, "params": dict(exchange.query), "content": exchange.content,
        "headers": dict(exchange.headers),
    }  # fmt: skip


def _unreachable(error: httpx.HTTPError) -> ConnectionFailedError:
    return ConnectionFailedError(
        f"the server could not be asked ({type(error).__name__}); does it run at this address?"
    )


class Client:
    """Asks a server, and waits for its answers. Thread-safe; close it, or use it as a context manager.

    What the server refuses for the moment (429, 503) is asked again after the time that it names.
    """

    def __init__(
        self,
        url: str = "http://127.0.0.1:8080",
        *,
        key: str | None = None,
        timeout: float = _SECONDS,
        patience: Patience | None = None,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        """Hold where the server is.

        Args:
            url: its address.
            key: that it asks for; None: it asks for none.
            timeout: seconds to wait for an answer.
            patience: how often and how long to ask again.
            transport: of httpx, for a proxy or a test.
        """
        self._patience = patience or Patience()
        self._http = httpx.Client(**_settings(url, key, timeout), transport=transport)
        self._info: Info | None = None

    def link(
        self, mentions: Iterable[Mention], options: LinkOptions | None = None, *, deadline: float | None = None
    ) -> list[Link | LinkError]:
        """Return a link or an error for each mention, in their order; what is too much for one request goes in several.

        Args:
            mentions: to be linked.
            options: how; None: as the server does by itself.
            deadline: seconds for each request, after which the server drops what is not linked.

        Raises:
            ServerError: where the server refused every request; of some, their mentions have the error.
            ConnectionFailedError: where it could not be reached.
        """
        every = list(mentions)
        parts = exchanges.parts(every, self._limits().mentions if every else 1)
        found: list[Link | LinkError] = []
        errors: list[ServerError] = []
        for first, part in parts:
            try:
                outcomes = self._ask(exchanges.link(part, options, deadline, first))
                found.extend(outcomes)
            except ServerError as error:
                errors.append(error)
                found += exchanges.failed(error, part, first)
        if errors and len(errors) == len(parts):
            raise errors[0]
        return found

    def link_stream(
        self, mentions: Iterable[Mention], options: LinkOptions | None = None
    ) -> Iterator[Link | LinkError]:
        """Yield a link or an error for each mention, in their order, as they are done; see `link`.

        What is longer than a request may be goes in several.

        Raises:
            ValueError: where the options hold a subset.
        """
        for exchange in exchanges.streams(mentions, options, self._limits().bytes):
            lines = exchanges.Lines()
            try:
                with self._http.stream(**_request(exchange)) as answer:
                    if answer.status_code != 200:
                        exchanges.answer(exchange, answer.status_code, answer.read())
                    for content in answer.iter_bytes():
                        yield from map(exchange.read, lines.feed(content))
            except httpx.HTTPError as error:
                raise _unreachable(error) from error

    def link_document(
        self,
        text: str,
        spans: Sequence[SpanRequest],
        options: LinkOptions | None = None,
        *,
        deadline: float | None = None,
    ) -> tuple[DocumentResult, ...]:
        """Return what became of each span of a document, in their order; see `link`."""
        return self._ask(exchanges.link_document(text, spans, options, deadline))

    def concept(self, code: str, kind: str | None = None) -> ConceptDetails:
        """Return a code with its place in the hierarchy.

        Raises:
            ServerError: with status 404 where there is no such code.
        """
        return self._ask(exchanges.concept(code, kind))

    def search(self, query: str, kind: str | None = None, limit: int = 20) -> SearchResult:
        """Return codes by words of their descriptions, or by the code."""
        return self._ask(exchanges.search(query, kind, limit))

    def info(self) -> Info:
        """Return what the server is."""
        return self._ask(exchanges.info())

    def ready(self) -> bool:
        """Tell whether the server would link now; False where it cannot be reached."""
        try:
            return self._http.request(**_request(exchanges.ready())).status_code == 200
        except httpx.HTTPError:
            return False

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _limits(self) -> Limits:
        self._info = self._info or self.info()
        return self._info.limits

    def _ask(self, exchange: Exchange[T]) -> T:
        tried, waited = 0, 0.0
        while True:
            try:
                answer = self._http.request(**_request(exchange))
            except httpx.HTTPError as error:
                raise _unreachable(error) from error
            tried += 1
            pause = self._patience.pause(answer.status_code, answer.headers, tried, waited)
            if pause is None:
                return exchanges.answer(exchange, answer.status_code, answer.content)
            time.sleep(pause)
            waited += pause


class AsyncClient:
    """Asks a server without blocking the event loop; see `Client`."""

    def __init__(
        self,
        url: str = "http://127.0.0.1:8080",
        *,
        key: str | None = None,
        timeout: float = _SECONDS,
        patience: Patience | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        """Hold where the server is; see `Client`."""
        self._patience = patience or Patience()
        self._http = httpx.AsyncClient(**_settings(url, key, timeout), transport=transport)
        self._info: Info | None = None

    async def link(
        self, mentions: Iterable[Mention], options: LinkOptions | None = None, *, deadline: float | None = None
    ) -> list[Link | LinkError]:
        """Return a link or an error for each mention, in their order; see `Client.link`."""
        every = list(mentions)
        parts = exchanges.parts(every, (await self._limits()).mentions if every else 1)
        found: list[Link | LinkError] = []
        errors: list[ServerError] = []
        for first, part in parts:
            try:
                outcomes = await self._ask(exchanges.link(part, options, deadline, first))
                found.extend(outcomes)
            except ServerError as error:
                errors.append(error)
                found += exchanges.failed(error, part, first)
        if errors and len(errors) == len(parts):
            raise errors[0]
        return found

    async def link_stream(
        self, mentions: Iterable[Mention], options: LinkOptions | None = None
    ) -> AsyncIterator[Link | LinkError]:
        """Yield a link or an error for each mention, in their order, as they are done; see `Client.link_stream`."""
        for exchange in exchanges.streams(mentions, options, (await self._limits()).bytes):
            lines = exchanges.Lines()
            try:
                async with self._http.stream(**_request(exchange)) as answer:
                    if answer.status_code != 200:
                        exchanges.answer(exchange, answer.status_code, await answer.aread())
                    async for content in answer.aiter_bytes():
                        for line in lines.feed(content):
                            yield exchange.read(line)
            except httpx.HTTPError as error:
                raise _unreachable(error) from error

    async def link_document(
        self,
        text: str,
        spans: Sequence[SpanRequest],
        options: LinkOptions | None = None,
        *,
        deadline: float | None = None,
    ) -> tuple[DocumentResult, ...]:
        """Return what became of each span of a document, in their order; see `Client.link`."""
        return await self._ask(exchanges.link_document(text, spans, options, deadline))

    async def concept(self, code: str, kind: str | None = None) -> ConceptDetails:
        """Return a code with its place in the hierarchy; see `Client.concept`."""
        return await self._ask(exchanges.concept(code, kind))

    async def search(self, query: str, kind: str | None = None, limit: int = 20) -> SearchResult:
        """Return codes by words of their descriptions, or by the code."""
        return await self._ask(exchanges.search(query, kind, limit))

    async def info(self) -> Info:
        """Return what the server is."""
        return await self._ask(exchanges.info())

    async def ready(self) -> bool:
        """Tell whether the server would link now; False where it cannot be reached."""
        try:
            return (await self._http.request(**_request(exchanges.ready()))).status_code == 200
        except httpx.HTTPError:
            return False

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def _limits(self) -> Limits:
        self._info = self._info or await self.info()
        return self._info.limits

    async def _ask(self, exchange: Exchange[T]) -> T:
        tried, waited = 0, 0.0
        while True:
            try:
                answer = await self._http.request(**_request(exchange))
            except httpx.HTTPError as error:
                raise _unreachable(error) from error
            tried += 1
            pause = self._patience.pause(answer.status_code, answer.headers, tried, waited)
            if pause is None:
                return exchanges.answer(exchange, answer.status_code, answer.content)
            await asyncio.sleep(pause)
            waited += pause
