"""Outcomes as rows of an answer, and the answer's body: links are JSON already when they come from the worker."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from msgspec import Raw

from cielo.link.documents import DocumentMention
from cielo.records import BundleIdentity
from cielo.server.frames import Linked, Refused
from cielo.server.service import Answers
from cielo.wire import ErrorBody, Fragment, Problem, SpanRequest


class Row(msgspec.Struct, omit_defaults=False):
    """A `Result` whose link is JSON already."""

    index: int
    id: str | None
    link: Raw | None
    error: ErrorBody | None


class DocumentRow(Row):
    """A `DocumentResult`, likewise."""

    spans: tuple[Fragment, ...]
    sentence: Fragment | None
    mention: str | None


class Body(msgspec.Struct, omit_defaults=True):
    """The answer: rows, the bundle, and an error where no mention has a link."""

    results: Sequence[Row]
    bundle: BundleIdentity
    error: ErrorBody | None = None


def row_of(place: int, name: str | None, outcome: Linked | Refused, where: str) -> Row:
    """Return the row of a mention: its place and own name, its outcome, and where it stands in the request."""
    link, error = _parts(outcome, where)
    return Row(place, name, link, error)


def document_row(
    place: int, span: SpanRequest | Refused, entry: DocumentMention | Refused, outcome: Linked | Refused
) -> DocumentRow:
    """Return the row of a span."""
    link, error = _parts(outcome, f"spans[{place}]")
    name = span.id if isinstance(span, SpanRequest) else None
    if not isinstance(entry, DocumentMention):
        return DocumentRow(place, name, link, error, (), None, None)
    return DocumentRow(place, name, link, error, entry.spans, entry.sentence, entry.mention.text)


def _parts(outcome: Linked | Refused, where: str) -> tuple[Raw | None, ErrorBody | None]:
    if isinstance(outcome, Linked):
        return Raw(outcome.json), None
    return None, ErrorBody(outcome.problem, outcome.message, _place(outcome.problem, where, outcome.field))


def _place(problem: Problem, where: str, name: str | None) -> str | None:
    """Return the field of the request that a refusal is about; None where it is about none."""
    if name == "options" or problem not in ("invalid", "too_large", "bad_request"):
        return name
    if name is None or name.startswith(where or "\0"):
        return name or where or None
    return f"{where}.{name}" if where else name


def timing(answers: Answers) -> str:
    """Return the times of the stages for ``Server-Timing``, in milliseconds."""
    stages = {"queue": answers.queued, **answers.stages}
    return ", ".join(f"{name};dur={1000 * seconds:.1f}" for name, seconds in stages.items())
