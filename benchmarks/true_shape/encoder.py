"""An XLM-R checkpoint of SapBERT's shape (large or base), with random weights from a seed."""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

import torch

from benchmarks.true_shape.vocabulary import MINI, write_tokenizer

Size = Literal["large", "base"]
PIECES = 250_002
_COMMON: dict[str, Any] = {
    "vocab_size": PIECES, "max_position_embeddings": 514, "type_vocab_size": 1, "hidden_act": "gelu",
    "layer_norm_eps": 1e-05, "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0, "pad_token_id": 1,
    "bos_token_id": 0, "eos_token_id": 2,
}  # fmt: skip
# Hugging Face: FacebookAI/xlm-roberta-large and -base, config.json.
SHAPES: dict[Size, dict[str, int]] = {
    "large": {"hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24, "num_attention_heads": 16},
    "base": {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12},
}
# Queries and keys loud enough for attention to pick tokens; with 0.02 every text's vector is nearly the same.
_ATTENTION_DEVIATION = 2.0
_OTHER_DEVIATION = 0.7


def make_encoder(
    output: Path, size: Size, *, seed: int, words: Iterable[str], config: dict[str, Any] | None = None
) -> None:
    """Write a checkpoint (safetensors, config, tokenizer) into the directory `output`, which is made.

    Args:
        output: of the checkpoint.
        size: ``large`` (1,024 dimensions) or ``base`` (768).
        seed: of the random weights.
        words: pieces of the tokenizer, see `write_tokenizer`.
        config: overrides, for tests.
    """
    from transformers import XLMRobertaConfig, XLMRobertaModel

    output.mkdir(parents=True)
    settings = {**_COMMON, **SHAPES[size], **(config or {})}
    write_tokenizer(MINI / "checkpoint" / "encoder", output, settings["vocab_size"], words)
    with torch.device("meta"):
        model = XLMRobertaModel(XLMRobertaConfig(**settings), add_pooling_layer=False)
    model.to_empty(device="cpu")
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            _fill(name, tensor, generator)
    model.save_pretrained(output, safe_serialization=True)


def _fill(name: str, tensor: torch.Tensor, generator: torch.Generator) -> None:
    if name.endswith("LayerNorm.weight"):
        tensor.fill_(1.0)
    elif name.endswith("bias"):
        tensor.zero_()
    else:
        loud = ".query." in name or ".key." in name
        deviation = (_ATTENTION_DEVIATION if loud else _OTHER_DEVIATION) / math.sqrt(tensor.shape[-1])
        tensor.copy_(torch.randn(tensor.shape, generator=generator) * deviation)
