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
from graph import ROOT

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


COMMAND = [sys.executable, "-P", "-c", "from cielo.cli import main; main(prog_name='cielo')"]
DEV = ROOT / "models" / "mini" / "dev.tsv"
PROCEDURES = ROOT / "models" / "mini" / "terms" / "procedures.tsv"
BUNDLE = ROOT / "models" / "mini" / "bundle"
# Each command once, as short as it can be; {out} is a folder of its own.
COMMANDS = {
    "link": "link tos",
    "link rows": "link --input {rows} --output {out}/links.csv",
    "info": "info",
    "verify": "verify",
    "verify parity": "verify --parity",
    "kb build": "kb build {out}/kb.sqlite --table procedure={procedures}",
    "kb show": "kb show BW20",
    "kb search": "kb search tos",
    "kb info": "kb info",
    "lexicon build": "lexicon build {dev} --minimum-count 1 --output {out}/lexicon.tsv",
    "lexicon check": "lexicon check {rows}",
    "evaluate": "evaluate {annotated} --html {out}/report.html",
    "calibrate": "calibrate {bundle} {dev} --output {out}/calibrated",
    "bench": "bench --seconds 0.2 --workload {rows} --html {out}/bench.html",
    "tune": "tune --prompts 1 --rounds 1",
    "convert": "convert {recipe} --output {out}/converted",
}


def leaves(group: click.Group, prefix: str = "") -> Iterator[str]:
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from leaves(command, f"{prefix}{name} ")
        else:
            yield prefix + name


def test_every_command_is_tried() -> None:
    tried = {words for words in COMMANDS if not words.endswith((" rows", " parity"))}
    assert tried == set(leaves(main))


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("given")
    rows, annotated = folder / "rows.csv", folder / "annotated.tsv"
    rows.write_text("text,code\ntos,R05\n", encoding="utf-8")
    annotated.write_text("\n".join(DEV.read_text(encoding="utf-8").splitlines()[:5]) + "\n", encoding="utf-8")
    return {"rows": rows, "annotated": annotated, "dev": DEV, "procedures": PROCEDURES, "bundle": BUNDLE}


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    sys.path.insert(0, str(ROOT))
    from tests.checkpoints import make_encoder_checkpoint, make_generator_checkpoint, make_recipe

    folder = tmp_path_factory.mktemp("recipe")
    shape = {"seed": 1, "layers": 3, "decoder_layers": 1, "d_model": 32, "d_kv": 8, "heads": 4}
    generator = make_generator_checkpoint(folder / "generator", config_flag=True, **shape)
    encoder = make_encoder_checkpoint(folder / "encoder")
    return make_recipe(folder / "recipe", generator, encoder, changes={"prompts": "2"})


@pytest.fixture
def arguments(request: pytest.FixtureRequest, given: dict[str, Path], tmp_path: Path) -> list[str]:
    places = dict(given)
    if request.param == "convert":
        places["recipe"] = request.getfixturevalue("recipe")
    return COMMANDS[request.param].format(out=tmp_path, **places).split()


@pytest.mark.parametrize("arguments", COMMANDS, indirect=True)
def test_no_file_of_the_current_folder_is_run(hostile: Path, tmp_path: Path, arguments: list[str]) -> None:
    environment = {**os.environ, "CIELO_STATE": str(tmp_path / "state"), "OMP_NUM_THREADS": "1"}
    environment.pop("PYTHONPATH", None)
    done = subprocess.run(
        [*COMMAND, *arguments], cwd=hostile, env=environment, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert not (hostile / "executed").exists(), (hostile / "executed").read_text(encoding="utf-8")


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
