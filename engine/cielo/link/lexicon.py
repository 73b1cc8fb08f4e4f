"""The lexicon: a table from mention to code that is asked before the model, made from annotated data or kept by hand.

A file is TSV (UTF-8, no quoting), or CSV where its name ends in ``.csv``: a header with the columns ``text`` and
``code`` and, if wanted, ``kind``, ``count`` and ``purity``. Other columns are passed over, and so are lines that begin
with ``#`` (a text that begins with it is written with a space before it). Codes are text. Texts are compared in normal
form, codes by their letters and digits. What is reported holds places, counts and codes, never a text.
"""

from __future__ import annotations

import csv
import functools
import hashlib
import io
import json
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cielo.errors import TableError
from cielo.files import atomic_write
from cielo.knowledge.codes import code_key, comparison_key
from cielo.text.normal import fold_spaces, normal_form

Annotation = tuple[str, str | None, str]  # a mention's text and kind, and the right code
COLUMNS = ("text", "code", "kind", "count", "purity")
_CSV: dict[str, Any] = {"lineterminator": "\n"}
_TSV: dict[str, Any] = {"lineterminator": "\n", "delimiter": "\t", "quoting": csv.QUOTE_NONE, "quotechar": None}
_DIGITS = 4  # of a purity
_COUNT, _PURITY = re.compile(r"[0-9]{1,15}"), re.compile(r"0(\.[0-9]{1,20})?|1(\.0{1,20})?")


@dataclass(frozen=True, slots=True)
class Entry:
    """A text and its code.

    Attributes:
        kind: of the mentions that it serves, besides those without a kind; None: it serves any.
        count: how often annotators gave it this code, and `purity` their share; None where that is not known.
        line: where it stands in its file.
    """

    text: str
    code: str
    kind: str | None = None
    count: int | None = None
    purity: float | None = None
    line: int | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Problem:
    """Something wrong with a line of a lexicon; it holds nothing of what the line says."""

    line: int | None
    reason: str


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A text that `build` did not take: its first annotation, from 1, and how often each code was given to it."""

    first: int
    kind: str | None
    codes: tuple[tuple[str, int], ...]
    text: str = field(repr=False)  # for a file of the user's own, never to be shown


@dataclass(frozen=True, slots=True)
class Built:
    """What `build` made, and what it left out."""

    entries: tuple[Entry, ...]
    too_rare: tuple[LeftOut, ...]  # no code was given often enough
    conflicts: tuple[LeftOut, ...]  # common enough, but no code has a large enough share
    unusable: int  # annotations whose text or code has neither letter nor digit
    annotations: int


@dataclass(frozen=True, slots=True)
class Lexicon:
    """Entries to be looked up; of two for one text and kind the first stands. It never changes: threads may share it.

    `sha256` is that of its answers: comments, counts and the order of lines that do not conflict do not change it.
    """

    entries: tuple[Entry, ...]
    problems: tuple[Problem, ...] = ()  # of its file
    sha256: str = field(init=False)
    _codes: dict[tuple[str, str | None], str] = field(init=False, repr=False, compare=False)
    _without_kind: dict[str, str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        codes: dict[tuple[str, str | None], str] = {}
        for entry in self.entries:
            if normal := normal_form(entry.text):
                codes.setdefault((normal, entry.kind or None), entry.code)
        rows = sorted((normal, kind or "", code) for (normal, kind), code in codes.items())
        without_kind: dict[str, str] = {}
        for normal, _, code in rows:  # an entry without a kind is the first of its text
            first = without_kind.setdefault(normal, code)
            if (normal, None) not in codes and comparison_key(first) != comparison_key(code):
                without_kind[normal] = ""
        identity = json.dumps(["cielo lexicon 1", rows]).encode("ascii")
        object.__setattr__(self, "sha256", hashlib.sha256(identity).hexdigest())
        object.__setattr__(self, "_codes", codes)
        object.__setattr__(self, "_without_kind", without_kind)

    def find(self, text: str, kind: str | None = None) -> str | None:
        """Return the code of a text in a mention of `kind`, or None.

        The entry of the mention's own kind comes first, then the one without a kind. A mention without a kind is
        answered by the entry without one, else by the entries of all kinds where they agree.
        """
        normal = normal_form(text)
        if not kind:
            return self._without_kind.get(normal) or None
        return self._codes.get((normal, kind), self._codes.get((normal, None)))


def build(
    annotations: Iterable[Annotation], *, minimum_count: int = 2, minimum_purity: float = 0.9, by_kind: bool = True
) -> Built:
    """Make an entry of each text to which annotators have given the same code, often enough and nearly always.

    Args:
        annotations: in any order.
        minimum_count: how often the commonest code of a text must have been given.
        minimum_purity: its share of the text's annotations; of two commonest codes none is taken.
        by_kind: look at a text in each kind by itself; else the entries have no kind.
    """
    groups: defaultdict[tuple[str, str], list[tuple[int, str, str]]] = defaultdict(list)
    unusable = total = 0
    for total, (text, kind, code) in enumerate(annotations, start=1):
        key = (normal_form(text), fold_spaces(kind or "") if by_kind else "")
        if key[0] and code_key(code):
            groups[key].append((total, fold_spaces(text), fold_spaces(code)))
        else:
            unusable += 1
    entries: list[Entry] = []
    too_rare, conflicts = list[LeftOut](), list[LeftOut]()
    for (_, kind), group in sorted(groups.items(), key=lambda item: item[0]):
        text, codes = _commonest(Counter(text for _, text, _ in group)), _ranked(code for *_, code in group)
        (code, count), purity = codes[0], codes[0][1] / len(group)
        pure = purity >= minimum_purity and [times for _, times in codes].count(count) == 1
        if pure and count >= minimum_count:
            entries.append(Entry(text, code, kind or None, count, round(purity, _DIGITS)))
        else:
            rest = too_rare if pure or len(group) < minimum_count else conflicts
            rest.append(LeftOut(group[0][0], kind or None, tuple(codes), text))
    return Built(tuple(entries), tuple(too_rare), tuple(conflicts), unusable, total)


def _ranked(codes: Iterable[str]) -> list[tuple[str, int]]:
    """Return each code in its commonest writing, and how often it is there, the commonest first."""
    writings: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for code in codes:
        writings[comparison_key(code)][code] += 1
    counts = [(_commonest(written), written.total()) for written in writings.values()]
    return sorted(counts, key=lambda item: (-item[1], item[0]))


def _commonest(writings: Counter[str]) -> str:
    return min(writings, key=lambda writing: (-writings[writing], writing))


def check(lexicon: Lexicon, resolve: Callable[[str, str | None], bool]) -> list[Problem]:
    """Return a problem for each entry whose code, in its kind, `resolve` does not know."""
    reason = "the knowledge base does not know the code in this kind; correct them, or remove the line"
    known = functools.cache(resolve)  # many texts, few codes
    return [Problem(entry.line, reason) for entry in lexicon.entries if not known(entry.code, entry.kind)]


def all_problems(lexicon: Lexicon, resolve: Callable[[str, str | None], bool]) -> list[Problem]:
    """Return the problems of the lexicon's file and those that `check` finds, in the order of their lines."""
    return sorted([*lexicon.problems, *check(lexicon, resolve)], key=lambda problem: problem.line or 0)


