"""The distinct mentions of a run, numbered in the order in which they occur, in an SQLite file.

It holds the texts that its output holds too, and is removed when the run is done.
"""

from __future__ import annotations

import contextlib
import hashlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from cielo.errors import BulkError, remedy_for
from cielo.records import Mention

_TABLES = (
    "CREATE TABLE mention (number INTEGER PRIMARY KEY, digest BLOB NOT NULL UNIQUE, text TEXT NOT NULL, sentence TEXT, "
    "kind TEXT)"
)
_AT_ONCE = 10_000


def digest_of(mention: Mention) -> bytes:
    """Return what a mention is recognised by: its text, sentence and kind, and not its name."""
    hashed = hashlib.blake2b(digest_size=16)
    for part in (mention.text, mention.sentence, mention.kind):
        content = b"\0" if part is None else part.encode()
        hashed.update(len(content).to_bytes(8, "big") + (b"n" if part is None else b"s") + content)
    return hashed.digest()


class MentionWriter:
    """Numbers mentions, each distinct one once."""

    def __init__(self, path: Path) -> None:
        """Begin the file `path`.

        Raises:
            BulkError: where it cannot be written; so do the other methods.
        """
        self._path = path
        self._waiting: list[tuple[bytes, str, str | None, str | None]] = []
        with self._said():
            self._connection = sqlite3.connect(path, isolation_level=None)
            self._connection.execute("PRAGMA journal_mode = OFF")  # the file is a temporary one until it is whole
            self._connection.execute("PRAGMA synchronous = OFF")
            self._connection.execute(_TABLES)
            self._connection.execute("BEGIN")

    def add(self, mention: Mention) -> None:
        """Take a mention in."""
        self._waiting.append((digest_of(mention), mention.text, mention.sentence, mention.kind))
        if len(self._waiting) >= _AT_ONCE:
            self._flush()

    def close(self) -> int:
        """Write what is left, and return how many distinct mentions there are."""
        self._flush()
        with self._said():
            (count,) = self._connection.execute("SELECT count(*) FROM mention").fetchone()
            self._connection.execute("COMMIT")
            self._connection.close()
        return int(count)

    def _flush(self) -> None:
        with self._said():
            self._connection.executemany(
                "INSERT OR IGNORE INTO mention (digest, text, sentence, kind) VALUES (?, ?, ?, ?)", self._waiting
            )
        self._waiting.clear()

    @contextlib.contextmanager
    def _said(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            remedy = remedy_for(error, "make room on the disk")
            raise BulkError(
                f"{self._path.parent}: the mentions cannot be kept ({error}); {remedy}, and run the same command again"
            ) from error


class Mentions:
    """The numbered mentions of a run, read in place."""

    def __init__(self, path: Path) -> None:
        """Open the file."""
        # Nobody writes it any more: no locks, which folders of a network often lack.
        self._connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro&immutable=1", uri=True)

    def unit(self, number: int, size: int) -> list[Mention]:
        """Return the mentions of a unit, in the order of their numbers."""
        rows = self._connection.execute(
            "SELECT text, sentence, kind FROM mention WHERE number > ? AND number <= ? ORDER BY number",
            (number * size, (number + 1) * size),
        )
        return [Mention(*row) for row in rows]

    def number(self, mention: Mention) -> int:
        """Return the number of a mention, from 0.

        Raises:
            BulkError: where it is none of the run's: the input was changed.
        """
        row = self._connection.execute("SELECT number FROM mention WHERE digest = ?", (digest_of(mention),)).fetchone()
        if row is None:
            raise BulkError("a row of the input is another one than when the run was begun; begin another run")
        return int(row[0]) - 1

    def close(self) -> None:
        """Close the file."""
        self._connection.close()


@contextlib.contextmanager
def opened(path: Path) -> Iterator[Mentions]:
    """Open the mentions of a run for a block.

    Raises:
        BulkError: where the file cannot be read.
    """
    try:
        mentions = Mentions(path)
    except sqlite3.Error as error:
        raise BulkError(f"{path}: cannot be read; {remedy_for(error, 'begin another run')}") from error
    try:
        yield mentions
    finally:
        mentions.close()
