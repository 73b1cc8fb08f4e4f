"""optimum-intel with OpenVINO: weights in int8, activations by the device's own dynamic quantisation.

It needs an environment of its own: its requirements are not those of the project.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.rivals import Inputs
from benchmarks.rivals.corrected import corrected_checkpoint, fast_tokenizer
from benchmarks.rivals.searching import GenerateRunner


def prepare(inputs: Inputs, directory: Path) -> None:
    """Export with weights in int8."""
    from optimum.intel import OVModelForSeq2SeqLM

    with corrected_checkpoint(Path(inputs.checkpoint)) as checkpoint:
        model = OVModelForSeq2SeqLM.from_pretrained(
            str(checkpoint), export=True, compile=False, load_in_8bit=True, use_cache=True
        )
        model.save_pretrained(directory)


def open_rival(inputs: Inputs, directory: Path, options: dict[str, Any]) -> GenerateRunner:
    """Open and compile the exported model."""
    import openvino
    from optimum.intel import OVModelForSeq2SeqLM

    model = OVModelForSeq2SeqLM.from_pretrained(directory, compile=True, device="CPU", local_files_only=True)
    about = {"openvino": openvino.__version__.partition("-")[0]}
    return GenerateRunner(model, fast_tokenizer(Path(inputs.checkpoint)), inputs.max_source_tokens, about)
