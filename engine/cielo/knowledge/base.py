"""The knowledge base: codes and their descriptions in one SQLite file, read in place.

Order. A description can belong to several codes (two codes share a title; titles that differ in casing share a
normal form). `KnowledgeBase.match` returns all of them: those whose description is the text to the letter first, then
those that agree in normal form; within each, preferred descriptions before synonyms, then the order of the tables'
rows, tables in the order of the recipe. `KnowledgeBase.match_as_published` returns what the paper does: the first row
of the tables that agrees in the paper's own normal form, and no other.
"""

from __future__ import annotations

import contextlib
import functools
import sqlite3
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from cielo.errors import BundleError, TableError
from cielo.knowledge.codes import System, chapter, code_key, parent_keys, written_forms
from cielo.knowledge.subsets import Subset
from cielo.records import Concept, Match
from cielo.text.normal import normal_form, published_form

SCHEMA = 2
_TABLES = f"""
PRAGMA user_version = {SCHEMA};
CREATE TABLE about (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE source (id INTEGER PRIMARY KEY, name TEXT NOT NULL, kind TEXT NOT NULL, sha256 TEXT NOT NULL,
    rows INTEGER NOT NULL, rejected INTEGER NOT NULL);
CREATE TABLE kind (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, system TEXT NOT NULL, concepts INTEGER NOT NULL);
CREATE TABLE concept (
    id INTEGER PRIMARY KEY, code TEXT NOT NULL, kind TEXT NOT NULL, key TEXT NOT NULL, title TEXT NOT NULL, parent TEXT,
    leaf INTEGER NOT NULL, chapter TEXT, UNIQUE (kind, code));
-- `published` is the paper's normal form, where it is another than `normal`.
CREATE TABLE description (
    id INTEGER PRIMARY KEY, concept INTEGER NOT NULL REFERENCES concept, text TEXT NOT NULL, normal TEXT NOT NULL,
    published TEXT, preferred INTEGER NOT NULL);
"""
# Made when the rows are in: sorting once is several times faster than inserting in order.
_INDEXES = """
CREATE INDEX description_text ON description (text);
CREATE INDEX description_normal ON description (normal);
CREATE INDEX description_published ON description (published) WHERE published IS NOT NULL;
CREATE INDEX description_concept ON description (concept);
CREATE INDEX concept_key ON concept (key);
CREATE INDEX concept_parent ON concept (kind, parent);
CREATE VIRTUAL TABLE words USING fts5 (normal, content = 'description', content_rowid = 'id', tokenize = 'ascii');
INSERT INTO words (words) VALUES ('rebuild');
"""
_MATCH = """
SELECT c.id, c.code, d.text, c.kind, c.title FROM description d JOIN concept c ON c.id = d.concept
WHERE {condition} AND (?2 IS NULL OR c.kind = ?2) ORDER BY {order}
"""
_FIND = """
SELECT code, title, kind, title FROM concept WHERE key = ?1 AND (?2 IS NULL OR kind = ?2)
ORDER BY code != ?3, id LIMIT 1
"""
_MATCHES: tuple[tuple[Match, str], ...] = (("literal", "d.text = ?1"), ("normal", "d.normal = ?1"))
_IN_ORDER, _FIRST = "d.preferred DESC, d.id", "d.id LIMIT 1"
_PUBLISHED = "(d.published = ?1 OR d.published IS NULL AND d.normal = ?1)"
_SUBSETS_KEPT = 8


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a knowledge base: a code in canonical form, a description of it, and its kind."""

    code: str
    description: str
    kind: str
    preferred: bool = True


@dataclass(frozen=True, slots=True)
class Source:
    """A table that a knowledge base was built from."""

    name: str
    kind: str
    sha256: str
    rows: int
    rejected: int


@dataclass(frozen=True, slots=True)
class Summary:
    """What a knowledge base holds: concepts of each kind, and descriptions."""

    concepts: dict[str, int]
    descriptions: int


@dataclass(frozen=True, slots=True)
class Entry:
    """A code with its place in the hierarchy.

    Attributes:
        code: in canonical form.
        title: its preferred description.
        descriptions: the others.
        ancestors: code and title of each, the nearest first.
        children: likewise, in the order of their codes.
    """

    code: str
    kind: str
    title: str
    descriptions: tuple[str, ...]
    chapter: str | None
    leaf: bool
    ancestors: tuple[tuple[str, str], ...] = ()
    children: tuple[tuple[str, str], ...] = ()


class KnowledgeBase:
    """Look-up of codes and descriptions in a knowledge base file. Thread-safe."""

    def __init__(self, path: Path) -> None:
        """Open the file, read-only and in place.

        Raises:
            BundleError: where it is not a knowledge base.
        """
        uri = f"{path.resolve().as_uri()}?mode=ro&immutable=1"
        self._lock = threading.Lock()
        try:
            self._connection = sqlite3.connect(uri, uri=True, check_same_thread=False)
            self._require_schema(path)
            kinds = self._connection.execute("SELECT name, system, concepts FROM kind ORDER BY id").fetchall()
            about = self._connection.execute("SELECT key, value FROM about").fetchall()
        except sqlite3.Error as error:
            raise BundleError(
                f"{path.name} cannot be opened as a knowledge base ({error}); build the bundle anew"
            ) from error
        self.systems: dict[str, System] = {name: system for name, system, _ in kinds}
        self.concepts: dict[str, int] = {name: count for name, _, count in kinds}
        self.edition = str(dict(about).get("edition", ""))
        self._subset = functools.lru_cache(_SUBSETS_KEPT)(self._select_subset)

    def _require_schema(self, path: Path) -> None:
        (found,) = self._connection.execute("PRAGMA user_version").fetchone()
        if found != SCHEMA:
            self._connection.close()
            raise BundleError(
                f"{path.name} cannot be opened as a knowledge base (got schema {found}, expected {SCHEMA}); "
                "build it, or its bundle, anew"
            )

    @staticmethod
    def build(
        path: Path,
        rows: Iterable[Row],
        *,
        systems: Mapping[str, System] | None = None,
        edition: str = "",
        sources: Iterable[Source] = (),
        subset: Subset | None = None,
    ) -> Summary:
        """Write the knowledge base file `path` from rows, in their order; exact repetitions count once.

        Args:
            path: of the new file.
            rows: codes in canonical form.
            systems: the code system of each kind; default: other.
            edition: its name.
            sources: the tables that the rows come from.
            subset: leave out what lies outside of it; a leaf is what is one among all rows.

        Raises:
            TableError: where there is no row at all.
        """
        draft = _Draft(rows, systems or {}, subset)
        with contextlib.closing(sqlite3.connect(path)) as connection, connection:
            connection.execute("PRAGMA page_size = 8192")
            connection.execute("PRAGMA journal_mode = MEMORY")  # a new file has nothing to go back to
            connection.executescript(_TABLES)
            draft.write(connection)
            connection.execute("INSERT INTO about VALUES ('edition', ?)", (edition,))
            connection.executemany(
                "INSERT INTO source (name, kind, sha256, rows, rejected) VALUES (?, ?, ?, ?, ?)",
                [(source.name, source.kind, source.sha256, source.rows, source.rejected) for source in sources],
            )
            connection.executescript(_INDEXES)
            (descriptions,) = connection.execute("SELECT count(*) FROM description").fetchone()
        if not descriptions:
            raise TableError(
                "the knowledge base's tables hold no row"
                + (" within what was asked for; ask for more" if subset else "; give at least one code and description")
            )
        return Summary(draft.counts(), descriptions)

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of its rows, in the order of the tables."""
        return tuple(self.systems)

    @property
    def sources(self) -> tuple[Source, ...]:
        """The tables that it was built from."""
        rows = self._query("SELECT name, kind, sha256, rows, rejected FROM source ORDER BY id")
        return tuple(Source(*row) for row in rows)

    def match(self, text: str, kind: str | None = None, subset: Subset | None = None) -> list[Concept]:
        """Return every code that has `text` as a description, in the order that the module documents.

        Args:
            text: a description, as generated.
            kind: of the rows to look in; None: all.
            subset: the codes to look among; None: all.
        """
        first: dict[tuple[str, str], Concept] = {}
        for match, condition in _MATCHES:
            value = text if match == "literal" else normal_form(text)
            if not value:
                continue
            for number, *columns in self._query(_MATCH.format(condition=condition, order=_IN_ORDER), value, kind):
                if subset is None or number in self._subset(subset):
                    concept = replace(Concept(*columns), match=match)
                    first.setdefault((concept.code, concept.kind), concept)
        return list(first.values())

    def match_as_published(self, text: str, kind: str | None = None) -> list[Concept]:
        """Return the code of the first row that agrees with `text` in the paper's normal form, or nothing."""
        form = published_form(text)
        if not form:
            return []
        rows = self._query(_MATCH.format(condition=_PUBLISHED, order=_FIRST), form, kind)
        concepts = [Concept(*columns) for _, *columns in rows]
        return [replace(concept, match="literal" if concept.description == text else "normal") for concept in concepts]

    def first_row(self, description: str, kind: str | None = None) -> list[Concept]:
        """Return the code of the first row with a description, to the letter, or nothing: as the paper has it."""
        rows = self._query(_MATCH.format(condition="d.text = ?1", order=_FIRST), description, kind)
        return [Concept(*columns) for _, *columns in rows]

    def find(self, code: str, kind: str | None = None) -> Concept | None:
        """Return the code as the knowledge base writes it, with its title; None where it has no such code.

        Compared by letters and digits. Of several codes that agree so (``B02.0`` and ``B020``) it is the one that is
        written like `code`, else the first of the tables; where none agrees, the first of `written_forms` that is
        there.
        """
        key, written = code_key(code), code.strip().upper()
        rows = self._query(_FIND, key, kind, written)
        for of in [kind] if kind is not None else self.kinds:
            for form in written_forms(key, self.systems.get(of, "other"))[1:]:
                rows = rows or self._query(_FIND, form, of, written)
        return Concept(*rows[0]) if rows else None

    def show(self, code: str, kind: str | None = None) -> Entry | None:
        """Return a code with its descriptions, ancestors and children; None where there is no such code."""
        concept = self.find(code, kind)
        if concept is None:
            return None
        number, chapter_of, leaf = self._query(
            "SELECT id, chapter, leaf FROM concept WHERE kind = ? AND code = ?", concept.kind, concept.code
        )[0]
        texts = self._query(
            "SELECT text FROM description WHERE concept = ? AND text != ? ORDER BY preferred DESC, id",
            number,
            concept.title,
        )
        children = self._query(
            "SELECT code, title FROM concept WHERE kind = ? AND parent = ? ORDER BY code", concept.kind, concept.code
        )
        return Entry(
            concept.code,
            concept.kind,
            concept.title,
            tuple(text for (text,) in texts),
            chapter_of,
            bool(leaf),
            tuple(self._ancestors(concept)),
            tuple((str(child), str(title)) for child, title in children),
        )

    def _ancestors(self, concept: Concept) -> list[tuple[str, str]]:
        query = (
            "SELECT p.code, p.title FROM concept c JOIN concept p ON p.kind = c.kind AND p.code = c.parent "
            "WHERE c.kind = ? AND c.code = ?"
        )
        found: list[tuple[str, str]] = []
        while rows := self._query(query, concept.kind, found[-1][0] if found else concept.code):
            found.append(rows[0])
        return found

    def beginning_with(self, code: str, limit: int = 20, kind: str | None = None) -> list[Concept]:
        """Return codes that begin with `code`, for somebody who gave no whole one."""
        key = code_key(code)
        rows = self._query(
            "SELECT code, title, kind, title FROM concept WHERE key >= ?1 AND key < ?2 AND (?3 IS NULL OR kind = ?3) "
            "ORDER BY key, id LIMIT ?4",
            key,
            f"{key}{chr(0x10FFFF)}",
            kind,
            limit,
        )
        return [Concept(*row) for row in rows] if key else []

    def search(self, text: str, kind: str | None = None, limit: int = 20) -> list[Concept]:
        """Return codes with a description that holds the words of `text`, or their beginnings, the closest first.

        Where no description holds all of them, those that hold some. Ranked by BM25 (SQLite's FTS5), each code once.
        """
        words = dict.fromkeys(word for word in normal_form(text).split() if word.isascii() and word.isalnum())
        for operator in (" AND ", " OR "):
            found = self._with_words(operator.join(f'"{word}"*' for word in words), kind, limit) if words else []
            if found:
                return found
        return []

    def _with_words(self, expression: str, kind: str | None, limit: int) -> list[Concept]:
        query = (
            "SELECT c.code, d.text, c.kind, c.title, min(rank) FROM words JOIN description d ON d.id = words.rowid "
            "JOIN concept c ON c.id = d.concept WHERE words MATCH ? AND (?2 IS NULL OR c.kind = ?2) "
            "GROUP BY c.id ORDER BY min(rank), c.id LIMIT ?3"
        )
        return [Concept(*row[:4]) for row in self._query(query, expression, kind, limit)]

    def descriptions(self, kind: str, subset: Subset | None = None) -> list[str]:
        """Return the distinct descriptions of a kind, in the order of the tables."""
        rows = self._query(
            "SELECT d.text, d.concept FROM description d JOIN concept c ON c.id = d.concept "
            "WHERE c.kind = ? ORDER BY d.id",
            kind,
        )
        allowed = None if subset is None else self._subset(subset)
        return list(dict.fromkeys(text for text, number in rows if allowed is None or number in allowed))

    def codes(self, kind: str) -> list[str]:
        """Return the codes of a kind, in the order of the tables."""
        return [code for (code,) in self._query("SELECT code FROM concept WHERE kind = ? ORDER BY id", kind)]

    def count(self, subset: Subset) -> int:
        """Return how many codes are in a subset."""
        return len(self._subset(subset))

    def _select_subset(self, subset: Subset) -> frozenset[int]:
        rows = self._query("SELECT id, code, kind, chapter, leaf FROM concept")
        return frozenset(number for number, *columns in rows if subset.holds(*columns))

    def _query(self, query: str, *values: Any) -> list[Any]:
        try:
            with self._lock:
                return self._connection.execute(query, values).fetchall()
        except UnicodeEncodeError:  # a lone surrogate, which no row holds
            return []
        except sqlite3.DatabaseError as error:
            raise BundleError(f"the knowledge base cannot be read ({error}); build it, or its bundle, anew") from error

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._connection.close()


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

    rows: Iterable[Row]
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
                (code.number, code.code, code.kind, code_key(code.code), code.title, code.parent, code.leaf,
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

    def _distinct(self) -> list[Row]:
        """Return each description of a code once, in its first place, preferred where any row of it is."""
        found: dict[tuple[str, str, str], Row] = {}
        for row in self.rows:
            key = row.kind, row.code, row.description
            if row.preferred or key not in found:
                found[key] = row
        return list(found.values())

    def _add(self, row: Row) -> None:
        known = self.codes.get((row.kind, row.code))
        if known is None:
            self.codes[row.kind, row.code] = _Code(row.code, row.kind, row.description, row.preferred)
        elif row.preferred and not known.titled:
            known.title, known.titled = row.description, True

    def _descriptions(self, rows: Sequence[Row]) -> Iterable[tuple[int, str, str, str | None, bool]]:
        for row in rows:
            number = self.codes[row.kind, row.code].number
            if number:
                normal, published = normal_form(row.description), published_form(row.description)
                yield number, row.description, normal, None if published == normal else published, row.preferred

    def _set_parents(self) -> None:
        """Set each code's parent: the longest shorter code of its kind that it begins with.

        Codes of other systems are numbers without a hierarchy in them, as far as is known here.
        """
        by_key = {(code.kind, code_key(code.code)): code for code in reversed(self.codes.values())}
        for code in self.codes.values():
            if self._system(code.kind) == "other":
                continue
            keys = ((code.kind, key) for key in parent_keys(code_key(code.code)))
            parent = next((by_key[key] for key in keys if key in by_key), None)
            if parent is not None:
                code.parent, parent.leaf = parent.code, False

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
