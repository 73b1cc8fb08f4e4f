"""A conversion that is ended from outside: its exit code, and that nothing is left of it, no child process either."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.faults.kills import CODES, COMMAND, descendants, outlive

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
_PATIENCE = 120  # seconds


def is_at(step: str, process: subprocess.Popen[str], folder: Path) -> bool:
    """Tell whether PyTorch makes the references in a process of its own, or whether it has made them."""
    partial = next((folder / "out").glob(".cielo-*.partial"), None)
    if partial is None:
        return False
    if step == "references":
        return bool(descendants(process.pid)) and any((folder / "temporary").iterdir())
    return (partial / "generator").is_dir()


# One place handles all signals: each step gets one of them, and the others where slow tests run.
@pytest.mark.parametrize(
    ("step", "number"),
    [
        ("references", signal.SIGHUP),
        ("generator", signal.SIGTERM),
        pytest.param("references", signal.SIGTERM, marks=pytest.mark.slow),
        pytest.param("generator", signal.SIGHUP, marks=pytest.mark.slow),
    ],
)
def test_nothing_is_left_of_a_conversion(tmp_path: Path, recipe: Path, step: str, number: signal.Signals) -> None:
    for name in ("out", "temporary"):
        (tmp_path / name).mkdir()
    environment = {**os.environ, "CIELO_STATE": str(tmp_path / "state"), "TMPDIR": str(tmp_path / "temporary")}
    with subprocess.Popen(
        [*COMMAND, "convert", str(recipe), "--output", "out/converted"], cwd=tmp_path, env=environment,
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, encoding="utf-8",
    ) as process:  # fmt: skip
        end = time.monotonic() + _PATIENCE
        while not is_at(step, process, tmp_path):
            assert process.poll() is None and time.monotonic() < end, "it did not come to that"
            time.sleep(0.02)
        children = descendants(process.pid)
        process.send_signal(number)
        _, complaint = process.communicate(timeout=_PATIENCE)
    assert process.returncode == CODES[number], complaint
    assert f"cielo: ended by {number.name}; nothing was written" in complaint
    assert "Traceback" not in complaint
    assert outlive(children) == []
    assert [*(tmp_path / "out").iterdir(), *(tmp_path / "temporary").iterdir()] == []
    assert list((tmp_path / "state").rglob("*.partial*")) == []
