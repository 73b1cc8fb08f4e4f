"""What the commands of `commands` need."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from commands import BUNDLE, COMMANDS, DEV, PROCEDURES
from graph import ROOT


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("given")
    rows, annotated = folder / "rows.csv", folder / "annotated.tsv"
    rows.write_text("text,code\ntos,R05\n", encoding="utf-8")
    annotated.write_text("\n".join(DEV.read_text(encoding="utf-8").splitlines()[:5]) + "\n", encoding="utf-8")
    documents = folder / "documents.jsonl"
    documents.write_text('{"text": "Refiere tos.", "spans": [[8, 11]]}\n', encoding="utf-8")
    return {
        "rows": rows, "annotated": annotated, "documents": documents, "dev": DEV, "procedures": PROCEDURES,
        "bundle": BUNDLE,
    }  # fmt: skip


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
