"""Weights as bytes whose products are the same on every processor.

Without VNNI a processor multiplies bytes by `vpmaddubsw`, which adds the products of two neighbours in 16 bits and
cuts off what does not fit: 255 · 127 · 2 is 64,770, the most is 32,767. Here the weights of two neighbours of one sign
add up to 128 at most, and 255 · 128 is 32,640: nothing is ever cut off, so a product is exact, with VNNI and without.
That costs less than a whole bit for all weights, since two neighbours are seldom both the largest of their row.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

LEVELS = 127
"""The largest level of a byte with a sign."""
MOST = 128
"""What the levels of two neighbours of one sign add up to at most."""
_SMALLEST = np.float32(1e-30)  # of a level, so that a row of zeros can be divided by it, and one by it
_BLOCK = 4096  # rows at a time: a head can have 250,000, and each copy of it takes a gigabyte


def byte_levels(weights: NDArray[np.float32]) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Return weights as levels, and the size of a level in each row.

    Args:
        weights: float32 [outputs, inputs].

    Returns:
        levels: int8 [outputs, inputs]; the inputs 2i and 2i + 1 of one sign add up to `MOST` at most.
        units: float32 [outputs], above zero; levels times units are the weights, but for rounding.
    """
    levels = np.empty(weights.shape, dtype=np.int8)
    units = np.empty(len(weights), dtype=np.float32)
    for first in range(0, len(weights), _BLOCK):
        rows = slice(first, first + _BLOCK)
        block = weights[rows].astype(np.float32, copy=False)
        units[rows] = units_of(block)
        # Both of a pair may be rounded up by a half: hence a sum of 127 before, and of 128 after.
        levels[rows] = np.clip(np.rint(block / units[rows, None]), -LEVELS, LEVELS)
    return levels, units


def neighbours(levels: NDArray[Any]) -> NDArray[Any]:
    """Return the larger sum of one sign of each two neighbours, [outputs, half of the inputs, rounded up]."""
    padded = np.pad(levels, ((0, 0), (0, levels.shape[1] % 2)))
    sums = [np.maximum(side[:, 0::2], 0) + np.maximum(side[:, 1::2], 0) for side in (padded, -padded)]
    larger: NDArray[Any] = np.maximum(*sums)
    return larger


def units_of(block: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the size of a level in each row of weights, float32 [outputs]."""
    largest = neighbours(block).max(axis=1, initial=0.0)
    units: NDArray[np.float32] = np.maximum(largest / np.float32(LEVELS), _SMALLEST)
    return units
