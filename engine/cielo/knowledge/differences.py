"""Two knowledge bases compared: which codes came, went and have another title, and what a file of codes loses by it."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from cielo.errors import TableError
from cielo.knowledge.code_columns import CODE
from cielo.knowledge.codes import comparison_key
from cielo.knowledge.reading import KnowledgeBase
from cielo.tables import ColumnFinder, RejectedRow, Role, TableFormat, TableRow, format_of, read_table
from cielo.tables.rows import UnfitError, text_of
from cielo.text.normal import fold_spaces

_ROLES = (
    Role("code", ("codes", "codigos", *CODE.usual)),
    Role("kind", ("kind", "tipo"), text=False),
)


@dataclass(frozen=True, slots=True)
class TitledCode:
    """A code and its title."""

    code: str
    title: str


@dataclass(frozen=True, slots=True)
class RetitledCode:
    """A code as the new knowledge base writes it, with its title in the old one and in the new one."""

    code: str
    old: str
    new: str


@dataclass(frozen=True, slots=True)
class KindDifference:
    """What differs in one kind; each list is in the order of the tables.

    Attributes:
        added: codes that only the new one has.
        gone: codes that only the old one has.
        retitled: codes whose title is another one, white space apart.
        same: how many codes have the same title in both.
    """

    added: tuple[TitledCode, ...]
    gone: tuple[TitledCode, ...]
    retitled: tuple[RetitledCode, ...]
    same: int


@dataclass(frozen=True, slots=True)
class LostCode:
    """A line of a file (of a workbook or a Parquet file: a row) whose code the new knowledge base lacks."""

    line: int
    code: str


@dataclass(frozen=True, slots=True)
class Loss:
    """What a file of codes loses with a new knowledge base.

    Attributes:
        codes: how many there are, in all lines.
        lost: that the old one has and the new one has not.
        unknown: how many neither has.
        unreadable: lines without a code that can be read.
    """

    codes: int
    lost: tuple[LostCode, ...]
    unknown: int
    unreadable: int


def compare(old: KnowledgeBase, new: KnowledgeBase, kinds: Sequence[str] | None = None) -> dict[str, KindDifference]:
    """Return what differs between two knowledge bases, by kind.

    Codes are compared as everywhere in cielo (`cielo.knowledge.codes.comparison_key`).

    Args:
        old: the one.
        new: the other.
        kinds: to compare; None: those of both.
    """
    return {kind: _of_kind(old, new, kind) for kind in kinds or dict.fromkeys([*old.kinds, *new.kinds])}


def _of_kind(old: KnowledgeBase, new: KnowledgeBase, kind: str) -> KindDifference:
    before, after = _titles(old, kind), _titles(new, kind)
    shared = [(before[key], entry) for key, entry in after.items() if key in before]
    retitled = tuple(
        RetitledCode(entry.code, was.title, entry.title)
        for was, entry in shared
        if fold_spaces(was.title) != fold_spaces(entry.title)
    )
    return KindDifference(
        added=tuple(entry for key, entry in after.items() if key not in before),
        gone=tuple(entry for key, entry in before.items() if key not in after),
        retitled=retitled,
        same=len(shared) - len(retitled),
    )


def _titles(base: KnowledgeBase, kind: str) -> dict[str, TitledCode]:
    """Return the codes of a kind by what they are compared by; of two that agree the first."""
    system = base.systems.get(kind)
    found: dict[str, TitledCode] = {}
    for code, title in base.titles(kind):
        found.setdefault(comparison_key(code, system), TitledCode(code, title))
    return found


def loss(path: Path, old: KnowledgeBase, new: KnowledgeBase) -> Loss:
    """Return what a lexicon, or another table with a column of codes, loses where a new knowledge base is used.

    Args:
        path: of the table: columns ``code`` (or ``codes``, with ``|`` between several) and, if wanted, ``kind``.
        old: the knowledge base that it was made for.
        new: the one that takes its place.

    Raises:
        TableError: where it cannot be read, or has no column of codes.
    """
    lost: list[LostCode] = []
    codes = unknown = unreadable = 0
    finds = functools.cache(lambda code, kind: (old.find(code, kind) is not None, new.find(code, kind) is not None))
    for row in _rows(path):
        found = () if isinstance(row, RejectedRow) else _codes(row)
        unreadable += not found
        for code, kind in found:
            codes += 1
            held, holds = finds(code, kind)
            if held and not holds:
                lost.append(LostCode(row.number if isinstance(row, TableRow) else row.line, code))
            unknown += not held and not holds
    return Loss(codes, tuple(lost), unknown, unreadable)


def _rows(path: Path) -> Iterator[TableRow | RejectedRow]:
    table = read_table(path, TableFormat(format=format_of(path, default="tsv"), comment="#"), _ROLES[:1])
    if table.header is None and table.format not in ("json", "jsonl"):
        raise TableError(f"{path}: expected a header with a column of codes (code, codes, código); name one so")
    yield from table


_finder = ColumnFinder(*_ROLES)


def _codes(row: TableRow) -> tuple[tuple[str, str | None], ...]:
    """Return the codes of a row, each with its kind; none where there is none that can be read."""
    cell, of = _finder.cells(row.values)
    try:
        kind = fold_spaces(text_of(of, "kind")) if of is not None else ""
        parts = cell if isinstance(cell, list) else [cell]
        given = [
            part.strip() for one in parts if one is not None for part in text_of(one, "code", digits=True).split("|")
        ]
    except UnfitError:
        return ()
    return tuple((code, kind or None) for code in given if comparison_key(code))
