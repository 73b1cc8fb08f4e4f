"""What the server answers and its client reads, as records: one place for both.

Requests are made of `cielo.records.Mention` and `cielo.options.LinkOptions`. All of it is JSON in UTF-8; a key that a
request does not know is refused, one that an answer has more is passed over by the client.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from http import HTTPStatus
from types import MappingProxyType
from typing import Annotated, Final, Literal

from msgspec import Meta

from cielo.options import LinkOptions
from cielo.records import BundleIdentity, Link, Mention

Problem = Literal[
    "bad_request", "unauthorized", "not_found", "method_not_allowed", "timeout", "too_large", "unsupported_media_type",
    "invalid", "overloaded", "failed", "not_ready", "draining", "deadline",
]  # fmt: skip
STATUS: Final = MappingProxyType[Problem, HTTPStatus](
    {
        "bad_request": HTTPStatus.BAD_REQUEST,
        "unauthorized": HTTPStatus.UNAUTHORIZED,
        "not_found": HTTPStatus.NOT_FOUND,
        "method_not_allowed": HTTPStatus.METHOD_NOT_ALLOWED,
        "timeout": HTTPStatus.REQUEST_TIMEOUT,
        "too_large": HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        "unsupported_media_type": HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
        "invalid": HTTPStatus.UNPROCESSABLE_ENTITY,
        "overloaded": HTTPStatus.TOO_MANY_REQUESTS,
        "failed": HTTPStatus.INTERNAL_SERVER_ERROR,
        "not_ready": HTTPStatus.SERVICE_UNAVAILABLE,
        "draining": HTTPStatus.SERVICE_UNAVAILABLE,
        "deadline": HTTPStatus.GATEWAY_TIMEOUT,
    }
)
Seconds = Annotated[float, Meta(gt=0, le=3600)]
Fragment = tuple[Annotated[int, Meta(ge=0)], Annotated[int, Meta(ge=0)]]


@dataclass(frozen=True, slots=True)
class LinkRequest:
    """Mentions to be linked, ``POST /v1/link``.

    Attributes:
        mentions: at least one.
        options: how; what is missing has its default.
        deadline: seconds after the arrival of the request at which nobody waits for the answer any more; None: the
            server's own limit.
    """

    mentions: Annotated[tuple[Mention, ...], Meta(min_length=1)]
    options: LinkOptions = field(default_factory=LinkOptions)
    deadline: Seconds | None = None


@dataclass(frozen=True, slots=True)
class SpanRequest:
    """A span of a document: from `start` to `end`, or several fragments, in Unicode characters of its text.

    Attributes:
        text: what the span is expected to hold; where it holds another text (white space apart) it is not linked.
        kind: see `Mention`; so is `id`.
    """

    start: Annotated[int, Meta(ge=0)] | None = None
    end: Annotated[int, Meta(ge=0)] | None = None
    fragments: tuple[Fragment, ...] | None = None
    kind: str | None = None
    id: str | None = None
    text: str | None = None

    def __post_init__(self) -> None:
        whole = self.start is not None and self.end is not None
        if whole == (self.fragments is not None) or (self.start is None) != (self.end is None):
            raise ValueError("expected either start and end, or fragments")

    @property
    def pairs(self) -> tuple[Fragment, ...]:
        """The fragments, one or several."""
        if self.fragments is not None:
            return self.fragments
        return ((self.start or 0, self.end or 0),)


@dataclass(frozen=True, slots=True)
class DocumentRequest:
    """A document and the spans to be linked in it, ``POST /v1/documents``; see `LinkRequest`."""

    text: str
    spans: Annotated[tuple[SpanRequest, ...], Meta(min_length=1)]
    options: LinkOptions = field(default_factory=LinkOptions)
    deadline: Seconds | None = None


@dataclass(frozen=True, slots=True)
class ErrorBody:
    """What went wrong.

    Attributes:
        code: for programs.
        message: for people; it holds no text of the request.
        field: of the request, where it is one: ``mentions[3].text``.
        request_id: of the request, by which the server's log names it; None in a list of results.
    """

    code: Problem
    message: str
    field: str | None = None
    request_id: str | None = None


@dataclass(frozen=True, slots=True)
class Failure:
    """The answer to a request of which nothing could be done."""

    error: ErrorBody


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one mention: either `link` or `error`; `index` is its place in the request, `id` its own."""

    index: int
    id: str | None = None
    link: Link | None = None
    error: ErrorBody | None = None


@dataclass(frozen=True, slots=True)
class Results:
    """The answer to a `LinkRequest`: a result for each mention, in their order; `error` where none has a link."""

    results: tuple[Result, ...]
    bundle: BundleIdentity
    error: ErrorBody | None = None


@dataclass(frozen=True, slots=True)
class DocumentResult(Result):
    """What became of one span.

    Attributes:
        spans: its fragments that are not empty.
        sentence: borders of the sentence in which the first of them begins.
        mention: the text that was linked: the fragments, joined by a space.
    """

    spans: tuple[Fragment, ...] = ()
    sentence: Fragment | None = None
    mention: str | None = None


@dataclass(frozen=True, slots=True)
class DocumentResults:
    """The answer to a `DocumentRequest`: a result for each span, in their order; `error` where none has a link."""

    results: tuple[DocumentResult, ...]
    bundle: BundleIdentity
    error: ErrorBody | None = None


@dataclass(frozen=True, slots=True)
class Limits:
    """What a request may have at most.

    Attributes:
        mentions: in one request.
        characters: of a mention with its sentence.
        document_characters: of a document.
        bytes: of a request's body.
        seconds: after which a request is given up.
    """

    mentions: int
    characters: int
    document_characters: int
    bytes: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Info:
    """What the server is, ``GET /v1/info``.

    Attributes:
        kinds: of the knowledge base, and how many codes each has.
        backends: the backend for each use (``single``, ``bulk``).
        decoding: where options name none.
        versions: of cielo and the libraries that compute.
        calibrated: the decodings for which links have a confidence.
        keys: whether a key is asked for.
        code_systems: the address of each kind's code system, where one is known.
        lexicon: whether mentions are looked up in a table before the model is asked.
    """

    bundle: BundleIdentity
    kinds: dict[str, int]
    backends: dict[str, str]
    compute_type: str
    device: str
    decoding: str
    versions: dict[str, str]
    limits: Limits
    calibrated: tuple[str, ...] = ()
    keys: bool = False
    code_systems: dict[str, str] = field(default_factory=dict)
    lexicon: bool = False
