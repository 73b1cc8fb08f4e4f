"""Every fault of the table is seen as it must be, by every command that meets it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from cielo.bundle.layout import default_bundle

from tests.faults.table import Fault, planted, rows

SECONDS = 30
START = "from cielo.cli import main; main()"


ROWS = [
    pytest.param(fault, command, id=f"{fault}-{command[0]}", marks=() if fast else pytest.mark.slow)
    for fault, command, fast in rows()
]


@pytest.mark.parametrize(("fault", "command"), ROWS)
def test_a_fault_is_seen_as_it_must_be(
    tmp_path: Path, one_backend: Path, fault: Fault, command: tuple[str, ...]
) -> None:
    # A fault of the generator for CTranslate2 is met where that is the one that answers.
    sound = one_backend if "generator/ctranslate2/" in str(fault) else default_bundle()
    bundle = planted(fault, sound, tmp_path)
    (tmp_path / "rows.tsv").write_text("text\tkind\tcode\nasma\tdiagnosis\tJ45\n", encoding="utf-8")
    places = {name: tmp_path / name for name in ("CIELO_STATE", "TMPDIR", "HOME")}
    for folder in places.values():
        folder.mkdir()
    meant = {"BUNDLE": bundle, "ROWS": tmp_path / "rows.tsv", "OUT": tmp_path / "out"}
    before = set(tmp_path.rglob("*"))
    done = subprocess.run(
        [sys.executable, "-c", START, *(str(meant.get(word, word)) for word in command)],
        capture_output=True, text=True, timeout=SECONDS, check=False,
        env={**os.environ, **{name: str(folder) for name, folder in places.items()}},
    )  # fmt: skip
    assert done.returncode == fault.code, done.stderr
    assert "Traceback" not in done.stderr
    if fault.code:
        assert done.stdout == ""
        assert "cielo: " in done.stderr
        assert fault.message in done.stderr
    left = {path for path in set(tmp_path.rglob("*")) - before if not path.is_relative_to(places["CIELO_STATE"])}
    assert left == set()
