"""The result cache: links that were found before, in memory or in an SQLite file, looked up by a keyed digest.

What a link depends on (bundle, decoding, compute type, device, options, kind, prompt; the versions of the libraries,
the processor) goes into the digest, so a hit is what a run gave: the same to the last bit, `timings` and
`id` apart, which belong to a call and are not kept. An editable checkout keeps its version while its code changes:
whoever changes how links are found deletes the file. Another GPU in the same machine is not noticed.

Privacy. No prompt is kept anywhere, in the clear or otherwise than as a digest under a secret (see `load_secret`).
The file holds digests, row numbers of the knowledge base, numbers, and the day of the last use. A link whose
generated text is not letter for letter a description of the knowledge base may hold a patient's words: it is kept in
memory alone, and found anew by the next process. Whoever has both the file and the secret can test guesses at prompts.

The file is a convenience and never a reason to fail: where it is damaged, locked, read-only, or the disk is full,
one warning says so and links are found without it. Each entry carries a tag under the secret, so that a flipped bit
or an entry written by others is a miss and never a wrong code. Keep the file on a local disk (SQLite's write-ahead
log does not work over a network), and open it after a fork, not before.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import hmac
import json
import math
import os
import secrets
import sqlite3
import stat
import tempfile
import threading
import time
import warnings
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol, TypeVar, get_args

from cielo.cache.key import DIGEST_BYTES
from cielo.errors import BundleError, CacheError
from cielo.machine import state_directory
from cielo.options import LinkOptions
from cielo.records import Candidate, Concept, Evidence, Link, Match, Method, Provenance, Timings

MEMORY_ENTRIES = 10_000
DISK_ENTRIES = 1_000_000

_SECRET_FILE = "cache.key"  # noqa: S105 (a file's name)
_SECRET_BYTES = 32
_ROWS_KNOWN = 10_000

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class CacheStats:
    """What a cache did since it was opened: distinct keys of each call that were found, and that were not."""

    hits: int = 0
    misses: int = 0


class ResultCache(Protocol):
    """What the linker needs of a cache. Thread-safe; links come back without `timings` and `id`."""

    @property
    def secret(self) -> bytes:
        """The secret that `key` makes this cache's keys with."""
        ...

    @property
    def stats(self) -> CacheStats:
        """Hits and misses so far."""
        ...

    def get_many(self, keys: Iterable[bytes]) -> dict[bytes, Link]:
        """Return the links that are known, by their keys."""
        ...

    def put_many(self, links: Mapping[bytes, Link]) -> None:
        """Keep links."""
        ...

    def close(self) -> None:
        """Release what is held; the cache is empty afterwards."""
        ...


def load_secret(directory: Path | None = None) -> bytes:
    """Return the secret of this user's caches: 32 random bytes in a file of its own, made when first asked for.

    It lies in `directory` (default: the state directory), readable by its owner alone, and never in a cache. Where it
    is deleted or damaged a new one is made, and the entries made with the old one are never found again; they go when
    the cache is full.

    Raises:
        OSError: where it can neither be read nor made.
    """
    file = (directory or state_directory()) / _SECRET_FILE
    secret = _read_secret(file)
    if secret is None:
        file.parent.mkdir(parents=True, exist_ok=True)
        _make_secret(file)
        secret = _read_secret(file)  # of two processes at once, the first one's holds
    if secret is None:
        raise OSError(f"{file} does not keep what is written to it")
    return secret


def _read_secret(file: Path) -> bytes | None:
    """Return the secret; None where there is none, a damaged one being removed."""
    try:
        content = file.read_bytes()
    except FileNotFoundError:
        return None
    if len(content) != _SECRET_BYTES:
        file.unlink(missing_ok=True)
        return None
    if file.stat().st_mode & 0o077:
        with contextlib.suppress(OSError):
            file.chmod(0o600)
    return content


