"""Progress inside a call: what runs batches reports each that is done, and whoever listens in that thread is told.

A context variable, not an argument: the protocols of backends stay as they are, nobody pays who does not listen, and a
backend that reports nothing is one whose whole call is one step.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextvars import ContextVar

# Is told, in the thread that calls, by which share of the call more is done: in (0, 1], 1 in all.
Listener = Callable[[float], None]

_listener: ContextVar[Listener | None] = ContextVar("_listener", default=None)


@contextlib.contextmanager
def listening(listener: Listener | None) -> Iterator[None]:
    """Have a listener told of what is reported inside; None: nobody."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)


@contextlib.contextmanager
def part_of_call(share: float) -> Iterator[None]:
    """Let what is reported inside count for so much of the caller's call: it is done in several steps."""
    outer = _listener.get()
    with listening(None if outer is None else lambda done: outer(share * done)):
        yield


def report(share: float) -> None:
    """Say, in the thread that was called, that a further share of the call is done."""
    listener = _listener.get()
    if listener is not None:
        listener(share)
