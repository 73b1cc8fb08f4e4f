"""Turns at the models: with a memory budget one caller works at a time, for a few mentions."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Sequence
from typing import TypeVar

from cielo.machine import give_back_memory

_T = TypeVar("_T")
# Mentions of one turn, and candidates of all of them: what is held of each on its way is small beside what the models
# need.
_ROWS, _CANDIDATES = 256, 4096


class Turns:
    """Lets one caller at a time have the working memory of a linker. Thread-safe."""

    def __init__(self, cache_bytes: int) -> None:
        """Set aside `cache_bytes` for the links that are kept in memory."""
        self.cache_bytes = cache_bytes
        self._lock = threading.Lock()

    def parts(self, batch: Sequence[_T], candidates: int) -> Iterator[Sequence[_T]]:
        """Yield a batch in parts that are each for one turn, where each mention may have so many candidates."""
        rows = max(1, min(_ROWS, _CANDIDATES // candidates))
        return (batch[start : start + rows] for start in range(0, len(batch), rows))

    @contextlib.contextmanager
    def taken(self) -> Iterator[None]:
        """Wait for a turn, and give the memory back that is free after it: each thread has a heap of its own."""
        with self._lock:
            try:
                yield
            finally:
                give_back_memory()
