"""From a document's text to mentions: its sentences, and the mention of each annotated span.

Sentences are found by `syntok` (https://github.com/fnl/syntok), helped where clinical text needs it: lines that stand
by themselves (lists, headings, short notes), abbreviations and units before a full stop, numbers after which it splits
nothing. Offsets are in characters of the text, as in Python's slices; the text itself is never changed.
"""

from __future__ import annotations

import operator
import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise, zip_longest
from typing import Any

from cielo.errors import MentionError
from cielo.records import Mention, has_content

Span = tuple[tuple[int, int], ...]
"""The fragments of an annotation, each ``(start, end)``, in the order in which they are to be read."""

_WORD = re.compile(r"\S+")
_ENDS = ".!?…"
_OPENING = "\"'«“‘([{¿¡"
_CLOSING = "\"'»”’)]}"
# Before these a full stop never ends a sentence.
_TITLES = frozenset(
    "dr dra drs dres dras sr sra srta srtas sres sras dña prof lic ldo lda ing fdo ej p.ej pej aprox vs fig figs núm "
    "num nº art arts cap ref refs tfno tel tlf hosp dpto dept univ av avda pág págs pag vol sto sta ca cf i.e e.g máx "
    "mín tto ttº dx rx tx resp excmo".split()
)
# After these a sentence may end, if what follows begins like one.
_UNITS = frozenset(
    "mg g gr grs kg mcg µg μg ng ml dl cl l cc mm cm m km h hs hrs min seg s ui u meq mmol mmhg lpm rpm lat i.v v.o "
    "i.m s.c iv vo im sc etc izq izqda izqdo dcha dcho dch der sp spp a.m p.m comp amp cáps caps sup inf".split()
)
# Words after which a letter or a Roman numeral is a class, and no initial of a name.
_CLASSES = frozenset(
    "hepatitis vitamina vitaminas tipo grado clase estadio estadío grupo factor virus gripe influenza child nyha asa "
    "killip fase nivel serie cefalea".split()
)
_NUMBER = re.compile(r"[<>≤≥=~±+-]?\d+(?:[.,:/]\d+)*%?")
_ROMAN = re.compile(r"[IVX]{2,5}")
_INITIAL = re.compile(r"[^\W\d_]\.")
_ENUMERATION = re.compile(r"\(?(?:\d{1,2}(?:\.\d{1,2}){0,3}|[A-Za-z])[.)]-?")
_BULLET = re.compile(r"[*•·‣▪◦●○■□►➢✓✔]|[-–—]+(?=\s|[^\W\d_])")
_NUMBERED = re.compile(r"\(?(?:\d{1,2}(?:\.\d{1,2}){0,3}(?:\)|\.-?|\.?-)|[A-Za-z]\))(?=\s|[^\W\d_])")
# Words that no line of its own ends with.
_OPEN_WORDS = frozenset(
    "a al ante bajo como con contra cuyo cuya de del desde durante e el en entre esta este hacia hasta la las lo los "
    "más mediante muy ni o para pero por que se según sin sobre su sus tras u un una unas unos y".split()
)
_CONTINUING = "()]}%/,;:.»”"
# The lengths of lines among which hard-wrapped text is looked for.
_WRAPPED = range(40, 161)
_HEADING = 80


@dataclass(frozen=True, slots=True)
class Located:
    """A mention and where it stands.

    Attributes:
        mention: its fragments' texts joined by one space, with the sentence in which the first of them begins.
        spans: the fragments that are not empty, in the order given.
        sentence: the borders of that sentence.
    """

    mention: Mention
    spans: Span
    sentence: tuple[int, int]


def sentences(text: str) -> list[tuple[int, int]]:
    """Return the borders ``(start, end)`` of the sentences of `text`, in order, without the white space between them.

    Blank lines, list items and headings end a sentence; the line ends of hard-wrapped text do not.
    """
    cuts = [cut for start, end in _blocks(text) for cut in (start, *(start + at for at in _cuts(text[start:end])))]
    return [borders for start, end in pairwise([*cuts, len(text)]) if (borders := _stripped(text, start, end))]


def sentence_at(borders: Sequence[tuple[int, int]], offset: int) -> tuple[int, int] | None:
    """Return the sentence that holds the character at `offset`; None: none does. `borders` are in order."""
    found = bisect_right(borders, offset, key=operator.itemgetter(0)) - 1
    return borders[found] if found >= 0 and offset < borders[found][1] else None


