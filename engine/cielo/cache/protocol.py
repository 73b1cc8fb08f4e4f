"""What every cache of links does, and what all of them share."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

from cielo.records import Link, Timings

MEMORY_ENTRIES = 10_000
DISK_ENTRIES = 1_000_000


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


def bare(link: Link) -> Link:
    """Return a link without what belongs to one call: the id may name a patient."""
    return dataclasses.replace(link, timings=Timings(), id=None)


def check_entries(entries: int) -> None:
    """Refuse a cache that holds nothing."""
    if entries < 1:
        raise ValueError(f"got a cache of {entries} entries, expected at least 1")


def counted(stats: CacheStats, found: int, wanted: int) -> CacheStats:
    """Return the counts after a look-up of `wanted` keys, of which some were found."""
    return CacheStats(stats.hits + found, stats.misses + wanted - found)
