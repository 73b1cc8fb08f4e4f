from __future__ import annotations

import time
import unicodedata
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

import pytest
from cielo.knowledge.codes import comparison_key
from cielo.knowledge.reading import KnowledgeBase
from cielo.knowledge.records import DescriptionRow, SearchResult
from cielo.knowledge.subsets import Subset
from cielo.text.normal import normal_form
from hypothesis import given, settings
from hypothesis import strategies as st
from knowledge_fakes import ICD, TEXTS, codes, make


def words_of(text: str) -> list[str]:
    """The words of a text, by a definition of its own: whatever lies between signs, without accents."""
    parted = "".join(char if char.isalnum() or unicodedata.combining(char) else " " for char in text)
    return [form for word in parted.split() if (form := normal_form(word))]


def holds_a_beginning(description: str, asked: list[str]) -> bool:
    """Tell whether a word of a description, or two that stand side by side, begins with one of those asked for."""
    held = words_of(description)
    return any(word.startswith(begin) for word in [*held, *map("".join, pairwise(held))] for begin in asked)


class TestSearch:
    @pytest.fixture
    def words(self, tmp_path: Path) -> KnowledgeBase:
        rows = [
            DescriptionRow("I10", "Hipertensión esencial (primaria)", "diagnosis"),
            DescriptionRow("I10", "tensión arterial alta", "diagnosis", preferred=False),
            DescriptionRow("I15", "Hipertensión secundaria", "diagnosis"),
            DescriptionRow("M35.0", "Síndrome de Sjögren", "diagnosis"),
            DescriptionRow("BW20", "tomografía AND OR NOT NEAR abdominal", "procedure"),
            DescriptionRow("BW21", "hipertensión del procedimiento", "procedure"),
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
            ("NEAR(hipertension)", {"I10", "I15", "BW20", "BW21"}),
            ("alta", {"I10"}),
            ("esencial sjogren", {"I10", "M35.0"}),
            ("esencial zzz", {"I10"}),
            ("tension", {"I10"}),
            ("ipertension", set()),
        ],
    )
    def test_words_and_their_beginnings_are_found(self, words: KnowledgeBase, text: str, found: set[str]) -> None:
        assert set(codes(words.search(text).found)) == found

    def test_each_code_comes_once_with_the_description_that_holds_the_words(self, words: KnowledgeBase) -> None:
        (found,) = words.search("arterial").found
        assert found.description == "tensión arterial alta"
        assert found.title == "Hipertensión esencial (primaria)"
        assert len(words.search("tension hipertension arterial esencial").found) == len(
            set(codes(words.search("tension hipertension arterial esencial").found))
        )

    def test_a_kind_and_a_limit_leave_the_others_out(self, words: KnowledgeBase) -> None:
        assert codes(words.search("hipertension", "procedure").found) == ["BW21"]
        assert words.search("hipertension", "oncology") == SearchResult((), 0)
        assert len(words.search("hipertension", limit=2).found) == 2

    def test_the_closest_comes_first(self, words: KnowledgeBase) -> None:
        assert codes(words.search("hipertension").found)[0] == "I15"  # one of two words, not of three

    @pytest.mark.parametrize(
        "text",
        ["", " ", '"', '""', "*", "^", "(", ")", "AND", "NOT NOT", "normal:a", "-a", '" OR 1', "a\x00b", "病", "😀",
         "' ; DROP TABLE description; --", "%", "_", "{a b}", "+", "a" * 100_000, "a " * 5_000,
         " ".join(f"p{number}" for number in range(5_000))],
    )  # fmt: skip
    def test_hostile_texts_are_only_words(self, words: KnowledgeBase, text: str) -> None:
        asked = words_of(text)
        for one in words.search(text).found:
            assert holds_a_beginning(one.description, asked)

    @given(TEXTS | st.text("hipertnsó\"'*()^:+-{}ANDOR ", max_size=30))
    @settings(max_examples=80, deadline=None)
    def test_what_is_found_begins_with_a_word_of_the_text(self, shared: KnowledgeBase, text: str) -> None:
        asked = words_of(text)
        for one in shared.search(text).found:
            begins = one.code.startswith(comparison_key(text) or "-")
            assert begins or holds_a_beginning(one.description, asked)

    @pytest.fixture(scope="class")
    def shared(self, tmp_path_factory: pytest.TempPathFactory) -> KnowledgeBase:
        rows = [
            DescriptionRow("I10", "Hipertensión (primaria)", "d"),
            DescriptionRow("T68", "And or not near", "d"),
            DescriptionRow("A", "día ñ 1", "d"),
        ]
        return make(tmp_path_factory.mktemp("search") / "b", rows)

    @given(st.data())
    @settings(max_examples=40, deadline=None)
    def test_every_word_of_a_description_finds_its_code(self, shared: KnowledgeBase, data: st.DataObject) -> None:
        row = data.draw(st.sampled_from(shared.search("hipertension and dia").found))
        word = data.draw(st.sampled_from(normal_form(row.description).split()))
        begin = word[: data.draw(st.integers(1, len(word)))]
        assert row.code in codes(shared.search(begin).found)
        assert row.code in codes(shared.search(f'"{begin.upper()}*').found)

    @pytest.mark.usefixtures("every_processor")
    def test_many_threads_get_the_same_answers(self, words: KnowledgeBase) -> None:
        subset = Subset(chapters=frozenset({"IX"}), leaf=True)

        def ask(_: int) -> tuple[object, ...]:
            return (
                words.search("hiper").found, words.show("I10"), words.match_as_published("hipertension secundaria"),
                words.match("hipertensión secundaria", subset=subset), words.beginning_with("BW"),
            )  # fmt: skip

        expected = ask(0)
        with ThreadPoolExecutor(8) as pool:
            assert all(found == expected for found in pool.map(ask, range(200)))


