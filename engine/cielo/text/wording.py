"""What happened to a mention in a coder's words, in English and Spanish: one wording for terminal, tables and page."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, Literal, get_args

from cielo.records import Method

Language = Literal["en", "es"]
LANGUAGES: tuple[Language, ...] = get_args(Language)

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
    "holdError": "{value} row(s) hold an error; see their column `error`",
}
_SPANISH = {
    "exactLiteral": "la descripción del modelo está en el catálogo, letra por letra",
    "exactNormal": "la descripción del modelo está en el catálogo, salvo mayúsculas, acentos o signos",
    "semantic": "la descripción del modelo no está en el catálogo: esta es la más parecida",
    "lexicon": "la mención está en su propio léxico; no se usó el modelo",
    "none": "nada del catálogo se parece lo bastante a la descripción del modelo",
    "noneSure": "la confianza es demasiado baja para dar un código",
    "proven": "demostrado: ninguna descripción es más probable",
    "unproven": "sin demostrar: otra podría ser más probable",
    "hypothesis": "la escribió el modelo",
    "neighbour": "parecida a la descripción del modelo",
    "ofLexicon": "léxico",
    "probability": "probabilidad {value}",
    "distance": "distancia {value}",
    "yes": "sí",
    "no": "no",
    "accept": "aceptar",
    "review": "revisar",
    "byHand": "ninguno",
    "row": "fila",
    "rows": "filas",
    "mention": "mención distinta",
    "mentions": "menciones distintas",
    "fault": "error",
    "faults": "errores",
    "rate": "{value} filas por segundo",
    "byMethod": "por método",
    "byDecision": "por decisión",
    "holdError": "{value} fila(s) con error; véase su columna `error`",
}
WORDS: Final[Mapping[Language, Mapping[str, str]]] = MappingProxyType(
    {"en": MappingProxyType(_ENGLISH), "es": MappingProxyType(_SPANISH)}
)
"""The words by their names; the page has those that it shares under the same names."""

LABELS: Final[Mapping[Language, Mapping[str, str]]] = MappingProxyType({
    "en": MappingProxyType({}),
    "es": MappingProxyType({
        "code": "código", "codes": "códigos", "title": "título", "description": "descripción", "kind": "tipo",
        "decision": "decisión", "confidence": "confianza", "found": "cómo se encontró", "method": "método",
        "match": "coincidencia", "generated": "texto generado", "log_prob": "log-probabilidad",
        "probability": "probabilidad", "distance": "distancia", "proof": "búsqueda", "truncated": "cortada",
        "provenance": "procedencia", "error": "error", "alternative": "alternativa", "evidence": "prueba",
    }),
})  # fmt: skip
"""The names of the output's columns for people; those that are missing are called as in cielo's own tables."""


VALUES: Final[Mapping[Language, Mapping[str, str]]] = MappingProxyType({
    "en": MappingProxyType({}),
    "es": MappingProxyType({
        "exact": "exacto", "semantic": "semántico", "lexicon": "léxico", "none": "ninguno", "literal": "literal",
        "normal": "normal", "diagnosis": "diagnóstico", "procedure": "procedimiento",
    }),
})  # fmt: skip
"""Methods, matches and the usual kinds for people; those that are missing stand as they are."""


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
    return WORDS[language][name]
