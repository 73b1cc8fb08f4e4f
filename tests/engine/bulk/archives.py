"""Archives to be linked, and runs of `cielo bulk` in processes of their own."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

COMMAND = [sys.executable, "-c", "from cielo.cli import main; main()", "bulk"]
SMALL = ["--unit-mentions", "16", "--part-rows", "40"]
TEXTS = ("tos", "fiebre", "TC abdominal", "dolor abdominal", "HTA", "asma", "disnea", "cefalea", "anemia", "vómitos")


def write_archive(folder: Path, files: int = 3, rows: int = 60, distinct: int = 80) -> list[Path]:
    """Write tables of rows with notes of their own; every tenth row or so holds no mention."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    number = 0
    for file in range(files):
        path = folder / f"{file}.csv"
        lines = ["texto;frase;Nº historia"]
        for _ in range(rows):
            which = number * 7 % distinct
            text = "" if number % 23 == 5 else TEXTS[which % len(TEXTS)]
            lines.append(f"{text};Refiere {text} desde hace {which} días.;{number:05}")
            number += 1
        path.write_bytes(("\r\n".join(lines) + "\r\n").encode("cp1252"))
        paths.append(path)
    return paths


def command(inputs: Sequence[Path], output: Path, *more: str) -> list[str]:
    return [*COMMAND, *map(str, inputs), "--output", str(output), "--format", "csv", *SMALL, *more]


def run(inputs: Sequence[Path], output: Path, *more: str, **settings: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(inputs, output, *more), capture_output=True, text=True, timeout=300, check=False, **settings
    )


def bytes_of(output: Path) -> dict[str, str]:
    """Return the hashes of all that a run leaves, but for what tells how long it took."""
    return {
        str(path.relative_to(output)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(output.rglob("*"))
        if path.is_file() and path.name not in ("summary.json", "plan.json")
    }
