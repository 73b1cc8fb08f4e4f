"""The descriptions of a knowledge base as a prefix tree of tokens: rows in sorted order, in which a prefix is a range.

What the rows of a range share after its prefix is what its first and its last row share, and its children are where
the next token changes. So the tree needs no nodes of its own: 180,000 descriptions are two arrays.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_LARGE = 512  # rows of a range from which on its children are kept


@dataclass(frozen=True, slots=True)
class Children:
    """The next tokens of a prefix, and the range of rows for each: row ``first[i]`` up to, not with, ``last[i]``."""

    tokens: NDArray[np.int32]
    first: NDArray[np.int64]
    last: NDArray[np.int64]


class Trie:
    """Token sequences in sorted order, each with the end token at its end. Thread-safe; rows may be equal.

    Attributes:
        tokens: of all rows, int32 [tokens].
        begins: where each row begins in it, int64 [rows]; `ends`: where it ends.
        numbers: the number of each row among all that were built, int64 [rows]; a restriction keeps them.
    """

    def __init__(self, tokens: NDArray[np.int32], begins: NDArray[np.int64], ends: NDArray[np.int64]) -> None:
        """Hold sorted rows.

        Args:
            tokens: of all rows, int32 [tokens]; mapped from a file or in memory.
            begins: where each row begins in it, int64 [rows].
            ends: where it ends.
        """
        self.tokens = tokens
        self.begins = begins
        self.ends = ends
        self.numbers: NDArray[np.int64] = np.arange(len(begins), dtype=np.int64)
        self._kept: dict[tuple[int, int, int], Children] = {}

    @classmethod
    def build(cls, sequences: Sequence[Sequence[int]], end: int) -> tuple[Trie, NDArray[np.int64]]:
        """Return the trie of sequences without their end token, and which sequence became each row, int64 [rows].

        Equal sequences keep their order. Ids are not negative.
        """
        lengths = np.fromiter(map(len, sequences), np.int64, len(sequences)) + 1
        ends = np.cumsum(lengths)
        begins = ends - lengths
        flat = np.fromiter(itertools.chain.from_iterable((*sequence, end) for sequence in sequences), np.int32)
        # The bytes of numbers, the highest first, are in the order of the numbers: a comparison is one of bytes.
        content = flat.astype(">i4").tobytes()
        keys = [content[4 * first : 4 * last] for first, last in zip(begins.tolist(), ends.tolist(), strict=True)]
        order = np.array(sorted(range(len(keys)), key=keys.__getitem__), dtype=np.int64)
        stops = np.cumsum(lengths[order])
        starts = stops - lengths[order]
        places = np.repeat(begins[order] - starts, lengths[order]) + np.arange(len(flat))
        return cls(flat[places], starts, stops), order

    def __len__(self) -> int:
        return len(self.begins)

    def restricted(self, rows: NDArray[np.bool_]) -> Trie:
        """Return the trie of the rows that are true in a mask, bool [rows]."""
        kept = Trie(self.tokens, self.begins[rows], self.ends[rows])
        kept.numbers = self.numbers[rows]
        return kept

    def sequence(self, row: int) -> NDArray[np.int32]:
        """Return the tokens of a row, the end token included."""
        return self.tokens[self.begins[row] : self.ends[row]]

    def run(self, first: int, last: int, depth: int) -> list[int]:
        """Return the tokens that rows `first` to `last` - 1 share from `depth` on; it is their common prefix so far."""
        one, other = self.sequence(first)[depth:], self.sequence(last - 1)[depth:]
        size = min(len(one), len(other))
        different = np.flatnonzero(one[:size] != other[:size])
        shared: list[int] = one[: different[0] if len(different) else size].tolist()
        return shared

    def children(self, first: int, last: int, depth: int) -> Children:
        """Return the next tokens of rows `first` to `last` - 1, of which none ends at `depth`."""
        key = (first, last, depth)
        known = self._kept.get(key)
        if known is None:
            known = self._children(first, last, depth)
            if last - first >= _LARGE:
                self._kept[key] = known
        return known

    def _children(self, first: int, last: int, depth: int) -> Children:
        tokens = self.tokens[self.begins[first:last] + depth]
        starts = np.concatenate(([0], np.flatnonzero(tokens[1:] != tokens[:-1]) + 1))
        stops = np.concatenate((starts[1:], [last - first]))
        return Children(tokens[starts], starts + first, stops + first)
