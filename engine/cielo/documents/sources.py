"""Where documents come from: files of JSON, BRAT's folders, CodiEsp's; each is known by its name and what it holds."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from cielo.documents.brat import brat_documents
from cielo.documents.json_documents import json_documents
from cielo.documents.records import Document, MarkedSpan
from cielo.errors import MentionError, TableError
from cielo.said import Said
from cielo.tables import Format, TableFormat, format_of
from cielo.tables.mentions import open_input
from cielo.tables.reading import open_bytes
from cielo.workbench.evaluation.corpora import detect_format
from cielo.workbench.evaluation.corpora.codiesp import CodiespDocument, codiesp_documents, fragments_of

EXPECTED = "JSON Lines, a JSON array, a folder of BRAT (`.ann` beside `.txt`) or of CodiEsp"
_JSON = (".jsonl", ".ndjson", ".json", ".jsonl.gz", ".json.gz")


@dataclass(frozen=True, slots=True)
class DocumentSource:
    """A file or a folder of documents.

    Attributes:
        path: of it; ``-``: standard input.
        form: in which its documents are written.
    """

    path: str
    form: Literal["brat", "codiesp", "jsonl", "json"]


def find_documents(path: str) -> list[DocumentSource]:
    """Return what a path holds: a file, an annotated folder, or the JSON files of another folder, in order.

    Raises:
        TableError: where it is none of these, or cannot be read.
    """
    place = Path(path)
    if path == "-":
        return [DocumentSource(path, "jsonl")]
    if place.is_dir():
        return _of_folder(place)
    open_bytes(place).close()
    if place.suffix.lower() == ".ann":
        return [DocumentSource(path, "brat")]
    if place.name.endswith("X.tsv"):
        return [DocumentSource(path, "codiesp")]
    form: Format = format_of(path, default="jsonl")
    if form not in ("jsonl", "json"):
        raise TableError(f"{path}: holds no documents; expected {EXPECTED} (`cielo link --input` reads tables)")
    return [DocumentSource(path, form)]


def _of_folder(folder: Path) -> list[DocumentSource]:
    with contextlib.suppress(TableError):
        corpus = detect_format(folder)
        if corpus in ("brat", "codiesp"):
            return [DocumentSource(str(folder), corpus)]
    found = sorted(file for file in folder.rglob("*") if file.name.lower().endswith(_JSON) and file.is_file())
    if not found:
        raise TableError(f"{folder}: holds no documents; expected {EXPECTED}")
    return [source for file in found for source in find_documents(str(file))]


def read_documents(
    source: DocumentSource, *, split: str | None = None, encoding: str | None = None
) -> Iterator[Document]:
    """Yield the documents of a source, one after the other; what cannot be read is one too, with its reason.

    Args:
        source: as `find_documents` gave it.
        split: of CodiEsp; None: the only one that there is.
        encoding: of JSON; None: detected.

    Raises:
        TableError: where it cannot be read as a whole.
    """
    if source.form == "brat":
        yield from brat_documents(Path(source.path))
    elif source.form == "codiesp":
        yield from _codiesp(Path(source.path), split)
    else:
        name = "standard input" if source.path == "-" else source.path
        with open_input(source.path) as stream:
            yield from json_documents(stream, TableFormat(format=source.form, encoding=encoding), name)


def _codiesp(path: Path, split: str | None) -> Iterator[Document]:
    folder, named = (path.parent, path.name.removesuffix("X.tsv")) if path.is_file() else (path, split)
    for found in codiesp_documents(folder, named):
        if isinstance(found, CodiespDocument):
            place = Said("{name}, article {article}", name=str(path), article=found.name)
            spans = tuple(_marked(*line) for line in found.lines) if found.reason is None else ()
            yield Document(found.name, place, found.text, spans, found.reason)
        else:
            yield Document(found.place, found.place, error=found.reason)


def _marked(number: int, kind: str, type: str, text: str, offsets: str) -> MarkedSpan:
    try:
        fragments = fragments_of(offsets)
    except MentionError as error:
        return MarkedSpan(name=str(number), line=number, error=error.said)
    return MarkedSpan(fragments, str(number), kind, type, text.strip() or None, number)
