"""Percentiles, spreads and histograms of measured values.

Percentiles are by nearest rank: the smallest value such that at least p % of all values are no greater. Each is a
value that was measured, none is interpolated.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

PERCENTILES = (50, 90, 95, 99)
_STEPS = (1.0, 2.0, 5.0, 10.0, 20.0)


def percentile(values: Sequence[float], percent: int) -> float:
    """Return the `percent`-th percentile by nearest rank; `percent` is 1 to 100.

    Raises:
        ValueError: where there are no values, or `percent` is none.
    """
    if not values or not 1 <= percent <= 100:
        raise ValueError(f"got {len(values)} values and percentile {percent}, expected some values and 1 to 100")
    rank = -(-percent * len(values) // 100)  # whole numbers: 0.07 * 100 is a little more than 7
    return sorted(values)[rank - 1]


def samples_needed(percent: int) -> int:
    """Return how many values a percentile needs, so that at least one is expected to lie beyond: 100 for p99."""
    return math.ceil(100 / (100 - percent))


@dataclass(frozen=True, slots=True)
class Latencies:
    """A set of latencies, in seconds; None where there are too few samples, or no finite answer."""

    samples: int
    p50: float | None
    p90: float | None
    p95: float | None
    p99: float | None
    max: float | None


def latencies(values: Sequence[float]) -> Latencies:
    """Return the percentiles of `values`; a query that was never answered counts as infinitely long."""
    told = {f"p{percent}": _told(values, percent) for percent in PERCENTILES}
    return Latencies(len(values), **told, max=_finite(max(values)) if values else None)


def _told(values: Sequence[float], percent: int) -> float | None:
    return _finite(percentile(values, percent)) if len(values) >= samples_needed(percent) else None


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def nice_step(span: float, most: int) -> float:
    """Return the least step of the form 1, 2 or 5 times a power of ten of which at most `most` cover `span`.

    Raises:
        ValueError: where `span` is not positive or `most` is below 1.
    """
    if not (span > 0 and math.isfinite(span)) or most < 1:
        raise ValueError(f"got span {span} and {most} steps, expected a positive span and at least one step")
    power = 10.0 ** math.floor(math.log10(span / most))
    return next(step * power for step in _STEPS if step * power * most >= span)


@dataclass(frozen=True, slots=True)
class Spread:
    """The middle of repeated measurements: the median, and the quartiles beside it."""

    samples: int
    median: float
    low: float
    high: float


def spread(values: Sequence[float]) -> Spread:
    """Return the median and the quartiles of `values`, by nearest rank.

    Raises:
        ValueError: where there are no values.
    """
    return Spread(len(values), percentile(values, 50), percentile(values, 25), percentile(values, 75))


@dataclass(frozen=True, slots=True)
class Histogram:
    """Counts in bins of one width: bin i holds start + i * width <= value < start + (i + 1) * width."""

    start: float
    width: float
    counts: tuple[int, ...]


def histogram(values: Sequence[int], most: int = 24) -> Histogram:
    """Count whole numbers in at most `most` bins of a round width; `most` is at least 2.

    Raises:
        ValueError: where there are no values.
    """
    if not values:
        raise ValueError("got no values, expected at least one")
    low, high = min(values), max(values)
    # A bin more than the span needs, since the first one begins at a round number below the least value.
    width = max(1, round(nice_step(high - low + 1, most - 1)))
    start = low // width * width
    counts = [0] * ((high - start) // width + 1)
    for value in values:
        counts[(value - start) // width] += 1
    return Histogram(start, width, tuple(counts))
