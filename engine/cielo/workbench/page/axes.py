"""Axes: their ranges, round numbers on them, and how these are written."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

from cielo.text.language import numeral
from cielo.workbench.page.extra import require

_STEPS = (1, 2, 5, 10)


def ticks(low: float, high: float, most: int = 5) -> list[float]:
    """Return round numbers from `low` to `high`, at most one more than `most` of them.

    Raises:
        ValueError: where the range is empty or endless.
    """
    if not (math.isfinite(high - low) and high > low):
        raise ValueError(f"got an axis from {low} to {high}, expected a positive, finite range")
    locator = require("matplotlib.ticker").MaxNLocator(most, steps=_STEPS, min_n_ticks=1)
    slack = 1e-9 * (high - low)
    found = [float(value) for value in locator.tick_values(low, high) if low - slack <= value <= high + slack]
    return found[:: max(1, -(-len(found) // (most + 1)))]


def writer(values: Sequence[float]) -> Callable[[float], str]:
    """Return how to write the numbers of an axis: with the decimals that tell neighbours apart."""
    gaps = [second - first for first, second in pairwise(values)]
    decimals = max(0, -math.floor(math.log10(min(gaps)) + 1e-9)) if gaps else 0
    return lambda value: numeral(f"{value:,.{decimals}f}")


def span(values: Sequence[float], bounds: tuple[float, float]) -> tuple[float, float]:
    """Return the ends of an axis for `values`: a little more than they span, at most `bounds`, never nothing."""
    low, high = min(values), max(values)
    room = max(0.06 * (high - low), 0.5)
    low, high = max(low - room, bounds[0]), min(high + room, bounds[1])
    return (low, high) if high > low else (low - 1.0, low + 1.0)


def spread_out(places: Sequence[float], gap: float, room: tuple[float, float]) -> list[float]:
    """Return places near to those given, in the same order, at least `gap` apart and, if possible, in `room`."""
    order = sorted(range(len(places)), key=lambda number: (places[number], number))
    found = list(places)
    at = -math.inf
    for number in order:
        at = found[number] = max(places[number], at + gap, room[0])
    limit = room[1]
    for number in reversed(order):
        found[number] = min(found[number], limit)
        limit = found[number] - gap
    return found
