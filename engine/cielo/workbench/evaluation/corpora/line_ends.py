"""Reading a document's text as its annotations count it: line ends and a byte order mark change with the program.

Annotations hold the mention's own text. Where it is not what stands at their offsets, the text is tried with the other
line ends, and without its byte order mark; the reading in which the most annotations fit is taken.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from cielo.link.documents import Span, fits
from cielo.said import Said

_BYTE_ORDER_MARK = "\ufeff"
# Line ends, what the reading with them is called, and what it is called without a byte order mark.
_READINGS = (
    ("", "", Said("without their byte order mark")),
    ("\n", Said("with LF line ends"), Said("with LF line ends and without their byte order mark")),
    ("\r\n", Said("with CRLF line ends"), Said("with CRLF line ends and without their byte order mark")),
)
_LINE_END = re.compile(r"\r\n|\n")


def fitting_text(text: str, annotations: Sequence[tuple[Span, str]]) -> tuple[str, str | None]:
    """Return a document's text as its annotations fit best, and what was changed for that; None: nothing.

    Args:
        text: as the file has it.
        annotations: fragments and the annotation's own text.
    """
    best, changed = text, None
    most = _fitting(text, annotations)
    for reading, change in readings(text) if most < len(annotations) else ():
        fitting = _fitting(reading, annotations)
        if fitting > most:
            best, changed, most = reading, change, fitting
    return best, changed


def _fitting(text: str, annotations: Sequence[tuple[Span, str]]) -> int:
    return sum(fits(text, fragments, expected) for fragments, expected in annotations)


def readings(text: str) -> Iterator[tuple[str, str]]:
    """Yield a text in each other reading, with what was changed for it."""
    for end, name, and_unmarked in _READINGS:
        reading = _LINE_END.sub(end, text) if end else text
        if name and reading != text:
            yield reading, name
        if reading.startswith(_BYTE_ORDER_MARK):
            yield reading[1:], and_unmarked
