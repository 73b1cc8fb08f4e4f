"""Text as it may be shown, on a terminal or a page: names come from files and can hold anything."""

from __future__ import annotations

import json
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


def visible_lines(text: str) -> str:
    """Replace it likewise, and leave the ends of lines."""
    return "\n".join(map(visible, text.split("\n")))


def visible_json(text: str) -> str:
    """Write it as JSON's own escapes, wherever it stands in JSON, so that the JSON says the same."""
    return "".join(json.dumps(one)[1:-1] if one != "\n" and _is_obeyed(one) else one for one in text)


def _visible(character: str) -> str:
    number = ord(character)
    if number < 0x20:
        return chr(_PICTURES + number)
    if number == _DELETE:
        return "\u2421"
    if _is_obeyed(character):
        return f"\\u{number:04x}" if number <= 0xFFFF else f"\\U{number:08x}"
    return character


def _is_obeyed(character: str) -> bool:
    return unicodedata.category(character) in ("Cc", "Cf", "Cs", "Zl", "Zp") or character in "\ufffe\uffff"
