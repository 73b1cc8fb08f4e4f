"""Each way to be silently wrong, planted into a sound bundle, is caught by a check that bears its name."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from cielo.bundle.layout import ENCODER, INDEX, MANIFEST, TRIE, Bundle, Layout
from cielo.bundle.manifest import read_manifest
from cielo.bundle.stages import open_trie
from cielo.bundle.state import known_parity
from cielo.bundle.trie import DescriptionTrie
from cielo.bundle.writing import write_manifest
from cielo.cli import main
from cielo.errors import BundleError
from cielo.knowledge.reading import KnowledgeBase
from cielo.parity.checks import Report, run_checks
from cielo.retrieval.index import Index, IndexSettings, load_all, save_all
from cielo.text.tokenizer import Tokenizer
from cielo_convert.build import build
from cielo_convert.checkpoint import load_generator, load_tokenizer
from cielo_convert.checks import head_check, output_scale_check, vocabulary_check
from cielo_convert.encoder import convert_encoder
from cielo_convert.generator import BACKEND, make_spec, read_vocabularies
from cielo_convert.recipe import Recipe
from click.testing import CliRunner

from tests.checkpoints import make_encoder_checkpoint, make_generator_checkpoint, make_recipe


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("checkpoints")
    generator = make_generator_checkpoint(folder / "generator", seed=1, d_model=32, d_kv=8, heads=4, decoder_layers=1)
    return generator, make_encoder_checkpoint(folder / "encoder")


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory, checkpoints: tuple[Path, Path]) -> Path:
    folder = tmp_path_factory.mktemp("sound")
    recipe = Recipe.load(make_recipe(folder, *checkpoints))
    return build(recipe, folder / "bundle")


@pytest.fixture()
def faulty(sound: Path, tmp_path: Path) -> Path:
    """A copy to plant a fault in."""
    return Path(shutil.copytree(sound, tmp_path / "bundle"))


def checked(directory: Path) -> Report:
    """Sign what stands in the directory now, as if the fault had been there from the start, and run the gate."""
    content = (directory / MANIFEST).read_bytes()
    bundle = write_manifest(directory, read_manifest(content, MANIFEST))
    return run_checks(bundle, bundle.execution("cpu", compute_type="float32"), threads=1)


def failed(report: Report) -> set[str]:
    return {check.name for check in report.checks if not check.passed}


def specification(checkpoint: Path, spoil: Callable[[Any], None] | None = None) -> Any:
    """Return the converter's specification of a model that was spoilt on purpose."""
    model, tokenizer = load_generator(checkpoint), load_tokenizer(checkpoint)
    if spoil is not None:
        spoil(model)
    return make_spec(model, tokenizer, None)


def write(spec: Any, bundle: Path) -> None:
    spec.validate()
    spec.optimize("float32")
    spec.save(str(Layout(bundle).generator_model(BACKEND)))


def test_the_sound_bundle_passes(faulty: Path) -> None:
    report = checked(faulty)
    assert report.passed, failed(report)
    assert len(report.checks) >= 13


def test_tied_head(checkpoints: tuple[Path, Path], faulty: Path) -> None:
    def tie(model: Any) -> None:
        model.lm_head.weight = torch.nn.Parameter(model.shared.weight.detach().clone())

    spec = specification(checkpoints[0], tie)
    assert not head_check(spec, checkpoints[0]).passed
    write(spec, faulty)
    assert {"generator.log_probs", "generator.published.texts"} <= failed(checked(faulty))


def test_scaled_outputs(checkpoints: tuple[Path, Path], faulty: Path) -> None:
    spec = specification(checkpoints[0])
    assert output_scale_check(spec, checkpoints[0]).passed
    spec.decoder.scale_outputs = np.float32(32**-0.5)
    assert not output_scale_check(spec, checkpoints[0]).passed
    write(spec, faulty)
    assert {"generator.log_probs", "generator.published.scores"} <= failed(checked(faulty))


