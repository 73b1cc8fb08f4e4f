"""A saved graph, checked before hnswlib loads it: hnswlib follows the numbers in the file, even out of its memory.

A file of hnswlib 0.8 holds a header; an element for each vector (its neighbours at level 0, the vector, its label); and
for each element the size of its neighbour lists of the levels above, followed by these lists. A list has a fixed size:
the number of neighbours, then so many ids of elements, then room.
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from cielo.files import open_regular

_HEADER = struct.Struct("<6QiI3QdQ")
_MOST_LINKS = 1024  # of an element at one level above 0; 16 are usual
_MOST_LEVELS = 64  # 180,000 vectors have about 5
_BLOCK = 1 << 23  # bytes of elements that are looked at together
_LABEL = 8  # bytes


@dataclass(frozen=True, slots=True)
class GraphShape:
    """What the header of a saved graph says.

    Attributes:
        count: vectors.
        dimension: of each.
        links: neighbours of an element at a level above 0, at most; at level 0 there are twice as many.
        levels: the highest level.
        entry: the element that a search begins with.
    """

    count: int
    dimension: int
    links: int
    levels: int
    entry: int

    @property
    def element(self) -> np.dtype[np.void]:
        """One element, as it lies in the file."""
        return np.dtype(
            [("links", "<u4", 1 + 2 * self.links), ("vector", "<f4", self.dimension), ("label", "<u8")]
        )  # fmt: skip

    @property
    def elements_begin(self) -> int:
        """Where the first element lies."""
        return _HEADER.size


def check_graph(path: Path) -> GraphShape:
    """Return the shape of a saved graph, once everything that hnswlib would follow is known to lead somewhere.

    Raises:
        OSError: where the file cannot be read.
        ValueError: where it is not what hnswlib saves.
    """
    with open_regular(path) as stream:
        shape = _read_header(stream)
        begin = shape.elements_begin + shape.count * shape.element.itemsize
        levels, lists = _read_levels(stream, shape, begin)
        _require(
            int(levels.max()) == levels[shape.entry] == shape.levels, "another highest level than its elements have"
        )
        _check_elements(stream, shape)
    _check_lists(shape, levels, lists)
    return shape


def _require(right: bool | np.bool_, fault: str) -> None:
    if not right:
        raise ValueError(f"the graph has {fault}")


def _read_header(stream: BinaryIO) -> GraphShape:
    content = stream.read(_HEADER.size)
    _require(len(content) == _HEADER.size, "no whole header")
    (
        links_begin, room, count, size, label, vector, levels, entry, most_above, most, links, factor, _
    ) = _HEADER.unpack(content)  # fmt: skip
    _require(1 <= links <= _MOST_LINKS and (most_above, most) == (links, 2 * links), "impossible numbers of neighbours")
    _require(links_begin == 0 and vector == 4 * (1 + most), "no room for its neighbours")
    _require(label > vector and (label - vector) % 4 == 0 and size == label + _LABEL, "no room for its vectors")
    _require(1 <= count <= room and count * size <= os.fstat(stream.fileno()).st_size, "fewer elements than it says")
    _require(0 <= levels <= _MOST_LEVELS and entry < count, "no element that a search begins with")
    _require(np.isfinite(factor) and factor > 0, "an impossible factor of its levels")
    return GraphShape(count, (label - vector) // 4, links, levels, entry)


def _read_levels(stream: BinaryIO, shape: GraphShape, begin: int) -> tuple[NDArray[np.int64], NDArray[np.uint32]]:
    """Return the level of each element, and the neighbour lists above level 0, one row each: element by element."""
    size = os.fstat(stream.fileno()).st_size - begin
    _require(size % 4 == 0, "an end that is no whole number")
    stream.seek(begin)
    words = np.frombuffer(stream.read(size), dtype="<u4")
    # Most elements are of level 0 alone, and their lists have no bytes: it is a jump from one with some to the next.
    having = np.flatnonzero(words)
    jump = np.full(len(words) + 1, len(words), dtype=np.int64)
    jump[having] = having
    jump = np.minimum.accumulate(jump[::-1])[::-1]
    levels = np.zeros(shape.count, dtype=np.int64)
    row, places, place, element = 1 + shape.links, [], int(jump[0]), int(jump[0])
    while place < len(words):
        level, rest = divmod(int(words[place]), 4 * row)
        _require(rest == 0 and level <= shape.levels and element < shape.count, "lists of an impossible size")
        levels[element] = level
        places.append(place + 1)
        end = place + 1 + level * row
        _require(end <= len(words), "lists that end beyond the file")
        place = int(jump[end])
        element += 1 + place - end
    _require(element == shape.count, "lists for more or fewer elements than it has")
    raised = levels[levels > 0]
    starts = np.repeat(np.array(places, dtype=np.int64), raised) + row * _counted(raised)
    inside = (starts[:, None] + np.arange(row)).ravel()
    return levels, words[inside].reshape(-1, row)


def _counted(lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return 0, 1, ... length - 1 for each of some lengths, one after the other."""
    ends = np.cumsum(lengths)
    return np.arange(ends[-1] if len(ends) else 0) - np.repeat(ends - lengths, lengths)


def _check_elements(stream: BinaryIO, shape: GraphShape) -> None:
    stream.seek(shape.elements_begin)
    seen = np.zeros(shape.count, dtype=bool)
    block = max(1, _BLOCK // shape.element.itemsize)
    for start in range(0, shape.count, block):
        wanted = min(block, shape.count - start) * shape.element.itemsize
        elements = np.frombuffer(stream.read(wanted), dtype=shape.element)
        _check_neighbours(elements["links"], 2 * shape.links, shape.count)
        _require((elements["label"] < shape.count).all(), "labels that are none")
        seen[elements["label"]] = True
        with np.errstate(over="ignore", invalid="ignore"):
            lengths = np.einsum("ij,ij->i", elements["vector"], elements["vector"])
        _require(np.isfinite(lengths).all(), "vectors that are not finite")
    _require(seen.all(), "a label twice")


def _check_neighbours(lists: NDArray[np.uint32], room: int, count: int) -> NDArray[np.bool_]:
    """Return which entries of neighbour lists are neighbours, once each is known to be an element."""
    # The upper half of a count holds a mark of deleted elements: a bundle has none.
    _require((lists[:, 0] <= room).all(), "an element with more neighbours than there is room for")
    used = np.arange(room) < lists[:, :1]
    _require(not (used & (lists[:, 1:] >= count)).any(), "a neighbour that is none of its elements")
    return used


def _check_lists(shape: GraphShape, levels: NDArray[np.int64], lists: NDArray[np.uint32]) -> None:
    used = _check_neighbours(lists, shape.links, shape.count)
    at = 1 + _counted(levels[levels > 0])  # the level of each list
    reached = np.where(used, levels[np.where(used, lists[:, 1:], 0)], shape.levels)
    _require((reached >= at[:, None]).all(), "a neighbour that is not of its level")
