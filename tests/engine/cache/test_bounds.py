"""How many entries a file holds, and which go first."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from cache_fakes import (
    Clock,
    contents_of,
    counted,
    digest,
    entries_of,
    link_to,
    links_to,
)
from cielo.cache import disk as module
from cielo.cache.disk import DiskCache

if TYPE_CHECKING:
    pass

pytestmark = pytest.mark.filterwarnings("error::RuntimeWarning")


class TestBounds:
    def test_the_file_holds_no_more_than_it_may(self, opened: Callable[..., DiskCache]) -> None:
        cache = opened(entries=20)
        for number in range(50):
            cache.put_many({digest(number): link_to(0)})
            assert entries_of(cache) == counted(cache) <= 20
        assert counted(cache) >= 19
        cache.put_many(links_to(500))
        assert entries_of(cache) == counted(cache) <= 20

    def test_it_takes_an_entry_even_where_it_may_hold_one_alone(self, opened: Callable[..., DiskCache]) -> None:
        cache = opened(entries=1)
        for number in range(5):
            cache.put_many({digest(number): link_to(number)})
            assert cache.get_many(links_to(5)) == {digest(number): link_to(number)}

    def test_where_it_may_hold_less_than_before_the_next_writing_makes_room(
        self, opened: Callable[..., DiskCache]
    ) -> None:
        opened().put_many(links_to(100))
        cache = opened(entries=10)
        assert len(cache.get_many(links_to(100))) == 100
        cache.put_many({digest(200): link_to(0)})
        assert entries_of(cache) == counted(cache) == 10
        assert cache.get_many([digest(200)]) == {digest(200): link_to(0)}

    def test_the_least_recently_used_go_first(self, opened: Callable[..., DiskCache], clock: Clock) -> None:
        cache = opened(entries=10)
        for number in range(10):
            clock.day += 1
            cache.put_many({digest(number): link_to(number)})
        clock.day += 1
        cache.get_many([digest(0), digest(3)])
        cache.put_many({digest(number): link_to(0) for number in range(10, 14)})
        assert list(cache.get_many(map(digest, range(14)))) == [
            digest(number) for number in (0, 3, 6, 7, 8, 9, 10, 11, 12, 13)
        ]

    def test_within_a_day_the_oldest_go_first(self, opened: Callable[..., DiskCache], clock: Clock) -> None:
        cache = opened(entries=5)
        for number in range(8):
            cache.put_many({digest(number): link_to(number)})
        assert list(cache.get_many(links_to(8))) == [digest(number) for number in range(3, 8)]

    def test_reading_writes_nothing(self, tmp_path: Path, opened: Callable[..., DiskCache], clock: Clock) -> None:
        cache = opened()
        cache.put_many(links_to(10))
        before = contents_of(tmp_path)
        clock.day += 1
        for _ in range(20):
            assert len(cache.get_many(links_to(10))) == 10
        assert contents_of(tmp_path) == before
        assert days_of(cache) == {clock.day - 1}

    def test_the_day_of_use_is_written_with_the_next_links(
        self, opened: Callable[..., DiskCache], clock: Clock
    ) -> None:
        cache = opened()
        cache.put_many(links_to(10))
        clock.day += 1
        cache.get_many([digest(0)])
        cache.put_many({digest(20): link_to(0)})
        assert days_of(cache, digest(0), digest(20)) == {clock.day}
        assert days_of(cache, digest(1), digest(2)) == {clock.day - 1}

    def test_or_when_the_cache_is_closed(self, opened: Callable[..., DiskCache], clock: Clock) -> None:
        opened().put_many(links_to(10))
        clock.day += 1
        cache = opened()
        cache.get_many([digest(0)])
        cache.close()
        assert days_of(cache, digest(0)) == {clock.day}
        assert days_of(cache, digest(1)) == {clock.day - 1}

    def test_or_when_many_wait_for_it(
        self, opened: Callable[..., DiskCache], clock: Clock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(module, "_STAMPS_AT_ONCE", 4)
        cache = opened()
        cache.put_many(links_to(10))
        clock.day += 1
        cache.get_many([digest(0), digest(1), digest(2)])
        assert days_of(cache) == {clock.day - 1}
        cache.get_many([digest(3)])
        assert days_of(cache, *map(digest, range(4))) == {clock.day}

    def test_each_entry_s_day_is_written_once_a_day(self, opened: Callable[..., DiskCache], clock: Clock) -> None:
        cache = opened()
        cache.put_many(links_to(10))
        assert cache._connection is not None
        statements: list[str] = []
        cache._connection.set_trace_callback(statements.append)
        for day in (0, 1):
            clock.day += day
            for number in range(20, 23):
                cache.get_many(links_to(4))
                cache.put_many({digest(number): link_to(0)})
            stamps = [statement for statement in statements if statement.startswith("UPDATE entry SET used")]
            assert len(stamps) == 4 * day

    def test_a_day_in_the_future_is_put_right(self, opened: Callable[..., DiskCache], clock: Clock) -> None:
        clock.day += 1_000
        cache = opened()
        cache.put_many(links_to(1))
        clock.day -= 1_000
        cache.get_many([digest(0)])
        cache.close()
        assert days_of(cache) == {clock.day}

    def test_a_million_entries_are_not_counted_at_each_writing(self, opened: Callable[..., DiskCache]) -> None:
        cache = opened()
        cache.put_many(links_to(10))
        assert cache._connection is not None
        statements: list[str] = []
        cache._connection.set_trace_callback(statements.append)
        cache.put_many({digest(20): link_to(0)})
        assert any("INSERT INTO entry" in statement for statement in statements)
        assert not any("count(" in statement for statement in statements)


def days_of(cache: DiskCache, *keys: bytes) -> set[int]:
    with contextlib.closing(sqlite3.connect(cache._path)) as connection:
        found = connection.execute("SELECT digest, used FROM entry").fetchall()
    return {used for entry, used in found if not keys or entry in keys}
