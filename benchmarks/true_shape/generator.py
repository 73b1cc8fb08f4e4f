"""An mT5 checkpoint of the published shape, with the mini inside: see the package's docstring.

The residual stream has 1,024 dimensions. The first 192 are the mini's, the next holds a constant, by which the head
rules out the tokens that the mini does not have, and the rest is random. Random layers read all and write to the rest
alone, a hundredth as strong as the mini; the last norm makes the rest loud enough to move each logit a little. What
the mini reads is what it always read, up to that hundredth in the norm's mean square.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from benchmarks.true_shape.vocabulary import MINI, write_tokenizer

PIECES = 250_100
# Hugging Face: google/mt5-large's config.json.
CONFIG: dict[str, Any] = {
    "architectures": ["MT5ForConditionalGeneration"], "model_type": "mt5", "vocab_size": 250_112, "d_model": 1024,
    "d_kv": 64, "d_ff": 2816, "num_layers": 24, "num_decoder_layers": 24, "num_heads": 16,
    "relative_attention_num_buckets": 32, "relative_attention_max_distance": 128, "dropout_rate": 0.0,
    "layer_norm_epsilon": 1e-06, "feed_forward_proj": "gated-gelu", "is_encoder_decoder": True, "use_cache": True,
    "tokenizer_class": "T5Tokenizer", "tie_word_embeddings": False, "pad_token_id": 0, "eos_token_id": 1,
    "decoder_start_token_id": 0,
}  # fmt: skip
_LAYER = re.compile(r"(encoder|decoder)\.block\.(\d+)\.layer\.(\d+)\.(.+)\.weight")
_SHARD_BYTES = 1_000_000_000
_LOUDNESS = 0.01  # of the random dimensions, relative to the mini's
_READ = 0.1  # their size as the random layers read them
_HEARD = 0.3  # their size after the last norm
_WHISPER = 0.006  # of the head's weights on them: it moves a logit by about 0.05
_CONSTANT = 0.05  # relative to the mini's stream
_CONSTANT_HEARD = 3.0  # its size after the last norm
_RULED_OUT = -10.0  # the head's weight on it for tokens that the mini lacks


def make_generator(output: Path, *, seed: int, words: Iterable[str], config: dict[str, Any] | None = None) -> None:
    """Write a checkpoint (sharded safetensors, config, tokenizer) into the directory `output`, which is made.

    Args:
        output: of the checkpoint.
        seed: of every random tensor.
        words: pieces of the tokenizer, see `write_tokenizer`.
        config: overrides of `CONFIG`: a smaller shape, for tests.
    """
    output.mkdir(parents=True)
    settings = {**CONFIG, **(config or {})}
    pieces = min(PIECES, settings["vocab_size"])
    own = write_tokenizer(MINI / "checkpoint" / "generator", output, pieces, words)
    shape = _Shape(settings, own, seed)
    names = list(_names(settings))
    _save_sharded(output, ((name, shape.tensor(name)) for name in names))
    (output / "config.json").write_text(json.dumps(settings, indent=1), encoding="utf-8")


def _names(config: dict[str, Any]) -> Iterator[str]:
    yield "shared.weight"
    for stack, blocks in (("encoder", config["num_layers"]), ("decoder", config["num_decoder_layers"])):
        attentions = ["SelfAttention"] if stack == "encoder" else ["SelfAttention", "EncDecAttention"]
        for block in range(blocks):
            yield from _block(f"{stack}.block.{block}", attentions, first=block == 0)
        yield f"{stack}.final_layer_norm.weight"
    yield "lm_head.weight"


def _block(name: str, attentions: list[str], *, first: bool) -> Iterator[str]:
    for number, attention in enumerate(attentions):
        yield from (f"{name}.layer.{number}.{attention}.{part}.weight" for part in "qkvo")
        if first and number == 0:
            yield f"{name}.layer.0.SelfAttention.relative_attention_bias.weight"
        yield f"{name}.layer.{number}.layer_norm.weight"
    last = len(attentions)
    yield from (f"{name}.layer.{last}.DenseReluDense.{part}.weight" for part in ("wi_0", "wi_1", "wo"))
    yield f"{name}.layer.{last}.layer_norm.weight"


class _Shape:
    """Gives each tensor of the large network, by its name."""

    def __init__(self, config: dict[str, Any], own: int, seed: int) -> None:
        self._config = config
        self._own = own
        self._seed = seed
        self._mini = load_file(MINI / "checkpoint" / "generator" / "model.safetensors")
        self._small = json.loads((MINI / "checkpoint" / "generator" / "config.json").read_text(encoding="utf-8"))
        self._dims = self._small["d_model"]
        self._width = config["d_model"]
        # The mini's norm divides by the root of a mean over 192 squares, the large one's of one over 1,024.
        self._gain = math.sqrt(self._dims / self._width)
        self._depth = {
            "encoder": _spread(self._small["num_layers"], config["num_layers"]),
            "decoder": _spread(self._small["num_decoder_layers"], config["num_decoder_layers"]),
        }
        self._stream = _stream_sizes(self._small)

    def tensor(self, name: str) -> torch.Tensor:
        if name == "shared.weight":
            return self._embeddings()
        if name == "lm_head.weight":
            return self._head()
        if name.endswith("final_layer_norm.weight"):
            return self._final_norm(name)
        match = _LAYER.fullmatch(name)
        assert match, name
        stack, block, layer, part = match.groups()
        place = self._depth[stack].get(int(block))
        small = None if place is None else self._mini.get(f"{stack}.block.{place}.layer.{layer}.{part}.weight")
        if part == "layer_norm":
            return self._norm(small)
        if part.endswith("relative_attention_bias"):
            return self._with_corner(self._random(name, (32, self._config["num_heads"]), 0.5), small)
        if part.endswith((".o", ".wo")):
            return self._writing(name, stack, part, small)
        return self._reading(name, part, small)

    def _random(self, name: str, shape: tuple[int, ...], deviation: float) -> torch.Tensor:
        digest = hashlib.sha256(f"{self._seed} {name}".encode()).digest()
        generator = torch.Generator().manual_seed(int.from_bytes(digest[:4], "big"))
        return torch.randn(shape, generator=generator) * deviation

    def _with_corner(self, tensor: torch.Tensor, corner: torch.Tensor | None) -> torch.Tensor:
        if corner is not None:
            tensor[: corner.shape[0], : corner.shape[1]] = corner
        return tensor

    def _reading(self, name: str, part: str, small: torch.Tensor | None) -> torch.Tensor:
        """Queries, keys, values, and the two inputs of the gate: the mini's rows read its own dimensions alone."""
        rows = self._config["d_ff" if "wi_" in part else "num_heads"] * (1 if "wi_" in part else self._config["d_kv"])
        # The mini's dimensions, a fifth of all, hold the whole mean square of 1.
        deviation = (0.64 if part.endswith((".q", ".k")) else 1.0) / math.sqrt(self._width)
        tensor = self._random(name, (rows, self._width), deviation)
        if small is not None:
            tensor[: small.shape[0]] = 0.0
        return self._with_corner(tensor, small)

    def _writing(self, name: str, stack: str, part: str, small: torch.Tensor | None) -> torch.Tensor:
        """Outputs of attention and feed-forward: random ones never write into the mini's dimensions."""
        inner = self._config["d_ff"] if part.endswith("wo") else self._config["num_heads"] * self._config["d_kv"]
        writes = 3 * self._config["num_decoder_layers"] if stack == "decoder" else 2 * self._config["num_layers"]
        wanted = _LOUDNESS * self._stream[stack] / math.sqrt(writes)
        deviation = wanted / (0.4 * math.sqrt(inner))
        tensor = self._random(name, (self._width, inner), deviation)
        tensor[: self._dims + 1] = 0.0
        return self._with_corner(tensor, small)

    def _norm(self, small: torch.Tensor | None) -> torch.Tensor:
        weight = torch.ones(self._width)
        weight[self._dims + 1 :] = _READ * self._gain / _LOUDNESS
        if small is not None:
            weight[: self._dims] = small * self._gain
        return weight

    def _final_norm(self, name: str) -> torch.Tensor:
        mini = self._mini[name]
        weight = torch.full((self._width,), _HEARD * self._gain / _LOUDNESS * float(mini.abs().mean()))
        weight[: self._dims] = mini * self._gain
        weight[self._dims] = _CONSTANT_HEARD * self._gain / _CONSTANT if name.startswith("decoder") else 0.0
        return weight

    def _embeddings(self) -> torch.Tensor:
        mini = self._mini["shared.weight"][: self._own]
        tensor = self._random("shared.weight", (self._config["vocab_size"], self._width), float(mini.std()))
        tensor[: self._own] = 0.0
        tensor[: self._own, : self._dims] = mini
        tensor[:, self._dims] = _CONSTANT * min(self._stream.values())
        return tensor

    def _head(self) -> torch.Tensor:
        tensor = self._random("lm_head.weight", (self._config["vocab_size"], self._width), _WHISPER)
        tensor[:, self._dims] = _RULED_OUT
        tensor[: self._own, : self._dims + 1] = 0.0
        return self._with_corner(tensor, self._mini["lm_head.weight"][: self._own])


