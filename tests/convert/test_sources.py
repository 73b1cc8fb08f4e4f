"""Where a recipe's checkpoints are, without a network."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from cielo.bundle.layout import Bundle
from cielo.cli import main
from cielo.errors import CheckpointError
from cielo_convert import weights
from cielo_convert.recipe import Recipe
from cielo_convert.sources import local_checkpoints
from click.testing import CliRunner

from tests.checkpoints import LAYOUTS, Layout, make_generator_checkpoint


def with_generator(recipe: Path, name: str) -> Recipe:
    loaded = Recipe.load(recipe)
    return replace(loaded, generator=replace(loaded.generator, checkpoint=name))


def test_a_directory_relative_to_the_recipe(recipe: Path) -> None:
    (recipe.parent / "a" / "b").mkdir(parents=True)
    assert local_checkpoints(with_generator(recipe, "a/b")).generator.directory == recipe.parent / "a" / "b"


@pytest.mark.parametrize("name", ["a/b/c", "/a/b", "../a", "nothing", "a b/c"])
def test_neither_a_directory_nor_a_hub_name(recipe: Path, name: str) -> None:
    with pytest.raises(CheckpointError, match="no directory"):
        local_checkpoints(with_generator(recipe, name))


def test_a_hub_name_that_was_not_downloaded(recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(CheckpointError, match="`cielo convert` fetches it"):
        local_checkpoints(with_generator(recipe, "nobody/nothing"))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_files_of_a_checkpoint(tmp_path: Path, layout: Layout) -> None:
    checkpoint = make_generator_checkpoint(tmp_path / "a", layout=layout)
    names = [file.name for file in checkpoint.iterdir()]
    assert sorted(weights.wanted([*names, "README.md", "onnx/model.safetensors", "tf_model.h5"])) == sorted(names)
    assert weights.is_whole(checkpoint)
    assert weights.size_of(checkpoint) > 10_000
    last = sorted(checkpoint.glob("*.safetensors") if "safe" in layout else checkpoint.glob("*.bin"))[-1]
    last.unlink()
    assert not weights.is_whole(checkpoint)
    assert not weights.is_whole(tmp_path)
    assert weights.wanted(["config.json"]) == []


def test_rows_that_were_not_taken_give_exit_code_3(recipe: Path, tmp_path: Path) -> None:
    table = Recipe.load(recipe).knowledge_base.tables[0].path
    with table.open("a", encoding="utf-8") as stream:
        stream.write("Cap.01\tun capítulo\n")
    done = CliRunner().invoke(main, ["convert", str(recipe), "--output", str(tmp_path / "out")])
    assert done.exit_code == 3, done.output
    assert f"rejected: {table.name}" in done.stderr
    assert Bundle.open(tmp_path / "out").path == tmp_path / "out"


def test_what_is_wrong_with_a_recipe_is_said_before_pytorch_is_loaded(recipe: Path, tmp_path: Path) -> None:
    import subprocess
    import sys

    text = recipe.read_text(encoding="utf-8")
    broken = tmp_path / "broken.toml"
    broken.write_text(text.replace('checkpoint = "', 'checkpoint = "/no/such', 1), encoding="utf-8")
    code = f"""
import sys
from cielo.cli import main
try:
    main(["convert", {str(broken)!r}, "--output", {str(tmp_path / "out")!r}])
except SystemExit as ended:
    print(ended.code, [name for name in ("torch", "transformers") if name in sys.modules])
"""
    for table in Recipe.load(recipe).knowledge_base.tables:
        (tmp_path / table.path.name).write_bytes(table.path.read_bytes())
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "1 []\n"
    assert "there is no directory" in done.stderr
