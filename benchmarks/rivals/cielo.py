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
        from cielo.generation.backends import backend
        from cielo.generation.plan import plan_for
        from cielo.text.tokenizer import Tokenizer

        if inputs.bundle is None:
            raise ValueError("no bundle was given")
        bundle = Bundle.open(Path(inputs.bundle))
        self._settings = bundle.manifest["generator"]
        self._tokenizer = Tokenizer(bundle.generator_tokenizer, inputs.max_source_tokens)
        compute_type = self._settings["compute_type"]
        self._plan = plan_for(bundle, "cpu", compute_type)
        backend().prepare(self._plan)
        self._generator = backend().open(
            bundle.generator, self._tokenizer, device="cpu", compute_type=compute_type, plan=self._plan
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
            "compute type": self._settings["compute_type"],
            "output tokens": self._settings["target_tokens"],
            "plan": f"{self._plan.replicas} x {self._plan.threads} threads ({self._plan.source})",
        }
