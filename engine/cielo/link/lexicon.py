"""The lexicon: a table from mention to code that is asked before the model, made from annotated data or kept by hand.

A file is a table in any format that `cielo.tables` reads, TSV where its name does not tell: a header with the columns
``text`` and ``code`` and, if wanted, ``kind``, ``count`` and ``purity``. Other columns are passed over, and so are
lines of a CSV or TSV that begin with ``#`` (a text that begins with it is written with a space before it). Codes are
text. Texts are compared in normal form, codes by their letters and digits. What is reported holds places, counts and
codes, never a text.
"""

from __future__ import annotations

import functools
import hashlib
import json
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cielo.errors import TableError
from cielo.knowledge.codes import code_key, comparison_key
from cielo.said import Said
from cielo.tables import Cell, ColumnFinder, RejectedRow, Role, Table, TableFormat, TableRow, format_of, read_table
from cielo.tables.rows import UnfitError, is_decoded, text_of
from cielo.tables.writing import open_output, write_table
from cielo.text.kinds import kind_of
from cielo.text.normal import fold_name, fold_spaces, normal_form

Annotation = tuple[str, str | None, str]  # a mention's text and kind, and the right code
COLUMNS = ("text", "code", "kind", "count", "purity")
_COMMENT = "#"
_ROLES = (
    Role("text", ("text", "texto", "mention", "mencion")), Role("code", ("code", "codigo")),
    *(Role(name, (name,), text=False) for name in COLUMNS[2:]),
)  # fmt: skip
_UNKNOWN = Said("the knowledge base does not know the code in this kind; correct them, or remove the line")
_UNUSABLE = Said("no text or no code with a letter or a digit; give both, or remove the line")
_DIGITS = 4  # of a purity
_COUNT, _PURITY = re.compile(r"[0-9]{1,15}"), re.compile(r"0(\.[0-9]{1,20})?|1(\.0{1,20})?")


@dataclass(frozen=True, slots=True)
class LexiconEntry:
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
class LexiconProblem:
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
class BuiltLexicon:
    """What `build` made, and what it left out."""

    entries: tuple[LexiconEntry, ...]
    too_rare: tuple[LeftOut, ...]  # no code was given often enough
    conflicts: tuple[LeftOut, ...]  # common enough, but no code has a large enough share
    unusable: int  # annotations whose text or code has neither letter nor digit
    annotations: int


@dataclass(frozen=True, slots=True)
class Lexicon:
    """Entries to be looked up; of two for one text and kind the first stands. It never changes: threads may share it.

    `sha256` is that of its answers: comments, counts and the order of lines that do not conflict do not change it.
    """

    entries: tuple[LexiconEntry, ...]
    problems: tuple[LexiconProblem, ...] = ()  # of its file
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
) -> BuiltLexicon:
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
    entries: list[LexiconEntry] = []
    too_rare, conflicts = list[LeftOut](), list[LeftOut]()
    for (_, kind), group in sorted(groups.items(), key=lambda item: item[0]):
        text, codes = _commonest(Counter(text for _, text, _ in group)), _ranked(code for *_, code in group)
        (code, count), purity = codes[0], codes[0][1] / len(group)
        pure = purity >= minimum_purity and [times for _, times in codes].count(count) == 1
        if pure and count >= minimum_count:
            entries.append(LexiconEntry(text, code, kind or None, count, round(purity, _DIGITS)))
        else:
            rest = too_rare if pure or len(group) < minimum_count else conflicts
            rest.append(LeftOut(group[0][0], kind or None, tuple(codes), text))
    return BuiltLexicon(tuple(entries), tuple(too_rare), tuple(conflicts), unusable, total)


def _ranked(codes: Iterable[str]) -> list[tuple[str, int]]:
    """Return each code in its commonest writing, and how often it is there, the commonest first."""
    writings: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for code in codes:
        writings[comparison_key(code)][code] += 1
    counts = [(_commonest(written), written.total()) for written in writings.values()]
    return sorted(counts, key=lambda item: (-item[1], item[0]))


def _commonest(writings: Counter[str]) -> str:
    return min(writings, key=lambda writing: (-writings[writing], writing))


def check(lexicon: Lexicon, resolve: Callable[[str, str | None], bool]) -> list[LexiconProblem]:
    """Return a problem for each entry whose code, in its kind, `resolve` does not know."""
    known = functools.cache(resolve)  # many texts, few codes
    return [LexiconProblem(entry.line, _UNKNOWN) for entry in lexicon.entries if not known(entry.code, entry.kind)]


def all_problems(lexicon: Lexicon, resolve: Callable[[str, str | None], bool]) -> list[LexiconProblem]:
    """Return the problems of the lexicon's file and those that `check` finds, in the order of their lines."""
    return sorted([*lexicon.problems, *check(lexicon, resolve)], key=lambda problem: problem.line or 0)


