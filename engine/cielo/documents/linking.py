"""Documents linked: the mentions of several together, and no more of them in memory than are linked together."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from cielo.documents.records import Document, LinkedDocument
from cielo.link.document_links import document_link
from cielo.link.documents import DocumentMention
from cielo.link.linker import Linker
from cielo.options import LinkOptions

_SPANS = 256  # so many are linked together: enough for batches of like length, few enough to answer soon
_CHARACTERS = 1 << 22  # of the texts that wait


def link_documents(
    documents: Iterable[Document],
    linker: Linker,
    options: LinkOptions | None = None,
    *,
    kind: str | None = None,
    kinds: Mapping[str, str] | None = None,
) -> Iterator[LinkedDocument]:
    """Link documents, those with few spans together, and yield each with its results, in order.

    What is wrong with a document or a span stands in its place; its neighbours are linked.

    Args:
        documents: read no further than is needed for what is linked next.
        linker: that finds the codes.
        options: how; default: `LinkOptions()`.
        kind: of the spans that name none.
        kinds: of the spans of a type, before `kind`.

    Raises:
        OptionError, CalibrationError, ClosedError: as `Linker.link`.
    """
    for batch in _batches(documents):
        found = [document.mentions(kind, kinds) for document in batch]
        entries = [entry.mention if isinstance(entry, DocumentMention) else entry for one in found for entry in one]
        outcomes = linker.link_each(entries, options)
        for document, mentions in zip(batch, found, strict=True):
            links = [document_link(entry, outcome) for entry, outcome in zip(mentions, outcomes, strict=False)]
            yield LinkedDocument(document, tuple(links))


def _batches(documents: Iterable[Document]) -> Iterator[list[Document]]:
    batch: list[Document] = []
    spans = characters = 0
    for document in documents:
        batch.append(document)
        spans += 1 + len(document.spans)
        characters += len(document.text)
        if spans >= _SPANS or characters >= _CHARACTERS:
            yield batch
            batch, spans, characters = [], 0, 0
    if batch:
        yield batch
