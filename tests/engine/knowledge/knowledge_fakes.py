"""What the tests of the knowledge base share: small ones, and the codes of an answer."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from cielo.knowledge.codes import System
from cielo.knowledge.reading import KnowledgeBase
from cielo.knowledge.records import DescriptionRow
from cielo.knowledge.subsets import Subset
from cielo.knowledge.writing import write_knowledge_base
from cielo.records import Concept
from hypothesis import strategies as st

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
# Few letters in many writings: normal forms that meet.
MEETING = st.text("aáAÁäbB.ñ ", min_size=1, max_size=4)
ICD: dict[str, System] = {"diagnosis": "icd-10-cm", "procedure": "icd-10-pcs"}


def make(
    path: Path, rows: Iterable[DescriptionRow], systems: dict[str, System] | None = None, subset: Subset | None = None
) -> KnowledgeBase:
    write_knowledge_base(path, rows, systems=systems, subset=subset)
    return KnowledgeBase(path)


def named(*names: str, kind: str = "diagnosis") -> list[DescriptionRow]:
    """Rows whose descriptions are their codes."""
    return [DescriptionRow(name, name, kind) for name in names]


def codes(found: Iterable[Concept]) -> list[str]:
    return [concept.code for concept in found]
