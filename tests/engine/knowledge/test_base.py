from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from cielo.errors import BundleError, TableError
from cielo.knowledge.base import Entry, KnowledgeBase, Row, Source, Summary
from cielo.knowledge.codes import System, chapter, code_key
from cielo.knowledge.subsets import Subset
from cielo.records import Concept
from cielo.text.normal import normal_form, published_form
from hypothesis import given, settings
from hypothesis import strategies as st

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
# Few letters in many writings: normal forms that meet.
MEETING = st.text("aáAÁäbB.ñ ", min_size=1, max_size=4)
ICD: dict[str, System] = {"diagnosis": "icd-10-cm", "procedure": "icd-10-pcs"}


def make(
    path: Path, rows: Iterable[Row], systems: dict[str, System] | None = None, subset: Subset | None = None
) -> KnowledgeBase:
    KnowledgeBase.build(path, rows, systems=systems, subset=subset)
    return KnowledgeBase(path)


def named(*names: str, kind: str = "diagnosis") -> list[Row]:
    """Rows whose descriptions are their codes."""
    return [Row(name, name, kind) for name in names]


@pytest.fixture
def base(tmp_path: Path) -> KnowledgeBase:
    return make(
        tmp_path / "base.sqlite",
        [
            Row("T68", "Hipotermia", "diagnosis"),
            Row("R50.9", "Fiebre, no especificada", "diagnosis"),
            Row("R50.9", "fiebre", "diagnosis", preferred=False),
            Row("R50", "Fiebre", "diagnosis"),
            Row("6A4Z", "hipotermia", "procedure"),
            Row("BW20", "tomografía computarizada", "procedure"),
            Row("BW20ZZZ", "Tomografía computarizada", "procedure"),
            Row("NA", "ninguno", "procedure"),
        ],
    )


def codes(found: list[Concept]) -> list[str]:
    return [concept.code for concept in found]


