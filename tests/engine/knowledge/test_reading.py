from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
from cielo.knowledge.codes import canonical_code, code_key, comparison_key
from cielo.knowledge.reading import KnowledgeBase
from cielo.knowledge.records import ConceptDetails, DescriptionRow
from cielo.records import Concept
from hypothesis import given, settings
from hypothesis import strategies as st
from knowledge_fakes import ICD, codes, make, named


class TestFind:
    @pytest.mark.parametrize("code", ["T68", "t68", " t.68 ", "T68.XXX", "t68xxx", "T68.XXXA", "T68X", "T-68"])
    def test_case_dots_placeholders_and_a_seventh_character_do_not_matter(self, tmp_path: Path, code: str) -> None:
        base = make(tmp_path / "b", named("T67", "T68", "T69"), ICD)
        assert base.find(code) == Concept("T68", "T68", "diagnosis", "T68")

    @pytest.mark.parametrize("code", ["T68", "T68.XXX", "T68.X", "t68xxxd"])
    def test_a_table_may_have_the_placeholders(self, tmp_path: Path, code: str) -> None:
        found = make(tmp_path / "b", named("T68.XXX"), ICD).find(code)
        assert found is not None and found.code == "T68.XXX"

    @pytest.mark.parametrize(
        ("code", "found"),
        [("S42.90XA", "S42.90XA"), ("S42.90X", "S42.90"), ("S42.90XD", "S42.90"), ("S42.9", None), ("S43", None)],
    )
    def test_a_seventh_character_is_dropped_and_never_made_up(
        self, tmp_path: Path, code: str, found: str | None
    ) -> None:
        base = make(tmp_path / "b", named("S42.90XA", "S42.90", "S42"), ICD)
        concept = base.find(code)
        assert (concept and concept.code) == found

    def test_without_its_seventh_character_a_code_is_found_by_its_beginning_alone(self, tmp_path: Path) -> None:
        base = make(tmp_path / "b", named("T68.XXXA", "T68.XXXD", "T69"), ICD)
        assert base.find("T68.XXX") is None
        assert codes(base.beginning_with("t68.xxx")) == ["T68.XXXA", "T68.XXXD"]

    def test_of_two_kinds_the_one_that_is_written_so_is_found(self, tmp_path: Path) -> None:
        base = make(tmp_path / "b", [*named("B02", "B02.0"), *named("B020", kind="procedure")], ICD)
        kinds = {code: found.kind for code in ("B02.0", "B020", "b020") if (found := base.find(code))}
        assert kinds == {"B02.0": "diagnosis", "B020": "procedure", "b020": "procedure"}
        assert base.find("B020", "diagnosis") == Concept("B02.0", "B02.0", "diagnosis", "B02.0")
        assert base.find("B-020") == Concept("B02.0", "B02.0", "diagnosis", "B02.0")

    def test_a_code_of_any_kind_goes_before_a_form_of_one_of_another(self, tmp_path: Path) -> None:
        base = make(tmp_path / "b", [*named("F07.Z2"), *named("F07Z2ZX", kind="procedure")], ICD)
        assert base.find("F07Z2ZX") == Concept("F07Z2ZX", "F07Z2ZX", "procedure", "F07Z2ZX")

    def test_codes_that_only_signs_tell_apart_are_found_each(self, tmp_path: Path) -> None:
        base = make(tmp_path / "b", named("1.1", "11", "1-1"))
        assert [base.find(code) for code in ("1.1", "11", "1-1", "1 1")] == [
            Concept(code, code, "diagnosis", code) for code in ("1.1", "11", "1-1", "1.1")
        ]

    @pytest.mark.parametrize("code", ["", ".", "R99", "' OR 1=1 --", "%", "T6", "\x00", "\udcff", "病", "T68" * 5000])
    def test_what_is_no_code_is_not_found(self, base: KnowledgeBase, code: str) -> None:
        assert base.find(code) is None
        assert base.show(code) is None

    def test_a_code_shorter_than_three_characters_is_found(self, base: KnowledgeBase) -> None:
        assert base.find("na") == Concept("NA", "ninguno", "procedure", "ninguno")

    def test_of_codes_that_begin_alike_a_kind_leaves_the_others_out(self, tmp_path: Path) -> None:
        base = make(tmp_path / "b", [*named("B02.1", "B02", "B02.0"), *named("B020", kind="procedure")], ICD)
        assert codes(base.beginning_with("b02")) == ["B02", "B02.0", "B020", "B02.1"]
        assert codes(base.beginning_with("b02", kind="diagnosis")) == ["B02", "B02.0", "B02.1"]
        assert codes(base.beginning_with("B02", 2)) == ["B02", "B02.0"]
        assert base.beginning_with("") == base.beginning_with(".") == base.beginning_with("B03") == []