def mention_of(
    text: str,
    span: Span | tuple[int, int],
    borders: Sequence[tuple[int, int]],
    *,
    kind: str | None = None,
    id: str | None = None,
) -> Located:
    """Return the mention that `span` marks in a document.

    Args:
        text: the document's.
        span: one fragment ``(start, end)`` or several; they may be discontinuous, nested, overlapping and out of the
            text's order, and empty ones are passed over.
        borders: of the document's sentences (see `sentences`).
        kind: of the mention.
        id: of the mention.

    Raises:
        MentionError: where the span has no visible character, lies outside the text, or begins in no sentence.
    """
    fragments = _fragments(text, span)
    parts = [text[start:end] for start, end in fragments]
    if not any(has_content(part) for part in parts):
        raise MentionError(f"the span {_shown(fragments)} holds no visible character; give one that does")
    # A fragment may begin in the white space between two sentences.
    begin = next(end - len(text[start:end].lstrip()) for start, end in fragments if text[start:end].strip())
    sentence = sentence_at(borders, begin)
    if sentence is None:
        raise MentionError(f"no sentence holds the character at {begin}; give the borders of all the text's sentences")
    mention = Mention(" ".join(parts), text[slice(*sentence)], kind, id)
    return Located(mention, fragments, sentence)


def mentions_of(
    text: str,
    spans: Iterable[Span | tuple[int, int]],
    *,
    kinds: Iterable[str | None] = (),
    ids: Iterable[str | None] = (),
) -> list[Located | MentionError]:
    """Return the mention of each span in its place, or the error that says why it has none.

    Args:
        text: the document's.
        spans: see `mention_of`.
        kinds: of the mentions, in the order of `spans`; those that are missing are None.
        ids: likewise.

    Raises:
        MentionError: where `text` is no string, or there are more kinds or ids than spans.
    """
    if not isinstance(text, str):
        raise MentionError(f"the document's text is of type {type(text).__name__}; give a string")
    rows, kinds, ids = list(spans), list(kinds), list(ids)
    if max(len(kinds), len(ids)) > len(rows):
        raise MentionError(f"there are {len(kinds)} kinds and {len(ids)} ids for {len(rows)} spans; give one for each")
    borders = sentences(text)
    return [_located(text, span, borders, kind, id) for span, kind, id in zip_longest(rows, kinds, ids)]


def _located(
    text: str, span: Any, borders: Sequence[tuple[int, int]], kind: str | None, id: str | None
) -> Located | MentionError:
    try:
        return mention_of(text, span, borders, kind=kind, id=id)
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
        raise MentionError(f"the span {_shown(fragments)} is empty; give one with at least one visible character")
    return found


def _fragment(pair: Any, number: int, length: int) -> tuple[int, int]:
    try:
        start, end = pair
        if isinstance(start, bool) or isinstance(end, bool):
            raise TypeError
        start, end = operator.index(start), operator.index(end)
    except (TypeError, ValueError) as error:
        raise MentionError(f"fragment {number} of the span is no pair of whole numbers; give (start, end)") from error
    if not 0 <= start <= end <= length:
        raise MentionError(
            f"fragment {number} of the span is ({start}, {end}); expected 0 <= start <= end <= {length}, "
            "the length of the text in characters"
        )
    return start, end


def _shown(fragments: Sequence[tuple[int, int]]) -> str:
    return ";".join(f"{start} {end}" for start, end in fragments[:3]) + (";…" if len(fragments) > 3 else "")


def _stripped(text: str, start: int, end: int) -> tuple[int, int] | None:
    piece = text[start:end]
    visible = piece.strip()
    if not visible:
        return None
    start += len(piece) - len(piece.lstrip())
    return start, start + len(visible)


def _blocks(text: str) -> Iterator[tuple[int, int]]:
    """Yield the parts of `text` between whose lines no sentence runs on."""
    starts = [start for paragraph in _paragraphs(text) for start in _starts(paragraph)]
    yield from pairwise([*starts, len(text)])


def _paragraphs(text: str) -> Iterator[list[tuple[int, str]]]:
    """Yield the lines between blank ones, each with where it begins and without the white space around it."""
    paragraph: list[tuple[int, str]] = []
    offset = 0
    for line in text.splitlines(keepends=True):
        if visible := line.strip():
            paragraph.append((offset, visible))
        elif paragraph:
            yield paragraph
            paragraph = []
        offset += len(line)
    if paragraph:
        yield paragraph


