"""A T5 in ONNX Runtime: the encoder and the decoder as its graphs have them, and what is fed to them.

The files are those of `cielo_convert.onnx_generator`, which says how the graphs work.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from cielo import schema
from cielo.arrays import load_array
from cielo.errors import BundleError, DeviceError, remedy_for
from cielo.files import read_bounded
from cielo.generation.onnx_files import (
    DECODER,
    DECODER_BIAS,
    EMBEDDINGS,
    ENCODER,
    ENCODER_BIAS,
    OUTPUT_IDS,
    SETTINGS,
    OnnxSettings,
)

_MOST_BYTES = 1_000_000  # of the settings
_BRIEF = 20  # microseconds
_MASKED = np.float32(-1e9)
_REMEDY = "build the bundle again"
Floats = NDArray[np.float32]
Integers = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Source:
    """Encoded prompts: the keys and values of the cross attention, and how long each prompt is.

    Attributes:
        cross: keys and values of each layer in turn, values of ONNX Runtime, [prompts, heads, longest, size].
        lengths: int64 [prompts].
    """

    cross: list[Any]
    lengths: Integers


@dataclass(frozen=True, slots=True)
class Cells:
    """Where packed tokens lie among the cells of rows of one length.

    Attributes:
        cells: the packed token of each cell, int64 [rows, length]; 0 where a cell is empty.
        places: the cell of each packed token, counted through all rows, int64 [tokens].
    """

    cells: Integers
    places: Integers

    @classmethod
    def of_lengths(cls, lengths: Integers) -> Cells:
        """Pack rows of these lengths, each from its first cell on."""
        longest = int(lengths.max())
        filled = np.arange(longest) < lengths[:, None]
        cells = np.zeros(filled.shape, dtype=np.int64)
        cells[filled] = np.arange(int(lengths.sum()))
        return cls(cells, np.flatnonzero(filled))


@dataclass(frozen=True, slots=True)
class Step:
    """What the decoder runs in one pass.

    Attributes:
        tokens: ids of the tokenizer, packed, int64 [tokens].
        continued: the row of the past that each row goes on from, int64 [rows].
        own: the cells of each row's new tokens.
        cross: the cells of each prompt's new tokens.
        bias: of positions, with masks, float32 [1 or rows, heads, new, past + new].
        wanted: the packed tokens after which log-probabilities are wanted, int64 [wanted].
    """

    tokens: Integers
    continued: Integers
    own: Cells
    cross: Cells
    bias: Floats
    wanted: Integers


class OnnxModel:
    """The two graphs, opened. Thread-safe."""

    def __init__(self, directory: Path, *, device: str, threads: int, spinning: bool = False) -> None:
        """Load a model.

        Args:
            directory: as the conversion wrote it.
            device: ``cpu`` or ``cuda``.
            threads: of the pool that both graphs share with the threads that call them.
            spinning: let threads of the pool spin as long as a pass has no work for them, not briefly.

        Raises:
            BundleError: where a file is missing or damaged.
            DeviceError: where ONNX Runtime has no such device here.
        """
        self.settings = _read_settings(directory)
        try:
            self._embeddings = load_array(directory / EMBEDDINGS, mapped=True)
            self.output_ids = _read_output_ids(directory / OUTPUT_IDS, len(self._embeddings))
            self._before = _read_bias(directory / DECODER_BIAS, self.settings.heads)
            self._around = _read_bias(directory / ENCODER_BIAS, self.settings.heads)
        except (OSError, ValueError, EOFError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            remedy = remedy_for(error, _REMEDY)
            raise BundleError(f"the generator's model cannot be loaded ({reason}); {remedy}") from error
        self.columns = np.full(len(self._embeddings), -1, dtype=np.int64)
        self.columns[self.output_ids] = np.arange(len(self.output_ids))
        options = _options(threads, spinning=spinning)
        with ThreadPoolExecutor(2) as pool:  # each packs its weights on one thread
            opening = [pool.submit(_session, directory / name, options, device) for name in (ENCODER, DECODER)]
            self._encoder, self._decoder = (session.result() for session in opening)
        layers = range(self.settings.decoder_layers)
        self._cross_names = [f"cross_{side}_{layer}" for layer in layers for side in ("key", "value")]
        self._past_names = [f"past_{side}_{layer}" for layer in layers for side in ("key", "value")]
        self._kept_names = [f"{side}_{layer}" for layer in layers for side in ("key", "value")]

    def columns_of(self, tokens: Sequence[int]) -> Integers:
        """Return the column of each token among the outputs; that of the unknown token for others."""
        columns = self.columns[np.asarray(tokens, dtype=np.int64)]
        unknown = self.columns[self.settings.unknown_token]
        return np.where(columns < 0, unknown, columns)

    def encode(self, prompts: Sequence[Sequence[int]]) -> Source:
        """Encode prompts, as ids with their ``</s>``; one at least, none empty."""
        lengths = np.array([len(prompt) for prompt in prompts], dtype=np.int64)
        cells = Cells.of_lengths(lengths)
        feeds: dict[str, NDArray[Any]] = {
            "embedded": self._embed(np.concatenate([np.asarray(prompt, dtype=np.int64) for prompt in prompts])),
            "cells": cells.cells,
            "places": cells.places,
            "bias": self._encoder_bias(lengths),
        }
        values = self._encoder.run_with_ort_values(self._cross_names, {k: _value(v) for k, v in feeds.items()})
        return Source(values, lengths)

    def _embed(self, tokens: Integers) -> Floats:
        return np.ascontiguousarray(self._embeddings[tokens], dtype=np.float32)

    def _encoder_bias(self, lengths: Integers) -> Floats:
        longest, farthest = int(lengths.max()), len(self._around) // 2
        distances = np.clip(np.arange(1 - longest, longest), -farthest, farthest) + farthest
        # Row by row the same numbers, moved by one: a view of them, [heads, longest, longest].
        bias = sliding_window_view(self._around[distances].T, longest, axis=1)[:, ::-1]
        if int(lengths.min()) == longest:
            return np.ascontiguousarray(bias[None])
        mask = np.where(np.arange(longest) < lengths[:, None], np.float32(0), _MASKED)
        return np.asarray(bias[None] + mask[:, None, None, :], dtype=np.float32)

    def empty(self, rows: int) -> list[Any]:
        """Return a past of no tokens."""
        nothing = np.zeros((rows, self.settings.heads, 0, self.settings.head_size), dtype=np.float32)
        return [_value(nothing) for _ in self._past_names]

    def step(self, source: Source, past: list[Any], step: Step) -> tuple[Floats, list[Any]]:
        """Run the decoder once.

        Returns:
            Log-probabilities, float32 [wanted, outputs], and the past with the new tokens, whose rows are the step's.
        """
        feeds: dict[str, NDArray[Any]] = {
            "embedded": self._embed(step.tokens),
            "continued": step.continued,
            "cells": step.own.cells,
            "places": step.own.places,
            "cross_cells": step.cross.cells,
            "cross_places": step.cross.places,
            "bias": step.bias,
            "cross_bias": self._cross_bias(source.lengths, step.cross.cells.shape[1]),
            "wanted": step.wanted,
        }
        values = {name: _value(array) for name, array in feeds.items()}
        values |= dict(zip(self._cross_names, source.cross, strict=True))
        values |= dict(zip(self._past_names, past, strict=True))
        log_probs, *kept = self._decoder.run_with_ort_values(["log_probs", *self._kept_names], values)
        return log_probs.numpy(), kept

    def advance(
        self, source: Source, past: list[Any], tokens: Integers, continued: Integers, *, known: int
    ) -> tuple[Floats, list[Any]]:
        """Run the decoder on rows of as many new tokens each.

        Args:
            source: of the prompts; each has as many rows, one after the other.
            past: of `known` tokens.
            tokens: ids, int64 [rows, new].
            continued: the row of the past that each row goes on from, int64 [rows].
            known: tokens of the past.

        Returns:
            Log-probabilities after each new token, float32 [rows * new, outputs], and the past with the new tokens.
        """
        rows, new = tokens.shape
        numbers = np.arange(rows * new)
        cross = Cells(numbers.reshape(len(source.lengths), -1), numbers)
        bias = self.causal_bias(known, new)
        step = Step(tokens.ravel(), continued, Cells(numbers.reshape(rows, new), numbers), cross, bias, numbers)
        return self.step(source, past, step)

    def causal_bias(self, known: int, new: int) -> Floats:
        """Return the bias of `new` tokens after `known` ones, float32 [1, heads, new, known + new]."""
        distances = np.arange(known + new) - np.arange(known, known + new)[:, None]
        return self.bias_of(distances[None], distances[None] <= 0)

    def bias_of(self, distances: Integers, seen: NDArray[np.bool_]) -> Floats:
        """Return the decoder's bias by distance, key less query, where it is seen.

        Args:
            distances: int64 [rows, new, all].
            seen: bool, likewise.

        Returns:
            float32 [rows, heads, new, all].
        """
        farthest = len(self._before) - 1
        bias = self._before[np.clip(distances, -farthest, 0) + farthest]
        return np.ascontiguousarray(np.where(seen[..., None], bias, _MASKED).transpose(0, 3, 1, 2))

    def _cross_bias(self, lengths: Integers, queries: int) -> Floats:
        longest = int(lengths.max())
        mask = np.where(np.arange(longest) < lengths[:, None], np.float32(0), _MASKED)
        # One number for all heads would do, but ONNX Runtime 1.20 takes the wrong ones then.
        shape = (len(lengths), self.settings.heads, queries, longest)
        return np.ascontiguousarray(np.broadcast_to(mask[:, None, None, :], shape))

    def close(self) -> None:
        """Release both graphs."""
        self._encoder = self._decoder = None


def select(source: Source, rows: Integers) -> Source:
    """Return some of the encoded prompts, int64 [rows]."""
    longest = int(source.lengths[rows].max())
    return Source([_value(value.numpy()[rows, :, :longest]) for value in source.cross], source.lengths[rows])


@functools.cache
def _value_type() -> Any:
    from cielo.onnx_runtime import load_onnxruntime

    return load_onnxruntime().OrtValue


def _value(array: NDArray[Any]) -> Any:
    return _value_type().ortvalue_from_numpy(np.ascontiguousarray(array))


def _read_settings(directory: Path) -> OnnxSettings:
    file = directory / SETTINGS
    try:
        content = read_bounded(file, _MOST_BYTES)
    except OSError as error:
        remedy = remedy_for(error, _REMEDY)
        raise BundleError(
            f"the generator's model cannot be loaded ({file.name}: {error.strerror}); {remedy}"
        ) from error
    return schema.decode(OnnxSettings, content, file.name, error=BundleError, remedy=_REMEDY, shown=True)


def _read_output_ids(file: Path, embeddings: int) -> Integers:
    if not file.exists():
        return np.arange(embeddings)
    ids: Integers = load_array(file).astype(np.int64)
    if ids.ndim != 1 or not len(ids) or ids[0] < 0 or ids[-1] >= embeddings or (np.diff(ids) <= 0).any():
        raise ValueError(f"{file.name} holds other ids than those of the embeddings")
    return ids


def _read_bias(file: Path, heads: int) -> Floats:
    table: Floats = load_array(file)
    if table.ndim != 2 or table.dtype != np.float32 or table.shape[1] != heads or not np.isfinite(table).all():
        raise ValueError(f"{file.name} is no table of {heads} biases for each distance")
    return table


def _options(threads: int, *, spinning: bool) -> Any:
    from cielo.onnx_runtime import load_onnxruntime

    options = load_onnxruntime().SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    _set_waiting(options, spinning, load_onnxruntime().__version__)
    # Without a scale T5's attention leaves many weights so small that the processor takes a detour for each product.
    options.add_session_config_entry("session.set_denormal_as_zero", "1")
    options.add_session_config_entry("session.use_device_allocator_for_initializers", "1")
    # An arena keeps the memory of the largest batch there was: 0.4 GB more, and no faster.
    options.enable_cpu_mem_arena = False
    options.log_severity_level = 3
    return options


def _set_waiting(options: Any, spinning: bool, version: str) -> None:
    """Set what the pool's threads do while a pass has no work for them; between passes they sleep.

    A few microseconds of spinning bridge the gaps within a pass, and cost little where other processes want the
    processor. The setting was tried in release 1.32; those before may not know it, and there the threads sleep at once.
    """
    brief = not spinning and tuple(int(part) for part in version.split(".")[:2]) >= (1, 32)
    options.add_session_config_entry("session.intra_op.allow_spinning", str(int(spinning or brief)))
    options.add_session_config_entry("session.force_spinning_stop", "1")
    if brief:
        options.add_session_config_entry("session.intra_op.spin_duration_us", str(_BRIEF))


def _session(file: Path, options: Any, device: str) -> Any:
    from cielo.onnx_runtime import PROVIDERS, load_onnxruntime

    onnxruntime = load_onnxruntime()
    if PROVIDERS[device] not in onnxruntime.get_available_providers():
        raise DeviceError(f"ONNX Runtime has no {PROVIDERS[device]} here; install onnxruntime-gpu, or use device cpu")
    try:
        return onnxruntime.InferenceSession(str(file), options, providers=[PROVIDERS[device]])
    except Exception as error:  # ONNX Runtime's own exceptions share no base but Exception
        remedy = remedy_for(error, _REMEDY)
        raise BundleError(
            f"the generator's model cannot be loaded ({file.name}: {type(error).__name__}); {remedy}"
        ) from error