def write_lexicon(path: Path, entries: Iterable[Entry]) -> None:
    """Write entries in the order of their normal forms; the file appears whole, or not at all and with a TableError."""
    rows = sorted((_row(entry) for entry in entries), key=lambda row: (normal_form(row[0]), row))
    stream = io.StringIO(newline="")
    csv.writer(stream, **_dialect(path)).writerows([COLUMNS, *rows])
    try:
        with atomic_write(path) as temporary:
            temporary.write_bytes(stream.getvalue().encode("utf-8", "backslashreplace"))
    except OSError as error:
        raise TableError(f"{path}: cannot be written ({error.strerror})") from error


def _row(entry: Entry) -> list[str]:
    text, code, kind = (fold_spaces(value or "") for value in (entry.text, entry.code, entry.kind))
    purity = None if entry.purity is None else round(entry.purity, _DIGITS)
    numbers = ("" if number is None else str(number) for number in (entry.count, purity))
    return [f" {text}" if text.startswith("#") else text, code, kind, *numbers]


def _dialect(path: Path) -> dict[str, Any]:
    return _CSV if path.suffix.lower() == ".csv" else _TSV


def read_lexicon(path: Path) -> Lexicon:
    """Read a lexicon. A line that is of no use is passed over and reported in `Lexicon.problems`.

    Where two lines give one text and kind different codes, the first stands and the second is reported.

    Raises:
        TableError: where the file cannot be read, or its header has not the columns ``text`` and ``code`` once each.
    """
    try:
        # Bytes that are not UTF-8 come through as lone surrogates, and are found line by line.
        lines = io.StringIO(path.read_bytes().decode("utf-8-sig", "surrogateescape"), newline="\n")
    except OSError as error:
        raise TableError(f"{path}: cannot be read ({error.strerror}); name a TSV or CSV file") from error
    records = _records(lines, _dialect(path))
    names = [name.strip() for name in next(records, (0, None))[1] or ()]
    if any(names.count(name) > 1 or (name in COLUMNS[:2] and name not in names) for name in COLUMNS):
        between = "tabs" if _dialect(path) is _TSV else "commas"
        raise TableError(f"{path}: expected a header with text and code, each once, and {between} between them")
    found: dict[tuple[str, str | None], Entry] = {}
    problems: list[Problem] = []
    for line, cells in records:
        values = {name: fold_spaces(cell) for name, cell in zip(names, cells or (), strict=False)}
        if reason := _fault(values, cells, len(names)):
            problems.append(Problem(line, reason))
            continue
        kind, count, purity = (values.get(name, "") for name in COLUMNS[2:])
        known = int(count) if _COUNT.fullmatch(count) else None, float(purity) if _PURITY.fullmatch(purity) else None
        entry = Entry(values["text"], values["code"], kind or None, *known, line)
        first = found.setdefault((normal_form(entry.text), entry.kind), entry)
        if comparison_key(first.code) != comparison_key(entry.code):
            reason = f"another code for the text and kind of line {first.line}, which stands; remove one of them"
            problems.append(Problem(line, reason))
    return Lexicon(tuple(found.values()), tuple(problems))


def _records(lines: Iterable[str], dialect: dict[str, Any]) -> Iterator[tuple[int, list[str] | None]]:
    # A comment becomes an empty line, so that lines keep their numbers. None stands for what is not well-formed.
    reader = csv.reader(("\n" if line.startswith("#") else line for line in lines), strict=True, **dialect)
    while True:
        first = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error:
            yield first, None
            continue
        if any(cell.strip() for cell in cells):
            yield first, cells


def _fault(values: dict[str, str], cells: list[str] | None, columns: int) -> str | None:
    if cells is None:
        return "not well-formed, perhaps up to a later line; look for a quotation mark without its other one"
    if any(cell.strip() for cell in cells[columns:]):
        return "more values than the header has columns; a separator may stand inside a value"
    if any("\ud800" <= char <= "\udfff" for name in COLUMNS for char in values.get(name, "")):
        return "not UTF-8; save the file as UTF-8"
    if not normal_form(values.get("text", "")) or not code_key(values.get("code", "")):
        return "no text or no code with a letter or a digit; give both, or remove the line"
    return None
