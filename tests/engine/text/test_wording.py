"""What is said of a link: the same words on the terminal, in tables and on the page, in both languages."""

from __future__ import annotations

import re
from importlib.resources import files
from typing import get_args

import pytest
from cielo.records import Method
from cielo.text.language import LANGUAGES, Language
from cielo.text.wording import found_by, words
from cielo.wire import Problem

SHARED = ("exactLiteral", "exactNormal", "semantic", "lexicon", "none", "noneSure", "proven", "unproven")


def said_by_the_page(language: Language) -> dict[str, str]:
    page = (files("cielo.server") / "page" / "texts.js").read_text(encoding="utf-8")
    spanish, english = page.split("\nconst en", 1)
    return dict(re.findall(r'(\w+): "([^"]*)"', spanish if language == "es" else english))


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_page_says_the_same(language: Language) -> None:
    said = said_by_the_page(language)
    assert {name: said[name] for name in SHARED} == {name: words(language)[name] for name in SHARED}


def test_the_page_has_spanish_for_each_kind_of_the_server_s_errors() -> None:
    said = {name.removeprefix("problem_") for name in said_by_the_page("es") if name.startswith("problem_")}
    assert said == set(get_args(Problem))
    assert not [name for name in said_by_the_page("en") if name.startswith("problem_")], "the server's own words"


@pytest.mark.parametrize("language", LANGUAGES)
def test_each_way_of_finding_a_code_is_said_in_its_own_words(language: Language) -> None:
    ways = [
        found_by(method, normal=normal, unsure=unsure, language=language)
        for method in get_args(Method)
        for normal, unsure in ((False, False), (True, False), (False, True))
    ]
    assert len(set(ways)) == 6  # exact in two ways, none in two, semantic, lexicon
