"""CodiEsp (https://temu.bsc.es/codiesp): mentions of documents, with codes of diagnoses and of procedures."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from cielo.errors import MentionError, TableError
from cielo.link.documents import Span, mention_of
from cielo.said import Said
from cielo.workbench.evaluation.corpora.lines import NOT_UTF8, Gathering, line_of, read_lines
from cielo.workbench.evaluation.corpora.splits import split_of
from cielo.workbench.evaluation.corpora.texts import Documents
from cielo.workbench.evaluation.records import Annotated, Corpus, Skipped

KINDS = {"DIAGNOSTICO": "diagnosis", "PROCEDIMIENTO": "procedure"}
EXPECTED = (
    "a folder with `{split}X.tsv` (article, DIAGNOSTICO or PROCEDIMIENTO, code, text, `start end[;start end…]`, "
    "with tabs between them and no header) and `text_files/<article>.txt`, or the same in a subfolder `{split}`"
)
_DOCUMENT_FILES = {"D": "diagnosis", "P": "procedure"}


@dataclass(frozen=True, slots=True)
class _Line:
    """A line of the file of mentions, and where it is."""

    place: str
    number: int
    article: str
    kind: str
    code: str
    text: str
    offsets: str


def splits_of(directory: Path) -> dict[str, Path]:
    """Return the splits that a folder holds, and the file of mentions of each."""
    try:
        files = [*directory.glob("*X.tsv"), *directory.glob("*/*X.tsv")]
        found = {file.name.removesuffix("X.tsv"): file for file in sorted(files, reverse=True) if file.is_file()}
    except OSError:
        return {}
    return {
        split: file
        for split, file in sorted(found.items())
        if split and (file.parent == directory or file.parent.name == split)
    }


def read_codiesp(directory: Path, split: str | None = None) -> Corpus:
    """Read one split of CodiEsp.

    The mention's text and its code are the corpus's own, as written; its sentence is that in which its first fragment
    begins. Where its text is not what stands at its offsets, other line ends are tried (see `line_ends`); a mention
    that fits in no reading is passed over. The codes of ``{split}D.tsv`` and ``{split}P.tsv`` are those of the
    documents.

    Args:
        directory: holds ``{split}X.tsv``, or a subfolder ``{split}`` that does.
        split: its name; None: the only one that there is.

    Raises:
        TableError: where the split is not there, or none of it can be read.
    """
    file = _file_of(directory, split)
    split = file.name.removesuffix("X.tsv")
    gathering = Gathering()
    lines = list(_lines(file, gathering))
    folders = file.parent / "text_files", directory / "text_files"
    documents = Documents(folders, _annotations(lines), gathering)
    for line in lines:
        _add(gathering, documents, line)
    codes = {
        key: found
        for letter, kind in _DOCUMENT_FILES.items()
        for key, found in _document_codes(file.with_name(f"{split}{letter}.tsv"), kind, gathering).items()
    }
    return replace(gathering.corpus(file, EXPECTED, codes), split=split_of(file, split))


def _file_of(directory: Path, split: str | None) -> Path:
    found = splits_of(directory)
    if split is None and len(found) == 1:
        return next(iter(found.values()))
    if split in found:
        return found[split]
    there = f"there are {', '.join(found)}" if found else "there is none"
    if split is None and found:
        raise TableError(f"{directory}: {there}; name one split")
    raise TableError(f"{directory}: no split {split or 'of CodiEsp'}, {there}; expected {EXPECTED}")


def _lines(file: Path, gathering: Gathering) -> Iterator[_Line]:
    for number, line in read_lines(file):
        place = line_of(file.name, number)
        if line is None:
            gathering.skip(place, NOT_UTF8)
        elif line.strip():
            found = _line(line, place, number)
            if isinstance(found, _Line):
                yield found
            else:
                gathering.skip(place, found)


def _line(line: str, place: str, number: int) -> _Line | Said:
    """Return what a line says, or why it says nothing."""
    cells = line.split("\t")
    if len(cells) != 5:
        return Said("the line has {count} columns; expected 5, with tabs between them", count=len(cells))
    article, label, code, _, offsets = (cell.strip() for cell in cells)
    kind = KINDS.get(label)
    if kind is None:
        first, second = KINDS
        return Said(
            "the line lacks what is expected: {first} or {second} in the second column", first=first, second=second
        )
    if not code:
        return Said("the line lacks what is expected: a code in the third column")
    return _Line(place, number, article, kind, code, cells[3], offsets)


def _annotations(lines: Iterable[_Line]) -> dict[str, list[tuple[Span, str]]]:
    found: dict[str, list[tuple[Span, str]]] = {}
    for line in filter(lambda line: line.text.strip(), lines):
        with contextlib.suppress(MentionError):  # said where the mention is made
            found.setdefault(line.article, []).append((fragments_of(line.offsets), line.text))
    return found


def _add(gathering: Gathering, documents: Documents, line: _Line) -> None:
    document = documents.get(line.article)
    if document.reason is not None:
        gathering.skip(line.place, document.reason)
        return
    try:
        found = mention_of(
            document.text,
            fragments_of(line.offsets),
            document.borders,
            kind=line.kind,
            id=f"{line.article}:{line.number}",
            expected=line.text.strip() or None,
        )
        mention = replace(found.mention, text=line.text)
    except MentionError as error:
        gathering.skip(line.place, error.said)
        return
    gathering.read += 1
    gathering.mentions.append(Annotated(mention, (line.code,), document=line.article, spans=found.spans))


@dataclass(frozen=True, slots=True)
class CodiespDocument:
    """A document of a split, and the lines that annotate it.

    Attributes:
        text: as its annotations fit best; empty where there is a reason.
        lines: of the file of mentions: the line's number, its kind, the label of that, the text, the offsets.
        reason: why it cannot be read; None: it can.
    """

    name: str
    text: str
    lines: tuple[tuple[int, str, str, str, str], ...]
    reason: str | None = None


def codiesp_documents(directory: Path, split: str | None = None) -> Iterator[CodiespDocument | Skipped]:
    """Yield the lines of a split that cannot be read, and then its annotated documents, in the order of their mentions.

    Args:
        directory: see `read_codiesp`; so is `split`.
        split: its name.

    Raises:
        TableError: where the split is not there, or its file of mentions cannot be read.
    """
    file, gathering = _file_of(directory, split), Gathering()
    lines: dict[str, list[_Line]] = {}
    for line in _lines(file, gathering):
        lines.setdefault(line.article, []).append(line)
    yield from gathering.skipped
    folders = file.parent / "text_files", directory / "text_files"
    labels = {kind: label for label, kind in KINDS.items()}
    for article, own in lines.items():
        document = Documents(folders, _annotations(own), gathering).get(article)
        found = tuple((line.number, line.kind, labels[line.kind], line.text, line.offsets) for line in own)
        yield CodiespDocument(article, document.text, found, document.reason)


def fragments_of(offsets: str) -> Span:
    """Return the fragments that ``start end[;start end…]`` names.

    Raises:
        MentionError: where it names none.
    """
    try:
        pairs = [part.split() for part in offsets.split(";") if part.strip()]
        found = tuple((_offset(start), _offset(end)) for start, end in pairs)
    except ValueError:
        found = ()
    if not found:
        raise MentionError("the offsets are not as expected: `start end[;start end…]`")
    return found


def _offset(digits: str) -> int:
    if not (digits.isascii() and digits.isdigit() and len(digits) < 16):
        raise ValueError
    return int(digits)


def _document_codes(file: Path, kind: str, gathering: Gathering) -> dict[tuple[str, str], tuple[str, ...]]:
    found: dict[tuple[str, str], tuple[str, ...]] = {}
    if not file.is_file():
        return found
    for key, code in _document_rows(file, kind, gathering):
        found[key] = tuple(dict.fromkeys((*found.get(key, ()), code)))
    return found


def _document_rows(file: Path, kind: str, gathering: Gathering) -> Iterator[tuple[tuple[str, str], str]]:
    for number, line in read_lines(file):
        cells = [cell.strip() for cell in (line or "").split("\t")]
        if line is None:
            gathering.skip(line_of(file.name, number), NOT_UTF8)
        elif len(cells) == 2 and all(cells):
            yield (cells[0], kind), cells[1]
        elif line.strip():
            gathering.skip(line_of(file.name, number), Said("expected an article and a code, with a tab between them"))
