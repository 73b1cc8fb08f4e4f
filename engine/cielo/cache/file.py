"""The SQLite file of a cache: its schema, how it is made and opened, and what is refused, repaired or left alone."""

from __future__ import annotations

import contextlib
import errno
import os
import sqlite3
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

from cielo.errors import CacheError

_MAGIC = b"SQLite format 3\x00"
_APPLICATION = 0x6369656C  # "ciel"
VERSION = 2
_SCHEMA = (
    f"PRAGMA application_id = {_APPLICATION}",
    f"PRAGMA user_version = {VERSION}",
    # `used` is the day of the last use, counted from 1970.
    "CREATE TABLE entry (id INTEGER PRIMARY KEY, digest BLOB NOT NULL UNIQUE, content BLOB NOT NULL, "
    "used INTEGER NOT NULL)",
    "CREATE INDEX entry_used ON entry (used)",
    # Counting a million rows at every write would take longer than writing them.
    "CREATE TABLE size (entries INTEGER NOT NULL)",
    "INSERT INTO size VALUES (0)",
    "CREATE TRIGGER entry_added AFTER INSERT ON entry BEGIN UPDATE size SET entries = entries + 1; END",
    "CREATE TRIGGER entry_removed AFTER DELETE ON entry BEGIN UPDATE size SET entries = entries - 1; END",
)
_BUSY_SECONDS = 2.0
_WAL_BYTES = 1 << 22
_DAMAGE = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}

# Closing a new file gives up the locks that another thread has got on it meanwhile.
_CREATING = threading.Lock()


class _SchemaError(sqlite3.DatabaseError):
    """The file is a result cache, and not of this schema."""


def make_file(path: Path) -> int:
    """Make a cache's file where there is none, for its owner alone; return its inode.

    Raises:
        CacheError: where something else than a result cache stands there.
        OSError: where it can be neither read nor made.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    refuse_foreign(path)
    with _CREATING, contextlib.suppress(FileExistsError):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    with contextlib.suppress(OSError):
        path.chmod(0o600)  # SQLite gives its neighbours the same mode
    return path.stat().st_ino


def open_file(path: Path) -> sqlite3.Connection:
    """Open a cache's file, whose tables are made where it is empty.

    Raises:
        CacheError: where it is of a newer schema.
        sqlite3.Error: where it is damaged, or of an older schema (see `is_damage`), or cannot be opened.
    """
    connection = sqlite3.connect(
        f"{path.as_uri()}?mode=rw", uri=True, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False
    )
    try:
        _prepare(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def look_into(path: Path) -> tuple[int, int]:
    """Return the schema and the number of links of a cache's file, without a lock and without writing anything.

    What only its write-ahead log holds is not counted.

    Raises:
        CacheError: where something else than a result cache stands there.
        OSError: where it cannot be read.
        sqlite3.Error: where it is damaged.
    """
    refuse_foreign(path)
    if path.stat().st_size == 0:
        return VERSION, 0
    uri = f"{path.as_uri()}?mode=ro&immutable=1"
    with contextlib.closing(sqlite3.connect(uri, uri=True)) as connection:
        counted = "SELECT CAST(COALESCE(SUM(entries), 0) AS INTEGER) FROM size"  # whatever a damaged one holds
        return _pragma(connection, "user_version"), int(connection.execute(counted).fetchone()[0])


def remove_file(path: Path, inode: int) -> bool:
    """Remove a damaged file, so that a new one is made; tell whether the way is free for one.

    Where another process has replaced it already its new one stays.
    """
    try:
        refuse_foreign(path)
        if path.stat().st_ino == inode:
            for suffix in ("-wal", "-shm", "-journal", ""):
                path.with_name(path.name + suffix).unlink(missing_ok=True)
    except (OSError, CacheError):
        return False
    return True


def refuse_foreign(path: Path) -> None:
    """Refuse whatever is neither a result cache nor an empty file, without writing to it or to its neighbours.

    Raises:
        CacheError: naming what was expected.
        OSError: where it cannot be read.
    """
    try:
        information = path.stat()
    except FileNotFoundError:
        return
    is_file = stat.S_ISREG(information.st_mode)
    if not is_file or (information.st_size and _application_of(path) != _APPLICATION):
        raise CacheError(
            f"{path} is not a result cache of cielo: expected an SQLite file with the application number "
            f"{_APPLICATION:#x}, an empty file, or none; it was not touched: name another file"
        )


def _application_of(path: Path) -> int:
    """Return the number in an SQLite file that says whose it is; 0 where it is none.

    It is in the file, and not only in a write-ahead log, since the tables are made before there is a log.
    """
    try:  # through SQLite: closing a file of our own would give up every lock that this process has on it
        uri = f"{path.as_uri()}?mode=ro&immutable=1"
        with contextlib.closing(sqlite3.connect(uri, uri=True)) as connection:
            return _pragma(connection, "application_id")
    except sqlite3.Error:  # a damaged file, or another kind of file
        with path.open("rb") as stream:
            header = stream.read(72)
    return int.from_bytes(header[68:], "big") if header.startswith(_MAGIC) else 0


def _prepare(connection: sqlite3.Connection) -> None:
    """Make the tables where there are none, and set the connection up."""
    if _pragma(connection, "application_id") == 0:
        with transaction(connection):
            if _pragma(connection, "application_id") == 0:  # else another process was first
                for statement in _SCHEMA:
                    connection.execute(statement)
    version = _pragma(connection, "user_version")
    if version < VERSION:
        raise _SchemaError(f"schema {version}, expected {VERSION}")
    if version > VERSION:
        raise CacheError(f"it is of a newer cielo's schema {version}, expected {VERSION}")
    present = {sql for (sql,) in connection.execute("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL")}
    if present != {statement for statement in _SCHEMA if statement.startswith("CREATE")}:
        raise _SchemaError("its tables are other ones")
    with contextlib.suppress(sqlite3.OperationalError):  # where it is not to be had, or another process is at it
        connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute(f"PRAGMA journal_size_limit = {_WAL_BYTES}")
    connection.execute("PRAGMA temp_store = MEMORY")
    connection.execute("PRAGMA cell_size_check = ON")


def _pragma(connection: sqlite3.Connection, name: str) -> int:
    return int(connection.execute(f"PRAGMA {name}").fetchone()[0])


@contextlib.contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """Do all or nothing of what is inside."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        with contextlib.suppress(sqlite3.Error):
            if connection.in_transaction:
                connection.execute("ROLLBACK")
        raise


def is_damage(error: sqlite3.Error) -> bool:
    """Tell whether a file is damaged or of an older schema: reasons to make it again."""
    return isinstance(error, _SchemaError) or getattr(error, "sqlite_errorcode", 0) & 0xFF in _DAMAGE


def is_full(path: Path, error: Exception) -> bool:
    """Tell whether the disk is full where a cache lies; SQLite says so, or says that reading and writing failed."""
    if isinstance(error, OSError):
        return error.errno in (errno.ENOSPC, errno.EDQUOT)
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code != sqlite3.SQLITE_IOERR:
        return code == sqlite3.SQLITE_FULL
    with contextlib.suppress(OSError, AttributeError):
        return os.statvfs(path.parent).f_bavail == 0
    return False
