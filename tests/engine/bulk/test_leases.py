"""Leases: one holder at a time, and the dead make room."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

from cielo.bulk.leases import Lease, claim, file_system_time


def test_one_holds_it_until_it_is_released(tmp_path: Path) -> None:
    path = tmp_path / "lease"
    with claim(path, 60) as first:  # type: ignore[union-attr]
        assert first.is_held()
        assert claim(path, 60) is None
    assert not path.exists()
    again = claim(path, 60)
    assert again is not None
    again.release()


def age(path: Path, seconds: float) -> None:
    then = file_system_time(path.parent) - seconds
    os.utime(path, (then, then))


def test_one_that_stands_still_is_taken_over(tmp_path: Path) -> None:
    path = tmp_path / "lease"
    path.write_text("of a dead process")
    age(path, 59)
    assert claim(path, 60) is None
    age(path, 61)
    lease = claim(path, 60)
    assert lease is not None
    assert lease.is_held()
    lease.release()
    assert list(tmp_path.iterdir()) == []


def test_whoever_lost_it_sees_that_and_does_not_remove_the_other_s(tmp_path: Path) -> None:
    path = tmp_path / "lease"
    stopped = Lease(path, "of a stopped process", 10_000)
    path.write_text("of a stopped process")
    age(path, 20_000)
    other = claim(path, 10_000)
    assert other is not None
    assert (stopped.is_held(), other.is_held()) == (False, True)
    stopped.release()
    assert other.is_held()
    other.release()


def test_a_holder_keeps_it_alive(tmp_path: Path) -> None:
    path = tmp_path / "lease"
    with claim(path, 0.4) as lease:  # type: ignore[union-attr]
        age(path, 1000)
        end = time.monotonic() + 30
        while file_system_time(tmp_path) - path.stat().st_mtime > 10:
            assert time.monotonic() < end
            time.sleep(0.02)
        assert lease.is_held()


def test_of_many_who_try_at_once_one_gets_it(tmp_path: Path) -> None:
    path = tmp_path / "lease"
    for stale in (False, True):
        if stale:
            path.write_text("of a dead process")
            age(path, 1000)
        start, got = threading.Barrier(16), []

        def attempt(start: threading.Barrier = start, got: list[Lease | None] = got) -> None:
            start.wait()
            got.append(claim(path, 60))

        threads = [threading.Thread(target=attempt) for _ in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        held = [lease for lease in got if lease is not None and lease.is_held()]
        assert len(held) == 1
        held[0].release()
        path.unlink(missing_ok=True)
