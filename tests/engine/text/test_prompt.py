from __future__ import annotations

import re
import string
import unicodedata

import pytest
from cielo.text.normal import fold_spaces, normal_form, published_form, remove_hidden
from cielo.text.prompt import PROMPT, build_prompt, prepare_sentence, strip_code_suffix, window_sentence
from hypothesis import example, given
from hypothesis import strategies as st

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)
# Every letter of the languages of Western and Central Europe but the micro sign, whose capital is a Greek letter.
LATIN = st.text(st.characters(max_codepoint=0x17F, exclude_characters="µ"), max_size=60)
SPANISH = st.text("abcdeñáéíóúüABCÑÁÉ ,.;:()-%µº½3\n", max_size=60)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Hipertensión esencial (primaria)", "hipertension esencial primaria"),
        ("Síndrome de Sjögren", "sindrome de sjogren"),
        ("Enfermedad de Ménière, oído izquierdo", "enfermedad de meniere oido izquierdo"),
        ("anti-Xa", "antixa"),
        ("insuficiencia cardíaca/renal", "insuficiencia cardiacarenal"),
        ("NIÑO pequeño", "nino pequeno"),
        ("«dolor» “agudo” — ¿crónico?", "dolor agudo cronico"),
        ("dolor abdominal \t\n agudo", "dolor abdominal agudo"),
        ("1ª porción, 2º grado", "1 porcion 2 grado"),
        ("½ dosis", "12 dosis"),
        ("fenómeno\u00a0de Raynaud", "fenomeno de raynaud"),
        ("α-talasemia", "atalasemia"),
        ("straße", "strasse"),
        ("...", ""),
        ("", ""),
    ],
)
def test_the_normal_form_of_known_texts(text: str, expected: str) -> None:
    assert normal_form(text) == expected


@pytest.mark.parametrize("text", ["Hipertensión", "Sjögren", "niño", "cefalea de Ménière", "acúfeno ÚNICO"])
def test_decomposed_and_composed_letters_have_one_normal_form(text: str) -> None:
    decomposed = unicodedata.normalize("NFD", text)
    assert decomposed != text
    assert normal_form(decomposed) == normal_form(text)


@given(TEXTS)
@example("한국")
@example("Ǖ \u212b")
def test_the_normal_form_does_not_depend_on_composition(text: str) -> None:
    assert normal_form(unicodedata.normalize("NFD", text)) == normal_form(text)


@given(TEXTS)
@example("½ ¼ ⅓")
@example("ﬁebre № 3 ℃")
@example("Ⓐ ㎎ ㈱")
def test_the_normal_form_is_a_fixed_point(text: str) -> None:
    once = normal_form(text)
    assert normal_form(once) == once


@given(TEXTS)
@example("½ № … ⁇")
def test_the_normal_form_is_lower_case_ascii_without_punctuation_and_with_single_spaces(text: str) -> None:
    form = normal_form(text)
    assert form.isascii()
    assert not set(form) & set(string.punctuation + string.ascii_uppercase)
    assert form == " ".join(form.split())


@given(LATIN)
def test_the_normal_form_does_not_depend_on_case(text: str) -> None:
    assert normal_form(text.upper()) == normal_form(text) == normal_form(text.lower())


@given(SPANISH, st.sampled_from(string.punctuation + "¡¿«»“”—…"))
def test_punctuation_is_deleted_and_not_replaced_by_a_space(text: str, mark: str) -> None:
    assert normal_form(f"a{mark}b{text}") == normal_form(f"ab{text}")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Hipertensión esencial (primaria)", "hipertension esencial primaria"),
        ("ÁÉÍÓÚ ÀÈÏÒÙ ÜÑÇ", "aeiou aeiou unc"),
        ("Ì Â Ö ì â ö", "ì â ö ì â ö"),
        ("anti-Xa, 3.5", "antixa 35"),
        ("  Dolor \t abdominal\n", "dolor abdominal"),
        ("Síndrome de Sjögren", "sindrome de sjögren"),
        ("fenómeno de Raynaud, vêlo", "fenomeno de raynaud vêlo"),
        ("¿crónico? «sí» 1ª", "cronico si 1ª"),
        ("2º ·90% ®", "2º ·90 ®"),
        ("《uno》 《dos》》 tres》》》", "《uno》 《dos tres》"),
        ("uno》-》dos", "unodos"),
        ("straße ½", "straße ½"),
        ("a" + string.punctuation + "b", "ab"),
        ("(...)", ""),
        ("", ""),
    ],
)
def test_the_published_form_of_known_texts(text: str, expected: str) -> None:
    assert published_form(text) == expected
    assert published_form(unicodedata.normalize("NFD", text)) == expected


