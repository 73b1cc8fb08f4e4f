"""Files that cannot be used, and errors of the disk and of locks."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from cache_fakes import (
    PROVENANCE,
    ROOT,
    ROWS,
    SECRET,
    Clock,
    break_tables,
    counted,
    damage,
    digest,
    entries_of,
    link_to,
    links_to,
    works,
)
from cielo.cache import disk as module
from cielo.cache import file as file_module
from cielo.cache.disk import DiskCache
from cielo.cache.key import bound
from cielo.cache.protocol import CacheStats
from cielo.cache.secret import load_secret
from cielo.knowledge.reading import KnowledgeBase
from cielo.knowledge.writing import write_knowledge_base

if TYPE_CHECKING:
    pass

pytestmark = pytest.mark.filterwarnings("error::RuntimeWarning")


@pytest.fixture
def powerless() -> Iterator[Path]:
    """A directory for tests of permissions, which bind everybody but root; the test runs as somebody else."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        directory.chmod(0o755)
        is_root = os.geteuid() == 0
        if is_root:
            os.chown(directory, 65_534, -1)
            os.seteuid(65_534)
        try:
            yield directory
        finally:
            if is_root:
                os.seteuid(0)
            directory.chmod(0o755)


class TestFailing:
    """A file that cannot be used is told of once, and linking goes on."""

    @pytest.fixture
    def base(self, powerless: Path) -> KnowledgeBase:
        path = powerless / "base.sqlite"
        write_knowledge_base(path, ROWS)
        return KnowledgeBase(path)

    def test_a_read_only_directory(self, powerless: Path, opened: Callable[..., DiskCache]) -> None:
        powerless.chmod(0o555)
        with pytest.warns(RuntimeWarning, match="Permission denied") as caught:
            cache = opened(powerless / "cache.sqlite")
            for _ in range(3):
                cache.put_many(links_to(5))
                assert cache.get_many(links_to(5)) == {}
        assert len(caught) == 1
        assert cache.stats == CacheStats(hits=0, misses=15)

    @pytest.mark.parametrize("directory_mode", [0o555, 0o755])
    def test_a_read_only_file_is_never_changed(
        self, powerless: Path, opened: Callable[..., DiskCache], directory_mode: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = powerless / "cache.sqlite"
        cache = opened(path)
        cache.put_many(links_to(5))
        cache.close()
        path.chmod(0o444)
        powerless.chmod(directory_mode)
        monkeypatch.setattr(Path, "chmod", refuse_chmod)
        before = path.read_bytes()
        with pytest.warns(RuntimeWarning, match="links are found without it") as caught:
            cache = opened(path)
            for _ in range(3):
                cache.put_many({digest(9): link_to(9)})
                assert cache.get_many(links_to(10)).items() <= links_to(5).items()
            cache.close()
        monkeypatch.undo()
        assert len(caught) == 1
        assert path.read_bytes() == before

    def test_a_file_that_others_alone_may_read(
        self, powerless: Path, opened: Callable[..., DiskCache], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = powerless / "cache.sqlite"
        path.write_bytes(b"")
        path.chmod(0)
        monkeypatch.setattr(Path, "chmod", refuse_chmod)
        with pytest.warns(RuntimeWarning, match="cannot be read"):
            cache = opened(path)
        assert cache.get_many(links_to(1)) == {}
        monkeypatch.undo()

    def test_a_secret_that_cannot_be_kept(
        self, powerless: Path, opened: Callable[..., DiskCache], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (powerless / "state").mkdir(mode=0o555)
        monkeypatch.setenv("CIELO_STATE", str(powerless / "state"))
        with pytest.warns(RuntimeWarning, match=r"its secret cannot be kept in .*state \(Permission.*CIELO_STATE"):
            cache = opened(powerless / "cache.sqlite", secret=None)
        assert len(cache.secret) == 32
        assert not works(cache)  # nobody could ever find what it writes
        assert not (powerless / "cache.sqlite").exists()

    def test_a_secret_that_is_there_serves_though_its_directory_is_read_only(
        self, powerless: Path, opened: Callable[..., DiskCache], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("CIELO_STATE", str(powerless / "state"))
        secret = bound(load_secret())
        (powerless / "state").chmod(0o555)
        try:
            assert opened(powerless / "cache.sqlite", secret=None).secret == secret
        finally:
            (powerless / "state").chmod(0o755)


def refuse_chmod(path: Path, mode: int, **options: Any) -> None:
    raise PermissionError(1, "Operation not permitted")


class TestErrors:
    """Errors of the disk and of locks, in an open cache."""

    def test_a_full_disk_stops_the_writing_alone(self, opened: Callable[..., DiskCache], clock: Clock) -> None:
        cache = opened()
        cache.put_many(links_to(20))
        assert cache._connection is not None
        pages = cache._connection.execute("PRAGMA page_count").fetchone()[0]
        cache._connection.execute(f"PRAGMA max_page_count = {pages}")
        with pytest.warns(RuntimeWarning, match=r"cannot be written \(database or disk is full\)") as caught:
            for _ in range(3):
                cache.put_many(links_to(2_000))
                assert cache.get_many(links_to(2_000)) == links_to(20)
        assert len(caught) == 1
        assert entries_of(cache) == counted(cache) == 20
        cache._connection.execute("PRAGMA max_page_count = 100000")
        cache.put_many(links_to(2_000))
        assert entries_of(cache) == 20  # it is left alone for a minute
        clock.seconds += module._PAUSE_SECONDS
        cache.put_many(links_to(2_000))
        assert cache.get_many(links_to(2_000)) == links_to(2_000)

    def test_a_disk_on_which_no_file_can_grow(self, tmp_path: Path, base_path: Path) -> None:
        """The limit of the operating system on the size of files, in a process of its own."""
        code = f"""
import resource, sys, warnings
from pathlib import Path
sys.path.insert(0, {str(Path(__file__).parent)!r})
from cache_fakes import *
from cielo.knowledge.reading import KnowledgeBase
resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000))
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    base = KnowledgeBase(Path({str(base_path)!r}))
    cache = DiskCache(Path({str(tmp_path / "cache.sqlite")!r}), base, PROVENANCE, secret=SECRET)
    cache.put_many(links_to(10))
    for _ in range(3):
        cache.put_many(links_to(3_000))
        assert cache.get_many(links_to(3_000)).items() <= links_to(3_000).items()
    cache.close()
print(len(caught), caught[0].message)
"""
        done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith("1 the result cache")
        assert "links are found without it" in done.stdout
        base = KnowledgeBase(base_path)
        with contextlib.closing(DiskCache(tmp_path / "cache.sqlite", base, PROVENANCE, secret=SECRET)) as cache:
            assert cache.get_many(links_to(3_000)) == links_to(10)
            assert works(cache)

    @pytest.mark.parametrize(
        "error",
        [OSError(28, "No space left on device"), PermissionError(13, "Permission denied"), OSError(5, "I/O error")],
    )
    def test_a_file_that_cannot_be_made(
        self, opened: Callable[..., DiskCache], clock: Clock, monkeypatch: pytest.MonkeyPatch, error: OSError
    ) -> None:
        def fail(*_: Any) -> int:
            raise error

        monkeypatch.setattr("cielo.cache.file.os.open", fail)
        with pytest.warns(RuntimeWarning, match=str(error.strerror)) as caught:
            cache = opened()
            assert not works(cache)
        assert len(caught) == 1
        monkeypatch.undo()
        monkeypatch.setattr("cielo.cache.disk.time.monotonic", lambda: clock.seconds)
        assert not works(cache)
        clock.seconds += module._PAUSE_SECONDS
        assert works(cache)

    def test_a_locked_file_is_still_read(
        self, opened: Callable[..., DiskCache], clock: Clock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(file_module, "_BUSY_SECONDS", 0.01)
        cache = opened()
        cache.put_many(links_to(5))
        with contextlib.closing(sqlite3.connect(cache._path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.warns(RuntimeWarning, match=r"cannot be written \(database is locked\)") as caught:
                for _ in range(3):
                    cache.put_many(links_to(8))
                    assert cache.get_many(links_to(8)) == links_to(5)
            assert len(caught) == 1
            other.execute("ROLLBACK")
        clock.seconds += module._PAUSE_SECONDS
        cache.put_many(links_to(8))
        assert cache.get_many(links_to(8)) == links_to(8)

    def test_a_file_that_is_locked_when_it_is_opened(
        self, tmp_path: Path, opened: Callable[..., DiskCache], clock: Clock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(file_module, "_BUSY_SECONDS", 0.01)
        path = tmp_path / "cache.sqlite"
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN EXCLUSIVE")
            with pytest.warns(RuntimeWarning, match=r"cannot be read \(database is locked\)") as caught:
                cache = opened()
                assert not works(cache)
            assert len(caught) == 1
        clock.seconds += module._PAUSE_SECONDS
        assert works(cache)

    def test_a_table_that_vanishes_is_told_and_made_again_at_the_next_opening(
        self, opened: Callable[..., DiskCache]
    ) -> None:
        cache = opened()
        cache.put_many(links_to(5))
        break_tables(cache._path)
        with pytest.warns(RuntimeWarning, match="no such table"):
            assert cache.get_many(links_to(5)) == {}
        cache.close()
        with pytest.warns(RuntimeWarning, match="was damaged or outdated"):
            assert works(opened())

    def test_a_deleted_file_breaks_nothing_and_is_made_again(
        self, tmp_path: Path, opened: Callable[..., DiskCache]
    ) -> None:
        cache = opened()
        cache.put_many(links_to(5))
        for file in tmp_path.glob("cache.sqlite*"):
            file.unlink()
        assert works(cache)
        assert works(opened())
        cache.close()
        assert opened().get_many(links_to(5)) == links_to(5)

    def test_where_another_process_has_replaced_a_damaged_file_its_new_one_stays(
        self, full: Path, opened: Callable[..., DiskCache]
    ) -> None:
        one, other = opened(), opened()
        damage(full, 4_096, b"\xa5" * (full.stat().st_size - 4_096))
        with pytest.warns(RuntimeWarning, match="was damaged or outdated") as caught:
            assert works(one)
            new = full.stat().st_ino
            assert other.get_many(links_to(400)) == links_to(5)
        assert len(caught) == 2
        assert full.stat().st_ino == new
        other.put_many({digest(6): link_to(6)})
        assert one.get_many([digest(6)]) == {digest(6): link_to(6)}

    def test_a_write_ahead_log_is_used_where_there_can_be_one(self, opened: Callable[..., DiskCache]) -> None:
        cache = opened()
        assert cache._connection is not None
        assert cache._connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)

    def test_without_a_write_ahead_log_it_works_too(
        self, opened: Callable[..., DiskCache], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        connect = sqlite3.connect

        def connect_without(*arguments: Any, **options: Any) -> sqlite3.Connection:
            class Refusing(sqlite3.Connection):
                def execute(self, sql: str, *parameters: Any) -> sqlite3.Cursor:
                    if sql == "PRAGMA journal_mode = WAL":
                        raise sqlite3.OperationalError("database is locked")
                    return super().execute(sql, *parameters)

            return connect(*arguments, **options, factory=Refusing)

        monkeypatch.setattr("cielo.cache.file.sqlite3.connect", connect_without)
        cache = opened()
        assert works(cache)
        assert cache._connection is not None
        assert cache._connection.execute("PRAGMA journal_mode").fetchone() == ("delete",)
