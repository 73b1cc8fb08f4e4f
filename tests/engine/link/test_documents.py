from __future__ import annotations

from itertools import pairwise

import pytest
from cielo.errors import MentionError
from cielo.link.documents import DocumentMention, fits, mention_of, mentions_of
from cielo.link.sentences import sentence_at, sentences
from hypothesis import example, given, settings
from hypothesis import strategies as st

# What clinical text is made of, beside any Unicode text: pieces over which splitters stumble.
PIECES = st.sampled_from(
    ["Dr. ", "mg. ", "3.5. ", "14.30 h", "… ", "...", "(", ")", "[", "«", "»", "¿Qué? ", "A. ", "II. ", "El ", "fin.",
     "\n", "\r\n", "\n\n", "- ", "• ", "1. ", "a) ", "1.- ", ":", ";", " ", "\t", "\u2028", "\x0c", "\u200b", "\ud83d",
     "HALLAZGOS", "dolor", "Fiebre", "no. ", "mar. ", "i.v. ", "p. ej. ", "\x00", "ﬁ", "İ", "①", "٣", "。", "（"]
)  # fmt: skip
TEXTS = st.one_of(st.text(max_size=200), st.lists(PIECES, max_size=60).map("".join))


def pieces(text: str) -> list[str]:
    return [text[start:end] for start, end in sentences(text)]


@given(TEXTS)
@settings(max_examples=400)
@example("")
@example(" \n\t ")
@example("(\n).\n")
@example("\ud800. \udfff")
def test_the_borders_are_valid_in_order_disjoint_and_cover_what_is_visible(text: str) -> None:
    borders = sentences(text)
    assert all(0 <= start < end <= len(text) for start, end in borders)
    assert all(before[1] <= after[0] for before, after in pairwise(borders))
    covered = {at for start, end in borders for at in range(start, end)}
    assert all(at in covered or character.isspace() for at, character in enumerate(text))
    assert all(text[start:end] == text[start:end].strip() for start, end in borders)


