"""The thread plan: how a machine's processors are shared out between batches, and how large those are.

A plan changes speed and memory, never a code. `cielo tune` measures the alternatives, and `cielo.bundle.state` keeps
the winner.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, Literal

from msgspec import Meta

from cielo.generation.batching import DEFAULT_BATCH_TOKENS
from cielo.machine import usable_cores

WaitPolicy = Literal["passive", "active"]
FirstSearch = Literal["beams", "greedy"]
Source = Literal["default", "tuned", "given"]
# How a linker is asked: for one mention at a time, whose answer somebody waits for, or for many at once.
Use = Literal["single", "bulk"]
USES: tuple[Use, ...] = ("single", "bulk")

_Count = Annotated[int, Meta(ge=1, le=1_000_000)]


@dataclass(frozen=True, slots=True)
class ThreadPlan:
    """How the generator uses the processors.

    Attributes:
        replicas: batches decoded at the same time.
        threads: processor threads for each of them.
        batch_tokens: source tokens, padding included, in a batch.
        first_search: where one answer is wanted and no runners-up, `probable` can look for it greedily and use beams
            for what stays unsure, or use the beams at once: see `cielo.generation.searches.certain_first`.
        wait_policy: what these threads do while they have nothing to do: sleep, at once or within microseconds
            (``passive``), or spin (``active``).
        source: where the plan comes from.
    """

    replicas: _Count
    threads: _Count = 1
    batch_tokens: _Count = DEFAULT_BATCH_TOKENS
    first_search: FirstSearch = "beams"
    wait_policy: WaitPolicy = "passive"
    source: Source = "default"


def batch_on_each_core(device: str, threads: int | None = None) -> ThreadPlan:
    """Return the plan of one thread for each batch, and a batch for each core.

    Args:
        device: ``cpu`` or ``cuda``; a GPU works at one batch.
        threads: processor threads to use; default: the physical cores.
    """
    if device == "cuda":
        return ThreadPlan(replicas=1, batch_tokens=4 * DEFAULT_BATCH_TOKENS)
    return ThreadPlan(replicas=threads or usable_cores(), source="given" if threads else "default")


def batch_on_all_cores(device: str, threads: int | None = None) -> ThreadPlan:
    """Return the plan of one batch at a time, on all cores. See `batch_on_each_core`."""
    plan = batch_on_each_core(device, threads)
    return plan if device == "cuda" else replace(plan, replicas=1, threads=plan.replicas)
