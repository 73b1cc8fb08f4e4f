"""Archives linked part by part: the same bytes, whatever happened on the way."""

from __future__ import annotations

import csv
import json
import os
import random
import resource
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pyarrow.parquet
import pytest
from archives import bytes_of, command, run, write_archive
from cielo import Linker, LinkOptions, Mention


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return write_archive(tmp_path_factory.mktemp("archive"))


@pytest.fixture(scope="module")
def unbroken(archive: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The output of a run that nothing happened to."""
    output = tmp_path_factory.mktemp("unbroken") / "out"
    done = run(archive, output)
    assert done.returncode == 3, done.stderr
    return output


def rows_of(output: Path) -> list[dict[str, str]]:
    rows = []
    for path in sorted(output.glob("part-*.csv")):
        with path.open(encoding="utf-8", newline="") as stream:
            rows += list(csv.DictReader(stream))
    return rows


def summary(output: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((output / "summary.json").read_bytes())
    return found


def test_every_row_is_there_in_its_order_with_its_link(archive: list[Path], unbroken: Path) -> None:
    rows = rows_of(unbroken)
    assert [row["Nº historia"] for row in rows] == [f"{number:05}" for number in range(180)]
    wrong = [row for row in rows if row["error"]]
    assert [int(row["Nº historia"]) % 23 for row in wrong] == [5] * len(wrong)
    told = [json.loads(line) for line in (unbroken / "errors.jsonl").read_text().splitlines()]
    assert [line["line"] for line in told] == [int(row["Nº historia"]) % 60 + 2 for row in wrong]
    assert all("empty" in line["error"] for line in told)
    good = [row for row in rows if not row["error"]]
    with Linker.open(cache=False) as linker:
        alone = linker.link([Mention(row["texto"], row["frase"]) for row in good[:20]], LinkOptions())
    assert [row["code"] for row in good[:20]] == [link.code for link in alone]
    found = summary(unbroken)
    assert (found["rows"], found["errors"], found["parts"]) == (180, len(wrong), 6)
    assert found["mentions"] == len({(row["texto"], row["frase"]) for row in good})
    assert sum(found["methods"].values()) == sum(found["confidences"]) == len(good)
    assert found["request"]["provenance"]["bundle"]["name"] == "mini"
    assert not (unbroken / "state" / "mentions.sqlite").exists()


def test_it_is_the_same_run_after_run_and_done_is_done(archive: list[Path], unbroken: Path, tmp_path: Path) -> None:
    assert run(archive, tmp_path / "out").returncode == 3
    assert bytes_of(tmp_path / "out") == bytes_of(unbroken)
    before = (unbroken / "summary.json").stat()
    assert run(archive, unbroken).returncode == 3
    assert (unbroken / "summary.json").stat().st_mtime_ns == before.st_mtime_ns


@pytest.mark.parametrize("seed", range(3))
def test_kills_leave_no_trace(archive: list[Path], unbroken: Path, tmp_path: Path, seed: int) -> None:
    draw, output, killed = random.Random(seed), tmp_path / "out", 0
    while True:
        process = subprocess.Popen(command(archive, output, "--take-over-after", "1"), stderr=subprocess.DEVNULL)
        try:
            process.wait(0.5 + draw.random() * 1.5 if killed < 6 else 300)
        except subprocess.TimeoutExpired:
            process.send_signal(draw.choice([signal.SIGKILL, signal.SIGTERM, signal.SIGINT]))
            process.wait(60)
        if process.returncode == 3:
            break
        assert process.returncode in (-signal.SIGKILL, 128 + signal.SIGTERM, 130)
        killed += 1
    assert bytes_of(output) == bytes_of(unbroken)


def test_a_full_disk_is_said_and_gone_on_from(archive: list[Path], unbroken: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    for most in (0, 3_000, 20_000, 60_000):  # bytes that a file may have

        def limit(most: int = most) -> None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (most, resource.RLIM_INFINITY))

        done = run(archive, output, "--take-over-after", "1", preexec_fn=limit)
        assert "Traceback" not in done.stderr
        if done.returncode == 1:
            assert "run the same command again" in done.stderr
    assert run(archive, output, "--take-over-after", "1").returncode == 3
    assert bytes_of(output) == bytes_of(unbroken)


def test_two_processes_share_the_work(archive: list[Path], unbroken: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    both = [
        subprocess.Popen(command(archive, output, "--events"), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        for _ in range(2)
    ]
    told = [process.communicate(timeout=300)[0].splitlines() for process in both]
    assert [process.returncode for process in both] == [3, 3]
    linked = [max((json.loads(line)["mentions"] for line in lines), default=0) for lines in told]
    assert sum(linked) == summary(output)["mentions"]  # each once
    assert bytes_of(output) == bytes_of(unbroken)


def test_what_a_stopped_process_holds_is_taken_over(archive: list[Path], unbroken: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    stopped = subprocess.Popen(command(archive, output, "--take-over-after", "2"), stderr=subprocess.DEVNULL)
    try:
        while not list((output / "state" / "leases").glob("unit-*")) if output.exists() else True:
            assert stopped.poll() is None
            time.sleep(0.01)
        os.kill(stopped.pid, signal.SIGSTOP)
        assert run(archive, output, "--take-over-after", "2").returncode == 3
        assert bytes_of(output) == bytes_of(unbroken)
        os.kill(stopped.pid, signal.SIGCONT)
        stopped.wait(60)
        assert bytes_of(output) == bytes_of(unbroken)
    finally:
        stopped.kill()
        stopped.wait()


def test_another_request_is_refused_and_says_what_differs(archive: list[Path], tmp_path: Path) -> None:
    own = write_archive(tmp_path / "own", files=2, rows=10)
    output = tmp_path / "out"
    assert run(own, output).returncode == 3
    before = bytes_of(output)
    for more, named in (
        (["--top-k", "1"], "options"),
        (["--limit", "3"], "limit"),
        (["--part-rows", "7"], "part_rows"),
        (["--kind", "diagnosis"], "kind"),
        (["--backend", "ctranslate2", "--decoding", "probable"], "provenance"),
    ):
        done = run(own, output, *more)
        assert (done.returncode, named in done.stderr) == (1, True)
    own[1].write_bytes(own[1].read_bytes().replace(b"Refiere", b"refiere"))
    done = run(own, output)
    assert (done.returncode, "1.csv" in done.stderr) == (1, True)
    assert run(own[:1], output).returncode == 1
    assert bytes_of(output) == before


def test_every_format_holds_the_same(archive: list[Path], unbroken: Path, tmp_path: Path) -> None:
    for form in ("parquet", "jsonl"):
        output = tmp_path / form
        assert run(archive, output, "--format", form).returncode == 3
        paths = sorted(output.glob(f"part-*.{form}"))
        if form == "jsonl":
            rows = [json.loads(line) for path in paths for line in path.read_text(encoding="utf-8").splitlines()]
        else:
            assert len({tuple(pyarrow.parquet.read_schema(path).names) for path in paths}) == 1
            rows = [row for path in paths for row in pyarrow.parquet.read_table(path).to_pylist()]
        assert [row.get("code") or "" for row in rows] == [row["code"] for row in rows_of(unbroken)]
        assert [row["Nº historia"] for row in rows] == [row["Nº historia"] for row in rows_of(unbroken)]


def test_odd_input(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    (folder / "deep").mkdir(parents=True)
    (folder / "a.csv").write_text("text;sentence\ntos;x\n", encoding="utf-8")
    (folder / "b.csv").write_bytes("texto\nvómitos\n".encode("utf-16"))
    (folder / "deep" / "c.jsonl").write_text('{"text": "fiebre"}\n{"text": 3}\n{\n{"texto": "tos", "kind": "drug"}\n')
    (folder / "empty.csv").write_bytes(b"")
    (folder / "notes.md").write_text("no table")
    done = run([folder], tmp_path / "out")
    assert done.returncode == 3, done.stderr
    rows = rows_of(tmp_path / "out")
    assert [bool(row["error"]) for row in rows] == [False, False, False, True, True, True]
    assert summary(tmp_path / "out")["errors"] == 3
    listed = run([folder], tmp_path / "none", "--only-errors")
    assert (listed.returncode, len(listed.stdout.splitlines()), (tmp_path / "none").exists()) == (3, 3, False)


@pytest.mark.parametrize(
    ("content", "named"), [("a;b\n1;2\n", "text"), ("text;text\na;b\n", "more than once")], ids=["missing", "doubled"]
)
def test_a_table_without_its_column_is_refused_as_a_whole(tmp_path: Path, content: str, named: str) -> None:
    file = tmp_path / "x.csv"
    file.write_text(content)
    done = run([file], tmp_path / "out")
    assert (done.returncode, named in done.stderr, "x.csv" in done.stderr) == (1, True, True)


def test_what_cannot_be_begun_is_said(archive: list[Path], tmp_path: Path) -> None:
    for inputs in ([tmp_path / "nothing.csv"], [tmp_path / "*.csv"], [tmp_path]):
        done = run(inputs, tmp_path / "out")
        assert (done.returncode, "Traceback" in done.stderr) == (1, False)
    (tmp_path / "file").write_text("")
    done = run(archive, tmp_path / "file" / "out")
    assert (done.returncode, "Traceback" in done.stderr) == (1, False)


def test_a_dry_run_writes_nothing(archive: list[Path], tmp_path: Path) -> None:
    done = run(archive, tmp_path / "out", "--dry-run", "--events")
    told = json.loads(done.stdout)
    assert (told["rows"], told["parts"], told["seconds"] > 0) == (180, 6, True)
    assert not (tmp_path / "out").exists()
    assert "distinct mentions" in run(archive, tmp_path / "out", "--dry-run", "--limit", "10").stdout
