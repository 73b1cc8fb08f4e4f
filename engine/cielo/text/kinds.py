"""The words for kinds of codes that people and corpora use, and which kind of a knowledge base each means."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from cielo.errors import MentionError
from cielo.records import Mention
from cielo.text.normal import fold_name

# Each line: words for one kind, as `fold_name` leaves them. The labels of the shared tasks are among them.
_WORDS = (
    frozenset(
        "diagnosis diagnoses diagnostic diagnostico diagnosticos diag dx d enfermedad enfermedades sintoma".split()
    ),
    frozenset(
        "procedure procedures procedimiento procedimientos proc px p intervencion intervenciones cirugia".split()
    ),
)
# What may stand beside such a word, as hospital tables have it: `Dx principal`, `procedimiento quirúrgico`, `DIAG. 2`.
_QUALIFIERS = frozenset(
    "principal principales primario secundario secundarios otro otros quirurgico quirurgicos quirurgica quirurgicas "
    "diagnostico diagnosticos diagnostica terapeutico terapeuticos terapeutica clinico clinicos clinica medico medicos "
    "de del al alta ingreso main primary secondary other cie 10 es".split()
)
USUAL = ("diagnosis", "procedure")


def kind_of(word: str, kinds: Sequence[str] = USUAL) -> str | None:
    """Return the kind that a word means: the word itself, one written alike, or the only one with the same meaning.

    Args:
        word: as it stands in a cell.
        kinds: of the knowledge base.
    """
    if word in kinds:
        return word
    folded = fold_name(word)
    alike = [kind for kind in kinds if fold_name(kind) == folded]
    if not alike:
        first = _first_word(word)
        alike = [kind for kind in kinds for words in _WORDS if first in words and fold_name(kind) in words]
    return alike[0] if len(alike) == 1 else None


def _first_word(word: str) -> str:
    """Return the first of a cell's words, folded, where the others only qualify it; else all of them as one."""
    parts = [folded for part in re.split(r"[\W_]+", word) if (folded := fold_name(part))]
    plain = all(other in _QUALIFIERS or other.isdecimal() for other in parts[1:])
    return parts[0] if plain and parts else fold_name(word)


def named_kind(mention: Mention, kinds: Sequence[str]) -> Mention:
    """Return a mention with its kind as a knowledge base calls it (see `kind_of`).

    Raises:
        MentionError: where it is none of `kinds`, or no `Mention` at all.
    """
    if not isinstance(mention, Mention):
        raise MentionError("got a mention of type {found}, expected a Mention", found=type(mention).__name__)
    if mention.kind is None or mention.kind in kinds:
        return mention
    kind = kind_of(mention.kind, kinds)
    if kind is None:
        # The value is not shown: in a table with shifted columns it is clinical text.
        expected = ", ".join(kinds)
        raise MentionError(
            "the mention's kind is none of the knowledge base's: expected {expected}, or none", expected=expected
        )
    return replace(mention, kind=kind)
