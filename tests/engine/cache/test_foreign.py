"""Files of somebody else: refused, and not touched."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from cache_fakes import (
    ROWS,
    changed,
    contents_of,
    links_to,
    works,
)
from cielo.cache import file as file_module
from cielo.cache.disk import DiskCache
from cielo.errors import CacheError
from cielo.knowledge.writing import write_knowledge_base

if TYPE_CHECKING:
    pass

pytestmark = pytest.mark.filterwarnings("error::RuntimeWarning")


def sqlite_file(path: Path, *statements: str) -> None:
    changed(path, "CREATE TABLE notas (texto TEXT)", "INSERT INTO notas VALUES ('suyo')", *statements)


FOREIGN: dict[str, Callable[[Path], object]] = {
    "text": lambda path: path.write_text("Paciente con fiebre."),
    "one byte": lambda path: path.write_bytes(b"\0"),
    "zeros": lambda path: path.write_bytes(bytes(8_192)),
    "a cut header": lambda path: path.write_bytes(b"SQLite format 3\0" + bytes(20)),
    "a database": sqlite_file,
    "a database of another application": lambda path: sqlite_file(path, "PRAGMA application_id = 252006674"),
    "a database with a write-ahead log": lambda path: sqlite_file(path, "PRAGMA journal_mode = WAL"),
    "a knowledge base": lambda path: write_knowledge_base(path, ROWS),
}


class TestForeign:
    @pytest.mark.parametrize("kind", FOREIGN)
    def test_somebody_else_s_file_is_refused_and_not_touched(
        self, tmp_path: Path, opened: Callable[..., DiskCache], kind: str
    ) -> None:
        directory = tmp_path / "theirs"
        directory.mkdir()
        path = directory / "file"
        FOREIGN[kind](path)
        path.chmod(0o640)
        before, information = contents_of(directory), path.stat()
        with pytest.raises(CacheError, match="is not a result cache of cielo: expected an SQLite file with") as caught:
            opened(path)
        assert str(path) in str(caught.value)
        assert "fiebre" not in str(caught.value)
        assert contents_of(directory) == before
        assert (path.stat().st_mtime_ns, path.stat().st_mode) == (information.st_mtime_ns, information.st_mode)

    def test_a_log_that_was_not_written_back_stays(self, tmp_path: Path, opened: Callable[..., DiskCache]) -> None:
        path = tmp_path / "theirs.sqlite"
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as theirs:
            theirs.execute("PRAGMA journal_mode = WAL")
            theirs.execute("CREATE TABLE notas (texto TEXT)")
            before = contents_of(tmp_path)
            assert len(before["theirs.sqlite-wal"]) > 0
            with pytest.raises(CacheError):
                opened(path)
            assert contents_of(tmp_path) == before

    @pytest.mark.parametrize("path", ["directory", "/dev/null", "pipe"])
    def test_what_is_no_file_is_refused(self, tmp_path: Path, opened: Callable[..., DiskCache], path: str) -> None:
        (tmp_path / "directory").mkdir()
        os.mkfifo(tmp_path / "pipe")
        with pytest.raises(CacheError, match="is not a result cache"):
            opened(tmp_path / path)

    def test_looking_at_a_file_does_not_give_up_this_process_s_locks_on_it(
        self, tmp_path: Path, opened: Callable[..., DiskCache]
    ) -> None:
        opened().close()
        path = tmp_path / "cache.sqlite"
        code = f"import sqlite3; sqlite3.connect({str(path)!r}, timeout=0).execute('BEGIN IMMEDIATE')"
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
            connection.execute("PRAGMA journal_mode = DELETE")  # its locks are on the file itself
            connection.execute("BEGIN IMMEDIATE")
            file_module.refuse_foreign(path)
            done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
        assert "database is locked" in done.stderr

    def test_a_loop_of_links_is_told(self, tmp_path: Path, opened: Callable[..., DiskCache]) -> None:
        (tmp_path / "loop").symlink_to(tmp_path / "loop")
        with pytest.warns(RuntimeWarning, match="cannot be read"):
            assert not works(opened(tmp_path / "loop"))

    def test_an_empty_file_becomes_a_cache(self, tmp_path: Path, opened: Callable[..., DiskCache]) -> None:
        (tmp_path / "cache.sqlite").touch()
        assert works(opened())

    def test_a_link_to_a_cache_is_that_cache(self, tmp_path: Path, opened: Callable[..., DiskCache]) -> None:
        opened(tmp_path / "real.sqlite").put_many(links_to(3))
        (tmp_path / "link").symlink_to(tmp_path / "real.sqlite")
        assert opened(tmp_path / "link").get_many(links_to(3)) == links_to(3)
        assert not (tmp_path / "link-wal").exists()

    def test_a_file_that_is_exchanged_under_an_open_cache_is_not_touched(
        self, full: Path, opened: Callable[..., DiskCache]
    ) -> None:
        cache = opened()
        full.write_text("Paciente con fiebre.")
        with pytest.warns(RuntimeWarning, match="links are found without it"):
            for _ in range(3):
                cache.get_many(links_to(400))
                cache.put_many(links_to(400))
        cache.close()
        assert full.read_text() == "Paciente con fiebre."
