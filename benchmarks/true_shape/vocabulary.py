"""Tokenizers of the published models' size: the mini's pieces, then words, then pieces that occur nowhere."""

from __future__ import annotations

import itertools
import json
import re
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
MINI = ROOT / "models" / "mini"
_DESCRIPTION, _SPECIAL = "tokenizer_config.json", "special_tokens_map.json"
# With these, transformers makes the fast tokenizer from a SentencePiece file, which is not written here.
_FROM_SENTENCEPIECE = ("add_prefix_space", "from_slow", "legacy")
_WORD = re.compile(r"\w+")
_SPACE = "▁"  # SentencePiece's sign for the space before a word
# Dearer than any piece of the mini (-14.1), and cheaper than a word in two of them.
_WORD_SCORE = -15.0
_UNUSED_SCORE = -40.0
_SYLLABLES = [consonant + vowel for consonant in "bcdfglmnprstv" for vowel in "aeiou"]


def write_tokenizer(mini: Path, output: Path, size: int, words: Iterable[str]) -> int:
    """Write the mini's tokenizer, filled up to `size` pieces, and return the number of the mini's.

    The mini's pieces keep their ids, and its own texts their tokens: no word is added that one of them begins with.
    A ``<mask>`` at the end stays at the end.

    Args:
        mini: the directory of the mini's checkpoint.
        output: the new checkpoint's directory.
        size: pieces of the new tokenizer.
        words: become one piece each; they are the words of a terminology, so that its texts use many pieces.
    """
    settings = json.loads((mini / "tokenizer.json").read_text(encoding="utf-8"))
    pieces: list[Any] = settings["model"]["vocab"]
    mask = [pieces.pop()] if pieces[-1][0] == "<mask>" else []
    own = len(pieces)
    taken = {piece for piece, _ in pieces}
    fresh = _new_pieces(words, taken)
    pieces.extend(itertools.islice(fresh, size - own - len(mask)))
    pieces.extend(mask)
    for token in settings["added_tokens"]:
        if token["content"] == "<mask>":
            token["id"] = size - 1
    (output / "tokenizer.json").write_text(json.dumps(settings, ensure_ascii=False), encoding="utf-8")
    shutil.copy(mini / _SPECIAL, output / _SPECIAL)
    described = json.loads((mini / _DESCRIPTION).read_text(encoding="utf-8"))
    kept = {key: value for key, value in described.items() if key not in _FROM_SENTENCEPIECE}
    if mask:
        kept["added_tokens_decoder"][str(size - 1)] = kept["added_tokens_decoder"].pop(str(own))
    (output / _DESCRIPTION).write_text(json.dumps(kept, ensure_ascii=False), encoding="utf-8")
    return own


def _new_pieces(words: Iterable[str], taken: set[str]) -> Iterator[tuple[str, float]]:
    begun = _beginnings(_texts_of_the_mini())
    for word in dict.fromkeys(words):
        if word not in begun and _SPACE + word not in taken:
            yield _SPACE + word, _WORD_SCORE
    # Words of five syllables that end in a letter which Spanish words do not end in: they occur nowhere.
    for syllables in itertools.product(_SYLLABLES, repeat=5):
        yield _SPACE + "".join(syllables) + "k", _UNUSED_SCORE


def _texts_of_the_mini() -> Iterator[str]:
    for path in sorted(MINI.rglob("*.tsv")):
        yield path.read_text(encoding="utf-8")


def _beginnings(texts: Iterable[str]) -> set[str]:
    words = {word for text in texts for word in _WORD.findall(text)}
    return {word[:length] for word in words for length in range(1, len(word) + 1)}
