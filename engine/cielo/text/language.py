"""Sentences in the reader's language: written in English where they are said, looked up in a catalogue for Spanish."""

from __future__ import annotations

import string
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import Literal, get_args

from cielo.records import Json
from cielo.said import Said, SayingError

Language = Literal["en", "es"]
LANGUAGES: tuple[Language, ...] = get_args(Language)

_current: ContextVar[Language] = ContextVar("language", default="en")
_SPANISH_SIGNS = str.maketrans(",.", ".,")


class _SpanishFormatter(string.Formatter):
    def format_field(self, value: object, format_spec: str) -> str:
        written = format(value, format_spec)
        return written.translate(_SPANISH_SIGNS) if isinstance(value, int | float) else written


_spanish = _SpanishFormatter()


@cache
def catalogue() -> Mapping[str, Mapping[str, str]]:
    """Return the Spanish of ``es.toml``: by its sections, the English and what it is called."""
    found = tomllib.loads((files("cielo.text") / "es.toml").read_text(encoding="utf-8"))
    return MappingProxyType({name: MappingProxyType(section) for name, section in found.items()})


@cache
def _sentences() -> Mapping[str, str]:
    return catalogue()["sentences"]


def translate(english: str, language: Language, /, **values: object) -> str:
    """Return a sentence in a language, its places (``{name}``) filled; numbers are written in that language's signs.

    A sentence that the catalogue lacks stays English: what a library says has no translation.
    """
    if language == "en":
        return english.format(**values) if values else english
    sentence = _sentences().get(english, english)
    return _spanish.vformat(sentence, (), values) if values else sentence


def in_language(error: SayingError | str, language: Language) -> str:
    """Return an error, or the text of one (see `cielo.said.Said`), in a language."""
    text = error.said if isinstance(error, SayingError) else error
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


def retell(text: SayingError | str) -> str:
    """Return an error, or a text that a record keeps, in the language of `speaking`; see `in_language`."""
    return in_language(text, _current.get())


def numeral(written: str) -> str:
    """Return a number that is written as in English (``1,234.5``) in the signs of `speaking` (``1.234,5``)."""
    return written if _current.get() == "en" else written.translate(_SPANISH_SIGNS)
