"""Each way to be silently wrong, planted into a sound bundle, is caught by a check that bears its name."""

from __future__ import annotations

import json
import re
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
from cielo.generation.backends import BACKENDS
from cielo.generation.onnx_files import DECODER_BIAS, EMBEDDINGS, ENCODER_BIAS, OUTPUT_IDS, SETTINGS
from cielo.knowledge.reading import KnowledgeBase
from cielo.parity.checks import Report, run_checks
from cielo.retrieval.index import Index, IndexSettings, load_all, save_all
from cielo.text.tokenizer import Tokenizer
from cielo_convert.backend_step import LoadedGenerator
from cielo_convert.build import build
from cielo_convert.checkpoint import load_generator, load_tokenizer
from cielo_convert.checks import (
    embeddings_check,
    head_check,
    output_scale_check,
    outputs_check,
    vocabulary_check,
)
from cielo_convert.ctranslate2_generator import BACKEND, make_spec, read_vocabularies
from cielo_convert.encoder import convert_encoder
from cielo_convert.generator import STEPS
from cielo_convert.recipe import Recipe
from click.testing import CliRunner

from tests.checkpoints import make_encoder_checkpoint, make_generator_checkpoint, make_recipe

# Its positions matter enough to be missed in int8, and many of its best texts are decided there.
SHAPE: dict[str, Any] = {"seed": 7, "d_model": 32, "d_kv": 8, "heads": 4, "decoder_layers": 1, "positions": 20.0}


# As its recipe could set it: the sound conversions are at 0.005, the least of the faults is at 0.029.
BOUNDS = {"int8": {"generator.log_probs": 0.02}}


@pytest.fixture(autouse=True)
def _state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CIELO_STATE", str(tmp_path / "state"))


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("checkpoints")
    generator = make_generator_checkpoint(folder / "generator", **SHAPE)
    return generator, make_encoder_checkpoint(folder / "encoder")


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory, checkpoints: tuple[Path, Path]) -> Path:
    folder = tmp_path_factory.mktemp("sound")
    changes = {"quantization": '"float32"\nbackends = ["ctranslate2", "onnx"]'}
    recipe = Recipe.load(make_recipe(folder, *checkpoints, changes=changes))
    return build(recipe, folder / "bundle")


@pytest.fixture()
def faulty(sound: Path, tmp_path: Path) -> Path:
    """A copy to plant a fault in."""
    return Path(shutil.copytree(sound, tmp_path / "bundle"))


def checked(directory: Path, backend: str = BACKEND, compute_type: str = "float32") -> Report:
    """Sign what stands in the directory now, as if the fault had been there from the start, and run the gate."""
    content = (directory / MANIFEST).read_bytes()
    bundle = write_manifest(directory, read_manifest(content, MANIFEST))
    execution = bundle.execution("cpu", backend=backend, compute_type=compute_type)
    return run_checks(bundle, execution, threads=1, overrides=BOUNDS.get(compute_type))


def failed(report: Report) -> set[str]:
    return {check.name for check in report.checks if not check.passed}


def specification(checkpoint: Path, spoil: Callable[[Any], None] | None = None) -> Any:
    """Return CTranslate2's specification of a model that was spoilt on purpose."""
    model, tokenizer = load_generator(checkpoint), load_tokenizer(checkpoint)
    if spoil is not None:
        spoil(model)
    return make_spec(model, tokenizer, None)


def write(spec: Any, bundle: Path) -> None:
    spec.validate()
    spec.optimize("float32")
    spec.save(str(Layout(bundle).generator_model(BACKEND)))


# What a backend is converted to: CTranslate2's other compute types are made from its float32 when they are opened.
CONVERSIONS = [
    ("ctranslate2", "float32"),
    ("onnx", "float32"),
    ("onnx", "int8"),
]


def convert(checkpoint: Path, bundle: Path, conversion: tuple[str, str], spoil: Callable[[Any], None]) -> Report:
    """Convert a spoilt model in place of a bundle's own for one backend, and run the gate."""
    backend, compute_type = conversion
    model = load_generator(checkpoint)
    spoil(model)
    directory = Layout(bundle).generator_model(backend)
    shutil.rmtree(directory)
    directory.mkdir()
    STEPS[backend](LoadedGenerator(checkpoint, model, load_tokenizer(checkpoint), None), directory, compute_type)
    return checked(bundle, backend, compute_type)


def sound_model(model: Any) -> None:
    """Leave the model as it is."""


