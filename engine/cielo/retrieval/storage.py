"""The files of an index: vectors and descriptions that are read where they lie, and the shape of a saved graph.

Read with `os.pread` and not mapped, because mapped pages would count as the process's own memory.
"""

from __future__ import annotations

import json
import math
import os
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, Final, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from cielo.arrays import load_array, parse_header
from cielo.errors import BundleError
from cielo.files import read_bounded
from cielo.retrieval.vectors import Vectors

_MOST_BYTES = 500_000_000  # of what is read whole
_DIMENSIONS: Final = {"list": 1, "matrix": 2}
_MOST_LINES, _LONGEST_LINE = 50_000_000, 16_000_000


class Descriptions(Protocol):
    """The descriptions of each label: a list, or a file that is read where it is asked."""

    def __len__(self) -> int: ...
    def __getitem__(self, label: int, /) -> list[str]: ...
    def __iter__(self) -> Iterator[list[str]]: ...


class Rows(Protocol):
    """Vectors by label: an array, or a file that is read where it is asked."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Rows and dimension."""
        ...

    def __getitem__(self, labels: NDArray[np.int64], /) -> Vectors: ...


class _File:
    """A file that is read at given places, by any thread, and closed when nothing refers to it."""

    def __init__(self, path: Path) -> None:
        self._name = path.name
        self._number = os.open(path, os.O_RDONLY)
        weakref.finalize(self, os.close, self._number)

    def announce(self, size: int, offset: int) -> None:
        """Name a place that is read next: the system fetches several from the disk at once, in a third of the time."""
        if hasattr(os, "posix_fadvise"):  # not on macOS
            os.posix_fadvise(self._number, offset, size, os.POSIX_FADV_WILLNEED)

    def read(self, size: int, offset: int) -> bytes:
        content = os.pread(self._number, size, offset)
        self._refuse_other(len(content), size)
        return content

    def read_into(self, buffer: memoryview, offset: int) -> None:
        self._refuse_other(os.preadv(self._number, [buffer], offset), buffer.nbytes)

    def _refuse_other(self, size: int, expected: int) -> None:
        if size != expected:
            raise BundleError(f"the index's {self._name} is shorter than when it was opened; copy the bundle again")


class VectorFile:
    """The rows of an ``.npy`` file of float32 vectors, read where they are asked.

    Raises:
        ValueError: where the file is no whole matrix of float32 rows.
    """

    def __init__(self, path: Path) -> None:
        with path.open("rb") as stream:
            self.shape = _shape_of_rows(path, stream)
            self._begin = stream.tell()
        self._path = path
        self._file = _File(path)

    def __getitem__(self, labels: NDArray[np.int64]) -> Vectors:
        """Return rows as one array; neighbouring ones are read together."""
        rows = np.empty((len(labels), self.shape[1]), dtype=np.float32)
        starts = [0, *(np.flatnonzero(np.diff(labels) != 1) + 1).tolist()]
        runs = [
            (rows[start:stop].data, self._begin + rows.strides[0] * int(labels[start]))
            for start, stop in zip(starts, [*starts[1:], len(labels)], strict=True)
        ]
        for buffer, offset in runs:
            self._file.announce(buffer.nbytes, offset)
        for buffer, offset in runs:
            self._file.read_into(buffer, offset)
        return rows

    def mapped(self) -> Vectors:
        """Return all rows as a view of the file, resident as long as it is held."""
        vectors: Vectors = load_array(self._path, mapped=True)
        return vectors


