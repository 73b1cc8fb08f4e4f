"""The encoder's conversion: one graph from ids to unit vectors, equal to PyTorch."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from cielo.errors import CheckpointError, RecipeError
from cielo.retrieval.embedder import Embedder
from cielo.text.tokenizer import Tokenizer
from cielo_convert import reference
from cielo_convert.checkpoint import load_encoder, load_tokenizer
from cielo_convert.encoder import convert_encoder
from cielo_convert.recipe import Pooling, Precision

from tests.checkpoints import descriptions

_TEXTS = [*descriptions()[:40], "", " ", "α", "palabra " * 100]
_LEAST_COSINE = {"float32": 0.999999, "float16": 0.9999, "int8": 0.97}


@pytest.mark.parametrize("pooling", ["cls", "mean"])
@pytest.mark.parametrize("fused", [False, True], ids=["plain", "fused"])
@pytest.mark.parametrize("precision", ["float32", "float16", "int8"])
def test_vectors_equal_pytorch(
    tmp_path: Path, encoder: Path, precision: Precision, pooling: Pooling, fused: bool
) -> None:
    facts = convert_encoder(encoder, tmp_path, precision, pooling, 32, fused=fused)
    assert facts.dimension == 32
    assert sorted(file.name for file in tmp_path.iterdir()) == ["model.onnx", "tokenizer.json"]
    embedder = Embedder(tmp_path / "model.onnx", Tokenizer(tmp_path / "tokenizer.json", 32), threads=1)
    vectors = embedder.embed(_TEXTS)
    expected = _reference_vectors(encoder, pooling)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert np.min(np.sum(vectors * expected, axis=1)) >= _LEAST_COSINE[precision]
    embedder.close()


def _reference_vectors(encoder: Path, pooling: Pooling) -> np.ndarray:
    tokenizer, model = load_tokenizer(encoder), load_encoder(encoder)
    rows = tokenizer(_TEXTS, truncation=True, max_length=32)["input_ids"]
    ids, mask = reference._padded(rows, tokenizer.pad_token_id)
    with torch.inference_mode():
        return reference._pool(model(input_ids=ids, attention_mask=mask).last_hidden_state, mask, pooling)


def test_float32_vectors_do_not_depend_on_their_batch(tmp_path: Path, encoder: Path) -> None:
    convert_encoder(encoder, tmp_path, "float32", "mean", 32)
    tokenizer = Tokenizer(tmp_path / "tokenizer.json", 32)
    alone = Embedder(tmp_path / "model.onnx", tokenizer, threads=1, batch_size=1)
    together = Embedder(tmp_path / "model.onnx", tokenizer, threads=1, batch_size=64)
    np.testing.assert_allclose(alone.embed(_TEXTS), together.embed(_TEXTS), atol=1e-5)


def test_the_graph(tmp_path: Path, encoder: Path) -> None:
    convert_encoder(encoder, tmp_path, "float16", "cls", 32)
    model = onnx.load(tmp_path / "model.onnx")
    onnx.checker.check_model(model)
    assert {entry.name for entry in model.graph.input} == {"input_ids", "attention_mask"}
    (output,) = model.graph.output
    assert output.name == "vector"
    assert output.type.tensor_type.elem_type == onnx.TensorProto.FLOAT
    assert output.type.tensor_type.shape.dim[1].dim_value == 32
    settings = json.loads((tmp_path / "tokenizer.json").read_text(encoding="utf-8"))
    assert settings["truncation"] is None and settings["padding"] is None


def test_what_is_refused(tmp_path: Path, encoder: Path) -> None:
    with pytest.raises(CheckpointError, match="takes 128 tokens"):
        convert_encoder(encoder, tmp_path, "float32", "cls", 129)
    with pytest.raises(RecipeError, match="int4"):
        convert_encoder(encoder, tmp_path, "int4", "cls", 32)  # type: ignore[arg-type]


def test_beyond_the_size_of_one_file_the_weights_lie_beside_it(
    tmp_path: Path, encoder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    convert_encoder(encoder, tmp_path / "one", "float32", "cls", 32)
    monkeypatch.setattr("cielo_convert.encoder._SINGLE_FILE_BYTES", 1000)
    convert_encoder(encoder, tmp_path / "two", "float32", "cls", 32)
    assert (tmp_path / "two" / "model.onnx.data").stat().st_size > (tmp_path / "two" / "model.onnx").stat().st_size
    vectors = [
        Embedder(tmp_path / name / "model.onnx", Tokenizer(tmp_path / name / "tokenizer.json", 32)).embed(_TEXTS)
        for name in ("one", "two")
    ]
    np.testing.assert_array_equal(*vectors)
