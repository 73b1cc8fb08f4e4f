"""Tiny random checkpoints and a recipe for tests: the layouts and traps of the real ones, at a hundredth of a percent.

Plain functions, so that every test directory can import them. Nothing is downloaded; everything follows from a seed.
"""

from __future__ import annotations

import functools
import io
import json
import shutil
from pathlib import Path
from typing import Any, Literal

import sentencepiece
import torch
from safetensors.torch import save_file
from transformers import (
    MT5Config,
    MT5ForConditionalGeneration,
    T5Config,
    T5TokenizerFast,
    XLMRobertaConfig,
    XLMRobertaModel,
    XLMRobertaTokenizerFast,
)

Layout = Literal["safetensors", "sharded-safetensors", "bin", "sharded-bin"]
LAYOUTS: tuple[Layout, ...] = ("safetensors", "sharded-safetensors", "bin", "sharded-bin")
Head = Literal["own", "absent", "equal"]

_DISEASES = (
    "neumonía", "hipertensión arterial", "diabetes mellitus", "insuficiencia renal", "fractura de fémur", "cefalea",
    "anemia ferropénica", "artritis reumatoide", "infarto de miocardio", "cistitis aguda", "gastritis crónica", "asma",
    "hepatitis vírica", "meningitis bacteriana", "epilepsia", "glaucoma", "psoriasis", "tromboflebitis",
    "cólico nefrítico", "hernia inguinal", "tomografía computarizada de cráneo", "resonancia magnética",
    "biopsia de hígado", "apendicectomía",
)  # fmt: skip
_QUALIFIERS = (
    "aguda",
    "crónica",
    "no especificada",
    "con complicaciones",
    "sin complicaciones",
    "bilateral",
    "de grado 3",
)
_SENTENCES = (
    "Genera una definición para el término: {0} - en la frase: Paciente de 67 años que ingresa por {0} {1}.",
    "Mujer con antecedentes de {0}, {1}; se pauta tratamiento y seguimiento en consulta.",
    "{0} {1}",
)


def descriptions() -> list[str]:
    """Return the descriptions of the tiny knowledge base, in order."""
    return [f"{disease[0].upper()}{disease[1:]} {qualifier}" for disease in _DISEASES for qualifier in _QUALIFIERS]


@functools.cache
def _sentence_pieces(pieces: int, xlm: bool) -> bytes:
    """Train a unigram model with byte fallback; mT5 has pad 0, eos 1, unk 2, XLM-R sentencepiece's own order."""
    corpus = [s.format(d, q) for d in _DISEASES for q in _QUALIFIERS for s in _SENTENCES] + descriptions()
    model = io.BytesIO()
    ids = (
        {"pad_id": -1, "unk_id": 0, "bos_id": 1, "eos_id": 2}
        if xlm
        else {"pad_id": 0, "eos_id": 1, "unk_id": 2, "bos_id": -1}
    )
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(corpus), model_writer=model, vocab_size=pieces, model_type="unigram",
        byte_fallback=True, character_coverage=1.0, num_threads=1, minloglevel=2, hard_vocab_limit=False, **ids,
    )  # fmt: skip
    return model.getvalue()


def make_generator_checkpoint(
    directory: Path,
    *,
    tied: bool = False,
    head: Head | None = None,
    layout: Layout = "safetensors",
    config_flag: bool | None = None,
    seed: int = 0,
    d_model: int = 48,
    d_kv: int = 16,
    d_ff: int = 64,
    heads: int = 3,
    layers: int = 2,
    decoder_layers: int = 2,
    pieces: int = 480,
    padding: int = 12,
    dtype: torch.dtype = torch.float32,
    fast_tokenizer: bool = True,
    kind: Literal["mt5", "t5"] = "mt5",
    feed_forward: str = "gated-gelu",
    buckets: int = 32,
    farthest: int = 128,
    positions: float = 1.0,
) -> Path:
    """Write a random mT5 whose outputs differ from prompt to prompt, and return its directory.

    Args:
        tied: whether the head is the embeddings (scaled by ``d_model ** -0.5``).
        head: how the head stands in the file; default ``absent`` where tied, else ``own`` (independent).
        layout: of the weight files.
        config_flag: ``tie_word_embeddings`` in the config; default: what is true.
        padding: rows of the embeddings beyond the tokenizer's tokens.
        fast_tokenizer: False leaves only ``spiece.model``.
        kind: of the model, as its config names it.
        feed_forward: as the config names it: gated or plain, and with which activation.
        buckets: of the relative positions.
        farthest: distance that has a bucket of its own.
        positions: gain of the relative positions' biases, which are small.
    """
    directory.mkdir(parents=True, exist_ok=True)
    tokens = _write_t5_tokenizer(directory, pieces, fast_tokenizer)
    config = (MT5Config if kind == "mt5" else T5Config)(
        vocab_size=tokens + padding, d_model=d_model, d_kv=d_kv, d_ff=d_ff, num_heads=heads, num_layers=layers,
        num_decoder_layers=decoder_layers, feed_forward_proj=feed_forward, dropout_rate=0.0, decoder_start_token_id=0,
        pad_token_id=0, eos_token_id=1, tie_word_embeddings=False, relative_attention_num_buckets=buckets,
        relative_attention_max_distance=farthest,
    )  # fmt: skip
    head = head or ("absent" if tied else "own")
    weights = _random_weights(config, head, seed)
    for name in weights:
        if name.endswith("relative_attention_bias.weight"):
            weights[name] = weights[name] * positions
    _write_config(directory, config, tied if config_flag is None else config_flag, dtype)
    write_weights(directory, {name: tensor.to(dtype) for name, tensor in weights.items()}, layout)
    return directory


