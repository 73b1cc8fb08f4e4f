"""Leases: exclusive claims by files in a folder that several machines share.

A lease is a file that only one process can make (``O_EXCL``), and whose time of change it moves on as long as it lives.
One that stands still for too long belongs to a process that is dead or stopped, and is taken over. Ages are measured by
the clock of the file system alone: those of two machines can differ. Whoever holds a lease asks again before it
publishes anything.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import threading
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

_BEATS = 4  # in the time after which a lease is stale


class Lease:
    """A claim that is held; a thread keeps it alive until it is released."""

    def __init__(self, path: Path, token: str, stale_seconds: float) -> None:
        """Hold what `claim` made."""
        self._path, self._token = path, token
        self._ended = threading.Event()
        self._beat = threading.Thread(target=self._keep, args=(stale_seconds / _BEATS,), daemon=True)
        self._beat.start()

    def is_held(self) -> bool:
        """Tell whether nobody has taken it over."""
        return _token(self._path) == self._token

    def release(self) -> None:
        """Give it up."""
        self._ended.set()
        self._beat.join()
        if self.is_held():
            self._path.unlink(missing_ok=True)

    def _keep(self, pause: float) -> None:
        while not self._ended.wait(pause):
            with contextlib.suppress(OSError):
                if self.is_held():
                    os.utime(self._path)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


def claim(path: Path, stale_seconds: float) -> Lease | None:
    """Return the lease of a path; None where somebody alive holds it.

    Args:
        path: of its file.
        stale_seconds: after which a lease that nobody keeps alive is taken over.

    Raises:
        OSError: where the folder cannot be written.
    """
    token = secrets.token_hex(16)
    if _make(path, token) or (_is_stale(path, stale_seconds) and _take_over(path, token)):
        return Lease(path, token, stale_seconds)
    return None


def _make(path: Path, token: str) -> bool:
    try:
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o666)
    except FileExistsError:
        return False
    with os.fdopen(descriptor, "w", encoding="ascii") as stream:
        stream.write(token)
    return True


def _take_over(path: Path, token: str) -> bool:
    """Move a stale lease away and make another; of several who try, one gets it."""
    seen = _token(path)
    aside = path.with_name(f"{path.name}.{token}")
    try:
        path.rename(aside)
    except FileNotFoundError:
        return False  # another one was faster, or its holder has released it
    try:
        if _token(aside) != seen:  # it was a new one by then: its holder keeps it
            with contextlib.suppress(FileExistsError):
                os.link(aside, path)
            return False
    finally:
        aside.unlink(missing_ok=True)
    return _make(path, token)


def _token(path: Path) -> str | None:
    try:
        return path.read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError):
        return None


def _is_stale(path: Path, seconds: float) -> bool:
    try:
        return file_system_time(path.parent) - path.stat().st_mtime > seconds
    except FileNotFoundError:
        return False


def file_system_time(folder: Path) -> float:
    """Return the time by the clock that stamps the files of a folder, in seconds."""
    probe = folder / f".clock-{secrets.token_hex(8)}"
    try:
        probe.touch()
        return probe.stat().st_mtime
    finally:
        probe.unlink(missing_ok=True)


@contextlib.contextmanager
def claimed(path: Path, stale_seconds: float) -> Iterator[Lease | None]:
    """Claim a path for a block; None where somebody else holds it."""
    lease = claim(path, stale_seconds)
    try:
        yield lease
    finally:
        if lease is not None:
            lease.release()
