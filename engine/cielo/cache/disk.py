"""A cache in an SQLite file: links in it outlive the process."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import math
import os
import secrets
import sqlite3
import threading
import time
import warnings
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Literal, TypeVar

from cielo.cache.codec import LinkCodec
from cielo.cache.file import VERSION, is_damage, is_full, make_file, open_file, refuse_foreign, remove_file, transaction
from cielo.cache.key import DIGEST_BYTES, bound
from cielo.cache.protocol import DISK_ENTRIES, CacheStats, bare, check_entries, counted
from cielo.cache.secret import SECRET_BYTES, load_secret
from cielo.errors import CacheError
from cielo.knowledge.reading import KnowledgeBase
from cielo.machine import state_directory
from cielo.records import Link, Provenance

_PAUSE_SECONDS = 60.0
_KEYS_AT_ONCE = 500
_STAMPS_AT_ONCE = 1_000
_EVICTED_AT_ONCE = 1_000  # more would hold the lock for seconds where the disk is slow

_T = TypeVar("_T")
_Access = Literal["read", "written"]


class DiskCache:
    """Links in an SQLite file that outlives the process. Safe between threads, and between processes on one machine.

    It takes the links that can be written as row numbers of the knowledge base; all others are passed over. The
    least recently used go where there are too many, up to a thousand at once. When an entry was used is known to the
    day, and written with the next links, so that reading writes nothing. A million links with five candidates take
    about 280 MB.

    A damaged file and one of an older schema are replaced by a new one. After any other error the file is left alone
    for a minute, reading and writing each for itself, so that a full disk or a lock costs little and is not for ever.
    """

    def __init__(
        self,
        path: Path,
        knowledge_base: KnowledgeBase,
        provenance: Provenance,
        *,
        entries: int = DISK_ENTRIES,
        secret: bytes | None = None,
    ) -> None:
        """Open a cache, or make one where there is no file or an empty one.

        Args:
            path: of the file. Links of several bundles can share it.
            knowledge_base: of the bundle; it must stay open as long as the cache.
            provenance: of the links that come and go here; what the options of a call decide may be another.
            entries: the most links that are kept.
            secret: for `key` and the entries' tags; default: this user's (see `load_secret`).

        Raises:
            CacheError: where something else than a result cache stands there; it is not touched.
        """
        check_entries(entries)
        self._path = Path(os.path.realpath(path))  # `Path.resolve` has an error of its own for loops
        with contextlib.suppress(OSError):  # what cannot be read is said below, once
            refuse_foreign(self._path)
        self._entries = entries
        self._codec = LinkCodec(knowledge_base, provenance)
        # The tag holds whose row numbers these are, so that an entry of another bundle is never read as one of this.
        self._owner = repr((VERSION, self._codec.owner)).encode()
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        self._inode = -1
        self._used: set[bytes] = set()
        self._resume: dict[_Access, float] = {"read": 0.0, "written": 0.0}
        self._told: set[str] = set()
        self._stats = CacheStats()
        self._secret = secret or self._user_secret()
        self._attempt("read", lambda connection: None, None)

    def _user_secret(self) -> bytes:
        try:
            return load_secret()
        except OSError as error:  # what is written under a secret that is lost is never found again
            self._tell(
                "unusable",
                f"the result cache {self._path} is not used: its secret cannot be kept in {state_directory()} "
                f"({error.strerror or error}); name another directory in CIELO_STATE",
            )
            self._resume = {"read": math.inf, "written": math.inf}
            return secrets.token_bytes(SECRET_BYTES)

    @property
    def secret(self) -> bytes:
        """The secret that `key` makes this cache's keys with; what other versions of the libraries found is not met."""
        return bound(self._secret)

    @property
    def stats(self) -> CacheStats:
        """Hits and misses so far."""
        return self._stats

    def get_many(self, keys: Iterable[bytes]) -> dict[bytes, Link]:
        """Return the links that are known, by their keys."""
        wanted = list(dict.fromkeys(keys))
        nothing: dict[bytes, bytes] = {}
        contents = self._attempt("read", lambda connection: self._read(connection, wanted), nothing)
        found = {}
        for digest, content in contents.items():
            with contextlib.suppress(KeyError):  # a row that the knowledge base lacks: it was exchanged under us
                found[digest] = self._codec.decode(content)
        with self._lock:
            self._stats = counted(self._stats, len(found), len(wanted))
        if len(self._used) >= _STAMPS_AT_ONCE:
            self._write([])
        return found

    def _read(self, connection: sqlite3.Connection, keys: list[bytes]) -> dict[bytes, bytes]:
        """Return the contents of entries whose tag is right."""
        found = {}
        today = _today()
        for start in range(0, len(keys), _KEYS_AT_ONCE):
            some = keys[start : start + _KEYS_AT_ONCE]
            marks = ", ".join("?" * len(some))
            query = f"SELECT digest, content, used FROM entry WHERE digest IN ({marks})"  # noqa: S608 (marks alone)
            for digest, tagged, used in connection.execute(query, some).fetchall():
                content = self._untagged(digest, tagged)
                if content is None:
                    continue
                found[digest] = content
                if used != today:
                    self._used.add(digest)
        return found

    def put_many(self, links: Mapping[bytes, Link]) -> None:
        """Keep those of the links that can be written without text."""
        if time.monotonic() < self._resume["written"]:
            return
        encoded = ((digest, self._codec.encode(bare(link))) for digest, link in links.items())
        rows = [(digest, self._tag(digest, content) + content) for digest, content in encoded if content is not None]
        if rows:
            self._write(rows)

    def _write(self, rows: list[tuple[bytes, bytes]]) -> None:
        def write(connection: sqlite3.Connection) -> None:
            today = _today()
            used = [(today, digest) for digest in self._used]
            self._used.clear()  # also where the writing fails: the stamps are only a preference
            with transaction(connection):
                connection.executemany("UPDATE entry SET used = ? WHERE digest = ?", used)
                connection.executemany(
                    "INSERT INTO entry (digest, content, used) VALUES (?, ?, ?) "
                    "ON CONFLICT (digest) DO UPDATE SET content = excluded.content, used = excluded.used",
                    ((digest, content, today) for digest, content in rows),
                )
                self._evict(connection)

        self._attempt("written", write, None)

    def _evict(self, connection: sqlite3.Connection) -> None:
        (entries,) = connection.execute("SELECT coalesce(sum(entries), 0) FROM size").fetchone()
        if entries > self._entries:
            connection.execute(
                "DELETE FROM entry WHERE id IN (SELECT id FROM entry ORDER BY used, id LIMIT ?)",
                (entries - self._entries + min(_EVICTED_AT_ONCE, self._entries // 20),),
            )

    def _tag(self, digest: bytes, content: bytes) -> bytes:
        tag = hashlib.blake2b(digest_size=DIGEST_BYTES, key=self._secret, person=b"cielo.entry")
        for part in (self._owner, digest, content):
            tag.update(len(part).to_bytes(4, "little"))
            tag.update(part)
        return tag.digest()

    def _untagged(self, digest: object, tagged: object) -> bytes | None:
        """Return an entry's content; None where it is not what this user wrote under this key."""
        if not isinstance(digest, bytes) or not isinstance(tagged, bytes):
            return None
        tag, content = tagged[:DIGEST_BYTES], tagged[DIGEST_BYTES:]
        return content if hmac.compare_digest(tag, self._tag(digest, content)) else None

    def _attempt(self, access: _Access, action: Callable[[sqlite3.Connection], _T], otherwise: _T) -> _T:
        """Do something with the file, or return `otherwise`: where the file fails, warn and leave it alone."""
        with self._lock:
            if time.monotonic() < self._resume[access]:
                return otherwise
            for last in (False, True):
                try:
                    if self._connection is None:
                        self._inode = make_file(self._path)
                        self._connection = open_file(self._path)
                    return action(self._connection)
                except (sqlite3.Error, OSError, CacheError) as error:
                    if last or not self._replaced(error):
                        self._leave_alone(access, error)
                        break
        return otherwise

    def _replaced(self, error: Exception) -> bool:
        """Remove a file that is damaged or of an older schema, so that a new one is made; tell whether it was one."""
        if not isinstance(error, sqlite3.Error) or not is_damage(error):
            return False
        self._disconnect()
        if not remove_file(self._path, self._inode):
            return False
        self._tell("replaced", f"the result cache {self._path} was damaged or outdated ({error}); it was made again")
        return True

    def _leave_alone(self, access: _Access, error: Exception) -> None:
        self._resume[access] = time.monotonic() + _PAUSE_SECONDS
        reason = (error.strerror if isinstance(error, OSError) else None) or error
        full = is_full(self._path, error)
        done = "written" if full else access  # reading, too, begins with making a file
        remedy = "; make room on its disk" if full else ""
        message = f"the result cache {self._path} cannot be {done} ({reason}); links are found without it{remedy}"
        self._tell("unusable", message)

    def _tell(self, topic: str, message: str) -> None:
        """Warn once of each topic: the first of several reasons is the one that helps."""
        if topic not in self._told:
            self._told.add(topic)
            warnings.warn(message, RuntimeWarning, stacklevel=2)

    def _disconnect(self) -> None:
        if self._connection is not None:
            with contextlib.suppress(sqlite3.Error):
                self._connection.close()
            self._connection = None

    def close(self) -> None:
        """Write what was used, and close the file; afterwards nothing is known and nothing is kept."""
        if self._used:
            self._write([])
        with self._lock:
            self._disconnect()
            self._resume = {"read": math.inf, "written": math.inf}


def _today() -> int:
    return int(time.time() // 86_400)