def _spread(few: int, many: int) -> dict[int, int]:
    """Return which of the mini's layers stands at which depth: the first, the last, and evenly between."""
    return {round(place * (many - 1) / max(1, few - 1)): place for place in range(few)}


def _stream_sizes(config: dict[str, Any]) -> dict[str, float]:
    """Return the root mean square of the mini's residual stream before the last norm of each stack."""
    from cielo_convert.checkpoint import load_generator, load_tokenizer

    directory = MINI / "checkpoint" / "generator"
    model, tokenizer = load_generator(directory), load_tokenizer(directory)
    found: dict[str, float] = {}
    for name in ("encoder", "decoder"):
        norm = getattr(model, name).final_layer_norm

        def note(module: Any, inputs: tuple[torch.Tensor], stack: str = name) -> None:
            found[stack] = float(inputs[0].square().mean().sqrt())

        norm.register_forward_pre_hook(note)
    text = "Genera una definición para el término: TC abdominal - en la frase: La TC abdominal es normal. "
    ids = tokenizer(text, return_tensors="pt").input_ids
    start = torch.tensor([[config["decoder_start_token_id"]]])
    with torch.inference_mode():
        model(input_ids=ids, decoder_input_ids=start)
    return found


def _save_sharded(output: Path, tensors: Iterable[tuple[str, torch.Tensor]]) -> None:
    """Write tensors in files of about a gigabyte and their index, as transformers does; never all in memory."""
    shards: list[dict[str, torch.Tensor]] = [{}]
    places: dict[str, int] = {}
    total = size = 0
    for name, tensor in tensors:
        bytes_ = tensor.numel() * tensor.element_size()
        if size and size + bytes_ > _SHARD_BYTES:
            save_file(shards[-1], output / f"shard-{len(shards):05d}.partial")
            shards[-1] = {}
            shards.append({})
            size = 0
        shards[-1][name] = tensor.contiguous()
        places[name] = len(shards)
        size, total = size + bytes_, total + bytes_
    save_file(shards[-1], output / f"shard-{len(shards):05d}.partial")
    names = {number: f"model-{number:05d}-of-{len(shards):05d}.safetensors" for number in places.values()}
    for number, file in names.items():
        (output / f"shard-{number:05d}.partial").rename(output / file)
    index = {"metadata": {"total_size": total}, "weight_map": {name: names[number] for name, number in places.items()}}
    (output / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")
