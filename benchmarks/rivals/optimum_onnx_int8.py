"""optimum with ONNX Runtime: exported with past keys and values, dynamic int8 as fits the processor."""

from __future__ import annotations

import gc
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.rivals import Inputs
from benchmarks.rivals.corrected import corrected_checkpoint, fast_tokenizer
from benchmarks.rivals.searching import GenerateRunner

_LARGEST_FILE = 2_000_000_000  # bytes; ONNX keeps the weights of larger models in a file beside it


def prepare(inputs: Inputs, directory: Path) -> None:
    """Export to float32, then quantise each of the three graphs.

    The export is the one that `ORTModelForSeq2SeqLM.from_pretrained(…, export=True)` makes, which would hold all
    graphs in memory afterwards; and it leaves the two decoders apart, as that does.
    """
    from optimum.exporters.onnx import main_export

    with (
        corrected_checkpoint(Path(inputs.checkpoint)) as checkpoint,
        tempfile.TemporaryDirectory(dir=directory) as folder,
    ):
        exported = Path(folder)
        main_export(
            str(checkpoint),
            exported,
            task="text2text-generation-with-past",
            no_post_process=True,
            do_validation=False,
            local_files_only=True,
        )
        for graph in sorted(exported.glob("*.onnx")):
            gc.collect()
            _quantise(graph, directory / graph.name)
        for settings in exported.glob("*.json"):
            (directory / settings.name).write_bytes(settings.read_bytes())


def _quantise(graph: Path, output: Path) -> None:
    """Quantise as optimum's ORTQuantizer would, which holds three copies of the graph while it does."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    flags = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    # Without VNNI the kernels add pairs of products in 16 bits, which overflow unless the weights have only 7.
    narrow = "avx512_vnni" not in flags and "avx_vnni" not in flags
    size = sum(file.stat().st_size for file in graph.parent.glob(f"{graph.name}*"))
    quantize_dynamic(
        graph,
        output,
        per_channel=True,
        reduce_range=narrow,
        weight_type=QuantType.QInt8,
        use_external_data_format=size > 4 * _LARGEST_FILE,  # int8 is a quarter of it
    )


def open_rival(inputs: Inputs, directory: Path, options: dict[str, Any]) -> GenerateRunner:
    """Open the quantised graphs."""
    import onnxruntime
    from optimum.onnxruntime import ORTModelForSeq2SeqLM

    session = onnxruntime.SessionOptions()
    session.intra_op_num_threads = inputs.cores  # its default too, but for a process that may not use all processors
    if not options.get("spinning", True):
        session.add_session_config_entry("session.intra_op.allow_spinning", "0")
    model = ORTModelForSeq2SeqLM.from_pretrained(
        directory, use_cache=True, use_merged=False, session_options=session, local_files_only=True
    )
    about = {"onnxruntime": onnxruntime.__version__}
    return GenerateRunner(model, fast_tokenizer(Path(inputs.checkpoint)), inputs.max_source_tokens, about)
