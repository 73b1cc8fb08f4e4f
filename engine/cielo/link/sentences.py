"""The sentences of a document.

They are found by `syntok` (https://github.com/fnl/syntok), helped where clinical text needs it: lines that stand by
themselves (lists, headings, short notes), abbreviations and units before a full stop, numbers after which it splits
nothing. Offsets are in characters of the text, as in Python's slices; the text itself is never changed.
"""

from __future__ import annotations

import operator
import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import pairwise

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
