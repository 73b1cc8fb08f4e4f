"""From tables of codes to a knowledge base: what is read, what is refused and why, and in which code system."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cielo.errors import TableError
from cielo.files import atomic_write, sha256_of
from cielo.knowledge.code_systems import require_kinds
from cielo.knowledge.code_tables import CodeRow, CodeTable, read_code_table
from cielo.knowledge.codes import SYSTEMS, System, canonical_code, comparison_key, guess_system
from cielo.knowledge.records import CodeSystem, DescriptionRow, KnowledgeSummary, TableSource
from cielo.knowledge.subsets import Subset
from cielo.knowledge.writing import write_knowledge_base
from cielo.tables import RejectedRow
from cielo.tables.formats import known_format, require_library


@dataclass(frozen=True, slots=True)
class RejectedCode:
    """A row of a table that is not in the knowledge base, and why not."""

    table: str
    line: int
    reason: str


@dataclass(frozen=True, slots=True)
class Terminology:
    """The rows of several tables.

    Attributes:
        rows: with their codes in canonical form, in the order of the tables.
        systems: the code system of each kind.
        sources: the tables, with how many of their rows were taken and rejected.
        rejected: each row that was not taken.
        warnings: what seems wrong with a table as a whole, with its path.
    """

    rows: list[DescriptionRow]
    systems: dict[str, System]
    sources: tuple[TableSource, ...]
    rejected: tuple[RejectedCode, ...]
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class BuiltKnowledgeBase:
    """A knowledge base that was built, and what it was built from; see `Terminology`.

    Attributes:
        unknown: codes of the subset that no table has.
    """

    summary: KnowledgeSummary
    systems: dict[str, System]
    sources: tuple[TableSource, ...]
    rejected: tuple[RejectedCode, ...]
    warnings: tuple[str, ...] = ()
    unknown: frozenset[str] = frozenset()


@dataclass(slots=True)
class _Read:
    """A table that was read: its rows, and those that were not taken."""

    table: CodeTable
    rows: list[CodeRow]
    rejected: list[RejectedRow]
    warnings: tuple[str, ...]


def read_terminology(tables: Sequence[CodeTable], systems: Mapping[str, System] | None = None) -> Terminology:
    """Read tables of codes.

    A row whose code is none of its kind's code system is rejected like one that cannot be read; the others go on.

    Args:
        tables: in the order that decides between equal descriptions.
        systems: the code system of a kind; default: the one that nearly all codes of the kind belong to.

    Raises:
        TableError: where a table cannot be read as a whole, no row of any can be, or `systems` names what is not there.
    """
    _check_systems(tables, systems or {})
    for table in tables:  # before the first is read: a large one takes a while
        if (form := known_format(table.path, table.format)) is not None:
            require_library(table.path, form)
    read = [_read(table) for table in tables]
    chosen = {kind: _system(kind, read, systems or {}) for kind in dict.fromkeys(table.kind for table in tables)}
    rows = [row for entry in read for row in _canonical(entry, chosen[entry.table.kind])]
    if not rows:
        raise TableError(_nothing(read))
    rejected = tuple(RejectedCode(_name(entry), no.line, no.reason) for entry in read for no in entry.rejected)
    warnings = tuple(warning for entry in read for warning in entry.warnings)
    return Terminology(rows, chosen, tuple(_source(entry) for entry in read), rejected, warnings)


def build_knowledge_base(
    path: Path,
    tables: Sequence[CodeTable],
    *,
    edition: str,
    systems: Mapping[str, System] | None = None,
    code_systems: Mapping[str, CodeSystem] | None = None,
    subset: Subset | None = None,
) -> BuiltKnowledgeBase:
    """Build the knowledge base file `path` from tables; it appears whole or not at all.

    Args:
        path: of the file; what stands there is replaced.
        tables: see `read_terminology`.
        edition: the name of the terminology's edition.
        systems: see `read_terminology`.
        code_systems: the address of a kind's code system.
        subset: leave out what lies outside of it.

    Raises:
        TableError: where a table cannot be read as a whole, or nothing is left, or `path` cannot be written.
        OptionError: where there is a code system for a kind without a table.
    """
    require_kinds(code_systems or {}, dict.fromkeys(table.kind for table in tables))
    if any(table.path.resolve() == path.resolve() for table in tables):
        raise TableError(f"{path}: is one of the tables; name another output")
    read = read_terminology(tables, systems)
    with _writing(path) as temporary:
        summary = write_knowledge_base(
            temporary, read.rows, systems=read.systems, edition=edition, sources=read.sources,
            code_systems=code_systems, subset=subset,
        )  # fmt: skip
    unknown = _unknown(subset.codes, read.rows) if subset is not None and subset.codes else frozenset()
    return BuiltKnowledgeBase(summary, read.systems, read.sources, read.rejected, read.warnings, unknown)


def _unknown(codes: frozenset[str], rows: Sequence[DescriptionRow]) -> frozenset[str]:
    known = {comparison_key(code) for code in {row.code for row in rows}}
    return frozenset(code for code in codes if comparison_key(code) not in known)


def _read(table: CodeTable) -> _Read:
    read = read_code_table(table)
    rows = [row for row in read.rows if isinstance(row, CodeRow)]
    return _Read(table, rows, [row for row in read.rows if isinstance(row, RejectedRow)], read.warnings)


def _check_systems(tables: Sequence[CodeTable], named: Mapping[str, System]) -> None:
    kinds = dict.fromkeys(table.kind for table in tables)
    for kind, system in named.items():
        if kind not in kinds:
            raise TableError(f"got a code system for {kind!r}, expected one of the tables' kinds: {', '.join(kinds)}")
        if system not in SYSTEMS:
            raise TableError(f"got code system {system!r} for {kind}, expected one of {', '.join(SYSTEMS)}")


def _system(kind: str, read: Sequence[_Read], named: Mapping[str, System]) -> System:
    if kind in named:
        return named[kind]
    return guess_system(row.code for entry in read if entry.table.kind == kind for row in entry.rows)


def _canonical(entry: _Read, system: System) -> list[DescriptionRow]:
    """Return the rows with their codes in canonical form, and move the others to the rejected ones."""
    rows, kept = [], []
    for row in entry.rows:
        try:
            code = canonical_code(row.code, system)
        except ValueError as error:
            entry.rejected.append(RejectedRow(row.line, str(error)))
            continue
        kept.append(row)
        rows.append(DescriptionRow(code, row.description, entry.table.kind, row.preferred))
    entry.rows = kept
    entry.rejected.sort(key=lambda no: no.line)
    return rows


def _source(entry: _Read) -> TableSource:
    table = entry.table
    return TableSource(_name(entry), table.kind, sha256_of(table.path), len(entry.rows), len(entry.rejected))


def _name(entry: _Read) -> str:
    """Return the name of a table's file, which need not be text everywhere, as text."""
    return os.fsencode(entry.table.path.name).decode("utf-8", "replace")


def _nothing(read: Sequence[_Read]) -> str:
    rejected = [(_name(entry), no) for entry in read for no in entry.rejected]
    first = "".join(f"; the first in {name}, line {no.line}: {no.reason}" for name, no in rejected[:1])
    return (
        f"the knowledge base's tables hold no row that can be read ({len(rejected)} rejected{first}); "
        "give at least one code with its description"
    )


@contextlib.contextmanager
def _writing(path: Path) -> Iterator[Path]:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(path) as temporary:
            yield temporary
    except UnicodeEncodeError as error:
        raise TableError("the edition's name or a kind is not valid Unicode; name it in UTF-8") from error
    except (OSError, sqlite3.Error) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise TableError(f"{path}: cannot be written ({why}); make room for it or name another output") from error
