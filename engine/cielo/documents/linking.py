"""Documents linked: the mentions of several together, and no more of them in memory than are linked together."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

from cielo.documents.records import Document, LinkedDocument
from cielo.errors import CieloError
from cielo.link.document_links import document_link
from cielo.link.documents import DocumentMention
from cielo.link.linker import Linker
from cielo.link.progress import Told
from cielo.options import LinkOptions
from cielo.records import Mention

SPANS = 256  # so many are linked together: enough for batches of like length
_CHARACTERS = 1 << 22  # of the texts that wait


def link_documents(
    documents: Iterable[Document],
    linker: Linker,
    options: LinkOptions | None = None,
    *,
    kind: str | None = None,
    kinds: Mapping[str, str] | None = None,
    together: int = SPANS,
    seen: Callable[[Mention | CieloError], None] = lambda _: None,
    progress: Told | None = None,
) -> Iterator[LinkedDocument]:
    """Link documents, those with few spans together, and yield each with its results, in order.

    What is wrong with a document or a span stands in its place; its neighbours are linked.

    Args:
        documents: read no further than is needed for what is linked next.
        linker: that finds the codes.
        options: how; default: `LinkOptions()`.
        kind: of the spans that name none.
        kinds: of the spans of a type, before `kind`.
        together: documents are linked together until they have so many spans; 1: each by itself, and so soon.
        seen: is told of the mention of each span, or why it has none.
        progress: see `Linker.link_each`.

    Raises:
        OptionError, CalibrationError, ClosedError: as `Linker.link`.
    """
    for batch in _batches(documents, together):
        found = [document.mentions(kind, kinds) for document in batch]
        entries = [entry.mention if isinstance(entry, DocumentMention) else entry for one in found for entry in one]
        for entry in entries:
            seen(entry)
        outcomes = linker.link_each(entries, options, progress=progress)
        for document, mentions in zip(batch, found, strict=True):
            links = [document_link(entry, outcome) for entry, outcome in zip(mentions, outcomes, strict=False)]
            yield LinkedDocument(document, tuple(links))


def _batches(documents: Iterable[Document], together: int) -> Iterator[list[Document]]:
    batch: list[Document] = []
    spans = characters = 0
    for document in documents:
        batch.append(document)
        spans += 1 + len(document.spans)
        characters += len(document.text)
        if spans >= together or characters >= _CHARACTERS:
            yield batch
            batch, spans, characters = [], 0, 0
    if batch:
        yield batch
