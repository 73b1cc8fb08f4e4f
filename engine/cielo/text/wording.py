"""What happened to a mention in a coder's words, in English and Spanish: one wording for terminal, tables and page."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from types import MappingProxyType

from cielo.records import Method
from cielo.text.language import Language, catalogue, translate

_ENGLISH = {
    "exactLiteral": "the model's description is in the catalogue, letter by letter",
    "exactNormal": "the model's description is in the catalogue, but for case, accents or signs",
    "semantic": "the model's description is not in the catalogue: this is the nearest one that is",
    "lexicon": "the mention is in your own lexicon; the model was not asked",
    "none": "nothing in the catalogue is near enough to the model's description",
    "noneSure": "the confidence is too low to give a code",
    "proven": "proven: no description is more probable",
    "unproven": "not proven: another one could be more probable",
    "hypothesis": "written by the model",
    "neighbour": "near the model's description",
    "ofLexicon": "lexicon",
    "probability": "probability {value}",
    "distance": "distance {value}",
    "yes": "yes",
    "no": "no",
    "accept": "accept",
    "review": "review",
    "byHand": "none",
    "row": "row",
    "rows": "rows",
    "mention": "distinct mention",
    "mentions": "distinct mentions",
    "fault": "error",
    "faults": "errors",
    "rate": "{value} rows a second",
    "byMethod": "by method",
    "byDecision": "by decision",
}


@cache
def words(language: Language) -> Mapping[str, str]:
    """Return the words by their names; the page has those that it shares under the same names."""
    return MappingProxyType({name: translate(english, language) for name, english in _ENGLISH.items()})


def labels(language: Language) -> Mapping[str, str]:
    """Return the names of the output's columns for people; those that are missing are called as in cielo's own."""
    return {} if language == "en" else catalogue()["columns"]


def values(language: Language) -> Mapping[str, str]:
    """Return methods, matches and the usual kinds for people; those that are missing stand as they are."""
    return {} if language == "en" else catalogue()["values"]


def decided(decision: str, language: Language) -> str:
    """Return a decision (see `cielo.decisions`) in a coder's words."""
    return words(language).get("byHand" if decision == "none" else decision, decision)


def found_by(method: Method, *, normal: bool, unsure: bool, language: Language) -> str:
    """Say how a code was found.

    Args:
        method: of the link.
        normal: whether the description was matched in normal form.
        unsure: whether there is a confidence, which was too low to answer.
        language: of the words.
    """
    name: str = method
    if method == "exact":
        name = "exactNormal" if normal else "exactLiteral"
    elif method == "none" and unsure:
        name = "noneSure"
    return words(language)[name]
