"""ONNX Runtime is loaded without its telemetry, and nothing is left behind."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest
from cielo.onnx_runtime import load_onnxruntime

ROOT = Path(__file__).parents[3]
LINK = """
import os, sys, tempfile
from cielo import Linker, Mention
with Linker.open(device="cpu") as linker:
    print(linker.link([Mention("TC abdominal")])[0].code)
print(os.environ["ORT_DISABLE_TELEMETRY"])
"""


@pytest.mark.parametrize("given", [None, "0", "1"])
def test_linking_leaves_no_file_but_those_of_the_state_directory(tmp_path: Path, given: str | None) -> None:
    home, temporary, state = (tmp_path / name for name in ("home", "tmp", "state"))
    for folder in (home, temporary, state):
        folder.mkdir()
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("XDG_", "ORT_"))}
    environment = {**kept, "HOME": str(home), "TMPDIR": str(temporary), "CIELO_STATE": str(state)}
    if given is not None:
        environment["ORT_DISABLE_TELEMETRY"] = given
    done = subprocess.run(
        [sys.executable, "-c", LINK], capture_output=True, text=True, check=True, env=environment, cwd=tmp_path
    )
    assert done.stdout == "BW20\n1\n"
    assert [str(file) for folder in (home, temporary) for file in folder.rglob("*")] == []
    assert {path.name for path in tmp_path.iterdir()} == {"home", "tmp", "state"}
    assert {path.name for path in state.iterdir()} <= {"cache", "files", "plans", "parity"}


def test_modules_are_loaded_by_name() -> None:
    assert load_onnxruntime("onnxruntime.quantization").QuantType
    assert load_onnxruntime().__version__


def test_nothing_else_imports_it() -> None:
    files = [file for folder in ("engine", "convert") for file in (ROOT / folder).rglob("*.py")]
    assert len(files) > 50
    for file in files:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not any(name.partition(".")[0] == "onnxruntime" for name in names), file