# The paper's own lists, as they stand in its code.
PUBLISHED_LETTERS = dict(zip("áóíéúüùàèïòñç", "aoieuuuaeionc", strict=True))
PUBLISHED_SIGNS = string.punctuation + "€´：¨•∩£–—■¿¡♪“”…‘’„°«»×ʖ"


@pytest.mark.parametrize("letter", PUBLISHED_LETTERS)
def test_each_letter_of_the_paper_loses_its_accent(letter: str) -> None:
    assert len(PUBLISHED_LETTERS) == 13
    assert published_form(f"x{letter}x") == published_form(f"x{letter.upper()}x") == f"x{PUBLISHED_LETTERS[letter]}x"


@pytest.mark.parametrize("letter", ["ì", "â", "ö", "ä", "ã", "ô"])
def test_other_letters_keep_theirs_in_the_published_form(letter: str) -> None:
    assert published_form(f"x{letter.upper()}x") == f"x{letter}x"
    assert len(normal_form(letter)) == 1 != len(letter.encode())


@pytest.mark.parametrize("sign", PUBLISHED_SIGNS)
def test_each_sign_of_the_paper_is_deleted(sign: str) -> None:
    assert published_form(f"a{sign}b {sign}") == "ab"


@pytest.mark.parametrize("sign", ["º", "ª", "·", "®", "†", "‹", "›", "‚", "―", "§", "½", "\u00ad", "》"])
def test_other_signs_stay_in_the_published_form(sign: str) -> None:
    assert published_form(f"a{sign}b") == f"a{sign}b"


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="》"), max_size=60) | LATIN | SPANISH)
def test_the_published_form_is_made_character_by_character(text: str) -> None:
    lower = unicodedata.normalize("NFC", text).lower()
    kept = "".join(PUBLISHED_LETTERS.get(char, char) for char in lower if char not in PUBLISHED_SIGNS)
    assert published_form(text) == " ".join(re.split(r"\s+", kept)).strip()


@given(st.text("abcáéíóúüñç ÁÉÍÓÚÜÑÇABC.,;:()-/\t", max_size=60))
def test_of_spanish_without_other_signs_both_normal_forms_are_one(text: str) -> None:
    assert published_form(text) == normal_form(text)


@given(TEXTS)
def test_folding_spaces_keeps_everything_else(text: str) -> None:
    folded = fold_spaces(text)
    assert "".join(folded.split()) == "".join(text.split())
    assert folded == folded.strip()
    assert "  " not in folded


@pytest.mark.parametrize(
    ("sentence", "expected"),
    [
        ("Nódulo de 3.5 cm,doloroso.", "Nódulo de 3. 5 cm, doloroso."),
        ("TC: normal; alta.Revisión", "TC: normal; alta. Revisión"),
        ("insuficiencia\nrenal", "insuficiencia renal"),
        ("insuficiencia \r\n renal", "insuficiencia renal"),
        ("fiebre\u2028alta\u0085ayer", "fiebre alta ayer"),
        ("Dolor.\nFiebre,\r\ntos\n", "Dolor. Fiebre, tos"),
        ("dolor   \t abdominal ", "dolor abdominal"),
        ("¿Dolor? (sí)", "¿Dolor? (sí)"),
        ("", ""),
    ],
)
def test_the_preparation_of_known_sentences(sentence: str, expected: str) -> None:
    assert prepare_sentence(sentence) == expected


