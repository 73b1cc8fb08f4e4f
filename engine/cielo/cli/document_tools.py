"""Linked documents in the forms of other tools, by the integrations: FHIR, OMOP, BigBio, and folders of BRAT."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Self, TypeAlias

import click

from cielo.cli.document_tally import Tally
from cielo.cli.tabular import style_of, thresholds_of
from cielo.decisions import Thresholds
from cielo.documents.records import Document, LinkedDocument
from cielo.errors import MentionError, OptionError, TableError
from cielo.files import replace_folder, temporary_folder
from cielo.integrations.omop import NoteNlp, note_nlp, read_concepts
from cielo.knowledge.code_systems import parse_code_systems
from cielo.records import Json
from cielo.tables.formats import OutputStyle
from cielo.tables.rows import is_decoded

if TYPE_CHECKING:
    from cielo.knowledge.reading import KnowledgeBase

RowsOfOne: TypeAlias = Callable[[LinkedDocument], Iterable[dict[str, Json]]]
"""What a document becomes; a `MentionError` says why it becomes nothing."""
NOTE_COLUMNS = tuple(field.name for field in fields(NoteNlp))
_LONGEST_NAME = 200  # bytes of a part of a file's name, with room for an ending
_LONGEST_NUMBER = 18  # digits: OMOP's ids are whole numbers of 64 bits
_OF_BRAT = (".ann", ".txt")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What the forms need besides the links; see the command's options."""

    terminology: str
    subject: str | None
    code_systems: tuple[str, ...]
    number_notes: bool
    concepts: Path | None
    vocabularies: tuple[tuple[str, str], ...]
    style: OutputStyle
    thresholds: Thresholds

    @classmethod
    def taken(cls, given: dict[str, object]) -> Self:
        """Take the settings out of the options of a command."""
        style, thresholds = style_of(given), thresholds_of(given)
        own = (name for name in cls.__slots__ if name not in ("style", "thresholds"))
        values: dict[str, Any] = {name: given.pop(name) for name in own}
        return cls(**values, style=style, thresholds=thresholds)


def bundles(settings: Settings, base: KnowledgeBase) -> RowsOfOne:
    """Return what makes FHIR's Bundle of a document: its links, and its id as the identifier.

    Raises:
        OptionError: where the address of a kind's code system is not known.
    """
    from cielo.integrations.fhir import bundle_of

    systems = {**base.code_systems, **parse_code_systems(settings.code_systems, base.kinds)}
    if missing := [kind for kind in base.kinds if kind not in systems]:
        raise OptionError(
            f"FHIR names a code by the address of its code system, and the knowledge base knows none of "
            f"{', '.join(missing)}; give them by --code-system KIND=URL"
        )

    def rows(one: LinkedDocument) -> Iterator[dict[str, Json]]:
        if one.document.error is not None:
            return
        subject = one.document.subject or (settings.subject or "").replace("{document}", one.document.name)
        if not subject.strip():
            raise MentionError("the document names no patient; give it a member `subject`, or name one by --subject")
        made: dict[str, Json] = {
            **bundle_of(one.found, systems, subject=subject),
            "identifier": {"value": one.document.name},
        }
        yield {name: value for name, value in made.items() if value != []}  # FHIR has no empty lists

    return rows


def notes(settings: Settings) -> RowsOfOne:
    """Return what makes OMOP's rows of ``note_nlp`` of a document, whose id is the note's.

    Raises:
        TableError: where the table CONCEPT cannot be read.
    """
    vocabularies = dict(settings.vocabularies)
    if (settings.concepts is None) != (not vocabularies):
        raise OptionError("--concepts names the table in which --vocabulary's codes are found: give both, or neither")
    concepts = read_concepts(settings.concepts, vocabularies.values()) if settings.concepts else None
    documents = written = 0

    def rows(one: LinkedDocument) -> Iterator[dict[str, Json]]:
        nonlocal documents, written
        documents += 1
        if one.document.error is not None:
            return
        number = documents if settings.number_notes else _note_id(one.document.name)
        found = note_nlp(
            one.found, one.document.text, note_id=number, first_id=written + 1, concepts=concepts,
            vocabularies=vocabularies,
        )  # fmt: skip
        written += len(found)
        yield from map(asdict, found)

    return rows