@given(TEXTS)
def test_a_sentence_alone_is_one_block_of_the_same_sentences(text: str) -> None:
    # Blank lines are borders of their own: what is around them changes nothing.
    assert pieces(f"{text}\n\n") == pieces(text)
    assert pieces(f"Fin.\n\n{text}")[1:] == pieces(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Acude por fiebre. Se pauta reposo.", ["Acude por fiebre.", "Se pauta reposo."]),
        ("¿Tiene dolor? ¡Mucho! Se ingresa.", ["¿Tiene dolor?", "¡Mucho!", "Se ingresa."]),
        ("Valorado por el Dr. Pérez. Alta.", ["Valorado por el Dr. Pérez.", "Alta."]),
        ("La Dra. Ana Ruiz y la Sra. Gil acuden.", ["La Dra. Ana Ruiz y la Sra. Gil acuden."]),
        ("El Sr. El Amrani acude.", ["El Sr. El Amrani acude."]),
        ("Otras causas, p.ej. Borrelia o p. ej. Ehrlichia.", ["Otras causas, p.ej. Borrelia o p. ej. Ehrlichia."]),
        ("Lesión de aprox. 3,5 x 2.5 cm de eje.", ["Lesión de aprox. 3,5 x 2.5 cm de eje."]),
        ("Carcinoma vs. Oncocitoma (Fig. 2, núm. 4, art. 5).", ["Carcinoma vs. Oncocitoma (Fig. 2, núm. 4, art. 5)."]),
        ("Toma 5 mg. cada 8 h. por vía oral.", ["Toma 5 mg. cada 8 h. por vía oral."]),
        ("Toma 5 mg. Ibuprofeno si dolor.", ["Toma 5 mg.", "Ibuprofeno si dolor."]),
        ("Ceftriaxona i.v. 2 g al día v.o. después.", ["Ceftriaxona i.v. 2 g al día v.o. después."]),
        ("Se pauta suero i.v. Posteriormente mejora.", ["Se pauta suero i.v.", "Posteriormente mejora."]),
        ("Creatinina 1.4. Ecografía normal.", ["Creatinina 1.4.", "Ecografía normal."]),
        ("Ingresa a las 14.30 h. Refiere disnea.", ["Ingresa a las 14.30 h.", "Refiere disnea."]),
        ("Evacuan 7.800 ml de líquido. Bien.", ["Evacuan 7.800 ml de líquido.", "Bien."]),
        ("Operado por J. Gil y M. A. Soto. Alta.", ["Operado por J. Gil y M. A. Soto.", "Alta."]),
        ("Cultivo: S. aureus. Se trata.", ["Cultivo: S. aureus.", "Se trata."]),
        ("Serología de hepatitis B. Ecografía normal.", ["Serología de hepatitis B.", "Ecografía normal."]),
        ("Disnea de grado III. Mejora con reposo.", ["Disnea de grado III.", "Mejora con reposo."]),
        ("Urea 35; Creatinina 1; Plaquetas normales.", ["Urea 35; Creatinina 1; Plaquetas normales."]),
        ("Radiografía (AP) Normal (véase) Bien.", ["Radiografía (AP) Normal (véase) Bien."]),
        ("Sin dolor.Refiere tos.", ["Sin dolor.", "Refiere tos."]),
        ("La paciente ( 40 años ) mejora ... y se va.", ["La paciente ( 40 años ) mejora ... y se va."]),
        ("Vive solo, etc. Niega tóxicos.", ["Vive solo, etc.", "Niega tóxicos."]),
    ],
)
def test_stops_that_end_a_sentence_and_stops_that_do_not(text: str, expected: list[str]) -> None:
    assert pieces(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Refiere dolor\nen el costado.", ["Refiere dolor\nen el costado."]),
        ("Acude a urgencias por dolor, tos, fiebre y\nDisnea de esfuerzo.",
         ["Acude a urgencias por dolor, tos, fiebre y\nDisnea de esfuerzo."]),
        ("Tratado por el Dr.\nGil Soto.", ["Tratado por el Dr.\nGil Soto."]),
        ("Dolor lumbar\nFiebre\nTos", ["Dolor lumbar", "Fiebre", "Tos"]),
        ("Dolor lumbar\n\nen el costado", ["Dolor lumbar", "en el costado"]),
        ("Dolor lumbar\r\n \r\nen el costado", ["Dolor lumbar", "en el costado"]),
        ("- fiebre\n- tos\n• dolor\n* náuseas", ["- fiebre", "- tos", "• dolor", "* náuseas"]),
        ("-fiebre\n-tos seca", ["-fiebre", "-tos seca"]),
        ("1. fiebre\n2. tos\n10. dolor", ["1. fiebre", "2. tos", "10. dolor"]),
        ("1) fiebre\n2) tos\na) dolor\nb) frío", ["1) fiebre", "2) tos", "a) dolor", "b) frío"]),
        ("1.- fiebre\n2.- tos", ["1.- fiebre", "2.- tos"]),
        ("10. Hernia de disco. Dolor.", ["10. Hernia de disco.", "Dolor."]),
        ("Refracción de\n-5 dioptrías en el ojo.", ["Refracción de\n-5 dioptrías en el ojo."]),
        ("EXPLORACIÓN:\nabdomen blando", ["EXPLORACIÓN:", "abdomen blando"]),
        ("JUICIO CLÍNICO\nneumonía", ["JUICIO CLÍNICO", "neumonía"]),
        ("PACIENTE CON DOLOR,\nFIEBRE Y TOS", ["PACIENTE CON DOLOR,\nFIEBRE Y TOS"]),
        ("antecedentes de interés:\nninguno", ["antecedentes de interés:\nninguno"]),
    ],
)  # fmt: skip
def test_lines_that_end_a_sentence_and_lines_that_do_not(text: str, expected: list[str]) -> None:
    assert pieces(text) == expected


def test_hard_wrapped_lines_run_on_where_the_next_word_would_not_have_fitted() -> None:
    wrapped = (
        "Mujer de mediana edad que ingresa en el servicio de Medicina\n"
        "Interna de nuestro hospital con sospecha de una enfermedad de\n"
        "Behçet. Se solicita valoración por el servicio de Reumatología\n"
        "Pediátrica y alta."
    )
    assert [len(piece.split("\n")) for piece in pieces(wrapped)] == [3, 2]
    short = wrapped.replace(" con sospecha de una enfermedad de", "")
    assert [len(piece.split("\n")) for piece in pieces(short)] == [2, 1, 2]


@pytest.mark.parametrize(
    "text",
    ["(" * 100_000 + ".", "( " * 50_000 + ".", "A. " * 33_000, "a\n" * 50_000, "- A.\n" * 20_000, "1." * 50_000 + " A",
     " " * 100_000 + ".", "9" * 100_000 + ".", "Dr. El " * 14_000, "((A. " * 20_000, "aB." * 33_000, "\n" * 100_000],
    ids=lambda text: repr(text[:8]),
)  # fmt: skip
def test_long_hostile_texts_are_split_to_their_end(text: str) -> None:
    borders = sentences(text)
    assert (borders[-1][1] if borders else 0) == len(text.rstrip())


