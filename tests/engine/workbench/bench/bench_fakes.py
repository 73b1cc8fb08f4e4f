"""A linker whose every second is known: its time passes only where a test says so."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from cielo.cache.protocol import CacheStats
from cielo.errors import MentionError
from cielo.generation.plan import ThreadPlan
from cielo.records import BundleIdentity, Link, Mention, Provenance, Timings
from cielo.workbench.bench.scenarios import Clock

MARKER = "Zutanito"
PROVENANCE = Provenance(
    BundleIdentity("de prueba <1>", "ab" * 32, "CIE-10-ES 2024"), "ctranslate2", "int8", "cpu", "probable"
)


class FakeTime:
    """Time that passes by `sleep` and by the fake linker's work alone; every second is two seconds of processors."""

    def __init__(self, start: float = 1000.0) -> None:
        self.seconds = start
        self.slept: list[float] = []

    def clock(self) -> Clock:
        return Clock(now=lambda: self.seconds, sleep=self.sleep, processor=lambda: 2 * self.seconds)

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.seconds += seconds


class FakeLinker:
    """Takes `cost(mentions)` seconds for a batch: nine tenths of it to generate, and keeps the batches it got."""

    def __init__(self, time: FakeTime, cost: Callable[[int], float] = lambda mentions: 0.125 * mentions) -> None:
        self.time = time
        self.cost = cost
        self.batches: list[list[Mention]] = []
        self.hits = 0
        self.cached = False

    @property
    def plan(self) -> ThreadPlan:
        return ThreadPlan(replicas=2)

    @property
    def cache_stats(self) -> CacheStats:
        return CacheStats(self.hits)

    def provenance(self) -> Provenance:
        return PROVENANCE

    def check(self, mention: Mention) -> None:
        if mention.kind not in (None, "diagnosis"):
            raise MentionError("the mention's kind is none of the knowledge base's")

    def input_lengths(self, mentions: Sequence[Mention]) -> list[int]:
        return [len(mention.text) for mention in mentions]

    def output_lengths(self, links: Sequence[Link]) -> list[int]:
        return [len(link.generated) for link in links]

    def link(self, mentions: Sequence[Mention]) -> list[Link]:
        batch = list(mentions)
        cost = self.cost(len(batch))
        self.batches.append(batch)
        self.time.seconds += cost
        self.hits += len(batch) if self.cached else 0
        timings = Timings(generate=0.9 * cost, match=0.05 * cost, mentions=len(batch))
        return [make_link(mention, timings) for mention in batch]


def make_link(mention: Mention, timings: Timings) -> Link:
    method = "exact" if len(mention.text) % 2 else "none"
    return Link(
        "R50", ("R50",), MARKER, "diagnosis", method, f"{MARKER} {mention.text}", -0.5, None, (), PROVENANCE, timings
    )  # fmt: skip


def make_mentions(count: int) -> list[Mention]:
    return [Mention(f"{MARKER} {number}", f"{MARKER} tiene {number}.") for number in range(count)]