class TestAsTyped:
    @pytest.fixture(scope="class")
    def base(self, tmp_path_factory: pytest.TempPathFactory) -> KnowledgeBase:
        rows = [
            *(
                DescriptionRow(code, "un diagnóstico", "diagnosis")
                for code in ("C85.9", "C85", "C85.91", "C86", "I10.X", "T68.XXXA")
            ),
            *(DescriptionRow(code, "9 vías", "procedure") for code in ("C850", "0210", "02100Z9")),
            DescriptionRow("C85.9", "Linfoma no-Hodgkin, tipo B", "diagnosis"),
            DescriptionRow("S09", "Traumatismo de cráneo/cuello", "diagnosis"),
            DescriptionRow("F31", "Trastorno maníaco–depresivo", "diagnosis"),
            DescriptionRow("N13", "Estenosis pielo\u2010ureteral (post-quirúrgica)", "diagnosis"),
            DescriptionRow("E53", "Déficit de vitamina B12", "diagnosis"),
            *(DescriptionRow(f"J{number}", f"Neumonía {number}", "diagnosis") for number in range(10, 40)),
        ]
        return make(tmp_path_factory.mktemp("typed") / "b", rows, ICD)

    @pytest.mark.parametrize(
        ("text", "code"),
        [
            ("hodgkin", "C85.9"), ("Hodgkin", "C85.9"), ("no-hodgkin", "C85.9"), ("no hodg", "C85.9"),
            ("nohodgkin", "C85.9"), ("linfoma/hodgkin", "C85.9"), ("cuello", "S09"), ("CRANEO", "S09"),
            ("cra\u0301neo", "S09"), ("depresivo", "F31"), ("maniaco", "F31"), ("maniacodepresivo", "F31"),
            ("ureteral", "N13"), ("postquirurgica", "N13"), ("post-quirur", "N13"), ("b12", "E53"),
            ("vitamina b12", "E53"), ("¿cuello?", "S09"), ("«cuello»", "S09"), ("cuello,", "S09"),
        ],
    )  # fmt: skip
    def test_words_behind_signs_are_found(self, base: KnowledgeBase, text: str, code: str) -> None:
        result = base.search(text)
        assert (codes(result.found), result.total, result.suggestions) == ([code], 1, ())

    @pytest.mark.parametrize(
        ("text", "found"),
        [
            ("C85.9", ["C85.9", "C85.91"]), ("c859", ["C85.9", "C85.91"]), (" c85.9 ", ["C85.9", "C85.91"]),
            ("C85", ["C85", "C850", "C85.9", "C85.91"]), ("i10", ["I10.X"]), ("I10X", ["I10.X"]),
            ("I10.", ["I10.X"]), ("t68", ["T68.XXXA"]), ("t68.xxx", ["T68.XXXA"]), ("0210", ["0210", "02100Z9"]),
        ],
    )  # fmt: skip
    def test_a_code_finds_itself_and_those_below(self, base: KnowledgeBase, text: str, found: list[str]) -> None:
        result = base.search(text)
        assert codes(result.found) == found
        assert result.total == len(result.found)

    def test_codes_and_words_are_counted_once_each(self, tmp_path: Path) -> None:
        rows = [DescriptionRow("A10", "tipo A10", "x"), DescriptionRow("A101", "otro", "x"),
                DescriptionRow("B20", "como a10", "x"), DescriptionRow("B21", "como A10 también", "x")]  # fmt: skip
        base = make(tmp_path / "b", rows, {"x": "icd-10-cm"})
        assert codes(base.search("a10").found) == ["A10", "A101", "B20", "B21"]
        for limit in range(1, 6):
            result = base.search("a10", limit=limit)
            assert (len(result.found), result.total) == (min(limit, 4), 4)

    def test_all_hits_are_counted(self, base: KnowledgeBase) -> None:
        result = base.search("neumonia", limit=20)
        assert (len(result.found), result.total) == (20, 30)
        assert base.search("neumonia", limit=100).total == len(base.search("neumonia", limit=100).found) == 30
        assert base.search("neumonia", "procedure") == SearchResult((), 0)

    @pytest.mark.parametrize(
        ("text", "meant"),
        [
            ("neumoina", "neumonía"), ("neunonia", "neumonía"), ("neumoniaa", "neumonía"), ("hodking", "hodgkin"),
            ("cuelo", "cuello"), ("linfoma hodking", "linfoma hodgkin"), ("traumatsimo craneo", "traumatismo craneo"),
            ("Vittamina", "vitamina"), ("estennosiss", "estenosis"),
        ],
    )  # fmt: skip
    def test_a_mistyped_word_gives_suggestions(self, base: KnowledgeBase, text: str, meant: str) -> None:
        assert meant in base.search(text).suggestions
        assert base.search(meant).found
        assert base.search(meant).suggestions == ()

    def test_other_words_are_found_beside_a_suggestion(self, base: KnowledgeBase) -> None:
        result = base.search("linfoma hodking")
        assert (codes(result.found), result.total) == (["C85.9"], 1)

    @pytest.mark.parametrize("text", ["zzzzzzzz", "qx", "病病病病病", "ne0", "a" * 1000])
    def test_what_is_like_no_word_gives_none(self, base: KnowledgeBase, text: str) -> None:
        assert base.search(text) == SearchResult((), 0)

    @given(st.data())
    @settings(max_examples=40, deadline=None)
    def test_one_slip_in_a_word_is_seen(self, base: KnowledgeBase, data: st.DataObject) -> None:
        word = data.draw(st.sampled_from(["hodgkin", "traumatismo", "vitamina", "trastorno", "estenosis"]))
        at = data.draw(st.integers(0, len(word) - 2))
        slips = [
            word[:at] + word[at + 1 :], word[:at] + "w" + word[at:], word[:at] + "w" + word[at + 1 :],
            word[:at] + word[at + 1] + word[at] + word[at + 2 :],
        ]  # fmt: skip
        result = base.search(data.draw(st.sampled_from(slips)))
        assert result.found or word in result.suggestions

    def test_a_long_query_does_not_take_long(self, base: KnowledgeBase) -> None:
        start = time.monotonic()
        base.search(" ".join(f"palabra{number}desconocida" for number in range(5_000)))
        assert time.monotonic() - start < 10
