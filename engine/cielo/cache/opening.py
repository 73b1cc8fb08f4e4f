"""Opening a linker's cache: memory alone, or memory before a file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from cielo.cache.memory import MemoryCache
from cielo.cache.protocol import MEMORY_ENTRIES, CacheStats, ResultCache
from cielo.knowledge.reading import KnowledgeBase
from cielo.records import Link, Provenance

if TYPE_CHECKING:
    from cielo.cache.disk import DiskCache


class LayeredCache:
    """A file with memory before it: what the file does not take is known as long as the process lives."""

    def __init__(self, disk: DiskCache, *, entries: int = MEMORY_ENTRIES, most_bytes: int | None = None) -> None:
        self._memory = MemoryCache(entries, secret=disk.secret, most_bytes=most_bytes)
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
    path: Path | None = None,
    *,
    knowledge_base: KnowledgeBase,
    provenance: Provenance,
    entries: int = MEMORY_ENTRIES,
    most_bytes: int | None = None,
) -> ResultCache:
    """Return a linker's cache: in memory alone, or with the file `path` behind it.

    Args:
        path: of the file; it is made where there is none. None: memory alone.
        knowledge_base: of the bundle; it must stay open as long as the cache.
        provenance: of the linker's links.
        entries: the most links in memory.
        most_bytes: that these take; None: there is no such bound.

    Raises:
        CacheError: where `path` is something else than a result cache.
    """
    if path is None:
        return MemoryCache(entries, most_bytes=most_bytes)
    from cielo.cache.disk import DiskCache

    return LayeredCache(DiskCache(path, knowledge_base, provenance), entries=entries, most_bytes=most_bytes)
