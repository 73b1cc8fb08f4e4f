"""The catalogue of Spanish sentences: every sentence that the code says, and none besides."""

from __future__ import annotations

import ast
import string
from collections.abc import Iterator
from pathlib import Path

import cielo
import jinja2
import pytest
from cielo.text import wording
from cielo.text.language import catalogue, numeral, retell, say, speaking, spoken, told, translate

ROOT = Path(cielo.__file__).parent
SAYING = {"say", "translate", "told", "sentence"}  # functions whose first argument is a sentence of the catalogue


def said_in_code() -> Iterator[str]:
    """Yield every sentence that stands in the code as the first argument of one of `SAYING`."""
    for path in ROOT.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
                name = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
                if name in SAYING:
                    yield str(node.args[0].value)


def said_in_templates() -> Iterator[str]:
    """Yield every sentence that stands in a template as the first argument of ``_``."""
    for path in ROOT.rglob("*.j2"):
        for call in jinja2.Environment().parse(path.read_text(encoding="utf-8")).find_all(jinja2.nodes.Call):
            if isinstance(call.node, jinja2.nodes.Name) and call.node.name == "_":
                assert isinstance(call.args[0], jinja2.nodes.Const), f"{path.name}, line {call.lineno}"
                yield call.args[0].value


def every_sentence() -> set[str]:
    """Return what can be said."""
    return {*said_in_code(), *said_in_templates(), *wording.words("en").values()}


def places(sentence: str) -> set[tuple[str | None, str | None]]:
    """Return the places of a sentence, with their formats."""
    return {(name, form) for _, name, form, _ in string.Formatter().parse(sentence) if name is not None}


def test_every_sentence_has_its_spanish() -> None:
    assert sorted(every_sentence() - set(catalogue()["sentences"])) == []


def test_the_catalogue_holds_no_sentence_that_nobody_says() -> None:
    assert sorted(set(catalogue()["sentences"]) - every_sentence()) == []


@pytest.mark.parametrize(("english", "spanish"), sorted(catalogue()["sentences"].items()))
def test_the_places_are_the_same(english: str, spanish: str) -> None:
    assert places(english) == places(spanish)


def test_a_context_says_which_language_is_spoken() -> None:
    assert (say("probability {value}", value=1), numeral("1,234.5"), spoken()) == ("probability 1", "1,234.5", "en")
    with speaking("es"):
        assert (say("probability {value}", value=1), numeral("1,234.5")) == ("probabilidad 1", "1.234,5")
        with speaking("en"):
            assert spoken() == "en"
        assert spoken() == "es"
    assert spoken() == "en"


def test_what_the_catalogue_lacks_stays_english() -> None:
    assert translate("nobody says {this}", "es", this=3) == "nobody says 3"


@pytest.mark.parametrize(
    ("kept", "spanish"),
    [
        (told("{processor}, {count} cores", processor="A 2.5 GHz", count=2), "A 2.5 GHz, 2 núcleos"),
        (
            told("the corpus has {count} mentions, of the split {split}; CodiEsp's test split has {most}",
                 count="1,286", split="dev", most="4,777"),
            "el corpus tiene 1.286 menciones, de la partición dev; la de prueba de CodiEsp tiene 4.777",
        ),
        (
            told("{count} documents were read {change}, as their annotations count", count=2,
                 change="with LF line ends"),
            "2 documentos se leyeron con finales de línea LF, como cuentan sus anotaciones",
        ),
        ("all that were asked for", "todas las pedidas"),
        ("a.ann, line 3", "a.ann, line 3"),
        ("{braces} of a user's", "{braces} of a user's"),
    ],
)  # fmt: skip
def test_what_a_record_keeps_in_english_is_told_again(kept: str, spanish: str) -> None:
    assert retell(kept) == kept
    with speaking("es"):
        assert retell(kept) == spanish
