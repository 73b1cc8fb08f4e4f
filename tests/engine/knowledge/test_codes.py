from __future__ import annotations

import itertools
import string

import pytest
from cielo.knowledge.codes import (
    SYSTEMS,
    System,
    canonical_code,
    category,
    chapter,
    code_key,
    comparison_key,
    comparison_keys,
    guess_system,
    parent_keys,
)
from hypothesis import example, given
from hypothesis import strategies as st

ALNUM = string.digits + string.ascii_uppercase
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
CM = st.builds(
    "{}{}{}{}".format,
    st.sampled_from(string.ascii_uppercase),
    st.sampled_from(string.digits),
    st.sampled_from(ALNUM),
    st.text(ALNUM, max_size=4),
)
PCS = st.text(ALNUM.replace("I", "").replace("O", ""), min_size=3, max_size=7)
# The first and the last category of each chapter, as the tabular list of ICD-10-CM names them.
CHAPTERS = {
    "I": ("A00", "B99"), "II": ("C00", "D49"), "III": ("D50", "D89"), "IV": ("E00", "E89"), "V": ("F01", "F99"),
    "VI": ("G00", "G99"), "VII": ("H00", "H59"), "VIII": ("H60", "H95"), "IX": ("I00", "I99"), "X": ("J00", "J99"),
    "XI": ("K00", "K95"), "XII": ("L00", "L99"), "XIII": ("M00", "M99"), "XIV": ("N00", "N99"), "XV": ("O00", "O9A"),
    "XVI": ("P00", "P96"), "XVII": ("Q00", "Q99"), "XVIII": ("R00", "R99"), "XIX": ("S00", "T88"),
    "XX": ("V00", "Y99"), "XXI": ("Z00", "Z99"), "XXII": ("U00", "U85"),
}  # fmt: skip


class TestKey:
    @pytest.mark.parametrize(
        ("code", "key"),
        [
            ("t68.xxx", "T68XXX"),
            (" T68.XXX ", "T68XXX"),
            ("R50_9", "R509"),
            ("0210", "0210"),
            ("NA", "NA"),
            ("1E5", "1E5"),
            ("8000/3", "80003"),
            ("A00-A09", "A00A09"),
            ("A17.0†", "A170"),
            ("", ""),
            (".-_ ", ""),
        ],
    )
    def test_it_is_the_letters_and_digits_in_upper_case(self, code: str, key: str) -> None:
        assert code_key(code) == key

    @given(TEXTS)
    @example("ǰ")  # its capital is a letter and a sign of its own
    @example("ß ﬁ ŉ")
    def test_the_key_of_a_key_is_itself(self, code: str) -> None:
        assert code_key(code_key(code)) == code_key(code)

    @given(st.text(string.printable))
    def test_case_spaces_and_punctuation_do_not_matter(self, code: str) -> None:
        key = code_key(code)
        assert key == code_key(code.lower()) == code_key(code.upper()) == code_key(".".join(code))
        assert set(key) <= set(ALNUM)
        assert len(key) == sum(char.isalnum() for char in code)