class TestShow:
    ROWS = (
        *named("R50", "R50.9", "R50.8", "R50.81", "R51"),
        DescriptionRow("R50", "pirexia", "diagnosis", preferred=False),
        DescriptionRow("R50.82", "otra cosa", "procedure"),
    )

    def test_a_code_has_its_place_in_the_hierarchy(self, tmp_path: Path) -> None:
        base = make(tmp_path / "b", self.ROWS, {"diagnosis": "icd-10-cm"})
        assert base.show("r508") == ConceptDetails(
            "R50.8", "diagnosis", "R50.8", (), "XVIII", leaf=False,
            ancestors=(("R50", "R50"),), children=(("R50.81", "R50.81"),),
        )  # fmt: skip
        top, leaf = base.show("R50"), base.show("R50.81")
        assert top is not None and leaf is not None
        assert top.descriptions == ("pirexia",)
        assert [code for code, _ in top.children] == ["R50.8", "R50.9"]
        assert leaf.leaf and [code for code, _ in leaf.ancestors] == ["R50.8", "R50"]

    def test_four_character_procedures_are_the_parents_of_whole_ones(self, tmp_path: Path) -> None:
        base = make(tmp_path / "b", named("0210", "0210093", "02100Z9", "0211", kind="procedure"), ICD)
        entry = base.show("0210")
        assert entry is not None
        assert (entry.chapter, entry.leaf) == ("0", False)
        assert [code for code, _ in entry.children] == ["0210093", "02100Z9"]

    def test_the_hierarchy_of_placeholders(self, tmp_path: Path) -> None:
        base = make(tmp_path / "b", named("T68", "T68.XXXA", "S42.90", "S42.90XA"), ICD)
        for code, parent in (("T68.XXXA", "T68"), ("S42.90XA", "S42.90")):
            entry = base.show(code)
            assert entry is not None and entry.ancestors == ((parent, parent),)

    @given(st.sets(st.text("AB1.", min_size=1, max_size=5).filter(code_key), min_size=1, max_size=15))
    @settings(max_examples=20, deadline=None)
    def test_parents_and_children_agree(self, tmp_path_factory: pytest.TempPathFactory, names: set[str]) -> None:
        rows = named(*sorted(names))
        base = make(tmp_path_factory.mktemp("base") / "b.sqlite", rows, {row.kind: "icd-10-cm" for row in rows})
        entries = {name: base.show(name) for name in names}
        for name, entry in entries.items():
            assert entry is not None and entry.code == name
            assert entry.leaf == (not entry.children)
            lengths = [len(code_key(code)) for code, _ in ((name, ""), *entry.ancestors)]
            assert lengths == sorted(set(lengths), reverse=True)
            assert all(code_key(name).startswith(code_key(code)) for code, _ in entry.ancestors)
            shorter = {code_key(other) for other in names if code_key(name).startswith(code_key(other))}
            assert {code_key(code) for code, _ in entry.ancestors} == shorter - {code_key(name)}
            for child, _ in entry.children:
                below = entries[child]
                assert below is not None and below.ancestors[0][0] == name
        base.close()


