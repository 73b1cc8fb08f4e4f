"""The generator's conversion: equal to float32 PyTorch, and every planted fault caught by the check named for it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from cielo.errors import CheckpointError, RecipeError
from cielo.files import sha256_of
from cielo.generation.ctranslate2 import CTranslate2Generator
from cielo.generation.searches import SEARCHES
from cielo.text.tokenizer import Encoded, Tokenizer
from cielo_convert import reference
from cielo_convert.checkpoint import load_generator, load_tokenizer
from cielo_convert.checks import head_check, output_scale_check, vocabulary_check
from cielo_convert.ctranslate2_generator import BACKEND, make_spec, read_vocabularies, vocabulary
from cielo_convert.generator import convert_generator, output_ids
from cielo_convert.prompts import parity_prompts

from tests.checkpoints import descriptions, make_generator_checkpoint

_SHAPES: dict[str, dict[str, Any]] = {
    "own": {"seed": 1, "layers": 3, "decoder_layers": 1, "d_model": 32, "d_kv": 8, "heads": 4, "config_flag": True},
    "heads wider than the model": {"seed": 3, "d_model": 40, "d_kv": 16, "heads": 3, "dtype": torch.float16},
    "tied": {"seed": 0, "tied": True, "config_flag": False},
    "own, equal to the embeddings": {"seed": 4, "head": "equal", "config_flag": False, "layout": "sharded-bin"},
}


@pytest.fixture(autouse=True)
def _no_progress(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reference, "_report", lambda *values: None)


@pytest.mark.parametrize("restricted", [False, True])
@pytest.mark.parametrize("shape", _SHAPES)
def test_float32_equals_pytorch(tmp_path: Path, shape: str, restricted: bool) -> None:
    checkpoint = make_generator_checkpoint(tmp_path / "checkpoint", **_SHAPES[shape])
    kept = descriptions() if restricted else None
    facts = convert_generator(checkpoint, tmp_path / "out", {BACKEND: "float32"}, kept)
    assert all(check.passed for check in facts.checks[BACKEND]), facts.checks
    tokenizer, model = load_tokenizer(checkpoint), load_generator(checkpoint)
    if restricted:
        reference.restrict_outputs(model, output_ids(tokenizer, descriptions()))
    ids = tokenizer(parity_prompts(None, 10, prepare=True, window=60))["input_ids"]
    targets = reference._targets(tokenizer, descriptions(), len(ids))
    prompts = [Encoded(row, False) for row in ids]
    with (
        torch.inference_mode(),
        CTranslate2Generator(tmp_path / "out" / BACKEND, Tokenizer(tmp_path / "out" / "tokenizer.json")) as converted,
    ):
        expected = np.concatenate(reference.log_probs(model, ids, targets))
        # Random weights give log-probabilities of tens: the bound is the one of the parity gate.
        np.testing.assert_allclose(np.concatenate(converted.log_probs(prompts, targets)), expected, atol=1e-3)
        wanted = reference.search(model, tokenizer, ids, "published", max_new_tokens=128)
        for found, rows in zip(converted.generate(prompts, SEARCHES["published"]), wanted, strict=True):
            assert [entry.text for entry in found] == [row.hypothesis.text for row in rows]
            np.testing.assert_allclose(
                [entry.score for entry in found], [row.hypothesis.score for row in rows], atol=5e-4
            )
            np.testing.assert_allclose(
                [entry.log_prob for entry in found], [row.hypothesis.log_prob for row in rows], atol=2e-2
            )


def test_every_compute_type_is_written(tmp_path: Path, generator: Path) -> None:
    sizes = {}
    for quantization in ("float32", "float16", "bfloat16", "int16", "int8", "int8_float32", "int8_bfloat16"):
        facts = convert_generator(generator, tmp_path / quantization, {BACKEND: quantization})
        assert all(check.passed for check in facts.checks[BACKEND])
        sizes[quantization] = (tmp_path / quantization / BACKEND / "model.bin").stat().st_size
    assert sizes["int8"] < sizes["float16"] < sizes["float32"]
    with pytest.raises(RecipeError, match="int4"):
        convert_generator(generator, tmp_path / "no", {BACKEND: "int4"})


def test_a_restricted_vocabulary_keeps_the_source_whole(tmp_path: Path, generator: Path) -> None:
    facts = convert_generator(generator, tmp_path, {BACKEND: "int8"}, descriptions())
    source, target = read_vocabularies(tmp_path / BACKEND)
    assert (len(source), len(target)) == (facts.models[BACKEND].source_tokens, facts.models[BACKEND].target_tokens)
    assert len(target) < len(source)
    assert {"<pad>", "</s>", "<unk>"} <= set(target)
    tokenizer = load_tokenizer(generator)
    assert {token for text in descriptions() for token in tokenizer.tokenize(text)} <= set(target)


def test_the_tokenizer_file_has_no_truncation_or_padding(tmp_path: Path, generator: Path) -> None:
    convert_generator(generator, tmp_path, {BACKEND: "float32"})
    settings = json.loads((tmp_path / "tokenizer.json").read_text(encoding="utf-8"))
    assert settings["truncation"] is None and settings["padding"] is None


def test_padding_names_collide_with_no_token(generator: Path) -> None:
    tokenizer = load_tokenizer(generator)
    tokenizer.add_tokens(["<extra_id_0>", "<extra_id_2>"])
    tokens = vocabulary(tokenizer, len(tokenizer) + 3)
    assert tokens[-3:] == ["<extra_id_1>", "<extra_id_3>", "<extra_id_4>"]
    assert len(set(tokens)) == len(tokens)
    with pytest.raises(CheckpointError, match="rows of embeddings"):
        vocabulary(tokenizer, len(tokenizer) - 1)


class TestPlantedFaults:
    """Each fault that a converter or a version of transformers has had is caught by the check named for it."""

    def _spec(self, checkpoint: Path) -> Any:
        return make_spec(load_generator(checkpoint), load_tokenizer(checkpoint), None)

    def test_a_head_replaced_by_the_embeddings(self, generator: Path) -> None:
        spec = self._spec(generator)
        assert head_check(spec, generator).passed
        spec.decoder.projection.weight = spec.decoder.embeddings.weight
        check = head_check(spec, generator)
        assert check.name == "generator.head" and not check.passed

    def test_scaled_outputs_of_an_own_head(self, generator: Path) -> None:
        spec = self._spec(generator)
        assert output_scale_check(spec, generator).passed
        spec.decoder.scale_outputs = 32**-0.5
        check = output_scale_check(spec, generator)
        assert check.name == "generator.output_scale" and not check.passed

    def test_unscaled_outputs_of_a_tied_head(self, tied_generator: Path) -> None:
        spec = self._spec(tied_generator)
        assert output_scale_check(spec, tied_generator).passed
        spec.decoder.scale_outputs = "__optional"
        assert not output_scale_check(spec, tied_generator).passed

    @pytest.mark.parametrize("kept", [None, [0, 1, 2, 40, 41, 60]])
    def test_a_shifted_vocabulary(self, generator: Path, kept: list[int] | None) -> None:
        tokenizer = load_tokenizer(generator)
        size = len(tokenizer) + 12
        source = vocabulary(tokenizer, size)
        target = source if kept is None else [source[token] for token in kept]
        assert vocabulary_check(source, target, tokenizer, size, kept).passed
        shifted = [*source[:50], *source[51:], "<one more>"]
        check = vocabulary_check(shifted, target, tokenizer, size, kept)
        assert check.name == "generator.vocabulary"
        assert check.figure >= size - 50 - 12
        swapped = [*target[:3], target[4], target[3], *target[5:]]
        assert vocabulary_check(source, swapped, tokenizer, size, kept).figure == 2
        assert not vocabulary_check(source, target[:-1], tokenizer, size, kept).passed


class TestBothBackends:
    def test_one_conversion_gives_what_each_alone_does(self, tmp_path: Path, generator: Path) -> None:
        """CTranslate2's quantisation writes into the tensors that both are made from."""
        asked = {"ctranslate2": "int8", "onnx": "int8"}
        for order in (asked, dict(reversed(asked.items()))):
            facts = convert_generator(generator, tmp_path / "".join(order), order, descriptions())
            assert list(facts.models) == list(facts.checks) == list(order)
            assert all(check.passed for checks in facts.checks.values() for check in checks)
            assert len({(model.source_tokens, model.target_tokens) for model in facts.models.values()}) == 1
            shapes = [model.shape for model in facts.models.values()]
            assert len({replace(shape, copies=None, heads=None) for shape in shapes if shape}) == 1
        for name, compute_type in asked.items():
            convert_generator(generator, tmp_path / name, {name: compute_type}, descriptions())
            for order in (asked, dict(reversed(asked.items()))):
                assert hashes(tmp_path / "".join(order) / name) == hashes(tmp_path / name / name)

    def test_what_no_step_knows_is_refused(self, tmp_path: Path, generator: Path) -> None:
        with pytest.raises(RecipeError, match="got backends torch, expected some of onnx, ctranslate2"):
            convert_generator(generator, tmp_path / "no", {"torch": "int8", "onnx": "int8"})
        with pytest.raises(RecipeError, match="got backends none"):
            convert_generator(generator, tmp_path / "no", {})
        with pytest.raises(RecipeError, match="got quantization 'int16', expected one of float32, int8"):
            convert_generator(generator, tmp_path / "no", {"onnx": "int16"})


def hashes(directory: Path) -> dict[str, str]:
    return {file.name: sha256_of(file) for file in directory.iterdir()}
