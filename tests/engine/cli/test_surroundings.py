"""Broken surroundings: a full disk, a user without a home, low limits: one line says what is lacking."""

from __future__ import annotations

import errno
import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from cielo.cache.file import is_full
from cielo.cli import main
from cielo.errors import remedy_for
from click.testing import CliRunner

COMMAND = [sys.executable, "-P", "-c", "from cielo.cli import main; main(prog_name='cielo')"]
ROWS = "text,kind,code\nfiebre,diagnosis,R50.9\nHTA,diagnosis,I10\n"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make and enter a folder with rows and a state of its own."""
    monkeypatch.setenv("CIELO_STATE", str(tmp_path / "state"))
    monkeypatch.delenv("CIELO_BUNDLE", raising=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rows.csv").write_text(ROWS, encoding="utf-8")
    return tmp_path


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no /dev/full")
@pytest.mark.parametrize(
    "command",
    [
        "link fiebre", "link fiebre --json", "link --input rows.csv", "info", "info --json", "kb search fiebre",
        "kb show I10", "kb info", "verify", "evaluate rows.csv --resamples 100",
        "evaluate rows.csv --resamples 100 --json", "tune --prompts 2 --rounds 1", "bench --seconds 0.1",
        "kb build b.sqlite --table diagnosis=rows.csv --code-column code --description-column text",
        "lexicon build rows.csv --minimum-count 1 --output lexicon.tsv", "--help", "link --help", "--version",
    ],
)  # fmt: skip
def test_a_full_disk_under_standard_output_is_one_line(command: str) -> None:
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [*COMMAND, *command.split()],
            stdout=full,
            stderr=subprocess.PIPE,
            check=False,
            timeout=120,
            encoding="utf-8",
        )
    assert done.returncode == 1
    *before, last = done.stderr.splitlines()
    assert last.startswith("cielo: ") and "cannot be written (No space left on device)" in last
    assert not any("Traceback" in line or "Exception ignored" in line for line in before)


def test_a_full_disk_under_standard_error_too_leaves_the_exit_code() -> None:
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run([*COMMAND, "info"], stdout=full, stderr=full, check=False, timeout=60)
    assert done.returncode == 1


def test_a_reader_of_standard_output_that_has_gone_is_no_error() -> None:
    done = subprocess.run(
        ["bash", "-c", '"$@" kb search e --limit 1000 --json | true; exit ${PIPESTATUS[0]}', "-", *COMMAND],
        capture_output=True, check=False, timeout=60,
    )  # fmt: skip
    assert (done.returncode in (0, 1), done.stderr) == (True, b"")


def test_a_user_without_a_home_is_told_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(number: int) -> None:
        raise KeyError(number)

    for name in ("CIELO_STATE", "XDG_STATE_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("pwd.getpwuid", unknown)
    for command in (["link", "fiebre"], ["info"], ["tune"]):
        result = CliRunner().invoke(main, command)
        assert result.exit_code == 1, result.output
        assert isinstance(result.exception, SystemExit)
        assert result.stderr.endswith("set CIELO_STATE or HOME\n")


@pytest.mark.parametrize("command", [["tune"], ["verify", "--parity"]])
def test_a_state_that_cannot_be_kept_is_found_before_the_work(
    monkeypatch: pytest.MonkeyPatch, command: list[str]
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("work was begun")

    monkeypatch.setattr("cielo.workbench.tuning.tune", refuse)
    monkeypatch.setattr("cielo.parity.checks.run_checks", refuse)
    monkeypatch.setenv("CIELO_STATE", "/dev/null/state")
    result = CliRunner().invoke(main, command)
    assert result.exit_code == 1, result.output
    assert "name another directory in CIELO_STATE" in result.stderr.splitlines()[-1]


@pytest.mark.parametrize("limit", ["-n 6", "-n 7", "-n 8", "-n 9", "-v 300000", "-v 500000"])
def test_a_low_limit_is_not_taken_for_a_damaged_bundle(limit: str) -> None:
    command = ["sh", "-c", f'ulimit {limit}; exec "$@"', "-", *COMMAND, "link", "fiebre"]
    done = subprocess.run(command, capture_output=True, check=False, timeout=120, encoding="utf-8")
    assert "again" not in done.stderr, done.stderr
    if done.returncode and done.stderr.rstrip().rpartition("\n")[2].startswith("cielo: "):
        assert "ulimit" in done.stderr  # else Python itself cannot start


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (MemoryError(), "ulimit -v"), (OSError(errno.EMFILE, "x"), "ulimit -n"), (OSError(errno.ENOSPC, "x"), "room"),
        (RuntimeError("mkl_malloc: failed to allocate memory"), "ulimit -v"), (RuntimeError("damaged"), "otherwise"),
        (sqlite3.OperationalError("unable to open database file"), "ulimit -n"),
        (OSError(errno.ENOENT, "x"), "otherwise"),
    ],
)  # fmt: skip
def test_the_remedy_fits_the_cause(error: BaseException, said: str) -> None:
    assert said in remedy_for(error, "otherwise")


def test_a_full_disk_under_the_cache_is_said_to_be_that(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("cielo.cache.disk.open_file", refuse)
    monkeypatch.setattr("cielo.cache.disk.make_file", refuse)
    with pytest.warns(RuntimeWarning, match="cannot be written .* found without it; make room on its disk"):
        result = CliRunner().invoke(main, ["link", "fiebre", "--cache", str(folder / "cache.sqlite"), "--json"])
    assert result.exit_code == 0, result.output


@pytest.mark.parametrize(("code", "full"), [(sqlite3.SQLITE_FULL, True), (sqlite3.SQLITE_CORRUPT, False)])
def test_what_sqlite_says_of_a_full_disk(folder: Path, code: int, full: bool) -> None:
    error = sqlite3.OperationalError("x")
    error.sqlite_errorcode = code
    assert is_full(folder / "cache.sqlite", error) == full
