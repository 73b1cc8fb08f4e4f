from __future__ import annotations

import csv
import sqlite3
import threading
from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.errors import BundleError, TableError
from engine.records import Concept
from engine.stages.knowledge_base import KnowledgeBase, Row, Summary, canonical_code, read_table
from engine.stages.text import normal_form

MARKER = "hiperplasia-secreta"
TRICKY_CODES = ["0210", "3E03", "3E03305", "NA", "0016", "1E5", "00.10", "1E308", "INF", "TRUE", "0X1F", "-1", "1_000"]
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
        assert base.match("ninguno") == [Concept("NA", "ninguno", "procedure")]

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
        assert base.match("uno") == [Concept("A", "uno", "x"), Concept("A", "Uno", "y")]

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
        with pytest.raises(BundleError, match="no such table"):
            KnowledgeBase(path)


class TestReadTable:
    @staticmethod
    def read(tmp_path: Path, content: bytes | str, name: str = "table.tsv") -> list[tuple[str, str]]:
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return [(row.code, row.description) for row in read_table(path, "x")]

    @pytest.mark.parametrize("code", TRICKY_CODES)
    @pytest.mark.parametrize(("name", "mark"), [("t.tsv", "\t"), ("t.csv", ","), ("t.CSV", ","), ("t.txt", "\t")])
    def test_codes_are_text(self, tmp_path: Path, code: str, name: str, mark: str) -> None:
        rows = self.read(tmp_path, f"codigo{mark}descripcion\n{code}{mark}{code}\n", name)
        assert rows == [(code, code)]
        base = make(tmp_path / "b", [Row(*row, "x") for row in rows])
        assert base.match(code) == [Concept(code, code, "x")]

    @pytest.mark.parametrize(
        "header", ["code\tdescription", "CODIGO\tDescripcion", "código\tdescripción", "\ufeffcode\tdescription"]
    )
    def test_columns_are_found_by_name(self, tmp_path: Path, header: str) -> None:
        assert self.read(tmp_path, f"{header}\nr50\tfiebre\n") == [("R50", "fiebre")]

    def test_columns_may_stand_in_any_place(self, tmp_path: Path) -> None:
        text = "id,descripcion,codigo\n1,fiebre,R50\n"
        assert self.read(tmp_path, text, "t.csv") == [("R50", "fiebre")]

    def test_without_a_header_the_first_two_columns_are_read(self, tmp_path: Path) -> None:
        assert self.read(tmp_path, "r50\tfiebre\tfever\nna\tninguno\n") == [("R50", "fiebre"), ("NA", "ninguno")]

    @pytest.mark.parametrize("end", ["\n", "\r\n"])
    def test_line_ends_byte_order_marks_and_empty_lines_do_not_matter(self, tmp_path: Path, end: str) -> None:
        text = end.join(["\ufeffcode\tdescription", "", "R50\tfiebre", "\t", "R51\tcefalea"])
        assert self.read(tmp_path, text) == [("R50", "fiebre"), ("R51", "cefalea")]

    def test_a_tsv_has_no_quotes_and_a_csv_has(self, tmp_path: Path) -> None:
        assert self.read(tmp_path, 'R50\t"fiebre" alta\n') == [("R50", '"fiebre" alta')]
        text = 'R50,"fiebre, ""alta"""\n'
        assert self.read(tmp_path, text, "t.csv") == [("R50", 'fiebre, "alta"')]

    def test_spaces_are_folded(self, tmp_path: Path) -> None:
        assert self.read(tmp_path, " r50 \t fiebre \u00a0 alta \n") == [("R50", "fiebre alta")]

    @pytest.mark.parametrize("content", ["", "\ufeff", "\n\n", "code\tdescription\n"])
    def test_a_table_without_rows_gives_none(self, tmp_path: Path, content: str) -> None:
        assert self.read(tmp_path, content) == []

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            (f"R50\tfiebre\n{MARKER}\n", r"row 2: got 1 column\(s\)"),
            (f"R50\tfiebre\n\t{MARKER}\n", "row 2: the code is empty"),
            (f"{MARKER}\t \n", "row 1: the description is empty"),
            (f"{MARKER}\t\u200b\n", "row 1: the description is empty"),
            (f"code\tdescription\nR50\tfiebre\n\n{MARKER}", "row 4: got 1"),
            (f"R50\t{MARKER}".encode("utf-16"), "is not UTF-8"),
            (f"R50\t{MARKER} \xf3\n".encode("latin-1"), "is not UTF-8"),
        ],
    )
    def test_a_bad_row_is_named_by_its_number_and_not_shown(
        self, tmp_path: Path, content: bytes | str, message: str
    ) -> None:
        with pytest.raises(TableError, match=message) as caught:
            self.read(tmp_path, content)
        assert MARKER not in str(caught.value)
        assert "table.tsv" in str(caught.value)

    def test_a_quote_that_is_never_closed_does_not_swallow_the_rest(self, tmp_path: Path) -> None:
        with pytest.raises(TableError, match="not a well-formed table") as caught:
            self.read(tmp_path, f'R50,"{MARKER}\nR51,cefalea\n', "t.csv")
        assert MARKER not in str(caught.value)

    @pytest.mark.parametrize("make_path", [lambda path: path / "missing.tsv", lambda path: path], ids=["none", "dir"])
    def test_a_file_that_cannot_be_read_is_named(self, tmp_path: Path, make_path: object) -> None:
        path: Path = make_path(tmp_path)  # type: ignore[operator]
        with pytest.raises(TableError, match="cannot be read") as caught:
            list(read_table(path, "x"))
        assert str(path) in str(caught.value)

    @given(st.lists(st.tuples(TEXTS, TEXTS), max_size=8))
    @settings(max_examples=50, deadline=None)
    def test_a_csv_gives_back_the_text_that_was_written(
        self, tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str]]
    ) -> None:
        path = tmp_path_factory.mktemp("table") / "t.csv"
        written = [(f"A{code.strip()}", f"b {text}") for code, text in rows]
        with path.open("w", encoding="utf-8", newline="") as stream:
            csv.writer(stream).writerows([("code", "description"), *written])
        expected = [(canonical_code(code), " ".join(text.split())) for code, text in written]
        assert [(row.code, row.description) for row in read_table(path, "x")] == expected


@pytest.mark.parametrize(
    ("code", "expected"), [(" r50.9 ", "R50.9"), ("3e03", "3E03"), ("0210", "0210"), ("t68.xxx", "T68.XXX")]
)
def test_a_canonical_code_is_upper_case_and_keeps_its_dot(code: str, expected: str) -> None:
    assert canonical_code(code) == expected
