"""The CTranslate2 backend. Its settings are those that equal PyTorch's `generate` in texts and scores."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import warnings
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from cielo.errors import BundleError, DeviceError, OptionError, remedy_for
from cielo.files import read_bounded
from cielo.generation.batching import make_batches
from cielo.generation.capabilities import require_runnable
from cielo.generation.constrained import ConstrainedSearch, Found
from cielo.generation.memory import MemoryLimit, Scoring, Shape
from cielo.generation.plan import ThreadPlan, Use, batch_on_each_core
from cielo.generation.progress import report
from cielo.generation.searches import SEARCHES, BeamSearch
from cielo.generation.trie import Trie
from cielo.records import Decoding, Hypothesis
from cielo.text.tokenizer import Encoded, Tokenizer

_MOST_BYTES = 100_000_000  # of a vocabulary; that of the published model has 5 million
COMPUTE_TYPES = ("float32", "float16", "bfloat16", "int8", "int8_float32", "int8_float16", "int8_bfloat16", "int16")


def _ctranslate2() -> Any:
    """Load CTranslate2: as late as this, since OpenMP reads its settings when the library loads."""
    import ctranslate2

    return ctranslate2


class CTranslate2Backend:
    """CTranslate2 (https://github.com/OpenNMT/CTranslate2), and what it can do."""

    name = "ctranslate2"
    decodings: tuple[Decoding, ...] = tuple(SEARCHES)
    gives_log_probs = True
    gives_masks = False  # no access to single steps, and no constrained beams
    compute_types = COMPUTE_TYPES

    def devices(self) -> tuple[str, ...]:
        """Return ``cpu``, and ``cuda`` where CTranslate2 finds a GPU."""
        return ("cpu", "cuda") if _ctranslate2().get_cuda_device_count() > 0 else ("cpu",)

    def runnable_compute_types(self, device: str) -> frozenset[str]:
        """Return the compute types that this machine's `device` runs as they are, with no fall-back to another."""
        return frozenset(_ctranslate2().get_supported_compute_types(device))

    def default_plan(self, device: str, threads: int | None = None, *, use: Use = "bulk") -> ThreadPlan:
        """Return one thread for each batch: two were slower, for batches of eight and for one prompt alone."""
        return batch_on_each_core(device, threads)

    def environment(self, plan: ThreadPlan) -> Mapping[str, str]:
        """Return OpenMP's wait policy: what its threads do between parallel regions."""
        return {"OMP_WAIT_POLICY": plan.wait_policy.upper()}

    def prepare(self, plan: ThreadPlan, *, sparing: bool = False) -> None:
        """Set OpenMP's wait policy for this process, unless the environment names one or the library is loaded already.

        OpenMP reads it once, when CTranslate2 loads; with one thread for each replica it makes no difference. To be
        `sparing`, MKL is kept from holding on to the buffers of each thread, which took as much again as the batches.
        """
        if sparing:
            os.environ.setdefault("MKL_DISABLE_FAST_MM", "1")
        if plan.threads == 1 or "OMP_WAIT_POLICY" in os.environ:
            return
        if "ctranslate2" in sys.modules:
            if plan.wait_policy == "active":
                warnings.warn(
                    "CTranslate2 was loaded before the thread plan; set OMP_WAIT_POLICY=ACTIVE in the environment",
                    stacklevel=2,
                )
            return
        os.environ.update(self.environment(plan))

    def open(
        self, directory: Path, tokenizer: Tokenizer, *, device: str, compute_type: str, plan: ThreadPlan
    ) -> CTranslate2Generator:
        """Open a converted model; see `cielo.generation.protocol.Backend`."""
        return CTranslate2Generator(directory, tokenizer, device=device, compute_type=compute_type, plan=plan)


class CTranslate2Generator:
    """A generator in CTranslate2. Each replica of its plan decodes one batch at a time."""

    def __init__(
        self,
        directory: Path,
        tokenizer: Tokenizer,
        *,
        device: str = "cpu",
        compute_type: str = "float32",
        plan: ThreadPlan | None = None,
    ) -> None:
        """Load a CTranslate2 model.

        Args:
            directory: of the converted model.
            tokenizer: of the same model.
            device: ``cpu`` or ``cuda``.
            compute_type: one of `COMPUTE_TYPES`.
            plan: default: one replica of one thread. More threads in a replica pay only for wide batches.

        Raises:
            DeviceError: where this machine does not run `compute_type` on `device`.
            BundleError: where the model cannot be loaded.
        """
        require_runnable(CTranslate2Backend(), device, compute_type)
        self._plan = plan or ThreadPlan(replicas=1)
        self._tokenizer = tokenizer
        self._directory = directory
        self._limit: MemoryLimit | None = None
        self._translator: Any
        try:
            self._translator = _ctranslate2().Translator(
                str(directory),
                device=device,
                compute_type=compute_type,
                inter_threads=self._plan.replicas,
                intra_threads=self._plan.threads,
            )
        except (RuntimeError, ValueError, MemoryError) as error:
            remedy = remedy_for(error, "build the bundle again")
            raise BundleError(f"the generator's model cannot be loaded ({error}); {remedy}") from error
        closing = tokenizer.closing_tokens
        self._end_token = closing[-1] if closing else ""

    def limit_memory(self, working_bytes: int, shape: Shape) -> None:
        """Keep the memory of all batches at a time within `working_bytes`, whatever comes in; see `MemoryLimit`."""
        self._limit = MemoryLimit(working_bytes, shape)

    def generate(self, prompts: Sequence[Encoded], search: BeamSearch) -> list[list[Hypothesis]]:
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
        sources = [prompt.ids for prompt in prompts]
        found: list[list[Hypothesis]] = [[] for _ in prompts]
        for row, result in self._in_batches("translate_batch", (sources,), settings, search):
            pairs = zip(result.hypotheses, result.scores, strict=True)
            found[row] = [self._hypothesis(tokens, score, search) for tokens, score in pairs]
        return found

    def log_probs(self, prompts: Sequence[Encoded], targets: Sequence[Sequence[int]]) -> list[NDArray[np.float32]]:
        """Return the log-probability of each token of each target (ids without ``</s>``), ``</s>``'s own at the end."""
        sources = [prompt.ids for prompt in prompts]
        longest = max((len(target) + 1 for target in targets), default=1)
        found: list[NDArray[np.float32]] = [np.zeros(0, dtype=np.float32) for _ in prompts]
        for row, result in self._in_batches("score_batch", (sources, targets), {}, Scoring(longest)):
            found[row] = np.asarray(result.log_probs, dtype=np.float32)
        return found

    def search_tries(self, prompts: Sequence[Encoded], tries: Sequence[Trie], search: ConstrainedSearch) -> list[Found]:
        """Refuse: CTranslate2 gives no access to single steps."""
        raise OptionError("the backend ctranslate2 has no constrained search; use the backend onnx")

    def writes(self, tokens: NDArray[np.int32]) -> NDArray[np.bool_]:
        """Return for each token whether the output vocabulary has it; see `cielo.generation.protocol.Generator`."""
        names = set(_output_tokens(self._directory))
        distinct, places = np.unique(tokens, return_inverse=True)
        known = [name in names for name in self._tokenizer.tokens(distinct.tolist())]
        found: NDArray[np.bool_] = np.array(known, dtype=np.bool_)[places]
        return found

    def _in_batches(
        self,
        method: str,
        columns: tuple[Sequence[Sequence[int]], ...],
        settings: dict[str, Any],
        work: BeamSearch | Scoring,
    ) -> Iterator[tuple[int, Any]]:
        """Give the rows of `columns`, ids, to the translator, and yield each row's number and result batch by batch."""
        if self._translator is None:
            raise RuntimeError("the generator was closed; open it again")
        run = getattr(self._translator, method)
        waiting: deque[tuple[list[int], list[Any]]] = deque()
        lengths = [len(source) for source in columns[0]]
        limit, together = self._limit, self._plan.replicas
        if limit is not None:
            together = limit.batches_together(max(lengths, default=0), work, together)
        most_rows = None if limit is None else lambda longest: limit.rows(longest, work, together)
        for batch in make_batches(lengths, self._plan.batch_tokens, together, most_rows):
            # As texts, tokens take ten times the memory: they are made for one batch at a time.
            rows = [[self._tokenizer.tokens(column[row]) for row in batch] for column in columns]
            # One call, one batch: CTranslate2 does not cut it again.
            with _faults_named():
                started = run(*rows, max_batch_size=0, max_input_length=0, asynchronous=True, **settings)
            waiting.append((batch, started))
            # Two for each replica: one at work, one next. With a limit of memory, only those at work.
            if len(waiting) >= (2 * together if limit is None else together):
                yield from _results(*waiting.popleft(), len(lengths))
        while waiting:
            yield from _results(*waiting.popleft(), len(lengths))

    def _hypothesis(self, tokens: list[str], score: float, search: BeamSearch) -> Hypothesis:
        length = max(1, len(tokens))
        finished = bool(tokens) and tokens[-1] == self._end_token
        log_prob = score * length**search.length_penalty
        return Hypothesis(self._tokenizer.decode(tokens), score, log_prob, length, finished)

    def close(self) -> None:
        """Release the model; the generator cannot be used afterwards."""
        # An unloaded translator still answers now and then: it is let go too.
        translator, self._translator = self._translator, None
        if translator is not None:
            translator.unload_model()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def _output_tokens(directory: Path) -> list[str]:
    """Return the output vocabulary of a model: a file of its own, or the one that it shares with the prompts."""
    for name in ("target_vocabulary.json", "shared_vocabulary.json"):
        with contextlib.suppress(FileNotFoundError):
            found: list[str] = json.loads(read_bounded(directory / name, _MOST_BYTES))
            return found
    raise BundleError("the generator's model has no list of its output tokens; build the bundle again")


def _results(batch: list[int], started: list[Any], of: int) -> Iterator[tuple[int, Any]]:
    for row, result in zip(batch, started, strict=True):
        with _faults_named():
            found = result.result()
        yield row, found
    report(len(batch) / of)


@contextlib.contextmanager
def _faults_named() -> Iterator[None]:
    """Turn what CTranslate2 raises while it decodes into one error; a ValueError's message may hold a user's text."""
    try:
        yield
    except ValueError as error:
        raise BundleError("the generator's model does not take what its bundle gives it; build it again") from error
    except RuntimeError as error:
        raise DeviceError(
            f"the generator failed while it decoded ({error}); use smaller batches or `--memory`"
        ) from error
