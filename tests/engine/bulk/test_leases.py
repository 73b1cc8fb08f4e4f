"""Leases: one holder at a time, taken over where it died, kept from one who comes back."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from pathlib import Path

import pytest
from cielo.bulk.leases import Leases


def test_one_holds_a_lease_until_the_block_ends(tmp_path: Path) -> None:
    with Leases(tmp_path, 60) as first, Leases(tmp_path, 60) as second:
        with first.claim("a") as held, second.claim("a") as other, second.claim("b") as free:
            assert (held, other, free) == (True, False, True)
            assert first.holds()
        with second.claim("a") as again:
            assert again
    assert list(tmp_path.iterdir()) == []


def test_a_silent_one_is_taken_over_and_notices_it(tmp_path: Path) -> None:
    with Leases(tmp_path, 1000) as stopped, Leases(tmp_path, 0.5) as other, stopped.claim("a") as held:
        assert held
        with other.claim("a") as early:
            assert not early
        time.sleep(0.7)
        with other.claim("a") as late:
            assert late
            assert not stopped.holds()
            assert other.holds()
            stopped_file = tmp_path / "a.lease"
        assert not stopped_file.exists()


def test_one_that_works_on_is_not_taken_over(tmp_path: Path) -> None:
    with Leases(tmp_path, 0.5) as working, Leases(tmp_path, 0.5) as other, working.claim("a") as held:
        assert held
        time.sleep(1.2)
        with other.claim("a") as taken:
            assert not taken


def test_a_process_that_ended_here_is_taken_over_at_once(tmp_path: Path) -> None:
    child = subprocess.Popen(["true"])
    child.wait()
    with Leases(tmp_path, 1000) as first, first.claim("a"):
        lease = tmp_path / "a.lease"
        lines = lease.read_text().splitlines()
        lease.write_text(f"{lines[0]}\n{child.pid}\n{lines[2]}\n")
        with Leases(tmp_path, 1000) as other, other.claim("a") as taken:
            assert taken


def test_a_lease_that_was_only_begun_is_taken_over_after_the_time(tmp_path: Path) -> None:
    lease = tmp_path / "a.lease"
    lease.touch()
    with Leases(tmp_path, 30) as leases:
        with leases.claim("a") as early:
            assert not early
        os.utime(lease, (time.time() - 60,) * 2)
        with leases.claim("a") as late:
            assert late


@pytest.mark.usefixtures("every_processor")
@pytest.mark.parametrize("dead", [False, True])
def test_of_many_at_once_one_gets_it(tmp_path: Path, dead: bool) -> None:
    if dead:
        (tmp_path / "a.lease").touch()
        os.utime(tmp_path / "a.lease", (time.time() - 600,) * 2)
    got: list[int] = []
    start, end = threading.Barrier(8), threading.Barrier(8)

    def claim(number: int) -> None:
        with Leases(tmp_path, 60) as leases:
            start.wait()
            with leases.claim("a") as held:
                end.wait()
                if held and leases.holds():
                    got.append(number)
                end.wait()

    threads = [threading.Thread(target=claim, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(got) <= 1
    assert dead or len(got) == 1
