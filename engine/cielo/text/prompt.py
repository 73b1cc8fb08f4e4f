"""Pure functions on text: the prompt, the preparation of sentences, the normal form.

Everything here follows what the published Spanish model was trained on
(https://huggingface.co/ezotova/medical-mt5-clinical-el-spanish and the code of its paper).
"""

from __future__ import annotations

import re
from typing import Literal

from cielo.text.normal import fold_spaces, remove_hidden

PROMPT = "Genera una definición para el término: {term} - en la frase: {sentence}"

LineEnds = Literal["space", "delete"]
"""What becomes of a line end in a sentence: a space, or nothing, as the paper did."""

_NEWLINES = re.compile(r"[\r\n\u0085\u2028\u2029]+")
_CLAUSE_MARKS = re.compile(r"([.,;:])")
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
    if line_ends == "delete":
        sentence = _NEWLINES.sub("", sentence)
    return fold_spaces(_CLAUSE_MARKS.sub(r"\1 ", sentence))


def window_sentence(sentence: str, mention: str, window: int) -> str:
    """Cut `sentence` to `window` characters on each side of the first occurrence of `mention`.

    The mention is looked for without regard to case. Where it does not occur, the first
    ``2 * window + len(mention)`` characters are kept.
    """
    start = _fold_case(sentence).find(_fold_case(mention)) if mention else -1
    if start < 0:
        return sentence[: 2 * window + len(mention)].strip()
    return sentence[max(0, start - window) : start + len(mention) + window].strip()


def _fold_case(text: str) -> str:
    """Fold the case of each character that stays one character, so that positions are those of `text`."""
    return "".join(folded if len(folded := char.casefold()) == 1 else char for char in text)


def build_prompt(
    term: str,
    sentence: str | None,
    *,
    prepare: bool = True,
    window: int | None = None,
    line_ends: LineEnds = "space",
) -> str:
    """Return the generator's prompt for a mention. Hidden characters (see `remove_hidden`) stay out of it.

    Args:
        term: the text of the mention.
        sentence: the sentence it stands in; None or blank: the mention stands for it.
        prepare: whether to prepare the sentence (see `prepare_sentence`).
        window: characters of the sentence kept on each side of the mention; None keeps the whole sentence.
        line_ends: of a sentence that is prepared: what they become (see `prepare_sentence`).
    """
    term, sentence = remove_hidden(term), remove_hidden(sentence or "")
    shown = fold_spaces(term)
    if not sentence.strip():
        return PROMPT.format(term=shown, sentence=shown)
    if prepare:  # the mention stands in the prepared sentence in its own prepared form (``3.5`` as ``3. 5``)
        term, sentence = (prepare_sentence(text, line_ends=line_ends) for text in (term, sentence))
    if window is not None:
        sentence = window_sentence(sentence, term.strip(), window)
    return PROMPT.format(term=shown, sentence=sentence)


def strip_code_suffix(generated: str) -> str:
    """Remove the display suffix `` [Code: BW20]`` that the model card shows after a description."""
    return _CODE_SUFFIX.sub("", generated)
