"""Beam search by transformers' `generate`, which four of the rivals share, whatever runs the model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from benchmarks.rivals import BEAMS, MAX_NEW_TOKENS, SEARCHES


class GenerateRunner:
    """A model of transformers, optimum or optimum-intel."""

    def __init__(self, model: Any, tokenizer: Any, max_source_tokens: int, about: dict[str, Any]) -> None:
        self._model = model
        self._tokenizer = tokenizer
        self._max_source_tokens = max_source_tokens
        self._about = about

    def encode(self, prompts: list[str]) -> list[list[int]]:
        """Return each prompt's ids, ``</s>`` included."""
        encoded = self._tokenizer(prompts, truncation=True, max_length=self._max_source_tokens)
        return [list(row) for row in encoded["input_ids"]]

    def run(self, ids: list[list[int]], decoding: str, scores: bool) -> list[tuple[str, float | None]]:
        """Search for five hypotheses of each row; return the best one's text, and its score where it is asked for.

        `generate` gives scores only if it may keep the logits of every step, gigabytes for a wide batch.
        """
        import torch

        settings = self._settings(decoding, scores)
        self._model.generation_config = settings
        rows, mask = padded(ids, settings.pad_token_id)
        with torch.inference_mode():
            result = self._model.generate(input_ids=rows, attention_mask=mask, generation_config=settings)
        # All five are written out, as the others do.
        texts = self._tokenizer.batch_decode(result.sequences, skip_special_tokens=True)[::BEAMS]
        found = result.sequences_scores[::BEAMS].tolist() if scores else [None] * len(ids)
        return list(zip(texts, found, strict=True))

    def _settings(self, decoding: str, scores: bool) -> Any:
        from transformers import GenerationConfig

        config = self._model.config
        return GenerationConfig(
            num_beams=BEAMS, num_return_sequences=BEAMS, max_new_tokens=MAX_NEW_TOKENS, do_sample=False,
            decoder_start_token_id=config.decoder_start_token_id, pad_token_id=config.pad_token_id,
            eos_token_id=config.eos_token_id, return_dict_in_generate=True, output_scores=scores, use_cache=True,
            **SEARCHES[decoding],
        )  # fmt: skip

    def describe(self) -> dict[str, Any]:
        """Return versions and settings."""
        import torch
        import transformers

        return {"transformers": transformers.__version__, "torch": torch.__version__, **self._about}


def padded(ids: Sequence[Sequence[int]], pad: int) -> tuple[Any, Any]:
    """Return ids and attention mask, int64 [len(ids), longest]."""
    import torch

    longest = max(map(len, ids))
    rows = torch.tensor([[*row, *[pad] * (longest - len(row))] for row in ids])
    mask = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in ids])
    return rows, mask
