"""Checkpoints: read tensor by tensor, and loaded into PyTorch with the right head.

A fine-tuned mT5 has an output head of its own. Libraries that trust `tie_word_embeddings` in its config replace the
head by the embeddings, or scale its logits; both leave greedy outputs plausible and every beam score wrong. What
decides here is what stands in the weight files (`has_own_head`).
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import torch
import transformers
from cielo.errors import CheckpointError
from cielo.files import sha256_of
from safetensors import safe_open

from cielo_convert import weights

EMBEDDINGS = ("shared.weight", "encoder.embed_tokens.weight", "decoder.embed_tokens.weight")
HEAD = "lm_head.weight"
_GENERATORS = ("t5", "mt5")


class TensorReader:
    """Reads single tensors straight from a checkpoint's weight files, without transformers."""

    def __init__(self, directory: Path) -> None:
        """Find out which file holds which tensor.

        Raises:
            CheckpointError: where the weight files are missing or damaged.
        """
        self._directory = directory
        self._files = _weight_map(directory)

    @property
    def names(self) -> frozenset[str]:
        """The names of all tensors."""
        return frozenset(self._files)

    @property
    def weight_files(self) -> list[Path]:
        """The weight files, sorted."""
        return [self._directory / name for name in sorted(set(self._files.values()))]

    def read(self, name: str) -> torch.Tensor:
        """Return a tensor as it is stored.

        Raises:
            CheckpointError: where there is no such tensor, or its file is damaged.
        """
        if name not in self._files:
            raise CheckpointError(
                f"{self._directory} holds no tensor {name}; it is not a whole checkpoint of this model"
            )
        path = self._directory / self._files[name]
        with _reporting(path):
            if path.suffix == ".safetensors":
                with safe_open(path, framework="pt") as tensors:
                    tensor: torch.Tensor = tensors.get_tensor(name)
                    return tensor
            return _load_bin(path)[name]
        raise AssertionError  # not reached: _reporting raises

    def sha256(self) -> dict[str, str]:
        """Return the SHA-256 of each weight file, by its name."""
        return {path.name: sha256_of(path) for path in self.weight_files}


@contextlib.contextmanager
def _reporting(path: Path) -> Iterator[None]:
    try:
        yield
    except CheckpointError:
        raise
    except Exception as error:
        # torch and safetensors raise many kinds here, pickle's among them.
        kind = type(error).__name__
        raise CheckpointError(
            f"the weight file {path} is damaged or cut short ({kind}); copy or download it again"
        ) from error


def _weight_map(directory: Path) -> dict[str, str]:
    for single, index in zip(weights.SINGLE, weights.INDEXES, strict=True):
        if (directory / single).is_file():
            return dict.fromkeys(_names_in(directory / single), single)
        if (directory / index).is_file():
            return weights.read_index(directory, index)
    expected = ", ".join((*weights.SINGLE, *weights.INDEXES))
    raise CheckpointError(f"{directory} holds no weights; expected one of {expected}")


def _names_in(path: Path) -> list[str]:
    with _reporting(path):
        if path.suffix == ".safetensors":
            with safe_open(path, framework="pt") as tensors:
                return list(tensors.keys())
        return list(_load_bin(path))
    raise AssertionError  # not reached: _reporting raises


def _load_bin(path: Path) -> dict[str, torch.Tensor]:
    try:
        return dict(torch.load(path, map_location="cpu", weights_only=True, mmap=True))
    except RuntimeError:  # files of PyTorch before 1.6 cannot be mapped
        return dict(torch.load(path, map_location="cpu", weights_only=True))


def has_own_head(directory: Path) -> bool:
    """Tell whether a generator's output head is independent of its embeddings.

    Without ``lm_head.weight`` it is not. Where the tensor is there and differs from the embeddings it is, whatever
    the config says. Where it is there and equal, the config's `tie_word_embeddings` decides (a tied model's logits
    are scaled by ``d_model ** -0.5``).

    Raises:
        CheckpointError: where the weights or the config cannot be read.
    """
    reader = TensorReader(directory)
    if HEAD not in reader.names:
        return False
    embeddings = next((name for name in EMBEDDINGS if name in reader.names), None)
    if embeddings is None:
        raise CheckpointError(
            f"{directory} holds none of the tensors {', '.join(EMBEDDINGS)}; expected a T5 or mT5 checkpoint"
        )
    if not torch.equal(reader.read(HEAD), reader.read(embeddings)):
        return True
    return not read_config(directory).tie_word_embeddings


