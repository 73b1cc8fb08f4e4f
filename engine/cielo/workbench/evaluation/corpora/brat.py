"""Corpora in BRAT's standoff format (https://brat.nlplab.org/standoff.html) whose annotations bear CUIs.

Two ways of writing CUIs are read: Mantra GSC has them as the annotation's type, CT-EBM-SP in the annotator's note
(``CUI; name; type | CUI; name; type``, in its second release ``name (CUI)``; ``"CUI", "name", …`` is read there too).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from cielo.errors import MentionError, TableError
from cielo.link.documents import DocumentMention, Span, mention_of
from cielo.link.sentences import sentences
from cielo.said import Said
from cielo.workbench.evaluation.corpora.code_map import CUI, MappedCode
from cielo.workbench.evaluation.corpora.codiesp import fragments_of
from cielo.workbench.evaluation.corpora.concepts import add_linked, files_under, needs_map
from cielo.workbench.evaluation.corpora.line_ends import fitting_text
from cielo.workbench.evaluation.corpora.lines import NOT_UTF8, Gathering, line_of, read_lines, read_text
from cielo.workbench.evaluation.records import Corpus

EXPECTED = "BRAT's `NAME.ann` beside `NAME.txt` with CUIs as types or in AnnotatorNotes, a file or a folder of them"
_NOTE = re.compile(r"#\d*\tAnnotatorNotes +(T\S*)\t(.*)", re.DOTALL)
_MARK = re.compile(r"(T\d+)\t(\S+) ([^\t]*)(?:\t(.*))?", re.DOTALL)
_NAMED_CUI = re.compile(r"\((C[0-9]{7})\)")
_QUOTED_CUI = re.compile(r'\s*"(C\d{7})"')
# What begins BRAT's lines: texts, relations, events, attributes, normalisations, equivalences, notes.
_BEGINNING = re.compile(r"(?:[TREAMN]\d+|\*|#\d*)\t")


@dataclass(frozen=True, slots=True)
class _Marked:
    """An annotation of a text, and where it is written."""

    place: str
    type: str
    fragments: Span
    text: str | None


@dataclass(frozen=True, slots=True)
class _Note:
    place: str
    target: str
    content: str


@dataclass(slots=True)
class _File:
    """The lines of an ``.ann`` file, read one after the other."""

    name: str
    gathering: Gathering
    marked: dict[str, _Marked] = field(default_factory=dict)
    notes: list[_Note] = field(default_factory=list)
    last_is_note: bool = False

    def add(self, number: int, line: str | None) -> None:
        """Take the next line."""
        place = line_of(self.name, number)
        note = _NOTE.fullmatch(line) if line is not None else None
        if line is None:
            self.gathering.skip(place, NOT_UTF8)
        elif note is not None:
            self.notes.append(_Note(place, note[1], note[2]))
        elif line.strip() and not _BEGINNING.match(line):
            self._continue(place)
            return
        elif line.startswith("T"):
            self._mark(place, line)
        self.last_is_note = note is not None

    def _mark(self, place: str, line: str) -> None:
        found = _MARK.fullmatch(line)
        try:
            fragments = fragments_of(found[3] if found else "")
        except MentionError as error:
            self.gathering.skip(place, error.said)
            return
        if found:
            self.marked[found[1]] = _Marked(place, found[2], fragments, found[4])

    def _continue(self, place: str) -> None:
        """Pass over a line that begins like none of BRAT's, and the note that it breaks."""
        if self.last_is_note:
            broken = self.notes.pop()
            self.gathering.skip(broken.place, Said("the note is broken across lines; its CUIs are not certain"))
            self.last_is_note = False
        else:
            self.gathering.skip(place, Said("the line begins like none of BRAT's; expected T, #, A, E, R, N, M or *"))

    def cuis(self) -> dict[str, list[str]]:
        """Return the CUIs of each annotation that has some."""
        found = {name: [marked.type] for name, marked in self.marked.items() if CUI.fullmatch(marked.type)}
        for note in self.notes:
            marked = self.marked.get(note.target)
            noted = _noted(note.content)
            if marked is None:
                self.gathering.skip(note.place, Said("the note belongs to no annotation that could be read"))
            elif not noted and note.target not in found:
                self.gathering.skip(
                    note.place, Said("the note names no CUI; expected `CUI; name; type | CUI; …` or `name (CUI)`")
                )
            elif not CUI.fullmatch(marked.type):
                found.setdefault(note.target, []).extend(noted)
        return found


def _noted(content: str) -> list[str]:
    if quoted := _QUOTED_CUI.match(content):
        return [quoted[1]]
    firsts = [entry.partition(";")[0].strip() for entry in content.split("|")]
    if CUI.fullmatch(firsts[0]):
        return [first for first in firsts if CUI.fullmatch(first)]
    return _NAMED_CUI.findall(content)


def read_brat(path: Path, code_map: Mapping[str, tuple[MappedCode, ...]] | None = None) -> Corpus:
    """Read annotations that bear CUIs; their codes are those that `code_map` gives for them.

    Annotations without a CUI (cues of negation, ages, doses) are no mentions. A mention's text is the corpus's own;
    where it is not what stands at its offsets, other line ends are tried (see `line_ends`), and a mention that fits in
    no reading is passed over. Where a mention bears several CUIs, the codes of all of them are right. Mentions whose
    CUIs no table maps are counted and left out.

    Args:
        path: one ``.ann`` file, or a folder that holds them.
        code_map: see `read_code_map`.

    Raises:
        TableError: where there is no map, or none of it can be read.
    """
    found = needs_map(code_map, path)
    gathering = Gathering()
    for file, name in files_under(path, (".ann",)):
        try:
            text = read_text(file.with_suffix(".txt"))
            if text is None:
                gathering.skip(file.name, Said("its text is not UTF-8; save it as UTF-8"))
                continue
            annotations, before = _File(file.name, gathering), len(gathering.skipped)
            for number, line in read_lines(file):
                annotations.add(number, line)
        except TableError:
            gathering.skip(file.name, Said("the file, or its text beside it (`.txt`), cannot be read"))
            continue
        gathering.read += bool(annotations.marked) or len(gathering.skipped) == before
        _add(gathering, annotations, text, found, name)
    return gathering.corpus(path, EXPECTED)


def _add(
    gathering: Gathering,
    annotations: _File,
    text: str,
    code_map: Mapping[str, tuple[MappedCode, ...]],
    document: str,
) -> None:
    cuis = annotations.cuis()
    wanted = [(marked.fragments, marked.text) for name, marked in annotations.marked.items() if name in cuis]
    text, change = fitting_text(text, [(fragments, own) for fragments, own in wanted if own and own.strip()])
    gathering.reread(change)
    borders = sentences(text)
    for name, marked in annotations.marked.items():
        if name not in cuis:
            continue
        try:
            found = _mention(text, marked, borders, f"{document}:{name}")
        except MentionError as error:
            gathering.skip(marked.place, error.said)
            continue
        add_linked(gathering, found, cuis[name], code_map, document)


def _mention(text: str, marked: _Marked, borders: list[tuple[int, int]], name: str) -> DocumentMention:
    found = mention_of(text, marked.fragments, borders, id=name, expected=(marked.text or "").strip() or None)
    return found if marked.text is None else replace(found, mention=replace(found.mention, text=marked.text))
