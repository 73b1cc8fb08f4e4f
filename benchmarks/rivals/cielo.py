"""cielo's own generator over a bundle, as a linker opens it; the encoder and the index stay closed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.rivals import BEAMS, MAX_NEW_TOKENS, SEARCHES, Inputs, Runner


def open_rival(inputs: Inputs, directory: Path, options: dict[str, Any]) -> Runner:
    """Open the bundle's generator for the backend that `options` name; ``constrained``: with the bundle's trie."""
    if options["search"] == "constrained":
        return _Constrained(inputs, options["backend"], options["proven"])
    return _Beams(inputs, options["backend"])


class _Beams:
    def __init__(self, inputs: Inputs, name: str) -> None:
        from cielo.bundle.layout import Bundle
        from cielo.bundle.state import plan_for
        from cielo.generation.backends import backend
        from cielo.text.tokenizer import Tokenizer

        if inputs.bundle is None:
            raise ValueError("no bundle was given")
        self._bundle = Bundle.open(Path(inputs.bundle))
        execution = self._bundle.execution("cpu", backend=name)
        self._name = name
        self._model = self._bundle.model(name)
        self._tokenizer = Tokenizer(self._bundle.generator_tokenizer, inputs.max_source_tokens)
        self._plan = plan_for(self._bundle, execution)
        chosen = backend(name)
        chosen.prepare(self._plan)
        self._generator = chosen.open(
            self._bundle.generator_model(name),
            self._tokenizer,
            device=execution.device,
            compute_type=execution.compute_type,
            plan=self._plan,
        )

    def encode(self, prompts: list[str]) -> list[list[int]]:
        return [encoded.ids for encoded in self._tokenizer.encode(prompts)]

    def run(self, ids: list[list[int]], decoding: str, scores: bool) -> list[tuple[str, float | None]]:
        from cielo.generation.searches import BeamSearch
        from cielo.text.tokenizer import Encoded

        search = BeamSearch(BEAMS, SEARCHES[decoding]["length_penalty"], MAX_NEW_TOKENS)
        found = self._generator.generate([Encoded(row, False) for row in ids], search)
        return [(hypotheses[0].text, hypotheses[0].score) for hypotheses in found]

    def describe(self) -> dict[str, Any]:
        from cielo.machine import library_versions

        library = {"ctranslate2": "ctranslate2", "onnx": "onnxruntime"}[self._name]
        return {
            library: library_versions()[library],
            "compute type": self._model.compute_type,
            "output tokens": self._model.target_tokens,
            "plan": f"{self._plan.replicas} x {self._plan.threads} threads ({self._plan.source})",
        }


class _Constrained(_Beams):
    """The most probable description of the knowledge base, of whatever kind, proven or with its gap counted."""

    def __init__(self, inputs: Inputs, name: str, proven: int) -> None:
        super().__init__(inputs, name)
        from cielo.bundle.stages import open_trie

        trie = open_trie(self._bundle, self._tokenizer)
        if trie is None:
            raise ValueError("the bundle holds no trie; convert it again")
        from cielo.generation.constrained import ConstrainedSearch

        self._trie = trie.trie
        self._search = ConstrainedSearch(best=proven)

    def run(self, ids: list[list[int]], decoding: str, scores: bool) -> list[tuple[str, float | None]]:
        from cielo.text.tokenizer import Encoded

        prompts = [Encoded(row, False) for row in ids]
        found = self._generator.search_tries(prompts, [self._trie] * len(prompts), self._search)
        outputs: list[tuple[str, float | None]] = []
        for entry in found:
            best = entry.leaves[0]
            tokens = self._tokenizer.tokens(self._trie.sequence(best.first).tolist())
            outputs.append((self._tokenizer.decode(tokens), best.log_prob))
        return outputs

    def describe(self) -> dict[str, Any]:
        return {**super().describe(), "descriptions": len(self._trie), "proven": self._search.best}
