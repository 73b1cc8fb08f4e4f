"""Files that were made to do harm: refused, or ended soon, and never a hang."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from cielo.errors import BundleError
from cielo.knowledge import storage
from cielo.knowledge.reading import KnowledgeBase
from knowledge_fakes import ICD, make, named

SECONDS = 20
ENDLESS = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i, '', '', '', '', '', 0, '' FROM n"


def soon(action: Callable[[], object]) -> BaseException | None:
    """Return what an action raises; fail where it does not end."""
    raised: list[BaseException] = []

    def act() -> None:
        try:
            action()
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=act, daemon=True)
    thread.start()
    thread.join(SECONDS)
    assert not thread.is_alive(), f"it did not end within {SECONDS} seconds"
    return raised[0] if raised else None


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "b.sqlite"
    make(file, named("A00", "A00.1", "A00.11", "B00"), ICD).close()
    return file


def changed(path: Path, *statements: str) -> None:
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA writable_schema = ON")
    for statement in statements:
        connection.execute(statement)
    connection.commit()
    connection.close()


@pytest.mark.parametrize(
    "statements",
    [
        ("ALTER TABLE concept RENAME TO other", f"CREATE VIEW concept AS {ENDLESS}"),
        ("DROP TABLE kind", f"CREATE VIEW kind AS {ENDLESS}"),
        ("DROP TABLE about", f"CREATE VIEW about AS {ENDLESS}"),
        (f"CREATE VIEW more AS {ENDLESS}",),
        ("CREATE TRIGGER more AFTER INSERT ON concept BEGIN SELECT 1; END",),
        ("CREATE TABLE more (a)",),
        ("DROP INDEX concept_key",),
        ("DROP TABLE vocabulary",),
        ("DROP TABLE words", f"CREATE VIEW words_data AS {ENDLESS}"),
        ("UPDATE sqlite_master SET sql = 'CREATE TABLE about (key, value)' WHERE name = 'about'",),
    ],
)  # fmt: skip
def test_other_tables_views_and_triggers_are_refused(path: Path, statements: tuple[str, ...]) -> None:
    changed(path, *statements)
    error = soon(lambda: KnowledgeBase(path))
    assert isinstance(error, BundleError)
    assert "cannot be opened as a knowledge base" in str(error)
    assert "again" in str(error)


def test_a_query_has_a_time_limit(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage, "QUERY_SECONDS", 0.5)
    file = storage.ReadConnection(path)
    start = time.monotonic()
    error = soon(lambda: file.query(f"SELECT count(*) FROM ({ENDLESS})"))
    assert isinstance(error, BundleError) and "cannot be read (interrupted)" in str(error)
    assert 0.4 < time.monotonic() - start < 10
    assert file.query("SELECT count(*) FROM concept") == [(4,)]
    file.close()


@pytest.mark.parametrize("statement", ["DELETE FROM concept", "CREATE TEMP TABLE t (a)", "PRAGMA user_version = 9"])
def test_nothing_is_written(path: Path, statement: str) -> None:
    before = path.read_bytes()
    file = storage.ReadConnection(path)
    with pytest.raises(BundleError):
        file.query(statement)
    file.close()
    assert path.read_bytes() == before


def test_a_schema_is_not_trusted(path: Path) -> None:
    file = storage.ReadConnection(path)
    assert file.query("PRAGMA trusted_schema") == [(0,)]
    assert file.query("PRAGMA query_only") == [(1,)]
    file.close()


@pytest.mark.parametrize(
    "statements",
    [
        ("UPDATE concept SET parent = 'A00.1' WHERE code = 'A00.1'",),
        ("UPDATE concept SET parent = 'A00.11' WHERE code = 'A00'",),
        ("UPDATE concept SET parent = 'B00' WHERE code IN ('A00.1', 'B00')",),
    ],
)
def test_a_concept_that_is_its_own_ancestor_is_said(path: Path, statements: tuple[str, ...]) -> None:
    changed(path, *statements)
    base = KnowledgeBase(path)
    error = soon(lambda: base.show("A00.1"))
    assert isinstance(error, BundleError) and "its own ancestor" in str(error)


def test_only_a_regular_file_is_opened(path: Path, tmp_path: Path) -> None:
    pipe, link, loop = tmp_path / "pipe", tmp_path / "link", tmp_path / "loop"
    os.mkfifo(pipe)
    link.symlink_to(path)
    loop.symlink_to(loop)
    for wrong in (pipe, link, loop, tmp_path, Path("/dev/zero")):
        error = soon(lambda wrong=wrong: KnowledgeBase(wrong))  # type: ignore[misc]
        assert isinstance(error, BundleError) and "expected a regular file" in str(error)
