"""Texts to vectors: the SapBERT encoder in ONNX Runtime, pooling and L2 norm inside its graph."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cielo.errors import BundleError, DeviceError, remedy_for
from cielo.onnx_runtime import PROVIDERS, load_onnxruntime
from cielo.text.tokenizer import Encoded, Tokenizer

# Of a layer at work: its input, queries, keys, values and attention, and the fourfold inner layer twice.
_FLOATS_PER_TOKEN = 16
_LONGEST = 512


class Embedder:
    """Embeds texts as unit vectors. Thread-safe."""

    def __init__(
        self,
        model: Path,
        tokenizer: Tokenizer,
        *,
        device: str = "cpu",
        threads: int | None = None,
        batch_size: int = 64,
    ) -> None:
        """Load the ONNX model.

        Args:
            model: with inputs ``input_ids`` and ``attention_mask``, int64 [batch, length], and one output
                ``vector``, float32 [batch, dimension].
            tokenizer: of the same model, with its longest length.
            device: ``cpu``, or ``cuda`` where ONNX Runtime's CUDA provider is installed; elsewhere the encoder stays
                on the processor, since it is a small part of the work.
            threads: of ONNX Runtime's pool; default: the processors.
            batch_size: texts in one run.

        Raises:
            BundleError: where the model cannot be loaded.
        """
        onnxruntime = load_onnxruntime()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads or 0
        options.inter_op_num_threads = 1
        # A waiting pool would take processor time from the generator's threads.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = 3
        self.tokenizer = tokenizer
        self._batch_size = batch_size
        self._session: Any
        try:
            self._session = onnxruntime.InferenceSession(
                str(model), options, providers=_providers(device, onnxruntime.get_available_providers())
            )
        except Exception as error:  # ONNX Runtime's own exceptions share no base but Exception
            raise BundleError(
                f"the encoder's model cannot be loaded ({type(error).__name__}); "
                f"{remedy_for(error, 'build the bundle again')}"
            ) from error
        self._inputs = {entry.name for entry in self._session.get_inputs()}
        self.dimension = int(self._session.get_outputs()[0].shape[-1])

    def limit_memory(self, working_bytes: int) -> None:
        """Make batches so small that one run stays within `working_bytes`, as its hidden states are counted."""
        row = 4 * _FLOATS_PER_TOKEN * self.dimension * (self.tokenizer.max_tokens or _LONGEST)
        self._batch_size = max(1, min(self._batch_size, working_bytes // row))

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return the unit vector of each text, float32 [len(texts), dimension]."""
        encoded = self.tokenizer.encode(texts)
        vectors = np.zeros((len(texts), self.dimension), dtype=np.float32)
        order = sorted(range(len(texts)), key=lambda row: len(encoded[row].ids))
        for start in range(0, len(order), self._batch_size):
            rows = order[start : start + self._batch_size]
            vectors[rows] = self._run([encoded[row] for row in rows])
        return vectors

    def _run(self, batch: list[Encoded]) -> NDArray[np.float32]:
        length = max(1, max(len(entry.ids) for entry in batch))
        ids = np.full((len(batch), length), self.tokenizer.padding_id, dtype=np.int64)
        mask = np.zeros_like(ids)
        for row, entry in enumerate(batch):
            ids[row, : len(entry.ids)] = entry.ids
            mask[row, : len(entry.ids)] = 1
        feeds = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
        (vectors,) = self._session.run(["vector"], {name: feeds[name] for name in self._inputs})
        return np.asarray(vectors, dtype=np.float32)

    def close(self) -> None:
        """Release the session; the embedder cannot be used afterwards."""
        self._session = None


def _providers(device: str, available: Sequence[str]) -> list[str]:
    if device not in PROVIDERS:
        raise DeviceError(f"got device {device!r}; expected one of {', '.join(PROVIDERS)}")
    wanted = [PROVIDERS[device], PROVIDERS["cpu"]]
    return [name for name in dict.fromkeys(wanted) if name in available]
