"""CodiEsp (https://temu.bsc.es/codiesp): mentions of documents, with codes of diagnoses and of procedures."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from cielo.errors import MentionError, TableError
from cielo.link.documents import Span, mention_of, sentences
from cielo.workbench.evaluation.corpora.lines import NOT_UTF8, Gathering, read_lines, read_text
from cielo.workbench.evaluation.records import Annotated, Corpus

KINDS = {"DIAGNOSTICO": "diagnosis", "PROCEDIMIENTO": "procedure"}
EXPECTED = (
    "a folder with `{split}X.tsv` (article, DIAGNOSTICO or PROCEDIMIENTO, code, text, `start end[;start end…]`, "
    "with tabs between them and no header) and `text_files/<article>.txt`, or the same in a subfolder `{split}`"
)
_DOCUMENT_FILES = {"D": "diagnosis", "P": "procedure"}


@dataclass(frozen=True, slots=True)
class _Document:
    """A document's text and the borders of its sentences, or why it has none."""

    text: str = ""
    borders: tuple[tuple[int, int], ...] = ()
    reason: str | None = None


@dataclass(slots=True)
class _Documents:
    """The documents that were read, by the article's name."""

    folders: tuple[Path, ...]
    known: dict[str, _Document] = field(default_factory=dict)

    def get(self, article: str) -> _Document:
        """Return a document, reading it where it is not known."""
        if article not in self.known:
            self.known[article] = self._read(article)
        return self.known[article]

    def _read(self, article: str) -> _Document:
        name = f"{article}.txt"
        if not article or Path(name).name != name or "\0" in name:
            return _Document(reason="the article's name is no name of a file")
        try:
            file = next((file for folder in self.folders if (file := folder / name).is_file()), None)
            if file is None:
                return _Document(reason="the article has no text file")
            text = read_text(file)
        except (OSError, TableError):
            return _Document(reason="the article's text file cannot be read")
        if text is None:
            return _Document(reason="the article's text file is not UTF-8; save it as UTF-8")
        return _Document(text, tuple(sentences(text)))


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
    begins. The codes of ``{split}D.tsv`` and ``{split}P.tsv`` are those of the documents.

    Args:
        directory: holds ``{split}X.tsv``, or a subfolder ``{split}`` that does.
        split: its name; None: the only one that there is.

    Raises:
        TableError: where the split is not there, or none of it can be read.
    """
    file = _file_of(directory, split)
    split = file.name.removesuffix("X.tsv")
    gathering = Gathering()
    documents = _Documents((file.parent / "text_files", directory / "text_files"))
    for number, line in read_lines(file):
        if line is None:
            gathering.skip(f"{file.name}, line {number}", NOT_UTF8)
        elif line.strip():
            _add(gathering, documents, line, f"{file.name}, line {number}", number)
    codes = {
        key: found
        for letter, kind in _DOCUMENT_FILES.items()
        for key, found in _document_codes(file.with_name(f"{split}{letter}.tsv"), kind, gathering).items()
    }
    return gathering.corpus(file, EXPECTED, codes)


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


def _add(gathering: Gathering, documents: _Documents, line: str, place: str, number: int) -> None:
    cells = line.split("\t")
    if len(cells) != 5:
        gathering.skip(place, f"the line has {len(cells)} columns; expected 5, with tabs between them")
        return
    article, label, code, _, offsets = (cell.strip() for cell in cells)
    kind = KINDS.get(label)
    if kind is None or not code:
        wanted = "a code in the third" if kind else f"{' or '.join(KINDS)} in the second"
        gathering.skip(place, f"the line lacks what is expected: {wanted} column")
        return
    document = documents.get(article)
    if document.reason is not None:
        gathering.skip(place, document.reason)
        return
    try:
        located = mention_of(
            document.text, fragments_of(offsets), document.borders, kind=kind, id=f"{article}:{number}"
        )
        mention = replace(located.mention, text=cells[3])
    except MentionError as error:
        gathering.skip(place, str(error))
        return
    gathering.read += 1
    gathering.mentions.append(Annotated(mention, (code,), document=article, spans=located.spans))


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
            gathering.skip(f"{file.name}, line {number}", NOT_UTF8)
        elif len(cells) == 2 and all(cells):
            yield (cells[0], kind), cells[1]
        elif line.strip():
            gathering.skip(f"{file.name}, line {number}", "expected an article and a code, with a tab between them")
