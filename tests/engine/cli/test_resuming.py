"""``cielo link --resume``: a run that was stopped goes on, and gives what one that was not stopped gives."""

from __future__ import annotations

import csv
import json
import os
import random
import stat
from pathlib import Path
from typing import Any

import pytest
from cielo.cli import main, resuming, rows
from click.testing import CliRunner, Result

ROWS = 22
MINI = Path(__file__).parents[3] / "models" / "mini"


@pytest.fixture(autouse=True)
def _small_chunks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CIELO_STATE", str(tmp_path / "state"))
    monkeypatch.delenv("CIELO_BUNDLE", raising=False)
    for module in (resuming, rows):
        monkeypatch.setattr(module, "ROWS", 4)


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
    assert run(source, whole, "--resume").exit_code == 3  # one row has no text
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


@pytest.mark.parametrize("decoding", ["probable", "constrained"])
def test_rows_that_repeat_others_give_the_same_bytes_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, decoding: str
) -> None:
    """What is linked together changes the last digits, and what came before changes what is linked together."""
    monkeypatch.setattr(resuming, "_REPEATED", 12)
    with (MINI / "dev.tsv").open(encoding="utf-8", newline="") as stream:
        texts = [row["text"] for row, _ in zip(csv.DictReader(stream, delimiter="\t"), range(16), strict=False)]
    source, whole, stopped = (tmp_path / name for name in ("in.csv", "whole.jsonl", "stopped.jsonl"))
    drawn = random.Random(7)
    source.write_text("text\n" + "".join(f'"{drawn.choice(texts)}"\n' for _ in range(60)), encoding="utf-8")
    options = ("--resume", "--decoding", decoding)
    told = run(source, whole, *options)
    assert told.exit_code == 0, told.output
    for count in (10, 21):
        with monkeypatch.context() as patched:
            stop_after(count, patched)
            assert run(source, stopped, *options).exit_code == 130
    assert run(source, stopped, *options).exit_code == 0
    assert stopped.read_bytes() == whole.read_bytes()
    assert run(source, tmp_path / "free.jsonl", "--decoding", decoding).exit_code == 0
    codes = [[json.loads(line)["code"] for line in (tmp_path / name).open()] for name in ("free.jsonl", "whole.jsonl")]
    assert codes[0] == codes[1]


def test_a_cache_is_refused_beside_it(source: Path, tmp_path: Path) -> None:
    result = run(source, tmp_path / "out.csv", "--resume", "--cache", str(tmp_path / "cache"))
    assert result.exit_code == 2 and "--cache is of runs without --resume" in result.stderr
    assert not (tmp_path / "cache").exists()


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
    run(source, tmp_path / "whole.csv", "--resume")
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