def test_the_sentence_at_a_character() -> None:
    borders = sentences("Tos. Se ingresa.")
    assert borders == [(0, 4), (5, 16)]
    assert [sentence_at(borders, at) for at in (0, 3, 4, 5, 15, 16)] == [(0, 4), (0, 4), None, (5, 16), (5, 16), None]
    assert sentence_at([], 0) is None


TEXT = "Presenta fractura abierta de tibia. Dolor en rodilla derecha e izquierda.\n\nAlta."


def span_of(*parts: str) -> tuple[tuple[int, int], ...]:
    return tuple((TEXT.index(part), TEXT.index(part) + len(part)) for part in parts)


def located(*fragments: tuple[int, int]) -> DocumentMention:
    return mention_of(TEXT, fragments, sentences(TEXT))


@pytest.mark.parametrize(
    ("parts", "text", "sentence"),
    [
        (["fractura"], "fractura", "Presenta fractura abierta de tibia."),
        (["fractura", "de tibia"], "fractura de tibia", "Presenta fractura abierta de tibia."),
        (["izquierda", "rodilla"], "izquierda rodilla", "Dolor en rodilla derecha e izquierda."),
        (["Dolor", "tibia"], "Dolor tibia", "Dolor en rodilla derecha e izquierda."),
        (["tibia", "Dolor"], "tibia Dolor", "Presenta fractura abierta de tibia."),
        (["rodilla derecha", "derecha"], "rodilla derecha derecha", "Dolor en rodilla derecha e izquierda."),
        (["tibia. Dolor"], "tibia. Dolor", "Presenta fractura abierta de tibia."),
        ([" Dolor"], " Dolor", "Dolor en rodilla derecha e izquierda."),
        (["\n\nAlta"], "\n\nAlta", "Alta."),
    ],
)
def test_a_mention_is_its_fragments_in_the_order_given_and_the_sentence_of_the_first(
    parts: list[str], text: str, sentence: str
) -> None:
    found = located(*span_of(*parts))
    assert (found.mention.text, found.mention.sentence, found.spans) == (text, sentence, span_of(*parts))
    assert TEXT[slice(*found.sentence)] == sentence


def test_empty_fragments_are_passed_over() -> None:
    dolor = span_of("Dolor")[0]
    found = located((3, 3), dolor, (len(TEXT), len(TEXT)))
    assert (found.mention.text, found.spans) == ("Dolor", (dolor,))
    # A fragment of white space has no sentence of its own, and stays part of the text.
    assert located((35, 36), dolor).mention.sentence == "Dolor en rodilla derecha e izquierda."


def test_a_pair_of_offsets_is_a_span_of_one_fragment_and_names_are_handed_on() -> None:
    found = mention_of(TEXT, span_of("Dolor")[0], sentences(TEXT), kind="diagnosis", id="7")
    assert found.spans == span_of("Dolor")
    assert (found.mention.kind, found.mention.id) == ("diagnosis", "7")
    assert located(*[list(pair) for pair in span_of("Dolor")]).spans == span_of("Dolor")  # type: ignore[misc]


@pytest.mark.parametrize(
    ("span", "says"),
    [
        ((), "no fragment"),
        ("0 5", "no fragment"),
        (None, "no fragment"),
        ((0, 5, 9), "no pair"),
        ((1,), "no pair"),
        (((1.0, 5.0),), "no pair"),
        (((False, True),), "no pair"),
        (((0, 5), None), "no pair"),
        ((-1, 5), r"fragment 1 of the span is \(-1, 5\); expected 0 <= start <= end <= 80"),
        (((0, 5), (9, 8)), r"fragment 2 of the span is \(9, 8\)"),
        ((0, 81), r"is \(0, 81\)"),
        ((10**30, 10**31), "expected 0 <="),
        ((3, 3), "the span 3 3 is empty"),
        ((35, 36), "the span 35 36 holds no visible character"),
    ],
)
def test_a_span_that_marks_nothing_says_why_and_shows_no_text(span: object, says: str) -> None:
    assert len(TEXT) == 80
    with pytest.raises(MentionError, match=says) as caught:
        mention_of(TEXT, span, sentences(TEXT))  # type: ignore[arg-type]
    assert not any(word in str(caught.value) for word in ("fractura", "Dolor", "Alta"))