def _make_secret(file: Path) -> None:
    descriptor, name = tempfile.mkstemp(prefix=f".{file.name}.", dir=file.parent)  # mode 0600
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(secrets.token_bytes(_SECRET_BYTES))
            stream.flush()
            os.fsync(stream.fileno())
        try:
            file.hardlink_to(temporary)  # whole or not at all, and never over another's
        except FileExistsError:
            pass
        except OSError:  # no hard links here: of two processes at once, one may lose what it keeps first
            temporary.replace(file)
    finally:
        temporary.unlink(missing_ok=True)


def _bare(link: Link) -> Link:
    """Return a link without what belongs to one call: the id may name a patient."""
    return dataclasses.replace(link, timings=Timings(), id=None)


class MemoryCache:
    """The links used last, in this process. Thread-safe.

    A link with five candidates takes about 2.7 kB, so the default holds at most about 27 MB; with a hundred
    candidates each it would be about 400 MB.
    """

    def __init__(self, entries: int = MEMORY_ENTRIES, *, secret: bytes | None = None) -> None:
        """Make an empty cache.

        Args:
            entries: the most links that are kept.
            secret: for `key`; default: a new one, since nobody else reads this memory.
        """
        _check_entries(entries)
        self._secret = secret or secrets.token_bytes(_SECRET_BYTES)
        self._entries = entries
        self._links: OrderedDict[bytes, Link] = OrderedDict()
        self._lock = threading.Lock()
        self._stats = CacheStats()

    @property
    def secret(self) -> bytes:
        """The secret that `key` makes this cache's keys with."""
        return self._secret

    @property
    def stats(self) -> CacheStats:
        """Hits and misses so far."""
        return self._stats

    def get_many(self, keys: Iterable[bytes]) -> dict[bytes, Link]:
        """Return the links that are known, by their keys; they count as used."""
        wanted = dict.fromkeys(keys)
        with self._lock:
            found = {digest: self._links[digest] for digest in wanted if digest in self._links}
            for digest in found:
                self._links.move_to_end(digest)
            self._stats = _counted(self._stats, len(found), len(wanted))
        return found

    def put_many(self, links: Mapping[bytes, Link]) -> None:
        """Keep links; the least recently used go where there are too many."""
        bare = {digest: _bare(link) for digest, link in links.items()}
        with self._lock:
            for digest, link in bare.items():
                self._links[digest] = link
                self._links.move_to_end(digest)
            while len(self._links) > self._entries:
                self._links.popitem(last=False)

    def close(self) -> None:
        """Forget every link."""
        with self._lock:
            self._links.clear()


class LayeredCache:
    """A file with memory before it: what the file does not take is known as long as the process lives."""

    def __init__(self, disk: DiskCache, *, entries: int = MEMORY_ENTRIES) -> None:
        self._memory = MemoryCache(entries, secret=disk.secret)
        self._disk = disk

    @property
    def secret(self) -> bytes:
        """The secret that `key` makes this cache's keys with."""
        return self._disk.secret

    @property
    def stats(self) -> CacheStats:
        """Hits and misses so far: a hit in either is a hit."""
        return CacheStats(self._memory.stats.hits + self._disk.stats.hits, self._disk.stats.misses)

    def get_many(self, keys: Iterable[bytes]) -> dict[bytes, Link]:
        """Return the links that are known, by their keys."""
        wanted = dict.fromkeys(keys)
        found = self._memory.get_many(wanted)
        from_disk = self._disk.get_many(digest for digest in wanted if digest not in found)
        self._memory.put_many(from_disk)
        return found | from_disk

    def put_many(self, links: Mapping[bytes, Link]) -> None:
        """Keep links."""
        self._memory.put_many(links)
        self._disk.put_many(links)

    def close(self) -> None:
        """Forget the memory and close the file."""
        self._memory.close()
        self._disk.close()


def open_cache(
    path: Path | None = None, *, knowledge_base: Path, provenance: Provenance, entries: int = MEMORY_ENTRIES
) -> ResultCache:
    """Return a linker's cache: in memory alone, or with the file `path` behind it.

    Args:
        path: of the file; it is made where there is none. None: memory alone.
        knowledge_base: the file of the bundle's knowledge base.
        provenance: of the linker's links.
        entries: the most links in memory.

    Raises:
        CacheError: where `path` is something else than a result cache.
    """
    if path is None:
        return MemoryCache(entries)
    return LayeredCache(DiskCache(path, knowledge_base, provenance), entries=entries)


