from __future__ import annotations

import re
import statistics
from collections import Counter
from pathlib import Path

import pytest
from cielo.knowledge.building import build_knowledge_base, read_terminology
from cielo.knowledge.code_tables import CodeTable
from cielo.knowledge.records import DescriptionRow
from cielo.text.normal import normal_form
from cielo_convert.recipe import Recipe
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks import terminology
from benchmarks.terminology import MINI, diagnoses, procedures, words, write_terminology

DIAGNOSIS = re.compile(r"[A-TV-Z][0-9][0-9A](\.[0-9]{1,3}|\.[0-9X]{3}[ADS])?")
PROCEDURE = re.compile(r"[0-9B-D][0-9A-HJ-NP-Z]{3}([0-9A-HJ-NP-Z]{3})?")
WORD = re.compile(r"\w+")
FULL = 180_000

Tables = dict[str, list[DescriptionRow]]


def read(written: list[tuple[Path, str]]) -> Tables:
    return {kind: read_terminology([CodeTable(path, kind)]).rows for path, kind in written}


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Tables:
    return read(write_terminology(tmp_path_factory.mktemp("full") / "made", FULL))


def test_full_size(full: Tables) -> None:
    assert {kind: len(rows) for kind, rows in full.items()} == {"diagnosis": 98_000, "procedure": 82_000}


@pytest.mark.parametrize("kind", ["diagnosis", "procedure"])
def test_codes_and_titles_are_distinct(full: Tables, kind: str) -> None:
    rows = full[kind]
    assert len({row.code for row in rows}) == len(rows)
    assert len({row.description for row in rows}) == len(rows)


def test_codes_have_the_shape_of_the_classification(full: Tables) -> None:
    assert [row.code for row in full["diagnosis"] if not DIAGNOSIS.fullmatch(row.code)] == []
    assert [row.code for row in full["procedure"] if not PROCEDURE.fullmatch(row.code)] == []
    lengths = Counter(len(row.code.replace(".", "")) for row in full["diagnosis"])
    assert set(lengths) == {3, 4, 5, 6, 7}
    assert any("XX" in row.code for row in full["diagnosis"])
    assert Counter(len(row.code) for row in full["procedure"]).keys() == {4, 7}


def test_a_code_s_parents_are_there_and_begin_its_title(full: Tables) -> None:
    titles = {row.code.replace(".", ""): row.description for row in full["diagnosis"]}
    for code, title in titles.items():
        parent = code[:-1].rstrip("X") if len(code) == 7 else code[:-1]
        assert len(code) == 3 or title.startswith(titles[parent]), code
    parents = {row.code: row.description for row in full["procedure"] if len(row.code) == 4}
    for row in full["procedure"]:
        assert row.description.lower().startswith(parents[row.code[:4]])


def test_parents_of_procedures_are_in_lower_case_and_the_others_are_not(full: Tables) -> None:
    for row in full["procedure"]:
        assert row.description[0].islower() == (len(row.code) == 4)
        assert row.description[1:].islower()


def test_encounters_belong_to_injuries_and_external_causes(full: Tables) -> None:
    with_encounter = [row for row in full["diagnosis"] if len(row.code) == 8]
    assert {row.code[0] for row in with_encounter} == set("STVWXY")
    endings = {"A": "contacto inicial", "D": "contacto sucesivo", "S": "secuela"}
    assert all(row.description.endswith(endings[row.code[-1]]) for row in with_encounter)


def test_lengths_and_words_are_those_of_real_tables(full: Tables) -> None:
    rows = [*full["diagnosis"], *full["procedure"]]
    assert 55 < statistics.mean(len(row.description) for row in rows) < 70
    assert max(len(row.description) for row in rows) < 200
    used = {word for row in rows for word in WORD.findall(row.description)}
    assert used <= set(words())
    assert 8_000 < len({word.lower() for word in used}) < 12_000
    assert len(used) > 0.75 * len(words())


