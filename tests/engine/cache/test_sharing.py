"""Threads and processes that share a cache."""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
import threading
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from cache_fakes import (
    PATIENCE,
    PROVENANCE,
    ROWS,
    SECRET,
    SPAWN,
    counted,
    digest,
    entries_of,
    hammer,
    link_to,
    links_to,
    processes,
    run_threads,
    works,
)
from cielo.cache import file as file_module
from cielo.cache.disk import DiskCache
from cielo.cache.opening import LayeredCache
from cielo.knowledge.reading import KnowledgeBase

if TYPE_CHECKING:
    pass

pytestmark = pytest.mark.filterwarnings("error::RuntimeWarning")


def hammer_file(path: str, base: str, number: int, start: Any) -> None:
    """Several processes on one file: each has two threads, reads what all write, and sees its own writes."""
    warnings.simplefilter("error")
    file_module._BUSY_SECONDS = 60.0  # on a busy machine
    start.wait()
    cache = DiskCache(Path(path), KnowledgeBase(Path(base)), PROVENANCE, secret=SECRET, entries=30)
    run_threads(2, hammer, cache, 25)
    mine = {digest(1_000 + number): link_to(number)}
    cache.put_many(mine)
    assert cache.get_many(mine).items() <= mine.items()
    cache.close()


def write_for_ever(path: str, base: str, begun: Any) -> None:
    cache = DiskCache(Path(path), KnowledgeBase(Path(base)), PROVENANCE, secret=SECRET, entries=200)
    for start in range(0, 1_000_000, 50):
        cache.put_many({digest(number): link_to(number % len(ROWS)) for number in range(start, start + 50)})
        if start == 500:
            begun.set()


class TestConcurrency:
    @pytest.mark.usefixtures("every_processor")
    def test_threads_share_a_cache(self, opened: Callable[..., DiskCache]) -> None:
        cache = opened(entries=30)
        run_threads(6, hammer, cache, 40)
        assert cache.stats.hits > 0
        assert cache.stats.hits + cache.stats.misses == 6 * 40 * 5
        assert entries_of(cache) == counted(cache) <= 30

    @pytest.mark.usefixtures("every_processor")
    def test_threads_share_a_layered_cache(self, opened: Callable[..., DiskCache]) -> None:
        cache = LayeredCache(opened(entries=30), entries=5)
        run_threads(6, hammer, cache, 40)
        assert cache.stats.hits + cache.stats.misses == 6 * 40 * 5

    @pytest.mark.usefixtures("every_processor")
    def test_threads_that_open_one_file_at_once_make_one_cache(
        self, tmp_path: Path, base: KnowledgeBase, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(file_module, "_BUSY_SECONDS", 60.0)  # on a busy machine
        for round_ in range(10):
            path = tmp_path / f"{round_}.sqlite"
            barrier = threading.Barrier(6)

            def open_and_use(path: Path, barrier: threading.Barrier) -> None:
                barrier.wait()
                with contextlib.closing(DiskCache(path, base, PROVENANCE, secret=SECRET)) as cache:
                    cache.put_many(links_to(5))
                    assert cache.get_many(links_to(5)) == links_to(5)

            run_threads(6, open_and_use, path, barrier)

    @pytest.mark.usefixtures("every_processor")
    def test_processes_share_a_file(self, tmp_path: Path, base_path: Path, opened: Callable[..., DiskCache]) -> None:
        path, start = tmp_path / "cache.sqlite", SPAWN.Event()
        with processes(3, hammer_file, str(path), str(base_path), None, start):
            start.set()
        cache = opened()
        assert entries_of(cache) == counted(cache) <= 30
        with contextlib.closing(sqlite3.connect(path)) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]

    def test_a_process_that_is_killed_while_it_writes_leaves_a_sound_file(
        self, tmp_path: Path, base_path: Path, opened: Callable[..., DiskCache]
    ) -> None:
        path, begun = tmp_path / "cache.sqlite", SPAWN.Event()
        process = SPAWN.Process(target=write_for_ever, args=(str(path), str(base_path), begun))
        process.start()
        assert begun.wait(PATIENCE)
        assert process.pid is not None
        os.kill(process.pid, signal.SIGKILL)
        process.join(PATIENCE)
        cache = opened()
        assert 0 < entries_of(cache) == counted(cache) <= 200
        with contextlib.closing(sqlite3.connect(path)) as connection:
            keys = [entry for (entry,) in connection.execute("SELECT digest FROM entry")]
        found = cache.get_many(keys)
        assert len(found) == len(keys) > 0
        assert all(link == link_to(int.from_bytes(entry[:4], "big") % len(ROWS)) for entry, link in found.items())
        assert works(cache)
