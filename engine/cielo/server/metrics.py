"""The server's figures for Prometheus. No label holds anything of a request but its route and status."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from cielo.records import BundleIdentity

CONTENT_TYPE = CONTENT_TYPE_LATEST
_SECONDS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 60)
_MENTIONS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
_TOKENS = (16, 64, 256, 1024, 4096, 16384, 65536)


class Metrics:
    """One registry, and what is counted in it."""

    def __init__(self) -> None:
        """Make every metric."""
        disable_created_metrics()  # type: ignore[no-untyped-call]  # a second series for each: when it began
        self._registry = registry = CollectorRegistry()
        self.requests = Counter("cielo_requests", "Requests answered.", ["route", "status"], registry=registry)
        self.request_seconds = Histogram(
            "cielo_request_seconds", "From a request's headers to the end of its answer.", ["route"],
            buckets=_SECONDS, registry=registry,
        )  # fmt: skip
        self.mentions = Counter("cielo_mentions", "Mentions, by how they were linked.", ["method"], registry=registry)
        self.refused = Counter("cielo_refused", "What was not linked, and why.", ["reason"], registry=registry)
        self.queue_seconds = Histogram(
            "cielo_queue_seconds", "How long a mention waited for its batch.", buckets=_SECONDS, registry=registry
        )
        self.batch_mentions = Histogram(
            "cielo_batch_mentions", "Mentions in a batch.", buckets=_MENTIONS, registry=registry
        )
        self.batch_tokens = Histogram("cielo_batch_tokens", "Tokens in a batch.", buckets=_TOKENS, registry=registry)
        self.batch_seconds = Histogram(
            "cielo_batch_seconds", "What a batch took.", ["use"], buckets=_SECONDS, registry=registry
        )
        self.stage_seconds = Counter("cielo_stage_seconds", "Time of each stage.", ["stage"], registry=registry)
        self.worker_restarts = Counter(
            "cielo_worker_restarts", "Workers that were lost.", ["reason"], registry=registry
        )
        self._queue_tokens = Gauge("cielo_queue_tokens", "Tokens that wait.", registry=registry)
        self._queue_mentions = Gauge("cielo_queue_mentions", "Mentions that wait.", registry=registry)
        self._rate = Gauge("cielo_tokens_per_second", "Measured rate.", registry=registry)
        self._worker_up = Gauge("cielo_worker_up", "Whether the models answer.", registry=registry)
        self._memory = Gauge("cielo_memory_bytes", "Resident memory.", ["process"], registry=registry)
        self._info = Gauge("cielo_info", "What is served.", ["name", "sha256", "edition", "version"], registry=registry)

    def watch(
        self,
        *,
        queue_tokens: Callable[[], int],
        queue_mentions: Callable[[], int],
        rate: Callable[[], float],
        worker_up: Callable[[], bool],
        memory: dict[str, Callable[[], int | None]],
    ) -> None:
        """Have the gauges read when they are asked for; `memory` in bytes, by process."""
        self._queue_tokens.set_function(queue_tokens)
        self._queue_mentions.set_function(queue_mentions)
        self._rate.set_function(rate)
        self._worker_up.set_function(worker_up)
        for process, read in memory.items():
            self._memory.labels(process).set_function(lambda read=read: read() or 0)  # type: ignore[misc]

    def name(self, bundle: BundleIdentity, version: str) -> None:
        """Say what is served."""
        self._info.labels(bundle.name, bundle.sha256, bundle.edition, version).set(1)

    def text(self) -> bytes:
        """Return all of it in the text format of Prometheus."""
        return generate_latest(self._registry)
