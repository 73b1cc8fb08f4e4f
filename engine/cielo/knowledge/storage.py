"""The file of a knowledge base: its SQLite schema, and how it is opened for reading.

A file may come from anywhere. It is opened read-only, only where it is a regular file that has exactly the tables and
indexes of this schema (no view, no trigger), and each query has a time limit.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import stat
import threading
import time
from pathlib import Path
from typing import Any

from cielo.errors import BundleError, remedy_for

SCHEMA = 3
TABLES = (
    f"PRAGMA user_version = {SCHEMA}",
    "CREATE TABLE about (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID",
    "CREATE TABLE source (id INTEGER PRIMARY KEY, name TEXT NOT NULL, kind TEXT NOT NULL, sha256 TEXT NOT NULL, "
    "rows INTEGER NOT NULL, rejected INTEGER NOT NULL)",
    "CREATE TABLE kind (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, system TEXT NOT NULL, "
    "concepts INTEGER NOT NULL)",
    # `key` is the comparison key (see `codes.comparison_key`).
    "CREATE TABLE concept (id INTEGER PRIMARY KEY, code TEXT NOT NULL, kind TEXT NOT NULL, key TEXT NOT NULL, "
    "title TEXT NOT NULL, parent TEXT, leaf INTEGER NOT NULL, chapter TEXT, UNIQUE (kind, code))",
    # `published` is the paper's normal form, where it is another than `normal`.
    "CREATE TABLE description (id INTEGER PRIMARY KEY, concept INTEGER NOT NULL REFERENCES concept, "
    "text TEXT NOT NULL, normal TEXT NOT NULL, published TEXT, preferred INTEGER NOT NULL)",
)
# Made when the rows are in: sorting once is several times faster than inserting in order.
INDEXES = (
    "CREATE INDEX description_text ON description (text)",
    "CREATE INDEX description_normal ON description (normal)",
    "CREATE INDEX description_published ON description (published) WHERE published IS NOT NULL",
    "CREATE INDEX description_concept ON description (concept)",
    "CREATE INDEX concept_key ON concept (kind, key)",
    "CREATE INDEX concept_parent ON concept (kind, parent)",
    # Words are separated by whatever is no letter, digit or accent: behind a hyphen or slash begins another.
    "CREATE VIRTUAL TABLE words USING fts5 (text, content = 'description', content_rowid = 'id', "
    "tokenize = 'unicode61 remove_diacritics 2')",
    "CREATE VIRTUAL TABLE vocabulary USING fts5vocab (words, row)",
    "INSERT INTO words (words) VALUES ('rebuild')",
)
_CREATED = frozenset(statement for statement in (*TABLES, *INDEXES) if statement.startswith("CREATE"))
_SHADOWS = frozenset(("words_data", "words_idx", "words_docsize", "words_config"))  # what FTS5 keeps for `words`

QUERY_SECONDS = 30.0  # the longest query; on a million descriptions each takes less than one
_STEPS_BETWEEN_LOOKS = 100_000  # of SQLite's virtual machine: milliseconds


class ReadConnection:
    """A knowledge base's file, open for queries. Thread-safe."""

    def __init__(self, path: Path) -> None:
        """Open the file, read-only and in place.

        Raises:
            BundleError: where it is not a regular file, or no knowledge base of this schema.
        """
        self._lock = threading.Lock()
        self._deadline = time.monotonic() + QUERY_SECONDS
        _require_regular(path)
        uri = f"{path.resolve().as_uri()}?mode=ro&immutable=1"
        try:
            self._connection = sqlite3.connect(uri, uri=True, check_same_thread=False)
            try:
                self._guard()
                _require_schema(self._connection, path)
            except BaseException:
                self._connection.close()
                raise
        except sqlite3.Error as error:
            raise BundleError(
                f"{path.name} cannot be opened as a knowledge base ({error}); "
                f"{remedy_for(error, 'build it, or its bundle, again')}"
            ) from error

    def _guard(self) -> None:
        for pragma in ("trusted_schema = OFF", "query_only = ON", "cell_size_check = ON"):
            self._connection.execute(f"PRAGMA {pragma}")
        self._connection.set_progress_handler(self._is_late, _STEPS_BETWEEN_LOOKS)

    def _is_late(self) -> bool:
        return time.monotonic() > self._deadline

    def query(self, statement: str, *values: Any) -> list[Any]:
        """Return the rows of a query.

        Raises:
            BundleError: where the file cannot be read, or the query takes longer than `QUERY_SECONDS`.
        """
        try:
            with self._lock:
                self._deadline = time.monotonic() + QUERY_SECONDS
                return self._connection.execute(statement, values).fetchall()
        except UnicodeEncodeError:  # a lone surrogate, which no row holds
            return []
        except sqlite3.DatabaseError as error:
            remedy = remedy_for(error, "build it, or its bundle, again")
            raise BundleError(f"the knowledge base cannot be read ({error}); {remedy}") from error

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._connection.close()


def _require_regular(path: Path) -> None:
    if not os.path.lexists(path):
        raise BundleError(
            f"{path.name} cannot be opened as a knowledge base: there is no such file; name one that is there"
        )
    with contextlib.suppress(OSError):  # what cannot be looked at, SQLite says
        if not stat.S_ISREG(path.lstat().st_mode):
            raise BundleError(
                f"{path.name} cannot be opened as a knowledge base: it is a link, a folder or a device, expected a "
                "regular file; name the file itself"
            )


def _require_schema(connection: sqlite3.Connection, path: Path) -> None:
    (found,) = connection.execute("PRAGMA user_version").fetchone()
    if found != SCHEMA:
        raise BundleError(
            f"{path.name} cannot be opened as a knowledge base (got schema {found}, expected {SCHEMA}); "
            "build it, or its bundle, again"
        )
    entries = connection.execute("SELECT type, name, sql FROM sqlite_master WHERE sql IS NOT NULL").fetchall()
    if {sql for type, name, sql in entries if type != "table" or name not in _SHADOWS} != _CREATED:
        raise BundleError(
            f"{path.name} cannot be opened as a knowledge base: its tables are not those of schema {SCHEMA}; "
            "build it, or its bundle, again"
        )
