"""Checkpoints: every layout read alike, damage named, and the rule about the head."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
import torch
from cielo.errors import CheckpointError
from cielo.files import sha256_of
from cielo_convert.checkpoint import (
    TensorReader,
    has_own_head,
    load_encoder,
    load_generator,
    load_tokenizer,
)

from tests.checkpoints import LAYOUTS, Head, Layout, copy_checkpoint, make_encoder_checkpoint, make_generator_checkpoint

_OWN = [("own", True, True), ("own", False, True), ("absent", True, False), ("absent", False, False)]
_OWN += [("equal", True, False), ("equal", False, True)]


@pytest.mark.parametrize(("layout", "case"), itertools.product(LAYOUTS, _OWN))
def test_the_head_is_what_the_files_hold(tmp_path: Path, layout: Layout, case: tuple[Head, bool, bool]) -> None:
    head, flag, own = case
    checkpoint = make_generator_checkpoint(tmp_path, head=head, layout=layout, config_flag=flag)
    assert has_own_head(checkpoint) is own
    model = load_generator(checkpoint)
    reader = TensorReader(checkpoint)
    expected = reader.read("shared.weight" if head == "absent" else "lm_head.weight")
    assert torch.equal(model.lm_head.weight, expected)
    assert torch.equal(model.get_input_embeddings().weight, reader.read("shared.weight"))
    assert model.config.tie_word_embeddings is not own
    assert not model.training


def test_float16_files_are_loaded_as_float32(tmp_path: Path) -> None:
    model = load_generator(make_generator_checkpoint(tmp_path, dtype=torch.float16))
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_cut_short_files_are_named(tmp_path: Path, layout: Layout) -> None:
    checkpoint = make_generator_checkpoint(tmp_path, layout=layout)
    file = TensorReader(checkpoint).weight_files[-1]
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    with pytest.raises(CheckpointError, match=file.name):
        load_generator(checkpoint)


def test_a_missing_shard_is_named(tmp_path: Path) -> None:
    checkpoint = make_generator_checkpoint(tmp_path, layout="sharded-safetensors")
    (checkpoint / "model-00002-of-00003.safetensors").unlink()
    with pytest.raises(CheckpointError, match="model-00002-of-00003"):
        TensorReader(checkpoint)


def test_missing_and_surplus_tensors_are_refused(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    checkpoint = make_generator_checkpoint(tmp_path)
    weights = load_file(checkpoint / "model.safetensors")
    norm = weights.pop("decoder.final_layer_norm.weight")
    save_file(weights, checkpoint / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match=r"missing tensors.*decoder\.final_layer_norm"):
        load_generator(checkpoint)
    weights |= {"decoder.final_layer_norm.weight": norm, "decoder.adapter.weight": norm.clone()}
    save_file(weights, checkpoint / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match=r"unexpected tensors.*decoder\.adapter"):
        load_generator(checkpoint)


def test_other_checkpoints_are_refused(encoder: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="xlm-roberta"):
        load_generator(encoder)
    with pytest.raises(CheckpointError, match="no weights"):
        TensorReader(tmp_path)
    with pytest.raises(CheckpointError, match=r"config\.json"):
        load_generator(tmp_path)
    with pytest.raises(CheckpointError, match="tokenizer"):
        load_tokenizer(tmp_path)


def test_config_that_is_not_json(generator: Path, tmp_path: Path) -> None:
    checkpoint = copy_checkpoint(generator, tmp_path / "copy")
    (checkpoint / "config.json").write_text("{", encoding="utf-8")
    with pytest.raises(CheckpointError, match="not JSON"):
        load_generator(checkpoint)


def test_hashes_and_names(generator: Path) -> None:
    reader = TensorReader(generator)
    assert reader.sha256() == {"model.safetensors": sha256_of(generator / "model.safetensors")}
    with pytest.raises(CheckpointError, match=r"no tensor nothing\.weight"):
        reader.read("nothing.weight")


@pytest.mark.parametrize("layout", LAYOUTS)
def test_encoders_load_without_a_pooler(tmp_path: Path, layout: Layout) -> None:
    model = load_encoder(make_encoder_checkpoint(tmp_path, layout=layout))
    weight = TensorReader(tmp_path).read("embeddings.word_embeddings.weight")
    assert torch.equal(model.embeddings.word_embeddings.weight, weight)


def test_a_tokenizer_of_sentencepiece_alone_gives_the_same_ids(generator: Path, tmp_path: Path) -> None:
    bare = make_generator_checkpoint(tmp_path, fast_tokenizer=False)
    texts = ["Neumonía aguda", "α ≥ 38\u00a0°C", ""]
    assert load_tokenizer(bare)(texts)["input_ids"] == load_tokenizer(generator)(texts)["input_ids"]
