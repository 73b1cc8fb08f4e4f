"""What the mentions of a document were linked to."""

from __future__ import annotations

from dataclasses import dataclass

from cielo.errors import CieloError, MentionError
from cielo.link.documents import DocumentMention, Span
from cielo.records import Link


@dataclass(frozen=True, slots=True)
class DocumentLink:
    """The result for one span of a document.

    Attributes:
        spans: its fragments that are not empty, in characters of the document's text.
        sentence: borders of the sentence in which the first of them begins.
        link: what the mention was linked to; None where there is an error.
        error: why it could not be linked.
        text: that was linked: the fragments, joined by a space; None where there is an error.
    """

    spans: Span = ()
    sentence: tuple[int, int] | None = None
    link: Link | None = None
    error: str | None = None
    text: str | None = None


def document_link(found: DocumentMention | MentionError, outcome: Link | CieloError) -> DocumentLink:
    """Return the result for a span that was found, or was not, and what became of its mention."""
    if isinstance(found, DocumentMention) and isinstance(outcome, Link):
        return DocumentLink(found.spans, found.sentence, outcome, text=found.mention.text)
    return DocumentLink(error=None if isinstance(outcome, Link) else outcome.said)