def _write_t5_tokenizer(directory: Path, pieces: int, fast: bool) -> int:
    (directory / "spiece.model").write_bytes(_sentence_pieces(pieces, False))
    # Built directly, the fast form would leave out the space before the first word unless told.
    tokenizer = T5TokenizerFast(vocab_file=str(directory / "spiece.model"), extra_ids=0, add_prefix_space=True)
    if fast:
        tokenizer.save_pretrained(directory)
    else:
        settings = {
            "tokenizer_class": "T5Tokenizer",
            "extra_ids": 0,
            "eos_token": "</s>",
            "pad_token": "<pad>",
            "unk_token": "<unk>",
        }
        (directory / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")
    return len(tokenizer)


# Gains of the layers' outputs and inputs, and the constant coordinate of the embeddings: found by trial, so that
# outputs differ from prompt to prompt and most end within some tokens. A tied head wants more: its last token echoes.
_OWN_GAINS = (2.0, 1.0, 4.0)
_TIED_GAINS = (4.0, 1.5, 8.0)


def _random_weights(config: Any, head: Head, seed: int) -> dict[str, torch.Tensor]:
    torch.manual_seed(seed)
    model = MT5ForConditionalGeneration(config)
    weights = {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}
    out, into, constant = _OWN_GAINS if head == "own" else _TIED_GAINS
    for name, tensor in weights.items():
        if name.endswith(
            (".q.weight", ".k.weight", ".v.weight", ".o.weight", "wi.weight", "wi_0.weight", "wi_1.weight", "wo.weight")
        ):
            gain = out if name.endswith((".o.weight", "wo.weight")) else into
            weights[name] = torch.randn_like(tensor) * (gain / tensor.shape[1] ** 0.5)
    embeddings, own = torch.randn_like(weights["shared.weight"]), torch.randn_like(weights["shared.weight"]) * 0.25
    # The first coordinate is the same for every token: a constant by which </s> is more often near the top.
    embeddings[:, 0], own[:, 0], own[1, 0] = constant, 0.0, 3.0
    if head != "own":
        embeddings[:, 1:] *= 2.5 if head == "absent" else 0.4
        embeddings[1, 0] = 70.0 if head == "absent" else 10.0
    for name in ("shared.weight", "encoder.embed_tokens.weight", "decoder.embed_tokens.weight"):
        weights[name] = embeddings
    weights["lm_head.weight"] = own if head == "own" else embeddings.clone()
    for name in ("encoder.embed_tokens.weight", "decoder.embed_tokens.weight"):
        del weights[name]
    if head == "absent":
        del weights["lm_head.weight"]
    return weights


def _write_config(directory: Path, config: Any, flag: bool | None, dtype: torch.dtype) -> None:
    settings = config.to_dict()
    settings["dtype"] = str(dtype).removeprefix("torch.")
    if flag is not None:
        settings["tie_word_embeddings"] = flag
    (directory / "config.json").write_text(json.dumps(settings, indent=1), encoding="utf-8")


def write_weights(directory: Path, weights: dict[str, torch.Tensor], layout: Layout) -> None:
    """Write tensors as one of the four layouts of weight files."""
    weights = {name: tensor.contiguous() for name, tensor in weights.items()}
    suffix = "safetensors" if layout.endswith("safetensors") else "bin"
    stem = "model" if suffix == "safetensors" else "pytorch_model"
    names = sorted(weights)
    shards = [names] if not layout.startswith("sharded") else [names[::3], names[1::3], names[2::3]]
    files = [
        f"{stem}-{n:05d}-of-{len(shards):05d}.{suffix}" if len(shards) > 1 else f"{stem}.{suffix}"
        for n in range(1, len(shards) + 1)
    ]
    for file, shard in zip(files, shards, strict=True):
        part = {name: weights[name] for name in shard}
        if suffix == "safetensors":
            save_file(part, directory / file, metadata={"format": "pt"})
        else:
            torch.save(part, directory / file)
    if len(shards) > 1:
        size = sum(tensor.numel() * tensor.element_size() for tensor in weights.values())
        index = {
            "metadata": {"total_size": size},
            "weight_map": {n: f for f, shard in zip(files, shards, strict=True) for n in shard},
        }
        (directory / f"{stem}.{suffix}.index.json").write_text(json.dumps(index), encoding="utf-8")


def make_encoder_checkpoint(
    directory: Path,
    *,
    layout: Layout = "safetensors",
    seed: int = 0,
    dimension: int = 32,
    layers: int = 2,
    pieces: int = 480,
) -> Path:
    """Write a random XLM-R (no pooler) with its fast tokenizer, and return its directory."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "sentencepiece.bpe.model").write_bytes(_sentence_pieces(pieces, True))
    tokenizer = XLMRobertaTokenizerFast(vocab_file=str(directory / "sentencepiece.bpe.model"))
    tokenizer.save_pretrained(directory)
    config = XLMRobertaConfig(
        vocab_size=len(tokenizer), hidden_size=dimension, num_hidden_layers=layers, num_attention_heads=2,
        intermediate_size=2 * dimension, max_position_embeddings=130, type_vocab_size=1, pad_token_id=1,
        architectures=["XLMRobertaModel"],
    )  # fmt: skip
    torch.manual_seed(seed)
    model = XLMRobertaModel(config, add_pooling_layer=False)
    weights = {
        name: tensor.detach().clone() for name, tensor in model.state_dict().items() if tensor.is_floating_point()
    }
    for name, tensor in weights.items():
        if tensor.dim() == 2:
            weights[name] = torch.randn_like(tensor) * (1.5 / tensor.shape[1] ** 0.5)
    _write_config(directory, config, None, torch.float32)
    write_weights(directory, weights, layout)
    return directory


def make_recipe(directory: Path, generator: Path, encoder: Path, *, changes: dict[str, str] | None = None) -> Path:
    """Write a recipe and its two tables for tiny checkpoints, and return the recipe's path.

    Args:
        changes: lines to replace, by key: ``{"quantization": '"float32"'}``; the keys are unique in the recipe.
    """
    directory.mkdir(parents=True, exist_ok=True)
    rows = [(f"{chr(65 + n // 90)}{n % 90:02d}", text) for n, text in enumerate(descriptions())]
    half = len(rows) // 2
    for name, part in (("diagnoses.tsv", rows[:half]), ("procedures.tsv", rows[half:])):
        table = "code\tdescription\n" + "".join(f"{code}\t{text}\n" for code, text in part)
        (directory / name).write_text(table, encoding="utf-8")
    values = {
        "quantization": '"float32"', "vocabulary": '"full"', "decoding": '"probable"', "precision": '"float32"',
        "pooling": '"cls"', "prompts": "24", "max_distance": "0.8", "recall": "0.99", **(changes or {}),
    }  # fmt: skip
    recipe = _RECIPE.format(generator=generator, encoder=encoder, **values)
    (directory / "tiny.toml").write_text(recipe, encoding="utf-8")
    return directory / "tiny.toml"


_RECIPE = """
name = "tiny"
licence = "CC0-1.0"

[generator]
checkpoint = "{generator}"
quantization = {quantization}
vocabulary = {vocabulary}
decoding = {decoding}
max_source_tokens = 128

[encoder]
checkpoint = "{encoder}"
precision = {precision}
pooling = {pooling}
max_tokens = 32

[prompt]
prepare_sentence = true
window = 60

[knowledge_base]
edition = "tiny 2026"

[[knowledge_base.tables]]
path = "diagnoses.tsv"
kind = "diagnosis"

[[knowledge_base.tables]]
path = "procedures.tsv"
kind = "procedure"

[index]
max_distance = {max_distance}
recall = {recall}

[parity]
prompts = {prompts}
"""


def copy_checkpoint(source: Path, target: Path) -> Path:
    """Copy a checkpoint so that a test can damage the copy."""
    shutil.copytree(source, target)
    return target
