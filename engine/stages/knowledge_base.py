"""The knowledge base: codes and their descriptions in one SQLite file, read in place.

Order. A description can belong to several codes (two codes share a title; titles that differ in casing share a
normal form). `KnowledgeBase.match` returns all of them: those whose description is the text to the letter first, then
those that agree in normal form; within each, preferred descriptions before synonyms, then the order of the tables'
rows, tables in the order of the recipe. The first row of a table thus wins, as in the paper.
"""

from __future__ import annotations

import contextlib
import csv
import sqlite3
import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from engine.errors import BundleError, TableError
from engine.records import Concept, has_content
from engine.stages.text import fold_spaces, normal_form

_SCHEMA = """
CREATE TABLE concept (id INTEGER PRIMARY KEY, code TEXT NOT NULL, kind TEXT NOT NULL, parent TEXT, UNIQUE (kind, code));
CREATE TABLE description (
    id INTEGER PRIMARY KEY, concept INTEGER NOT NULL REFERENCES concept, text TEXT NOT NULL, normal TEXT NOT NULL,
    preferred INTEGER NOT NULL, UNIQUE (concept, text));
CREATE INDEX description_text ON description (text);
CREATE INDEX description_normal ON description (normal);
"""
_MATCH = """
SELECT c.code, d.text, c.kind FROM description d JOIN concept c ON c.id = d.concept
WHERE d.{column} = ? AND (?2 IS NULL OR c.kind = ?2) ORDER BY d.preferred DESC, d.id
"""
_CODE_COLUMNS = ("code", "codigo", "código")
_DESCRIPTION_COLUMNS = ("description", "descripcion", "descripción")


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a knowledge base table: a code, a description of it, and its kind."""

    code: str
    description: str
    kind: str
    preferred: bool = True


@dataclass(frozen=True, slots=True)
class Summary:
    """What a knowledge base holds: concepts of each kind, and descriptions."""

    concepts: dict[str, int]
    descriptions: int


def canonical_code(code: str) -> str:
    """Return a code in upper case, without white space around it; its dot, if it has one, stays."""
    return code.strip().upper()


def read_table(path: Path, kind: str) -> Iterator[Row]:
    """Read the rows of a table of codes and descriptions.

    The separator is a tab, or a comma where the name ends in ``.csv``. The columns are those named ``code`` or
    ``codigo`` and ``description`` or ``descripcion`` in the first row, else the first two. Codes are text in every
    case (``0210``, ``3E03``). Empty lines are passed over.

    Raises:
        TableError: where the file cannot be read, is not UTF-8, or a row lacks its code or its description.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as lines:
            reader = (
                csv.reader(lines, strict=True)
                if path.suffix.lower() == ".csv"
                else csv.reader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)
            )
            yield from _rows(reader, path, kind)
    except OSError as error:
        raise TableError(f"{path}: cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise TableError(f"{path}: is not UTF-8; save it as UTF-8") from error
    except csv.Error as error:
        raise TableError(f"{path}: is not a well-formed table ({error})") from error


def _rows(reader: Iterator[list[str]], path: Path, kind: str) -> Iterator[Row]:
    columns: tuple[int, int] | None = None
    for number, cells in enumerate(reader, start=1):
        if not any(has_content(cell) for cell in cells):
            continue
        if columns is None:
            columns, is_header = _columns(cells)
            if is_header:
                continue
        if len(cells) <= max(columns):
            raise TableError(f"{path}, row {number}: got {len(cells)} column(s), expected a code and a description")
        code, description = canonical_code(cells[columns[0]]), fold_spaces(cells[columns[1]])
        if not has_content(code) or not has_content(description):
            missing = "code" if not has_content(code) else "description"
            raise TableError(f"{path}, row {number}: the {missing} is empty")
        yield Row(code, description, kind)


def _columns(header: list[str]) -> tuple[tuple[int, int], bool]:
    names = [name.strip().casefold() for name in header]
    code = next((names.index(name) for name in _CODE_COLUMNS if name in names), None)
    description = next((names.index(name) for name in _DESCRIPTION_COLUMNS if name in names), None)
    if code is None or description is None:
        return (0, 1), False
    return (code, description), True


class KnowledgeBase:
    """Look-up of descriptions in a knowledge base file. Thread-safe."""

    def __init__(self, path: Path) -> None:
        """Open the file, read-only and in place.

        Raises:
            BundleError: where it is not a knowledge base.
        """
        uri = f"{path.resolve().as_uri()}?mode=ro&immutable=1"
        self._lock = threading.Lock()
        try:
            self._connection = sqlite3.connect(uri, uri=True, check_same_thread=False)
            rows = self._connection.execute(
                "SELECT kind, count(*) FROM concept GROUP BY kind ORDER BY min(id)"
            ).fetchall()
        except sqlite3.Error as error:
            raise BundleError(
                f"{path.name} cannot be opened as a knowledge base ({error}); build the bundle anew"
            ) from error
        self._kinds: dict[str, int] = dict(rows)

    @staticmethod
    def build(path: Path, rows: Iterable[Row]) -> Summary:
        """Write the knowledge base file `path` from rows, in their order; exact repetitions count once.

        Raises:
            TableError: where there is no row at all.
        """
        with contextlib.closing(sqlite3.connect(path)) as connection, connection:
            connection.executescript(_SCHEMA)
            _insert(connection, rows)
            _set_parents(connection)
            concepts = Counter(
                dict(connection.execute("SELECT kind, count(*) FROM concept GROUP BY kind ORDER BY min(id)"))
            )
            (descriptions,) = connection.execute("SELECT count(*) FROM description").fetchone()
        if not descriptions:
            raise TableError("the knowledge base's tables hold no row; give at least one code with its description")
        return Summary(dict(concepts), descriptions)

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of its rows, in the order of the tables."""
        return tuple(self._kinds)

    def match(self, text: str, kind: str | None = None) -> list[Concept]:
        """Return every code that has `text` as a description, in the order that the module documents.

        Args:
            text: a description, as generated.
            kind: of the rows to look in; None: all.
        """
        normal = normal_form(text)
        found = self._select("text", text, kind)
        if normal:
            found += self._select("normal", normal, kind)
        first: dict[tuple[str, str], Concept] = {}
        for concept in found:
            first.setdefault((concept.code, concept.kind), concept)
        return list(first.values())

    def _select(self, column: str, value: str, kind: str | None) -> list[Concept]:
        with self._lock:
            rows = self._connection.execute(_MATCH.format(column=column), (value, kind)).fetchall()
        return [Concept(*row) for row in rows]

    def descriptions(self, kind: str) -> list[str]:
        """Return the distinct descriptions of a kind, in the order of the tables."""
        query = (
            "SELECT text FROM description d JOIN concept c ON c.id = d.concept "
            "WHERE c.kind = ? GROUP BY text ORDER BY min(d.id)"
        )
        with self._lock:
            return [text for (text,) in self._connection.execute(query, (kind,))]

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._connection.close()


def _insert(connection: sqlite3.Connection, rows: Iterable[Row]) -> None:
    concepts: dict[tuple[str, str], int] = {}
    for row in rows:
        key = (row.kind, row.code)
        if key not in concepts:
            concepts[key] = len(concepts) + 1
            connection.execute("INSERT INTO concept VALUES (?, ?, ?, NULL)", (concepts[key], row.code, row.kind))
        connection.execute(
            "INSERT OR IGNORE INTO description (concept, text, normal, preferred) VALUES (?, ?, ?, ?)",
            (concepts[key], row.description, normal_form(row.description), row.preferred),
        )


def _set_parents(connection: sqlite3.Connection) -> None:
    """Set each concept's parent: the longest shorter code of its kind that it begins with, dots apart."""
    by_kind: dict[str, dict[str, str]] = {}
    for kind, code in connection.execute("SELECT kind, code FROM concept").fetchall():
        by_kind.setdefault(kind, {})[code.replace(".", "")] = code
    for kind, codes in by_kind.items():
        pairs: Sequence[tuple[str | None, str, str]] = [
            (next((codes[bare[:end]] for end in range(len(bare) - 1, 0, -1) if bare[:end] in codes), None), kind, code)
            for bare, code in codes.items()
        ]
        connection.executemany("UPDATE concept SET parent = ? WHERE kind = ? AND code = ?", pairs)
