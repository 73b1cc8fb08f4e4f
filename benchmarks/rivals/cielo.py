"""cielo's own generator over a bundle, as a linker opens it; the encoder and the index stay closed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.rivals import BEAMS, MAX_NEW_TOKENS, SEARCHES, Inputs


def open_rival(inputs: Inputs, directory: Path, options: dict[str, Any]) -> _Runner:
    """Open the bundle's generator."""
    return _Runner(inputs)


class _Runner:
    def __init__(self, inputs: Inputs) -> None:
        from cielo.bundle.layout import Bundle
        from cielo.bundle.state import plan_for
        from cielo.generation.backends import backend
        from cielo.text.tokenizer import Tokenizer

        if inputs.bundle is None:
            raise ValueError("no bundle was given")
        bundle = Bundle.open(Path(inputs.bundle))
        execution = bundle.execution("cpu")
        self._model = bundle.model(execution.backend)
        self._tokenizer = Tokenizer(bundle.generator_tokenizer, inputs.max_source_tokens)
        self._plan = plan_for(bundle, execution)
        chosen = backend(execution.backend)
        chosen.prepare(self._plan)
        self._generator = chosen.open(
            bundle.generator_model(execution.backend),
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
        import ctranslate2

        return {
            "ctranslate2": ctranslate2.__version__,
            "compute type": self._model.compute_type,
            "output tokens": self._model.target_tokens,
            "plan": f"{self._plan.replicas} x {self._plan.threads} threads ({self._plan.source})",
        }
