"""From a document's text to mentions: the mention of each annotated span, in its sentence.

Offsets are in characters of the text, as in Python's slices; the text itself is never changed. Where an annotation's
own text is known it is compared with the text at its offsets, so that a text that was changed since (its line ends, for
one) is an error and not another mention.
"""

from __future__ import annotations

import operator
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

from cielo.errors import MentionError
from cielo.link.sentences import sentence_at, sentences
from cielo.records import Mention, has_content

Span = tuple[tuple[int, int], ...]
"""The fragments of an annotation, each ``(start, end)``, in the order in which they are to be read."""


@dataclass(frozen=True, slots=True)
class DocumentMention:
    """A mention and where it stands in a document.

    Attributes:
        mention: its fragments' texts joined by one space, with the sentence in which the first of them begins.
        spans: the fragments that are not empty, in the order given.
        sentence: the borders of that sentence.
    """

    mention: Mention
    spans: Span
    sentence: tuple[int, int]


def mention_of(
    text: str,
    span: Span | tuple[int, int],
    borders: Sequence[tuple[int, int]],
    *,
    kind: str | None = None,
    id: str | None = None,
    expected: str | None = None,
) -> DocumentMention:
    """Return the mention that `span` marks in a document.

    Args:
        text: the document's.
        span: one fragment ``(start, end)`` or several; they may be discontinuous, nested, overlapping and out of the
            text's order, and empty ones are passed over.
        borders: of the document's sentences (see `sentences`).
        kind: of the mention.
        id: of the mention.
        expected: the annotation's own text; None: it is not known.

    Raises:
        MentionError: where the span has no visible character, lies outside the text, begins in no sentence, or holds
            another text than the one expected (white space apart).
    """
    fragments = _fragments(text, span)
    parts = [text[start:end] for start, end in fragments]
    if not any(has_content(part) for part in parts):
        raise MentionError("the span {span} holds no visible character; give one that does", span=_shown(fragments))
    if expected is not None and not isinstance(expected, str):
        raise MentionError(
            "the text expected of a span is of type {found}; give a string, or None", found=type(expected).__name__
        )
    if expected is not None and not _agree(text, fragments, expected):
        raise MentionError(
            "the text at {span} is not the annotated one; were line ends or the text changed since?",
            span=_shown(fragments),
        )
    # A fragment may begin in the white space between two sentences.
    begin = next(end - len(text[start:end].lstrip()) for start, end in fragments if text[start:end].strip())
    sentence = sentence_at(borders, begin)
    if sentence is None:
        raise MentionError(
            "no sentence holds the character at {begin}; give the borders of all the text's sentences", begin=begin
        )
    mention = Mention(" ".join(parts), text[slice(*sentence)], kind, id)
    return DocumentMention(mention, fragments, sentence)


def fits(text: str, span: Span | tuple[int, int], expected: str) -> bool:
    """Tell whether a document has an annotation's own text at its offsets, white space apart."""
    try:
        return _agree(text, _fragments(text, span), expected)
    except MentionError:
        return False


def _agree(text: str, fragments: Span, expected: str) -> bool:
    # Fragments are joined in the order of the annotation or in that of the text, with a space or without one.
    wanted = _without_spaces(expected)
    return any(
        _without_spaces("".join(text[start:end] for start, end in order)) == wanted
        for order in (fragments, sorted(fragments))
    )


def _without_spaces(text: str) -> str:
    return "".join(unicodedata.normalize("NFC", text).split())


def mentions_of(
    text: str,
    spans: Iterable[Span | tuple[int, int]],
    *,
    kinds: Iterable[str | None] = (),
    ids: Iterable[str | None] = (),
    texts: Iterable[str | None] = (),
) -> list[DocumentMention | MentionError]:
    """Return the mention of each span in its place, or the error that says why it has none.

    Args:
        text: the document's.
        spans: see `mention_of`.
        kinds: of the mentions, in the order of `spans`; those that are missing are None.
        ids: likewise.
        texts: what each span is expected to hold, likewise; a span that holds another text (white space apart) is an
            error of its own.

    Raises:
        MentionError: where `text` is no string, or there are more kinds, ids or texts than spans.
    """
    if not isinstance(text, str):
        raise MentionError("the document's text is of type {found}; give a string", found=type(text).__name__)
    rows, kinds, ids, texts = list(spans), list(kinds), list(ids), list(texts)
    if max(len(kinds), len(ids), len(texts)) > len(rows):
        raise MentionError(
            "there are {kinds} kinds, {ids} ids and {texts} texts for {spans} spans; give one for each",
            kinds=len(kinds),
            ids=len(ids),
            texts=len(texts),
            spans=len(rows),
        )
    borders = sentences(text)
    return [_found(text, borders, *row) for row in zip_longest(rows, kinds, ids, texts)]


def _found(
    text: str,
    borders: Sequence[tuple[int, int]],
    span: Any,
    kind: str | None,
    id: str | None,
    expected: str | None,
) -> DocumentMention | MentionError:
    try:
        return mention_of(text, span, borders, kind=kind, id=id, expected=expected)
    except MentionError as error:
        return error


def _fragments(text: str, span: Any) -> Span:
    """Return the fragments of `span` that are not empty, checked."""
    given = list(span) if isinstance(span, Sequence) and not isinstance(span, (str, bytes)) else None
    if not given:
        raise MentionError("the span has no fragment; give (start, end) pairs of character offsets")
    pairs = [given] if not isinstance(given[0], Sequence) else given
    fragments = [_fragment(pair, number, len(text)) for number, pair in enumerate(pairs, start=1)]
    found = tuple((start, end) for start, end in fragments if start < end)
    if not found:
        raise MentionError(
            "the span {span} is empty; give one with at least one visible character", span=_shown(fragments)
        )
    return found


def _fragment(pair: Any, number: int, length: int) -> tuple[int, int]:
    try:
        start, end = pair
        if isinstance(start, bool) or isinstance(end, bool):
            raise TypeError
        start, end = operator.index(start), operator.index(end)
    except (TypeError, ValueError) as error:
        raise MentionError(
            "fragment {number} of the span is no pair of whole numbers; give (start, end)", number=number
        ) from error
    if not 0 <= start <= end <= length:
        raise MentionError(
            "fragment {number} of the span is ({start}, {end}); expected 0 <= start <= end <= {length}, "
            "the length of the text in characters",
            number=number,
            start=start,
            end=end,
            length=length,
        )
    return start, end


def _shown(fragments: Sequence[tuple[int, int]]) -> str:
    return ";".join(f"{start} {end}" for start, end in fragments[:3]) + (";…" if len(fragments) > 3 else "")