class TestPlaceholders:
    """One rule for a code that a table writes with placeholders at its end, and a question without them."""

    @pytest.fixture
    def base(self, tmp_path: Path) -> KnowledgeBase:
        rows = named("M45.X", "T08.X0", "I10.X", "W21.89XA", "R05", "S42.90X", "S42.90XA", "E11", "E11.X")
        return make(tmp_path / "b", rows, ICD)

    @pytest.mark.parametrize(
        ("asked", "code"),
        [
            ("I10", "I10.X"), ("I10X", "I10.X"), ("i10.x", "I10.X"), ("I10.XXX", "I10.X"), ("I10XXXA", "I10.X"),
            ("M45", "M45.X"), ("T08.X0", "T08.X0"), ("T08X0", "T08.X0"), ("T08", None), ("R05X", "R05"),
            ("R05.X", "R05"), ("W21.89XA", "W21.89XA"), ("W21.89", None), ("S42.90", "S42.90X"), ("S4290XD", "S42.90X"),
            ("E11", "E11"), ("E11X", "E11.X"), ("E11XX", "E11"),
        ],
    )  # fmt: skip
    def test_a_code_is_found_however_it_is_padded(self, base: KnowledgeBase, asked: str, code: str | None) -> None:
        found = base.find(asked)
        assert (found and found.code) == code

    def test_procedures_are_not_padded(self, tmp_path: Path) -> None:
        base = make(tmp_path / "b", named("0W9G3Z", "0FB03ZX", kind="procedure"), ICD)
        assert base.find("0W9G3ZX") is base.find("0FB03Z") is None

    def test_parents_and_children_go_by_the_same_rule(self, tmp_path: Path) -> None:
        names = ("M45.X", "M45.0", "I10.X", "I10", "T08", "T08.X0", "T68.XXXA", "T68.X", "T68", "X", "X.X")
        base = make(tmp_path / "b", named(*names), ICD)
        parents = {}
        for name in names:
            shown = base.show(name)
            assert shown is not None and shown.code == name
            parents[name] = shown.ancestors[0][0] if shown.ancestors else None
            assert shown.leaf == (not shown.children)
        assert parents == {
            "M45.X": None, "M45.0": "M45.X", "I10.X": "I10", "I10": None, "T08": None, "T08.X0": "T08",
            "T68.XXXA": "T68.X", "T68.X": "T68", "T68": None, "X": None, "X.X": "X",
        }  # fmt: skip

    @given(
        st.sets(st.tuples(st.sampled_from(["A00", "A01"]), st.text("X1", max_size=4)), min_size=1, max_size=15),
    )
    @settings(max_examples=40, deadline=None)
    def test_the_hierarchy_has_no_circle_and_children_agree(
        self, tmp_path_factory: pytest.TempPathFactory, parts: set[tuple[str, str]]
    ) -> None:
        names = sorted(canonical_code(category + rest, "icd-10-cm") for category, rest in parts)
        base = make(tmp_path_factory.mktemp("base") / "b.sqlite", named(*names), ICD)
        shown = {name: base.show(name) for name in names}
        for name, details in shown.items():
            assert details is not None and details.code == name
            keys = [comparison_key(code) for code in (name, *(code for code, _ in details.ancestors))]
            assert all(longer.startswith(shorter) for longer, shorter in pairwise(keys))
            assert len({code for code, _ in details.ancestors} | {name}) == len(details.ancestors) + 1
            for child, _ in details.children:
                below = shown[child]
                assert below is not None and below.ancestors[0][0] == name
            shorter = [
                other for other in names if len(other) < len(name) and code_key(name).startswith(code_key(other))
            ]
            assert not shorter or details.ancestors
        base.close()


class TestNumbers:
    def test_a_row_s_number_leads_back_to_it(self, base: KnowledgeBase) -> None:
        number = base.number_of("R50.9", "fiebre", "diagnosis")
        found = base.concept_by_number(number)
        assert found == Concept("R50.9", "fiebre", "diagnosis", "Fiebre, no especificada")
        assert base.concept_by_number(base.number_of_text("hipotermia")).code == "6A4Z"
        assert base.code_by_number(base.number_of_code("BW20ZZZ")) == "BW20ZZZ"

    def test_of_two_kinds_the_first_gives_a_code_its_number(self, tmp_path: Path) -> None:
        base = make(tmp_path / "b", [*named("A", kind="x"), *named("A", kind="y")])
        assert base.number_of_code("A") == 1
        assert base.number_of("A", "A", "y") != base.number_of("A", "A", "x")

    @pytest.mark.parametrize("text", ["", "Fiebre!", "\udcff", "a\x00b"])
    def test_what_is_no_row_has_no_number(self, base: KnowledgeBase, text: str) -> None:
        for ask in (
            lambda: base.number_of("R50", text, "diagnosis"),
            lambda: base.number_of_text(text),
            lambda: base.number_of_code(text),
            lambda: base.concept_by_number(0),
            lambda: base.code_by_number(10_000),
        ):
            with pytest.raises(KeyError):
                ask()
