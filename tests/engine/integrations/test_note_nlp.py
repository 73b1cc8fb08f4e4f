from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from cielo import Linker, TableError
from cielo.integrations.omop import note_nlp, read_concepts
from hypothesis import given
from hypothesis import strategies as st

TEXT = "La TC abdominal es normal. Refiere tos seca."
HEADER = "concept_id\tconcept_name\tdomain_id\tvocabulary_id\tconcept_class_id\tstandard_concept\tconcept_code\n"
# Made up, as is every id here.
CONCEPTS = HEADER + '901\tCough "dry\tCondition\tMINE\tcode\t\tR05\n902\tCT\tProcedure\tMINE-P\tcode\tS\tBW20\n'
VOCABULARIES = {"diagnosis": "MINE", "procedure": "MINE-P"}


def test_rows_have_the_users_concepts_and_always_the_code(linker: Linker, tmp_path: Path) -> None:
    path = tmp_path / "CONCEPT.csv"
    path.write_text(CONCEPTS, encoding="utf-8")
    found = linker.link_document(TEXT, [(3, 15), (35, 38), (90, 99)])
    when = datetime(2026, 1, 2, 3, 4, tzinfo=UTC)
    concepts = read_concepts(path, {"MINE", "MINE-P"})
    rows = note_nlp(found, TEXT, note_id=5, first_id=40, concepts=concepts, vocabularies=VOCABULARIES, when=when)
    ids = [(row.note_nlp_id, row.note_nlp_concept_id, row.note_nlp_source_concept_id, row.offset) for row in rows]
    assert ids == [(40, 902, 902, "3"), (41, 0, 901, "35")]
    assert [row.lexical_variant for row in rows] == ["TC abdominal", "tos"]
    assert rows[1].snippet == "Refiere tos seca."
    assert rows[1].term_modifiers.startswith("source_value=R05;kind=diagnosis;method=exact")
    assert rows[0].nlp_date == "2026-01-02" and rows[0].term_exists is None


def test_no_id_is_invented(linker: Linker) -> None:
    (row,) = note_nlp(linker.link_document(TEXT, [(35, 38)]), TEXT, note_id=5)
    assert (row.note_nlp_concept_id, row.note_nlp_source_concept_id) == (0, 0)
    assert "source_value=R05" in row.term_modifiers


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("concept_id,concept_code\n1,R05\n", "lacks"),
        (HEADER + "x\ta\tb\tMINE\tc\tS\tR05\n", "line 2"),
        (HEADER + "901\ta\n", "line 2"),
        (HEADER + "901\ta\tb\tMINE\tc\tS\tR05\tx\n", "line 2"),
        (HEADER, "no concept of MINE"),
        ("", "lacks"),
    ],
)
def test_a_table_that_is_none_is_refused(tmp_path: Path, content: str, said: str) -> None:
    path = tmp_path / "CONCEPT.csv"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(TableError, match=said):
        read_concepts(path, {"MINE"})


def test_a_table_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    (path := tmp_path / "CONCEPT.csv").write_bytes(HEADER.encode() + b"9\xff")
    for missing in (path, tmp_path / "none.csv", tmp_path):
        with pytest.raises(TableError):
            read_concepts(missing, {"MINE"})


@given(st.binary(max_size=80))
def test_no_bytes_give_a_traceback(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "CONCEPT.csv"
    path.write_bytes(HEADER.encode() + content)
    with pytest.raises(TableError):
        read_concepts(path, {"MINE-NOWHERE"})