def test_shifted_vocabulary(checkpoints: tuple[Path, Path], faulty: Path) -> None:
    file = Layout(faulty).generator_model(BACKEND) / "shared_vocabulary.json"
    tokens = json.loads(file.read_text(encoding="utf-8"))
    tokenizer = load_tokenizer(checkpoints[0])
    assert vocabulary_check(*read_vocabularies(file.parent), tokenizer, len(tokens)).passed
    # As if one id after the special tokens had been left out.
    file.write_text(json.dumps([*tokens[:5], *tokens[6:], "<gap>"]), encoding="utf-8")
    assert not vocabulary_check(*read_vocabularies(file.parent), tokenizer, len(tokens)).passed
    assert "generator.log_probs" in failed(checked(faulty))


def test_missing_end_of_sequence(faulty: Path) -> None:
    file = Layout(faulty).generator_tokenizer
    settings = json.loads(file.read_text(encoding="utf-8"))
    file.write_text(json.dumps({**settings, "post_processor": None}), encoding="utf-8")
    assert {"tokenizer.end_of_sequence", "tokenizer.prompt_ids"} <= failed(checked(faulty))


def test_wrong_pooling(checkpoints: tuple[Path, Path], faulty: Path) -> None:
    shutil.rmtree(faulty / ENCODER)
    convert_encoder(checkpoints[1], faulty / ENCODER, "float32", "mean", 32)
    names = failed(checked(faulty))
    assert "encoder.vectors" in names
    assert "encoder.norm" not in names


def test_unnormalised_vectors(faulty: Path) -> None:
    file = faulty / ENCODER / "model.onnx"
    model = onnx.load(str(file))
    producers = {name: node for node in model.graph.node for name in node.output}
    last = producers["vector"]
    assert last.op_type == "Div"
    last.op_type = "Identity"
    del last.input[1:]
    onnx.save(model, str(file))
    assert "encoder.norm" in failed(checked(faulty))


