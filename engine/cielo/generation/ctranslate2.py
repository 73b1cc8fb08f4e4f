"""Prompts to hypotheses: a small protocol, and the generator in CTranslate2 that follows it."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from cielo.errors import BundleError, DeviceError
from cielo.records import Hypothesis
from cielo.text.tokenizer import Encoded, Tokenizer

Decoding = Literal["published", "probable", "greedy"]
# Those that a bundle may name, with references of PyTorch for each; `greedy` is there to compare with.
DECODINGS: tuple[Decoding, ...] = ("published", "probable")
COMPUTE_TYPES = ("float32", "float16", "bfloat16", "int8", "int8_float32", "int8_float16", "int8_bfloat16", "int16")

# Source tokens, padding included, that one batch may hold: about 12 prompts of the published workload. Twice as many
# were no faster at the true shape, and took a gigabyte more.
DEFAULT_BATCH_TOKENS = 1024
# An output above one half is the most probable one; the rest of a thousandth is for rounding.
CERTAIN_LOG_PROB = math.log(0.5) + 1e-3


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
    "published": Search(length_penalty=1.0),
    # Ranked by the plain log-probability, CTranslate2 goes on until the first beam has finished, so that the best
    # hypothesis is the most probable output that the beams can find; early stopping does not promise that.
    "probable": Search(length_penalty=0.0),
    # The most probable token each time: one hypothesis, and no runners-up.
    "greedy": Search(beams=1, length_penalty=0.0),
}


class Generator(Protocol):
    """What the linker needs of a generator, whatever runs it."""

    def generate(self, prompts: Sequence[Encoded], search: Search) -> list[list[Hypothesis]]:
        """Return the hypotheses of each prompt, best first."""
        ...

    def log_probs(self, prompts: Sequence[Encoded], targets: Sequence[Sequence[int]]) -> list[NDArray[np.float32]]:
        """Return the log-probability of each token of each given target, ``</s>`` included."""
        ...

    def limit_memory(self, working_bytes: int, shape: Shape) -> None:
        """Keep the memory of the batches at work within `working_bytes`."""
        ...

    def close(self) -> None:
        """Release the model."""
        ...


def certain_first(generator: Generator, prompts: Sequence[Encoded], search: Search) -> list[list[Hypothesis]]:
    """Return the most probable output of each prompt alone: greedily where that is certain, else by the beams.

    An output whose probability exceeds one half is the most probable one, since all others share what is left. It is
    also what beams would have found: each of its prefixes has a probability above one half, which no other prefix of
    that length can have, so greedy search takes it token by token and no beam search drops it. That holds for a
    search by plain log-probability (a `length_penalty` of 0), and for no other.

    Raises:
        ValueError: where the search ranks by anything else.
    """
    if search.length_penalty != 0.0:
        raise ValueError(f"got length_penalty {search.length_penalty}; only with 0 is a probable output the best one")
    found = [hypotheses[:1] for hypotheses in generator.generate(prompts, replace(search, beams=1))]
    unsure = [row for row, (best, *_) in enumerate(found) if not is_certain(best)]
    for row, hypotheses in zip(unsure, generator.generate([prompts[row] for row in unsure], search), strict=True):
        found[row] = hypotheses[:1]
    return found


def is_certain(hypothesis: Hypothesis) -> bool:
    """Tell whether no other output can be more probable than this one."""
    return hypothesis.finished and hypothesis.log_prob > CERTAIN_LOG_PROB


def resolve_device(device: str) -> str:
    """Return ``cpu`` or ``cuda`` for ``cpu``, ``cuda`` or ``auto``.

    Raises:
        DeviceError: where the device is unknown or not there.
    """
    if device not in ("cpu", "cuda", "auto"):
        raise DeviceError(f"got device {device!r}; expected one of cpu, cuda, auto")
    found = _ctranslate2().get_cuda_device_count() > 0
    if device == "cuda" and not found:
        raise DeviceError("device cuda was asked for and no CUDA device was found; use device cpu, or auto")
    return "cuda" if found and device != "cpu" else "cpu"


def runnable_compute_types(device: str) -> frozenset[str]:
    """Return the compute types that this machine's `device` runs as they are, without falling back to another."""
    return frozenset(_ctranslate2().get_supported_compute_types(device))


def _ctranslate2() -> Any:
    """Load CTranslate2: as late as this, since OpenMP reads its settings when the library loads (see the plan)."""
    import ctranslate2

    return ctranslate2


