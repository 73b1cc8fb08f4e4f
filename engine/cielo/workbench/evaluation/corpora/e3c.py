"""E3C (https://github.com/hltfbk/E3C-Corpus): UIMA XMI files whose clinical entities bear CUIs."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from operator import itemgetter
from pathlib import Path
from xml.etree import ElementTree

from cielo.errors import MentionError, TableError
from cielo.link.documents import mention_of
from cielo.link.sentences import sentence_at, sentences
from cielo.said import Said, SayingError
from cielo.workbench.evaluation.corpora.code_map import MappedCode
from cielo.workbench.evaluation.corpora.concepts import add_linked, files_under, needs_map
from cielo.workbench.evaluation.corpora.line_ends import readings
from cielo.workbench.evaluation.corpora.lines import Gathering, read_text
from cielo.workbench.evaluation.records import Corpus

SUFFIXES = (".xml", ".xmi")
EXPECTED = "UIMA XMI with cas:Sofa/@sofaString and custom:CLINENTITY (begin, end, entityID), a file or a folder of them"
CUILESS = "CUILESS"
_CUI = re.compile(r"\bC\d{7}\b")
_DEEPEST = 64


class _RefusedError(SayingError):
    """A file that is no corpus of this format; the message says why."""


@dataclass(slots=True)
class _Document:
    """What one file holds, collected while it is parsed (`ElementTree` calls the methods)."""

    texts: dict[str, str] = field(default_factory=dict)
    entities: list[dict[str, str]] = field(default_factory=list)
    borders: list[dict[str, str]] = field(default_factory=list)
    lengths: dict[str, str] = field(default_factory=dict)
    depth: int = 0

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        self.depth += 1
        if self.depth > _DEEPEST:
            raise _RefusedError("its elements are nested more than {deepest} deep", deepest=_DEEPEST)
        name = tag.rpartition("}")[2]
        plain = {key.rpartition("}")[2]: value for key, value in attributes.items()}
        if name == "Sofa" and "sofaString" in plain:
            self.texts[plain.get("id", "")] = plain["sofaString"]
        elif name == "CLINENTITY":
            self.entities.append(plain)
        elif name == "Sentence":
            self.borders.append(plain)
        elif name == "DocumentMetaData" and "end" in plain:
            self.lengths[plain.get("sofa", "")] = plain["end"]

    def end(self, tag: str) -> None:
        self.depth -= 1

    def close(self) -> None:
        if not self.texts:
            raise _RefusedError("it holds no text: no element Sofa with a sofaString")


class _Text:
    """A document's text, whose offsets are counted in UTF-16 units."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.sentences = sentences(text)
        self.own: list[tuple[int, int]] = []  # the sentences that the corpus itself marks
        self.changed = False  # since it was annotated
        self._characters: list[int | None] | None = None
        if any(character > "\uffff" for character in text):
            self._characters = []
            for at, character in enumerate(text):
                self._characters.extend((at, None) if character > "\uffff" else (at,))
            self._characters.append(len(text))

    def span(self, attributes: Mapping[str, str]) -> tuple[int, int]:
        """Return the characters that an annotation marks.

        Raises:
            MentionError: where its offsets are none, lie outside the text or split a character.
        """
        return self._character(attributes.get("begin", "")), self._character(attributes.get("end", ""))

    def _character(self, digits: str) -> int:
        if not (digits.isascii() and digits.isdigit() and len(digits) < 16):
            raise MentionError("the offsets are not as expected: whole numbers in begin and end")
        units = len(self.text) if self._characters is None else len(self._characters) - 1
        if int(digits) > units:
            raise MentionError(
                "the offset {offset} lies beyond the text, which has {units} UTF-16 units",
                offset=int(digits),
                units=units,
            )
        at = int(digits) if self._characters is None else self._characters[int(digits)]
        if at is None:
            raise MentionError("the offset {offset} splits a character of two UTF-16 units", offset=int(digits))
        return at

    def borders(self, at: int) -> list[tuple[int, int]]:
        """Return the sentences to look in: the corpus's own where one of them holds the character `at`."""
        return self.own if sentence_at(self.own, at) else self.sentences


