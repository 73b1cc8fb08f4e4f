from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.errors import BundleError, TableError
from engine.records import Concept
from engine.stages.knowledge_base import KnowledgeBase, Row, Summary
from engine.stages.text import normal_form

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)


def make(path: Path, rows: Iterable[Row]) -> KnowledgeBase:
    KnowledgeBase.build(path, rows)
    return KnowledgeBase(path)


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
        assert base.match("ninguno") == [Concept("NA", "ninguno", "procedure", "ninguno", "text")]

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
        KnowledgeBase.build(path, [*(Row(name, name, "x") for name in names), Row("R50.911", "otra", "y")])
        parents = dict(sqlite3.connect(path).execute("SELECT code, parent FROM concept"))
        assert parents == {
            "R": None, "R50": "R", "R50.9": "R50", "R50.91": "R50.9", "R51": "R", "0210": None, "02100Z9": "0210",
            "R50.911": None,
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
