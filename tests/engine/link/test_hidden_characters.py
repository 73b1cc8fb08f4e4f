"""Hidden characters and line ends in clinical text: the model does not see them, and offsets stay those of the text."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from cielo.link.linker import Linker
from cielo.records import Mention

HIDDEN = ("\u00ad", "\u200b", "\u200d", "\u200e", "\u202a", "\u2060", "\u2066", "\ufeff")
CLEAN = "Ingresa por dolor de garganta. Se hizo TC abdominal, normal."
TERMS = ("dolor de garganta", "TC abdominal")


@pytest.fixture(scope="module")
def linker() -> Iterator[Linker]:
    with Linker.open(device="cpu", cache=False) as opened:
        yield opened


def spans_of(text: str, terms: tuple[str, ...]) -> list[tuple[int, int]]:
    return [(text.index(term), text.index(term) + len(term)) for term in terms]


@pytest.mark.parametrize("sign", HIDDEN, ids=lambda sign: f"{ord(sign):04X}")
def test_a_document_with_hidden_characters_links_as_without_them(linker: Linker, sign: str) -> None:
    terms = tuple(f"{term[:4]}{sign}{term[4:]}" for term in TERMS)
    text = CLEAN
    for clean, hidden in zip(TERMS, terms, strict=True):
        text = text.replace(clean, hidden)
    text = text.replace("hizo", f"hi{sign}zo")
    spans = spans_of(text, terms)
    found = linker.link_document(text, spans)
    expected = linker.link_document(CLEAN, spans_of(CLEAN, TERMS))
    assert [entry.spans for entry in found] == [(span,) for span in spans]
    for one, other, term in zip(found, expected, terms, strict=True):
        assert one.link is not None and other.link is not None
        assert text[slice(*one.spans[0])] == term
        assert (one.link.codes, one.link.generated) == (other.link.codes, other.link.generated)
        assert one.link.log_prob == pytest.approx(other.link.log_prob, abs=1e-4)


def test_a_hard_wrapped_note_links_as_one_line_does(linker: Linker) -> None:
    wrapped = CLEAN.replace(" de garganta", "\nde garganta").replace("TC abd", "TC\r\nabd")
    terms = ("dolor\nde garganta", "TC\r\nabdominal")
    (one, two) = linker.link_document(wrapped, spans_of(wrapped, terms))
    lines = linker.link([Mention(TERMS[0], "Ingresa por dolor de garganta."),
                         Mention(TERMS[1], "Se hizo TC abdominal, normal.")])  # fmt: skip
    for found, link in zip((one, two), lines, strict=True):
        assert found.link is not None
        assert (found.link.generated, found.link.codes) == (link.generated, link.codes)
        assert found.link.log_prob == pytest.approx(link.log_prob, abs=1e-4)
