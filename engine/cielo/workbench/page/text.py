"""Text as it may stand on a page: names come from files and can hold anything."""

from __future__ import annotations

import unicodedata

_SPACES = str.maketrans("\t\n\r", "   ")
_PICTURES = 0x2400  # of the control characters, in their order
_DELETE = 0x7F


def visible(text: str) -> str:
    """Replace what a terminal or a browser would obey rather than show.

    White space becomes a space, a control character its picture (``␛`` for escape), other controls, marks of
    direction and halves of surrogate pairs their number (``\\u202e``).
    """
    return "".join(map(_visible, text.translate(_SPACES)))


def _visible(character: str) -> str:
    number = ord(character)
    if number < 0x20:
        return chr(_PICTURES + number)
    if number == _DELETE:
        return "\u2421"
    if unicodedata.category(character) in ("Cc", "Cf", "Cs", "Zl", "Zp") or number in (0xFFFE, 0xFFFF):
        return f"\\u{number:04x}" if number <= 0xFFFF else f"\\U{number:08x}"
    return character


def shorten(name: str, letters: int) -> str:
    """Cut a name that has more than `letters`."""
    return name if len(name) <= letters else f"{name[: letters - 1]}…"
