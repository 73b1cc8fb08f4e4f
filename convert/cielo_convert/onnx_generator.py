"""The generator for ONNX Runtime: a T5 or mT5 model as two graphs and a file of embeddings.

The encoder takes the tokens of a batch packed, without padding in its products, and gives the keys and values that the
decoder's cross attention reads. The decoder takes any number of new tokens in each row, so that a forced run costs one
pass; it reorders its rows first, and scores only the positions that are asked for. Attention itself works on padded
cells: `cells` says which packed token each cell holds, `places` which cell each packed token is.

What a T5 is follows transformers' `modeling_t5.py`: no biases, RMS norm before each block, attention without a scale,
and relative position biases that all layers share. The runtime adds these, with its masks, as `bias`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from cielo import schema
from cielo.bundle.manifest import GeneratorModel
from cielo.errors import CheckpointError
from cielo.generation.memory import Shape
from cielo.generation.onnx_files import (
    DECODER,
    DECODER_BIAS,
    EMBEDDINGS,
    ENCODER,
    ENCODER_BIAS,
    OUTPUT_IDS,
    SETTINGS,
    OnnxSettings,
)
from numpy.typing import NDArray
from onnx import TensorProto

from cielo_convert.onnx_graph import ComputeType, Graph

# A pass holds the past as it was, in the order of the new rows, and with the new tokens.
_COPIES = 3
_FLOAT, _INT64 = TensorProto.FLOAT, TensorProto.INT64
_ACTIVATIONS: dict[str, str] = {"relu": "Relu", "gelu_new": "FastGelu", "gelu_pytorch_tanh": "FastGelu"}


@dataclass(frozen=True, slots=True)
class _Block:
    """What the writing of blocks needs: the graph, the weights, the shape, and whether rows are many (an encoder's)."""

    graph: Graph
    weights: dict[str, torch.Tensor]
    config: Any
    many_rows: bool

    def weight(self, *names: str) -> NDArray[np.float32]:
        """Return the weights of these names one above the other, float32 [outputs, inputs]."""
        found = [self.weights[f"{name}.weight"].detach().numpy() for name in names]
        return found[0] if len(found) == 1 else np.concatenate(found)

    def product(self, rows: str, *names: str) -> str:
        return self.graph.product(rows, self.weight(*names))

    def norm(self, rows: str, name: str) -> str:
        return self.graph.node(
            "SimplifiedLayerNormalization",
            [rows, self.graph.constant(self.weight(name))],
            axis=-1,
            epsilon=self.config.layer_norm_epsilon,
        )

    def add_and_norm(self, rows: str, change: str, name: str) -> tuple[str, str]:
        """Return the norm of the sum, and the sum."""
        inputs = [rows, change, self.graph.constant(self.weight(name))]
        outputs = [f"{name}.normed", "", "", f"{name}.sum"]
        self.graph.nodes("SkipSimplifiedLayerNormalization", inputs, outputs, epsilon=self.config.layer_norm_epsilon)
        return outputs[0], outputs[3]

    def split(self, rows: str, parts: int) -> list[str]:
        names = [f"{rows}.{part}" for part in range(parts)]
        return self.graph.nodes("Split", [rows], names, axis=-1, num_outputs=parts)

    def products(self, rows: str, *names: str) -> list[str]:
        """Multiply the same rows by weights of one size each.

        Many rows are multiplied several times; for a few, one joint product that is split again is the quicker.
        """
        if self.many_rows:
            return [self.product(rows, name) for name in names]
        return self.split(self.product(rows, *names), len(names))

    def feed_forward(self, rows: str, name: str) -> str:
        operator = _ACTIVATIONS[self.config.dense_act_fn]
        dense = f"{name}.DenseReluDense"
        if not self.config.is_gated_act:
            return self.product(self.graph.node(operator, [self.product(rows, f"{dense}.wi")]), f"{dense}.wo")
        gate, linear = self.products(rows, f"{dense}.wi_0", f"{dense}.wi_1")
        return self.product(self.graph.node("Mul", [self.graph.node(operator, [gate]), linear]), f"{dense}.wo")

    def padded(self, rows: list[str], cells: str) -> list[str]:
        """Return the padded cells of packed tokens."""
        return [self.graph.node("Gather", [row, cells], axis=0) for row in rows]

    def packed(self, cells: str, places: str) -> str:
        """Return the packed tokens of padded cells."""
        width = self.config.num_heads * self.config.d_kv
        flat = self.graph.node("Reshape", [cells, self.graph.integers(-1, width)])
        return self.graph.node("Gather", [flat, places], axis=0)

    def attention(self, inputs: list[str], kept: list[str] | None = None) -> str:
        """Return what attention gives, float32 [rows, length, heads * size]; with its past, the whole keys and values.

        ONNX Runtime scales by the root of a head's size unless told otherwise; T5 does not scale.
        """
        outputs = [self.graph.node_name(), *(kept or [])]
        self.graph.nodes("MultiHeadAttention", inputs, outputs, num_heads=self.config.num_heads, scale=1.0)
        return outputs[0]


def convert_onnx(
    model: Any, directory: Path, compute_type: ComputeType, kept: list[int] | None, *, unknown: int
) -> GeneratorModel:
    """Write the files of the backend ``onnx`` into a directory that is there.

    Args:
        model: of `cielo_convert.checkpoint.load_generator`, in float32; it is not changed.
        directory: of the backend's model.
        compute_type: of the products; the rest is float32 in either.
        kept: ids of the output tokens, sorted; None: all.
        unknown: the tokenizer's id for what it does not know; one of the outputs.

    Raises:
        CheckpointError: where the model is a T5 of a kind that is not known here.
    """
    config = model.config
    if config.dense_act_fn not in _ACTIVATIONS:
        known = ", ".join(_ACTIVATIONS)
        raise CheckpointError(f"got a T5 whose feed-forward is {config.dense_act_fn!r}, expected one of {known}")
    weights = dict(model.state_dict())
    with torch.no_grad():
        with Graph(directory / ENCODER, compute_type) as graph:
            _write_encoder(_Block(graph, weights, config, many_rows=True))
            graph.save()
        with Graph(directory / DECODER, compute_type) as graph:
            _write_decoder(_Block(graph, weights, config, many_rows=False), _head(model, kept))
            graph.save()
        _write_biases(model, directory)
    _write_embeddings(weights, directory, compute_type)
    if kept is not None:
        np.save(directory / OUTPUT_IDS, np.array(kept, dtype=np.int32))
    settings = OnnxSettings(
        compute_type=compute_type,
        start_token=config.decoder_start_token_id,
        end_token=config.eos_token_id,
        unknown_token=unknown,
        heads=config.num_heads,
        head_size=config.d_kv,
        decoder_layers=_decoder_layers(config),
    )
    (directory / SETTINGS).write_bytes(schema.encode(settings))
    outputs = config.vocab_size if kept is None else len(kept)
    width = max(config.d_model, settings.heads * settings.head_size)
    shape = Shape(settings.decoder_layers, width, config.d_ff, outputs, copies=_COPIES, heads=settings.heads)
    return GeneratorModel(compute_type, shape, config.vocab_size, outputs)


def _head(model: Any, kept: list[int] | None) -> NDArray[np.float32]:
    """Return the head's weights, [outputs, width]; those of a tied head, whose inputs T5 scales, scaled themselves."""
    head: NDArray[np.float32] = model.get_output_embeddings().weight.detach().numpy()
    head = head if kept is None else head[kept]
    return head * np.float32(model.config.d_model**-0.5) if model.config.tie_word_embeddings else head


def _write_encoder(block: _Block) -> None:
    graph, config = block.graph, block.config
    rows = graph.input("embedded", _FLOAT, ["tokens", config.d_model])
    graph.input("cells", _INT64, ["batch", "length"])
    graph.input("places", _INT64, ["tokens"])
    graph.input("bias", _FLOAT, ["rows_of_bias", config.num_heads, "length", "length"])
    normed = block.norm(rows, "encoder.block.0.layer.0.layer_norm")
    for layer in range(config.num_layers):
        name = f"encoder.block.{layer}"
        own = f"{name}.layer.0.SelfAttention"
        inputs = block.padded(block.products(normed, f"{own}.q", f"{own}.k", f"{own}.v"), "cells")
        heads = block.packed(block.attention([*inputs, "", "", "bias"]), "places")
        normed, rows = block.add_and_norm(rows, block.product(heads, f"{own}.o"), f"{name}.layer.1.layer_norm")
        following = f"encoder.block.{layer + 1}.layer.0.layer_norm"
        after = following if layer + 1 < config.num_layers else "encoder.final_layer_norm"
        normed, rows = block.add_and_norm(rows, block.feed_forward(normed, f"{name}.layer.1"), after)
    _write_cross(block, normed)


def _write_cross(block: _Block, encoded: str) -> None:
    """Write the keys and values of every layer's cross attention, float32 [batch, heads, length, size]."""
    graph, config = block.graph, block.config
    size = ["batch", config.num_heads, "length", config.d_kv]
    by_head = graph.integers(0, 0, config.num_heads, config.d_kv)
    for layer in range(_decoder_layers(config)):
        cross = f"decoder.block.{layer}.layer.1.EncDecAttention"
        halves = block.padded(block.products(encoded, f"{cross}.k", f"{cross}.v"), "cells")
        for half, name in zip(halves, (f"cross_key_{layer}", f"cross_value_{layer}"), strict=True):
            graph.node("Transpose", [graph.node("Reshape", [half, by_head])], name, perm=[0, 2, 1, 3])
            graph.output(name, _FLOAT, size)


def _write_decoder(block: _Block, head: NDArray[np.float32]) -> None:
    graph, config = block.graph, block.config
    rows = graph.input("embedded", _FLOAT, ["tokens", config.d_model])
    graph.input("continued", _INT64, ["rows"])
    for side, first, length in (("", "rows", "new"), ("cross_", "batch", "queries")):
        graph.input(f"{side}cells", _INT64, [first, length])
        graph.input(f"{side}places", _INT64, ["tokens"])
    graph.input("bias", _FLOAT, ["rows_of_bias", config.num_heads, "new", "all"])
    graph.input("cross_bias", _FLOAT, ["batch", config.num_heads, "queries", "length"])
    graph.input("wanted", _INT64, ["wanted"])
    normed = block.norm(rows, "decoder.block.0.layer.0.layer_norm")
    for layer in range(_decoder_layers(config)):
        name = f"decoder.block.{layer}"
        heads = _self_attention(block, normed, layer)
        own = block.product(heads, f"{name}.layer.0.SelfAttention.o")
        normed, rows = block.add_and_norm(rows, own, f"{name}.layer.1.layer_norm")
        heads = _cross_attention(block, normed, layer)
        cross = block.product(heads, f"{name}.layer.1.EncDecAttention.o")
        normed, rows = block.add_and_norm(rows, cross, f"{name}.layer.2.layer_norm")
        following = f"decoder.block.{layer + 1}.layer.0.layer_norm"
        after = following if layer + 1 < _decoder_layers(config) else "decoder.final_layer_norm"
        normed, rows = block.add_and_norm(rows, block.feed_forward(normed, f"{name}.layer.2"), after)
    logits = graph.product(graph.node("Gather", [normed, "wanted"], axis=0), head)
    graph.node("LogSoftmax", [logits], "log_probs", axis=-1)
    graph.output("log_probs", _FLOAT, ["wanted", len(head)])


def _self_attention(block: _Block, normed: str, layer: int) -> str:
    graph, config = block.graph, block.config
    own = f"decoder.block.{layer}.layer.0.SelfAttention"
    inputs = block.padded(block.products(normed, f"{own}.q", f"{own}.k", f"{own}.v"), "cells")
    kept = []
    for side in ("key", "value"):
        past = graph.input(f"past_{side}_{layer}", _FLOAT, ["past_rows", config.num_heads, "past", config.d_kv])
        kept.append(graph.node("Gather", [past, "continued"], axis=0))
        graph.output(f"{side}_{layer}", _FLOAT, ["rows", config.num_heads, "all", config.d_kv])
    attended = block.attention([*inputs, "", "", "bias", *kept], [f"key_{layer}", f"value_{layer}"])
    return block.packed(attended, "places")


def _cross_attention(block: _Block, normed: str, layer: int) -> str:
    graph, config = block.graph, block.config
    size = ["batch", config.num_heads, "length", config.d_kv]
    asked = block.product(normed, f"decoder.block.{layer}.layer.1.EncDecAttention.q")
    query = block.padded([asked], "cross_cells")[0]
    given = [graph.input(f"cross_{side}_{layer}", _FLOAT, size) for side in ("key", "value")]
    return block.packed(block.attention([query, *given, "", "", "cross_bias"]), "cross_places")


def _write_embeddings(weights: dict[str, torch.Tensor], directory: Path, compute_type: ComputeType) -> None:
    """Write the embeddings, [vocabulary, width], which the runtime reads by row: in int8 as float16, if they fit."""
    table: NDArray[np.float32] = weights["shared.weight"].detach().numpy()
    narrow = compute_type == "int8" and float(np.abs(table).max(initial=0.0)) < float(np.finfo(np.float16).max)
    np.save(directory / EMBEDDINGS, table.astype(np.float16) if narrow else np.ascontiguousarray(table))


def _write_biases(model: Any, directory: Path) -> None:
    """Write the relative position biases of both sides by distance, key less query: float32 [distances, heads].

    All distances from the model's farthest on share one number: the encoder's file goes from there before to there
    after, the decoder's from there before to the position itself.
    """
    for side, name in ((model.encoder, ENCODER_BIAS), (model.decoder, DECODER_BIAS)):
        attention = side.block[0].layer[0].SelfAttention
        farthest = attention.relative_attention_max_distance
        distances = torch.arange(-farthest, farthest + 1 if side is model.encoder else 1)
        buckets = attention._relative_position_bucket(
            distances, not side.is_decoder, attention.relative_attention_num_buckets, farthest
        )
        np.save(directory / name, attention.relative_attention_bias.weight[buckets].detach().numpy())


def _decoder_layers(config: Any) -> int:
    return int(config.num_decoder_layers or config.num_layers)
