"""NumPy's files of arrays, loaded by one thread at a time.

NumPy parses their headers by `ast`, whose constructor can fail in Python 3.11 where two threads are in it ("AST
constructor recursion depth mismatch", https://github.com/python/cpython/issues/106905); a bundle is opened by several.
"""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

_LOADING = threading.Lock()


def load_array(file: Path, *, mapped: bool = False) -> NDArray[Any]:
    """Return the array of a ``.npy`` file; objects in it are refused.

    Args:
        file: regular and trusted to be there; what it holds is checked by the caller.
        mapped: whether it is read in place, where it is needed.

    Raises:
        OSError, ValueError: where it cannot be read, or holds no array.
    """
    with _LOADING:
        found: NDArray[Any] = np.load(file, mmap_mode="r" if mapped else None, allow_pickle=False)
    return found


def parse_header(stream: BinaryIO) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Return the shape, whether it lies column by column, and the type of the array whose header comes next.

    Raises:
        ValueError: where there is no header of version 1.0.
    """
    with _LOADING:
        shape, by_column, kind = np.lib.format.read_array_header_1_0(stream)
    return shape, by_column, kind
