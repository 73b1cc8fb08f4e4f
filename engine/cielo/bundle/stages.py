"""The stages of a bundle, opened: what the linker and the parity gate both work with."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from cielo.bundle.hashes import VerifyFiles, check_files
from cielo.bundle.layout import Bundle
from cielo.bundle.manifest import Execution, PromptSettings
from cielo.bundle.prompts import Prompts
from cielo.bundle.trie import DescriptionTrie
from cielo.bundle.turns import Turns
from cielo.errors import BundleError
from cielo.files import sha256_of
from cielo.generation.backends import backend
from cielo.generation.plan import ThreadPlan
from cielo.generation.protocol import Generator
from cielo.knowledge.reading import KnowledgeBase
from cielo.machine import give_back_memory
from cielo.retrieval.embedder import Embedder
from cielo.retrieval.index import RESCORED, Index, load_all
from cielo.text.prompt import LineEnds
from cielo.text.tokenizer import Encoded, Tokenizer

_AT_ONCE = 3  # a tokenizer, the encoder and the generator, while this thread reads the index


@dataclass(frozen=True, slots=True)
class Stages:
    """The opened stages of one bundle; closing it releases the models.

    Those that are `shared` with others leave all but their generator open when they are closed.
    `turns` are those that callers take where a budget of memory is to be kept; None: there is none. `trie` is that of
    the descriptions, for the constrained search; None: the bundle holds none, or its backend cannot search in it.
    `foreign` is the SHA-256 of a knowledge base that is not the bundle's (`with_knowledge_base`): no index then.
    """

    tokenizer: Tokenizer
    generator: Generator
    knowledge_base: KnowledgeBase
    embedder: Embedder
    indexes: dict[str, Index]
    prompt_settings: PromptSettings
    turns: Turns | None = None
    trie: DescriptionTrie | None = None
    shared: bool = False
    foreign: str | None = None

    def prompt(self, term: str, sentence: str | None, *, line_ends: LineEnds = "space") -> str:
        """Return the prompt of a mention; see `cielo.bundle.prompts.Prompts.prompt`."""
        return Prompts(self.tokenizer, self.prompt_settings).prompt(term, sentence, line_ends=line_ends)

    def score(self, prompts: Sequence[Encoded], texts: Sequence[str]) -> list[float]:
        """Return the log-probability of each text given its prompt, ``</s>`` included."""
        targets = [self.tokenizer.encode_target(text) for text in texts]
        return [float(tokens.sum()) for tokens in self.generator.log_probs(prompts, targets)]

    def close(self) -> None:
        """Release both models and the files. Their libraries can hang at exit where one stays open."""
        self.generator.close()
        if not self.shared:
            self.embedder.close()
            self.knowledge_base.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def open_stages(
    bundle: Bundle, execution: Execution, plan: ThreadPlan | None = None, *, verify_files: VerifyFiles = "once"
) -> Stages:
    """Open every stage of a bundle.

    Args:
        bundle: the bundle.
        execution: how the generator runs; the encoder runs on the same device.
        plan: how the processors are used; default: the backend's default.
        verify_files: when the files are hashed before they are loaded; see `cielo.bundle.hashes.check_files`.

    Raises:
        BundleError: where a part of the bundle is altered or cannot be loaded.
        DeviceError: where the machine cannot run what was asked for.
    """
    check_files(bundle, verify_files)
    plan = plan or backend(execution.backend).default_plan(execution.device)
    manifest = bundle.manifest
    with contextlib.ExitStack() as opened, ThreadPoolExecutor(_AT_ONCE) as pool:  # reading is half waiting
        tokenizer = pool.submit(Tokenizer, bundle.generator_tokenizer, manifest.generator.max_source_tokens)
        embedder = pool.submit(_open_embedder, bundle, execution.device, plan)
        # Where a later part fails, the earlier ones are released.
        opened.callback(_close_when_open, embedder)
        generator = pool.submit(_open_generator, bundle, tokenizer, execution, plan)
        opened.callback(_close_when_open, generator)
        indexes = load_all(bundle.index, manifest.index.ef, manifest.index.rescored or RESCORED)
        knowledge_base = KnowledgeBase(bundle.knowledge_base)
        opened.callback(knowledge_base.close)
        trie = open_trie(bundle, tokenizer.result()) if backend(execution.backend).gives_masks else None
        stages = Stages(
            tokenizer.result(), generator.result(), knowledge_base, embedder.result(), indexes, manifest.prompt,
            trie=trie,
        )  # fmt: skip
        opened.pop_all()
    give_back_memory()
    return stages


def open_beside(stages: Stages, bundle: Bundle, execution: Execution, plan: ThreadPlan) -> Stages:
    """Open another generator of a bundle, and share all the rest with the stages that are open already.

    Raises:
        BundleError, DeviceError: as `open_stages`.
    """
    runs = backend(execution.backend)
    own = runs.gives_masks and stages.foreign is None
    trie = stages.trie or (open_trie(bundle, stages.tokenizer) if own else None)
    generator = open_generator(bundle, stages.tokenizer, execution, plan)
    give_back_memory()
    return replace(stages, generator=generator, trie=trie if runs.gives_masks else None, shared=True)


def with_knowledge_base(stages: Stages, file: Path) -> Stages:
    """Return the stages of a bundle with another knowledge base, which has no vectors: for exact matches alone.

    Where the bundle's backend searches in tries, that of the new descriptions is made in memory; those that the output
    vocabulary cannot write are left out of it.

    Args:
        stages: as they were opened; their own knowledge base is closed.
        file: of the knowledge base.

    Raises:
        BundleError: where it is none.
    """
    base = KnowledgeBase(file)
    try:
        digest = sha256_of(file)
        trie = stages.trie and DescriptionTrie.build(base.texts(), stages.tokenizer, stages.generator.writes)
    except BaseException as error:
        base.close()
        if isinstance(error, OSError):
            raise BundleError(f"{file} cannot be read ({error.strerror}); name a knowledge base that can be") from error
        raise
    stages.knowledge_base.close()
    return replace(stages, knowledge_base=base, indexes={}, trie=trie, foreign=digest)


def open_trie(bundle: Bundle, tokenizer: Tokenizer) -> DescriptionTrie | None:
    """Return the trie of a bundle's descriptions, checked; None where it holds none.

    Raises:
        BundleError: where its files are damaged.
    """
    section = bundle.manifest.trie
    return None if section is None else DescriptionTrie.load(bundle.trie, section, tokenizer)


def _open_embedder(bundle: Bundle, device: str, plan: ThreadPlan) -> Embedder:
    tokenizer = Tokenizer(bundle.encoder_tokenizer, bundle.manifest.encoder.max_tokens)
    # All processors of the plan: the two models never work at the same time.
    return Embedder(bundle.encoder, tokenizer, device=device, threads=plan.replicas * plan.threads)


def open_generator(
    bundle: Bundle, tokenizer: Tokenizer, execution: Execution, plan: ThreadPlan | None = None
) -> Generator:
    """Open the generator of a bundle by itself; see `open_stages`.

    Raises:
        BundleError, DeviceError: as `open_stages`.
    """
    runs = backend(execution.backend)
    return runs.open(
        bundle.generator_model(execution.backend),
        tokenizer,
        device=execution.device,
        compute_type=execution.compute_type,
        plan=plan or runs.default_plan(execution.device),
    )


def _open_generator(bundle: Bundle, tokenizer: Future[Tokenizer], execution: Execution, plan: ThreadPlan) -> Generator:
    return open_generator(bundle, tokenizer.result(), execution, plan)


def _close_when_open(stage: Future[Any]) -> None:
    with contextlib.suppress(Exception):  # it did not open, and says so elsewhere
        stage.result().close()
