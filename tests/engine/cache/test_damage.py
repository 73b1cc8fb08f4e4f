"""Damaged files: told once, replaced, and never another link."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from cache_fakes import (
    PROVENANCE,
    SECRET,
    changed,
    contents_of,
    counted,
    damage,
    digest,
    entries_of,
    link_to,
    links_to,
    works,
)
from cielo.cache import file as file_module
from cielo.cache.disk import DiskCache
from cielo.errors import CacheError
from cielo.knowledge.reading import KnowledgeBase
from hypothesis import given, settings
from hypothesis import strategies as st

if TYPE_CHECKING:
    pass

pytestmark = pytest.mark.filterwarnings("error::RuntimeWarning")


class TestDamage:
    @pytest.mark.parametrize(
        ("start", "length"),
        [(100, 3_996), (4_096, 100_000), (16, 2), (96, 4_000), (40, 60), (5_000, 60_000)],
    )
    def test_a_damaged_file_is_told_and_replaced(
        self, full: Path, opened: Callable[..., DiskCache], start: int, length: int
    ) -> None:
        size = full.stat().st_size
        application = full.read_bytes()[68:72]
        damage(full, start, b"\xa5" * min(length, size - start))
        damage(full, 68, application)
        with pytest.warns(RuntimeWarning, match="was damaged or outdated") as caught:
            cache = opened()
            cache.get_many(links_to(400))
            cache.put_many(links_to(400))
            cache.get_many(links_to(400))
        assert len(caught) == 1
        assert str(full) in str(caught[0].message)
        assert works(cache)
        cache.close()
        assert [file.name for file in full.parent.glob("*cache*")] == [full.name]
        assert works(opened())

    @pytest.mark.parametrize("size", [100, 4_095, 4_096, 8_192, 20_000])
    def test_a_file_that_was_cut_is_told_and_replaced(
        self, full: Path, opened: Callable[..., DiskCache], size: int
    ) -> None:
        os.truncate(full, size)
        with pytest.warns(RuntimeWarning, match="was damaged or outdated"):
            cache = opened()
            cache.get_many(links_to(400))
            cache.put_many(links_to(400))
        assert cache.get_many(links_to(400)) == links_to(400)

    def test_damage_under_an_open_cache_is_told_and_repaired(
        self, full: Path, opened: Callable[..., DiskCache]
    ) -> None:
        cache = opened()
        size = full.stat().st_size
        damage(full, 4_096, b"\xa5" * (size - 4_096))
        with pytest.warns(RuntimeWarning, match="was damaged or outdated") as caught:
            assert cache.get_many(links_to(400)) == {}
        assert len(caught) == 1
        assert works(cache)

    def test_a_flipped_bit_in_an_entry_is_a_miss_and_no_other_code(
        self, full: Path, opened: Callable[..., DiskCache]
    ) -> None:
        with contextlib.closing(sqlite3.connect(full)) as connection:
            ((entry, content),) = connection.execute("SELECT id, content FROM entry WHERE id = 7").fetchall()
        cache = opened()
        with contextlib.closing(sqlite3.connect(full, isolation_level=None)) as connection:
            for place in range(len(content)):
                flipped = bytearray(content)
                flipped[place] ^= 1 << place % 8
                connection.execute("UPDATE entry SET content = ? WHERE id = ?", (bytes(flipped), entry))
                assert set(cache.get_many([digest(5), digest(6)])) == {digest(5)}
        cache.put_many({digest(6): link_to(6)})
        assert cache.get_many([digest(6)]) == {digest(6): link_to(6)}

    @pytest.mark.parametrize("value", ["NULL", "'text'", "5", "x''", "x'00'", "zeroblob(1000)", "1.5"])
    def test_a_content_of_another_form_is_a_miss(
        self, full: Path, opened: Callable[..., DiskCache], value: str
    ) -> None:
        with contextlib.closing(sqlite3.connect(full)) as connection, connection:
            connection.execute("PRAGMA ignore_check_constraints = ON")
            connection.execute(f"UPDATE OR IGNORE entry SET content = {value} WHERE id = 1 AND {value} IS NOT NULL")
            connection.execute(f"UPDATE entry SET used = coalesce({value}, 'x') WHERE id = 2")
        cache = opened()
        found = cache.get_many(links_to(10))
        assert {digest(row): link_to(row % 10) for row in range(2, 10)}.items() <= found.items()
        assert (digest(0) in found) == (value == "NULL")
        assert works(cache)

    def test_an_entry_under_another_s_key_is_a_miss(self, full: Path, opened: Callable[..., DiskCache]) -> None:
        changed(
            full,
            "CREATE TEMP TABLE two AS SELECT id, content FROM entry WHERE id IN (1, 2)",
            "UPDATE entry SET content = (SELECT content FROM two WHERE two.id = 3 - entry.id) WHERE id IN (1, 2)",
        )
        assert set(opened().get_many(links_to(4))) == {digest(2), digest(3)}

    @pytest.mark.parametrize(
        "statement",
        [
            "DROP TABLE entry", "DROP TABLE size", "DROP TRIGGER entry_added", "DROP INDEX entry_used",
            "ALTER TABLE entry RENAME COLUMN content TO more", "CREATE TABLE more (x)", "PRAGMA user_version = 0",
            "CREATE TRIGGER more AFTER INSERT ON entry BEGIN DELETE FROM entry; END",
        ],
    )  # fmt: skip
    def test_a_cache_of_an_older_or_altered_schema_is_told_and_replaced(
        self, full: Path, opened: Callable[..., DiskCache], statement: str
    ) -> None:
        changed(full, statement)
        with pytest.warns(RuntimeWarning, match="was damaged or outdated"):
            cache = opened()
        assert cache.get_many(links_to(10)) == {}
        assert works(cache)
        assert entries_of(cache) == counted(cache) == 5

    def test_a_cache_of_a_newer_cielo_is_told_and_left_as_it_is(
        self, full: Path, opened: Callable[..., DiskCache]
    ) -> None:
        changed(full, f"PRAGMA user_version = {file_module.VERSION + 1}")
        before = full.read_bytes()
        with pytest.warns(RuntimeWarning, match=r"cannot be read \(it is of a newer cielo's schema") as caught:
            cache = opened()
            cache.put_many(links_to(3))
            assert cache.get_many(links_to(3)) == {}
        assert len(caught) == 1
        cache.close()
        assert full.read_bytes() == before

    def test_an_empty_log_and_one_of_nonsense_do_no_harm(self, full: Path, opened: Callable[..., DiskCache]) -> None:
        for content in (b"", b"nonsense" * 1_000):
            for suffix in ("-wal", "-shm", "-journal"):
                full.with_name(full.name + suffix).write_bytes(content)
            cache = opened()
            assert cache.get_many(links_to(10)) == links_to(10)
            assert works(cache)
            cache.close()

    @pytest.fixture(scope="class")
    def left_behind(self, base: KnowledgeBase, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
        """The files of a cache whose process was killed: half of the entries in the file, half in the log."""
        path = tmp_path_factory.mktemp("killed") / "cache.sqlite"
        links = list(links_to(300).items())
        for half in (links[:150], links[150:]):
            cache = DiskCache(path, base, PROVENANCE, secret=SECRET)
            cache.put_many(dict(half))
            files = contents_of(path.parent)
            cache.close()
        assert {name: len(content) > 20_000 for name, content in files.items()} == {
            "cache.sqlite": True, "cache.sqlite-wal": True,
        }  # fmt: skip
        return files

    def test_what_a_killed_process_left_is_all_there(
        self, tmp_path: Path, opened: Callable[..., DiskCache], left_behind: dict[str, bytes]
    ) -> None:
        for name, content in left_behind.items():
            (tmp_path / name).write_bytes(content)
        assert opened().get_many(links_to(300)) == links_to(300)

    @given(
        damages=st.lists(st.tuples(st.integers(0, 200_000), st.binary(min_size=1, max_size=400)), max_size=12),
        cut=st.none() | st.integers(0, 100_000),
        where=st.sampled_from(["cache.sqlite", "cache.sqlite-wal"]),
    )
    @settings(max_examples=40, deadline=None)
    def test_no_damage_whatever_gives_another_link_or_an_error(
        self,
        base: KnowledgeBase,
        left_behind: dict[str, bytes],
        damages: list[tuple[int, bytes]],
        cut: int | None,
        where: str,
    ) -> None:
        with tempfile.TemporaryDirectory() as directory, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for name, content in left_behind.items():
                Path(directory, name).write_bytes(content)
            size = len(left_behind[where])
            for start, garbage in damages:
                damage(Path(directory, where), start % size, garbage)
            if cut is not None:
                os.truncate(Path(directory, where), cut % (size + 1))
            path = Path(directory, "cache.sqlite")
            before = path.read_bytes()
            try:
                cache = DiskCache(path, base, PROVENANCE, secret=SECRET)
            except CacheError:  # no longer to be told from somebody else's file
                assert path.read_bytes() == before
                return
            for _ in range(2):
                assert cache.get_many(links_to(300)).items() <= links_to(300).items()
                cache.put_many(links_to(300))
            cache.close()
