"""Who may use a linker: nobody after it was closed, and no process but the one that opened it."""

from __future__ import annotations

import atexit
import contextlib
import os
import threading
import weakref
from collections.abc import Iterator
from typing import Protocol

from cielo.errors import ClosedError


class Guard:
    """Counts the calls at work, so that closing waits for them. Thread-safe."""

    def __init__(self) -> None:
        self._process = os.getpid()
        self._idle = threading.Condition()
        self._working = 0
        self._closed = False
        self._exiting = False

    @contextlib.contextmanager
    def working(self) -> Iterator[None]:
        """Hold the linker open for the time of a call.

        Raises:
            ClosedError: where it is closed, or belongs to another process.
        """
        self.check_process()
        with self._idle:
            # At the interpreter's end only daemon threads are left: they wait for it, and end with it.
            self._idle.wait_for(lambda: not self._exiting)
            if self._closed:
                raise ClosedError("this linker is closed; open another one")
            self._working += 1
        try:
            yield
        finally:
            with self._idle:
                self._working -= 1
                self._idle.notify_all()

    def check_process(self) -> None:
        """Refuse a process that was forked off: the threads of the models' libraries are not in it.

        Raises:
            ClosedError: saying what to do instead.
        """
        if os.getpid() != self._process:
            raise ClosedError(
                "this linker was opened in another process, and its models do not survive a fork; open one in each "
                'process, and start processes by multiprocessing.get_context("spawn")'
            )

    def close(self, *, at_exit: bool = False) -> bool:
        """Let no more calls in, and wait for those at work; return whether the models are to be released now.

        Args:
            at_exit: the interpreter ends: what is called afterwards waits for that, instead of failing.
        """
        if os.getpid() != self._process:
            return False
        with self._idle:
            first, self._closed = not self._closed, True
            self._exiting = self._exiting or at_exit
            self._idle.wait_for(lambda: not self._working)
        return first


class Closable(Protocol):
    """What is closed when the interpreter ends."""

    def close_for(self, *, at_exit: bool) -> None:
        """Close it; see `Guard.close`."""
        ...


# A backend can abort the process where a thread still decodes at its end: what is open is closed before.
_OPEN: weakref.WeakSet[Closable] = weakref.WeakSet()


def close_at_exit(opened: Closable) -> None:
    """Have it closed when the interpreter ends, if it is still there."""
    _OPEN.add(opened)


@atexit.register
def _close_all() -> None:
    for opened in list(_OPEN):
        opened.close_for(at_exit=True)
