"""Leases: who works at what, so that processes and machines share a directory without a server between them.

A lease is a file that only one process can make (``O_EXCL``). Its holder touches it every few seconds; one that was not
touched for the stated time is taken away. Times are those of the file system, which all machines share. A lease only
saves double work: a fragment's bytes do not depend on who wrote it, and a finished file is never replaced.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_BEATS = 5  # touches within the time after which a lease is taken away


@dataclass(frozen=True, slots=True)
class _Holder:
    place: str  # the machine, its start and its space of process numbers
    process: int
    token: str


class Leases:
    """The leases of one process in a directory.

    Attributes:
        takeover: seconds without a touch after which a lease of another process is taken away. One whose process is
            known to have ended on this machine is taken away at once.
    """

    def __init__(self, folder: Path, takeover: float) -> None:
        self.takeover = takeover
        self._folder = folder
        self._me = _Holder(_place(), os.getpid(), secrets.token_hex(8))
        self._held: Path | None = None
        self._stop = threading.Event()
        self._clock = folder / f"clock-{self._me.token}"
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Leases:
        self._clock.touch()
        self._thread = threading.Thread(target=self._beat, daemon=True, name="leases")
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
        self._clock.unlink(missing_ok=True)

    @contextlib.contextmanager
    def claim(self, name: str) -> Iterator[bool]:
        """Claim what has a name, for the block; gives whether that was possible. One at a time.

        Raises:
            OSError: where the directory cannot be written to.
        """
        path = self._folder / f"{name}.lease"
        try:  # a signal can come as soon as the file is there
            taken = self._take(path)
            self._held = path if taken else None
            yield taken
        finally:
            self._held = None
            if self._is_mine(path):
                path.unlink(missing_ok=True)

    def holds(self) -> bool:
        """Tell whether what was claimed is still this process's: a stopped process can have lost it."""
        return self._held is not None and self._is_mine(self._held)

    def _take(self, path: Path) -> bool:
        if self._make(path):
            return True
        holder = _holder(path)
        if holder is None or not self._is_dead(path, holder):
            return False
        taken = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
        with contextlib.suppress(FileNotFoundError):
            path.rename(taken)
            if _holder(taken) != holder:  # another process was faster, and this is its lease
                with contextlib.suppress(FileExistsError):
                    path.hardlink_to(taken)
                taken.unlink(missing_ok=True)
                return False
            taken.unlink(missing_ok=True)
        return self._make(path)

    def _make(self, path: Path) -> bool:
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        except FileExistsError:
            return False
        try:
            os.write(descriptor, f"{self._me.place}\n{self._me.process}\n{self._me.token}\n".encode())
        except OSError:
            path.unlink(missing_ok=True)
            raise
        finally:
            os.close(descriptor)
        return True

    def _is_mine(self, path: Path) -> bool:
        return _holder(path) == self._me

    def _is_dead(self, path: Path, holder: _Holder) -> bool:
        if holder.place == self._me.place and holder.process and not _is_running(holder.process):
            return True
        try:
            os.utime(self._clock)
            return self._clock.stat().st_mtime - path.stat().st_mtime > self.takeover
        except FileNotFoundError:
            return False

    def _beat(self) -> None:
        while not self._stop.wait(self.takeover / _BEATS):
            path = self._held
            if path is not None and self._is_mine(path):
                with contextlib.suppress(OSError):
                    os.utime(path)


def _holder(path: Path) -> _Holder | None:
    """Return who holds a lease; None: it is gone. One that was only begun has a holder without a name."""
    try:
        lines = path.read_text("utf-8", "replace").splitlines()
    except FileNotFoundError:
        return None
    if len(lines) != 3 or not lines[1].isdecimal():
        return _Holder("", 0, "")
    return _Holder(lines[0], int(lines[1]), lines[2])


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def _place() -> str:
    parts = [socket.gethostname()]
    with contextlib.suppress(OSError):
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip())
    with contextlib.suppress(OSError):
        parts.append(str(Path("/proc/self/ns/pid").readlink()))
    return " ".join(parts)
