"""Pure functions on text: the prompt, the preparation of sentences, the normal form.

Everything here follows what the published Spanish model was trained on
(https://huggingface.co/ezotova/medical-mt5-clinical-el-spanish and the code of its paper).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Literal

from cielo.text.normal import fold_spaces
from cielo.text.pieces import folded_pieces, joined, visible_pieces, window_of

PROMPT = "Genera una definición para el término: {term} - en la frase: {sentence}"

LineEnds = Literal["space", "delete"]
"""What becomes of a line end in a sentence: a space, or nothing, as the paper did."""

_NEWLINES = re.compile(r"[\r\n\u0085\u2028\u2029]+")
_CLAUSE_MARKS = ".,;:"
_CODE_SUFFIX = re.compile(r"\s*\[(?:Code|Código):\s*[^\]]*\]\s*$", re.IGNORECASE)


def prepare_sentence(sentence: str, *, line_ends: LineEnds = "space") -> str:
    """Prepare a sentence as the training data of the paper was prepared.

    One space is inserted after each ``.``, ``,``, ``;`` and ``:`` (so ``3.5`` becomes ``3. 5``), and runs of spaces
    are folded.

    Args:
        sentence: as it stands in its document.
        line_ends: ``space`` keeps the words of hard-wrapped notes apart; ``delete`` is the paper's way, which joins
            the last word of a line to the first of the next.
    """
    return fold_spaces(_space_out(sentence, line_ends))


def _space_out(text: str, line_ends: LineEnds) -> str:
    """Insert the spaces after clause marks, character by character, and delete line ends where they are to go."""
    if line_ends == "delete":
        text = _NEWLINES.sub("", text)
    for mark in _CLAUSE_MARKS:
        text = text.replace(mark, f"{mark} ")
    return text


def window_sentence(sentence: str, mention: str, window: int) -> str:
    """Cut `sentence` to `window` characters on each side of the first occurrence of `mention`; see `window_of`."""
    return window_of([sentence], mention, window)


def build_prompt(
    term: str,
    sentence: str | None,
    *,
    prepare: bool = True,
    window: int | None = None,
    line_ends: LineEnds = "space",
    longest: int | None = None,
) -> str:
    """Return the generator's prompt for a mention. Hidden characters (see `remove_hidden`) stay out of it.

    Args:
        term: the text of the mention.
        sentence: the sentence it stands in; None or blank: the mention stands for it.
        prepare: whether to prepare the sentence (see `prepare_sentence`).
        window: characters of the sentence kept on each side of the mention; None keeps the whole sentence.
        line_ends: of a sentence that is prepared: what they become (see `prepare_sentence`).
        longest: characters after which the prompt is cut, at least 1; None: it is whole, however long that is. With
            it texts of any length are read piece by piece.
    """
    shown = joined(folded_pieces(visible_pieces(term)), longest).rstrip(" ")
    if longest is not None and len(shown) >= longest:  # the sentence comes after the cut
        return PROMPT.format(term=shown, sentence="")[:longest]
    if not any(piece and not piece.isspace() for piece in visible_pieces(sentence or "")):
        return PROMPT.format(term=shown, sentence=shown)[:longest]
    # The mention stands in the prepared sentence in its own prepared form (``3.5`` as ``3. 5``).
    pieces = _pieces(sentence or "", prepare, line_ends)
    if window is not None:
        mention = "".join(_pieces(term, prepare, line_ends)).strip()
        found = window_of(pieces, mention, window)
    else:
        found = joined(pieces, longest)
        found = found.rstrip(" ") if prepare else found
    return PROMPT.format(term=shown, sentence=found)[:longest]


def _pieces(text: str, prepare: bool, line_ends: LineEnds) -> Iterator[str]:
    pieces = visible_pieces(text)
    return folded_pieces(pieces, lambda piece: _space_out(piece, line_ends)) if prepare else pieces


def strip_code_suffix(generated: str) -> str:
    """Remove the display suffix `` [Code: BW20]`` that the model card shows after a description."""
    return _CODE_SUFFIX.sub("", generated)
