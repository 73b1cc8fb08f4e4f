"""BRAT (https://brat.nlplab.org/standoff.html) as documents: ``NAME.ann`` beside ``NAME.txt``, of any types."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from cielo.documents.records import Document, MarkedSpan
from cielo.errors import MentionError, TableError
from cielo.said import Said
from cielo.workbench.evaluation.corpora.codiesp import fragments_of
from cielo.workbench.evaluation.corpora.concepts import files_under
from cielo.workbench.evaluation.corpora.line_ends import fitting_text
from cielo.workbench.evaluation.corpora.lines import NOT_UTF8, read_text, unreadable

_MARK = re.compile(r"(T\d+)\t(\S+) ([^\t]*)(?:\t(.*))?", re.DOTALL)
_ESCAPED = re.compile("[\udc80-\udcff]")
_UNREADABLE = Said("the file, or its text beside it (`.txt`), cannot be read")
_UNMARKED = Said("the text has no annotations beside it (`.ann`); an empty file says that nothing is marked")
_TEXT_NOT_UTF8 = Said("the text (`.txt`) is not UTF-8; save it as UTF-8")
_NO_MARK = Said("the line is no text-bound annotation of BRAT")


def marks_of(annotations: str) -> Iterator[MarkedSpan]:
    """Yield the text-bound annotations of an ``.ann`` file, and what is wrong with those that cannot be read.

    Args:
        annotations: its content; bytes that are no UTF-8 as ``surrogateescape`` has them.
    """
    names: set[str] = set()
    for number, line in enumerate(annotations.removeprefix("\ufeff").split("\n"), start=1):
        if _ESCAPED.search(line):
            yield MarkedSpan(line=number, error=NOT_UTF8)
        elif line.startswith("T"):
            mark = _mark(number, line.rstrip("\r"))
            if mark.name in names and mark.error is None:
                mark = MarkedSpan(
                    line=number, error=Said("{name} stands there twice; the first one counts", name=mark.name)
                )
            names.add(mark.name or "")
            yield mark


def _mark(number: int, line: str) -> MarkedSpan:
    found = _MARK.fullmatch(line)
    try:
        fragments = fragments_of(found[3] if found else "")
    except MentionError as error:
        return MarkedSpan(line=number, error=error.said)
    if found is None:
        return MarkedSpan(line=number, error=_NO_MARK)
    return MarkedSpan(fragments, found[1], type=found[2], text=(found[4] or "").strip() or None, line=number)


def brat_documents(path: Path) -> Iterator[Document]:
    """Yield a document for each ``.ann`` file, and for each text that has none, in the order of their names.

    A text is read as its annotations count it (see `line_ends`): with other line ends, or without its byte order mark,
    where they fit so.

    Args:
        path: one ``.ann`` file, or a folder that holds them.

    Raises:
        TableError: where `path` is neither.
    """
    for file, name in _files(path):
        place = str(file)
        try:
            if file.suffix.lower() != ".ann":
                yield Document(name, place, error=_UNMARKED)
                continue
            annotations, beside = _read(file), file.with_suffix(".txt")
            text = read_text(beside)
        except TableError:
            yield Document(name, place, error=_UNREADABLE)
            continue
        if text is None:
            yield Document(name, place, error=_TEXT_NOT_UTF8)
            continue
        spans = tuple(marks_of(annotations))
        text, _ = fitting_text(text, _known(spans))
        yield Document(name, place, text, spans, annotations=annotations, file=beside)


def _files(path: Path) -> Iterator[tuple[Path, str]]:
    files = list(files_under(path, (".ann", ".txt")))
    marked = {name for file, name in files if file.suffix.lower() == ".ann"}
    return ((file, name) for file, name in files if file.suffix.lower() == ".ann" or name not in marked)


def _read(file: Path) -> str:
    try:
        return file.read_bytes().decode("utf-8", "surrogateescape")
    except (OSError, ValueError) as error:
        raise unreadable(file, error) from error


def _known(spans: Iterable[MarkedSpan]) -> list[tuple[tuple[tuple[int, int], ...], str]]:
    return [(span.fragments, span.text) for span in spans if span.error is None and span.text is not None]
