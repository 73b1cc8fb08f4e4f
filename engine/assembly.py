"""The stages of a bundle, opened: what the linker and the parity gate both work with."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from engine.bundle import Bundle
from engine.stages.embedder import Embedder
from engine.stages.generator import CTranslate2Generator, Generator
from engine.stages.index import Index, load_all
from engine.stages.knowledge_base import KnowledgeBase
from engine.stages.text import build_prompt
from engine.stages.tokenizer import Tokenizer


@dataclass(frozen=True, slots=True)
class Stages:
    """The opened stages of one bundle; closing it releases the models."""

    tokenizer: Tokenizer
    generator: Generator
    knowledge_base: KnowledgeBase
    embedder: Embedder
    indexes: dict[str, Index]
    prompt_settings: dict[str, Any]

    def prompt(self, term: str, sentence: str | None) -> str:
        """Return the prompt of a mention, prepared as the bundle's model was trained."""
        settings = self.prompt_settings
        return build_prompt(term, sentence, prepare=settings["prepare_sentence"], window=settings.get("window"))

    def close(self) -> None:
        """Release both models and the files. CTranslate2 and ONNX Runtime can hang at exit where one stays open."""
        self.generator.close()
        self.embedder.close()
        self.knowledge_base.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def open_stages(bundle: Bundle, *, device: str, compute_type: str, threads: int | None = None) -> Stages:
    """Open every stage of a bundle.

    Args:
        bundle: the bundle.
        device: ``cpu`` or ``cuda``.
        compute_type: of the generator.
        threads: processor threads for each of the two models; default: the processors this process may use.

    Raises:
        BundleError: where a part of the bundle is altered or cannot be loaded.
        DeviceError: where the machine cannot run what was asked for.
    """
    bundle.check_hashes("index/")  # hnswlib can crash on a damaged file
    manifest = bundle.manifest
    tokenizer = Tokenizer(bundle.generator_tokenizer, manifest["generator"]["max_source_tokens"])
    encoder_tokenizer = Tokenizer(bundle.encoder_tokenizer, manifest["encoder"]["max_tokens"])
    with contextlib.ExitStack() as opened:  # where a later part fails, the earlier ones are released
        indexes = load_all(bundle.index, manifest["index"]["ef"])
        knowledge_base = KnowledgeBase(bundle.knowledge_base)
        opened.callback(knowledge_base.close)
        embedder = Embedder(bundle.encoder, encoder_tokenizer, device=device, threads=threads)
        opened.callback(embedder.close)
        generator = CTranslate2Generator(
            bundle.generator, tokenizer, device=device, compute_type=compute_type, replicas=threads
        )
        opened.pop_all()
    return Stages(tokenizer, generator, knowledge_base, embedder, indexes, manifest["prompt"])
