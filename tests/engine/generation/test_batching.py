"""Batches: every row once, like lengths together, within the budget."""

from __future__ import annotations

import pytest
from cielo.generation.batching import make_batches
from hypothesis import given
from hypothesis import strategies as st

lengths = st.lists(st.integers(0, 700), max_size=80)
budgets = st.integers(1, 3000)


class TestBatches:
    @given(lengths, budgets, st.integers(1, 5))
    def test_every_row_is_in_one_batch_and_within_the_budget(self, rows: list[int], budget: int, parts: int) -> None:
        batches = make_batches(rows, budget, parts)
        assert sorted(row for batch in batches for row in batch) == list(range(len(rows)))
        for batch in batches:
            assert len(batch) == 1 or len(batch) * max(rows[row] for row in batch) <= budget

    @given(lengths, budgets)
    def test_lengths_fall_from_batch_to_batch(self, rows: list[int], budget: int) -> None:
        flat = [rows[row] for batch in make_batches(rows, budget, 2) for row in batch]
        assert flat == sorted(rows, reverse=True)

    @given(lengths, st.integers(1, 700), st.integers(1, 4))
    def test_the_most_rows_hold(self, rows: list[int], budget: int, most: int) -> None:
        assert all(len(batch) <= most for batch in make_batches(rows, budget, 1, lambda longest: most))

    @given(lengths)
    def test_a_limit_below_one_row_still_gives_every_row_a_batch(self, rows: list[int]) -> None:
        assert [len(batch) for batch in make_batches(rows, 10_000, 1, lambda longest: 0)] == [1] * len(rows)

    @pytest.mark.parametrize("parts", [2, 3, 4])
    def test_every_replica_gets_a_like_share(self, parts: int) -> None:
        batches = make_batches([50] * 48, 2048, parts)
        assert len(batches) % parts == 0
        assert {len(batch) for batch in batches} == {48 // len(batches)}

    def test_sorting_saves_padding(self) -> None:
        rows = [20, 200] * 32
        padded = sum(len(batch) * max(rows[row] for row in batch) for batch in make_batches(rows, 2048))
        assert padded < 1.25 * sum(rows)  # in the order they came in it is 1.8
