"""Inputs of runs, runs in this process and by the command, and what they leave."""

from __future__ import annotations

import csv
import hashlib
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from cielo import Linker, LinkOptions
from cielo.bulk.records import BulkOptions, Summary
from cielo.bulk.running import Run

ROOT = Path(__file__).parents[3]
COMMAND = [sys.executable, "-P", "-m", "cielo.cli", "bulk"]


def texts(count: int) -> list[str]:
    with (ROOT / "models" / "mini" / "dev.tsv").open(encoding="utf-8", newline="") as file:
        return [row["text"] for _, row in zip(range(count), csv.DictReader(file, delimiter="\t"), strict=False)]


def write_csv(path: Path, rows: Iterable[Sequence[str]], header: Sequence[str] = ("id", "text")) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    return path


def table(path: Path, rows: int, distinct: int) -> Path:
    """Write rows in which each of some mentions comes again and again."""
    known = texts(distinct)
    return write_csv(path, ([str(number), known[number * 7 % distinct]] for number in range(rows)))


def run(linker: Linker, inputs: Sequence[Path | str], output: Path, **options: object) -> Summary:
    made = Run([str(name) for name in inputs], output, linker, LinkOptions(), BulkOptions(**options))  # type: ignore[arg-type]
    return made.work(made.prepare())


def command(inputs: Sequence[Path], output: Path, *options: str) -> list[str]:
    return [*COMMAND, *map(str, inputs), "--output", str(output), *options]


def call(inputs: Sequence[Path], output: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(inputs, output, *options), capture_output=True, text=True, timeout=120)


def final_bytes(output: Path) -> dict[str, str]:
    """Return the hash of every file of the finished output; the summary holds times and is none of them."""
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(output.iterdir())
        if path.is_file() and path.name != "summary.json"
    }
