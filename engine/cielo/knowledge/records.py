"""The records of a knowledge base: what goes into it, and what it answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from msgspec import Meta

from cielo.records import Concept


@dataclass(frozen=True, slots=True)
class DescriptionRow:
    """One row of a knowledge base: a code in canonical form, a description of it, and its kind."""

    code: str
    description: str
    kind: str
    preferred: bool = True


@dataclass(frozen=True, slots=True)
class TableSource:
    """A table that a knowledge base was built from.

    Attributes:
        name: of its file.
        kind: of its codes.
        sha256: of its file.
        rows: that were taken; `rejected`: that were not.
    """

    name: str
    kind: str
    sha256: Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]
    rows: Annotated[int, Meta(ge=0)]
    rejected: Annotated[int, Meta(ge=0)]


@dataclass(frozen=True, slots=True)
class KnowledgeSummary:
    """What a knowledge base holds: concepts of each kind, and descriptions."""

    concepts: dict[str, int]
    descriptions: int


@dataclass(frozen=True, slots=True)
class ConceptDetails:
    """A code with its place in the hierarchy.

    Attributes:
        code: in canonical form.
        title: its preferred description.
        descriptions: the others.
        ancestors: code and title of each, the nearest first.
        children: likewise, in the order of their codes.
    """

    code: str
    kind: str
    title: str
    descriptions: tuple[str, ...]
    chapter: str | None
    leaf: bool
    ancestors: tuple[tuple[str, str], ...] = ()
    children: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class SearchResult:
    """What a search found.

    Attributes:
        found: the first hits, each code once.
        total: all hits, those that are not in `found` included.
        suggestions: what may have been meant where a word is in no description: whole queries, the likeliest first.
    """

    found: tuple[Concept, ...]
    total: int
    suggestions: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class CodeSystem:
    """The address of a code system (FHIR's `CodeSystem.url`), and its version where it has one."""

    url: str
    version: str | None = None
