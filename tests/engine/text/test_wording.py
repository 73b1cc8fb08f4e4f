"""What is said of a link: the same words on the terminal, in tables and on the page, in both languages."""

from __future__ import annotations

import re
from importlib.resources import files
from typing import get_args

import pytest
from cielo.records import Method
from cielo.text.language import LANGUAGES, Language
from cielo.text.wording import found_by, words

SHARED = ("exactLiteral", "exactNormal", "semantic", "lexicon", "none", "noneSure", "proven", "unproven")


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_page_says_the_same(language: Language) -> None:
    page = (files("cielo.server") / "page" / "texts.js").read_text(encoding="utf-8")
    spanish, english = page.split("\nconst en", 1)
    said = dict(re.findall(r'(\w+): "([^"]*)"', spanish if language == "es" else english))
    assert {name: said[name] for name in SHARED} == {name: words(language)[name] for name in SHARED}


@pytest.mark.parametrize("language", LANGUAGES)
def test_each_way_of_finding_a_code_is_said_in_its_own_words(language: Language) -> None:
    ways = [
        found_by(method, normal=normal, unsure=unsure, language=language)
        for method in get_args(Method)
        for normal, unsure in ((False, False), (True, False), (False, True))
    ]
    assert len(set(ways)) == 6  # exact in two ways, none in two, semantic, lexicon