class TestCanonical:
    @pytest.mark.parametrize(
        ("code", "written"),
        [
            ("r50.9", "R50.9"),
            ("R509", "R50.9"),
            (" T68.xxxa\t", "T68.XXXA"),
            ("t68xxx", "T68.XXX"),
            ("R50", "R50"),
            ("r50.", "R50"),
            ("A00.-", "A00"),
            ("A17.0†", "A17.0"),
            ("G01*", "G01"),
            ("(C7a.1)", "C7A.1"),
            ("s72001a", "S72.001A"),
            ("Z3A.01", "Z3A.01"),
            ("O9A.111", "O9A.111"),
        ],
    )
    def test_a_diagnosis_has_a_dot_after_three_characters(self, code: str, written: str) -> None:
        assert canonical_code(code, "icd-10-cm") == written

    @pytest.mark.parametrize(
        "code",
        [
            "", " ", ".", "R", "R5", "RR5", "0210", "0W9G3ZX", "Cap.01", "Cap. 1", "CAPITULO I", "A00-A09", "(A00-B99)",
            "A00–A09", "A00 A09", "A00,A09", "A00/A09", "A00.-A09", "R50..9", "R5.09", "R50.9.1", "R50.12345", "Ñ50",
            "R５0", "8000/3", "NA",
        ],
    )  # fmt: skip
    def test_what_is_no_diagnosis_is_refused(self, code: str) -> None:
        with pytest.raises(ValueError, match="no ICD-10-CM code: expected"):
            canonical_code(code, "icd-10-cm")

    @pytest.mark.parametrize(
        ("code", "written"), [("bw20", "BW20"), ("0210", "0210"), (" 3e05305 ", "3E05305"), ("0w9g3zx", "0W9G3ZX")]
    )
    def test_a_procedure_has_no_dot(self, code: str, written: str) -> None:
        assert canonical_code(code, "icd-10-pcs") == written

    @pytest.mark.parametrize("code", ["", "02", "02.10", "001-009", "0I10", "O210", "3E053050", "Ñ210", "00 10"])
    def test_what_is_no_procedure_is_refused(self, code: str) -> None:
        with pytest.raises(ValueError, match="no ICD-10-PCS code: expected"):
            canonical_code(code, "icd-10-pcs")

    @pytest.mark.parametrize(
        ("code", "written"), [(" 8000/3 ", "8000/3"), ("na", "NA"), ("1.1", "1.1"), ("007", "007"), ("a-b c", "A-B C")]
    )
    def test_a_code_of_another_system_keeps_its_signs(self, code: str, written: str) -> None:
        assert canonical_code(code, "other") == written

    @pytest.mark.parametrize("code", ["", "  ", "---", "._"])
    def test_a_code_without_letters_and_digits_is_refused(self, code: str) -> None:
        with pytest.raises(ValueError, match="neither a letter nor a digit"):
            canonical_code(code, "other")

    @given(TEXTS | CM | PCS, st.sampled_from(SYSTEMS))
    @example("ǰ1", "other")
    def test_a_canonical_code_is_one_and_keeps_what_codes_are_compared_by(self, code: str, system: System) -> None:
        try:
            written = canonical_code(code, system)
        except ValueError:
            return
        assert canonical_code(written, system) == written
        assert code_key(written) == code_key(code)

    @given(CM, st.integers(0, 1), st.booleans())
    def test_every_diagnosis_is_taken_in_any_case_with_or_without_its_dot(self, key: str, dot: int, low: bool) -> None:
        code = key[:3] + "." * dot + key[3:]
        assert code_key(canonical_code(code.lower() if low else code, "icd-10-cm")) == key

    @given(PCS)
    def test_every_procedure_is_taken_in_any_case(self, key: str) -> None:
        assert canonical_code(key.lower(), "icd-10-pcs") == canonical_code(key, "icd-10-pcs") == key


class TestGuess:
    @pytest.mark.parametrize(
        ("codes", "system"),
        [
            ([], "other"),
            (["A00", "R50.9", "t68.xxx", "Z3A.01"], "icd-10-cm"),
            (["A000", "R509", "I10", "O149"], "icd-10-cm"),
            (["0210", "BW20", "3E03", "B020"], "icd-10-pcs"),
            (["02100Z9", "0W9G3ZX"], "icd-10-pcs"),
            (["00.10", "37.22"], "other"),
            (["8000/3", "8010/3"], "other"),
            (["73211009", "22298006", "386661006"], "other"),
            (["NA", "I", "II"], "other"),
            (["A00"] * 9 + ["CAP01"], "icd-10-cm"),
            (["A00"] * 7 + ["CAP01"] * 3, "other"),
            (["0210"] * 7 + ["OTRO", "NINGUNO", "IO"], "other"),
        ],
    )
    def test_nearly_all_codes_decide(self, codes: list[str], system: System) -> None:
        assert guess_system(iter(codes)) == system

    def test_codes_that_fit_both_are_diagnoses(self) -> None:
        assert guess_system(["B020", "B021"]) == "icd-10-cm"