@dataclass(frozen=True, slots=True)
class CheckpointConfig:
    """What the conversion reads in a checkpoint's `config.json`; the defaults are those of transformers.

    Attributes:
        model_type: ``mt5``, ``t5``, ``xlm-roberta`` and the like; None where it is not named.
        d_model: width of a T5's hidden states; None where it is not named.
        tie_word_embeddings: whether the head is said to be the embeddings. It can be wrong: see `has_own_head`.
    """

    model_type: str | None = None
    d_model: int | None = None
    tie_word_embeddings: bool = True


def read_config(directory: Path) -> CheckpointConfig:
    """Return what a checkpoint's `config.json` says.

    Raises:
        CheckpointError: where it is missing or not JSON.
    """
    try:
        config = json.loads((directory / "config.json").read_text(encoding="utf-8"))
    except OSError as error:
        raise CheckpointError(
            f"{directory} holds no readable config.json ({error.strerror}); name a whole checkpoint"
        ) from error
    except ValueError as error:
        raise CheckpointError(f"{directory / 'config.json'} is not JSON; copy or download it again") from error
    try:
        return msgspec.convert(config, CheckpointConfig)
    except msgspec.ValidationError as error:
        raise CheckpointError(f"{directory / 'config.json'} is no checkpoint's ({error}); download it again") from error


def load_generator(directory: Path) -> Any:
    """Return the generator as a PyTorch model in float32, ready for inference, with the head that the files hold.

    Raises:
        CheckpointError: where it is no T5 or mT5, or the files lack tensors or hold others than the model's.
    """
    kind = read_config(directory).model_type
    if kind not in _GENERATORS:
        raise CheckpointError(f"{directory}: got a model of type {kind!r}, expected one of {', '.join(_GENERATORS)}")
    tied = not has_own_head(directory)
    model = _load(transformers.AutoModelForSeq2SeqLM, directory, lambda name: False, tie_word_embeddings=tied)
    # Versions of transformers differ in what they make of the flag; the converter and `forward` read it here.
    model.config.tie_word_embeddings = tied
    return model


def load_encoder(directory: Path) -> Any:
    """Return the encoder as a PyTorch model in float32, ready for inference; its pooler, if it has one, is not used.

    Raises:
        CheckpointError: where the files lack tensors.
    """
    return _load(transformers.AutoModel, directory, lambda name: True, unused=re.compile(r"(^|\.)pooler\."))


def _load(loader: Any, directory: Path, surplus: Any, unused: re.Pattern[str] | None = None, **settings: Any) -> Any:
    """Load a model; refuse missing tensors, and those that it does not have unless `surplus` allows them."""
    quieten()
    for path in TensorReader(directory).weight_files:
        _names_in(path)  # a damaged file is named here, before transformers reads it
    with _reporting(directory):
        model, report = loader.from_pretrained(
            str(directory), dtype=torch.float32, output_loading_info=True, local_files_only=True, **settings
        )
    missing = [name for name in report["missing_keys"] if unused is None or not unused.search(name)]
    unexpected = [name for name in report["unexpected_keys"] if not surplus(name)]
    if missing or unexpected:
        raise CheckpointError(
            f"{directory} is not a checkpoint of this model: missing tensors {sorted(missing)[:5]}, "
            f"unexpected tensors {sorted(unexpected)[:5]}; name a whole checkpoint"
        )
    return model.eval().requires_grad_(False)


def load_tokenizer(directory: Path) -> Any:
    """Return the reference tokenizer: transformers' AutoTokenizer in its fast form.

    Raises:
        CheckpointError: where there is none.
    """
    quieten()
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(str(directory), use_fast=True, local_files_only=True)
    except Exception as error:  # the Rust library raises bare Exception
        raise CheckpointError(
            f"{directory} holds no tokenizer that can be read ({type(error).__name__}); add tokenizer.json"
        ) from error
    if not tokenizer.is_fast:
        raise CheckpointError(f"{directory}: its tokenizer has no fast form; add a tokenizer.json")
    return tokenizer


def save_tokenizer(tokenizer: Any, path: Path) -> None:
    """Write a tokenizer into the file `path`, without state of truncation or padding."""
    # A copy, by way of the file: the tokenizer at hand stays as it is.
    tokenizer.backend_tokenizer.save(str(path))
    settings = json.loads(path.read_text(encoding="utf-8"))
    settings["truncation"] = settings["padding"] = None
    path.write_text(json.dumps(settings, ensure_ascii=False), encoding="utf-8")


def quieten() -> None:
    """Keep transformers from writing warnings and progress bars to the shell."""
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