def test_damaged_weights(faulty: Path) -> None:
    file = Layout(faulty).generator_model(BACKEND) / "model.bin"
    content = bytearray(file.read_bytes())
    noise = np.random.default_rng(0).normal(size=2000).astype(np.float32).tobytes()
    content[len(content) // 2 : len(content) // 2 + len(noise)] = noise
    file.write_bytes(content)
    with pytest.raises(BundleError, match=r"model\.bin"):
        Bundle.open(faulty).check_hashes()
    assert "generator.log_probs" in failed(checked(faulty))


def test_index_of_another_encoder(faulty: Path) -> None:
    indexes = load_all(faulty / INDEX, 64)
    random = np.random.default_rng(0)
    built = {}
    for kind, index in indexes.items():
        texts = [texts[0] for texts in index.descriptions]
        vectors = random.normal(size=(len(texts), index.vectors.shape[1])).astype(np.float32)
        built[kind] = Index.build(texts, vectors / np.linalg.norm(vectors, axis=1, keepdims=True), IndexSettings())
    shutil.rmtree(faulty / INDEX)
    save_all(built, faulty / INDEX)
    assert "index.vectors" in failed(checked(faulty))


def test_index_with_descriptions_that_have_no_code(faulty: Path) -> None:
    file = faulty / INDEX / "0" / "descriptions.jsonl"
    lines = file.read_text(encoding="utf-8").splitlines(keepends=True)
    file.write_text("".join([json.dumps(["no such description"]) + "\n", *lines[1:]]), encoding="utf-8")
    assert "index.descriptions" in failed(checked(faulty))


def with_trie(directory: Path, trie: DescriptionTrie) -> None:
    """Write a trie over the bundle's, and its figures into the manifest."""
    shutil.rmtree(directory / TRIE)
    trie.save(directory / TRIE)
    manifest = read_manifest((directory / MANIFEST).read_bytes(), MANIFEST)
    write_manifest(directory, replace(manifest, trie=trie.section))


@pytest.mark.parametrize("change", ["other texts", "fewer", "more"])
def test_trie_of_another_knowledge_base(faulty: Path, change: str) -> None:
    base = KnowledgeBase(Layout(faulty).knowledge_base)
    texts = base.texts()
    base.close()
    others = {"other texts": [text[::-1] for text in texts], "fewer": texts[:-3], "more": [*texts, "Una más"]}
    with_trie(faulty, DescriptionTrie.build(others[change], Tokenizer(Layout(faulty).generator_tokenizer)))
    assert "trie.descriptions" in failed(checked(faulty))


def test_trie_whose_rows_are_those_of_other_descriptions(faulty: Path) -> None:
    bundle = Bundle.open(faulty)
    trie = open_trie(bundle, Tokenizer(bundle.generator_tokenizer))
    assert trie is not None
    with_trie(faulty, DescriptionTrie(trie.trie, np.roll(trie.rows, 1), trie.end))
    assert {name for name in failed(checked(faulty)) if name.startswith("trie.")} == {"trie.tokens"}


def test_output_vocabulary_that_cannot_write_a_description(faulty: Path) -> None:
    bundle = Bundle.open(faulty)
    tokenizer = Tokenizer(bundle.generator_tokenizer)
    trie = open_trie(bundle, tokenizer)
    assert trie is not None
    file = bundle.generator_model(BACKEND) / "shared_vocabulary.json"
    tokens = json.loads(file.read_text(encoding="utf-8"))
    lost = tokenizer.tokens([int(trie.trie.sequence(0)[0])])[0]
    file.write_text(json.dumps(["<gap>" if token == lost else token for token in tokens]), encoding="utf-8")
    assert "trie.vocabulary" in failed(checked(faulty))


def test_where_there_is_nothing_to_compare_nothing_passes(faulty: Path) -> None:
    layout = Layout(faulty)
    content = json.loads(layout.references.read_text(encoding="utf-8"))
    lists = {name: [] for name, value in content.items() if isinstance(value, list)}
    searches: dict[str, list[Any]] = {name: [] for name in content["searches"]}
    layout.references.write_text(json.dumps({**content, **lists, "searches": searches}), encoding="utf-8")
    dimension = read_manifest((faulty / MANIFEST).read_bytes(), MANIFEST).encoder.dimension
    np.savez(layout.reference_vectors, vectors=np.zeros((0, dimension), dtype=np.float32))
    report = checked(faulty)
    assert not report.passed
    # What compares the bundle's own parts with each other, and no references, goes on.
    inside = {"index.vectors", "index.descriptions", "trie.descriptions", "trie.tokens", "trie.vocabulary"}
    assert {check.name for check in report.checks if check.passed} <= inside
    assert not Report(report.execution, ()).passed


def test_prompts_that_are_all_undecided_show_nothing(faulty: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cielo.parity.checks.DECIDED_MARGIN", 1e9)
    content = (faulty / MANIFEST).read_bytes()
    bundle = write_manifest(faulty, read_manifest(content, MANIFEST))
    report = run_checks(bundle, bundle.execution("cpu", compute_type="int16"), threads=1)
    (texts,) = [check for check in report.checks if check.name == "generator.probable.texts"]
    assert not texts.passed and texts.figure is None
    assert texts.detail == "there is nothing to compare"


def test_a_recipe_whose_parity_fails_leaves_nothing(checkpoints: tuple[Path, Path], tmp_path: Path) -> None:
    recipe = make_recipe(tmp_path / "recipe", *checkpoints, changes={"prompts": "8"})
    text = recipe.read_text(encoding="utf-8")
    recipe.write_text(text + '\n[parity.tolerances]\n"generator.log_probs" = -1.0\n', encoding="utf-8")
    output = tmp_path / "out" / "bundle"
    result = CliRunner().invoke(main, ["convert", str(recipe), "--output", str(output)])
    assert result.exit_code == 4, result.output
    assert "generator.log_probs" in result.stderr
    assert "Traceback" not in result.output
    assert list(output.parent.iterdir()) == []


def test_the_command_converts(checkpoints: tuple[Path, Path], tmp_path: Path) -> None:
    recipe = make_recipe(tmp_path / "recipe", *checkpoints, changes={"prompts": "8"})
    output = tmp_path / "bundle"
    result = CliRunner().invoke(main, ["convert", str(recipe), "--output", str(output)])
    assert result.exit_code == 0, result.output
    assert known_parity(Bundle.open(output))["ctranslate2/cpu/float32"].passed
    again = CliRunner().invoke(main, ["convert", str(recipe), "--output", str(output)])
    assert again.exit_code == 1
    assert "exists" in again.stderr
