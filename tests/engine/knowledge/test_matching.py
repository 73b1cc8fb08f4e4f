from __future__ import annotations

import threading
from pathlib import Path

import pytest
from cielo.knowledge.reading import KnowledgeBase
from cielo.knowledge.records import DescriptionRow
from cielo.records import Concept
from cielo.text.normal import normal_form, published_form
from hypothesis import given, settings
from hypothesis import strategies as st
from knowledge_fakes import MEETING, TEXTS, codes, make


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
        rows = [
            DescriptionRow("B", "uno", "x", preferred=False),
            DescriptionRow("A", "uno", "x"),
            DescriptionRow("C", "uno", "y"),
        ]
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
        base = make(tmp_path / "b", [DescriptionRow("A", "***", "x"), DescriptionRow("B", "---", "x")])
        assert codes(base.match("---")) == ["B"]
        assert base.match("...") == []

    def test_an_equal_code_of_two_kinds_is_two_concepts(self, tmp_path: Path) -> None:
        base = make(tmp_path / "b", [DescriptionRow("A", "uno", "x"), DescriptionRow("A", "Uno", "y")])
        assert base.match("uno") == [Concept("A", "uno", "x", "uno"), Concept("A", "Uno", "y", "Uno", "normal")]

    @given(st.lists(st.tuples(st.sampled_from("ABCDE"), TEXTS.filter(bool)), min_size=1, max_size=12))
    @settings(max_examples=40, deadline=None)
    def test_it_returns_what_a_plain_search_of_the_rows_returns(
        self, tmp_path_factory: pytest.TempPathFactory, pairs: list[tuple[str, str]]
    ) -> None:
        base = make(
            tmp_path_factory.mktemp("base") / "b.sqlite", [DescriptionRow(code, text, "x") for code, text in pairs]
        )
        for _, wanted in pairs:
            normal = normal_form(wanted)
            exact = [code for code, text in pairs if text == wanted]
            alike = [code for code, text in pairs if normal and normal_form(text) == normal]
            assert codes(base.match(wanted)) == list(dict.fromkeys(exact + alike))
        base.close()

    @pytest.mark.usefixtures("every_processor")
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
        rows = [
            DescriptionRow("A", "índice", "x", preferred=False),
            DescriptionRow("A", "título", "x"),
            DescriptionRow("A", "otro", "x"),
        ]
        rows.append(DescriptionRow("B", "solo índice", "x", preferred=False))
        base = make(tmp_path / "b", rows)
        assert base.match("indice") == [Concept("A", "índice", "x", "título", "normal")]
        assert base.match("solo índice") == [Concept("B", "solo índice", "x", "solo índice")]
        entry = base.show("A")
        assert entry is not None
        assert (entry.title, entry.descriptions) == ("título", ("otro", "índice"))

    def test_a_description_is_preferred_where_any_row_of_it_is(self, tmp_path: Path) -> None:
        rows = [
            DescriptionRow("A", "fiebre", "x", preferred=False),
            DescriptionRow("B", "Fiebre", "x"),
            DescriptionRow("A", "fiebre", "x"),
        ]
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
        base = make(
            tmp_path / "b",
            [
                DescriptionRow("A", "Sjögren", "x"),
                DescriptionRow("B", "Sjogren", "x"),
                DescriptionRow("C", "«dolor»", "x"),
                DescriptionRow("D", "tos†", "x"),
            ],
        )
        assert codes(base.match_as_published("sjogren")) == ["B"]
        assert codes(base.match_as_published("SJÖGREN")) == ["A"]
        assert codes(base.match_as_published("dolor")) == ["C"]
        assert base.match_as_published("tos") == []
        assert codes(base.match("tos")) == ["D"]

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
        rows = [DescriptionRow(*row) for row in given_rows]
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
        rows = [DescriptionRow(*row) for row in given_rows]
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
