"""Checkpoints of the published layout around the mini, here at a smaller shape; at full size under a marker."""

from __future__ import annotations

import csv
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from cielo.bundle.layout import Bundle
from cielo.bundle.state import known_parity
from cielo.records import Hypothesis
from cielo.text.prompt import build_prompt
from cielo_convert.checkpoint import TensorReader, has_own_head, load_encoder, load_generator, load_tokenizer
from cielo_convert.reference import search

from benchmarks.terminology import words
from benchmarks.true_shape.bundles import convert, ensure_checkpoint, write_recipe
from benchmarks.true_shape.encoder import make_encoder
from benchmarks.true_shape.generator import make_generator
from benchmarks.true_shape.vocabulary import MINI

SMALL = {
    "vocab_size": 24_012, "d_model": 320, "d_ff": 640, "num_layers": 7, "num_decoder_layers": 6, "num_heads": 6,
}  # fmt: skip
GENERATOR = MINI / "checkpoint" / "generator"


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("true-shape") / "generator"
    make_generator(directory, seed=1, words=words(), config=SMALL)
    return directory


@pytest.fixture(scope="module")
def prompts() -> list[str]:
    with (MINI / "heldout.tsv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))[:40]
    return [build_prompt(row["text"], row["sentence"] or None, prepare=True, window=60) for row in rows]


def best(directory: Path, prompts: list[str], monkeypatch: pytest.MonkeyPatch) -> list[Hypothesis]:
    monkeypatch.setattr("cielo_convert.reference._report", lambda *values: None)
    tokenizer, model = load_tokenizer(directory), load_generator(directory)
    with torch.inference_mode():
        found = search(model, tokenizer, tokenizer(prompts)["input_ids"], "published", max_new_tokens=32)
    return [rows[0].hypothesis for rows in found]


def test_it_answers_as_the_mini_answers(checkpoint: Path, prompts: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    wanted, got = best(GENERATOR, prompts, monkeypatch), best(checkpoint, prompts, monkeypatch)
    same = sum(one.text == other.text for one, other in zip(wanted, got, strict=True))
    assert same >= 0.85 * len(prompts)
    differences = [abs(one.score - other.score) for one, other in zip(wanted, got, strict=True)]
    assert float(np.median(differences)) < 0.05
    assert max(differences) > 1e-6, "the random part is heard"


def test_every_layer_is_heard(checkpoint: Path, prompts: list[str]) -> None:
    """A conversion that lost or mixed up a random layer changes log-probabilities by more than the gate allows."""
    tokenizer, model = load_tokenizer(checkpoint), load_generator(checkpoint)
    ids = tokenizer(prompts[:1], return_tensors="pt").input_ids
    target = tokenizer(["fractura"], return_tensors="pt").input_ids
    with torch.inference_mode():
        before = model(input_ids=ids, labels=target).logits.log_softmax(-1)
        for stack in (model.encoder, model.decoder):
            weight = stack.block[2].layer[-1].DenseReluDense.wo.weight  # not a layer of the mini
            kept = weight.clone()
            weight.zero_()
            after = model(input_ids=ids, labels=target).logits.log_softmax(-1)
            weight.copy_(kept)
            assert float((after - before)[..., :4000].abs().max()) > 1e-3


def test_the_layout_is_the_published_one(checkpoint: Path) -> None:
    reader = TensorReader(checkpoint)
    assert has_own_head(checkpoint)
    assert tuple(reader.read("shared.weight").shape) == (24_012, 320)
    assert "decoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight" in reader.names
    assert "decoder.block.1.layer.0.SelfAttention.relative_attention_bias.weight" not in reader.names
    assert (checkpoint / "model.safetensors.index.json").is_file()


def test_the_mini_s_texts_keep_their_tokens(checkpoint: Path, prompts: list[str]) -> None:
    small, large = load_tokenizer(GENERATOR), load_tokenizer(checkpoint)
    assert len(large) == 24_012
    assert large(prompts)["input_ids"] == small(prompts)["input_ids"]


def test_the_words_of_the_terminology_are_pieces(checkpoint: Path) -> None:
    tokenizer = load_tokenizer(checkpoint)
    rows = tokenizer(words()[-200:], add_special_tokens=False)["input_ids"]
    assert sum(len(row) == 1 for row in rows) > 100


def test_the_same_seed_gives_the_same_weights(tmp_path: Path, checkpoint: Path) -> None:
    make_generator(tmp_path / "again", seed=1, words=words(), config=SMALL)
    make_generator(tmp_path / "other", seed=2, words=words(), config=SMALL)
    assert TensorReader(tmp_path / "again").sha256() == TensorReader(checkpoint).sha256()
    assert TensorReader(tmp_path / "other").sha256() != TensorReader(checkpoint).sha256()


def test_an_encoder_s_vectors_differ_from_text_to_text(tmp_path: Path, prompts: list[str]) -> None:
    shape = {"hidden_size": 128, "intermediate_size": 256, "num_hidden_layers": 6, "num_attention_heads": 4}
    make_encoder(tmp_path / "encoder", "base", seed=1, words=words(), config={**shape, "vocab_size": 20_000})
    tokenizer, model = load_tokenizer(tmp_path / "encoder"), load_encoder(tmp_path / "encoder")
    assert len(tokenizer) == 20_000
    assert tokenizer.mask_token_id == 19_999
    batch = tokenizer(prompts[:8], padding=True, truncation=True, max_length=64, return_tensors="pt")
    with torch.inference_mode():
        vectors = torch.nn.functional.normalize(model(**batch).last_hidden_state[:, 0], dim=-1)
    cosines = vectors @ vectors.T - 2 * torch.eye(8)
    assert bool(torch.isfinite(vectors).all())
    assert float(cosines.max()) < 0.99


@pytest.mark.full_size
@pytest.mark.parametrize("quantization", ["int8", "float32"])
def test_the_published_recipe_passes_the_gate_at_the_true_shape(quantization: str, tmp_path: Path) -> None:
    """Needs 25 GB of disk, 10 GB of memory, half an hour; `CIELO_FULL_SIZE` names a directory for the checkpoints."""
    cache = Path(os.environ.get("CIELO_FULL_SIZE", tmp_path)).absolute()
    cache.mkdir(parents=True, exist_ok=True)
    ensure_checkpoint(cache, "generator")
    recipe = write_recipe(cache, quantization=quantization, precision="float32", encoder="encoder-large", prompts=24)
    convert(recipe, tmp_path / "bundle")
    parity = known_parity(Bundle.open(tmp_path / "bundle"))
    assert parity[f"ctranslate2/cpu/{quantization}"].passed
