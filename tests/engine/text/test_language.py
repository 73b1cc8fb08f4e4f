"""The catalogue of Spanish sentences: every sentence that the code says, and none besides."""

from __future__ import annotations

import ast
import copy
import json
import pickle
import string
from collections.abc import Callable, Iterator
from pathlib import Path

import cielo
import jinja2
import pytest
from cielo.errors import MentionError
from cielo.said import Said
from cielo.text import wording
from cielo.text.language import (
    catalogue,
    in_language,
    numeral,
    packed,
    retell,
    say,
    speaking,
    spoken,
    translate,
    unpacked,
)

ROOT = Path(cielo.__file__).parent
SAYING = {"say", "translate", "sentence", "Said"}  # what has a sentence of the catalogue as its first argument
# The errors that end in the column `error`, and where: the rest of the workbench and the integrations link no rows.
ENDING_IN_ROWS = {"MentionError", "UnfitError", "_RefusedError"}
CORPORA = "workbench/evaluation/corpora"
OF_ROWS = ("records.py", "tables", "text", "link", "documents", "bulk", "cli", CORPORA)


def sayings() -> Iterator[ast.expr]:
    """Yield what stands in the code as a sentence: the first argument of `SAYING`, and of an error of a row."""
    for path in ROOT.rglob("*.py"):
        place = path.relative_to(ROOT).as_posix()
        of_rows = any(place == room or place.startswith(f"{room}/") for room in OF_ROWS)
        names = SAYING | ENDING_IN_ROWS if of_rows else SAYING
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and node.args:
                name = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
                if name in names and not (isinstance(node.func, ast.Attribute) and name == "translate"):
                    yield node.args[0]


def said_in_code() -> Iterator[str]:
    """Yield every sentence that stands in the code."""
    return (str(saying.value) for saying in sayings() if isinstance(saying, ast.Constant))


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


def test_no_error_of_a_row_is_filled_before_it_is_translated() -> None:
    filled = [ast.unparse(saying) for saying in sayings() if isinstance(saying, ast.JoinedStr | ast.BinOp)]
    assert filled == []


@pytest.mark.parametrize("room", ["tables", "documents", "bulk", CORPORA])
def test_no_row_is_refused_in_words_that_cannot_be_translated(room: str) -> None:
    refused = [
        ast.unparse(node)
        for path in (ROOT / room).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
        for value in [
            *node.args[1:2] * (ast.unparse(node.func) == "RejectedRow"),
            *(each.value for each in node.keywords if each.arg in ("error", "reason")),
        ]
        if isinstance(value, ast.JoinedStr) or (isinstance(value, ast.Constant) and value.value is not None)
    ]
    assert refused == []


def test_an_error_keeps_its_parts_and_is_english_by_itself() -> None:
    error = MentionError("the {name} is {found}", name=Said("kind"), found=Said("a number"))
    assert str(error) == error.said == "the kind is a number"
    assert in_language(error, "es") == "el campo «tipo» es un número"
    assert in_language(MentionError(error.said), "es") == "el campo «tipo» es un número"
    assert in_language(error, "en") == "the kind is a number"
    assert in_language("what a library says", "es") == "what a library says"


def test_text_with_braces_is_no_place() -> None:
    assert str(MentionError("got {this}")) == "got {this}"
    assert in_language(Said("the {name} is empty", name="{x}"), "es") == "el campo «{x}» está vacío"


def by_json(said: str) -> str:
    """Send what was said through JSON."""
    return unpacked(json.loads(json.dumps(packed(said))))


def by_pickle(said: str) -> str:
    """Send what was said to another process."""
    carried: str = pickle.loads(pickle.dumps(said))
    return carried


@pytest.mark.parametrize("carry", [by_json, by_pickle, copy.deepcopy])
def test_its_parts_are_carried_by_pickles_and_json(carry: Callable[[str], str]) -> None:
    said = Said("the {name} is {found}", name=Said("kind"), found=Said("{what} 3", what=3))
    assert carry(said) == said
    assert in_language(carry(said), "es") == "el campo «tipo» es 3 3"
    assert in_language(carry("the document has no text file"), "es").startswith("el documento no tiene")


@pytest.mark.parametrize(
    ("kept", "spanish"),
    [
        (Said("{processor}, {count} cores", processor="A 2.5 GHz", count=2), "A 2.5 GHz, 2 núcleos"),
        (
            Said("the corpus has {count:,} mentions, of the split {split}; CodiEsp's test split has {most:,}",
                 count=1286, split="dev", most=4777),
            "el corpus tiene 1.286 menciones, de la partición dev; la de prueba de CodiEsp tiene 4.777",
        ),
        (
            Said("{count:,} documents were read {change}, as their annotations count", count=2,
                 change=Said("with LF line ends")),
            "2 documentos se leyeron con finales de línea LF, como cuentan sus anotaciones",
        ),
        ("all that were asked for", "todas las pedidas"),
        ("a.ann, line 3", "a.ann, line 3"),
        ("{braces} of a user's", "{braces} of a user's"),
    ],
)  # fmt: skip
def test_what_a_record_keeps_is_told_in_the_language_that_is_spoken(kept: str, spanish: str) -> None:
    assert retell(kept) == kept
    with speaking("es"):
        assert retell(kept) == spanish
