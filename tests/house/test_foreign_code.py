"""In a folder full of files named like our modules, no command runs one of them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from cielo.cli import main
from click.testing import CliRunner
from commands import COMMAND, COMMANDS, EACH

NAMES = (
    "cielo", "cielo_convert", "engine", "convert", "tokenizers", "json", "numpy", "msgspec", "click", "rich", "re",
    "ctranslate2", "onnxruntime", "hnswlib", "sqlite3", "torch", "transformers", "benchmarks", "sitecustomize",
)  # fmt: skip
FOREIGN = """
import os
with open(os.path.join({folder!r}, "executed"), "a") as stream:
    stream.write(__name__ + "\\n")
"""


@pytest.fixture
def hostile(tmp_path: Path) -> Path:
    folder = tmp_path / "hostile"
    folder.mkdir()
    for name in NAMES:
        (folder / f"{name}.py").write_text(FOREIGN.format(folder=str(folder)), encoding="utf-8")
    return folder


def leaves(group: click.Group, prefix: str = "") -> Iterator[str]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            yield from leaves(command, f"{prefix}{name} ")
        else:
            yield prefix + name


def test_every_command_is_tried() -> None:
    tried = {words for words in COMMANDS if not words.endswith((" rows", " parity"))}
    assert tried == set(leaves(main))


@pytest.mark.parametrize("arguments", EACH, indirect=True)
def test_no_file_of_the_current_folder_is_run(hostile: Path, tmp_path: Path, arguments: list[str]) -> None:
    environment = {**os.environ, "CIELO_STATE": str(tmp_path / "state"), "OMP_NUM_THREADS": "1"}
    environment.pop("PYTHONPATH", None)
    done = subprocess.run(
        [*COMMAND, *arguments], cwd=hostile, env=environment, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert not (hostile / "executed").exists(), (hostile / "executed").read_text(encoding="utf-8")


@pytest.mark.slow
@pytest.mark.parametrize("arguments", ["tune", "convert"], indirect=True)
def test_no_file_of_pythonpath_is_run_by_a_child(
    hostile: Path, tmp_path: Path, arguments: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(hostile)
    monkeypatch.setenv("PYTHONPATH", str(hostile))
    monkeypatch.setenv("CIELO_STATE", str(tmp_path / "state"))
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 0, done.output
    assert not (hostile / "executed").exists(), (hostile / "executed").read_text(encoding="utf-8")


def test_what_is_planted_would_be_run_by_a_plain_child(hostile: Path) -> None:
    subprocess.run([sys.executable, "-m", "cielo"], cwd=hostile, check=False, capture_output=True)
    assert (hostile / "executed").exists()
