"""What became of the documents of a command: how many could not be linked, and why."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from cielo.cli.progress import Summary
from cielo.decisions import Thresholds, decision_of
from cielo.documents.records import Document, LinkedDocument, MarkedSpan
from cielo.errors import MentionError
from cielo.said import Said
from cielo.tables import format_of
from cielo.tables.formats import OutputStyle
from cielo.tables.links import language_of
from cielo.tables.writing import open_output, write_table
from cielo.text import wording
from cielo.text.language import in_language, retell

_FIRST = 10
_COLUMNS = ("place", "document", "id", "error")


@dataclass(slots=True)
class Tally:
    """What became of the documents and their spans.

    Attributes:
        summary: of the spans, which are counted there too.
        thresholds: of the decisions.
        wanted: whether every reason is kept.
        first: the first reasons, each with its place, as they are shown.
        reasons: all of them where they are wanted: the place, the document, the span's name, the reason.
        spans: that could not be linked, of documents that could be read.
        documents: that could not be read, or not be written.
    """

    summary: Summary
    thresholds: Thresholds
    wanted: bool = False
    first: list[str] = field(default_factory=list)
    reasons: list[tuple[str, str, str | None, str]] = field(default_factory=list)
    spans: int = 0
    documents: int = 0

    @property
    def failed(self) -> int:
        """How many spans and documents hold an error."""
        return self.spans + self.documents

    def counted(self, linked: Iterable[LinkedDocument]) -> Iterator[LinkedDocument]:
        """Yield documents on, and count what became of them."""
        self.summary.expect_decisions()
        for one in linked:
            self.summary.documents += 1
            if one.document.error is not None:
                self.refuse(one.document, one.document.error)
            for span, found in zip(one.document.spans, one.found, strict=True):
                self.summary.add(found.link or MentionError(found.error or ""))
                if found.link is not None:
                    self.summary.decide(decision_of(found.link, self.thresholds))
                else:
                    self.spans += 1
                    self._keep(one.document, span, found.error or "")
            yield one

    def refuse(self, document: Document, reason: str) -> None:
        """Count a document that could not be read, or not be written in the form that is asked for."""
        self.documents += 1
        self.summary.errors += 1
        self._keep(document, None, reason)

    def _keep(self, document: Document, span: MarkedSpan | None, reason: str) -> None:
        place = document.place
        if span is not None:
            place = Said("{place}, span {number}", place=place, number=span.line)
        if len(self.first) < _FIRST:
            self.first.append(f"{retell(place)}: {retell(reason)}")
        if self.wanted:
            self.reasons.append((place, document.name, None if span is None else span.name, reason))

    def write(self, target: str, style: OutputStyle) -> None:
        """Write every reason as a table.

        Raises:
            TableError: where it cannot be written.
        """
        form = format_of(target, default="csv")
        language = language_of(form, style)
        labels = wording.labels(language)
        rows = [
            {
                "place": in_language(place, language), "document": document, "id": name,
                "error": in_language(reason, language),
            }
            for place, document, name, reason in self.reasons
        ]  # fmt: skip
        with open_output(target) as output:
            write_table(
                output, form, rows, order=lambda _: _COLUMNS, style=style, label=lambda name: labels.get(name, name)
            )