def read_e3c(path: Path, code_map: Mapping[str, tuple[MappedCode, ...]] | None = None) -> Corpus:
    """Read E3C's clinical entities; their codes are those that `code_map` gives for their CUIs.

    The sentence is the corpus's own where it marks one there. A discontinuous entity is marked from its first
    character to its last. Entities without a CUI (``CUILESS``), or whose CUI no table maps, are counted and left out.

    Args:
        path: one file, or a folder that holds them.
        code_map: see `read_code_map`.

    Raises:
        TableError: where there is no map, or none of it can be read.
    """
    found = needs_map(code_map, path)
    gathering = Gathering()
    for file, name in files_under(path, SUFFIXES):
        try:
            document = _parsed(file)
        except (_RefusedError, TableError) as error:
            gathering.skip(
                file.name, error.said if isinstance(error, _RefusedError) else Said("the file cannot be read")
            )
            continue
        gathering.read += 1
        texts = {key: _with_sentences(_reread(gathering, document, key), key, document) for key in document.texts}
        for number, entity in enumerate(document.entities, start=1):
            _add(gathering, texts, entity, found, (name, f"{file.name}, entity {number}"))
    return gathering.corpus(path, EXPECTED)


def _parsed(file: Path) -> _Document:
    text = read_text(file)
    if text is None:
        raise _RefusedError("the file is not UTF-8; save it as UTF-8")
    if "<!DOCTYPE" in text:  # entities can grow without bound; the format has none
        raise _RefusedError("the file declares a document type, which XMI has not; remove the declaration")
    document = _Document()
    parser = ElementTree.XMLParser(target=document)  # noqa: S314  no document type, no nesting: nothing can grow
    try:
        parser.feed(text.removeprefix("\ufeff"))
        parser.close()
    except (ElementTree.ParseError, ValueError) as error:
        line = getattr(error, "position", (0, 0))[0]
        raise _RefusedError("the file is not well-formed XML (line {line})", line=line) from error
    return document


def _reread(gathering: Gathering, document: _Document, key: str) -> str:
    """Return a text with the line ends with which it is as long as it was when it was annotated.

    The annotations have no text of their own to be compared with, but the file says how long the text was.
    """
    text = document.texts[key]
    wanted = document.lengths.get(key)
    if wanted is None or wanted == str(_units(text)):
        return text
    for reading, change in readings(text):
        if wanted == str(_units(reading)):
            gathering.reread(change)
            return reading
    return text


def _units(text: str) -> int:
    return len(text) + sum(character > "\uffff" for character in text)


def _with_sentences(text: str, key: str, document: _Document) -> _Text:
    found = _Text(text)
    found.changed = document.lengths.get(key, str(_units(text))) != str(_units(text))
    for border in document.borders:
        if border.get("sofa", key) == key:
            try:
                start, end = found.span(border)
            except MentionError:
                continue  # the sentences that were found by themselves stand for it
            if start < end:
                found.own.append((start, end))
    found.own.sort(key=itemgetter(0))
    return found


def _add(
    gathering: Gathering,
    texts: Mapping[str, _Text],
    entity: Mapping[str, str],
    code_map: Mapping[str, tuple[MappedCode, ...]],
    names: tuple[str, str],
) -> None:
    document, place = names
    cuis = _cuis(entity)
    text = texts.get(entity.get("sofa", next(iter(texts))))
    if cuis is None:
        gathering.skip(place, Said("its entityID is neither a CUI nor {cuiless}", cuiless=CUILESS))
        return
    if text is None:
        gathering.skip(place, Said("its sofa names no text of the file"))
        return
    if text.changed:
        gathering.skip(
            place, Said("the text is not as long as when it was annotated; were line ends or the text changed?")
        )
        return
    try:
        start, end = text.span(entity)
        name = f"{document}:{entity.get('id') or f'{start}-{end}'}"
        located = mention_of(text.text, (start, end), text.borders(start), id=name)
    except MentionError as error:
        gathering.skip(place, error.said)
        return
    add_linked(gathering, located, cuis, code_map, document)


def _cuis(entity: Mapping[str, str]) -> Iterable[str] | None:
    """Return the entity's CUIs; None where what stands in their place is something else."""
    identifier = entity.get("entityID", "").strip()
    found = _CUI.findall(identifier)
    return found if found or identifier.upper() == CUILESS else None
