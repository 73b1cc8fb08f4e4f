"""Memory: what a row can need, and what a limit allows."""

from __future__ import annotations

from cielo.generation.memory import MemoryLimit, Shape
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

    @given(st.integers(1, 512), st.integers(1, 512))
    def test_longer_needs_more(self, one: int, other: int) -> None:
        shape = Shape(2, 64, 128, 100)
        assert (shape.row_bytes(one, PROBABLE) < shape.row_bytes(other, PROBABLE)) == (one < other)


class TestMemoryLimit:
    @given(st.integers(0, 10**10), st.integers(1, 512), st.integers(1, 8))
    def test_all_batches_together_stay_within_it(self, limit: int, longest: int, replicas: int) -> None:
        shape = Shape(2, 64, 128, 100)
        memory = MemoryLimit(limit, shape)
        together = memory.batches_together(longest, PROBABLE, replicas)
        rows = memory.rows(longest, PROBABLE, together)
        assert 1 <= together <= replicas
        assert together * rows * shape.row_bytes(longest, PROBABLE) <= limit
        if rows == 0:  # too little for one prompt: it is decoded alone
            assert together == 1
