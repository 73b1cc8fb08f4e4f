"""Random small networks of several shapes, heads and file layouts: float32 five-best lists equal PyTorch's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from cielo.generation.ctranslate2 import CTranslate2Generator
from cielo.generation.searches import BeamSearch
from cielo.text.tokenizer import Encoded, Tokenizer
from cielo_convert import reference
from cielo_convert.checkpoint import load_generator, load_tokenizer
from cielo_convert.ctranslate2_generator import BACKEND
from cielo_convert.generator import convert_generator
from cielo_convert.prompts import parity_prompts

from tests.checkpoints import make_generator_checkpoint

PROMPTS = 300
# Random networks seldom stop by themselves: the longest output is set short, for the time's sake.
MAX_NEW_TOKENS = 16
SHAPES: dict[str, dict[str, Any]] = {
    "own head, config says tied": {"seed": 1, "layers": 3, "decoder_layers": 1, "d_model": 32, "d_kv": 8, "heads": 4},
    "own head, bin, wider heads": {"seed": 3, "d_model": 40, "d_kv": 16, "layout": "bin"},
    "tied, config says own": {"seed": 0, "tied": True, "config_flag": False, "layout": "sharded-safetensors"},
    "tied, bin": {"seed": 5, "tied": True, "layout": "bin", "d_model": 32, "d_kv": 8, "heads": 4},
}
SHAPES["own head, config says tied"]["config_flag"] = True


@pytest.mark.parametrize("shape", SHAPES)
def test_five_best_equal_pytorch(tmp_path: Path, shape: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reference, "_report", lambda *values: None)
    checkpoint = make_generator_checkpoint(tmp_path / "checkpoint", **SHAPES[shape])
    convert_generator(checkpoint, tmp_path / "out", {BACKEND: "float32"})
    tokenizer, model = load_tokenizer(checkpoint), load_generator(checkpoint)
    ids = tokenizer(parity_prompts(None, PROMPTS, prepare=True, window=60))["input_ids"]
    assert len(ids) >= PROMPTS
    with torch.inference_mode():
        wanted = reference.search(model, tokenizer, ids, "published", max_new_tokens=MAX_NEW_TOKENS)
    with CTranslate2Generator(tmp_path / "out" / BACKEND, Tokenizer(tmp_path / "out" / "tokenizer.json")) as generator:
        got = generator.generate([Encoded(row, False) for row in ids], BeamSearch(max_new_tokens=MAX_NEW_TOKENS))
    assert len({rows[0].hypothesis.text for rows in wanted}) > 10  # outputs differ from prompt to prompt
    for want, found in zip(wanted, got, strict=True):
        scores = np.array([row.hypothesis.score for row in want])
        # A tied head's logits are in the tens here, and float32 has seven digits: hence the relative part.
        np.testing.assert_allclose([hypothesis.score for hypothesis in found], scores, atol=1e-4, rtol=1e-4)
        if np.all(np.abs(np.diff(scores)) > 2e-4):  # in a tie either order is right
            assert [hypothesis.text for hypothesis in found] == [row.hypothesis.text for row in want]
