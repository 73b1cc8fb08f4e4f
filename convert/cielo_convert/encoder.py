"""The encoder: a BERT-like checkpoint to one ONNX graph from ids to unit vectors."""

from __future__ import annotations

import contextlib
import logging
import tempfile
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np
import onnx
from cielo.bundle.layout import ENCODER_MODEL, TOKENIZER
from cielo.bundle.manifest import Pooling, Precision
from cielo.errors import CheckpointError, RecipeError
from cielo.onnx_runtime import disable_telemetry, load_onnxruntime
from onnx import TensorProto, helper, numpy_helper

from cielo_convert.checkpoint import TensorReader, load_encoder, load_tokenizer, save_tokenizer

OUTPUT = "vector"
_HIDDEN = "last_hidden_state"
_INPUTS = ("input_ids", "attention_mask", "token_type_ids")
# A protocol buffer ends at 2 GiB; the graph itself needs a little.
_SINGLE_FILE_BYTES = 1_900_000_000
_LEAST_NORM = 1e-12


@dataclass(frozen=True, slots=True)
class EncoderFacts:
    """What was converted: the vectors' dimension, the recipe's settings, and SHA-256 of each weight file."""

    dimension: int
    precision: Precision
    pooling: Pooling
    max_tokens: int
    weights: dict[str, str]


def convert_encoder(
    checkpoint: Path, output: Path, precision: Precision, pooling: Pooling, max_tokens: int, *, fused: bool = False
) -> EncoderFacts:
    """Write `model.onnx` and `tokenizer.json` into the directory `output`.

    The model takes ``input_ids`` and ``attention_mask`` (and ``token_type_ids`` where it needs them), int64
    [batch, length], and gives ``vector``, float32 [batch, dimension], each row with an L2 norm of 1.

    Args:
        checkpoint: directory of a BERT-like checkpoint.
        output: is made where it does not stand.
        precision: of the weights; int8 is ONNX Runtime's dynamic quantisation.
        pooling: ``cls`` or ``mean``.
        max_tokens: longest text, special tokens included.
        fused: join the operators of attention and normalisation, as `fuse` does.

    Raises:
        CheckpointError: where the checkpoint is damaged or takes fewer tokens than `max_tokens`.
        RecipeError: where the precision is unknown.
    """
    if precision not in get_args(Precision):
        raise RecipeError(f"got precision {precision!r}, expected one of {', '.join(get_args(Precision))}")
    output.mkdir(parents=True, exist_ok=True)
    tokenizer, model = load_tokenizer(checkpoint), load_encoder(checkpoint)
    _check_length(model.config, max_tokens)
    with tempfile.TemporaryDirectory(prefix=".export.", dir=output) as folder:
        exported = export(model, Path(folder))
        if fused:
            exported = fuse(exported, model.config, Path(folder) / "fused")
        graph = in_precision(exported, precision, exported.parent)
    append_pooling(graph, pooling)
    save_graph(graph, output / ENCODER_MODEL)
    save_tokenizer(tokenizer, output / TOKENIZER)
    weights = TensorReader(checkpoint).sha256()
    return EncoderFacts(int(model.config.hidden_size), precision, pooling, max_tokens, weights)


def _check_length(config: Any, max_tokens: int) -> None:
    # RoBERTa counts positions from the padding id + 1.
    offset = config.pad_token_id + 1 if "roberta" in config.model_type else 0
    positions = getattr(config, "max_position_embeddings", None)
    if positions is not None and max_tokens > positions - offset:
        raise CheckpointError(
            f"the encoder takes {positions - offset} tokens, the recipe's max_tokens is {max_tokens}; lower it"
        )


def export(model: Any, folder: Path) -> Path:
    """Export a PyTorch encoder with its hidden states as the output, batch and length being dynamic."""
    disable_telemetry()  # optimum imports ONNX Runtime
    from optimum.exporters.onnx import onnx_export_from_model  # slow to import

    with _silently():
        onnx_export_from_model(model, folder, task="feature-extraction", do_validation=False)
    return folder / "model.onnx"


def fuse(exported: Path, config: Any, folder: Path) -> Path:
    """Return the graph with the operators of attention and normalisation joined by ONNX Runtime's own optimizer.

    Args:
        exported: what `export` gave.
        config: of the checkpoint.
        folder: is made, and gets the graph.
    """
    optimizer = load_onnxruntime("onnxruntime.transformers.optimizer")  # slow to import

    folder.mkdir()
    with _silently():
        optimized = optimizer.optimize_model(
            str(exported),
            model_type="bert",
            num_heads=config.num_attention_heads,
            hidden_size=config.hidden_size,
            opt_level=0,
            use_gpu=False,
        )
        optimized.save_model_to_file(str(folder / "model.onnx"), use_external_data_format=True)
    return folder / "model.onnx"


@contextlib.contextmanager
def _silently() -> Iterator[None]:
    """Keep the exporter's warnings about traced branches to itself; parity shows whether one mattered."""
    disabled = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)


