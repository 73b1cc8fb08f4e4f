"""The way between the queue and the worker: which batch goes out when, and who hears of its outcomes."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from cielo.server.admission import Call, Item, Queue, Rate
from cielo.server.frames import Batch, Done, Linked, Refused
from cielo.server.metrics import Metrics
from cielo.server.pool import Reason, Supervisor
from cielo.server.settings import ServeSettings

_LOST = Refused("not_ready", "the process of the models ended at work; it is started again: ask again in a moment")


@dataclass(frozen=True, slots=True)
class _AtWork:
    items: list[Item]
    tokens: int
    sent: float
    use: str


class Dispatcher:
    """Hands batches to the worker as soon as it can take one; nothing is held back to make a batch larger."""

    def __init__(self, settings: ServeSettings, metrics: Metrics) -> None:
        """Hold what is needed; see `start`."""
        self._settings, self._metrics = settings, metrics
        self.supervisor = Supervisor(
            settings, on_done=self._done, on_up=self._up, on_down=self._lost, is_overdue=self._is_overdue
        )
        self._at_work: dict[int, _AtWork] = {}
        self._number = 0
        self._moved = asyncio.Event()
        self.rate: Rate
        self.queue: Queue
        self._budget = 0

    async def start(self) -> None:
        """Start the worker.

        Raises:
            CieloError: where it cannot be started.
        """
        await self.supervisor.start()
        ready = self.supervisor.ready
        self.rate = Rate(ready.tokens_per_second)
        most_seconds = self._settings.queue_seconds
        self.queue = Queue(self.rate, most_tokens=self._settings.queue_tokens, most_seconds=most_seconds)
        self._budget = self._settings.batch_tokens or ready.batch_tokens

    async def close(self) -> None:
        """End the worker."""
        await self.supervisor.close()

    def submit(self, call: Call) -> None:
        """Let a caller's mentions in, all or none.

        Raises:
            OverloadedError: where they do not fit.
        """
        self.queue.admit(call.items)
        self._pump()

    async def room(self, tokens: int) -> None:
        """Wait until a request of so many tokens would be let in, and there is a worker."""
        while not (self.supervisor.up and self.queue.has_room(tokens)):
            self._moved.clear()
            await self._moved.wait()

    def leave(self, call: Call) -> None:
        """Take out what waits of a caller that does not wait any more."""
        self.queue.leave(call)

    @property
    def _now(self) -> float:
        return asyncio.get_running_loop().time()

    def _up(self) -> None:
        self._moved.set()
        self._pump()

    def _pump(self) -> None:
        # A second batch goes out ahead of time only where it is full: then waiting could not make it better.
        while self.supervisor.up and (
            not self._at_work or (len(self._at_work) == 1 and self.queue.is_full(self._budget))
        ):
            items = self.queue.take(self._budget)
            if not items:
                return
            self._send(items)

    def _send(self, items: list[Item]) -> None:
        self._number += 1
        alone = len(items) == 1 and not len(self.queue) and not self._at_work
        work = _AtWork(items, sum(item.tokens for item in items), self._now, "single" if alone else "bulk")
        self._at_work[self._number] = work
        self.queue.at_work += work.tokens
        self.supervisor.send(Batch(self._number, work.use, items[0].options, [item.mention for item in items]))
        for item in items:
            self._metrics.queue_seconds.observe(work.sent - item.arrived)
        self._metrics.batch_mentions.observe(len(items))
        self._metrics.batch_tokens.observe(work.tokens)

    def _done(self, done: Done) -> None:
        work = self._at_work.pop(done.number)
        self.queue.at_work -= work.tokens
        self.rate.add(work.tokens, done.seconds)
        self._metrics.batch_seconds.labels(work.use).observe(done.seconds)
        for stage, seconds in done.stages.items():
            self._metrics.stage_seconds.labels(stage).inc(seconds)
        for item, outcome in zip(work.items, done.outcomes, strict=True):
            self._metrics.mentions.labels(outcome.method if isinstance(outcome, Linked) else "error").inc()
            item.call.stages = done.stages
            item.call.queued = max(item.call.queued, work.sent - item.arrived)
            item.call.answer(item.place, outcome)
        self._pump()
        self._moved.set()

    def _lost(self, reason: Reason) -> None:
        self._metrics.worker_restarts.labels(reason).inc()
        lost, self._at_work, self.queue.at_work = self._at_work, {}, 0
        for work in lost.values():
            for item in work.items:
                self._metrics.mentions.labels("error").inc()
                item.call.answer(item.place, _LOST)
        self._moved.set()

    def _is_overdue(self) -> bool:
        """Tell whether a batch is at work for which nobody waits any more."""
        first = next(iter(self._at_work.values()), None)
        return first is not None and self._now - first.sent > 2 * self._settings.request_seconds
