"""Progress of linking: who waits for a batch of mentions is told how many more of them are done, while they are."""

from __future__ import annotations

import math
from collections.abc import Callable

from cielo.generation.progress import Listener

# Is told, in the thread that links, how many more mentions (entries of a stream, errors among them) are done, at least
# 1; the sum is their number. What it raises ends the call.
Told = Callable[[int], None]
_ROUNDING = 1e-6


class BatchProgress:
    """Turns what the stages report of one batch into whole mentions; not thread-safe, as a batch has one thread."""

    def __init__(self, told: Told | None, mentions: int) -> None:
        """Tell of so many mentions; None: nobody is told."""
        self._told = told
        self._left = float(mentions)  # that no stage has reported
        self._untold = mentions

    def done(self, mentions: float) -> None:
        """Count mentions, or parts of one, that are done."""
        self._left = max(0.0, self._left - mentions)
        more = self._untold - max(0, math.ceil(self._left - _ROUNDING))
        if more > 0 and self._told is not None:
            self._untold -= more
            self._told(more)

    def rest(self, share: float = 1.0) -> Listener | None:
        """Return a listener for a stage that does this share of what is left; None where nobody is told."""
        if self._told is None:
            return None
        mentions = share * self._left
        return lambda done: self.done(done * mentions)

    def finish(self) -> None:
        """Count what is left: a stage need not report anything."""
        self.done(self._left)
