"""PyTorch in float32: what the checkpoint itself gives, and what the others are compared with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.rivals import Inputs
from benchmarks.rivals.searching import GenerateRunner


def open_rival(inputs: Inputs, directory: Path, options: dict[str, Any]) -> GenerateRunner:
    """Load the checkpoint as the conversion does, with the head that its files hold."""
    import torch
    from cielo_convert.checkpoint import load_generator, load_tokenizer

    torch.set_num_threads(inputs.cores)
    checkpoint = Path(inputs.checkpoint)
    about = {"threads": torch.get_num_threads()}
    return GenerateRunner(load_generator(checkpoint), load_tokenizer(checkpoint), inputs.max_source_tokens, about)