class DescriptionFile:
    """The descriptions of each label, a line of JSON each, read where they are asked.

    As lists in memory, 180,000 of them took 43 MB and 0.12 s of opening; as a file, 1.4 MB, 0.01 s, and 5 us a line.

    Raises:
        ValueError: where the file does not end with a whole line.
    """

    def __init__(self, path: Path) -> None:
        ends, size = [np.zeros(1, dtype=np.int64)], 0
        with path.open("rb") as stream:
            while chunk := stream.read(1 << 20):
                ends.append(np.flatnonzero(np.frombuffer(chunk, dtype=np.uint8) == ord("\n")) + size + 1)
                size += len(chunk)
                if sum(map(len, ends)) > _MOST_LINES:
                    raise ValueError(f"{path.name} has more than {_MOST_LINES:,} lines")
        self._ends = np.concatenate(ends)
        if self._ends[-1] != size:
            raise ValueError(f"{path.name} does not end with a whole line")
        if len(self) and np.diff(self._ends).max() > _LONGEST_LINE:
            raise ValueError(f"{path.name} has a line of more than {_LONGEST_LINE / 1e6:g} MB")
        self._file = _File(path)

    def __len__(self) -> int:
        return len(self._ends) - 1

    def __getitem__(self, label: int) -> list[str]:
        if not 0 <= label < len(self):
            raise IndexError(label)
        begin, end = int(self._ends[label]), int(self._ends[label + 1])
        try:
            return _texts(json.loads(self._file.read(end - begin, begin).decode("utf-8")))
        except (ValueError, RecursionError) as error:
            raise BundleError("the index's descriptions cannot be read; build the bundle again") from error

    def __iter__(self) -> Iterator[list[str]]:
        return (self[label] for label in range(len(self)))


def _texts(value: Any) -> list[str]:
    if not isinstance(value, list) or not value or not all(isinstance(text, str) for text in value):
        raise ValueError("expected a list of descriptions")
    return value


def read_descriptions(directory: Path) -> Descriptions:
    """Open the descriptions of an index, by label.

    Raises:
        ValueError: where the file is not what `Index.save` wrote.
    """
    # Compatibility: bundles from before the reduced graph, the shipped mini among them, hold all in one JSON array.
    old = directory / "descriptions.json"
    if old.exists():
        return [_texts(value) for value in json.loads(read_bounded(old, _MOST_BYTES).decode("utf-8"))]
    return DescriptionFile(directory / "descriptions.jsonl")


def read_projection(path: Path) -> Vectors | None:
    """Return the projection of a reduced graph, float32 [dimension of the vectors, of the graph]; None: there is none.

    Raises:
        ValueError: where the file holds anything else.
    """
    if not path.exists():
        return None
    if path.stat().st_size > _MOST_BYTES:
        raise ValueError(f"{path.name} is longer than {_MOST_BYTES / 1e6:g} MB")
    with path.open("rb") as stream:
        _shape_of_rows(path, stream)
    projection: Vectors = load_array(path)
    if not np.isfinite(projection).all():
        raise ValueError(f"{path.name} holds numbers that are not finite")
    return projection


def _shape_of_rows(path: Path, stream: BinaryIO) -> tuple[int, int]:
    """Return the shape of an ``.npy`` file, whose stream then stands at its first row.

    Raises:
        ValueError: where the file is no whole matrix of float32 rows.
    """
    rows, columns = read_header(path, stream, np.float32, "matrix")
    return rows, columns


def read_header(
    path: Path, stream: BinaryIO, kind: type[np.generic], form: Literal["list", "matrix"]
) -> tuple[int, ...]:
    """Return the shape of an ``.npy`` file of numbers, whose stream then stands at the first of them.

    Args:
        path: of the file.
        stream: of its bytes, at their beginning.
        kind: of the numbers.
        form: a list of them, or a matrix row by row.

    Raises:
        ValueError: where the file is anything else, or longer or shorter than it says.
    """
    if np.lib.format.read_magic(stream) != (1, 0):  # others are for longer headers
        raise ValueError(f"{path.name} is in a form that is not read")
    try:
        shape, by_column, found = parse_header(stream)
    except Exception as error:  # of Python's own tokenizer and parser, and of numpy's types
        raise ValueError(f"{path.name} has a header that cannot be read") from error
    begin = stream.tell()
    size = stream.seek(0, os.SEEK_END) - begin
    stream.seek(begin)
    dimensions, wanted = _DIMENSIONS[form], np.dtype(kind)
    fits = len(shape) == dimensions and found == wanted and not (by_column and dimensions > 1)
    if not fits or size != wanted.itemsize * math.prod(shape):
        what = "rows" if dimensions > 1 else "numbers"
        raise ValueError(f"{path.name} is not a whole {form} of {wanted.name} {what}")
    return tuple(shape)