def write_lexicon(path: Path, entries: Iterable[LexiconEntry]) -> None:
    """Write entries in the order of their normal forms; the file appears whole, or not at all.

    Raises:
        TableError: where there is no entry, or the file cannot be written.
    """
    rows = sorted((_cells(entry) for entry in entries), key=lambda row: (normal_form(row[0]), row))
    if not rows:
        raise TableError(
            f"{path}: not written, as there is no text for it: too few annotations agree; give more, or ask for "
            "less (--minimum-count, --minimum-purity)"
        )
    with open_output(str(path)) as stream:
        write_table(stream, format_of(path, default="tsv"), [dict(zip(COLUMNS, row, strict=True)) for row in rows])


def _cells(entry: LexiconEntry) -> list[str]:
    text, code, kind = (fold_spaces(value or "") for value in (entry.text, entry.code, entry.kind))
    purity = None if entry.purity is None else round(entry.purity, _DIGITS)
    numbers = ("" if number is None else str(number) for number in (entry.count, purity))
    return [f" {text}" if text.startswith(_COMMENT) else text, code, kind, *numbers]


def read_lexicon(
    path: Path, knows: Callable[[str, str | None], bool] | None = None, *, kinds: Sequence[str] = ()
) -> Lexicon:
    """Read a lexicon. A line that is of no use is passed over and reported in `Lexicon.problems`.

    Where two usable lines give one text and kind different codes, the first stands and the second is reported.

    Args:
        path: of a table in any format; a TSV where its name does not tell.
        knows: tells whether the knowledge base has a code in a kind (None: in any); a line whose code it does not
            have is of no use. None: every code is taken.
        kinds: of the knowledge base: other words for one of them mean it (see `cielo.text.kinds`).

    Raises:
        TableError: where the file cannot be read, its header has not the columns ``text`` and ``code`` once each, or
            no line is of use.
    """
    form = TableFormat(format=format_of(path, default="tsv"), comment=_COMMENT)
    table = read_table(path, form, (_ROLES[0], _ROLES[1]))
    _check_header(table)
    known = functools.cache(knows) if knows is not None else None  # many texts, few codes
    finder = ColumnFinder(*_ROLES)
    found: dict[tuple[str, str | None], LexiconEntry] = {}
    problems: list[LexiconProblem] = []
    for row in table:
        entry = _entry(row, finder, kinds)
        if isinstance(entry, LexiconProblem):
            problems.append(entry)
            continue
        if known is not None and not known(entry.code, entry.kind):
            problems.append(LexiconProblem(entry.line, _UNKNOWN))
            continue
        first = found.setdefault((normal_form(entry.text), entry.kind), entry)
        if comparison_key(first.code) != comparison_key(entry.code):
            reason = Said(
                "another code for the text and kind of line {line}, which stands; remove one of them", line=first.line
            )
            problems.append(LexiconProblem(entry.line, reason))
    if not found:
        why = f"; the first, line {problems[0].line}: {problems[0].reason}" if problems else ""
        raise TableError(f"{path}: none of its lines can be used ({len(problems)} were passed over{why})")
    return Lexicon(tuple(found.values()), tuple(problems))


def _check_header(table: Table) -> None:
    if table.format in ("json", "jsonl"):
        return
    folded = [fold_name(name) for name in table.raw_columns]
    if table.header is None or any(folded.count(name) > 1 for name in COLUMNS):
        between = {"csv": ", and commas or semicolons between them", "tsv": ", and tabs between them"}
        raise TableError(
            f"{table.name}: expected a header with text and code, each once{between.get(table.format, '')}"
        )


def _entry(row: TableRow | RejectedRow, finder: ColumnFinder, kinds: Sequence[str]) -> LexiconEntry | LexiconProblem:
    if isinstance(row, RejectedRow):
        return LexiconProblem(row.line, row.reason)
    names = finder.names(row.values)
    try:
        text, code, kind, count, purity = (
            "" if name is None or (cell := row.values[name]) is None else _folded(cell, role)
            for role, name in zip(_ROLES, names, strict=True)
        )
    except UnfitError as error:
        return LexiconProblem(row.number, error.said)
    if not normal_form(text) or not code_key(code):
        return LexiconProblem(row.number, _UNUSABLE)
    known = int(count) if _COUNT.fullmatch(count) else None, float(purity) if _PURITY.fullmatch(purity) else None
    return LexiconEntry(text, code, kind_of(kind, kinds) or kind or None, *known, row.number)


def _folded(cell: Cell, role: Role) -> str:
    if role.name in ("count", "purity") and isinstance(cell, (int, float)):
        return str(cell)
    text = fold_spaces(text_of(cell, role.name, digits=True))
    if not is_decoded(text):
        raise UnfitError("the {name} is not valid Unicode", name=role.name)
    return text
