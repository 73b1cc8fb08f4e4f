"""Annotated folders as rows of mentions: BRAT, of any types, and CodiEsp; what cannot be read is a row too."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from cielo.documents.brat import brat_documents
from cielo.documents.records import Document, MarkedSpan
from cielo.errors import MentionError
from cielo.link.documents import DocumentMention
from cielo.tables.mentions import InputRow
from cielo.workbench.evaluation.corpora import read_codiesp


def brat_rows(path: Path) -> Iterator[InputRow]:
    """Yield a row for each text that a folder's ``.ann`` files mark; its number is that of its line there.

    Its columns are those of a mention, ``document``, ``spans`` and ``type``; the type is not taken for a kind.
    """
    for document in brat_documents(path):
        if document.error is not None:
            yield InputRow(1, {"document": document.name}, document.error)
        for span, found in zip(document.spans, document.mentions(), strict=True):
            yield _row(span, document, found)


def _row(span: MarkedSpan, document: Document, found: DocumentMention | MentionError) -> InputRow:
    if span.error is not None:
        return InputRow(span.line, {"document": document.name}, span.error)
    spans = " ".join(f"{start}-{end}" for start, end in span.fragments)
    rest = {"id": f"{document.name}:{span.name}", "document": document.name, "spans": spans, "type": span.type}
    if isinstance(found, MentionError):
        return InputRow(span.line, {"text": span.text, "sentence": None, **rest}, found.said)
    return InputRow(span.line, {"text": found.mention.text, "sentence": found.mention.sentence, **rest})


def codiesp_rows(path: Path) -> Iterator[InputRow]:
    """Yield a row for each annotated mention of CodiEsp, with the annotators' codes as ``annotated``.

    Raises:
        TableError: where it cannot be read.
    """
    corpus = read_codiesp(path, None)
    for number, annotated in enumerate(corpus.mentions, start=1):
        mention = annotated.mention
        spans = " ".join(f"{start}-{end}" for start, end in annotated.spans)
        yield InputRow(
            number,
            {
                "text": mention.text, "sentence": mention.sentence, "kind": mention.kind, "id": mention.id,
                "document": annotated.document, "spans": spans, "annotated": "|".join(annotated.codes),
            },
        )  # fmt: skip
    for number, skipped in enumerate(corpus.skipped, start=len(corpus.mentions) + 1):
        yield InputRow(number, {"document": skipped.place}, skipped.reason)
