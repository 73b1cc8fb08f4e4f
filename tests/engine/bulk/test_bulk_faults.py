"""Runs that are killed, stopped, shared, or without room: the final bytes are those of an unbroken run."""

from __future__ import annotations

import itertools
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import NoReturn

import pytest
from bulk_made import call, command, final_bytes, table
from cielo.cli import main
from click.testing import CliRunner

OPTIONS = ("--rows", "40")
ROWS, DISTINCT = 400, 120
_PATIENCE = 60  # seconds
KILLS, FULL_DISKS = map(int, os.environ.get("CIELO_FAULTS", "8,4").split(","))
ROOM = (0, 1, 2, 5, 3, 4, 6, 5, 7, 4, 6, 8)  # calls that succeed before the disk is full

# A process in which the n-th call that brings bytes to the disk finds it full.
_FULL = """
import errno, os, sys
left = int(sys.argv.pop(1))
real = os.fsync
def fsync(descriptor):
    global left
    left -= 1
    if left < 0:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    return real(descriptor)
os.fsync = fsync
from cielo.cli import main
main(prog_name="cielo")
"""


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return table(tmp_path_factory.mktemp("in") / "in.csv", ROWS, DISTINCT)


@pytest.fixture(scope="module")
def unbroken(source: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    output = tmp_path_factory.mktemp("unbroken") / "out"
    found = call([source], output, *OPTIONS)
    assert found.returncode == 0, found.stderr
    return final_bytes(output)


def start(source: Path, output: Path, *more: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        command([source], output, *OPTIONS, *more), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )


def kill_at_random(source: Path, output: Path, kills: int, seed: int) -> list[int]:
    """Start the command and end it after a random time, again and again; return the signals' exit codes."""
    drawn = random.Random(seed)
    codes = []
    for _ in range(kills):
        child = start(source, output)
        time.sleep(drawn.uniform(0.2, 2.2))
        child.send_signal(drawn.choice([signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGINT]))
        codes.append(child.wait(_PATIENCE))
    return codes


@pytest.mark.parametrize("kills", [4, pytest.param(KILLS, marks=pytest.mark.slow)])
def test_random_kills_change_no_byte(source: Path, unbroken: dict[str, str], tmp_path: Path, kills: int) -> None:
    killed = 0
    for begun in range(0, kills, 5):  # a run is finished after some: then the next one begins
        output = tmp_path / f"out{begun}"
        killed += sum(code != 0 for code in kill_at_random(source, output, min(5, kills - begun), kills + begun))
        found = call([source], output, *OPTIONS)
        assert found.returncode == 0, found.stderr
        assert final_bytes(output) == unbroken
        assert not [path for path in output.rglob("*") if path.name.endswith((".partial", ".lease"))]
    assert killed >= kills // 3


@pytest.mark.slow
def test_a_full_disk_changes_no_byte(source: Path, unbroken: dict[str, str], tmp_path: Path) -> None:
    output = tmp_path / "out"
    failed = 0
    rooms = [room for room, _ in zip(itertools.cycle(ROOM), range(FULL_DISKS), strict=False)]
    for room in rooms:
        child = subprocess.run(
            [sys.executable, "-P", "-c", _FULL, str(room), *command([source], output, *OPTIONS)[4:]],
            capture_output=True, text=True, timeout=_PATIENCE,
        )  # fmt: skip
        failed += child.returncode == 1
        assert "Traceback" not in child.stderr
        if child.returncode == 1:
            assert "make room on the disk" in child.stderr
    assert failed >= len(rooms) * 2 // 3
    assert call([source], output, *OPTIONS).returncode == 0
    assert final_bytes(output) == unbroken


def test_two_processes_share_a_run_and_do_each_step_once(
    source: Path, unbroken: dict[str, str], tmp_path: Path
) -> None:
    output = tmp_path / "out"
    children = [
        subprocess.Popen(
            command([source], output, *OPTIONS, "--events"),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        for _ in range(2)
    ]
    said = [child.communicate(timeout=_PATIENCE)[0] for child in children]
    assert [child.returncode for child in children] == [0, 0]
    steps = [(event["step"], event["fragment"]) for lines in said for event in map(json.loads, lines.splitlines())]
    assert sorted(steps) == sorted(set(steps))
    assert len(steps) == 2 * ROWS // 40
    assert final_bytes(output) == unbroken


def test_a_process_stopped_for_ever_is_taken_over_and_spoils_nothing(
    source: Path, unbroken: dict[str, str], tmp_path: Path
) -> None:
    output = tmp_path / "out"
    stopped = start(source, output, "--takeover", "1")
    try:
        _await_lease(output, stopped)
        stopped.send_signal(signal.SIGSTOP)
        found = call([source], output, *OPTIONS, "--takeover", "1")
        assert found.returncode == 0, found.stderr
        assert final_bytes(output) == unbroken
        stopped.send_signal(signal.SIGCONT)
        assert stopped.wait(_PATIENCE) == 0
        assert final_bytes(output) == unbroken
    finally:
        stopped.kill()
        stopped.wait()


def _await_lease(output: Path, child: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + _PATIENCE
    while time.monotonic() < end and child.poll() is None:
        if list((output / ".bulk" / "leases").glob("link-*.lease")):
            return
        time.sleep(0.005)
    pytest.fail("no lease was seen")


def test_a_signal_says_that_what_is_done_stays(source: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    child = subprocess.Popen(command([source], output, *OPTIONS), stderr=subprocess.PIPE, text=True)
    _await_lease(output, child)  # type: ignore[arg-type]
    child.send_signal(signal.SIGTERM)
    _, told = child.communicate(timeout=_PATIENCE)
    assert child.returncode == 143
    assert "what is done stays" in told
    assert not list((output / ".bulk" / "leases").glob("*.lease"))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_directory_that_is_not_writable_is_refused_in_one_line(source: Path, tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    found = call([source], tmp_path / "out")
    assert found.returncode == 1
    assert "name a directory that can be written to" in found.stderr


def test_an_output_below_a_file_is_refused_in_one_line(source: Path) -> None:
    found = call([source], source / "out")
    assert found.returncode == 1
    assert found.stderr.count("\n") == 1 and "cannot be written" in found.stderr


def test_other_options_on_one_output_are_refused_and_named(source: Path, tmp_path: Path) -> None:
    assert call([source], tmp_path / "out", "--limit", "20").returncode == 0
    found = call([source], tmp_path / "out", "--limit", "21", "--top-k", "2")
    assert found.returncode == 1
    assert "option limit: 20, now 21" in found.stderr and "option top_k: 5, now 2" in found.stderr
    assert "Traceback" not in found.stderr


def _interrupt(*_: object, **__: object) -> NoReturn:
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("where", "told", "is_there"),
    [
        ("cielo.cli.bulk.open_linker", "nothing was written", False),
        ("cielo.bulk.running.make_plan", "no row was linked; {output} holds the input as far as it was read", True),
        ("cielo.bulk.working.Worker.run", "what is done stays; the same command goes on in {output}", True),
        ("cielo.bulk.running.Run._clean", "the run is whole; the same command goes on in {output}", True),
    ],
)
def test_an_interrupt_says_what_is_there(
    source: Path, unbroken: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    where: str, told: str, is_there: bool,
) -> None:  # fmt: skip
    monkeypatch.setenv("CIELO_STATE", str(tmp_path / "state"))
    output = tmp_path / "out"
    arguments = ["bulk", str(source), "--output", str(output), *OPTIONS]
    with monkeypatch.context() as patch:
        patch.setattr(where, _interrupt)
        found = CliRunner().invoke(main, arguments)
    assert found.exit_code == 130
    assert found.stderr.splitlines()[-1].startswith(f"cielo: interrupted; {told.format(output=output)}")
    assert output.exists() == is_there
    if is_there:
        assert list((output / ".bulk").iterdir())
    with monkeypatch.context() as patch:  # what a run before it left is not denied
        patch.setattr("cielo.cli.bulk.open_linker", _interrupt)
        again = CliRunner().invoke(main, arguments)
    assert again.stderr.splitlines()[-1].startswith(f"cielo: interrupted; {told.format(output=output)}")
    assert CliRunner().invoke(main, arguments).exit_code == 0
    assert final_bytes(output) == unbroken
