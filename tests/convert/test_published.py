"""A checkpoint with the published model's layout converts by the published recipe, its paths alone changed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from cielo import schema
from cielo.bundle.layout import Bundle
from cielo.link.linker import Linker
from cielo.records import Mention
from cielo_convert.build import build
from cielo_convert.recipe import Recipe

from tests.checkpoints import descriptions, make_encoder_checkpoint, make_generator_checkpoint

RECIPE = Path(__file__).parents[2] / "models" / "medical-mt5-large.toml"


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    folder = tmp_path_factory.mktemp("published")
    make_generator_checkpoint(folder / "generator", layout="sharded-safetensors", config_flag=True, seed=1, layers=3)
    make_encoder_checkpoint(folder / "encoder")
    for name, rows in (("diagnoses", descriptions()[:100]), ("procedures", descriptions()[100:])):
        lines = [f"{name[0].upper()}{number:02d}\t{text}" for number, text in enumerate(rows)]
        (folder / f"{name}.tsv").write_text("codigo\tdescripcion\n" + "\n".join(lines) + "\n", encoding="utf-8")
    text = RECIPE.read_text(encoding="utf-8")
    paths = {
        "ezotova/medical-mt5-clinical-el-spanish": "generator",
        "cambridgeltl/SapBERT-UMLS-2020AB-all-lang-from-XLMR-large": "encoder",
        "cie10es/diagnoses.tsv": "diagnoses.tsv",
        "cie10es/procedures.tsv": "procedures.tsv",
    }
    for old, new in paths.items():
        assert text.count(f'= "{old}"') == 1
        text = text.replace(f'= "{old}"', f'= "{new}"')
    (folder / "recipe.toml").write_text(text, encoding="utf-8")
    return Bundle.open(build(Recipe.load(folder / "recipe.toml"), folder / "bundle"))


def test_it_passes_the_gate_and_links(built: Bundle) -> None:
    assert built.manifest.parity["ctranslate2/cpu/int8"].status == "passed"
    assert built.manifest.generator.own_head is True
    assert built.manifest.generator.vocabulary == "knowledge-base"
    model = built.manifest.generator.model
    assert model.target_tokens is not None and model.source_tokens is not None
    assert model.target_tokens < model.source_tokens
    with Linker.open(built.path, device="cpu") as linker:
        links = linker.link([Mention(text, f"Tiene {text}.") for text in descriptions()[:40]])
    assert any(link.generated for link in links)  # the weights are random, and so are the texts
    assert {link.provenance.decoding for link in links} == {"published"}


def test_the_recipe_names_the_published_sources() -> None:
    recipe = Recipe.load(RECIPE)
    assert recipe.generator.checkpoint == "ezotova/medical-mt5-clinical-el-spanish"
    assert recipe.encoder.checkpoint == "cambridgeltl/SapBERT-UMLS-2020AB-all-lang-from-XLMR-large"
    assert recipe.generator.decoding == "published"
    assert recipe.prompt.window is None
    assert re.match(r"CC-BY-NC-4\.0", recipe.licence)


def test_the_manifest_holds_no_path_of_the_machine(built: Bundle) -> None:
    assert str(built.path.parent) not in schema.encode(built.manifest).decode()
