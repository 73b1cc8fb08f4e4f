"""Annotated folders as rows of mentions: BRAT, of any types, and CodiEsp; what cannot be read is a row too."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cielo.errors import MentionError, TableError
from cielo.link.documents import DocumentMention, Span, mentions_of
from cielo.tables.mentions import InputRow
from cielo.workbench.evaluation.corpora import read_codiesp
from cielo.workbench.evaluation.corpora.codiesp import fragments_of
from cielo.workbench.evaluation.corpora.concepts import files_under
from cielo.workbench.evaluation.corpora.lines import NOT_UTF8, read_lines, read_text

_MARK = re.compile(r"(T\d+)\t(\S+) ([^\t]*)(?:\t(.*))?", re.DOTALL)


@dataclass(frozen=True, slots=True)
class _Marked:
    line: int
    name: str
    type: str
    fragments: Span
    text: str | None


def brat_rows(path: Path) -> Iterator[InputRow]:
    """Yield a row for each text that a folder's ``.ann`` files mark; its number is that of its line there.

    Its columns are those of a mention, ``document``, ``spans`` and ``type``; the type is not taken for a kind.
    """
    for file, document in files_under(path, (".ann",)):
        try:
            text = read_text(file.with_suffix(".txt"))
            if text is None:
                yield InputRow(1, {"document": document}, NOT_UTF8)
                continue
            yield from _of_document(file, document, text)
        except TableError:
            yield InputRow(1, {"document": document}, "the file, or its text beside it (`.txt`), cannot be read")


def _of_document(file: Path, document: str, text: str) -> Iterator[InputRow]:
    marked: list[_Marked] = []
    for number, line in read_lines(file):
        if line is None:
            yield InputRow(number, {"document": document}, NOT_UTF8)
        elif line.startswith("T"):
            found = _MARK.fullmatch(line)
            try:
                fragments = fragments_of(found[3] if found else "")
            except MentionError as error:
                yield InputRow(number, {"document": document}, str(error))
                continue
            if found:
                marked.append(_Marked(number, found[1], found[2], fragments, found[4]))
    spans, texts = [entry.fragments for entry in marked], [(entry.text or "").strip() or None for entry in marked]
    for entry, found_there in zip(marked, mentions_of(text, spans, texts=texts), strict=True):
        yield _row(entry, document, found_there)


def _row(marked: _Marked, document: str, found: DocumentMention | MentionError) -> InputRow:
    spans = " ".join(f"{start}-{end}" for start, end in marked.fragments)
    rest = {"id": f"{document}:{marked.name}", "document": document, "spans": spans, "type": marked.type}
    if isinstance(found, MentionError):
        return InputRow(marked.line, {"text": marked.text, "sentence": None, **rest}, str(found))
    return InputRow(marked.line, {"text": found.mention.text, "sentence": found.mention.sentence, **rest})


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
