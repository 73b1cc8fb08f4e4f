"""Prompts to hypotheses: a small protocol, and the generator in CTranslate2 that follows it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Literal, Protocol, Self

import ctranslate2
import numpy as np
from numpy.typing import NDArray

from engine.errors import BundleError, DeviceError
from engine.records import Hypothesis
from engine.stages.tokenizer import Encoded, Tokenizer

Decoding = Literal["reference", "probable"]
DECODINGS: tuple[Decoding, ...] = ("reference", "probable")
COMPUTE_TYPES = ("float32", "float16", "bfloat16", "int8", "int8_float32", "int8_float16", "int8_bfloat16", "int16")

# Source tokens, padding included, that one batch may hold: about 24 prompts of the published workload.
DEFAULT_BATCH_TOKENS = 2048


@dataclass(frozen=True, slots=True)
class Search:
    """A beam search.

    Attributes:
        beams: number of beams, and of hypotheses returned.
        length_penalty: hypotheses are ranked by log-probability / length ** length_penalty.
        max_new_tokens: longest output, ``</s>`` included.
    """

    beams: int = 5
    length_penalty: float = 1.0
    max_new_tokens: int = 128


SEARCHES: dict[Decoding, Search] = {
    # The model card: five beams, early stopping, scores normalised by length.
    "reference": Search(length_penalty=1.0),
    # Ranked by the plain log-probability, CTranslate2 goes on until the first beam has finished, so that the best
    # hypothesis is the most probable output that the beams can find; early stopping does not promise that.
    "probable": Search(length_penalty=0.0),
}


class Generator(Protocol):
    """What the linker needs of a generator, whatever runs it."""

    def generate(self, prompts: Sequence[Encoded], search: Search) -> list[list[Hypothesis]]:
        """Return the hypotheses of each prompt, best first."""
        ...

    def log_probs(self, prompts: Sequence[Encoded], targets: Sequence[Sequence[int]]) -> list[NDArray[np.float32]]:
        """Return the log-probability of each token of each given target, ``</s>`` included."""
        ...

    def close(self) -> None:
        """Release the model."""
        ...


def resolve_device(device: str) -> str:
    """Return ``cpu`` or ``cuda`` for ``cpu``, ``cuda`` or ``auto``.

    Raises:
        DeviceError: where the device is unknown or not there.
    """
    if device not in ("cpu", "cuda", "auto"):
        raise DeviceError(f"got device {device!r}; expected one of cpu, cuda, auto")
    found = ctranslate2.get_cuda_device_count() > 0
    if device == "cuda" and not found:
        raise DeviceError("device cuda was asked for and no CUDA device was found; use device cpu, or auto")
    return "cuda" if found and device != "cpu" else "cpu"


def runnable_compute_types(device: str) -> frozenset[str]:
    """Return the compute types that this machine's `device` runs as they are, without falling back to another."""
    return frozenset(ctranslate2.get_supported_compute_types(device))


class CTranslate2Generator:
    """A generator in CTranslate2. Each of its replicas decodes one batch at a time, with one thread by default."""

    def __init__(
        self,
        directory: Path,
        tokenizer: Tokenizer,
        *,
        device: str = "cpu",
        compute_type: str = "float32",
        replicas: int | None = None,
        threads_per_replica: int = 1,
        batch_tokens: int = DEFAULT_BATCH_TOKENS,
    ) -> None:
        """Load a CTranslate2 model.

        Args:
            directory: of the converted model.
            tokenizer: of the same model.
            device: ``cpu`` or ``cuda``.
            compute_type: one of `COMPUTE_TYPES`.
            replicas: batches decoded at the same time; default: the processors this process may use (1 on a GPU).
            threads_per_replica: OpenMP threads for each replica. More than one pays only for wide batches.
            batch_tokens: source tokens, padding included, in a batch.

        Raises:
            DeviceError: where this machine does not run `compute_type` on `device`.
            BundleError: where the model cannot be loaded.
        """
        _check_compute_type(device, compute_type)
        self._tokenizer = tokenizer
        self._batch_tokens = batch_tokens
        if replicas is None:
            replicas = 1 if device == "cuda" else len(os.sched_getaffinity(0))
        try:
            self._translator = ctranslate2.Translator(
                str(directory),
                device=device,
                compute_type=compute_type,
                inter_threads=replicas,
                intra_threads=threads_per_replica,
            )
        except (RuntimeError, ValueError) as error:
            raise BundleError(f"the generator's model cannot be loaded ({error}); build the bundle anew") from error
        self._replicas = replicas
        closing = tokenizer.closing_tokens
        self._end_token = closing[-1] if closing else ""

    def generate(self, prompts: Sequence[Encoded], search: Search) -> list[list[Hypothesis]]:
        """Return `search.beams` hypotheses for each prompt, best first.

        The settings are those that equal `generate(num_beams=…, early_stopping=True, length_penalty=…,
        max_new_tokens=…)` of transformers in texts and scores; four of them differ from CTranslate2's defaults.
        """
        if not prompts:
            return []
        results = self._translator.translate_batch(
            [self._tokenizer.tokens(prompt.ids) for prompt in prompts],
            max_batch_size=self._batch_size(prompts),
            batch_type="tokens",
            beam_size=search.beams,
            num_hypotheses=search.beams,
            patience=1,
            length_penalty=search.length_penalty,
            max_decoding_length=search.max_new_tokens,
            min_decoding_length=0,
            max_input_length=0,
            return_end_token=True,
            return_scores=True,
        )
        return [
            [
                self._hypothesis(tokens, score, search)
                for tokens, score in zip(result.hypotheses, result.scores, strict=True)
            ]
            for result in results
        ]

    def _batch_size(self, prompts: Sequence[Encoded]) -> int:
        """The token budget of a batch, cut so that every replica has work; never below the longest prompt."""
        longest = max(len(prompt.ids) for prompt in prompts)
        share = -(-sum(len(prompt.ids) for prompt in prompts) // self._replicas) + longest
        return max(longest, min(self._batch_tokens, share))

    def _hypothesis(self, tokens: list[str], score: float, search: Search) -> Hypothesis:
        length = max(1, len(tokens))
        finished = bool(tokens) and tokens[-1] == self._end_token
        log_prob = score * length**search.length_penalty
        return Hypothesis(self._tokenizer.decode(tokens), score, log_prob, length, finished)

    def log_probs(self, prompts: Sequence[Encoded], targets: Sequence[Sequence[int]]) -> list[NDArray[np.float32]]:
        """Return the log-probability of each token of each target (ids without ``</s>``), ``</s>``'s own at the end."""
        if not prompts:
            return []
        scored = self._translator.score_batch(
            [self._tokenizer.tokens(prompt.ids) for prompt in prompts],
            [self._tokenizer.tokens(target) for target in targets],
            max_batch_size=self._batch_size(prompts),
            batch_type="tokens",
            max_input_length=0,
        )
        return [np.asarray(result.log_probs, dtype=np.float32) for result in scored]

    def close(self) -> None:
        """Release the model; the generator cannot be used afterwards."""
        self._translator.unload_model()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _check_compute_type(device: str, compute_type: str) -> None:
    if compute_type not in COMPUTE_TYPES:
        raise DeviceError(f"got compute type {compute_type!r}; expected one of {', '.join(COMPUTE_TYPES)}")
    runnable = runnable_compute_types(device)
    if compute_type not in runnable:
        raise DeviceError(
            f"compute type {compute_type} does not run on this machine's {device}; "
            f"it runs {', '.join(sorted(runnable))}"
        )
