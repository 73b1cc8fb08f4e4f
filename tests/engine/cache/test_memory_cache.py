"""The cache in memory, and memory before a file."""

from __future__ import annotations

import contextlib
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from cache_fakes import (
    MARKER,
    PROVENANCE,
    SECRET,
    digest,
    hammer,
    link_to,
    links_to,
    run_threads,
)
from cielo.cache.disk import DiskCache
from cielo.cache.key import bound
from cielo.cache.memory import MemoryCache
from cielo.cache.opening import LayeredCache, open_cache
from cielo.cache.protocol import CacheStats
from cielo.cache.secret import load_secret
from cielo.knowledge.reading import KnowledgeBase
from cielo.records import Timings
from hypothesis import given, settings
from hypothesis import strategies as st

if TYPE_CHECKING:
    pass

pytestmark = pytest.mark.filterwarnings("error::RuntimeWarning")


class TestMemory:
    def test_links_take_no_more_than_the_bytes_that_they_may(self) -> None:
        one = link_to(0)
        size = 1_000 + 500 * len(one.candidates)
        cache = MemoryCache(most_bytes=2 * size)
        for number in (1, 2, 2, 1, 3):
            cache.put_many({digest(number): one})
        assert set(cache.get_many(map(digest, (1, 2, 3)))) == {digest(1), digest(3)}
        assert MemoryCache(most_bytes=size - 1).get_many([digest(1)]) == {}

    def test_a_cache_of_no_bytes_keeps_nothing(self) -> None:
        cache = MemoryCache(most_bytes=0)
        cache.put_many({digest(1): link_to(0)})
        assert cache.get_many([digest(1)]) == {}

    def test_what_was_put_is_found_without_what_belongs_to_the_call(self) -> None:
        cache = MemoryCache()
        cache.put_many({digest(1): link_to(1, id=MARKER, timings=Timings(generate=2.0, mentions=3))})
        assert cache.get_many([digest(1), digest(2)]) == {digest(1): link_to(1)}
        assert cache.stats == CacheStats(hits=1, misses=1)

    def test_a_key_asked_for_twice_counts_once(self) -> None:
        cache = MemoryCache()
        cache.put_many(links_to(1))
        cache.get_many([digest(0), digest(0), digest(1), digest(1)])
        assert cache.stats == CacheStats(hits=1, misses=1)

    def test_the_least_recently_used_goes_first(self) -> None:
        cache = MemoryCache(3)
        cache.put_many(links_to(3))
        cache.get_many([digest(0)])
        cache.put_many({digest(1): link_to(1)})
        cache.put_many({digest(3): link_to(3)})
        assert list(cache.get_many(map(digest, range(4)))) == [digest(0), digest(1), digest(3)]

    @given(
        st.integers(1, 4),
        st.lists(st.tuples(st.booleans(), st.lists(st.integers(0, 6), max_size=5)), max_size=20),
    )
    @settings(deadline=None)
    def test_it_does_as_a_list_of_last_uses(self, entries: int, calls: list[tuple[bool, list[int]]]) -> None:
        cache, model = MemoryCache(entries), OrderedDict[bytes, None]()
        for is_put, numbers in calls:
            keys = [digest(number) for number in dict.fromkeys(numbers)]
            if is_put:
                cache.put_many({entry: link_to(0) for entry in keys})
                model.update(dict.fromkeys(keys))
            else:
                assert list(cache.get_many(keys)) == [entry for entry in keys if entry in model]
            for entry in keys:
                if entry in model:
                    model.move_to_end(entry)
            while len(model) > entries:
                model.popitem(last=False)
        assert set(cache.get_many(map(digest, range(7)))) == set(model)

    def test_each_has_a_secret_of_its_own_unless_one_is_given(self) -> None:
        assert len({MemoryCache().secret for _ in range(10)}) == 10
        assert MemoryCache(secret=SECRET).secret == SECRET

    @pytest.mark.parametrize("entries", [0, -1])
    def test_it_holds_at_least_one(self, entries: int) -> None:
        with pytest.raises(ValueError, match="expected at least 1"):
            MemoryCache(entries)

    def test_a_closed_one_has_forgotten(self) -> None:
        cache = MemoryCache()
        cache.put_many(links_to(2))
        cache.close()
        assert cache.get_many([digest(0)]) == {}

    @pytest.mark.usefixtures("every_processor")
    def test_threads_get_what_belongs_to_their_keys(self) -> None:
        cache = MemoryCache(20)
        run_threads(6, hammer, cache, 300)
        assert cache.stats.hits > 0
        assert cache.stats.hits + cache.stats.misses == 6 * 300 * 5


class TestLayers:
    def test_without_a_file_the_cache_is_memory(self, tmp_path: Path, base: KnowledgeBase) -> None:
        cache = open_cache(knowledge_base=base, provenance=PROVENANCE, entries=2)
        cache.put_many(links_to(3))
        assert cache.get_many(links_to(3)) == {digest(1): link_to(1), digest(2): link_to(2)}
        cache.close()
        assert list(tmp_path.iterdir()) == []

    def test_what_the_file_does_not_take_is_in_memory(self, tmp_path: Path, base: KnowledgeBase) -> None:
        links = {digest(0): link_to(0), digest(1): link_to(1, generated=MARKER)}
        path = tmp_path / "cache.sqlite"
        with contextlib.closing(open_cache(path, knowledge_base=base, provenance=PROVENANCE)) as cache:
            assert cache.secret == bound(load_secret())
            cache.put_many(links)
            assert cache.get_many([*links, digest(2)]) == links
            assert cache.stats == CacheStats(hits=2, misses=1)
        with contextlib.closing(open_cache(path, knowledge_base=base, provenance=PROVENANCE)) as cache:
            assert cache.get_many(links) == {digest(0): link_to(0)}
            assert cache.stats == CacheStats(hits=1, misses=1)

    def test_what_the_file_gave_is_in_memory(self, opened: Callable[..., DiskCache]) -> None:
        opened().put_many(links_to(5))
        disk = opened()
        cache = LayeredCache(disk, entries=3)
        for _ in range(2):
            assert cache.get_many(links_to(3)) == links_to(3)
        assert disk.stats == CacheStats(hits=3, misses=0)
        assert cache.stats == CacheStats(hits=6, misses=0)
        assert cache.get_many(links_to(5)) == links_to(5)

    def test_a_file_that_cannot_be_used_leaves_the_memory(self, tmp_path: Path, base: KnowledgeBase) -> None:
        (tmp_path / "file").touch()
        with pytest.warns(RuntimeWarning, match="cannot be read"):
            cache = open_cache(tmp_path / "file" / "cache", knowledge_base=base, provenance=PROVENANCE)
        cache.put_many(links_to(3))
        assert cache.get_many(links_to(3)) == links_to(3)
        cache.close()
