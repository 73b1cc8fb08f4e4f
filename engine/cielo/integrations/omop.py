"""OMOP's table ``note_nlp`` (CDM 5.4, https://ohdsi.github.io/CommonDataModel/cdm54.html): a row for each mention.

Concept ids come from the user's own table CONCEPT alone, as Athena exports it; where there is none they are 0, OMOP's
"no matching concept". The code itself, for which the table has no column, always stands in ``term_modifiers``.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cielo.errors import TableError
from cielo.knowledge.codes import code_key
from cielo.link.document_links import DocumentLink
from cielo.records import Link
from cielo.tables import ColumnFinder, RejectedRow, Role, TableFormat, TableRow, read_table
from cielo.text.normal import fold_name

_ROLES = tuple(
    Role(name, (fold_name(name),)) for name in ("concept_id", "vocabulary_id", "concept_code", "standard_concept")
)
_FORM = TableFormat(format="tsv", encoding="utf-8")  # whatever its name ends with
_finder = ColumnFinder(*_ROLES)
_LONGEST = 250  # characters of snippet and lexical_variant
_LONGEST_MODIFIERS = 2000


@dataclass(frozen=True, slots=True)
class OmopConcept:
    """A concept of the table CONCEPT: its id, and whether it is a standard one."""

    id: int
    standard: bool


Concepts = Mapping[tuple[str, str], OmopConcept]
"""Concepts by vocabulary and code, the code without its dot."""


@dataclass(frozen=True, slots=True)
class NoteNlp:
    """A row of ``note_nlp``; its fields are the table's columns."""

    note_nlp_id: int
    note_id: int
    section_concept_id: int
    snippet: str
    offset: str
    lexical_variant: str
    note_nlp_concept_id: int
    note_nlp_source_concept_id: int
    nlp_system: str
    nlp_date: str
    nlp_datetime: str
    term_exists: str | None
    term_temporal: str | None
    term_modifiers: str


def read_concepts(path: Path, vocabularies: Collection[str]) -> dict[tuple[str, str], OmopConcept]:
    """Read the concepts of some vocabularies from ``CONCEPT.csv``: tab-separated, UTF-8, without quotes.

    Raises:
        TableError: where it cannot be read, lacks a column, or has no concept of these vocabularies.
    """
    found: dict[tuple[str, str], OmopConcept] = {}
    with read_table(path, _FORM, _ROLES) as table:
        if table.header is None:
            names = ", ".join(role.name for role in _ROLES)
            raise TableError(f"{path}: the header lacks some of {names}; name Athena's CONCEPT.csv, tab-separated")
        for row in table:
            vocabulary, code, concept = _concept_of(path, row)
            if vocabulary in vocabularies:
                found.setdefault((vocabulary, code), concept)
    if not found:
        raise TableError(f"{path}: has no concept of {', '.join(sorted(vocabularies))}; name a vocabulary that it has")
    return found


def _concept_of(path: Path, row: TableRow | RejectedRow) -> tuple[str, str, OmopConcept]:
    if isinstance(row, RejectedRow):
        raise TableError(f"{path}, line {row.line}: {row.reason}")
    number, vocabulary, code, standard = _finder.cells(row.values)
    # A line that is cut short lacks its last columns.
    if not (isinstance(number, str) and number.isascii() and number.isdigit() and vocabulary and code):
        raise TableError(f"{path}, line {row.number}: got no concept_id, vocabulary_id and concept_code")
    return str(vocabulary), code_key(str(code)), OmopConcept(int(number), standard == "S")


def note_nlp(
    found: Iterable[DocumentLink],
    text: str,
    *,
    note_id: int,
    first_id: int = 1,
    concepts: Concepts | None = None,
    vocabularies: Mapping[str, str] | None = None,
    when: datetime | None = None,
) -> list[NoteNlp]:
    """Return a row for each mention of a note that has a code.

    A source concept is the code's own in CONCEPT; the concept is the same where it is a standard one, and otherwise 0:
    what it maps to stands in CONCEPT_RELATIONSHIP, which is not read here. ``term_exists`` and ``term_temporal`` are
    empty, since cielo judges neither negation nor time.

    Args:
        found: as `Linker.link_document` gives it.
        text: of the note.
        note_id: of the table NOTE.
        first_id: ``note_nlp_id`` of the first row; the others follow.
        concepts: see `read_concepts`; None: all ids are 0.
        vocabularies: of each kind, by which `concepts` are found: ``{"diagnosis": "ICD10CM"}``.
        when: default: now.
    """
    moment = when or datetime.now(UTC)
    coded = [(entry, entry.link) for entry in found if entry.link is not None and entry.link.code is not None]
    return [
        _row(number, note_id, entry, link, text, _concept(link, concepts or {}, vocabularies or {}), moment)
        for number, (entry, link) in enumerate(coded, start=first_id)
    ]


def _concept(link: Link, concepts: Concepts, vocabularies: Mapping[str, str]) -> OmopConcept:
    vocabulary = vocabularies.get(link.kind or "", "")
    return concepts.get((vocabulary, code_key(link.code or "")), OmopConcept(0, standard=False))


def _row(
    number: int, note_id: int, entry: DocumentLink, link: Link, text: str, concept: OmopConcept, moment: datetime
) -> NoteNlp:
    begin, end = entry.sentence or (0, len(text))
    modifiers = [f"source_value={link.code}", f"kind={link.kind}", f"method={link.method}"]
    modifiers += [f"also={code}" for code in link.codes[1:]]
    if link.confidence is not None:
        modifiers.append(f"confidence={link.confidence:.3f}")
    bundle = link.provenance.bundle
    return NoteNlp(
        note_nlp_id=number,
        note_id=note_id,
        section_concept_id=0,
        snippet=text[begin:end].strip()[:_LONGEST],
        offset=str(min((start for start, _ in entry.spans), default=0)),
        lexical_variant=(entry.text or "")[:_LONGEST],
        note_nlp_concept_id=concept.id if concept.standard else 0,
        note_nlp_source_concept_id=concept.id,
        nlp_system=f"cielo {bundle.name}@{bundle.sha256[:12]}",
        nlp_date=moment.date().isoformat(),
        nlp_datetime=moment.isoformat(sep=" ", timespec="seconds"),
        term_exists=None,
        term_temporal=None,
        term_modifiers=";".join(modifiers)[:_LONGEST_MODIFIERS],
    )
