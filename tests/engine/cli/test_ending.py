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


def half_written(folder: Path) -> list[Path]:
    """Return the outputs at work; the state directory has files of its own for a moment."""
    return [path for path in partials(folder) if path.parent == folder]


def linking(folder: Path) -> subprocess.Popen[str]:
    """Start linking rows, of which there are so many that the output is half-written for a while."""
    rows = "".join(f"tos {number},Paciente con tos\n" for number in range(100_000))
    (folder / "rows.csv").write_text(f"text,sentence\n{rows}", encoding="utf-8")
    process = start(folder, "link", "--input", "rows.csv", "--output", "out.csv", "--overwrite")
    wait_for(lambda: half_written(folder))
    return process


@pytest.mark.parametrize("number", CODES)
def test_it_says_so_and_leaves_what_was_there(tmp_path: Path, number: signal.Signals) -> None:
    (tmp_path / "out.csv").write_text("old", encoding="utf-8")
    process = linking(tmp_path)
    assert all(path.stat().st_mode & 0o077 == 0 for path in half_written(tmp_path))
    process.send_signal(number)
    _, complaint = process.communicate(timeout=60)
    assert process.returncode == CODES[number], complaint
    assert complaint.startswith("cielo: ")
    assert complaint.rstrip().endswith("; nothing was written")
    assert "Paciente" not in complaint
    assert partials(tmp_path) == []
    assert (tmp_path / "out.csv").read_text(encoding="utf-8") == "old"


# The interpreter drops what is raised in the callback of a weak reference; each import has such a callback.
DROPPING = """
import os, sys, time, weakref
from cielo.cli import link, main
class Thing: pass
def at_work(**opening):
    thing = Thing()
    reference = weakref.ref(thing, lambda gone: [os.kill(os.getpid(), int(sys.argv.pop())), len("now it is handled")])
    del thing
    time.sleep(60)
link.open_linker = at_work
main(["link", "tos"], prog_name="cielo")
"""


@pytest.mark.parametrize("number", CODES)
def test_a_signal_that_comes_where_nothing_can_be_raised_is_not_lost(number: signal.Signals) -> None:
    done = subprocess.run(
        [sys.executable, "-P", "-c", DROPPING, str(int(number))],
        capture_output=True, text=True, check=False, timeout=30,
    )  # fmt: skip
    assert done.returncode == CODES[number], done.stderr
    assert done.stderr.startswith("cielo: ") and len(done.stderr.splitlines()) == 1


def test_what_a_killed_command_left_is_removed_by_the_next(tmp_path: Path) -> None:
    for _ in range(2):
        process = linking(tmp_path)
        process.kill()
        process.communicate(timeout=60)
    assert len(half_written(tmp_path)) == 1
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
    wait_for(lambda: half_written(tmp_path))
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


# Waits where something has just been made of which nothing may be left; the state directory counts where it is named.
WAITING = """
import contextlib, os, sys, time
from cielo import files
whole = files._partial
@contextlib.contextmanager
def waiting(folder, make):
    with whole(folder, make) as made:
        if os.environ["WAIT_IN"] in str(folder):
            print("made", file=sys.stderr, flush=True)
            time.sleep(60)
        yield made
files._partial = waiting
from cielo.cli import main
main(prog_name="cielo")
"""
MINI = Path(__file__).parents[3] / "models" / "mini"
TABLE = ["--table", "diagnosis=table.tsv"]
WRITING = {
    "link": ["link", "--input", "some.csv", "--output", "out/old", "--overwrite"],
    "link, new": ["link", "--input", "some.csv", "--output", "out/new.xlsx"],
    "evaluate, tsv": ["evaluate", "some.csv", "--resamples", "100", "--tsv", "out/old", "--overwrite"],
    "evaluate, html": ["evaluate", "some.csv", "--resamples", "100", "--html", "out/new.html"],
    "bench": ["bench", "--seconds", "0.1", "--scenario", "offline", "--json", "out/old", "--overwrite"],
    "kb build": ["kb", "build", "out/old", *TABLE, "--overwrite"],
    "kb replace": ["kb", "replace", str(MINI / "bundle"), *TABLE, "--output", "out/new"],
    "rejected": ["kb", "build", "base", *TABLE, "--rejected", "out/new.tsv"],
    "lexicon build": ["lexicon", "build", "some.csv", "--minimum-count", "1", "--output", "out/old", "--overwrite"],
    "calibrate": ["calibrate", str(MINI / "bundle"), str(MINI / "dev.tsv"), "--output", "out/new"],
    "tune": ["tune", "--prompts", "2", "--rounds", "1"],
    "verify": ["verify", "--parity"],
}


# All of them handle signals in one place: the first gets each of them, the others one by turns.
ENDINGS = [("link", number) for number in CODES]
ENDINGS += [(name, [*CODES][place % len(CODES)]) for place, name in enumerate(WRITING) if name != "link"]


@pytest.mark.parametrize(("name", "number"), ENDINGS)
def test_every_command_that_writes_leaves_nothing(tmp_path: Path, name: str, number: signal.Signals) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "temporary").mkdir()
    (tmp_path / "out" / "old").write_text("old", encoding="utf-8")
    (tmp_path / "some.csv").write_text("text,kind,code\nfiebre,diagnosis,R50.9\n", encoding="utf-8")
    (tmp_path / "table.tsv").write_text("codigo\tdescripcion\nT68\tHipotermia\n?\tx\n", encoding="utf-8")
    where = "state" if name in ("tune", "verify") else "out"
    environment = {
        **os.environ, "CIELO_STATE": str(tmp_path / "state"), "TMPDIR": str(tmp_path / "temporary"),
        "WAIT_IN": str(tmp_path / where),
    }  # fmt: skip
    with subprocess.Popen(
        [sys.executable, "-P", "-c", WAITING, *WRITING[name]], cwd=tmp_path, env=environment,
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, encoding="utf-8",
    ) as process:  # fmt: skip
        assert process.stderr is not None
        assert any(line == "made\n" for line in process.stderr)
        process.send_signal(number)
        complaint = process.stderr.read()
    assert process.returncode == CODES[number], complaint
    assert "Traceback" not in complaint
    assert complaint.rstrip().endswith("; nothing was written")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["old"]
    assert (tmp_path / "out" / "old").read_text(encoding="utf-8") == "old"
    assert [*(tmp_path / "temporary").iterdir(), *partials(tmp_path / "state")] == []
