"""Writing a knowledge base's file from rows of descriptions: the hierarchy of the codes, the tables, the indexes."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cielo.errors import TableError
from cielo.knowledge.code_systems import entries_of
from cielo.knowledge.codes import System, chapter, code_key, comparison_key, parent_keys
from cielo.knowledge.records import CodeSystem, DescriptionRow, KnowledgeSummary, TableSource
from cielo.knowledge.storage import INDEXES, TABLES
from cielo.knowledge.subsets import Subset
from cielo.text.normal import normal_form, published_form


def write_knowledge_base(
    path: Path,
    rows: Iterable[DescriptionRow],
    *,
    systems: Mapping[str, System] | None = None,
    edition: str = "",
    sources: Iterable[TableSource] = (),
    code_systems: Mapping[str, CodeSystem] | None = None,
    subset: Subset | None = None,
) -> KnowledgeSummary:
    """Write the knowledge base file `path` from rows, in their order; exact repetitions count once.

    Args:
        path: of the new file.
        rows: codes in canonical form.
        systems: the code system of each kind; default: other.
        edition: its name.
        sources: the tables that the rows come from.
        code_systems: the address of a kind's code system.
        subset: leave out what lies outside of it; a leaf is what is one among all rows.

    Raises:
        TableError: where there is no row at all.
    """
    draft = _Draft(rows, systems or {}, subset)
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("PRAGMA page_size = 8192")
        connection.execute("PRAGMA journal_mode = MEMORY")  # a new file has nothing to go back to
        for statement in TABLES:
            connection.execute(statement)
        draft.write(connection)
        about = [("edition", edition), *entries_of(code_systems or {})]
        connection.executemany("INSERT INTO about VALUES (?, ?)", about)
        connection.executemany(
            "INSERT INTO source (name, kind, sha256, rows, rejected) VALUES (?, ?, ?, ?, ?)",
            [(source.name, source.kind, source.sha256, source.rows, source.rejected) for source in sources],
        )
        for statement in INDEXES:
            connection.execute(statement)
        (descriptions,) = connection.execute("SELECT count(*) FROM description").fetchone()
    if not descriptions:
        raise TableError(
            "the knowledge base's tables hold no row"
            + (" within what was asked for; ask for more" if subset else "; give at least one code and description")
        )
    return KnowledgeSummary(draft.counts(), descriptions)


@dataclass(slots=True)
class _Code:
    """A code of the tables: its first preferred description is its title."""

    code: str
    kind: str
    title: str
    titled: bool
    parent: str | None = None
    leaf: bool = True
    number: int = 0


@dataclass(slots=True)
class _Draft:
    """The rows of a knowledge base in the making, by kind and code."""

    rows: Iterable[DescriptionRow]
    systems: Mapping[str, System]
    subset: Subset | None
    codes: dict[tuple[str, str], _Code] = field(default_factory=dict)

    def write(self, connection: sqlite3.Connection) -> None:
        rows = self._distinct()
        for row in rows:
            self._add(row)
        self._set_parents()
        kept = [code for code in self.codes.values() if self._keeps(code)]
        for number, code in enumerate(kept, start=1):
            code.number = number
        self._adopt(kept)
        connection.executemany(
            "INSERT INTO concept VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (
                (code.number, code.code, code.kind, self._key(code), code.title, code.parent, code.leaf,
                 self._chapter(code))
                for code in kept
            ),
        )  # fmt: skip
        connection.executemany(
            "INSERT INTO description (concept, text, normal, published, preferred) VALUES (?, ?, ?, ?, ?)",
            self._descriptions(rows),
        )
        connection.executemany(
            "INSERT INTO kind (name, system, concepts) VALUES (?, ?, ?)",
            [(kind, self._system(kind), count) for kind, count in self.counts().items()],
        )

    def counts(self) -> dict[str, int]:
        found: dict[str, int] = {}
        for code in self.codes.values():
            if code.number:
                found[code.kind] = found.get(code.kind, 0) + 1
        return found

    def _distinct(self) -> list[DescriptionRow]:
        """Return each description of a code once, in its first place, preferred where any row of it is."""
        found: dict[tuple[str, str, str], DescriptionRow] = {}
        for row in self.rows:
            key = row.kind, row.code, row.description
            if row.preferred or key not in found:
                found[key] = row
        return list(found.values())

    def _add(self, row: DescriptionRow) -> None:
        known = self.codes.get((row.kind, row.code))
        if known is None:
            self.codes[row.kind, row.code] = _Code(row.code, row.kind, row.description, row.preferred)
        elif row.preferred and not known.titled:
            known.title, known.titled = row.description, True

    def _descriptions(self, rows: Sequence[DescriptionRow]) -> Iterable[tuple[int, str, str, str | None, bool]]:
        for row in rows:
            number = self.codes[row.kind, row.code].number
            if number:
                normal, published = normal_form(row.description), published_form(row.description)
                yield number, row.description, normal, None if published == normal else published, row.preferred

    def _set_parents(self) -> None:
        """Set each code's parent: the longest shorter code of its kind that it begins with, by comparison keys.

        Codes of other systems are numbers without a hierarchy in them, as far as is known here.
        """
        alike: dict[tuple[str, str], list[_Code]] = {}
        for code in self.codes.values():
            alike.setdefault((code.kind, self._key(code)), []).append(code)
        for code in self.codes.values():
            if self._system(code.kind) == "other":
                continue
            for beginning in parent_keys(code_key(code.code)):
                others = alike.get((code.kind, comparison_key(beginning, self._system(code.kind))), [])
                if parent := self._parent_among(others, code, beginning):
                    code.parent, parent.leaf = parent.code, False
                    break

    def _parent_among(self, others: Sequence[_Code], code: _Code, beginning: str) -> _Code | None:
        """Return the code that is written as `beginning`, else the longest that stands above `code`.

        ``I10X`` may stand beside ``I10``, whose comparison key it shares: the shorter one is the parent.
        """
        rank = self._rank(code)
        above = [other for other in others if self._rank(other) < rank]
        return max(above, key=lambda other: (code_key(other.code) == beginning, self._rank(other)), default=None)

    def _rank(self, code: _Code) -> tuple[int, int]:
        return len(self._key(code)), len(code_key(code.code))

    def _key(self, code: _Code) -> str:
        return comparison_key(code.code, self._system(code.kind))

    def _adopt(self, kept: Iterable[_Code]) -> None:
        """Give each code whose parent is left out the nearest ancestor that is kept."""
        for code in kept:
            while code.parent is not None and not self.codes[code.kind, code.parent].number:
                code.parent = self.codes[code.kind, code.parent].parent

    def _keeps(self, code: _Code) -> bool:
        return self.subset is None or self.subset.holds(code.code, code.kind, self._chapter(code), code.leaf)

    def _chapter(self, code: _Code) -> str | None:
        return chapter(code.code, self._system(code.kind))

    def _system(self, kind: str) -> System:
        return self.systems.get(kind, "other")