def test_words_are_sorted_and_distinct_and_follow_the_seed() -> None:
    assert words(3) == sorted(set(words(3)))
    assert words(3) != words(4)


@settings(max_examples=25, deadline=None)
@given(rows=st.integers(2, 3_000), seed=st.integers(0, 3))
def test_any_size_has_as_many_rows_and_no_code_or_title_twice(rows: int, seed: int) -> None:
    share = round(rows * terminology.DIAGNOSES_OF_ALL)
    for titles, count in ((diagnoses(share, seed), share), (procedures(rows - share, seed), rows - share)):
        made = list(titles)
        assert len(made) == len(dict(made)) == len({title for _, title in made}) == count


def test_more_rows_widen_the_trees() -> None:
    made = dict(diagnoses(300_000))
    assert len(made) == len(set(made.values())) == 300_000
    assert all(DIAGNOSIS.fullmatch(code) for code in made)


def test_the_same_seed_writes_the_same_bytes_and_another_does_not(tmp_path: Path) -> None:
    one, two, other = (
        [path.read_bytes() for path, _ in write_terminology(tmp_path / name, 2_000, seed)]
        for name, seed in (("one", 1), ("two", 1), ("other", 2))
    )
    assert one == two
    assert one != other


@pytest.mark.parametrize("rows", [-1, 0, 1])
def test_too_few_rows_are_refused(tmp_path: Path, rows: int) -> None:
    with pytest.raises(ValueError, match=f"got {rows} rows, expected at least 2"):
        write_terminology(tmp_path, rows)


def test_more_rows_than_codes_are_refused() -> None:
    with pytest.raises(ValueError, match="the codes have room for"):
        next(diagnoses(3_000_000))


def test_the_mini_s_tables_come_first_and_nothing_repeats_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    alone = read(write_terminology(tmp_path / "alone", 9_000))
    # A title of the synthetic rows becomes one of the mini's, so that there is something to drop.
    rows = terminology._mini_rows()
    clash = alone["diagnosis"][-1]
    rows["diagnosis"].append(DescriptionRow("A00.0X", clash.description.upper(), "diagnosis"))
    monkeypatch.setattr(terminology, "_mini_rows", lambda: rows)
    tables = read(write_terminology(tmp_path / "mini", 9_000, mini=True))
    for kind, own in rows.items():
        assert tables[kind][: len(own)] == own
        codes, forms = {row.code for row in own}, {normal_form(row.description) for row in own}
        rest = tables[kind][len(own) :]
        assert rest
        assert not any(row.code in codes or normal_form(row.description) in forms for row in rest)
        assert len(own) + len(rest) <= len(alone[kind])


def test_the_mini_s_rows_are_all_there_whatever_the_size(tmp_path: Path) -> None:
    tables = read(write_terminology(tmp_path, 10, mini=True))
    expected = read_terminology([table.code_table() for table in Recipe.load(MINI).knowledge_base.tables]).rows
    assert [*tables["diagnosis"], *tables["procedure"]] == expected


def test_a_knowledge_base_is_built_from_it(tmp_path: Path) -> None:
    written = write_terminology(tmp_path, 3_000)
    tables = [CodeTable(path, kind) for path, kind in written]
    summary = build_knowledge_base(tmp_path / "knowledge_base.sqlite", tables, edition="de prueba").summary
    assert summary.concepts == {"diagnosis": 1_633, "procedure": 1_367}
    assert summary.descriptions == 3_000


def test_the_command_writes_the_tables(tmp_path: Path) -> None:
    terminology.main([str(tmp_path / "made"), "--rows", "500", "--seed", "4"])
    expected = [path.read_bytes() for path, _ in write_terminology(tmp_path / "called", 500, 4)]
    assert [(tmp_path / "made" / f"{name}.tsv").read_bytes() for name in ("diagnoses", "procedures")] == expected
