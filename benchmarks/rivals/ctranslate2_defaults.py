"""Plain CTranslate2: its own converter with int8, its own threads, the whole batch at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.rivals import BEAMS, MAX_NEW_TOKENS, SEARCHES, Inputs
from benchmarks.rivals.corrected import corrected_checkpoint


def prepare(inputs: Inputs, directory: Path) -> None:
    """Convert, as ``ct2-transformers-converter --quantization int8`` does."""
    from ctranslate2.converters import TransformersConverter

    with corrected_checkpoint(Path(inputs.checkpoint)) as checkpoint:
        converter = TransformersConverter(str(checkpoint), low_cpu_mem_usage=True)
        converter.convert(str(directory), quantization="int8", force=True)


def open_rival(inputs: Inputs, directory: Path, options: dict[str, Any]) -> _Runner:
    """Open the converted model."""
    return _Runner(inputs, directory)


class _Runner:
    def __init__(self, inputs: Inputs, directory: Path) -> None:
        import ctranslate2
        from tokenizers import Tokenizer

        # As lean as it can be had: transformers' tokenizer, which reads the same file, brings PyTorch along.
        self._tokenizer = Tokenizer.from_file(str(Path(inputs.checkpoint) / "tokenizer.json"))
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(inputs.max_source_tokens)
        self._translator = ctranslate2.Translator(str(directory), compute_type="int8")

    def encode(self, prompts: list[str]) -> list[list[int]]:
        return [list(encoding.ids) for encoding in self._tokenizer.encode_batch(prompts)]

    def run(self, ids: list[list[int]], decoding: str, scores: bool) -> list[tuple[str, float | None]]:
        results = self._translator.translate_batch(
            [[self._tokenizer.id_to_token(token) for token in row] for row in ids],
            beam_size=BEAMS,
            num_hypotheses=BEAMS,
            length_penalty=SEARCHES[decoding]["length_penalty"],
            max_decoding_length=MAX_NEW_TOKENS,
            # The two defaults that would change outputs, not speed: at least one token, at most 1,024 of the prompt.
            min_decoding_length=0,
            max_input_length=0,
            return_scores=True,
        )
        texts = [[self._text(tokens) for tokens in result.hypotheses] for result in results]
        return [(found[0], result.scores[0]) for found, result in zip(texts, results, strict=True)]

    def _text(self, tokens: list[str]) -> str:
        ids = (self._tokenizer.token_to_id(token) for token in tokens)
        return str(self._tokenizer.decode([token for token in ids if token is not None], skip_special_tokens=True))

    def describe(self) -> dict[str, Any]:
        import ctranslate2

        # Where nothing is said, CTranslate2 takes one worker and as many threads as OpenMP, four at most.
        return {"ctranslate2": ctranslate2.__version__, "compute type": self._translator.compute_type}
