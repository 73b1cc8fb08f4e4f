"""What a generator is to the rest of the package, and what a backend says about itself.

A backend is one library that can run the model. It is registered in `cielo.generation.backends`; everything outside
this folder asks it what it can do, and knows nothing else of it. `tests/engine/generation/backend_contract.py` says
the same two protocols in tests.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray

from cielo.generation.constrained import ConstrainedSearch, Found
from cielo.generation.memory import Shape
from cielo.generation.plan import ThreadPlan, Use
from cielo.generation.searches import Searcher
from cielo.generation.trie import Trie
from cielo.records import Decoding
from cielo.text.tokenizer import Encoded, Tokenizer


class Generator(Searcher, Protocol):
    """An opened model: prompts to hypotheses. Its methods may be called from several threads.

    What works in batches reports each that is done (`cielo.generation.progress.report`), in the thread that called it.
    """

    def log_probs(self, prompts: Sequence[Encoded], targets: Sequence[Sequence[int]]) -> list[NDArray[np.float32]]:
        """Return the log-probability of each token of each target given its prompt, float32 [len(target) + 1].

        Args:
            prompts: with their ``</s>``.
            targets: ids without ``</s>``, one target for each prompt; the last number returned is that of ``</s>``.

        Raises:
            OptionError: where the backend does not give log-probabilities (`Backend.gives_log_probs`).
        """
        ...

    def search_tries(self, prompts: Sequence[Encoded], tries: Sequence[Trie], search: ConstrainedSearch) -> list[Found]:
        """Return the most probable rows of a trie for each prompt.

        Args:
            prompts: with their ``</s>``.
            tries: one for each prompt, of ids of the tokenizer.
            search: how many, and how long to look.

        Raises:
            OptionError: where the backend has no constrained search (`Backend.gives_masks`).
        """
        ...

    def writes(self, tokens: NDArray[np.int32]) -> NDArray[np.bool_]:
        """Return for each token, by its id of the tokenizer, whether the output vocabulary has it, bool [tokens]."""
        ...

    def limit_memory(self, working_bytes: int, shape: Shape) -> None:
        """Keep the memory of the batches at work within `working_bytes`, as `shape` counts it."""
        ...

    def close(self) -> None:
        """Release the model: whatever is asked afterwards raises RuntimeError. Closing twice does no harm."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *error: object) -> None: ...


class Backend(Protocol):
    """A library that can run a generator, and what it can do.

    Nothing here may load the library before it must: some libraries read their environment once, when they load, and
    `prepare` sets it.
    """

    @property
    def name(self) -> str:
        """The word that stands in manifests, plans and keys for this backend."""
        ...

    @property
    def decodings(self) -> tuple[Decoding, ...]:
        """The decodings that it runs faithfully."""
        ...

    @property
    def gives_log_probs(self) -> bool:
        """Whether `Generator.log_probs` works: re-ranking and parity of scores need it."""
        ...

    @property
    def gives_masks(self) -> bool:
        """Whether a search can be constrained to some next tokens at each step."""
        ...

    @property
    def compute_types(self) -> tuple[str, ...]:
        """Every compute type that it knows, on whatever machine."""
        ...

    def devices(self) -> tuple[str, ...]:
        """Return the devices that are to be had on this machine, of ``cpu`` and ``cuda``."""
        ...

    def runnable_compute_types(self, device: str) -> frozenset[str]:
        """Return the compute types that this machine's `device` runs as they are, with no fall-back to another."""
        ...

    def default_plan(self, device: str, threads: int | None = None, *, use: Use = "bulk") -> ThreadPlan:
        """Return the plan for a machine that nobody measured.

        Args:
            device: ``cpu`` or ``cuda``.
            threads: processor threads to use; None: one for each core that this process may use.
            use: how the generator will be asked.
        """
        ...

    def environment(self, plan: ThreadPlan) -> Mapping[str, str]:
        """Return the environment variables that a plan asks for, for a process to be started."""
        ...

    def prepare(self, plan: ThreadPlan, *, sparing: bool = False) -> None:
        """Set this process's environment as a plan asks, before the library is loaded.

        Args:
            plan: how the processors are used.
            sparing: whether freed memory is to go back to the system rather than be kept for the next batch.
        """
        ...

    def open(
        self, directory: Path, tokenizer: Tokenizer, *, device: str, compute_type: str, plan: ThreadPlan
    ) -> Generator:
        """Open the model in `directory`.

        Args:
            directory: as this backend's conversion wrote it.
            tokenizer: of the same model.
            device: ``cpu`` or ``cuda``.
            compute_type: one of `runnable_compute_types`.
            plan: how the processors are used.

        Raises:
            DeviceError: where this machine does not run `compute_type` on `device`.
            BundleError: where the model cannot be loaded.
        """
        ...
