"""Memory: what a row can need, and what a limit allows."""

from __future__ import annotations

import pytest
from cielo.generation.memory import MemoryLimit, Scoring, Shape
from cielo.generation.searches import SEARCHES, BeamSearch
from hypothesis import given
from hypothesis import strategies as st

PROBABLE = SEARCHES["probable"]


class TestShape:
    def test_the_published_shape_by_hand(self) -> None:
        shape = Shape(decoder_layers=24, width=1024, inner=2816, outputs=16_000)
        search = BeamSearch(beams=5, max_new_tokens=128)
        cached = 2 * 24 * 1024 * (85 + 5 * 128)
        assert shape.row_bytes(85, search) == 4 * (cached + 85 * (4 * 1024 + 3 * 2816) + 3 * 5 * 16_000)

    def test_a_scoring_by_hand(self) -> None:
        shape = Shape(decoder_layers=24, width=1024, inner=2816, outputs=16_000)
        cached = 2 * 24 * 1024 * (85 + 12)
        assert shape.row_bytes(85, Scoring(12)) == 4 * (cached + 85 * (4 * 1024 + 3 * 2816) + 3 * 12 * 16_000)
        # The decoder's hidden states are the widest where the output is longer than the prompt.
        assert shape.row_bytes(5, Scoring(12)) - shape.row_bytes(4, Scoring(12)) == 4 * 2 * 24 * 1024

    @given(st.integers(1, 512), st.integers(1, 512), st.integers(1, 512))
    def test_a_longer_output_needs_more_to_be_scored(self, source: int, one: int, other: int) -> None:
        shape = Shape(2, 64, 128, 100)
        needed = [shape.row_bytes(source, Scoring(target)) for target in (one, other)]
        assert (needed[0] < needed[1]) == (one < other)

    @given(st.integers(1, 512), st.integers(1, 512))
    def test_longer_needs_more(self, one: int, other: int) -> None:
        shape = Shape(2, 64, 128, 100)
        assert (shape.row_bytes(one, PROBABLE) < shape.row_bytes(other, PROBABLE)) == (one < other)


class TestMemoryLimit:
    @pytest.mark.parametrize("work", [PROBABLE, Scoring(1), Scoring(300)])
    @given(st.integers(0, 10**10), st.integers(1, 512), st.integers(1, 8))
    def test_all_batches_together_stay_within_it(
        self, work: BeamSearch | Scoring, limit: int, longest: int, replicas: int
    ) -> None:
        shape = Shape(2, 64, 128, 100)
        memory = MemoryLimit(limit, shape)
        together = memory.batches_together(longest, work, replicas)
        rows = memory.rows(longest, work, together)
        assert 1 <= together <= replicas
        assert together * rows * shape.row_bytes(longest, work) <= limit
        if rows == 0:  # too little for one prompt: it is decoded alone
            assert together == 1