def in_precision(exported: Path, precision: Precision, folder: Path) -> onnx.ModelProto:
    """Return an exported graph in a precision; `folder` holds its weights, and what is made on the way."""
    if precision == "int8":
        quantization = load_onnxruntime("onnxruntime.quantization")
        quantized = folder / "int8.onnx"
        with _silently():
            quantization.quantize_dynamic(
                exported,
                quantized,
                per_channel=True,
                # Seven bits of weight: without VNNI, AVX2 adds pairs of products in 16 bits, and eight would saturate.
                reduce_range=True,
                weight_type=quantization.QuantType.QInt8,
                # Where shapes cannot be inferred (a fused graph's operators), tensors are what all are here.
                extra_options={"DefaultTensorType": TensorProto.FLOAT},
                use_external_data_format=_weight_bytes(folder) > 2 * _SINGLE_FILE_BYTES,
            )
        return onnx.load(quantized)
    model = onnx.load(exported)
    if precision == "float16":
        float16 = load_onnxruntime("onnxruntime.transformers.float16")
        with _silently():
            # Shapes cannot be inferred in memory beyond 2 GB, and the conversion does without.
            model = float16.convert_float_to_float16(model, keep_io_types=True, disable_shape_infer=True)
    return model


def _weight_bytes(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.iterdir())


def append_pooling(model: onnx.ModelProto, pooling: Pooling) -> None:
    """Append pooling and the L2 norm, in float32, to a graph whose output is the hidden states [batch, length, dim].

    They come after quantisation or halving, so that the sum of squares cannot overflow in float16.
    """
    graph = model.graph
    (hidden,) = [entry for entry in graph.output if entry.name == _HIDDEN]
    dimension = hidden.type.tensor_type.shape.dim[2].dim_value
    nodes = _first_token() if pooling == "cls" else _masked_mean()
    graph.node.extend([*nodes, *_unit_norm(_opset(model))])
    graph.initializer.extend(_constants())
    del graph.output[:]
    graph.output.append(helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, ["batch_size", dimension]))
    unknown = [entry.name for entry in graph.input if entry.name not in _INPUTS]
    if unknown:
        raise CheckpointError(
            f"the encoder's graph asks for {', '.join(unknown)}; expected inputs among {', '.join(_INPUTS)}"
        )
    _drop_unused_constants(graph)


def _opset(model: onnx.ModelProto) -> int:
    return max(int(entry.version) for entry in model.opset_import if entry.domain in ("", "ai.onnx"))


def _first_token() -> list[onnx.NodeProto]:
    return [helper.make_node("Gather", [_HIDDEN, "pool_first"], ["pool_vector"], axis=1, name="pool_gather")]


def _masked_mean() -> list[onnx.NodeProto]:
    """Sum of hidden states times mask, divided by the number of tokens (at least one)."""
    return [
        helper.make_node("Cast", ["attention_mask"], ["pool_mask"], to=TensorProto.FLOAT, name="pool_cast"),
        helper.make_node("Unsqueeze", ["pool_mask", "pool_last_axis"], ["pool_mask_3d"], name="pool_unsqueeze"),
        helper.make_node("Mul", [_HIDDEN, "pool_mask_3d"], ["pool_masked"], name="pool_mul"),
        helper.make_node("ReduceSum", ["pool_masked", "pool_axis_1"], ["pool_sum"], keepdims=0, name="pool_reduce"),
        helper.make_node("ReduceSum", ["pool_mask", "pool_axis_1"], ["pool_count_raw"], keepdims=1, name="pool_length"),
        helper.make_node("Max", ["pool_count_raw", "pool_one"], ["pool_count"], name="pool_at_least_one"),
        helper.make_node("Div", ["pool_sum", "pool_count"], ["pool_vector"], name="pool_mean"),
    ]


def _unit_norm(opset: int) -> list[onnx.NodeProto]:
    # Until opset 18 the axes of ReduceL2 are an attribute, from then on an input.
    inputs, axes = (["pool_vector", "pool_axis_1"], {}) if opset >= 18 else (["pool_vector"], {"axes": [1]})
    return [
        helper.make_node("ReduceL2", inputs, ["pool_norm_raw"], keepdims=1, name="pool_norm", **axes),
        helper.make_node("Max", ["pool_norm_raw", "pool_least"], ["pool_norm_safe"], name="pool_clip"),
        helper.make_node("Div", ["pool_vector", "pool_norm_safe"], [OUTPUT], name="pool_unit"),
    ]


def _constants() -> list[TensorProto]:
    values = {
        "pool_first": np.array(0, dtype=np.int64),
        "pool_axis_1": np.array([1], dtype=np.int64),
        "pool_last_axis": np.array([2], dtype=np.int64),
        "pool_one": np.array(1, dtype=np.float32),
        "pool_least": np.array(_LEAST_NORM, dtype=np.float32),
    }
    return [numpy_helper.from_array(value, name) for name, value in values.items()]


def _drop_unused_constants(graph: onnx.GraphProto) -> None:
    used = {name for node in graph.node for name in node.input}
    for tensor in [entry for entry in graph.initializer if entry.name.startswith("pool_") and entry.name not in used]:
        graph.initializer.remove(tensor)


def save_graph(model: onnx.ModelProto, path: Path) -> None:
    """Write a graph; one that a protocol buffer has no room for keeps its weights in a file beside it."""
    size = sum(len(tensor.raw_data) for tensor in model.graph.initializer)
    if size < _SINGLE_FILE_BYTES:
        onnx.save_model(model, path)
    else:
        onnx.save_model(model, path, save_as_external_data=True, location=path.name + ".data", size_threshold=1024)
