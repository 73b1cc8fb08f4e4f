"""The ONNX Runtime backend: the fastest for single answers, and the one that can be held to a knowledge base."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from cielo.errors import BundleError, DeviceError
from cielo.generation.batching import make_batches
from cielo.generation.beams import Output, search_beams
from cielo.generation.capabilities import require_runnable
from cielo.generation.constrained import ConstrainedSearch, Found
from cielo.generation.memory import MemoryLimit, Scoring, Shape
from cielo.generation.onnx_model import OnnxModel
from cielo.generation.onnx_tries import MOST_PLACES, search_tries
from cielo.generation.plan import ThreadPlan, Use, batch_on_all_cores
from cielo.generation.progress import report
from cielo.generation.searches import SEARCHES, BeamSearch
from cielo.generation.trie import Trie
from cielo.machine import keep_no_freed_memory
from cielo.onnx_runtime import PROVIDERS, disable_telemetry, load_onnxruntime
from cielo.records import Decoding, Hypothesis
from cielo.text.tokenizer import Encoded, Tokenizer

COMPUTE_TYPES = ("float32", "int8")
# What a row of a constrained search can hold, as the searches with beams count it.
_PLACES = BeamSearch(beams=1, max_new_tokens=MOST_PLACES)

_Result = TypeVar("_Result")


class OnnxBackend:
    """ONNX Runtime (https://github.com/microsoft/onnxruntime), and what it can do."""

    name = "onnx"
    decodings: tuple[Decoding, ...] = (*SEARCHES, "constrained")
    gives_log_probs = True
    gives_masks = True
    compute_types = COMPUTE_TYPES

    def devices(self) -> tuple[str, ...]:
        """Return ``cpu``, and ``cuda`` where ONNX Runtime has its CUDA provider."""
        return ("cpu", "cuda") if PROVIDERS["cuda"] in load_onnxruntime().get_available_providers() else ("cpu",)

    def runnable_compute_types(self, device: str) -> frozenset[str]:
        """Return both compute types on a processor; on a GPU float32, since its int8 product is the processor's."""
        return frozenset(COMPUTE_TYPES if device == "cpu" else COMPUTE_TYPES[:1])

    def default_plan(self, device: str, threads: int | None = None, *, use: Use = "bulk") -> ThreadPlan:
        """Return one batch at a time on all cores: so one answer has them all, and a batch is wide enough for them."""
        return batch_on_all_cores(device, threads)

    def environment(self, plan: ThreadPlan) -> Mapping[str, str]:
        """Return nothing: threads are told to each session."""
        return {}

    def prepare(self, plan: ThreadPlan, *, sparing: bool = False) -> None:
        """Keep ONNX Runtime's telemetry off; to be `sparing`, keep freed memory from being held for later."""
        disable_telemetry()
        if sparing:
            keep_no_freed_memory()

    def open(
        self, directory: Path, tokenizer: Tokenizer, *, device: str, compute_type: str, plan: ThreadPlan
    ) -> OnnxGenerator:
        """Open a converted model; see `cielo.generation.protocol.Backend`."""
        return OnnxGenerator(directory, tokenizer, device=device, compute_type=compute_type, plan=plan)


class OnnxGenerator:
    """A generator in ONNX Runtime. Thread-safe: whoever calls, as many batches are at work as the plan has replicas."""

    def __init__(
        self,
        directory: Path,
        tokenizer: Tokenizer,
        *,
        device: str = "cpu",
        compute_type: str = "float32",
        plan: ThreadPlan | None = None,
    ) -> None:
        """Load a model.

        Args:
            directory: of the converted model.
            tokenizer: of the same model.
            device: ``cpu`` or ``cuda``.
            compute_type: that it was converted to; no other.
            plan: default: one batch at a time, on one thread.

        Raises:
            DeviceError: where this machine does not run `compute_type` on `device`, or the model is of another one.
            BundleError: where the model cannot be loaded.
        """
        require_runnable(OnnxBackend(), device, compute_type)
        self._plan = plan or ThreadPlan(replicas=1)
        self._tokenizer = tokenizer
        self._limit: MemoryLimit | None = None
        self._places = threading.BoundedSemaphore(self._plan.replicas)
        # Each caller works with its own thread too; what is shared is the rest.
        threads = self._plan.replicas * (self._plan.threads - 1) + 1
        spinning = self._plan.wait_policy == "active"
        self._model: OnnxModel | None = OnnxModel(directory, device=device, threads=threads, spinning=spinning)
        converted = self._model.settings.compute_type
        if converted != compute_type:
            raise DeviceError(
                f"got compute type {compute_type}; the bundle's model for the backend onnx is {converted}, and is not "
                "changed when it is opened: convert the recipe again for another"
            )

    def limit_memory(self, working_bytes: int, shape: Shape) -> None:
        """Keep the memory of all batches at a time within `working_bytes`, whatever comes in; see `MemoryLimit`."""
        self._limit = MemoryLimit(working_bytes, shape)

    def generate(self, prompts: Sequence[Encoded], search: BeamSearch) -> list[list[Hypothesis]]:
        """Return `search.beams` hypotheses for each prompt, best first, as the backend ``ctranslate2`` does."""

        def run(model: OnnxModel, rows: list[int]) -> list[list[Hypothesis]]:
            outputs = search_beams(model, [prompts[row].ids for row in rows], search)
            return [[self._hypothesis(output, search, model) for output in found] for found in outputs]

        return self._in_batches(prompts, search, run)

    def log_probs(self, prompts: Sequence[Encoded], targets: Sequence[Sequence[int]]) -> list[NDArray[np.float32]]:
        """Return the log-probability of each token of each target (ids without ``</s>``), ``</s>``'s own at the end."""

        def run(model: OnnxModel, rows: list[int]) -> list[NDArray[np.float32]]:
            return _scores(model, [prompts[row].ids for row in rows], [targets[row] for row in rows])

        return self._in_batches(prompts, Scoring(max((len(target) + 1 for target in targets), default=1)), run)

    def search_tries(self, prompts: Sequence[Encoded], tries: Sequence[Trie], search: ConstrainedSearch) -> list[Found]:
        """Return the most probable rows of each prompt's trie."""

        def run(model: OnnxModel, rows: list[int]) -> list[Found]:
            return search_tries(model, [prompts[row].ids for row in rows], [tries[row] for row in rows], search)

        return self._in_batches(prompts, _PLACES, run)

    def writes(self, tokens: NDArray[np.int32]) -> NDArray[np.bool_]:
        """Return for each token whether the output vocabulary has it; see `cielo.generation.protocol.Generator`."""
        return np.isin(tokens, self._opened().output_ids)

    def _opened(self) -> OnnxModel:
        if self._model is None:
            raise RuntimeError("the generator was closed; open it again")
        return self._model

    def _in_batches(
        self,
        prompts: Sequence[Encoded],
        work: BeamSearch | Scoring,
        run: Callable[[OnnxModel, list[int]], list[_Result]],
    ) -> list[_Result]:
        """Run batches of like length, as many at a time as the plan has replicas; return the results in order."""
        model = self._opened()
        lengths = [len(prompt.ids) for prompt in prompts]
        limit, together = self._limit, self._plan.replicas
        if limit is not None:
            together = limit.batches_together(max(lengths, default=0), work, together)
        most_rows = None if limit is None else lambda longest: limit.rows(longest, work, together)
        batches = make_batches(lengths, self._plan.batch_tokens, together, most_rows)
        results: dict[int, _Result] = {}
        with _faults_named():
            for batch, found in zip(batches, self._each(batches, together, lambda rows: run(model, rows)), strict=True):
                results.update(zip(batch, found, strict=True))
                report(len(batch) / len(prompts))
        return [results[row] for row in range(len(prompts))]

    def _each(self, batches: list[list[int]], together: int, run: Callable[[list[int]], _Result]) -> Iterator[_Result]:
        """Run batches, so many at a time, and yield what each gives, in order."""

        def run_one(batch: list[int]) -> _Result:
            with self._places:
                return run(batch)

        if min(together, len(batches)) <= 1:
            yield from map(run_one, batches)
            return
        with ThreadPoolExecutor(together) as pool:
            try:
                started = [pool.submit(run_one, batch) for batch in batches]
            except RuntimeError:  # the interpreter ends, and takes no more work for other threads
                yield from map(run_one, batches)
                return
            for one in started:
                yield one.result()

    def _hypothesis(self, output: Output, search: BeamSearch, model: OnnxModel) -> Hypothesis:
        text = self._tokenizer.decode(self._tokenizer.tokens(output.tokens))
        finished = output.tokens[-1:] == [model.settings.end_token]
        return Hypothesis(text, output.score(search), output.log_prob, max(1, len(output.tokens)), finished)

    def close(self) -> None:
        """Release the model; the generator cannot be used afterwards."""
        self._model = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def _scores(model: OnnxModel, prompts: list[list[int]], targets: list[Sequence[int]]) -> list[NDArray[np.float32]]:
    """Return the log-probability of each token of each target and of ``</s>``; of one that is no output, the unknown's.

    CTranslate2 does the same.
    """
    settings = model.settings
    source = model.encode(prompts)
    longest = max(len(target) for target in targets) + 1
    tokens = np.full((len(targets), longest), settings.start_token, dtype=np.int64)
    for row, target in enumerate(targets):
        tokens[row, 1 : len(target) + 1] = target
    log_probs, _ = model.advance(source, model.empty(len(targets)), tokens, np.arange(len(targets)), known=0)
    by_row = log_probs.reshape(len(targets), longest, -1)
    return [
        by_row[row, np.arange(len(target) + 1), model.columns_of([*target, settings.end_token])]
        for row, target in enumerate(targets)
    ]


@contextlib.contextmanager
def _faults_named() -> Iterator[None]:
    """Turn what ONNX Runtime raises while it runs into one error, without the text of its own."""
    try:
        yield
    except Exception as error:
        if not type(error).__module__.startswith("onnxruntime"):
            raise
        kind = type(error).__name__
        if kind == "InvalidArgument":
            raise BundleError(
                "the generator's graphs do not take what they are given; build the bundle again"
            ) from error
        raise DeviceError(
            f"the generator failed while it decoded ({kind}); use smaller batches or `--memory`"
        ) from error
