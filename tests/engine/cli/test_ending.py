"""A command that is ended from outside: its exit code, and that nothing is left of it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

COMMAND = [sys.executable, "-P", "-c", "from cielo.cli import main; main(prog_name='cielo')"]
CODES = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGHUP: 129}
ROWS = "text,sentence\ntos,Paciente con tos\n"


def start(folder: Path, *arguments: str, before: list[str] | None = None) -> subprocess.Popen[str]:
    (folder / "temporary").mkdir(exist_ok=True)
    environment = {**os.environ, "CIELO_STATE": str(folder / "state"), "TMPDIR": str(folder / "temporary")}
    process = subprocess.Popen(
        [*(before or []), *COMMAND, *arguments], cwd=folder, env=environment, stdin=subprocess.PIPE,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8",
    )  # fmt: skip
    return process


def wait_for(condition: Callable[[], object]) -> None:
    for _ in range(1200):
        if condition():
            return
        time.sleep(0.05)
    pytest.fail("it did not come to that")


def partials(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if "partial" in path.name or "cielo" in path.name]


def linking(folder: Path) -> subprocess.Popen[str]:
    """Start linking rows, of which there are so many that the output is half-written for a while."""
    rows = "".join(f"tos {number},Paciente con tos\n" for number in range(100_000))
    (folder / "rows.csv").write_text(f"text,sentence\n{rows}", encoding="utf-8")
    process = start(folder, "link", "--input", "rows.csv", "--output", "out.csv", "--overwrite")
    wait_for(lambda: partials(folder))
    return process


@pytest.mark.parametrize("number", CODES)
def test_it_says_so_and_leaves_what_was_there(tmp_path: Path, number: signal.Signals) -> None:
    (tmp_path / "out.csv").write_text("old", encoding="utf-8")
    process = linking(tmp_path)
    assert all(path.stat().st_mode & 0o077 == 0 for path in partials(tmp_path))
    process.send_signal(number)
    _, complaint = process.communicate(timeout=60)
    assert process.returncode == CODES[number], complaint
    assert complaint.startswith("cielo: ")
    assert complaint.rstrip().endswith("; nothing was written")
    assert "Paciente" not in complaint
    assert partials(tmp_path) == []
    assert (tmp_path / "out.csv").read_text(encoding="utf-8") == "old"


def test_what_a_killed_command_left_is_removed_by_the_next(tmp_path: Path) -> None:
    for _ in range(2):
        process = linking(tmp_path)
        process.kill()
        process.communicate(timeout=60)
    assert len(partials(tmp_path)) == 1
    process = start(tmp_path, "link", "--input", "-", "--input-format", "csv", "--output", "out.csv")
    process.communicate(ROWS, timeout=60)
    assert process.returncode == 0
    assert partials(tmp_path) == []
    assert (tmp_path / "out.csv").is_file()


def test_a_hangup_that_the_caller_ignores_stays_ignored(tmp_path: Path) -> None:
    ignoring = [sys.executable, "-c", "import os, signal, sys; signal.signal(signal.SIGHUP, signal.SIG_IGN); "
                                      "os.execv(sys.argv[1], sys.argv[1:])"]  # fmt: skip
    rows = "".join(f"tos {number},Paciente con tos\n" for number in range(3_000))
    (tmp_path / "rows.csv").write_text(f"text,sentence\n{rows}", encoding="utf-8")
    process = start(tmp_path, "link", "--input", "rows.csv", "--output", "out.csv", before=ignoring)
    wait_for(lambda: partials(tmp_path))
    process.send_signal(signal.SIGHUP)
    process.communicate(timeout=120)
    assert process.returncode == 0


def children_of(process: subprocess.Popen[str]) -> list[int]:
    try:
        words = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text(encoding="ascii").split()
    except OSError:
        return []
    return [int(word) for word in words]


def runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("number", [*CODES, signal.SIGKILL])
def test_the_children_of_tune_end_with_it(tmp_path: Path, number: signal.Signals) -> None:
    process = start(tmp_path, "tune", "--prompts", "32", "--rounds", "50")
    wait_for(lambda: children_of(process))
    children = children_of(process)
    process.send_signal(number)
    process.communicate(timeout=60)
    assert process.returncode == CODES.get(number, -signal.SIGKILL)
    wait_for(lambda: not any(runs(child) for child in children))
    assert partials(tmp_path) == []
