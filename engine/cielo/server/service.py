"""The service behind the routes: mentions in, outcomes out, for all callers together."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Self

import msgspec

from cielo.bundle.layout import Bundle, default_bundle
from cielo.bundle.prompts import Prompts
from cielo.errors import CieloError, MentionError
from cielo.knowledge.code_systems import address_of, parse_code_systems
from cielo.knowledge.reading import KnowledgeBase
from cielo.knowledge.records import CodeSystem
from cielo.machine import library_versions, resident_bytes
from cielo.options import LinkOptions
from cielo.records import BundleIdentity, Link, Mention
from cielo.server.admission import Call, Item
from cielo.server.dispatch import Dispatcher
from cielo.server.frames import Linked, Refused
from cielo.server.metrics import Metrics
from cielo.server.settings import ServeSettings
from cielo.text.kinds import named_kind
from cielo.wire import Info, Limits

_LOG = logging.getLogger("cielo.server")
# Requests with more mentions are tokenised in a thread, so that the others' are not kept waiting.
_AT_ONCE = 16
_LATE = Refused("deadline", "the time for this request was over before the mention was linked; ask again, or for less")
_DRAINING = Refused("draining", "the server is about to end; ask another one, or this one when it is back")
_NOT_READY = Refused("not_ready", "the models are not ready yet; ask again in a moment")


@dataclass(frozen=True, slots=True)
class Answers:
    """What became of the mentions of a request.

    Attributes:
        outcomes: in their order.
        tokens: of all prompts.
        queued: seconds that the mention waited that waited longest.
        stages: seconds of the stages of the batch that was done last.
    """

    outcomes: list[Linked | Refused]
    tokens: int = 0
    queued: float = 0.0
    stages: dict[str, float] = field(default_factory=dict)

    @property
    def linked(self) -> int:
        """How many have a link, be it to no code."""
        return sum(isinstance(outcome, Linked) for outcome in self.outcomes)


def link_of(outcome: Linked) -> Link:
    """Return the link itself."""
    return msgspec.json.decode(outcome.json, type=Link)


class Service:
    """A bundle that is served. Use `open`; it belongs to one event loop.

    Attributes:
        draining: set when no new work is taken any more.
        active: requests that are being answered.
    """

    def __init__(self, settings: ServeSettings, dispatcher: Dispatcher, metrics: Metrics, bundle: Bundle) -> None:
        """Put it together; see `open`."""
        self.settings, self.metrics = settings, metrics
        self._dispatcher = dispatcher
        self._prompts = Prompts.of(bundle)
        self.knowledge_base = KnowledgeBase(bundle.knowledge_base)
        named = parse_code_systems(settings.code_system, self.knowledge_base.kinds)
        self.code_systems: Mapping[str, CodeSystem] = {**self.knowledge_base.code_systems, **named}
        self._calibrated = tuple(bundle.calibrations())
        self.draining = False
        self.active = 0

    @classmethod
    async def open(cls, settings: ServeSettings) -> Self:
        """Start the worker, and open what this process needs of the bundle itself.

        Raises:
            CieloError: where the bundle or a setting is wrong.
        """
        metrics = Metrics()
        dispatcher = Dispatcher(settings, metrics)
        await dispatcher.start()
        try:
            bundle = Bundle.open(settings.bundle or default_bundle())
            if bundle.sha256 != dispatcher.supervisor.bundle.sha256:
                raise CieloError("the bundle was changed while it was opened; start the server again")
            service = cls(settings, dispatcher, metrics, bundle)
        except BaseException:
            await dispatcher.close()
            raise
        service._watch()
        return service

    def _watch(self) -> None:
        queue, supervisor = self._dispatcher.queue, self._dispatcher.supervisor
        self.metrics.watch(
            queue_tokens=lambda: queue.tokens,
            queue_mentions=lambda: len(queue),
            rate=lambda: self._dispatcher.rate.tokens_per_second,
            worker_up=lambda: supervisor.up,
            memory={"server": resident_bytes, "worker": lambda: supervisor.memory},
        )
        self.metrics.name(self.bundle, library_versions().get("cielo", ""))

    async def close(self) -> None:
        """End the worker, and close the knowledge base."""
        await self._dispatcher.close()
        self.knowledge_base.close()

    @property
    def bundle(self) -> BundleIdentity:
        """The bundle that is served."""
        return self._dispatcher.supervisor.bundle

    @property
    def ready(self) -> bool:
        """Whether a request would be answered now."""
        return self._dispatcher.supervisor.up and not self.draining

    def info(self) -> Info:
        """Return what the server is."""
        ready, settings = self._dispatcher.supervisor.ready, self.settings
        return Info(
            bundle=ready.bundle,
            kinds=dict(self.knowledge_base.concepts),
            backends=ready.backends,
            compute_type=ready.compute_type,
            device=ready.device,
            decoding=ready.decoding,
            versions=library_versions(),
            limits=Limits(
                mentions=settings.max_mentions,
                characters=settings.max_characters,
                document_characters=settings.max_document_characters,
                bytes=settings.body_bytes,
                seconds=settings.request_seconds,
            ),
            calibrated=self._calibrated,
            keys=settings.keys is not None,
            code_systems={kind: address_of(system) for kind, system in self.code_systems.items()},
            lexicon=settings.lexicon is not None,
        )

    async def link(
        self,
        mentions: Sequence[Mention | Refused],
        options: LinkOptions,
        *,
        deadline: float | None = None,
        waits: bool = False,
    ) -> Answers:
        """Link mentions.

        Args:
            mentions: what was refused already is handed through.
            options: how.
            deadline: seconds from now, at most the server's own limit; what is not linked then is refused.
            waits: wait for room in the queue and for a worker, as long as the deadline allows; a part of a request that
                was let in before goes on while the server drains.

        Raises:
            OverloadedError: where there is no room, and `waits` is false.
        """
        call = Call()
        call.outcomes = {
            place: entry for place, entry in enumerate(self._checked(mentions)) if isinstance(entry, Refused)
        }
        rest = {
            place: entry
            for place, entry in enumerate(mentions)
            if isinstance(entry, Mention) and place not in call.outcomes
        }
        if rest and (closed := None if waits else self._closed()):
            call.outcomes |= dict.fromkeys(rest, closed)
        elif rest:
            await self._fill(call, rest, options)
            await self._work(call, waits, min(deadline or self.settings.request_seconds, self.settings.request_seconds))
        outcomes = [call.outcomes.get(place, _LATE) for place in range(len(mentions))]
        self._count(outcomes)
        return Answers(outcomes, sum(item.tokens for item in call.items), call.queued, call.stages)

    async def link_stream(
        self, chunks: Iterable[Sequence[Mention | Refused]], options: LinkOptions
    ) -> AsyncIterator[Linked | Refused]:
        """Link mentions chunk by chunk, two at a time, and yield the outcomes in order. It waits for room."""
        waiting: list[asyncio.Task[Answers]] = []
        try:
            for chunk in chunks:
                waiting.append(asyncio.create_task(self.link(chunk, options, waits=True)))
                if len(waiting) > 1:
                    for outcome in (await waiting.pop(0)).outcomes:
                        yield outcome
            while waiting:
                for outcome in (await waiting.pop(0)).outcomes:
                    yield outcome
        finally:
            for task in waiting:
                task.cancel()

    def _closed(self) -> Refused | None:
        if self.draining:
            return _DRAINING
        return None if self._dispatcher.supervisor.up else _NOT_READY

    def _checked(self, mentions: Sequence[Mention | Refused]) -> list[Mention | Refused]:
        return [entry if isinstance(entry, Refused) else self._check(entry) for entry in mentions]

    def _check(self, mention: Mention) -> Mention | Refused:
        characters = len(mention.text) + len(mention.sentence or "")
        most = self.settings.max_characters
        if characters > most:
            self.metrics.refused.labels("characters").inc()
            return Refused(
                "too_large",
                f"the mention and its sentence have {characters:,} characters, expected at most {most:,}",
                "sentence" if mention.sentence else "text",
            )
        try:
            return named_kind(mention, self.knowledge_base.kinds)
        except MentionError as error:
            return Refused("invalid", str(error), "kind")

    async def _fill(self, call: Call, mentions: Mapping[int, Mention], options: LinkOptions) -> None:
        texts = list(mentions.values())
        many = len(texts) > _AT_ONCE
        lengths = await asyncio.to_thread(self._prompts.lengths, texts) if many else self._prompts.lengths(texts)
        now = asyncio.get_running_loop().time()
        call.expect(
            [
                Item(mention, tokens, options, call, place, now)
                for (place, mention), tokens in zip(mentions.items(), lengths, strict=True)
            ]
        )

    async def _work(self, call: Call, waits: bool, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                if waits:
                    await self._dispatcher.room(sum(item.tokens for item in call.items))
                self._dispatcher.submit(call)
                await call.answered()
        except TimeoutError:
            self.metrics.refused.labels("deadline").inc()
        finally:
            self._dispatcher.leave(call)

    def _count(self, outcomes: Sequence[Linked | Refused]) -> None:
        for reason in {outcome.problem for outcome in outcomes if isinstance(outcome, Refused)}:
            if reason in ("draining", "not_ready"):
                self.metrics.refused.labels(reason).inc()
