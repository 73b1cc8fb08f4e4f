"""The thread plan: how a machine's processors are shared out between batches, and how large those are.

A plan changes speed and memory, never a code. `cielo tune` measures the alternatives and keeps the winner in the
machine's state directory, in a file for each bundle, device and compute type.
"""

from __future__ import annotations

import json
import warnings
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from cielo.bundle.layout import Bundle
from cielo.files import atomic_write
from cielo.generation.batching import DEFAULT_BATCH_TOKENS
from cielo.machine import machine_key, state_directory, usable_cores

WaitPolicy = Literal["passive", "active"]
FirstSearch = Literal["beams", "greedy"]
Source = Literal["default", "tuned", "given"]

_FORMAT = 1


@dataclass(frozen=True, slots=True)
class ThreadPlan:
    """How the generator uses the processors.

    Attributes:
        replicas: batches decoded at the same time.
        threads: OpenMP threads for each of them.
        batch_tokens: source tokens, padding included, in a batch.
        first_search: where one answer is wanted and no runners-up, `probable` can look for it greedily and use beams
            for what stays unsure, or use the beams at once: see `cielo.generation.searches.certain_first`.
        wait_policy: what OpenMP's threads do between parallel regions: sleep (``passive``) or spin (``active``).
        source: where the plan comes from.
    """

    replicas: int
    threads: int = 1
    batch_tokens: int = DEFAULT_BATCH_TOKENS
    first_search: FirstSearch = "beams"
    wait_policy: WaitPolicy = "passive"
    source: Source = "default"

    def to_dict(self) -> dict[str, Any]:
        """Return the plan as a dictionary."""
        return asdict(self)


def default_plan(device: str, threads: int | None = None) -> ThreadPlan:
    """Return the plan for a machine that was not measured: one thread for each batch, a batch for each core.

    Args:
        device: ``cpu`` or ``cuda``; a GPU works at one batch.
        threads: processor threads to use; default: the physical cores.
    """
    if device == "cuda":
        return ThreadPlan(replicas=1, batch_tokens=4 * DEFAULT_BATCH_TOKENS)
    return ThreadPlan(replicas=threads or usable_cores(), source="given" if threads else "default")


def plan_for(bundle: Bundle, device: str, compute_type: str, threads: int | None = None) -> ThreadPlan:
    """Return the plan of a linker: for `threads` if given, else as `cielo tune` kept it, else the default."""
    kept = None if threads else load_plan(bundle, device, compute_type)
    return kept or default_plan(device, threads)


def plan_file(bundle: Bundle, device: str, compute_type: str) -> Path:
    """Return where this machine's plan for a bundle is kept."""
    name = f"{bundle.models_sha256[:16]}-{device}-{compute_type}-{machine_key()}.json"
    return state_directory() / "plans" / name


def save_plan(bundle: Bundle, device: str, compute_type: str, plan: ThreadPlan, measured: Any) -> Path:
    """Keep a plan for this machine, with the figures that it was chosen by; return its file."""
    path = plan_file(bundle, device, compute_type)
    path.parent.mkdir(parents=True, exist_ok=True)
    entry = {"format": _FORMAT, "cores": usable_cores(), "plan": plan.to_dict(), "measured": measured}
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(entry, indent=1) + "\n", encoding="utf-8")
    return path


def load_plan(bundle: Bundle, device: str, compute_type: str) -> ThreadPlan | None:
    """Return the plan kept for this machine; None where there is none, or it was made with another number of cores."""
    path = plan_file(bundle, device, compute_type)
    try:
        entry = json.loads(path.read_text(encoding="utf-8"))
    except OSError:
        return None
    except (ValueError, RecursionError):
        entry = {}
    plan = _parse(entry)
    if plan is None:
        warnings.warn(f"{path} is not a thread plan of this version and is not used; run `cielo tune`", stacklevel=2)
        return None
    return plan if entry.get("cores") == usable_cores() else None


def _parse(entry: Any) -> ThreadPlan | None:
    values = entry.get("plan") if isinstance(entry, dict) and entry.get("format") == _FORMAT else None
    try:
        plan = ThreadPlan(**(values or {}))
    except TypeError:
        return None
    numbers = (plan.replicas, plan.threads, plan.batch_tokens)
    sound = all(isinstance(number, int) and 1 <= number <= 1_000_000 for number in numbers)
    known = plan.wait_policy in ("passive", "active") and plan.first_search in ("beams", "greedy")
    return plan if sound and known else None