def tied_head(model: Any) -> None:
    """The embeddings in the place of the head."""
    model.lm_head.weight = torch.nn.Parameter(model.shared.weight.detach().clone())


def scaled_head(model: Any) -> None:
    """The scale of a tied head's logits, for one that is its own."""
    model.lm_head.weight.mul_(model.config.d_model**-0.5)


def shifted_embeddings(model: Any) -> None:
    """As if one row after the special tokens had been left out."""
    rows = model.shared.weight.clone()
    model.shared.weight[5:-1] = rows[6:]


def shifted_head(model: Any) -> None:
    """Likewise, of the outputs: the other way to mix up the vocabulary."""
    rows = model.lm_head.weight.clone()
    model.lm_head.weight[5:-1] = rows[6:]


def lost_positions(model: Any) -> None:
    """An encoder that knows no order of its tokens."""
    model.encoder.block[0].layer[0].SelfAttention.relative_attention_bias.weight.zero_()


def reversed_positions(model: Any) -> None:
    """What stands before and what stands after changed places: the halves of the encoder's buckets."""
    bias = model.encoder.block[0].layer[0].SelfAttention.relative_attention_bias.weight
    bias.copy_(bias.roll(len(bias) // 2, 0))


def lost_norm(model: Any) -> None:
    """A layer norm in the middle of the decoder that gives half of what it should."""
    model.decoder.block[0].layer[1].layer_norm.weight.mul_(0.5)


def exchanged_cross_attention(model: Any) -> None:
    """Keys and values of the cross attention changed places."""
    cross = model.decoder.block[0].layer[1].EncDecAttention
    cross.k, cross.v = cross.v, cross.k


def lost_layer(model: Any) -> None:
    """The last layer of the encoder gives nothing."""
    layer = model.encoder.block[-1].layer
    layer[0].SelfAttention.o.weight.zero_()
    layer[1].DenseReluDense.wo.weight.zero_()


SPOILT: dict[Callable[[Any], None], set[str]] = {
    tied_head: {"generator.log_probs", "generator.published.texts"},
    scaled_head: {"generator.log_probs", "generator.published.scores"},
    shifted_embeddings: {"generator.log_probs"},
    shifted_head: {"generator.log_probs"},
    lost_positions: {"generator.log_probs"},
    reversed_positions: {"generator.log_probs"},
    lost_norm: {"generator.log_probs"},
    exchanged_cross_attention: {"generator.log_probs"},
    lost_layer: {"generator.log_probs"},
}


@pytest.mark.parametrize("conversion", CONVERSIONS, ids=lambda conversion: "-".join(conversion))
def test_a_sound_conversion_passes(checkpoints: tuple[Path, Path], faulty: Path, conversion: tuple[str, str]) -> None:
    report = convert(checkpoints[0], faulty, conversion, sound_model)
    assert report.passed, [check for check in report.checks if not check.passed]
    assert len(report.checks) >= 13


@pytest.mark.parametrize("conversion", CONVERSIONS, ids=lambda conversion: "-".join(conversion))
@pytest.mark.parametrize("spoil", SPOILT, ids=lambda spoil: spoil.__name__)
def test_a_spoilt_model(
    checkpoints: tuple[Path, Path], faulty: Path, conversion: tuple[str, str], spoil: Callable[[Any], None]
) -> None:
    with torch.no_grad():
        report = convert(checkpoints[0], faulty, conversion, spoil)
    found = failed(report)
    if conversion[1] == "float32":
        assert SPOILT[spoil] <= found, report.checks
    else:  # by a bound such as a recipe can set, and by one check or another of those that are the default
        assert "generator.log_probs" in found, report.checks
        assert found - {"generator.log_probs"}, report.checks


def test_a_fault_of_one_backend_is_not_the_other_s(checkpoints: tuple[Path, Path], faulty: Path) -> None:
    for spoilt, other in (("onnx", "ctranslate2"), ("ctranslate2", "onnx")):
        assert not convert(checkpoints[0], faulty, (spoilt, "float32"), tied_head).passed
        assert checked(faulty, other).passed
        assert convert(checkpoints[0], faulty, (spoilt, "float32"), sound_model).passed


def test_tied_head(checkpoints: tuple[Path, Path]) -> None:
    assert not head_check(specification(checkpoints[0], tied_head), checkpoints[0]).passed


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


def test_shifted_embeddings_are_seen_before_the_gate(checkpoints: tuple[Path, Path], faulty: Path) -> None:
    directory = Layout(faulty).generator_model("onnx")
    assert embeddings_check(directory, checkpoints[0]).passed
    file = directory / EMBEDDINGS
    rows = np.load(file)
    np.save(file, np.concatenate((rows[:5], rows[6:], rows[-1:])))
    assert not embeddings_check(directory, checkpoints[0]).passed
    assert "generator.log_probs" in failed(checked(faulty, "onnx"))
    np.save(file, rows[:-1])
    assert not embeddings_check(directory, checkpoints[0]).passed


def test_shifted_outputs(checkpoints: tuple[Path, Path], faulty: Path) -> None:
    directory = Layout(faulty).generator_model("onnx")
    tokenizer = load_tokenizer(checkpoints[0])
    assert outputs_check(directory, tokenizer).passed
    ids = np.arange(len(np.load(directory / EMBEDDINGS)), dtype=np.int32)
    np.save(directory / OUTPUT_IDS, np.concatenate((ids[:3], ids[4:])))
    assert outputs_check(directory, tokenizer, [*range(3), *range(4, len(ids))]).passed
    assert not outputs_check(directory, tokenizer).passed
    assert not outputs_check(directory, tokenizer, [*range(4), *range(5, len(ids))]).passed


def test_a_decoder_that_begins_with_another_token(faulty: Path) -> None:
    file = Layout(faulty).generator_model("onnx") / SETTINGS
    settings = json.loads(file.read_text(encoding="utf-8"))
    file.write_text(json.dumps({**settings, "start_token": 7}), encoding="utf-8")
    assert "generator.log_probs" in failed(checked(faulty, "onnx"))


@pytest.mark.parametrize("name", [ENCODER_BIAS, DECODER_BIAS])
def test_positions_that_are_off_by_one(faulty: Path, name: str) -> None:
    file = Layout(faulty).generator_model("onnx") / name
    np.save(file, np.roll(np.load(file), 1, axis=0))
    assert "generator.log_probs" in failed(checked(faulty, "onnx"))


@pytest.mark.parametrize("backend", BACKENDS)
def test_missing_end_of_sequence(faulty: Path, backend: str) -> None:
    file = Layout(faulty).generator_tokenizer
    settings = json.loads(file.read_text(encoding="utf-8"))
    file.write_text(json.dumps({**settings, "post_processor": None}), encoding="utf-8")
    assert {"tokenizer.end_of_sequence", "tokenizer.prompt_ids"} <= failed(checked(faulty, backend))


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


@pytest.mark.parametrize(
    ("backend", "name"), [("ctranslate2", "model.bin"), ("onnx", "encoder.data"), ("onnx", "decoder.data")]
)
def test_damaged_weights(faulty: Path, backend: str, name: str) -> None:
    file = Layout(faulty).generator_model(backend) / name
    content = bytearray(file.read_bytes())
    noise = np.random.default_rng(0).normal(size=2000).astype(np.float32).tobytes()
    content[len(content) // 2 : len(content) // 2 + len(noise)] = noise
    file.write_bytes(content)
    with pytest.raises(BundleError, match=name.replace(".", r"\.")):
        Bundle.open(faulty).check_hashes()
    assert "generator.log_probs" in failed(checked(faulty, backend))


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
    report = run_checks(bundle, bundle.execution("cpu", compute_type="int8"), threads=1)
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
    changes = {"prompts": "8", "quantization": '"float32"\nbackends = ["onnx", "ctranslate2"]'}
    recipe = make_recipe(tmp_path / "recipe", *checkpoints, changes=changes)
    output = tmp_path / "bundle"
    result = CliRunner().invoke(main, ["convert", str(recipe), "--output", str(output)])
    assert result.exit_code == 0, result.output
    bundle = Bundle.open(output)
    for name in ("ctranslate2", "onnx"):
        assert known_parity(bundle)[f"{name}/cpu/float32"].passed
    shown = CliRunner().invoke(main, ["info", str(output)]).output
    assert re.search(r"backend onnx +float32, \d\.\d MB, the bundle's own\n", shown)
    assert re.search(r"backend ctranslate2 +float32, \d\.\d MB\n", shown)
    verified = CliRunner().invoke(main, ["verify", "--parity", "--device", "cpu", str(output)])
    assert verified.exit_code == 0, verified.output
    assert "parity of onnx/cpu/float32" in verified.output
    assert "parity of ctranslate2/cpu/float32" in verified.output
    again = CliRunner().invoke(main, ["convert", str(recipe), "--output", str(output)])
    assert again.exit_code == 1
    assert "exists" in again.stderr
