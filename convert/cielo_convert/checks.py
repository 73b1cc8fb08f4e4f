"""Checks of a conversion against the checkpoint's own files: what the parity gate cannot see, or would see too late.

Each looks at what the converter is about to write and at what the checkpoint holds, by another way than the
conversion took: tensors straight from the weight files, tokens from the reference tokenizer.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from cielo.bundle.manifest import Check
from cielo.errors import CheckpointError
from cielo.generation import onnx_files

from cielo_convert.checkpoint import EMBEDDINGS, HEAD, TensorReader, has_own_head, read_config

# Half-precision numbers have 11 bits, those below the smallest normal one fewer.
_HALF_PRECISION, _SUBNORMAL = 2.0**-11, 2.0**-14


def head_check(spec: Any, checkpoint: Path, output_ids: Sequence[int] | None = None) -> Check:
    """Compare the output projection with the tensor in the checkpoint's file.

    Args:
        spec: CTranslate2's specification of the model, before quantisation.
        checkpoint: its directory.
        output_ids: the rows that were kept; None: all.
    """
    reader = TensorReader(checkpoint)
    name = HEAD if HEAD in reader.names else next(entry for entry in EMBEDDINGS if entry in reader.names)
    expected = reader.read(name).float()
    if output_ids is not None:
        expected = expected[list(output_ids)]
    got = _tensor(spec.decoder.projection.weight)
    figure = float((got - expected).abs().max()) if got.shape == expected.shape else float("inf")
    return Check(
        "generator.head", figure, 0.0, "<=", f"largest difference of the output projection from the file's {name}"
    )


def _width(checkpoint: Path) -> float:
    width = read_config(checkpoint).d_model
    if width is None:
        raise CheckpointError(f"{checkpoint / 'config.json'} names no d_model; name a whole T5 checkpoint")
    return float(width)


def output_scale_check(spec: Any, checkpoint: Path) -> Check:
    """Compare the factor on the logits with the one that the weight files ask for (see `has_own_head`)."""
    tied = not has_own_head(checkpoint)
    expected = _width(checkpoint) ** -0.5 if tied else 1.0
    scale = spec.decoder.scale_outputs
    got = 1.0 if isinstance(scale, str) else float(_tensor(scale))
    kind = "the embeddings" if tied else "its own"
    detail = f"difference of the factor on the logits from {expected:.6g}, the head being {kind}"
    return Check("generator.output_scale", abs(got - expected), 1e-7, "<=", detail)


def vocabulary_check(
    source: Sequence[str], target: Sequence[str], tokenizer: Any, size: int, output_ids: Sequence[int] | None = None
) -> Check:
    """Count the ids whose registered token is not the reference tokenizer's.

    Args:
        source: the registered source vocabulary; its place in the list is a token's id.
        target: the registered target vocabulary.
        tokenizer: the reference tokenizer of the checkpoint.
        size: rows of the model's embeddings; ids beyond the tokenizer's need a name that no token has.
        output_ids: the ids that the target vocabulary was cut down to, in order; None: all.
    """
    target_ids = list(range(size)) if output_ids is None else list(output_ids)
    wrong = _wrong_tokens(source, list(range(size)), tokenizer) + _wrong_tokens(target, target_ids, tokenizer)
    detail = (
        f"ids of {size} source and {len(target_ids)} target tokens that have another token in the reference tokenizer"
    )
    return Check("generator.vocabulary", float(wrong), 0.0, "<=", detail)


def embeddings_check(directory: Path, checkpoint: Path) -> Check:
    """Compare the embeddings of the backend ``onnx`` with the tensor in the checkpoint's file.

    Args:
        directory: of the backend's model.
        checkpoint: its directory.
    """
    reader = TensorReader(checkpoint)
    name = next(entry for entry in EMBEDDINGS if entry in reader.names)
    expected, got = reader.read(name).float(), _table(directory / onnx_files.EMBEDDINGS)
    figure = float("inf")
    if got.shape == expected.shape:
        figure = float(((got - expected).abs() / expected.abs().clamp(min=_SUBNORMAL)).max())
    detail = f"largest difference of an embedding from the file's {name}, relative to it"
    return Check("generator.embeddings", figure, _HALF_PRECISION, "<=", detail)


def outputs_check(directory: Path, tokenizer: Any, output_ids: Sequence[int] | None = None) -> Check:
    """Count the output ids of the backend ``onnx`` that are not those that were to be kept.

    Args:
        directory: of the backend's model.
        tokenizer: the reference tokenizer of the checkpoint.
        output_ids: the ids that were to be kept, in order; None: all.
    """
    rows, file = len(_table(directory / onnx_files.EMBEDDINGS)), directory / onnx_files.OUTPUT_IDS
    got = np.load(file).tolist() if file.is_file() else list(range(rows))
    expected = list(range(rows)) if output_ids is None else list(output_ids)
    wrong = abs(len(got) - len(expected)) + sum(one != other for one, other in zip(got, expected, strict=False))
    wrong += max(0, len(tokenizer) - rows)
    detail = f"of {len(expected)} output ids that are others, and ids of the tokenizer without an embedding"
    return Check("generator.vocabulary", float(wrong), 0.0, "<=", detail)


def _table(file: Path) -> torch.Tensor:
    return torch.from_numpy(np.load(file)).float()


def _wrong_tokens(registered: Sequence[str], ids: Sequence[int], tokenizer: Any) -> int:
    known = len(tokenizer)
    expected = tokenizer.convert_ids_to_tokens([token for token in ids if token < known])
    wrong = abs(len(registered) - len(ids)) + len(registered) - len(set(registered))
    tokens = set(tokenizer.get_vocab())
    for place, (got, token) in enumerate(zip(registered, ids, strict=False)):
        name = expected[place] if token < known else None
        wrong += got != name if name is not None else got in tokens
    return wrong


def _tensor(value: Any) -> torch.Tensor:
    """Return a value of a specification as a float32 tensor, in whatever form the specification holds it."""
    if isinstance(value, torch.Tensor):
        return value.detach().float()
    array = value.numpy() if hasattr(value, "numpy") else value
    return torch.from_numpy(np.asarray(array, dtype=np.float32))
