"""Weights as bytes: no sum of two products overflows 16 bits, whatever the rows are that they are multiplied by."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from cielo_convert.checkpoint import load_generator, load_tokenizer
from cielo_convert.ctranslate2_generator import make_spec, quantize
from cielo_convert.levels import LEVELS, MOST, byte_levels, neighbours
from cielo_convert.onnx_graph import Graph
from ctranslate2.specs.model_spec import visit_spec
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray
from onnx import TensorProto

from tests.checkpoints import make_generator_checkpoint

# vpmaddubsw adds two products of a byte without a sign and one with a sign in so many.
_LARGEST_BYTE, _LARGEST_SUM = 255, 2**15 - 1


def gaussian(rows: int, columns: int, seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).standard_normal((rows, columns)).astype(np.float32)


def hardest(columns: int) -> NDArray[np.float32]:
    """Return rows in which two neighbours are both the largest, of one sign, of two, and alone."""
    rows = np.zeros((5, columns), dtype=np.float32)
    rows[0] = 1.0
    rows[1] = -1.0
    rows[2, 0::2], rows[2, 1::2] = 1.0, -1.0
    rows[3, 0::2] = 1.0
    return rows


def test_the_largest_row_of_the_largest_byte_fits() -> None:
    assert _LARGEST_BYTE * MOST <= _LARGEST_SUM < _LARGEST_BYTE * (MOST + 1)


_FLOATS = st.floats(-(2.0**100), 2.0**100, width=32)


@given(arrays.arrays(np.float32, st.tuples(st.integers(1, 6), st.integers(1, 9)), elements=_FLOATS))
def test_no_two_neighbours_exceed_what_fits(weights: NDArray[np.float32]) -> None:
    levels, units = byte_levels(weights)
    assert levels.dtype == np.int8 and units.dtype == np.float32
    assert np.all(np.isfinite(units)) and np.all(units > 0)
    wide = levels.astype(np.int64)
    assert np.abs(wide).max() <= LEVELS
    assert neighbours(wide).max() <= MOST


@pytest.mark.parametrize("weights", [gaussian(64, 256), gaussian(3, 7), hardest(8), gaussian(5000, 3)])
def test_levels_are_the_weights_but_for_rounding(weights: NDArray[np.float32]) -> None:
    levels, units = byte_levels(weights)
    assert np.all(np.abs(levels * units[:, None] - weights) <= units[:, None] * 0.5001)
    # Every row uses what there is: a level less, and its largest pair would have been 127 at most.
    assert np.all(neighbours(levels.astype(np.int64))[weights.any(axis=1)].max(axis=1) >= LEVELS - 1)


def test_less_than_a_bit_is_lost() -> None:
    weights = gaussian(512, 1024)
    lost = byte_levels(weights)[1] / (np.abs(weights).max(axis=1) / LEVELS)
    assert np.all(lost >= 1) and np.median(lost) < 1.6  # 2 would be a bit


def test_a_row_of_zeros_stays_one() -> None:
    levels, units = byte_levels(np.zeros((2, 4), dtype=np.float32))
    assert not levels.any() and np.all(np.isfinite(1 / units))


@pytest.mark.parametrize("rows", [1, 3, 40])
@pytest.mark.parametrize("columns", [8, 31, 256])
def test_products_are_exact_here(tmp_path: Path, rows: int, columns: int) -> None:
    """ONNX Runtime's sums against whole numbers, for the rows that overflow first."""
    weights = np.concatenate([gaussian(16, columns), hardest(columns)])
    given_rows = np.concatenate([np.ones((1, columns)), gaussian(rows, columns, 1)])[:rows].astype(np.float32)
    with Graph(tmp_path / "one.onnx", "int8") as graph:
        product = graph.product(graph.input("rows", TensorProto.FLOAT, ["rows", columns]), weights)
        graph.node("Identity", [product], "product")
        graph.output("product", TensorProto.FLOAT, ["rows", len(weights)])
        graph.save()
    (got,) = onnxruntime.InferenceSession(tmp_path / "one.onnx", providers=["CPUExecutionProvider"]).run(
        None, {"rows": given_rows}
    )
    levels, units = byte_levels(weights)
    largest = np.abs(given_rows).max(axis=1, keepdims=True)
    bytes_of_rows = np.rint(given_rows / largest / np.float32(1 / LEVELS)).astype(np.int64)
    exact = (bytes_of_rows @ levels.astype(np.int64).T) * units / LEVELS * largest
    # A sum that was cut off would be wrong by whole levels of the weights and of the rows.
    least = float(np.min(units)) / LEVELS * float(largest.min())
    assert np.all(np.abs(got - exact) <= 0.5 * least + 1e-5 * np.abs(exact))


def test_the_files_of_onnx_hold_such_levels(tmp_path: Path) -> None:
    weights = gaussian(48, 65)
    with Graph(tmp_path / "one.onnx", "int8") as graph:
        graph.output(graph.product(graph.input("rows", TensorProto.FLOAT, ["rows", 65]), weights), 1, ["rows", 48])
        graph.save()
    (levels,) = [
        onnx.numpy_helper.to_array(one)
        for one in onnx.load(tmp_path / "one.onnx").graph.initializer
        if one.data_type == TensorProto.INT8
    ]
    assert LEVELS <= neighbours(levels.T.astype(np.int64)).max() <= MOST


@pytest.mark.parametrize("compute_type", ["int8", "int8_float32", "int8_float16", "int8_bfloat16"])
def test_a_specification_of_ctranslate2_holds_such_levels(tmp_path: Path, compute_type: str) -> None:
    checkpoint = make_generator_checkpoint(tmp_path / "checkpoint", layers=1, decoder_layers=1)
    model, tokenizer = load_generator(checkpoint), load_tokenizer(checkpoint)
    wanted = model.get_output_embeddings().weight.detach().numpy().copy()
    spec = make_spec(model, tokenizer, None)
    spec.validate()
    quantize(spec, compute_type)
    narrow: dict[str, NDArray[np.int64]] = {}
    others: set[str] = set()

    def look(layer: Any, name: str, value: Any) -> None:
        if hasattr(layer, f"{name.rpartition('/')[2]}_scale") and not isinstance(value, str):
            assert value.dtype == "int8"
            narrow[name] = value.numpy().astype(np.int64)
        elif not isinstance(value, str) and not value.is_scalar() and not name.endswith("_scale"):
            others.add(value.dtype)

    visit_spec(spec, look)
    assert len(narrow) > 8
    assert all(neighbours(levels).max() <= MOST for levels in narrow.values())
    floats = others & {"float32", "float16", "bfloat16"}
    assert floats == {compute_type.partition("_")[2] or "float32"}
    # CTranslate2's scales divide.
    scale = spec.decoder.projection.weight_scale.numpy()
    got = spec.decoder.projection.weight.numpy() / scale[:, None]
    assert np.all(np.abs(got - wanted) <= 0.5001 / scale[:, None])
