"""Sentences in the reader's language: written in English where they are said, looked up in a catalogue for Spanish."""

from __future__ import annotations

import re
import string
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import Literal, get_args

from cielo.errors import CieloError, Said
from cielo.records import Json

Language = Literal["en", "es"]
LANGUAGES: tuple[Language, ...] = get_args(Language)

_current: ContextVar[Language] = ContextVar("language", default="en")
_SPANISH_SIGNS = str.maketrans(",.", ".,")
_NUMBER = re.compile(r"[-+]?\d{1,3}(,\d{3})*(\.\d+)?|[-+]?\d+(\.\d+)?")
_TELLING = 8  # letters around the places of a sentence, without which it could be taken for another


@cache
def catalogue() -> Mapping[str, Mapping[str, str]]:
    """Return the Spanish of ``es.toml``: by its sections, the English and what it is called."""
    found = tomllib.loads((files("cielo.text") / "es.toml").read_text(encoding="utf-8"))
    return MappingProxyType({name: MappingProxyType(section) for name, section in found.items()})


@cache
def _sentences() -> Mapping[str, str]:
    return catalogue()["sentences"]


def translate(english: str, language: Language, /, **values: object) -> str:
    """Return a sentence in a language, its places (``{name}``) filled.

    A sentence that the catalogue lacks stays English: what a library says has no translation.
    """
    sentence = english if language == "en" else _sentences().get(english, english)
    return sentence.format(**values) if values else sentence


def in_language(error: CieloError | str, language: Language) -> str:
    """Return an error, or the text of one (see `cielo.errors.Said`), in a language."""
    text = error.said if isinstance(error, CieloError) else error
    if not isinstance(text, Said):
        return translate(text, language)
    values = {name: in_language(value, language) if isinstance(value, Said) else value
              for name, value in text.values.items()}  # fmt: skip
    return translate(text.sentence, language, **values)


def packed(said: str) -> Json:
    """Return the text of an error as JSON that keeps its parts, for `unpacked`."""
    if not isinstance(said, Said):
        return said
    values: dict[str, Json] = {
        name: value if isinstance(value, int) else packed(value if isinstance(value, str) else str(value))
        for name, value in said.values.items()
    }
    return {"sentence": said.sentence, "values": values}


def unpacked(kept: Json) -> str:
    """Return what `packed` kept."""
    if not isinstance(kept, dict):
        return str(kept)
    values = kept["values"] if isinstance(kept["values"], dict) else {}
    given = {name: value if isinstance(value, int) else unpacked(value) for name, value in values.items()}
    return Said(str(kept["sentence"]), **given)


@contextmanager
def speaking(language: Language) -> Iterator[None]:
    """Let `say` and `numeral` speak a language in this thread or task, while the context is open."""
    before = _current.set(language)
    try:
        yield
    finally:
        _current.reset(before)


def spoken() -> Language:
    """Return the language that `say` speaks here."""
    return _current.get()


def say(english: str, /, **values: object) -> str:
    """Return a sentence in the language of `speaking`; see `translate`."""
    return translate(english, _current.get(), **values)


def sentence(english: str) -> str:
    """Return a sentence as it is: one that stands in a table, and that `say` gets later by a name.

    Sentences are found where they are written: as the first argument of `say`, `translate` or this, in a template of
    ``_``. What stands in a variable is not seen by the test that holds the catalogue to the code, unless it was marked.
    """
    return english


def told(english: str, /, **values: object) -> str:
    """Return a sentence in English, its places filled, for a record: `retell` says it to a reader."""
    return translate(english, "en", **values)


def retell(english: str) -> str:
    """Return a sentence that was filled in English, as records keep them, in the language of `speaking`.

    What is no sentence of the catalogue, filled, stays as it is.
    """
    if _current.get() == "en":
        return english
    for pattern, spanish in _patterns():
        if found := pattern.fullmatch(english):
            return spanish.format(**{name: _retold_value(value) for name, value in found.groupdict().items()})
    return _sentences().get(english, english)


def _retold_value(value: str) -> str:
    return numeral(value) if _NUMBER.fullmatch(value) else _sentences().get(value, value)


@cache
def _patterns() -> Sequence[tuple[re.Pattern[str], str]]:
    """Return what the English of each sentence with places looks like when it is filled, the most words first."""
    found = []
    for english, spanish in _sentences().items():
        parts = list(string.Formatter().parse(english))
        literal = sum(len(text) for text, *_ in parts)
        names = {name for _, name, *_ in parts if name}
        if names and literal >= _TELLING:
            found.append((literal, _pattern(parts), re.sub(r"{(\w+):[^}]*}", r"{\1}", spanish)))
    return [(pattern, spanish) for _, pattern, spanish in sorted(found, key=lambda entry: -entry[0])]


def _pattern(parts: Iterable[tuple[str, str | None, str | None, str | None]]) -> re.Pattern[str]:
    written, seen = "", set[str]()
    for text, name, *_ in parts:
        written += re.escape(text)
        if name:
            value = r"[\d,.]+" if name == "count" else ".+?"
            written += f"(?P={name})" if name in seen else f"(?P<{name}>{value})"
            seen.add(name)
    return re.compile(written, re.DOTALL)


def numeral(written: str) -> str:
    """Return a number that is written as in English (``1,234.5``) in the signs of `speaking` (``1.234,5``)."""
    return written if _current.get() == "en" else written.translate(_SPANISH_SIGNS)