class TestMatch:
    def test_a_code_has_its_description_and_kind(self, base: KnowledgeBase) -> None:
        assert base.match("ninguno") == [Concept("NA", "ninguno", "procedure", "ninguno", "literal")]

    def test_the_exact_text_goes_before_the_normal_form(self, base: KnowledgeBase) -> None:
        assert codes(base.match("Hipotermia")) == ["T68", "6A4Z"]
        assert codes(base.match("hipotermia")) == ["6A4Z", "T68"]
        assert codes(base.match("tomografía computarizada")) == ["BW20", "BW20ZZZ"]
        assert codes(base.match("Tomografía computarizada")) == ["BW20ZZZ", "BW20"]

    def test_by_normal_form_alone_the_first_row_wins(self, base: KnowledgeBase) -> None:
        assert codes(base.match("HIPOTERMIA.")) == ["T68", "6A4Z"]
        assert codes(base.match("TOMOGRAFIA (computarizada)")) == ["BW20", "BW20ZZZ"]

    def test_a_preferred_description_goes_before_a_synonym(self, base: KnowledgeBase) -> None:
        assert codes(base.match("FIEBRE")) == ["R50", "R50.9"]

    def test_an_exact_synonym_goes_before_a_preferred_normal_form(self, base: KnowledgeBase) -> None:
        assert codes(base.match("fiebre")) == ["R50.9", "R50"]

    def test_the_first_row_of_a_text_wins_whatever_is_preferred(self, tmp_path: Path) -> None:
        rows = [Row("B", "uno", "x", preferred=False), Row("A", "uno", "x"), Row("C", "uno", "y")]
        base = make(tmp_path / "b", rows)
        assert codes(base.first_row("uno")) == codes(base.first_row("uno", "x")) == ["B"]
        assert codes(base.match("uno")) == ["A", "C", "B"]
        assert codes(base.first_row("uno", "y")) == ["C"]
        assert base.first_row("Uno") == base.first_row("uno", "z") == []

    def test_a_kind_leaves_the_others_out(self, base: KnowledgeBase) -> None:
        assert codes(base.match("Hipotermia", "procedure")) == ["6A4Z"]
        assert codes(base.match("Hipotermia", "diagnosis")) == ["T68"]
        assert base.match("ninguno", "diagnosis") == []
        assert base.match("ninguno", "oncology") == []

    @pytest.mark.parametrize("text", ["", " ", "...", "no está", "hipo", "%", "_", "' OR 1=1 --", "a\x00b", "病"])
    def test_what_is_no_description_matches_nothing(self, base: KnowledgeBase, text: str) -> None:
        assert base.match(text) == []

    def test_descriptions_without_letters_match_only_to_the_letter(self, tmp_path: Path) -> None:
        base = make(tmp_path / "b", [Row("A", "***", "x"), Row("B", "---", "x")])
        assert codes(base.match("---")) == ["B"]
        assert base.match("...") == []

    def test_an_equal_code_of_two_kinds_is_two_concepts(self, tmp_path: Path) -> None:
        base = make(tmp_path / "b", [Row("A", "uno", "x"), Row("A", "Uno", "y")])
        assert base.match("uno") == [Concept("A", "uno", "x", "uno"), Concept("A", "Uno", "y", "Uno", "normal")]

    @given(st.lists(st.tuples(st.sampled_from("ABCDE"), TEXTS.filter(bool)), min_size=1, max_size=12))
    @settings(max_examples=40, deadline=None)
    def test_it_returns_what_a_plain_search_of_the_rows_returns(
        self, tmp_path_factory: pytest.TempPathFactory, pairs: list[tuple[str, str]]
    ) -> None:
        base = make(tmp_path_factory.mktemp("base") / "b.sqlite", [Row(code, text, "x") for code, text in pairs])
        for _, wanted in pairs:
            normal = normal_form(wanted)
            exact = [code for code, text in pairs if text == wanted]
            alike = [code for code, text in pairs if normal and normal_form(text) == normal]
            assert codes(base.match(wanted)) == list(dict.fromkeys(exact + alike))
        base.close()

    def test_many_threads_get_the_same_answers(self, base: KnowledgeBase) -> None:
        wrong: list[object] = []

        def ask() -> None:
            for _ in range(50):
                if codes(base.match("hipotermia")) != ["6A4Z", "T68"] or len(base.descriptions("procedure")) != 4:
                    wrong.append("answer")

        threads = [threading.Thread(target=ask) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not wrong


class TestPreferred:
    def test_a_match_says_which_description_and_which_title(self, base: KnowledgeBase) -> None:
        (found, _) = base.match("fiebre")
        assert found == Concept("R50.9", "fiebre", "diagnosis", "Fiebre, no especificada", "literal")

    def test_the_first_preferred_description_is_the_title(self, tmp_path: Path) -> None:
        rows = [Row("A", "índice", "x", preferred=False), Row("A", "título", "x"), Row("A", "otro", "x")]
        rows.append(Row("B", "solo índice", "x", preferred=False))
        base = make(tmp_path / "b", rows)
        assert base.match("indice") == [Concept("A", "índice", "x", "título", "normal")]
        assert base.match("solo índice") == [Concept("B", "solo índice", "x", "solo índice")]
        entry = base.show("A")
        assert entry is not None
        assert (entry.title, entry.descriptions) == ("título", ("otro", "índice"))

    def test_a_description_is_preferred_where_any_row_of_it_is(self, tmp_path: Path) -> None:
        rows = [Row("A", "fiebre", "x", preferred=False), Row("B", "Fiebre", "x"), Row("A", "fiebre", "x")]
        base = make(tmp_path / "b", rows)
        assert codes(base.match("FIEBRE")) == ["A", "B"]
        assert codes(base.match_as_published("FIEBRE")) == ["A"]
        assert base.descriptions("x") == ["fiebre", "Fiebre"]


class TestMatchAsPublished:
    def test_the_first_row_wins_whatever_its_casing(self, base: KnowledgeBase) -> None:
        assert base.match_as_published("hipotermia") == [
            Concept("T68", "Hipotermia", "diagnosis", "Hipotermia", "normal")
        ]
        assert codes(base.match_as_published("Tomografía computarizada")) == ["BW20"]
        assert base.match_as_published("Hipotermia")[0].match == "literal"

    def test_a_synonym_that_stands_first_wins(self, base: KnowledgeBase) -> None:
        assert codes(base.match_as_published("Fiebre")) == ["R50.9"]

    def test_the_kind_chooses_the_table(self, base: KnowledgeBase) -> None:
        assert codes(base.match_as_published("hipotermia", "procedure")) == ["6A4Z"]
        assert base.match_as_published("hipotermia", "oncology") == []

    def test_letters_outside_the_paper_s_table_keep_their_signs(self, tmp_path: Path) -> None:
        base = make(tmp_path / "b", [Row("A", "Sjögren", "x"), Row("B", "Sjogren", "x"), Row("C", "«dolor»", "x")])
        assert codes(base.match_as_published("sjogren")) == ["B"]
        assert codes(base.match_as_published("SJÖGREN")) == ["A"]
        assert base.match_as_published("dolor") == []
        assert codes(base.match("dolor")) == ["C"]

    @pytest.mark.parametrize("text", ["", " ", "(...)", "' OR 1=1 --", "a\x00b", "\udcff"])
    def test_what_is_no_description_matches_nothing(self, base: KnowledgeBase, text: str) -> None:
        assert base.match_as_published(text) == []

    @given(
        st.lists(st.tuples(st.sampled_from("ABC"), MEETING, st.sampled_from("xy"), st.booleans()), min_size=1),
        st.lists(MEETING | TEXTS),
    )
    @settings(max_examples=20, deadline=None)
    def test_it_is_a_scan_of_the_rows_in_their_order(
        self, tmp_path_factory: pytest.TempPathFactory, given_rows: list[tuple[str, str, str, bool]], others: list[str]
    ) -> None:
        rows = [Row(*row) for row in given_rows]
        base = make(tmp_path_factory.mktemp("base") / "b.sqlite", rows)
        for text in [*(row.description for row in rows), *others]:
            for kind in (None, "x", "y"):
                form = published_form(text)
                wanted = [
                    (row.code, row.description, row.kind)
                    for row in rows
                    if form and published_form(row.description) == form and kind in (None, row.kind)
                ]
                found = [(one.code, one.description, one.kind) for one in base.match_as_published(text, kind)]
                assert found == wanted[:1]
        base.close()


class TestOrder:
    @given(
        st.lists(st.tuples(st.sampled_from("ABCD"), MEETING, st.sampled_from("xy"), st.booleans()), min_size=1),
        st.sampled_from([None, "x", "y"]),
    )
    @settings(max_examples=20, deadline=None)
    def test_all_codes_of_a_match_come_in_the_documented_order(
        self, tmp_path_factory: pytest.TempPathFactory, given_rows: list[tuple[str, str, str, bool]], kind: str | None
    ) -> None:
        rows = [Row(*row) for row in given_rows]
        base = make(tmp_path_factory.mktemp("base") / "b.sqlite", rows)
        preferred = {(row.code, row.description, row.kind) for row in rows if row.preferred}
        for text in {row.description for row in rows}:
            form, wanted = normal_form(text), []
            for exact in (True, False):
                for first in (True, False):
                    wanted += [
                        (row.code, row.kind)
                        for row in rows
                        if (row.description == text if exact else form and normal_form(row.description) == form)
                        and ((row.code, row.description, row.kind) in preferred) is first
                        and kind in (None, row.kind)
                    ]
            assert [(one.code, one.kind) for one in base.match(text, kind)] == list(dict.fromkeys(wanted))
        base.close()


class TestFile:
    def test_building_counts_concepts_and_descriptions(self, tmp_path: Path) -> None:
        rows = [Row("A", "uno", "x"), Row("A", "one", "x"), Row("A", "uno", "x"), Row("A", "uno", "y")]
        assert KnowledgeBase.build(tmp_path / "b", rows) == Summary({"x": 1, "y": 1}, 3)

    def test_kinds_and_descriptions_keep_the_order_of_the_tables(self, base: KnowledgeBase, tmp_path: Path) -> None:
        assert base.kinds == ("diagnosis", "procedure")
        assert base.descriptions("diagnosis") == ["Hipotermia", "Fiebre, no especificada", "fiebre", "Fiebre"]
        assert base.descriptions("oncology") == []
        other = make(tmp_path / "b", [Row("A", "b", "z"), Row("B", "a", "z"), Row("C", "b", "z"), Row("D", "b", "a")])
        assert other.kinds == ("z", "a")
        assert other.descriptions("z") == ["b", "a"]

    def test_a_code_s_parent_is_the_longest_shorter_code_of_its_kind(self, tmp_path: Path) -> None:
        names = ["R50", "R50.9", "R50.91", "R51", "0210", "02100Z9", "R"]
        path = tmp_path / "b"
        rows = [*(Row(name, name, "x") for name in names), Row("R50.911", "otra", "y"), Row("R50.91", "otra", "z")]
        rows.append(Row("R50.9112", "otra", "z"))
        KnowledgeBase.build(path, rows, systems={"x": "icd-10-cm", "y": "icd-10-cm"})
        parents = dict(sqlite3.connect(path).execute("SELECT code, parent FROM concept ORDER BY id DESC"))
        assert parents == {
            "R": None, "R50": "R", "R50.9": "R50", "R50.91": "R50.9", "R51": "R", "0210": None, "02100Z9": "0210",
            "R50.911": None, "R50.9112": None,
        }  # fmt: skip

    @pytest.mark.parametrize("name", ["con espacio.sqlite", "tilde-ñ-ü.sqlite", "a?mode=rw&b#c%20.sqlite"])
    def test_a_path_may_hold_any_character(self, tmp_path: Path, name: str) -> None:
        base = make(tmp_path / name, [Row("A", "uno", "x")])
        assert codes(base.match("uno")) == ["A"]

    def test_opening_does_not_write(self, tmp_path: Path) -> None:
        path = tmp_path / "b"
        base = make(path, [Row("A", "uno", "x")])
        content = path.read_bytes()
        base.match("uno")
        base.close()
        assert path.read_bytes() == content
        assert [entry.name for entry in tmp_path.iterdir()] == ["b"]

    def test_without_any_row_there_is_no_knowledge_base(self, tmp_path: Path) -> None:
        with pytest.raises(TableError, match="hold no row"):
            KnowledgeBase.build(tmp_path / "b", [])

    @pytest.mark.parametrize("content", [None, b"", b"not a database, but long enough to look like one" * 50])
    def test_what_is_no_knowledge_base_is_refused(self, tmp_path: Path, content: bytes | None) -> None:
        path = tmp_path / "knowledge_base.sqlite"
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(BundleError, match=r"knowledge_base\.sqlite cannot be opened"):
            KnowledgeBase(path)
        assert path.exists() == (content is not None)

    def test_another_database_is_refused(self, tmp_path: Path) -> None:
        path = tmp_path / "other.sqlite"
        with sqlite3.connect(path) as connection:
            connection.execute("CREATE TABLE other (a)")
        with pytest.raises(BundleError, match="got schema 0, expected 2"):
            KnowledgeBase(path)

    def test_a_file_that_lost_its_end_is_refused_where_it_is_read(self, tmp_path: Path) -> None:
        path = tmp_path / "b"
        make(path, [Row(f"A{number}", f"descripción {number}", "x") for number in range(2000)]).close()
        content = path.read_bytes()
        path.write_bytes(content[: len(content) // 2])
        with pytest.raises(BundleError, match=r"cannot be (opened|read)"):
            base = KnowledgeBase(path)
            for number in range(2000):
                base.match(f"descripción {number}")
                base.search(f"{number}")

    def test_edition_sources_and_systems_are_kept(self, tmp_path: Path) -> None:
        path = tmp_path / "b"
        sources = [Source("diag.tsv", "diagnosis", "ab" * 32, 2, 1), Source("índice ñ.csv", "diagnosis", "c", 0, 0)]
        rows = [*named("A00", "A01"), *named("0210", kind="procedure"), *named("x", kind="other kind")]
        KnowledgeBase.build(path, rows, systems=ICD, edition="CIE-10-ES 2024 «ñ»", sources=sources)
        base = KnowledgeBase(path)
        assert base.edition == "CIE-10-ES 2024 «ñ»"
        assert base.sources == tuple(sources)
        assert base.systems == {**ICD, "other kind": "other"}
        assert base.concepts == {"diagnosis": 2, "procedure": 1, "other kind": 1}

    def test_building_twice_gives_the_same_bytes(self, tmp_path: Path) -> None:
        for name in ("a", "b"):
            make(tmp_path / name, [*named("A00", "A00.1", "B00"), Row("A00", "cólera", "diagnosis", preferred=False)])
        assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


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
        Row("R50", "pirexia", "diagnosis", preferred=False),
        Row("R50.82", "otra cosa", "procedure"),
    )

    def test_a_code_has_its_place_in_the_hierarchy(self, tmp_path: Path) -> None:
        base = make(tmp_path / "b", self.ROWS, {"diagnosis": "icd-10-cm"})
        assert base.show("r508") == Entry(
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


SUBSETS = (
    Subset(),
    Subset(kinds=frozenset({"procedure"})),
    Subset(kinds=frozenset()),
    Subset(kinds=frozenset({"oncology"})),
    Subset(chapters=frozenset({"XVIII"})),
    Subset(chapters=frozenset({"B", "I"})),
    Subset(chapters=frozenset({"procedure:B"})),
    Subset(chapters=frozenset({"diagnosis:B", "XIX"})),
    Subset(leaf=True),
    Subset(codes=frozenset({"r509", "T68.XXX", "bw-20"})),
    Subset(codes=frozenset()),
    Subset(kinds=frozenset({"diagnosis"}), chapters=frozenset({"XVIII", "XIX"}), leaf=True, codes=frozenset({"R50.9"})),
)


class TestSubset:
    ROWS = (
        *named("A00", "A00.1", "B02.0", "R50", "R50.8", "R50.81", "R50.9", "T68", "T68.XXX", "T68.XXXA"),
        *named("B020", "BW20", "BW20ZZZ", "0210", kind="procedure"),
        *named("8000/3", kind="morphology"),
        Row("R50.81", "fiebre", "diagnosis", preferred=False),
        Row("BW20", "fiebre", "procedure", preferred=False),
        Row("T68", "Fiebre", "diagnosis", preferred=False),
    )
    LEAVES = frozenset({"A00.1", "B02.0", "R50.81", "R50.9", "T68.XXXA", "B020", "BW20ZZZ", "0210", "8000/3"})

    def held(self, subset: Subset) -> list[str]:
        """The codes of the rows that are in a subset, by a definition of its own."""
        codes_in = {code_key(code) for code in subset.codes or ()}
        found = []
        for code, kind in dict.fromkeys((row.code, row.kind) for row in self.ROWS):
            of = chapter(code, ICD.get(kind, "other"))
            if subset.kinds is not None and kind not in subset.kinds:
                continue
            if subset.chapters is not None and not {of, f"{kind}:{of}"} & subset.chapters:
                continue
            if (subset.leaf and code not in self.LEAVES) or (
                subset.codes is not None and code_key(code) not in codes_in
            ):
                continue
            found.append(code)
        return found

    @pytest.mark.parametrize("subset", SUBSETS)
    def test_at_build_nothing_else_is_kept(self, tmp_path: Path, subset: Subset) -> None:
        path, held = tmp_path / "b", self.held(subset)
        if not held:
            with pytest.raises(TableError, match="within what was asked for"):
                make(path, self.ROWS, ICD, subset)
            return
        base = make(path, self.ROWS, ICD, subset)
        assert [code for kind in base.kinds for code in base.codes(kind)] == held
        assert sum(base.concepts.values()) == len(held)
        for code in dict.fromkeys(row.code for row in self.ROWS):
            assert (code in codes(base.match(code))) == (code in codes(base.search(code))) == (code in held)
        assert codes(base.match("fiebre")) == [code for code in ("R50.81", "BW20", "T68") if code in held]

    @pytest.mark.parametrize("subset", SUBSETS)
    def test_per_call_nothing_else_is_found(self, tmp_path: Path, subset: Subset) -> None:
        base, held = make(tmp_path / "b", self.ROWS, ICD), self.held(subset)
        assert base.count(subset) == len(held)
        for row in self.ROWS:
            found = [code for code in codes(base.match(row.description)) if code in held]
            assert codes(base.match(row.description, subset=subset)) == found
        for kind in base.kinds:
            wanted = [row.description for row in self.ROWS if row.kind == kind and row.code in held]
            assert base.descriptions(kind, subset) == list(dict.fromkeys(wanted))
        assert len(base.match("fiebre")) == 3

    def test_left_out_parents_are_stepped_over_and_a_leaf_stays_what_it_was(self, tmp_path: Path) -> None:
        subset = Subset(codes=frozenset({"R50", "R50.81", "T68.XXX"}))
        base = make(tmp_path / "b", self.ROWS, ICD, subset)
        top, below, alone = base.show("R50"), base.show("R50.81"), base.show("T68.XXX")
        assert top is not None and below is not None and alone is not None
        assert [code for code, _ in top.children] == ["R50.81"]
        assert [code for code, _ in below.ancestors] == ["R50"]
        assert (below.leaf, alone.leaf, alone.children, alone.ancestors) == (True, False, (), ())

    def test_more_subsets_than_are_remembered_stay_apart(self, tmp_path: Path) -> None:
        base = make(tmp_path / "b", named(*(f"R{number:02}" for number in range(30))), ICD)
        for _ in range(2):
            for number in range(30):
                subset = Subset(codes=frozenset({f"r{number:02}"}))
                assert [base.count(subset), codes(base.match("R07", subset=subset))] == [1, ["R07"] * (number == 7)]


class TestSearch:
    @pytest.fixture
    def words(self, tmp_path: Path) -> KnowledgeBase:
        rows = [
            Row("I10", "Hipertensión esencial (primaria)", "diagnosis"),
            Row("I10", "tensión arterial alta", "diagnosis", preferred=False),
            Row("I15", "Hipertensión secundaria", "diagnosis"),
            Row("M35.0", "Síndrome de Sjögren", "diagnosis"),
            Row("BW20", "tomografía AND OR NOT NEAR abdominal", "procedure"),
            Row("BW21", "hipertensión del procedimiento", "procedure"),
        ]
        return make(tmp_path / "b", rows)

    @pytest.mark.parametrize(
        ("text", "found"),
        [
            ("esencial", {"I10"}),
            ("HIPERTENSION", {"I10", "I15", "BW21"}),
            ("hiper", {"I10", "I15", "BW21"}),
            ("secundaria hipertensión", {"I15"}),
            ("hipertensión, del procedimiento.", {"BW21"}),
            ("sjogren", {"M35.0"}),
            ("Sjögren", {"M35.0"}),
            ("not", {"BW20"}),
            ("AND OR", {"BW20"}),
            ("NEAR(hipertension)", set()),
            ("alta", {"I10"}),
            ("esencial sjogren", {"I10", "M35.0"}),
            ("esencial zzz", {"I10"}),
            ("tension", {"I10"}),
            ("ipertension", set()),
        ],
    )
    def test_words_and_their_beginnings_are_found(self, words: KnowledgeBase, text: str, found: set[str]) -> None:
        assert set(codes(words.search(text))) == found

    def test_each_code_comes_once_with_the_description_that_holds_the_words(self, words: KnowledgeBase) -> None:
        (found,) = words.search("arterial")
        assert found.description == "tensión arterial alta"
        assert found.title == "Hipertensión esencial (primaria)"
        assert len(words.search("tension hipertension arterial esencial")) == len(
            set(codes(words.search("tension hipertension arterial esencial")))
        )

    def test_a_kind_and_a_limit_leave_the_others_out(self, words: KnowledgeBase) -> None:
        assert codes(words.search("hipertension", "procedure")) == ["BW21"]
        assert words.search("hipertension", "oncology") == []
        assert len(words.search("hipertension", limit=2)) == 2

    def test_the_closest_comes_first(self, words: KnowledgeBase) -> None:
        assert codes(words.search("hipertension"))[0] == "I15"  # one of two words, not of three

    @pytest.mark.parametrize(
        "text",
        ["", " ", '"', '""', "*", "^", "(", ")", "AND", "NOT NOT", "normal:a", "-a", '" OR 1', "a\x00b", "病", "😀",
         "' ; DROP TABLE description; --", "%", "_", "{a b}", "+", "a" * 100_000, "a " * 5_000,
         " ".join(f"p{number}" for number in range(5_000))],
    )  # fmt: skip
    def test_hostile_texts_are_only_words(self, words: KnowledgeBase, text: str) -> None:
        asked = normal_form(text).split()
        for one in words.search(text):
            held = normal_form(one.description).split()
            assert any(word.startswith(begin) for word in held for begin in asked)

    @given(TEXTS | st.text("hipertnsó\"'*()^:+-{}ANDOR ", max_size=30))
    @settings(max_examples=80, deadline=None)
    def test_what_is_found_begins_with_a_word_of_the_text(self, shared: KnowledgeBase, text: str) -> None:
        asked = [word for word in normal_form(text).split() if word.isalnum()]
        for one in shared.search(text):
            held = normal_form(one.description).split()
            assert any(word.startswith(begin) for word in held for begin in asked)

    @pytest.fixture(scope="class")
    def shared(self, tmp_path_factory: pytest.TempPathFactory) -> KnowledgeBase:
        rows = [
            Row("I10", "Hipertensión (primaria)", "d"),
            Row("T68", "And or not near", "d"),
            Row("A", "día ñ 1", "d"),
        ]
        return make(tmp_path_factory.mktemp("search") / "b", rows)

    @given(st.data())
    @settings(max_examples=40, deadline=None)
    def test_every_word_of_a_description_finds_its_code(self, shared: KnowledgeBase, data: st.DataObject) -> None:
        row = data.draw(st.sampled_from(shared.search("hipertension and dia")))
        word = data.draw(st.sampled_from(normal_form(row.description).split()))
        begin = word[: data.draw(st.integers(1, len(word)))]
        assert row.code in codes(shared.search(begin))
        assert row.code in codes(shared.search(f'"{begin.upper()}*'))

    def test_many_threads_get_the_same_answers(self, words: KnowledgeBase) -> None:
        subset = Subset(chapters=frozenset({"IX"}), leaf=True)

        def ask(_: int) -> tuple[object, ...]:
            return (
                words.search("hiper"), words.show("I10"), words.match_as_published("hipertension secundaria"),
                words.match("hipertensión secundaria", subset=subset), words.beginning_with("BW"),
            )  # fmt: skip

        expected = ask(0)
        with ThreadPoolExecutor(8) as pool:
            assert all(found == expected for found in pool.map(ask, range(200)))