@dataclass(frozen=True, slots=True)
class Shape:
    """What the memory of a decoding batch depends on: layers of the decoder, and sizes.

    Attributes:
        decoder_layers: of the decoder.
        width: of the hidden states.
        inner: of the feed-forward layers.
        outputs: tokens of the output vocabulary.
    """

    decoder_layers: int
    width: int
    inner: int
    outputs: int

    def row_bytes(self, source_tokens: int, search: Search) -> int:
        """Return the most memory, in bytes, that one prompt of `source_tokens` can need in a search.

        Keys and values, of the source once and of each beam's output up to the longest allowed; hidden states of the
        encoder's widest layer; and the scores of one step, three times over.
        """
        cached = 2 * self.decoder_layers * self.width * (source_tokens + search.beams * search.max_new_tokens)
        encoder = source_tokens * (4 * self.width + 3 * self.inner)
        return 4 * (cached + encoder + 3 * search.beams * self.outputs)


class CTranslate2Generator:
    """A generator in CTranslate2. Each of its replicas decodes one batch at a time, with one thread by default."""

    def __init__(
        self,
        directory: Path,
        tokenizer: Tokenizer,
        *,
        device: str = "cpu",
        compute_type: str = "float32",
        replicas: int = 1,
        threads_per_replica: int = 1,
        batch_tokens: int = DEFAULT_BATCH_TOKENS,
    ) -> None:
        """Load a CTranslate2 model.

        Args:
            directory: of the converted model.
            tokenizer: of the same model.
            device: ``cpu`` or ``cuda``.
            compute_type: one of `COMPUTE_TYPES`.
            replicas: batches decoded at the same time.
            threads_per_replica: OpenMP threads for each replica. More than one pays only for wide batches.
            batch_tokens: source tokens, padding included, in a batch.

        Raises:
            DeviceError: where this machine does not run `compute_type` on `device`.
            BundleError: where the model cannot be loaded.
        """
        _check_compute_type(device, compute_type)
        self._tokenizer = tokenizer
        self._batch_tokens = batch_tokens
        self._replicas = replicas
        self._shape: Shape | None = None
        self._working_bytes = 0
        try:
            self._translator = _ctranslate2().Translator(
                str(directory),
                device=device,
                compute_type=compute_type,
                inter_threads=replicas,
                intra_threads=threads_per_replica,
            )
        except (RuntimeError, ValueError) as error:
            raise BundleError(f"the generator's model cannot be loaded ({error}); build the bundle anew") from error
        closing = tokenizer.closing_tokens
        self._end_token = closing[-1] if closing else ""

    def limit_memory(self, working_bytes: int, shape: Shape) -> None:
        """Keep the memory of all batches at a time within `working_bytes`, whatever comes in, as `Shape` counts it.

        Where one prompt needs more than that, it is decoded alone.
        """
        self._working_bytes, self._shape = working_bytes, shape

    def generate(self, prompts: Sequence[Encoded], search: Search) -> list[list[Hypothesis]]:
        """Return `search.beams` hypotheses for each prompt, best first.

        The settings are those that equal `generate(num_beams=…, early_stopping=True, length_penalty=…,
        max_new_tokens=…)` of transformers in texts and scores; four of them differ from CTranslate2's defaults.
        """
        settings = {
            "beam_size": search.beams,
            "num_hypotheses": search.beams,
            "patience": 1,
            "length_penalty": search.length_penalty,
            "max_decoding_length": search.max_new_tokens,
            "min_decoding_length": 0,
            "return_end_token": True,
            "return_scores": True,
        }
        sources = [self._tokenizer.tokens(prompt.ids) for prompt in prompts]
        found: list[list[Hypothesis]] = [[] for _ in prompts]
        for row, result in self._in_batches(self._translator.translate_batch, (sources,), settings, search):
            pairs = zip(result.hypotheses, result.scores, strict=True)
            found[row] = [self._hypothesis(tokens, score, search) for tokens, score in pairs]
        return found

    def log_probs(self, prompts: Sequence[Encoded], targets: Sequence[Sequence[int]]) -> list[NDArray[np.float32]]:
        """Return the log-probability of each token of each target (ids without ``</s>``), ``</s>``'s own at the end."""
        sources = [self._tokenizer.tokens(prompt.ids) for prompt in prompts]
        outputs = [self._tokenizer.tokens(target) for target in targets]
        longest = max((len(target) + 1 for target in targets), default=1)
        found: list[NDArray[np.float32]] = [np.zeros(0, dtype=np.float32) for _ in prompts]
        search = Search(beams=1, max_new_tokens=longest)
        for row, result in self._in_batches(self._translator.score_batch, (sources, outputs), {}, search):
            found[row] = np.asarray(result.log_probs, dtype=np.float32)
        return found

    def _in_batches(
        self, run: Any, columns: tuple[list[list[str]], ...], settings: dict[str, Any], search: Search
    ) -> Iterator[tuple[int, Any]]:
        """Give the rows of `columns` to `run`, batch by batch, and yield each row's number and result."""
        waiting: deque[tuple[list[int], list[Any]]] = deque()
        lengths = [len(source) for source in columns[0]]
        together = self._together(max(lengths, default=0), search)
        for batch in make_batches(lengths, self._batch_tokens, together, self._most_rows(search, together)):
            rows = [[column[row] for row in batch] for column in columns]
            # One call, one batch: CTranslate2 does not cut it again.
            started = run(*rows, max_batch_size=0, max_input_length=0, asynchronous=True, **settings)
            waiting.append((batch, started))
            # Two for each replica: one at work, one next. With a limit of memory, only those at work.
            if len(waiting) >= (together if self._shape else 2 * together):
                yield from _results(*waiting.popleft())
        while waiting:
            yield from _results(*waiting.popleft())

    def _together(self, longest: int, search: Search) -> int:
        """How many batches may be at work at a time."""
        if self._shape is None:
            return self._replicas
        return max(1, min(self._replicas, self._working_bytes // self._shape.row_bytes(longest, search)))

    def _most_rows(self, search: Search, together: int) -> Callable[[int], int] | None:
        """Return a function from a batch's longest prompt to the most rows that the memory allows; None: any."""
        shape = self._shape
        if shape is None:
            return None
        return lambda longest: self._working_bytes // together // shape.row_bytes(longest, search)

    def _hypothesis(self, tokens: list[str], score: float, search: Search) -> Hypothesis:
        length = max(1, len(tokens))
        finished = bool(tokens) and tokens[-1] == self._end_token
        log_prob = score * length**search.length_penalty
        return Hypothesis(self._tokenizer.decode(tokens), score, log_prob, length, finished)

    def close(self) -> None:
        """Release the model; the generator cannot be used afterwards."""
        self._translator.unload_model()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _results(batch: list[int], started: list[Any]) -> Iterator[tuple[int, Any]]:
    for row, result in zip(batch, started, strict=True):
        yield row, result.result()


def make_batches(
    lengths: Sequence[int], batch_tokens: int, parts: int = 1, most_rows: Callable[[int], int] | None = None
) -> list[list[int]]:
    """Return the numbers of rows in batches of like length, longest first, and of like size.

    Args:
        lengths: tokens of each row.
        batch_tokens: the most tokens of a batch, padding included; a row longer than that is a batch of its own.
        parts: how many batches are worked at together: there are so many of them, or twice or thrice so many, as far
            as there are rows.
        most_rows: from a batch's longest row to the most rows that it may have, at least 1.
    """
    order = sorted(range(len(lengths)), key=lambda row: -lengths[row])

    def fill(share: float) -> list[list[int]]:
        batches: list[list[int]] = []
        taken = room = 0
        for row in order:
            if not room or taken >= share * len(batches):
                longest = max(1, lengths[row])
                allowed = batch_tokens // longest
                room = max(1, min(allowed, most_rows(longest)) if most_rows else allowed)
                batches.append([])
            batches[-1].append(row)
            taken, room = taken + lengths[row], room - 1
        return batches

    least = len(fill(math.inf))
    wanted = max(1, parts) * -(-least // max(1, parts))
    return fill(sum(lengths) / wanted) if wanted > 1 else fill(math.inf)


def _check_compute_type(device: str, compute_type: str) -> None:
    if compute_type not in COMPUTE_TYPES:
        raise DeviceError(f"got compute type {compute_type!r}; expected one of {', '.join(COMPUTE_TYPES)}")
    runnable = runnable_compute_types(device)
    if compute_type not in runnable:
        raise DeviceError(
            f"compute type {compute_type} does not run on this machine's {device}; "
            f"it runs {', '.join(sorted(runnable))}"
        )