def test_a_mention_that_begins_in_none_of_the_sentences_given_is_an_error() -> None:
    with pytest.raises(MentionError, match="no sentence holds the character at 36"):
        mention_of(TEXT, span_of("Dolor"), [(0, 35)])


def test_each_span_gets_its_mention_or_its_error_in_its_place() -> None:
    spans = [span_of("fractura", "de tibia"), (5, 2), span_of("Alta")]
    first, second, third = mentions_of(TEXT, spans, kinds=["diagnosis"], ids=["a", "b", "c"])
    assert isinstance(first, DocumentMention)
    assert isinstance(second, MentionError)
    assert isinstance(third, DocumentMention)
    assert (first.mention.kind, first.mention.id, third.mention.kind, third.mention.id) == ("diagnosis", "a", None, "c")
    assert third.mention.sentence == "Alta."
    assert mentions_of(TEXT, []) == []


def test_what_is_no_document_is_refused() -> None:
    with pytest.raises(MentionError, match="is of type bytes"):
        mentions_of(b"Dolor", [(0, 5)])  # type: ignore[arg-type]
    with pytest.raises(MentionError, match="3 kinds, 0 ids and 0 texts for 1 spans"):
        mentions_of(TEXT, [(0, 5)], kinds=["a", "b", "c"])
    (broken,) = mentions_of("Dolor \ud800.", [(0, 5)])
    assert isinstance(broken, MentionError)


@given(st.data(), TEXTS)
@settings(max_examples=200)
def test_any_span_of_any_text_gives_a_mention_of_it_or_an_error(data: st.DataObject, text: str) -> None:
    offsets = st.integers(-2, len(text) + 2)
    spans = data.draw(st.lists(st.lists(st.tuples(offsets, offsets), max_size=4).map(tuple), max_size=4))
    found = mentions_of(text, spans)
    assert len(found) == len(spans)
    for span, one in zip(spans, found, strict=True):
        if isinstance(one, DocumentMention):
            kept = [(start, end) for start, end in span if start < end]
            assert list(one.spans) == kept
            assert one.mention.text == " ".join(text[start:end] for start, end in kept)
            assert one.mention.sentence == text[slice(*one.sentence)]
            assert one.sentence[0] < kept[-1][1] or len(kept) > 1
        else:
            assert isinstance(one, MentionError)


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        (["fractura", "de tibia"], "fractura de tibia"),
        (["fractura", "de tibia"], " fractura\n de  tibia "),
        (["de tibia", "fractura"], "fractura de tibia"),
        (["de tibia", "fractura"], "de tibia fractura"),
        (["izquierda.\n\nAlta"], "izquierda. Alta"),
        (["Dolor"], None),
    ],
)
def test_a_span_that_holds_the_expected_text_is_linked(parts: list[str], expected: str | None) -> None:
    found = mention_of(TEXT, span_of(*parts), sentences(TEXT), expected=expected)
    assert found == mention_of(TEXT, span_of(*parts), sentences(TEXT))
    assert expected is None or fits(TEXT, span_of(*parts), expected)


@pytest.mark.parametrize("expected", ["", "dolor", "Dolo", "Dolor en", "Ximénez", "\ud800"])
def test_a_span_that_holds_another_text_is_an_error_without_either(expected: str) -> None:
    one, other = mentions_of(TEXT, [span_of("Dolor"), span_of("Alta")], texts=[expected, "Alta"])
    assert isinstance(other, DocumentMention)
    assert str(one) == ("the text at 36 41 is not the annotated one; were line ends or the text changed since?")
    assert not fits(TEXT, span_of("Dolor"), expected)
    assert not fits(TEXT, (0, 999), "Dolor")


def test_expected_texts_are_strings_and_one_for_each_span() -> None:
    with pytest.raises(MentionError, match="0 kinds, 0 ids and 2 texts for 1 spans"):
        mentions_of(TEXT, [(0, 5)], texts=["a", "b"])
    (wrong,) = mentions_of(TEXT, [span_of("Dolor")], texts=[5])  # type: ignore[list-item]
    assert "is of type int; give a string, or None" in str(wrong)


@given(st.data(), st.text("ab \n", min_size=1, max_size=30))
@settings(max_examples=100)
def test_offsets_fit_their_own_text_and_no_other(data: st.DataObject, text: str) -> None:
    start = data.draw(st.integers(0, len(text) - 1))
    end = data.draw(st.integers(start + 1, len(text)))
    own = text[start:end]
    assert fits(text, (start, end), own)
    other = data.draw(st.text("ab \n", max_size=5))
    assert fits(text, (start, end), other) == ("".join(other.split()) == "".join(own.split()))
