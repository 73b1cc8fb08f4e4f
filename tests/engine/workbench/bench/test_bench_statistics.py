from __future__ import annotations

import math

import numpy as np
import pytest
from cielo.workbench.bench.statistics import histogram, latencies, percentile, samples_needed, spread
from hypothesis import example, given
from hypothesis import strategies as st

VALUES = st.lists(st.floats(0, 1e6), min_size=1, max_size=300)
PERCENTS = st.integers(1, 100)


@given(VALUES, PERCENTS)
def test_a_percentile_is_numpy_s_by_nearest_rank(values: list[float], percent: int) -> None:
    # numpy's rank comes from a division; the exact one is asked for where that is not a whole number.
    if percent * len(values) % 100:
        assert percentile(values, percent) == np.percentile(values, percent, method="inverted_cdf")


@given(VALUES, PERCENTS)
@example([1.0] * 7 + [2.0] * 93, 7)
def test_a_percentile_is_the_least_value_that_enough_do_not_exceed(values: list[float], percent: int) -> None:
    found = percentile(values, percent)
    assert found in values
    assert 100 * sum(value <= found for value in values) >= percent * len(values)
    assert all(100 * sum(value <= less for value in values) < percent * len(values) for less in values if less < found)


@pytest.mark.parametrize(("percent", "rank"), [(1, 1), (7, 7), (29, 29), (50, 50), (57, 57), (99, 99), (100, 100)])
def test_a_percentile_of_a_hundred_values_is_its_own_rank(percent: int, rank: int) -> None:
    assert percentile([float(value) for value in range(100, 0, -1)], percent) == rank


@pytest.mark.parametrize(("values", "percent"), [([], 50), ([1.0], 0), ([1.0], 101)])
def test_what_has_no_percentile_is_refused(values: list[float], percent: int) -> None:
    with pytest.raises(ValueError, match="expected some values and 1 to 100"):
        percentile(values, percent)


@pytest.mark.parametrize(("percent", "needed"), [(50, 2), (90, 10), (95, 20), (99, 100)])
def test_a_percentile_is_told_from_so_many_samples_on(percent: int, needed: int) -> None:
    assert samples_needed(percent) == needed
    name = f"p{percent}"
    assert getattr(latencies([1.0] * (needed - 1)), name) is None
    assert getattr(latencies([1.0] * needed), name) == 1.0


def test_latencies_without_samples_tell_nothing() -> None:
    told = latencies([])
    assert told.samples == 0
    assert told.p50 is told.p99 is told.max is None


def test_queries_without_an_answer_count_as_infinitely_long() -> None:
    told = latencies([1.0] * 92 + [math.inf] * 8)
    assert (told.samples, told.p50, told.p90) == (100, 1.0, 1.0)
    assert told.p95 is told.p99 is told.max is None


@given(VALUES)
def test_a_spread_is_the_median_between_the_quartiles(values: list[float]) -> None:
    told = spread(values)
    ordered = sorted(values)
    assert (told.low, told.median, told.high) == tuple(
        ordered[math.ceil(len(values) * share) - 1] for share in (0.25, 0.5, 0.75)
    )
    assert told.samples == len(values)


@given(st.lists(st.integers(0, 5000), min_size=1, max_size=200), st.integers(2, 40))
def test_a_histogram_counts_each_value_once_in_its_bin(values: list[int], most: int) -> None:
    made = histogram(values, most)
    assert len(made.counts) <= most
    for number, count in enumerate(made.counts):
        low = made.start + number * made.width
        assert count == sum(low <= value < low + made.width for value in values)
    assert sum(made.counts) == len(values)
    assert made.counts[0] and made.counts[-1]
    assert made.start % made.width == 0


def test_a_histogram_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="expected at least one"):
        histogram([])
