"""``/v1/link``, ``/v1/link/stream`` and ``/v1/documents``: mentions in, results out."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine, Iterator, Sequence
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from typing import Annotated

import msgspec
from msgspec import Meta
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from cielo.errors import MentionError
from cielo.link.documents import DocumentMention, mentions_of
from cielo.options import LinkOptions
from cielo.records import Mention
from cielo.server.admission import OverloadedError
from cielo.server.frames import Refused
from cielo.server.http import (
    JSON,
    NDJSON,
    HttpError,
    document_of,
    options_of,
    read_body,
    record_of,
    refusal_of,
    require_type,
)
from cielo.server.rows import Body, Row, document_row, row_of, timing
from cielo.server.service import Answers, Service
from cielo.wire import STATUS, Seconds, SpanRequest

_LARGE = 1 << 16  # bytes of a body that is read in a thread, so that other callers are not kept waiting
_CHUNK = 64  # mentions of a stream that are linked together
_RETRY_SECONDS = "2"  # while a worker is started again, or the server ends


@dataclass(frozen=True, slots=True)
class _Envelope:
    """A `LinkRequest` whose mentions are looked at one by one: a bad one does not spoil its neighbours."""

    mentions: Annotated[tuple[bool, ...], Meta(min_length=1)]
    options: LinkOptions = field(default_factory=LinkOptions)
    deadline: Seconds | None = None


@dataclass(frozen=True, slots=True)
class _DocumentEnvelope:
    """A `DocumentRequest`, likewise."""

    text: str
    spans: Annotated[tuple[bool, ...], Meta(min_length=1)]
    options: LinkOptions = field(default_factory=LinkOptions)
    deadline: Seconds | None = None


def routes(service: Service) -> list[Route]:
    """Return the routes."""
    linking = Linking(service)
    return [
        Route("/v1/link", linking.answer_mentions, methods=["POST"]),
        Route("/v1/link/stream", linking.answer_lines, methods=["POST"]),
        Route("/v1/documents", linking.answer_document, methods=["POST"]),
    ]


class Linking:
    """Requests to links, within the limits of the settings; for all routes that link."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._settings = service.settings

    async def answer_mentions(self, request: Request) -> Response:
        """Link the mentions of a `LinkRequest`."""
        document, given = _parted(await self.json(request), "mentions")
        asked = record_of(_Envelope, document)
        self.require_few(len(given), "mentions")
        entries = [_mention(entry, f"mentions[{place}]") for place, entry in enumerate(given)]
        answers = await self.link(request, entries, asked.options, asked.deadline)
        rows = [
            row_of(place, _id_of(entry, raw), outcome, f"mentions[{place}]")
            for place, (entry, raw, outcome) in enumerate(zip(entries, given, answers.outcomes, strict=True))
        ]
        return self._answer(request, answers, rows)

    async def answer_document(self, request: Request) -> Response:
        """Link the spans of a `DocumentRequest`."""
        document, given = _parted(await self.json(request), "spans")
        asked = record_of(_DocumentEnvelope, document)
        self.require_few(len(given), "spans")
        self.require_short(asked.text)
        spans = [_span(entry, f"spans[{place}]") for place, entry in enumerate(given)]
        found = await asyncio.to_thread(_found, asked.text, spans)
        entries = [entry.mention if isinstance(entry, DocumentMention) else entry for entry in found]
        answers = await self.link(request, entries, asked.options, asked.deadline)
        rows = [
            document_row(place, span, entry, outcome)
            for place, (span, entry, outcome) in enumerate(zip(spans, found, answers.outcomes, strict=True))
        ]
        return self._answer(request, answers, rows)

    async def answer_lines(self, request: Request) -> Response:
        """Link lines of NDJSON, each a mention; answer each in its order, as it is done."""
        require_type(request, NDJSON)
        if self._service.draining:
            raise HttpError(
                "draining", "the server is about to end; ask another one", headers={"Retry-After": _RETRY_SECONDS}
            )
        options = options_of(request.query_params.multi_items())
        body = await self._read(request)
        lines = [line for line in body.split(b"\n") if line.strip()]
        if not lines:
            raise HttpError("invalid", "the body has no line; send one mention in JSON on each")
        request.state.mentions = len(lines)
        return StreamingResponse(self._lines(lines, options), media_type=NDJSON)

    async def _lines(self, lines: Sequence[bytes], options: LinkOptions) -> AsyncIterator[bytes]:
        ids: list[str | None] = []

        def chunks() -> Iterator[list[Mention | Refused]]:
            for start in range(0, len(lines), _CHUNK):
                entries = [_line(line) for line in lines[start : start + _CHUNK]]
                ids.extend(entry.id if isinstance(entry, Mention) else None for entry in entries)
                yield entries

        place = 0
        async for outcome in self._service.link_stream(chunks(), options):
            yield msgspec.json.encode(row_of(place, ids[place], outcome, "")) + b"\n"
            place += 1

    async def json(self, request: Request) -> object:
        """Return what the body holds.

        Raises:
            HttpError: where it is no JSON, too large or too slow.
        """
        require_type(request, JSON)
        body = await self._read(request)
        if len(body) < _LARGE:
            return document_of(body, unchecked=True)
        return await asyncio.to_thread(document_of, body, unchecked=True)

    async def _read(self, request: Request) -> bytes:
        try:
            body = await read_body(request, most=self._settings.body_bytes, seconds=self._settings.body_seconds)
        except HttpError as error:
            if error.code == "too_large":
                self._service.metrics.refused.labels("bytes").inc()
            raise
        request.state.bytes = len(body)
        return body

    def require_short(self, text: str) -> None:
        """Refuse a document that is longer than allowed.

        Raises:
            HttpError: saying how long it may be.
        """
        most = self._settings.max_document_characters
        if len(text) > most:
            self._service.metrics.refused.labels("characters").inc()
            raise HttpError(
                "too_large", f"the text has {len(text):,} characters, expected at most {most:,}", field="text"
            )

    def require_few(self, count: int, name: str) -> None:
        """Refuse a request of more mentions than allowed.

        Raises:
            HttpError: saying how many may be.
        """
        most = self._settings.max_mentions
        if count > most:
            self._service.metrics.refused.labels("mentions").inc()
            raise HttpError(
                "too_large", f"the request has {count:,} {name}, expected at most {most:,}; send several", field=name
            )

    @staticmethod
    def mentions_in(text: str, spans: Sequence[SpanRequest | Refused]) -> list[DocumentMention | Refused]:
        """Return the mention of each span of a document; what has none is refused in its place."""
        return _found(text, spans)

    async def link(
        self,
        request: Request,
        entries: Sequence[Mention | Refused],
        options: LinkOptions,
        deadline: float | None,
    ) -> Answers:
        """Link mentions as long as the caller is there.

        Raises:
            HttpError: where there is no room.
            CallerLeftError: where the caller has gone.
        """
        try:
            answers = await _while_connected(request, self._service.link(entries, options, deadline=deadline))
        except OverloadedError as error:
            self._service.metrics.refused.labels("queue").inc()
            raise HttpError(
                "overloaded",
                f"more is asked than the models work off; ask again in {error.retry_after} s",
                headers={"Retry-After": str(error.retry_after)},
            ) from None
        except CallerLeftError:
            self._service.metrics.refused.labels("left").inc()
            raise
        request.state.mentions, request.state.tokens = len(entries), answers.tokens
        return answers

    def _answer(self, request: Request, answers: Answers, rows: Sequence[Row]) -> Response:
        wrong = [] if answers.linked else [row.error for row in rows if row.error is not None]
        # The server's own trouble before the caller's: that is what can be waited for.
        worst = next((error for error in wrong if error.code != "invalid"), wrong[0] if wrong else None)
        if worst is not None:
            worst = replace(worst, request_id=request.state.request_id)
        status = HTTPStatus.OK if worst is None else STATUS[worst.code]
        headers = {"Server-Timing": timing(answers)}
        if status == HTTPStatus.SERVICE_UNAVAILABLE:
            headers["Retry-After"] = _RETRY_SECONDS
        body = Body(rows, self._service.bundle, worst)
        return Response(msgspec.json.encode(body), status, headers, JSON)


