"""Arithmetic on matrices of unit vectors: distances, principal components, and work in blocks."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]
# Rows of vectors that are worked on at once: what bounds the memory of building and exact search.
_BLOCK = 4096


def squared_distances(left: Vectors, right: Vectors) -> NDArray[np.float32]:
    """Return the squared L2 distances [n, m] of the rows of two matrices of unit vectors, 2 - 2 cos."""
    return np.asarray(2.0 - 2.0 * (left @ right.T), dtype=np.float32)


def blocks(count: int, size: int = _BLOCK) -> Iterator[NDArray[np.int64]]:
    """Yield the numbers below `count`, in arrays of at most `size`, and never more than `_BLOCK`."""
    for start in range(0, count, min(size, _BLOCK)):
        yield np.arange(start, min(start + min(size, _BLOCK), count))


def project(vectors: Vectors, projection: Vectors | None) -> Vectors:
    """Return the images [n, reduced] of vectors [n, dimension]; without a projection the vectors themselves."""
    return vectors if projection is None else np.asarray(vectors @ projection, dtype=np.float32)


def principal_directions(vectors: Vectors, dimension: int | None) -> Vectors | None:
    """Return the directions in which vectors [n, full] differ most, as columns, [full, dimension]; None: all of them.

    No mean is taken off before projecting: in a distance between two vectors it would cancel out.
    """
    count, full = vectors.shape
    if dimension is None or dimension >= full:
        return None
    mean = vectors.mean(axis=0, dtype=np.float64)
    covariance = np.zeros((full, full))
    for block in blocks(count):
        centred = vectors[block] - mean
        covariance += centred.T @ centred
    directions = np.linalg.eigh(covariance)[1][:, ::-1][:, : min(dimension, count)]
    # An eigenvector and its negative are equally good: the one whose largest component is positive is taken.
    largest = directions[np.argmax(np.abs(directions), axis=0), np.arange(directions.shape[1])]
    return np.ascontiguousarray(directions * np.sign(largest), dtype=np.float32)