def _starts(paragraph: list[tuple[int, str]]) -> Iterator[int]:
    width = max(len(line) for _, line in paragraph)
    yield paragraph[0][0]
    for (_, line), (offset, following) in pairwise(paragraph):
        if _stands_alone(line, following, width):
            yield offset


def _stands_alone(line: str, following: str, width: int) -> bool:
    """Tell whether no sentence runs from `line` into the `following` one."""
    last = line.rsplit(None, 1)[-1]
    runs_on = last[-1] in ",(/-–—" or last in _OPEN_WORDS or (last[-1] == "." and last[:-1].casefold() in _TITLES)
    if _BULLET.match(following) or (_NUMBERED.match(following) and not runs_on):
        return True
    if _is_heading(line, following):
        return True
    if runs_on or following[0].islower() or following[0] in _CONTINUING:
        return False
    # Hard-wrapped: the next line's first word would not have fitted.
    return not (len(line) in _WRAPPED and len(line) + 1 + len(following.split(None, 1)[0]) > width)


def _is_heading(line: str, following: str) -> bool:
    if len(line) > _HEADING or line[0].islower():
        return False
    return line[-1] == ":" or (_is_capitals(line) and not _is_capitals(following))


def _is_capitals(line: str) -> bool:
    return line.isupper() and sum(map(str.isalpha, line)) >= 4 and line[-1] not in ",;"


def _cuts(block: str) -> Iterator[int]:
    """Yield where the sentences of a block begin, but the first."""
    if not any(mark in block for mark in _ENDS):
        return
    proposed = _proposed(block)
    first = True  # whether the word on the left is the first of its sentence
    before = ""
    for (start, end), (following, close) in pairwise(_pieces(block, proposed)):
        left, right = block[start:end], block[following:close]
        enumerated = first and _ENUMERATION.fullmatch(left)
        ends = _may_end(left, right) if following in proposed else end < following and _must_end(before, left, right)
        first = ends and not enumerated
        if first:
            yield following
        before = left


def _proposed(block: str) -> frozenset[int]:
    """Return where syntok lets sentences begin."""
    from syntok import segmenter  # the import takes a while
    from syntok.tokenizer import Tokenizer

    tokens = Tokenizer(replace_not_contraction=False).tokenize(block)
    return frozenset(sentence[0].offset for sentence in segmenter.segment(tokens))


def _pieces(block: str, proposed: frozenset[int]) -> Iterator[tuple[int, int]]:
    """Yield the words of a block; one in which syntok sees a sentence begin (``dolor.Refiere``) is two."""
    inner = sorted(at for at in proposed if at and not block[at - 1 : at].isspace())
    taken = 0
    for match in _WORD.finditer(block):
        start, end = match.span()
        while taken < len(inner) and inner[taken] < end:
            if inner[taken] > start:
                yield start, inner[taken]
                start = inner[taken]
            taken += 1
        yield start, end


def _may_end(left: str, right: str) -> bool:
    """Tell whether a sentence that syntok ends may end with the word `left`."""
    core = left.rstrip(_CLOSING)
    if not core or core[-1] not in _ENDS:
        return False  # syntok ends sentences at semicolons and before brackets too
    stem = core[:-1].lstrip(_OPENING)
    if core[-1] != "." or not stem:
        return True
    if len(stem) == 1 and stem.isupper() and _INITIAL.fullmatch(right):
        return False  # ``M. A. Soto``
    return stem.casefold() not in _TITLES and not (_is_unit(stem) and right[0].isdigit())


def _must_end(before: str, left: str, right: str) -> bool:
    """Tell whether a sentence ends with the word `left` though syntok ends none there."""
    core = left.rstrip(_CLOSING)
    begin = right.lstrip(_OPENING)
    if core[-1:] != "." or core[-2:] == ".." or not begin[:1].isupper():
        return False
    stem = core[:-1].lstrip(_OPENING)
    if _NUMBER.fullmatch(stem) or _is_unit(stem) or stem[-1:] in _CLOSING:
        return bool(stem)
    if _ROMAN.fullmatch(stem):
        return True
    return len(stem) == 1 and stem.isupper() and before.lstrip(_OPENING).casefold() in _CLASSES


def _is_unit(stem: str) -> bool:
    # A capital is an initial: ``M. García`` is no metre.
    return (stem if len(stem) == 1 else stem.casefold()) in _UNITS
