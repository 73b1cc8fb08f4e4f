"""The files of the backend ``onnx``: their names, and the record of what the graphs do not say themselves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from msgspec import Meta

ENCODER = "encoder.onnx"
DECODER = "decoder.onnx"
EMBEDDINGS = "embeddings.npy"
OUTPUT_IDS = "output_ids.npy"
ENCODER_BIAS = "encoder_bias.npy"
DECODER_BIAS = "decoder_bias.npy"
SETTINGS = "settings.json"

_Count = Annotated[int, Meta(ge=1, le=1_000_000)]
_Token = Annotated[int, Meta(ge=0)]


@dataclass(frozen=True, slots=True, kw_only=True)
class OnnxSettings:
    """What the runtime must know of a T5.

    Attributes:
        compute_type: ``float32`` or ``int8``: of the products.
        start_token: the decoder's first token.
        end_token: ``</s>``.
        unknown_token: ``<unk>``, which is always among the outputs.
        heads: of attention.
        head_size: of each of them.
        decoder_layers: how many.
    """

    format: Literal[1] = 1
    compute_type: Literal["float32", "int8"]
    start_token: _Token
    end_token: _Token
    unknown_token: _Token
    heads: _Count
    head_size: _Count
    decoder_layers: _Count