def _check_entries(entries: int) -> None:
    if entries < 1:
        raise ValueError(f"got a cache of {entries} entries, expected at least 1")


def _counted(stats: CacheStats, found: int, wanted: int) -> CacheStats:
    return CacheStats(stats.hits + found, stats.misses + wanted - found)


class _Concepts:
    """The rows of a knowledge base by number: fixed by the bundle's hash, which is in every key. Thread-safe."""

    def __init__(self, path: Path) -> None:
        self._lock = threading.Lock()
        self._row = functools.lru_cache(_ROWS_KNOWN)(self._select)  # the same codes come up again and again
        try:
            uri = f"{path.resolve().as_uri()}?mode=ro&immutable=1"
            self._connection = sqlite3.connect(uri, uri=True, check_same_thread=False)
            self._kinds = [kind for (kind,) in self._connection.execute("SELECT DISTINCT kind FROM concept")]
        except sqlite3.Error as error:
            raise BundleError(
                f"{path.name} cannot be opened as a knowledge base ({error}); build the bundle anew"
            ) from error

    def number_of(self, code: str, description: str, kind: str) -> int:
        """Return the number of the row of a code's description."""
        return self._number(
            "SELECT d.id FROM concept c JOIN description d ON d.concept = c.id "
            "WHERE c.kind = ? AND c.code = ? AND d.text = ?",
            (kind, code, description),
        )

    def number_of_text(self, text: str) -> int:
        """Return the number of the first row whose description is `text`, letter for letter."""
        return self._number("SELECT id FROM description WHERE text = ? ORDER BY id LIMIT 1", (text,))

    def number_of_code(self, code: str) -> int:
        """Return the number of a code, of whatever kind."""
        for kind in self._kinds:  # the index of codes begins with the kind
            with contextlib.suppress(KeyError):
                return self._number("SELECT id FROM concept WHERE kind = ? AND code = ?", (kind, code))
        raise KeyError(code)

    def concept(self, number: int) -> Concept:
        """Return the row of a number."""
        query = (
            "SELECT c.code, d.text, c.kind, c.title FROM description d JOIN concept c ON c.id = d.concept "
            "WHERE d.id = ?"
        )
        code, description, kind, title = self._row(query, (number,))
        return Concept(str(code), str(description), str(kind), str(title))

    def code(self, number: int) -> str:
        """Return the code of a number."""
        return str(self._row("SELECT code FROM concept WHERE id = ?", (number,))[0])

    def _number(self, query: str, values: tuple[str, ...]) -> int:
        return int(self._row(query, values)[0])

    def _select(self, query: str, values: tuple[str | int, ...]) -> tuple[str | int, ...]:
        """Return the first row found.

        Raises:
            KeyError: where there is none.
        """
        with self._lock:
            row: tuple[str | int, ...] | None = self._connection.execute(query, values).fetchone()
        if row is None:
            raise KeyError
        return row

    def close(self) -> None:
        with self._lock:
            self._connection.close()


# What of a link is neither text nor a call's own, and of a candidate likewise.
_PLAIN = ("method", "log_prob", "distance", "truncated", "match", "confidence", "margin", "tokens")
_PLAIN_OF_CANDIDATE = ("evidence", "log_prob", "distance")
# Of the provenance, what the options of a call decide.
_VARYING = tuple(
    field.name
    for field in dataclasses.fields(Provenance)
    if field.name in {option.name for option in dataclasses.fields(LinkOptions)}
)
_NAMES = frozenset((*get_args(Method), *get_args(Match), *get_args(Evidence), None))


