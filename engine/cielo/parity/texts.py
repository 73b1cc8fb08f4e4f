"""The texts that an encoder and an index are measured on: descriptions, and descriptions as others might write them."""

from __future__ import annotations

import itertools
import unicodedata
from collections.abc import Sequence
from random import Random

LEAST_TEXTS = 300
_SEED = 20240229


def spread(items: Sequence[str], count: int) -> list[str]:
    """Return at most `count` items, evenly spaced, in their order."""
    if len(items) <= count:
        return list(items)
    return [items[number * len(items) // count] for number in range(count)]


def parity_texts(descriptions: Sequence[str], count: int = LEAST_TEXTS) -> list[str]:
    """Return at least `count` distinct texts for the encoder: descriptions, and as many as are wanting perturbed."""
    chosen = spread(list(dict.fromkeys(descriptions)), count)
    random = Random(_SEED)  # noqa: S311  (nothing secret)
    texts = dict.fromkeys([*chosen[: max(1, 2 * count // 3)]])
    for text in itertools.cycle(chosen):
        if len(texts) >= count:
            return list(texts)
        texts[_perturbed(text, random)] = None
    return list(texts)


def _perturbed(text: str, random: Random) -> str:
    """Return a text as someone else might have written it: letters swapped or lost, accents, case, words."""
    way = random.randrange(5)
    place = random.randrange(max(1, len(text) - 1))
    if way == 0:
        return text[:place] + text[place + 1 : place + 2] + text[place : place + 1] + text[place + 2 :]
    if way == 1:
        return text[:place] + text[place + 1 :]
    if way == 2:
        return "".join(char for char in unicodedata.normalize("NFD", text.lower()) if not unicodedata.combining(char))
    words = text.split()
    random.shuffle(words)
    return " ".join(words) if way == 3 else f"{text.upper()} {random.randrange(1000)}"