def _note_id(name: str) -> int:
    if not (name.isascii() and name.isdigit() and len(name) <= _LONGEST_NUMBER):
        raise MentionError("OMOP's note_id is a whole number, and the document's id is none; or give --number-notes")
    return int(name)


def bigbio(settings: Settings) -> RowsOfOne:
    """Return what makes BigBio's document of a document: its own with codes added, or one that is made for it."""
    from cielo.integrations.bigbio import normalized

    def rows(one: LinkedDocument) -> Iterator[dict[str, Json]]:
        if one.document.error is None:
            yield dict(normalized(one.document, one.found, database=settings.terminology).document)

    return rows


def require_folder(target: str) -> None:
    """Refuse an output that is no folder for BRAT's documents.

    Raises:
        UsageError: where it is standard output.
        TableError: where it is a folder that holds other files, which would be lost.
    """
    if target == "-":
        raise click.UsageError("the form brat is a folder: name one by --output")
    folder = Path(target)
    if folder.is_dir() and any(file.is_file() and file.suffix.lower() not in _OF_BRAT for file in folder.rglob("*")):
        raise TableError(f"{folder}: holds other files than .ann and .txt, and is not replaced; name another folder")


def write_brat(linked: Iterable[LinkedDocument], target: Path, settings: Settings, tally: Tally) -> None:
    """Write a folder of BRAT: each document's annotations with its codes, and its text, byte for byte where it has one.

    Raises:
        OptionError: where the terminology has no name that BRAT could read.
        TableError: where it cannot be written; nothing is there then but what was.
    """
    from cielo.integrations.brat import referenced, require_resource

    require_resource(settings.terminology)
    with _folder(target) as folder:
        for one in linked:
            if one.document.error is not None:
                continue
            try:
                place = _place(folder, one.document)
                annotations = referenced(one.document, one.found, resource=settings.terminology)
                _write(place, one.document, annotations)
            except MentionError as error:
                tally.refuse(one.document, error.said)


def _write(place: Path, document: Document, annotations: str) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    if document.file is None:
        Path(f"{place}.txt").write_bytes(document.text.encode("utf-8"))
    else:
        shutil.copyfile(document.file, f"{place}.txt")
    Path(f"{place}.ann").write_bytes(annotations.encode("utf-8", "surrogateescape"))


def _place(folder: Path, document: Document) -> Path:
    """Return where a document's files go, without their endings; never outside of the folder."""
    parts = PurePosixPath(document.name).parts
    fits = all(
        part not in ("/", "//", "..") and len(part.encode("utf-8", "replace")) <= _LONGEST_NAME for part in parts
    )
    if not parts or not fits or "\0" in document.name:
        raise MentionError("the document's id is no name of a file, which BRAT needs; give it another")
    if document.file is None and not is_decoded(document.text):
        raise MentionError("the document's text holds half of a surrogate pair; give valid Unicode")
    place = folder.joinpath(*parts)
    if Path(f"{place}.ann").exists():
        raise MentionError("another document has the same id, and its files would be the same; give it another")
    return place


@contextlib.contextmanager
def _folder(output: Path) -> Iterator[Path]:
    """Give a new folder; when the block ends well it becomes `output`, else it is removed."""
    try:
        with temporary_folder(output.absolute().parent) as temporary:
            yield temporary
            temporary.chmod(0o755)
            replace_folder(temporary, output.absolute())
    except OSError as error:
        raise TableError(f"{output}: cannot be written ({error.strerror}); name another folder") from error
