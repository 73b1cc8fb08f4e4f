"""Tuning: which thread plan is the fastest on this machine, measured.

Every plan is measured in a process of its own, since OpenMP reads its wait policy once, and in rounds, so that a noisy
neighbour falls upon all of them. What differs between plans is time and memory alone: the outputs are the same.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

from cielo.bundle.hashes import check_files
from cielo.bundle.layout import Bundle
from cielo.bundle.manifest import Execution
from cielo.children import run_child
from cielo.errors import TuningError
from cielo.generation.backends import backend
from cielo.generation.plan import ThreadPlan, default_plan
from cielo.generation.protocol import Generator
from cielo.generation.searches import SEARCHES, certain_first
from cielo.machine import usable_cores
from cielo.records import Decoding
from cielo.text.prompt import build_prompt
from cielo.text.tokenizer import Encoded, Tokenizer
from cielo.workbench.bench.workload import load_workload

Goal = Literal["throughput", "latency"]
GOALS: tuple[Goal, ...] = ("throughput", "latency")
Progress = Callable[[str], None]
_BATCH_TOKENS = (512, 1024, 2048, 4096)
_ALONE = 4  # prompts one by one, for the latency
_TIMEOUT = 1800.0


@dataclass(frozen=True, slots=True)
class Measured:
    """A plan's figures, in milliseconds: medians over the rounds, with the least and the most.

    Attributes:
        plan: what was measured.
        offline_ms: for each mention, all prompts at once.
        offline_range: the least and the most of the rounds.
        alone_ms: for one prompt alone.
        alone_range: the least and the most of the rounds' medians.
    """

    plan: ThreadPlan
    offline_ms: float
    offline_range: tuple[float, float]
    alone_ms: float
    alone_range: tuple[float, float]

    def figure(self, goal: Goal) -> float:
        """Return the figure that a goal looks at."""
        return self.offline_ms if goal == "throughput" else self.alone_ms


@dataclass(frozen=True, slots=True)
class Task:
    """What each plan is given to do."""

    backend: str
    generator: str
    tokenizer: str
    max_source_tokens: int
    device: str
    compute_type: str
    decoding: Decoding
    prompts: list[str]


def tune(
    bundle: Bundle,
    execution: Execution,
    *,
    goal: Goal = "throughput",
    prompts: int = 32,
    rounds: int = 2,
    workload: Path | None = None,
    progress: Progress | None = None,
) -> list[Measured]:
    """Measure the plans that are worth measuring on this machine; return them, the best first.

    First the ways to share out the processors, then for the best of them the sizes of a batch, and, where the bundle's
    search is ``probable``, whether to look for a single answer greedily first.

    Raises:
        BundleError: where the generator's files were altered.
        TuningError: where no plan could be measured.
    """
    tell = progress or (lambda text: None)
    check_files(bundle, parts=[bundle.generator_model(execution.backend), bundle.generator_tokenizer])
    device = execution.device
    task = _task(bundle, execution, prompts, workload)
    found: list[Measured] = []
    for variants in (_shares, _sizes, _searches):
        plans = variants(found[0].plan if found else default_plan(device), device, task.decoding)
        fresh = [plan for plan in plans if plan not in [entry.plan for entry in found]]
        found += _measure(fresh, task, rounds, tell)
        found.sort(key=lambda entry: entry.figure(goal))
        if not found:
            raise TuningError("no thread plan could be measured; `cielo link` says what is wrong with the bundle")
    return [replace(entry, plan=replace(entry.plan, source="tuned")) for entry in found]


def _task(bundle: Bundle, execution: Execution, prompts: int, workload: Path | None) -> Task:
    mentions = load_workload(workload).mentions
    chosen = mentions[:: max(1, len(mentions) // prompts)][:prompts]
    settings, generator = bundle.manifest.prompt, bundle.manifest.generator
    return Task(
        backend=execution.backend,
        generator=str(bundle.generator_model(execution.backend)),
        tokenizer=str(bundle.generator_tokenizer),
        max_source_tokens=generator.max_source_tokens,
        device=execution.device,
        compute_type=execution.compute_type,
        decoding=generator.decoding,
        prompts=[
            build_prompt(mention.text, mention.sentence, prepare=settings.prepare_sentence, window=settings.window)
            for mention in chosen
        ],
    )


def _shares(best: ThreadPlan, device: str, decoding: Decoding) -> list[ThreadPlan]:
    """Every way to share out the cores evenly; OpenMP's waiting matters where a replica has several threads."""
    if device == "cuda":
        return [best, replace(best, replicas=2)]
    cores = usable_cores()
    shares = [(replicas, cores // replicas) for replicas in range(cores, 0, -1) if cores % replicas == 0]
    plans = [replace(best, replicas=replicas, threads=threads) for replicas, threads in shares]
    return plans + [replace(plan, wait_policy="active") for plan in plans if plan.threads > 1]


def _sizes(best: ThreadPlan, device: str, decoding: Decoding) -> list[ThreadPlan]:
    factor = 4 if device == "cuda" else 1
    return [replace(best, batch_tokens=factor * size) for size in _BATCH_TOKENS]


def _searches(best: ThreadPlan, device: str, decoding: Decoding) -> list[ThreadPlan]:
    return [replace(best, first_search="greedy")] if decoding == "probable" else []


def _measure(plans: Sequence[ThreadPlan], task: Task, rounds: int, tell: Progress) -> list[Measured]:
    samples: dict[ThreadPlan, list[dict[str, float]]] = {plan: [] for plan in plans}
    for number in range(rounds):
        for plan in plans:
            tell(f"round {number + 1} of {rounds}: {describe(plan)}")
            figures = _in_own_process(plan, task)
            if figures:
                samples[plan].append(figures)
    return [_summary(plan, rows) for plan, rows in samples.items() if rows]


def _summary(plan: ThreadPlan, rows: list[dict[str, float]]) -> Measured:
    offline, alone = ([row[name] for row in rows] for name in ("offline_ms", "alone_ms"))
    return Measured(
        plan, statistics.median(offline), (min(offline), max(offline)), statistics.median(alone),
        (min(alone), max(alone)),
    )  # fmt: skip


def describe(plan: ThreadPlan) -> str:
    """Return a plan in words."""
    share = f"{plan.replicas} x {plan.threads} thread{'s' * (plan.threads > 1)}"
    waiting = f" ({plan.wait_policy})" if plan.threads > 1 else ""
    greedy = ", greedy first" if plan.first_search == "greedy" else ""
    return f"{share}{waiting}, {plan.batch_tokens} tokens a batch{greedy}"


def _in_own_process(plan: ThreadPlan, task: Task) -> dict[str, float] | None:
    """Return a plan's figures, or None where its process failed (out of memory, most often)."""
    request = json.dumps({"plan": asdict(plan), "task": asdict(task)})
    settings = backend(task.backend).environment(plan)
    try:
        answer = run_child("cielo.workbench.tuning", given=request, timeout=_TIMEOUT, settings=settings)
        return dict(json.loads(answer)) if answer is not None else None
    except (subprocess.TimeoutExpired, ValueError):
        return None


# From here on: the other process.


def main() -> None:
    """Measure the plan that stands on standard input, and write its figures to standard output."""
    request = json.loads(sys.stdin.read())
    plan, task = ThreadPlan(**request["plan"]), Task(**request["task"])
    tokenizer = Tokenizer(Path(task.tokenizer), task.max_source_tokens)
    encoded = tokenizer.encode(task.prompts)
    with backend(task.backend).open(
        Path(task.generator), tokenizer, device=task.device, compute_type=task.compute_type, plan=plan
    ) as generator:
        run(generator, encoded[:1], task, plan)  # warms up
        alone = [run(generator, [prompt], task, plan) for prompt in encoded[:_ALONE]]
        offline = run(generator, encoded, task, plan) / max(1, len(encoded))
    sys.stdout.write(json.dumps({"offline_ms": offline, "alone_ms": statistics.median(alone)}))


def run(generator: Generator, prompts: list[Encoded], task: Task, plan: ThreadPlan) -> float:
    """Decode prompts as a plan says; return the milliseconds that it took."""
    start = time.perf_counter()
    search = SEARCHES[task.decoding]
    if plan.first_search == "greedy":
        certain_first(generator, prompts, search)
    else:
        generator.generate(prompts, search)
    return 1000 * (time.perf_counter() - start)


if __name__ == "__main__":
    main()
