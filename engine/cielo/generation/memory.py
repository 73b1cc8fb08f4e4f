"""Memory: what a batch can need at most, and how many rows and batches a limit allows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # a manifest holds a shape, and is read without the tokenizer's library
    from cielo.generation.searches import BeamSearch


@dataclass(frozen=True, slots=True)
class Scoring:
    """The scoring of given outputs, whose tokens all go through the decoder at once.

    Attributes:
        target_tokens: of the longest output, ``</s>`` included.
    """

    target_tokens: int


@dataclass(frozen=True, slots=True)
class Shape:
    """What the memory of a decoding batch depends on: layers of the decoder, and sizes.

    Attributes:
        decoder_layers: of the decoder.
        width: of the hidden states.
        inner: of the feed-forward layers.
        outputs: tokens of the output vocabulary.
        copies: how many times the backend holds the keys and values while it reorders and extends them; None: once.
        heads: of attention, where the backend holds its scores, biases and masks for all pairs of tokens; else None.
    """

    decoder_layers: int
    width: int
    inner: int
    outputs: int
    copies: int | None = None
    heads: int | None = None

    def row_bytes(self, source_tokens: int, work: BeamSearch | Scoring) -> int:
        """Return the most memory, in bytes, that one prompt of `source_tokens` can need in a search or a scoring.

        Keys and values, of the source once and of each beam's output up to the longest allowed; hidden states of the
        widest layer; the scores of one step (in a scoring: of every step), three times over; and, where the backend
        holds them, four numbers for each head and pair of tokens. All in float32.
        """
        if isinstance(work, Scoring):
            kept = steps = work.target_tokens
            widest = max(source_tokens, work.target_tokens)
        else:
            kept, steps, widest = work.beams * work.max_new_tokens, work.beams, source_tokens
        cached = 2 * (self.copies or 1) * self.decoder_layers * self.width * (source_tokens + kept)
        pairs = source_tokens**2 + (work.target_tokens * widest if isinstance(work, Scoring) else 0)
        cached += 4 * (self.heads or 0) * pairs
        return 4 * (cached + widest * (4 * self.width + 3 * self.inner) + 3 * steps * self.outputs)


@dataclass(frozen=True, slots=True)
class MemoryLimit:
    """The bytes that all batches at work may take together, as `Shape` counts them.

    Where one prompt needs more than that, it is decoded alone.
    """

    working_bytes: int
    shape: Shape

    def batches_together(self, longest: int, work: BeamSearch | Scoring, replicas: int) -> int:
        """Return how many of `replicas` may work at a time, where the longest prompt has `longest` tokens."""
        return max(1, min(replicas, self.working_bytes // self.shape.row_bytes(longest, work)))

    def rows(self, longest: int, work: BeamSearch | Scoring, together: int) -> int:
        """Return the most rows of a batch, which may be 0, where `together` batches are at work."""
        return self.working_bytes // together // self.shape.row_bytes(longest, work)