class TestComparison:
    @pytest.mark.parametrize(
        ("code", "keys"),
        [
            ("T68", ["T68"]),
            ("t68.x", ["T68"]),
            ("T68.XXX", ["T68"]),
            ("T68XXXA", ["T68XXXA", "T68"]),
            ("S42.90X", ["S4290"]),
            ("S42.90XA", ["S4290XA", "S4290"]),
            ("S72001A", ["S72001A", "S72001"]),
            ("M1A00X0", ["M1A00X0", "M1A00"]),
            ("I10X", ["I10"]),
            ("T08X0", ["T08X0"]),
            ("W21.89XA", ["W2189XA", "W2189"]),
            ("R509", ["R509"]),
            ("BW20", ["BW20"]),
            ("R5", ["R5"]),
            ("XXX", ["XXX"]),
            ("", []),
        ],
    )
    def test_keys_of_a_diagnosis(self, code: str, keys: list[str]) -> None:
        assert comparison_keys(code, "icd-10-cm") == keys
        assert comparison_key(code, "icd-10-cm") == comparison_key(code) == "".join(keys[:1])

    @pytest.mark.parametrize("system", ["icd-10-pcs", "other"])
    @pytest.mark.parametrize("key", ["0W9G3ZX", "0FB03ZX", "A", "NA", "T68XXX", "I10X"])
    def test_other_systems_have_no_placeholders(self, key: str, system: System) -> None:
        assert comparison_keys(key, system) == [comparison_key(key, system)] == [key]

    @pytest.mark.parametrize("code", ["0W9G3ZX", "0FB03ZX", "8140/3X", "XW033EX"])
    def test_where_the_system_is_not_known_a_procedure_keeps_its_last_character(self, code: str) -> None:
        assert comparison_key(code) == code_key(code)

    @given(CM, st.integers(0, 4))
    def test_placeholders_at_the_end_make_no_difference(self, code: str, number: int) -> None:
        padded = (code + "X" * number)[: max(len(code), 7)]
        for system in ("icd-10-cm", None):
            assert comparison_key(padded, system) == comparison_key(code, system)
            assert comparison_key(canonical_code(padded, "icd-10-cm").lower(), system) == comparison_key(code, system)

    @given(CM | PCS | TEXTS, st.sampled_from([*SYSTEMS, None]))
    def test_a_key_is_its_own_key_and_a_beginning_of_the_code(self, code: str, system: System | None) -> None:
        key = comparison_key(code, system)
        assert comparison_key(key, system) == key
        assert code_key(code).startswith(key)
        assert set(code_key(code)[len(key) :]) <= {"X"}

    @given(CM, CM)
    def test_codes_that_differ_in_another_character_stay_apart(self, one: str, other: str) -> None:
        same = comparison_key(one) == comparison_key(other)
        assert same == (one[:3] == other[:3] and one[3:].rstrip("X") == other[3:].rstrip("X"))

    @given(PCS, PCS)
    def test_procedures_are_compared_as_they_are(self, one: str, other: str) -> None:
        assert (comparison_key(one, "icd-10-pcs") == comparison_key(other, "icd-10-pcs")) == (one == other)

    @given(CM)
    def test_the_code_itself_goes_first_and_none_is_given_a_seventh_character(self, code: str) -> None:
        first, *others = comparison_keys(code, "icd-10-cm")
        assert first == comparison_key(code)
        assert all(3 <= len(key) <= 6 and code.startswith(key) for key in others)

    @given(st.text(ALNUM, max_size=8))
    def test_a_parent_is_a_shorter_beginning_the_nearest_first(self, key: str) -> None:
        assert parent_keys(key) == [key[:length] for length in reversed(range(1, len(key)))]


class TestChapters:
    @pytest.mark.parametrize(("name", "ends"), CHAPTERS.items())
    def test_each_chapter_ends_where_the_tabular_list_says(self, name: str, ends: tuple[str, str]) -> None:
        first, last = ends
        assert chapter(first, "icd-10-cm") == chapter(last, "icd-10-cm") == name
        assert chapter(f"{first.lower()}.9", "icd-10-cm") == chapter(f"{last}XXXA", "icd-10-cm") == name

    def test_every_category_is_in_the_chapter_whose_ends_enclose_it(self) -> None:
        for parts in itertools.product(string.ascii_uppercase, string.digits, ALNUM):
            code = "".join(parts)
            enclosing = [name for name, (first, last) in CHAPTERS.items() if first <= code <= last]
            assert len(enclosing) <= 1
            assert chapter(code, "icd-10-cm") in (enclosing or CHAPTERS)

    @pytest.mark.parametrize(
        ("code", "name"),
        [("C7A.0", "II"), ("D3A", "II"), ("Z3A.01", "XXI"), ("O9A.2", "XV"), ("I1A.0", "IX"), ("U07.1", "XXII"),
         ("E90", "IV"), ("T98", "XIX"), ("K93", "XI"), ("D4A", "III")],
    )  # fmt: skip
    def test_a_category_stays_with_its_letter(self, code: str, name: str) -> None:
        assert chapter(code, "icd-10-cm") == name

    @pytest.mark.parametrize("code", ["0210", "BW20", "", "A", "A0", "NA", "Ñ10", "..."])
    def test_what_is_no_diagnosis_has_no_chapter(self, code: str) -> None:
        assert chapter(code, "icd-10-cm") is None

    @pytest.mark.parametrize(("code", "section"), [("0210", "0"), ("bw20", "B"), ("XW033E5", "X"), ("", None)])
    def test_of_a_procedure_it_is_the_section(self, code: str, section: str | None) -> None:
        assert chapter(code, "icd-10-pcs") == section

    def test_another_system_has_none(self) -> None:
        assert chapter("A00", "other") is None

    @pytest.mark.parametrize(
        ("code", "name"), [("t68.xxx", "T68"), ("R50", "R50"), ("0W9G3ZX", "0W9"), ("R5", "R5"), ("", "")]
    )
    def test_the_category_is_the_first_three_characters(self, code: str, name: str) -> None:
        assert category(code) == name