class _Codec:
    """Links to JSON without text, every text being the number of its row, and back."""

    def __init__(self, concepts: _Concepts, provenance: Provenance) -> None:
        self._concepts = concepts
        self._provenance = provenance

    def encode(self, link: Link) -> bytes | None:
        """Return a link without `timings` and `id` as bytes; None where they would not give the same link back."""
        try:
            content = self._encode(link)
            # Also refuses what lies outside the knowledge base in any other way, another bundle's link, and NaN.
            return content if self.decode(content) == link else None
        except (KeyError, ValueError):  # a text that is no row's, or no text for SQLite
            return None

    def _encode(self, link: Link) -> bytes:
        named = {link.method, link.match, *(evidence for entry in link.candidates for evidence in entry.evidence)}
        if not named <= _NAMES:
            raise ValueError("a name that is none of the records'")
        rows = self._concepts
        first = 0
        if link.code is not None and link.description is not None and link.kind is not None:
            first = rows.number_of(link.code, link.description, link.kind)
        parts = [
            rows.number_of_text(link.generated),
            first,
            [rows.number_of_code(code) for code in link.codes],
            [getattr(link, name) for name in _PLAIN],
            [
                [
                    rows.number_of(entry.code, entry.description, entry.kind),
                    *(getattr(entry, name) for name in _PLAIN_OF_CANDIDATE),
                ]
                for entry in link.candidates
            ],
            [getattr(link.provenance, name) for name in _VARYING],
        ]
        return json.dumps(parts, separators=(",", ":")).encode()

    def decode(self, content: bytes) -> Link:
        """Return the link that `encode` was given.

        Raises:
            KeyError: where the knowledge base has no such row.
        """
        rows = self._concepts
        generated, number, codes, plain, candidates, settings = json.loads(content)
        first = rows.concept(number) if number else None
        return Link(
            code=first.code if first else None,
            codes=tuple(rows.code(code) for code in codes),
            description=first.description if first else None,
            kind=first.kind if first else None,
            title=first.title if first else None,
            generated=rows.concept(generated).description,
            candidates=tuple(self._candidate(*entry) for entry in candidates),
            provenance=dataclasses.replace(self._provenance, **dict(zip(_VARYING, settings, strict=True))),
            **dict(zip(_PLAIN, plain, strict=True)),
        )

    def _candidate(
        self, number: int, evidence: list[Evidence], log_prob: float | None, distance: float | None
    ) -> Candidate:
        found = self._concepts.concept(number)
        return Candidate(
            found.code, found.description, found.kind, tuple(evidence), log_prob, distance, title=found.title
        )


_MAGIC = b"SQLite format 3\x00"
_APPLICATION = 0x6369656C  # "ciel"
_VERSION = 2
_SCHEMA = (
    f"PRAGMA application_id = {_APPLICATION}",
    f"PRAGMA user_version = {_VERSION}",
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
_PAUSE_SECONDS = 60.0
_KEYS_AT_ONCE = 500
_STAMPS_AT_ONCE = 1_000
_EVICTED_AT_ONCE = 1_000  # more would hold the lock for seconds where the disk is slow
_WAL_BYTES = 1 << 22
_DAMAGE = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}

# Closing a new file gives up the locks that another thread has got on it meanwhile.
_CREATING = threading.Lock()

_Access = Literal["read", "written"]