@pytest.mark.parametrize(
    ("sentence", "expected"),
    [
        ("hiper\ntensión", "hipertensión"),
        ("hiper\r\ntensión", "hipertensión"),
        ("fiebre\u2028alta\u0085ayer", "fiebrealtaayer"),
        ("dolor \n agudo", "dolor agudo"),
        ("Dolor.\nFiebre", "Dolor. Fiebre"),
    ],
)
def test_the_paper_deletes_line_ends(sentence: str, expected: str) -> None:
    assert prepare_sentence(sentence, line_ends="delete") == expected
    assert build_prompt("tos", sentence, line_ends="delete") == PROMPT.format(term="tos", sentence=expected)


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\n\u0085\u2028\u2029"), max_size=60))
def test_without_line_ends_both_ways_are_one(sentence: str) -> None:
    assert prepare_sentence(sentence, line_ends="delete") == prepare_sentence(sentence)


@given(TEXTS | SPANISH)
def test_preparing_a_prepared_sentence_changes_nothing(sentence: str) -> None:
    prepared = prepare_sentence(sentence)
    assert prepare_sentence(prepared) == prepared


@given(TEXTS | SPANISH)
def test_a_prepared_sentence_has_a_space_after_each_clause_mark_and_no_line_end(sentence: str) -> None:
    prepared = prepare_sentence(sentence)
    assert len(prepared.splitlines()) <= 1
    assert "".join(prepared.split()) == "".join(sentence.split())
    for place, mark in enumerate(prepared[:-1]):
        assert mark not in ".,;:" or prepared[place + 1] == " "


@given(TEXTS, TEXTS, TEXTS, st.integers(0, 30))
@example("ß" * 50 + " ", "dolor", "", 2)
@example("İ" * 50, "dolor", "İİ", 0)
@example("ﬁﬁﬁﬁ", "Dolor", " fin", 1)
def test_a_window_holds_the_mention_that_its_sentence_holds(before: str, mention: str, after: str, window: int) -> None:
    mention = mention.strip()
    cut = window_sentence(before + mention + after, mention, window)
    assert mention.casefold() in cut.casefold()


@given(TEXTS, TEXTS, st.integers(0, 30))
def test_a_window_is_a_part_of_the_sentence_and_no_longer_than_it_may_be(
    sentence: str, mention: str, window: int
) -> None:
    cut = window_sentence(sentence, mention, window)
    assert cut in sentence
    assert len(cut) <= 2 * window + len(mention)


@pytest.mark.parametrize(
    ("sentence", "mention", "window", "expected"),
    [
        ("Paciente con fiebre alta y tos", "fiebre", 5, "con fiebre alta"),
        ("Paciente con FIEBRE alta y tos", "fiebre", 5, "con FIEBRE alta"),
        ("fiebre, luego más fiebre", "fiebre", 3, "fiebre, l"),
        ("Paciente sin nada", "fiebre", 5, "Paciente sin nad"),
        ("corta", "fiebre", 100, "corta"),
    ],
)
def test_the_window_of_known_sentences(sentence: str, mention: str, window: int, expected: str) -> None:
    assert window_sentence(sentence, mention, window) == expected


def test_the_prompt_is_the_published_one() -> None:
    assert PROMPT == "Genera una definición para el término: {term} - en la frase: {sentence}"
    assert (
        build_prompt("TC abdominal", "Se hizo TC abdominal,normal.")
        == "Genera una definición para el término: TC abdominal - en la frase: Se hizo TC abdominal, normal."
    )


@pytest.mark.parametrize("sentence", [None, "", "  \n"])
def test_without_a_sentence_the_mention_stands_for_it(sentence: str | None) -> None:
    expected = "Genera una definición para el término: fiebre alta - en la frase: fiebre alta"
    assert build_prompt(" fiebre \n alta ", sentence, window=3) == expected


def test_the_mention_itself_is_not_prepared_in_the_prompt() -> None:
    assert build_prompt("nódulo de 3.5", "un nódulo de 3.5 cm") == PROMPT.format(
        term="nódulo de 3.5", sentence="un nódulo de 3. 5 cm"
    )


def test_a_sentence_is_left_as_it_is_where_the_recipe_says_so() -> None:
    assert build_prompt("fiebre", "fiebre,tos\n39.5", prepare=False) == PROMPT.format(
        term="fiebre", sentence="fiebre,tos\n39.5"
    )


