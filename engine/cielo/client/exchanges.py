"""What is asked, and how the answer is read, without a connection: for both clients."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Generic, TypeVar
from urllib.parse import quote

import msgspec

from cielo.client.records import LinkError
from cielo.errors import ServerError
from cielo.knowledge.records import ConceptDetails, SearchResult
from cielo.options import LinkOptions
from cielo.records import Link, Mention
from cielo.wire import DocumentResult, DocumentResults, Failure, Info, Result, Results, SpanRequest

T = TypeVar("T")
_JSON = {"Content-Type": "application/json"}
_NDJSON = {"Content-Type": "application/x-ndjson"}
_JITTER = 0.25  # of the time to wait, added to it: callers who were refused together do not come back together
_ASK_AGAIN = (429, 503)


@dataclass(frozen=True, slots=True)
class Exchange(Generic[T]):
    """One request, and how its answer is read.

    Attributes:
        read: from the body of an answer; also of one that is an error, if it holds results.
    """

    method: str
    path: str
    read: Callable[[bytes], T]
    query: Mapping[str, str] = field(default_factory=dict)
    content: bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to ask again what the server refused for the moment.

    Attributes:
        tries: of one request, at least 1.
        seconds: that all pauses of one request may take together.
    """

    tries: int = 8
    seconds: float = 120.0

    def pause(self, status: int, headers: Mapping[str, str], tried: int, waited: float) -> float | None:
        """Return the seconds to wait before asking again; None: it is not asked again.

        Args:
            status: of the answer.
            headers: of the answer; nothing is asked again without ``Retry-After``.
            tried: times.
            waited: seconds so far.
        """
        said = headers.get("retry-after", "")
        if status not in _ASK_AGAIN or tried >= self.tries or not said.isdigit():
            return None
        seconds = int(said) * (1 + _JITTER * random.random())  # noqa: S311
        return seconds if waited + seconds <= self.seconds else None


def link(
    mentions: Sequence[Mention], options: LinkOptions | None, deadline: float | None, first: int
) -> Exchange[list[Link | LinkError]]:
    """Return the request for links of mentions, of which the first is `first` in the caller's order."""
    body = {"mentions": [asdict(mention) for mention in mentions], **_how(options, deadline)}

    def read(content: bytes) -> list[Link | LinkError]:
        return [_outcome(result, first) for result in msgspec.json.decode(content, type=Results).results]

    return Exchange("POST", "/v1/link", read, content=msgspec.json.encode(body), headers=_JSON)


def link_document(
    text: str, spans: Sequence[SpanRequest], options: LinkOptions | None, deadline: float | None
) -> Exchange[tuple[DocumentResult, ...]]:
    """Return the request for links of a document's spans."""
    body = {"text": text, "spans": [asdict(span) for span in spans], **_how(options, deadline)}

    def read(content: bytes) -> tuple[DocumentResult, ...]:
        return msgspec.json.decode(content, type=DocumentResults).results

    return Exchange("POST", "/v1/documents", read, content=msgspec.json.encode(body), headers=_JSON)


def streams(
    mentions: Iterable[Mention], options: LinkOptions | None, most_bytes: int
) -> Iterator[Exchange[Link | LinkError]]:
    """Yield the requests for a stream of links, each as long as a body may be; `read` reads one line of the answer.

    Raises:
        ValueError: where the options hold a subset, which a stream does not take.
    """
    options = options or LinkOptions()
    if options.subset is not None:
        raise ValueError("got options with a subset, which a stream does not take; use link")
    query = {
        name: value if isinstance(value, str) else msgspec.json.encode(value).decode()
        for name, value in asdict(options).items()
        if value is not None
    }
    first = count = 0
    lines: list[bytes] = []
    size = 0
    for mention in mentions:
        line = msgspec.json.encode(asdict(mention)) + b"\n"
        if lines and size + len(line) > most_bytes:
            yield _stream(first, query, lines)
            first, lines, size = count, [], 0
        lines.append(line)
        size, count = size + len(line), count + 1
    if lines:
        yield _stream(first, query, lines)


