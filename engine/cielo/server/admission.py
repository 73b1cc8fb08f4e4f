"""The queue of mentions: who is let in, and what is linked together next.

Mentions wait in the order of their arrival. A batch is made of the oldest one and those near it in the queue that
agree with it in the options and are of like length, up to a budget of tokens; so nobody is passed over for ever, and
a mention longer than the budget goes alone. A request is let in whole or not at all, by its tokens.
"""

from __future__ import annotations

import asyncio
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

from cielo.options import LinkOptions
from cielo.records import Mention
from cielo.server.frames import Linked, Refused

_WINDOW = 256  # the mentions at the head of the queue that one batch is chosen from
_SHARE_OF_NEWS = 0.2  # of the last batch in the measured rate


class OverloadedError(Exception):
    """A request does not fit; `retry_after`: whole seconds until it is likely to."""

    def __init__(self, retry_after: int) -> None:
        super().__init__(retry_after)
        self.retry_after = retry_after


@dataclass(slots=True, eq=False)
class Item:
    """One mention that waits. `call` hears what became of it, under its `place`."""

    mention: Mention
    tokens: int
    options: LinkOptions
    call: Call
    place: int
    arrived: float


class Call:
    """The mentions of one caller, and what becomes of them. It belongs to one event loop.

    Attributes:
        items: that are waited for.
        outcomes: by place, as they come; those that need no waiting can stand there before.
        stages: seconds of the batch that was done last.
        queued: seconds that the mention waited that waited longest.
    """

    def __init__(self) -> None:
        """Wait for nothing yet."""
        self.items: list[Item] = []
        self.outcomes: dict[int, Linked | Refused] = {}
        self.stages: dict[str, float] = {}
        self.queued = 0.0
        self._open = 0
        self._answered = asyncio.Event()

    def expect(self, items: Sequence[Item]) -> None:
        """Wait for the outcomes of `items`."""
        self.items = list(items)
        self._open = len(self.items)

    def answer(self, place: int, outcome: Linked | Refused) -> None:
        """Keep the outcome of one item."""
        self.outcomes[place] = outcome
        self._open -= 1
        if not self._open:
            self._answered.set()

    async def answered(self) -> None:
        """Wait until every item has its outcome."""
        if self._open:
            await self._answered.wait()


class Rate:
    """How many tokens are worked off in a second: a mean in which the last batches count most."""

    def __init__(self, tokens_per_second: float) -> None:
        """Begin with what the warm-up showed."""
        self.tokens_per_second = max(1.0, tokens_per_second)

    def add(self, tokens: int, seconds: float) -> None:
        """Count a batch."""
        if seconds > 0 and tokens > 0:
            # Of seconds and not of rates, so that slow batches weigh what they cost.
            per_token = 1 / self.tokens_per_second
            per_token += _SHARE_OF_NEWS * (seconds / tokens - per_token)
            self.tokens_per_second = 1 / per_token


class Queue:
    """Mentions that wait. It belongs to one event loop.

    Attributes:
        tokens: that wait.
        at_work: tokens that are being linked, set by whoever took them: they count in what is let in.
    """

    def __init__(self, rate: Rate, *, most_tokens: int | None, most_seconds: float) -> None:
        """Let in up to `most_tokens`, or what is worked off in `most_seconds`; where nothing waits, any request."""
        self._rate, self._most_tokens, self._most_seconds = rate, most_tokens, most_seconds
        self._items: dict[Item, None] = {}
        self.tokens = self.at_work = 0

    def __len__(self) -> int:
        return len(self._items)

    @property
    def most_tokens(self) -> int:
        """The tokens that may wait or be worked at now."""
        return self._most_tokens or math.ceil(self._rate.tokens_per_second * self._most_seconds)

    def has_room(self, tokens: int) -> bool:
        """Tell whether a request of so many tokens is let in now."""
        return not self._items or self.at_work + self.tokens + tokens <= self.most_tokens

    def admit(self, items: Sequence[Item]) -> None:
        """Let a request in, whole.

        Raises:
            OverloadedError: where it does not fit.
        """
        tokens = sum(item.tokens for item in items)
        if not self.has_room(tokens):
            raise OverloadedError(self.retry_after(tokens))
        self._items.update(dict.fromkeys(items))
        self.tokens += tokens

    def retry_after(self, tokens: int) -> int:
        """Return the whole seconds after which so many tokens fit, at the measured rate; at least 1."""
        over = min(self.tokens, self.at_work + self.tokens + tokens - self.most_tokens)
        return max(1, math.ceil(over / self._rate.tokens_per_second))

    def take(self, budget: int) -> list[Item]:
        """Return what is to be linked together next.

        Args:
            budget: tokens of the batch.
        """
        oldest = next(iter(self._items), None)
        if oldest is None:
            return []
        near = [item for item in itertools.islice(self._items, _WINDOW) if item.options == oldest.options]
        # The sort is stable: of the same length, the older come first.
        chosen, tokens = [oldest], oldest.tokens
        for item in sorted(near, key=lambda item: abs(item.tokens - oldest.tokens)):
            if item is not oldest and tokens + item.tokens <= budget:
                chosen.append(item)
                tokens += item.tokens
        for item in chosen:
            del self._items[item]
        self.tokens -= tokens
        return chosen

    def is_full(self, budget: int) -> bool:
        """Tell whether a batch of `budget` tokens could be filled now."""
        return self.tokens >= budget

    def leave(self, call: Call) -> None:
        """Take out what waits of a caller who has left."""
        for item in call.items:
            if item in self._items:
                del self._items[item]
                self.tokens -= item.tokens