class CallerLeftError(Exception):
    """The caller has closed the connection: nobody waits for an answer."""


async def _while_connected(request: Request, work: Coroutine[object, object, Answers]) -> Answers:
    """Return what the work gives; end it where the caller leaves.

    Raises:
        CallerLeftError: where it does.
    """
    working, leaving = asyncio.ensure_future(work), asyncio.ensure_future(_left(request))
    try:
        await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise CallerLeftError
        return await working
    finally:
        for task in (working, leaving):
            task.cancel()


async def _left(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _parted(document: object, name: str) -> tuple[object, list[object]]:
    """Return a document with placeholders for the entries of one of its lists, and these entries themselves."""
    entries = document.get(name) if isinstance(document, dict) else None
    if not isinstance(document, dict) or not isinstance(entries, list):
        return document, []
    return {**document, name: [True] * len(entries)}, entries


def _mention(entry: object, place: str) -> Mention | Refused:
    try:
        return record_of(Mention, entry, place, what="the mention")
    except HttpError as error:
        return refusal_of(error)


def _line(line: bytes) -> Mention | Refused:
    try:
        return record_of(Mention, document_of(line, "the line", unchecked=True), what="the mention")
    except HttpError as error:
        return refusal_of(error)


def _span(entry: object, place: str) -> SpanRequest | Refused:
    try:
        return record_of(SpanRequest, entry, place, what="the span")
    except HttpError as error:
        return refusal_of(error)


def _found(text: str, spans: Sequence[SpanRequest | Refused]) -> list[DocumentMention | Refused]:
    """Return the mention of each span; what has none is refused in its place."""
    good = [span for span in spans if isinstance(span, SpanRequest)]
    found = iter(
        mentions_of(
            text,
            [span.pairs for span in good],
            kinds=[span.kind for span in good],
            ids=[span.id for span in good],
            texts=[span.text for span in good],
        )
    )
    return [_refused(next(found)) if isinstance(span, SpanRequest) else span for span in spans]


def _refused(found: DocumentMention | MentionError) -> DocumentMention | Refused:
    return found if isinstance(found, DocumentMention) else Refused("invalid", str(found))


def _id_of(entry: Mention | Refused, given: object) -> str | None:
    """Return a mention's own name, of one that could not be read as well."""
    if isinstance(entry, Mention):
        return entry.id
    name = given.get("id") if isinstance(given, dict) else None
    return name if isinstance(name, str) else None
