"""The secret of a user's caches."""

from __future__ import annotations

import stat
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from cache_fakes import (
    PATIENCE,
    SPAWN,
    processes,
    run_threads,
)
from cielo.cache.secret import load_secret
from cielo.machine import state_directory

if TYPE_CHECKING:
    pass

pytestmark = pytest.mark.filterwarnings("error::RuntimeWarning")


def secret_in(directory: str, start: Any, results: Any) -> None:
    start.wait()
    results.put(load_secret(Path(directory)))


class TestSecret:
    def test_it_is_made_once_for_its_owner_alone(self, tmp_path: Path) -> None:
        secret = load_secret()
        assert len(secret) == 32
        assert load_secret() == secret
        assert load_secret(tmp_path / "another") != secret
        (file,) = state_directory().iterdir()
        assert file.read_bytes() == secret
        assert stat.S_IMODE(file.stat().st_mode) == 0o600

    def test_a_deleted_one_is_not_made_again_the_same(self) -> None:
        secret = load_secret()
        (state_directory() / "cache.key").unlink()
        assert load_secret() != secret

    @pytest.mark.parametrize("content", [b"", b"x", bytes(31), bytes(33), bytes(100_000)])
    def test_a_damaged_one_is_replaced(self, content: bytes) -> None:
        state_directory().mkdir()
        (state_directory() / "cache.key").write_bytes(content)
        secret = load_secret()
        assert len(secret) == 32
        assert load_secret() == secret
        assert [file.name for file in state_directory().iterdir()] == ["cache.key"]

    def test_a_mode_that_lets_others_read_is_taken_back(self) -> None:
        load_secret()
        (state_directory() / "cache.key").chmod(0o644)
        load_secret()
        assert stat.S_IMODE((state_directory() / "cache.key").stat().st_mode) == 0o600

    def test_it_is_made_where_there_are_no_hard_links(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(path: Path, target: Path) -> None:
            raise OSError(1, "Operation not permitted")

        monkeypatch.setattr(Path, "hardlink_to", refuse)
        secret = load_secret()
        assert load_secret() == secret
        assert stat.S_IMODE((state_directory() / "cache.key").stat().st_mode) == 0o600
        assert [file.name for file in state_directory().iterdir()] == ["cache.key"]

    def test_an_error_leaves_no_half_of_one(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def fail(descriptor: int) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr("cielo.cache.secret.os.fsync", fail)
        with pytest.raises(OSError, match="No space left"):
            load_secret()
        assert list(state_directory().iterdir()) == []

    def test_a_file_in_the_place_of_its_directory_is_an_error(self) -> None:
        state_directory().touch()
        with pytest.raises(OSError):
            load_secret()

    @pytest.mark.usefixtures("every_processor")
    def test_threads_that_make_it_at_once_have_the_same(self, tmp_path: Path) -> None:
        for round_ in range(20):
            secrets: list[bytes] = []
            barrier = threading.Barrier(8)

            def make(directory: Path, barrier: threading.Barrier, secrets: list[bytes]) -> None:
                barrier.wait()
                secrets.append(load_secret(directory))

            run_threads(8, make, tmp_path / str(round_), barrier, secrets)
            assert len(secrets) == 8
            assert len(set(secrets)) == 1
            assert [file.name for file in (tmp_path / str(round_)).iterdir()] == ["cache.key"]

    @pytest.mark.usefixtures("every_processor")
    def test_processes_that_make_it_at_once_have_the_same(self, tmp_path: Path) -> None:
        start, results = SPAWN.Event(), SPAWN.Queue()
        with processes(3, secret_in, str(tmp_path / "new"), start, results):
            start.set()
            secrets = {results.get(timeout=PATIENCE) for _ in range(3)}
        assert secrets == {load_secret(tmp_path / "new")}
