"""``cielo link --resume``: a run that was stopped goes on, and gives what one that was not stopped gives."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

import pytest
from cielo.cli import main, resuming, rows
from click.testing import CliRunner, Result

ROWS = 22


@pytest.fixture(autouse=True)
def _small_chunks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CIELO_STATE", str(tmp_path / "state"))
    monkeypatch.delenv("CIELO_BUNDLE", raising=False)
    monkeypatch.setattr(resuming, "CHUNK", 4)
    monkeypatch.setattr(rows, "CHUNK", 4)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    file = tmp_path / "in.csv"
    lines = [f"{number},{'' if number == 5 else 'tos'},Tiene tos desde hace {number} días." for number in range(ROWS)]
    file.write_text("id,text,sentence\n" + "\n".join(lines) + "\n", encoding="utf-8")
    return file


def run(source: Path, target: Path, *options: str) -> Result:
    return CliRunner().invoke(main, ["link", "--input", str(source), "--output", str(target), *options])


def stop_after(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the next run end by an interrupt once so many rows are kept."""
    append, seen = resuming.Partial.append, iter(range(1, 1000))

    def stopping(self: resuming.Partial, columns: Any) -> None:
        append(self, columns)
        if next(seen) == count:
            raise KeyboardInterrupt

    monkeypatch.setattr(resuming.Partial, "append", stopping)


@pytest.mark.parametrize("count", [1, 4, 11, ROWS])
@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_it_goes_on_and_gives_the_same_bytes(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int, form: str
) -> None:
    whole, stopped = tmp_path / f"whole.{form}", tmp_path / f"stopped.{form}"
    assert run(source, whole).exit_code == 3  # one row has no text
    with monkeypatch.context() as patched:
        stop_after(count, patched)
        result = run(source, stopped, "--resume")
    partial = tmp_path / f".stopped.{form}.partial"
    assert result.exit_code == 130
    assert f"stay in {partial}" in result.stderr
    assert not stopped.exists()
    assert stat.S_IMODE(partial.stat().st_mode) == 0o600
    again = run(source, stopped, "--resume")
    assert again.exit_code == 3
    done = count // 4 * 4
    assert (f"going on after {done} rows" in again.stderr) == (done > 0)
    assert stopped.read_bytes() == whole.read_bytes()
    assert not partial.exists()
    assert again.stderr.count(f"{ROWS} rows, {ROWS - 1} distinct mentions, 1 error") == 1


def test_without_it_nothing_is_kept(source: Path, tmp_path: Path) -> None:
    run(source, tmp_path / "out.csv")
    assert not list(tmp_path.glob(".out*"))


def kept(source: Path, target: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    with monkeypatch.context() as patched:
        stop_after(9, patched)
        run(source, target, "--resume")
    return target.with_name(f".{target.name}.partial")


def test_other_settings_are_refused_and_named(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "out.csv"
    partial = kept(source, target, monkeypatch)
    before = partial.read_bytes()
    result = run(source, target, "--resume", "--top-k", "3")
    assert result.exit_code == 1 and "option top_k: 5, now 3" in result.stderr
    source.write_text(source.read_text() + "99,fiebre,Tiene fiebre.\n")
    result = run(source, target, "--resume")
    assert result.exit_code == 1 and "input 1: in.csv" in result.stderr
    assert partial.read_bytes() == before and not target.exists()


@pytest.mark.parametrize("damage", [b"", b"{}\n", b"\xff\n", b'{"version": 1'])
def test_what_is_damaged_is_begun_anew_or_refused(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: bytes
) -> None:
    target = tmp_path / "out.csv"
    kept(source, target, monkeypatch).write_bytes(damage)
    result = run(source, target, "--resume")
    assert "Traceback" not in result.output
    assert result.exit_code == (1 if damage.endswith(b"\n") else 3)


def test_a_line_that_was_cut_is_linked_again(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "out.csv"
    partial = kept(source, target, monkeypatch)
    os.truncate(partial, partial.stat().st_size - 7)
    assert run(source, target, "--resume").exit_code == 3
    run(source, tmp_path / "whole.csv")
    assert target.read_bytes() == (tmp_path / "whole.csv").read_bytes()


def test_two_at_once_are_refused(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import fcntl

    target = tmp_path / "out.csv"
    with kept(source, target, monkeypatch).open("rb") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        result = run(source, target, "--resume")
    assert result.exit_code == 1 and "another process is at work" in result.stderr


def test_streams_cannot_be_gone_on_with(source: Path) -> None:
    result = CliRunner().invoke(main, ["link", "--input", str(source), "--resume"])
    assert result.exit_code == 2 and "--resume needs files" in result.stderr
