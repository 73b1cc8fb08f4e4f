"""A work file of vectors: what was embedded before a run was stopped need not be embedded again.

The first line is the SHA-256 of all that the vectors depend on, in hexadecimal: a file of anything else is begun anew.
Then comes block after block: the SHA-256 of its rows (32 bytes), and the rows, float32. A block that is not whole ends
what can be taken.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Self

import numpy as np

from cielo.errors import BundleError, remedy_for
from cielo.retrieval.vectors import Vectors

_DIGEST = 32


class KeptVectors:
    """Blocks of vectors in the order in which they were made: those that are there are taken, then others added."""

    def __init__(self, path: Path, identity: str, dimension: int) -> None:
        """Open the file, mode 0600, or make it; it is locked until it is closed. See also `open`.

        Args:
            path: of the file.
            identity: the SHA-256, in hexadecimal, of all that the vectors depend on.
            dimension: of the vectors.

        Raises:
            BundleError: where it cannot be written, is no regular file, or another process works with it.
        """
        self._path = path
        self._dimension = dimension
        self._taking = True
        self._empty = False
        self.taken = 0  # rows
        with self._told():
            self._file = _open(path)
        try:
            with self._told():
                head = f"{identity}\n".encode()
                if self._file.read(len(head)) != head:
                    self._taking, self._empty = False, True
                    self._file.seek(0)
                    self._file.truncate()
                    self._write(head)
        except BaseException:
            self._file.close()
            raise

    def take(self, rows: int) -> Vectors | None:
        """Return the next block, which must have so many rows; None: from here on there is none."""
        if not self._taking:
            return None
        with self._told():
            begin = self._file.tell()
            size = 4 * rows * self._dimension
            digest, content = self._file.read(_DIGEST), self._file.read(size)
            if len(content) == size and hashlib.sha256(content).digest() == digest:
                self.taken += rows
                return np.frombuffer(content, dtype=np.float32).reshape(rows, self._dimension)
            self._taking = False
            self._file.seek(begin)
            self._file.truncate()
        return None

    def add(self, block: Vectors) -> None:
        """Keep the next block.

        Raises:
            BundleError: where it cannot be written; what was kept before stays.
        """
        self._taking = False
        content = np.ascontiguousarray(block, dtype=np.float32).tobytes()
        with self._told():
            self._write(hashlib.sha256(content).digest() + content)
        self._empty = False

    def _write(self, content: bytes) -> None:
        self._file.write(content)
        self._file.flush()
        os.fsync(self._file.fileno())

    def remove(self) -> None:
        """Remove the file: what it kept is no longer needed."""
        self._path.unlink(missing_ok=True)

    def close(self) -> None:
        """Close the file, which stays where anything is kept in it."""
        if self._empty:
            self.remove()
        with contextlib.suppress(OSError):  # what is left in its buffer could not be written, which was said
            self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except BlockingIOError as error:
            raise BundleError(
                f"another process is at work with the vectors in {self._path}; wait for it, or name another output"
            ) from error
        except OSError as error:
            raise BundleError(
                f"the vectors cannot be kept in {self._path} ({error.strerror}); "
                f"{remedy_for(error, 'name another output')}"
            ) from error


def _open(path: Path) -> BinaryIO:
    number = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o600)
    try:
        if not stat.S_ISREG(os.fstat(number).st_mode):
            raise OSError(errno.EINVAL, "not a regular file", str(path))
        fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return os.fdopen(number, "r+b")
    except BaseException:
        os.close(number)
        raise
