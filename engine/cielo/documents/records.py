"""Documents as they are read: a text, and the spans that are marked in it; and what they were linked to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cielo.errors import MentionError
from cielo.link.document_links import DocumentLink
from cielo.link.documents import DocumentMention, mentions_of
from cielo.records import Json


@dataclass(frozen=True, slots=True)
class MarkedSpan:
    """A span as it is marked; whether it fits the text is seen when its mention is made.

    Attributes:
        span: its offsets as they are given, see `cielo.link.documents.mention_of`; not checked yet.
        name: its own (``T1``).
        kind: which kind of code is wanted.
        type: the annotators' own, as in BRAT; it restricts nothing by itself.
        text: what it is expected to hold; None: it is not known.
        line: of the file, or its place in the list, where it is marked, from 1.
        error: why it cannot be read at all.
    """

    span: Any = ()
    name: str | None = None
    kind: str | None = None
    type: str | None = None
    text: str | None = None
    line: int = 0
    error: str | None = None

    @property
    def fragments(self) -> tuple[tuple[int, int], ...]:
        """The fragments as far as they are pairs of whole numbers; empty where they are not."""
        given = self.span if isinstance(self.span, list | tuple) else ()
        pairs = [given] if given and not isinstance(given[0], list | tuple) else given
        if all(isinstance(pair, list | tuple) and [type(one) for one in pair] == [int, int] for pair in pairs):
            return tuple((start, end) for start, end in pairs)
        return ()


@dataclass(frozen=True, slots=True)
class Document:
    """A document, or why it cannot be read.

    Attributes:
        name: its id; where it has none, its number in its file; of a folder the file's path without its ending.
        place: where it stands, for messages: ``notes.jsonl, line 3``.
        text: its offsets are counted in.
        spans: that are marked in it.
        error: why it cannot be read; None: it can.
        subject: the patient, as FHIR refers to one, where the document names one.
        annotations: the content of its ``.ann`` file where it is of BRAT; bytes that are no UTF-8 are escaped as by
            ``surrogateescape``.
        file: of its text, likewise.
        given: the document itself where it is of BigBio.
    """

    name: str
    place: str
    text: str = ""
    spans: tuple[MarkedSpan, ...] = ()
    error: str | None = None
    subject: str | None = None
    annotations: str | None = None
    file: Path | None = None
    given: Mapping[str, Json] | None = None

    def mentions(
        self, kind: str | None = None, kinds: Mapping[str, str] | None = None
    ) -> list[DocumentMention | MentionError]:
        """Return the mention of each span in its place, or the error that says why it has none.

        Args:
            kind: of the spans that name none.
            kinds: of the spans of a type, before `kind`.
        """
        known = kinds or {}
        good = [span for span in self.spans if span.error is None]
        found = iter(
            mentions_of(
                self.text,
                [span.span for span in good],
                kinds=[span.kind or known.get(span.type or "") or kind for span in good],
                ids=[span.name for span in good],
                texts=[span.text for span in good],
            )
        )
        return [next(found) if span.error is None else MentionError(span.error) for span in self.spans]


@dataclass(frozen=True, slots=True)
class LinkedDocument:
    """A document and the result for each of its spans, in their order."""

    document: Document
    found: tuple[DocumentLink, ...] = ()
