"""Fixtures of the caches' tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from cache_fakes import (
    PROVENANCE,
    ROWS,
    SECRET,
    Clock,
    links_to,
)
from cielo.cache import disk as module
from cielo.cache.disk import DiskCache
from cielo.knowledge.reading import KnowledgeBase
from cielo.knowledge.writing import write_knowledge_base

if TYPE_CHECKING:
    pass


@pytest.fixture(autouse=True)
def _state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CIELO_STATE", str(tmp_path / "state"))


@pytest.fixture(scope="session")
def base_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of a knowledge base."""
    path = tmp_path_factory.mktemp("base") / "base.sqlite"
    write_knowledge_base(path, ROWS)
    return path


@pytest.fixture(scope="session")
def base(base_path: Path) -> KnowledgeBase:
    """A knowledge base."""
    return KnowledgeBase(base_path)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("cielo.cache.disk.time.monotonic", lambda: clock.seconds)
    monkeypatch.setattr(module, "_today", lambda: clock.day)
    return clock


@pytest.fixture
def opened(tmp_path: Path, base: KnowledgeBase) -> Iterator[Callable[..., DiskCache]]:
    """Open a cache on `tmp_path / "cache.sqlite"`, and close it in the end."""
    caches: list[DiskCache] = []

    def open_it(path: Path | None = None, **options: Any) -> DiskCache:
        options = {"secret": SECRET, "provenance": PROVENANCE, **options}
        cache = DiskCache(path or tmp_path / "cache.sqlite", base, **options)
        caches.append(cache)
        return cache

    yield open_it
    for cache in caches:
        cache.close()


@pytest.fixture
def full(tmp_path: Path, opened: Callable[..., DiskCache]) -> Path:
    """A closed cache with a few hundred entries."""
    cache = opened()
    cache.put_many(links_to(400))
    cache.close()
    path = tmp_path / "cache.sqlite"
    assert path.stat().st_size > 40_000
    return path
