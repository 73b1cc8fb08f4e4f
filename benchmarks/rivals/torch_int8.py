"""PyTorch with dynamic int8: every linear layer, the head among them; the embeddings stay float32."""

from __future__ import annotations

import ctypes
import gc
from pathlib import Path
from typing import Any

from benchmarks.rivals import Inputs
from benchmarks.rivals.searching import GenerateRunner


def open_rival(inputs: Inputs, directory: Path, options: dict[str, Any]) -> GenerateRunner:
    """Load the checkpoint and quantise it in memory, as its documentation says; `engine` names the kernels."""
    import torch
    from cielo_convert.checkpoint import load_generator, load_tokenizer
    from torch.ao.quantization import quantize_dynamic

    torch.set_num_threads(inputs.cores)
    torch.backends.quantized.engine = options["engine"]
    checkpoint = Path(inputs.checkpoint)
    # In place: a copy of the float32 model would be there at the same time. The gated layer asks for `wo.weight`,
    # which a quantised layer has as a method; transformers from 4.5x on looks before it compares its type.
    model = quantize_dynamic(load_generator(checkpoint), {torch.nn.Linear}, dtype=torch.qint8, inplace=True)
    # What stays float32 is part of mapped files, which would stay in memory whole.
    for parameter in model.parameters():
        parameter.data = parameter.data.clone()
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    about = {"threads": torch.get_num_threads(), "engine": torch.backends.quantized.engine}
    return GenerateRunner(model, load_tokenizer(checkpoint), inputs.max_source_tokens, about)
