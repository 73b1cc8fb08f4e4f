"""A checkpoint whose config says about its head what its files hold.

Libraries that load a checkpoint themselves trust `tie_word_embeddings`; where it is wrong they replace the head or
scale its logits, and every beam score is wrong without a word. The rivals are to be compared at their best.
"""

from __future__ import annotations

import contextlib
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any


@contextlib.contextmanager
def corrected_checkpoint(checkpoint: Path) -> Iterator[Path]:
    """Yield a directory of links to the checkpoint's files, with a config of its own."""
    with tempfile.TemporaryDirectory(prefix="cielo-") as folder:
        for file in checkpoint.iterdir():
            if file.is_file() and file.name != "config.json":
                (Path(folder) / file.name).symlink_to(file.resolve())
        config = json.loads((checkpoint / "config.json").read_text(encoding="utf-8"))
        tied = is_tied(checkpoint)
        if tied is not None:
            config["tie_word_embeddings"] = tied
        (Path(folder) / "config.json").write_text(json.dumps(config), encoding="utf-8")
        yield Path(folder)


def is_tied(checkpoint: Path) -> bool | None:
    """Tell whether the head is the embeddings; None where it equals them, and the config alone can tell."""
    import torch

    head = _read(checkpoint, "lm_head.weight")
    if head is None:
        return True
    embeddings = _read(checkpoint, "shared.weight")
    return None if embeddings is not None and torch.equal(head, embeddings) else False


def _read(checkpoint: Path, name: str) -> Any:
    """Return a tensor of a checkpoint, or None where there is none of that name."""
    import torch
    from safetensors import safe_open

    for file in sorted(checkpoint.glob("*.safetensors")):
        with safe_open(file, framework="pt") as tensors:
            if name in tensors.keys():  # noqa: SIM118 (it is no mapping)
                return tensors.get_tensor(name)
    for file in sorted(checkpoint.glob("pytorch_model*.bin")):
        tensors = torch.load(file, map_location="cpu", weights_only=True, mmap=True)
        if name in tensors:
            return tensors[name]
    return None


def fast_tokenizer(directory: Path) -> Any:
    """Return transformers' AutoTokenizer in its fast form."""
    import transformers

    transformers.logging.set_verbosity_error()
    return transformers.AutoTokenizer.from_pretrained(str(directory), use_fast=True, local_files_only=True)