def _stream(first: int, query: Mapping[str, str], lines: list[bytes]) -> Exchange[Link | LinkError]:
    def read(line: bytes) -> Link | LinkError:
        try:
            return _outcome(msgspec.json.decode(line, type=Result), first)
        except (msgspec.ValidationError, msgspec.DecodeError):
            raise _error_of(200, b"") from None

    return Exchange("POST", "/v1/link/stream", read, query, b"".join(lines), _NDJSON)


class Lines:
    """Cuts what arrives into lines, at line feeds alone: texts may hold other signs that end a line elsewhere."""

    def __init__(self) -> None:
        """Begin without anything."""
        self._rest = b""

    def feed(self, content: bytes) -> list[bytes]:
        """Return the lines that are whole with what has arrived."""
        *lines, self._rest = (self._rest + content).split(b"\n")
        return [line for line in lines if line]


def failed(error: ServerError, part: Sequence[Mention], first: int) -> list[Link | LinkError]:
    """Return the error of a whole request as that of each of its mentions."""
    return [
        LinkError(first + place, error.code, str(error), error.field, mention.id) for place, mention in enumerate(part)
    ]


def concept(code: str, kind: str | None) -> Exchange[ConceptDetails]:
    """Return the request for a code."""
    query = {} if kind is None else {"kind": kind}
    return Exchange("GET", f"/v1/concepts/{quote(code, safe='')}", _reader(ConceptDetails), query)


def search(query: str, kind: str | None, limit: int) -> Exchange[SearchResult]:
    """Return the request for codes by words."""
    given = {"query": query, "limit": str(limit), **({} if kind is None else {"kind": kind})}
    return Exchange("GET", "/v1/concepts", _reader(SearchResult), given)


def info() -> Exchange[Info]:
    """Return the request for what the server is."""
    return Exchange("GET", "/v1/info", _reader(Info))


def ready() -> Exchange[bytes]:
    """Return the request whether the server is ready."""
    return Exchange("GET", "/readyz", bytes)


def answer(exchange: Exchange[T], status: int, content: bytes) -> T:
    """Return what an answer holds.

    Raises:
        ServerError: where the whole request was refused, or the answer is none of this server's.
    """
    if status != 200:
        error = _error_of(status, content)
        # Where no mention has a link the answer is an error that has a result for each all the same.
        if b'"results"' not in content:
            raise error
    try:
        return exchange.read(content)
    except (msgspec.ValidationError, msgspec.DecodeError):
        raise _error_of(status, content) from None


def parts(mentions: Sequence[Mention], most: int) -> list[tuple[int, Sequence[Mention]]]:
    """Return mentions in parts of at most `most`, each with the place of its first."""
    return [(start, mentions[start : start + most]) for start in range(0, len(mentions), most)]


def _how(options: LinkOptions | None, deadline: float | None) -> dict[str, object]:
    more: dict[str, object] = {} if deadline is None else {"deadline": deadline}
    return more if options is None else {"options": options, **more}


def _reader(kind: type[T]) -> Callable[[bytes], T]:
    return lambda content: msgspec.json.decode(content, type=kind)


def _outcome(result: Result, first: int) -> Link | LinkError:
    if result.link is not None:
        return result.link
    error, index = result.error, first + result.index
    if error is None:
        return LinkError(index, "failed", "the server gave neither a link nor an error", id=result.id)
    return LinkError(index, error.code, error.message, error.field, result.id)


def _error_of(status: int, content: bytes) -> ServerError:
    try:
        error = msgspec.json.decode(content, type=Failure).error
    except (msgspec.ValidationError, msgspec.DecodeError):
        return ServerError(status, "failed", "the answer is none of cielo's; is it the right address?")
    return ServerError(status, error.code, error.message, error.field, error.request_id)