@given(SPANISH, SPANISH, SPANISH, st.integers(0, 10), st.booleans())
@example("x" * 60 + " ", "creatinina 1.2", " mg", 2, True)
@example("x" * 60, "fiebre\nalta", ".", 2, True)
@example("x" * 60, "fiebre  alta", ".", 2, False)
def test_the_window_of_a_prompt_holds_the_mention(
    before: str, mention: str, after: str, window: int, prepare: bool
) -> None:
    sentence = f"{before}{mention}{after}"
    prompt = build_prompt(mention, sentence, prepare=prepare, window=window)
    shown = prepare_sentence(mention) if prepare else mention.strip()
    if sentence.strip():
        assert shown.casefold() in prompt.split(" - en la frase: ", 1)[1].casefold()


HIDDEN = (
    "\u00ad\u061c\u180e\u200b\u200c\u200d\u200e\u200f\u202a"
    "\u202b\u202c\u202d\u202e\u2060\u2061\u2064\u2066\u2067\u2068\u2069\ufeff"
)


@pytest.mark.parametrize("sign", HIDDEN, ids=lambda sign: f"{ord(sign):04X}")
@pytest.mark.parametrize("prepare", [True, False])
def test_hidden_characters_stay_out_of_the_prompt(sign: str, prepare: bool) -> None:
    assert unicodedata.category(sign) == "Cf"
    sentence = f"{sign}Tiene hiper{sign}tensión{sign} 3.5{sign}, leve"
    expected = build_prompt("hipertensión", "Tiene hipertensión 3.5, leve", prepare=prepare, window=20)
    assert build_prompt(f"{sign}hiper{sign}tensión", sentence, prepare=prepare, window=20) == expected
    assert normal_form(f"hiper{sign}tensión") == "hipertension"
    assert build_prompt("tos", f" {sign}\n") == build_prompt("tos", None)


@given(TEXTS, TEXTS, st.text(HIDDEN, min_size=1, max_size=4), st.integers(0, 60))
def test_hidden_characters_change_no_prompt_wherever_they_stand(
    term: str, sentence: str, hidden: str, place: int
) -> None:
    assert build_prompt(term[:place] + hidden + term[place:], sentence, window=9) == build_prompt(
        term, sentence, window=9
    )
    assert build_prompt(term, sentence[:place] + hidden + sentence[place:], window=9) == build_prompt(
        term, sentence, window=9
    )


@pytest.mark.parametrize("text", ["niño de 3.5 años", "«dolor» – agudo…", "1ª ½ µg/ml ≥ 5", "fenómeno\u00a0de Raynaud"])
def test_what_shows_is_not_hidden(text: str) -> None:
    assert remove_hidden(text) == text


@given(TEXTS, TEXTS)
def test_braces_in_a_mention_are_not_read_as_a_format(term: str, sentence: str) -> None:
    term, sentence = term + "{sentence}{0}", sentence + "{term}{"
    prompt = build_prompt(term, sentence)
    shown, prepared = fold_spaces(remove_hidden(term)), prepare_sentence(remove_hidden(sentence))
    assert prompt == f"Genera una definición para el término: {shown} - en la frase: {prepared}"


@pytest.mark.parametrize(
    ("generated", "expected"),
    [
        ("tomografía abdominal [Code: BW20]", "tomografía abdominal"),
        ("fiebre [code:R50.9] ", "fiebre"),
        ("fiebre  [Código: R50.9]", "fiebre"),
        ("fiebre [no especificada]", "fiebre [no especificada]"),
        ("fiebre [Code: R50] alta", "fiebre [Code: R50] alta"),
        ("[Code: R50]", ""),
    ],
)
def test_the_code_that_the_card_shows_after_a_description_is_removed(generated: str, expected: str) -> None:
    assert strip_code_suffix(generated) == expected


@given(TEXTS)
def test_a_description_with_a_code_shown_is_read_as_the_description(description: str) -> None:
    plain = strip_code_suffix(description).rstrip()
    assert strip_code_suffix(f"{plain} [Code: BW20]") == plain