class _SchemaError(sqlite3.DatabaseError):
    """The file is a result cache, and not of this schema."""


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
        knowledge_base: Path,
        provenance: Provenance,
        *,
        entries: int = DISK_ENTRIES,
        secret: bytes | None = None,
    ) -> None:
        """Open a cache, or make one where there is no file or an empty one.

        Args:
            path: of the file. Links of several bundles can share it.
            knowledge_base: the file of the bundle's knowledge base.
            provenance: of the links that come and go here; what the options of a call decide may be another.
            entries: the most links that are kept.
            secret: for `key` and the entries' tags; default: this user's (see `load_secret`).

        Raises:
            CacheError: where something else than a result cache stands there; it is not touched.
        """
        _check_entries(entries)
        self._path = Path(os.path.realpath(path))  # `Path.resolve` has an error of its own for loops
        with contextlib.suppress(OSError):  # what cannot be read is told below, once
            _refuse_foreign(self._path)
        self._entries = entries
        self._concepts = _Concepts(knowledge_base)
        self._codec = _Codec(self._concepts, provenance)
        # The tag holds whose row numbers these are, so that an entry of another bundle is never read as one of this.
        fixed = [
            getattr(provenance, field.name) for field in dataclasses.fields(provenance) if field.name not in _VARYING
        ]
        self._owner = repr((_VERSION, *fixed)).encode()
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
            return secrets.token_bytes(_SECRET_BYTES)

    @property
    def secret(self) -> bytes:
        """The secret that `key` makes this cache's keys with."""
        return self._secret

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
            self._stats = _counted(self._stats, len(found), len(wanted))
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
        encoded = ((digest, self._codec.encode(_bare(link))) for digest, link in links.items())
        rows = [(digest, self._tag(digest, content) + content) for digest, content in encoded if content is not None]
        if rows:
            self._write(rows)

    def _write(self, rows: list[tuple[bytes, bytes]]) -> None:
        def write(connection: sqlite3.Connection) -> None:
            today = _today()
            used = [(today, digest) for digest in self._used]
            self._used.clear()  # also where the writing fails: the stamps are only a preference
            with _transaction(connection):
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
        """Do something with the file, or return `otherwise`: a cache that fails is told of and left alone."""
        with self._lock:
            if time.monotonic() < self._resume[access]:
                return otherwise
            for last in (False, True):
                try:
                    if self._connection is None:
                        self._connection = self._open()
                    return action(self._connection)
                except (sqlite3.Error, OSError, CacheError) as error:
                    if last or not self._replaced(error):
                        self._leave_alone(access, error)
                        break
        return otherwise

    def _open(self) -> sqlite3.Connection:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        _refuse_foreign(self._path)
        with _CREATING, contextlib.suppress(FileExistsError):
            os.close(os.open(self._path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
        with contextlib.suppress(OSError):
            self._path.chmod(0o600)  # SQLite gives its neighbours the same mode
        self._inode = self._path.stat().st_ino
        connection = sqlite3.connect(
            f"{self._path.as_uri()}?mode=rw",
            uri=True,
            timeout=_BUSY_SECONDS,
            isolation_level=None,
            check_same_thread=False,
        )
        try:
            _prepare(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _replaced(self, error: Exception) -> bool:
        """Remove a file that is damaged or of an older schema, so that a new one is made; tell whether it was one."""
        if not isinstance(error, sqlite3.Error) or not _is_damage(error):
            return False
        self._disconnect()
        try:
            _refuse_foreign(self._path)
            if self._path.stat().st_ino == self._inode:  # else another process has replaced it already
                for suffix in ("-wal", "-shm", "-journal", ""):
                    self._path.with_name(self._path.name + suffix).unlink(missing_ok=True)
        except (OSError, CacheError):
            return False
        self._tell("replaced", f"the result cache {self._path} was damaged or outdated ({error}); it was made anew")
        return True

    def _leave_alone(self, access: _Access, error: Exception) -> None:
        self._resume[access] = time.monotonic() + _PAUSE_SECONDS
        reason = (error.strerror if isinstance(error, OSError) else None) or error
        message = f"the result cache {self._path} cannot be {access} ({reason}); links are found without it"
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
        self._concepts.close()


def _today() -> int:
    return int(time.time() // 86_400)


def _refuse_foreign(path: Path) -> None:
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
        with _transaction(connection):
            if _pragma(connection, "application_id") == 0:  # else another process was first
                for statement in _SCHEMA:
                    connection.execute(statement)
    version = _pragma(connection, "user_version")
    if version < _VERSION:
        raise _SchemaError(f"schema {version}, expected {_VERSION}")
    if version > _VERSION:
        raise CacheError(f"it is of a newer cielo's schema {version}, expected {_VERSION}")
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
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        with contextlib.suppress(sqlite3.Error):
            if connection.in_transaction:
                connection.execute("ROLLBACK")
        raise


def _is_damage(error: sqlite3.Error) -> bool:
    return isinstance(error, _SchemaError) or getattr(error, "sqlite_errorcode", 0) & 0xFF in _DAMAGE
