"""A cache in memory: the links used last in this process."""

from __future__ import annotations

import math
import secrets
import threading
from collections import OrderedDict
from collections.abc import Iterable, Mapping

from cielo.cache.protocol import MEMORY_ENTRIES, CacheStats, bare, check_entries, counted
from cielo.cache.secret import SECRET_BYTES
from cielo.records import Link

_LINK_BYTES, _CANDIDATE_BYTES = 1_000, 500  # at most, of links of five candidates and of a hundred


class MemoryCache:
    """The links used last, in this process. Thread-safe.

    A link with five candidates takes about 2.7 kB, so the default holds at most about 27 MB; with a hundred
    candidates each it would be about 400 MB.
    """

    def __init__(
        self, entries: int = MEMORY_ENTRIES, *, secret: bytes | None = None, most_bytes: int | None = None
    ) -> None:
        """Make an empty cache.

        Args:
            entries: the most links that are kept.
            secret: for `key`; default: a new one, since nobody else reads this memory.
            most_bytes: that they take, as their candidates are counted; None: there is no such bound.
        """
        check_entries(entries)
        self._secret = secret or secrets.token_bytes(SECRET_BYTES)
        self._entries = entries
        self._most_bytes = math.inf if most_bytes is None else most_bytes
        self._bytes = 0
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
            self._stats = counted(self._stats, len(found), len(wanted))
        return found

    def put_many(self, links: Mapping[bytes, Link]) -> None:
        """Keep links; the least recently used go where there are too many."""
        kept = {digest: bare(link) for digest, link in links.items()}
        with self._lock:
            for digest, link in kept.items():
                known = self._links.pop(digest, None)
                self._bytes += _size(link) - (0 if known is None else _size(known))
                self._links[digest] = link
            while self._links and (len(self._links) > self._entries or self._bytes > self._most_bytes):
                self._bytes -= _size(self._links.popitem(last=False)[1])

    def close(self) -> None:
        """Forget every link."""
        with self._lock:
            self._links.clear()
            self._bytes = 0


def _size(link: Link) -> int:
    return _LINK_BYTES + _CANDIDATE_BYTES * len(link.candidates)
