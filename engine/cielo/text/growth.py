"""How far a `tokenizer.json` can make a text grow: bounded, since a few replacements in a row can fill any memory.

Each step of a tokenizer multiplies the length of what it is given by some factor at most. The product of a text's steps
is at most some dozens in the tokenizers of real models.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import msgspec

_MOST = 1000  # the product of the factors of all steps
_CHARACTER = 18  # the longest that Unicode's compatibility forms make of one character
_LONGEST_AFFIX = 100  # of a word or a part of one
_LISTS = ("normalizers", "pretokenizers", "processors", "decoders")


@dataclass(frozen=True, slots=True)
class _Affixes:
    continuing_subword_prefix: str | None = None
    end_of_word_suffix: str | None = None
    unk_token: str | None = None


@dataclass(frozen=True, slots=True)
class _Steps:
    """What decides on the growth of a text; the rest of the file is passed over."""

    normalizer: dict[str, Any] | None = None
    pre_tokenizer: dict[str, Any] | None = None
    post_processor: dict[str, Any] | None = None
    decoder: dict[str, Any] | None = None
    model: _Affixes | None = None


def refuse_growth(content: bytes) -> None:
    """Refuse a tokenizer that may make a text a thousand times as long, or more.

    Args:
        content: of a `tokenizer.json`.

    Raises:
        ValueError: where it does, or the file is not JSON.
    """
    try:
        found = msgspec.json.decode(content, type=_Steps)
        forwards = [found.normalizer, found.pre_tokenizer, found.post_processor]
        growths = [
            math.prod(_growth(step) for whole in way for step in _single(whole)) for way in (forwards, [found.decoder])
        ]
    except (msgspec.DecodeError, RecursionError, TypeError, AttributeError, LookupError, ValueError) as error:
        raise ValueError("it is no tokenizer file") from error
    if max(growths) > _MOST:
        raise ValueError(f"it can make a text more than {_MOST} times as long")
    for name, affix in asdict(found.model or _Affixes()).items():
        if affix is not None and len(affix) > _LONGEST_AFFIX:
            raise ValueError(f"its {name} has {len(affix)} characters, expected {_LONGEST_AFFIX} at most")


def _single(step: Any) -> Iterator[Any]:
    """Yield the steps of a step, one by one."""
    if isinstance(step, dict):
        inner = [entry for name in _LISTS for entry in step.get(name) or ()]
        if not inner:
            yield step
        for entry in inner:
            yield from _single(entry)


def _growth(step: dict[str, Any]) -> float:
    # By what they hold and not by their type, which older files leave out.
    if "pattern" in step and "content" in step:
        return _of_replacement(step["pattern"], str(step["content"]))
    if "prepend" in step:
        return 1 + len(str(step["prepend"]))
    if "precompiled_charsmap" in step:
        return _longest_replacement(str(step["precompiled_charsmap"]))
    if "single" in step and "special_tokens" in step:
        return _of_template(step["single"], step["special_tokens"])
    return _GROWTHS.get(step.get("type"), 1)


_GROWTHS: dict[object, float] = {
    "NFKC": _CHARACTER, "NFKD": _CHARACTER, "NFC": 3, "NFD": 4, "Lowercase": 3, "BertNormalizer": 12, "ByteLevel": 4,
    "ByteFallback": 3,
}  # fmt: skip


def _of_replacement(pattern: Any, content: str) -> float:
    literal = pattern.get("String") if isinstance(pattern, dict) else None
    if isinstance(literal, str) and literal:
        return max(1.0, len(content) / len(literal))
    return 1 + len(content)  # a regular expression may match before each character


def _longest_replacement(charsmap: str) -> float:
    """Return the bytes of the longest text that SentencePiece's table puts in the place of one or more characters."""
    table = base64.b64decode(charsmap)
    texts = table[4 + int.from_bytes(table[:4], "little") :]
    return max(1, *map(len, texts.split(b"\0")), 0)


def _of_template(pieces: list[dict[str, Any]], specials: dict[str, Any]) -> float:
    """Return how often a template repeats the text; special tokens count as if the text had but one."""
    repeated = sum("Sequence" in piece for piece in pieces)
    named = [piece["SpecialToken"]["id"] for piece in pieces if "SpecialToken" in piece]
    return max(1, repeated) + sum(len(specials[name]["ids"]) for name in named)
