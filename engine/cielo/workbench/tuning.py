"""Tuning: which backend and thread plan are the fastest on this machine, measured.

Every plan is measured in a process of its own, since OpenMP reads its wait policy once, and in rounds, so that a noisy
neighbour falls upon all of them. What differs between plans is time and memory alone: the outputs are the same.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from cielo.bundle.hashes import check_files
from cielo.bundle.layout import Bundle
from cielo.bundle.manifest import Execution
from cielo.bundle.stages import open_trie
from cielo.bundle.state import Measured
from cielo.children import run_child
from cielo.errors import TuningError
from cielo.generation.backends import backend
from cielo.generation.constrained import ConstrainedSearch
from cielo.generation.plan import USES, ThreadPlan, Use
from cielo.generation.protocol import Generator
from cielo.generation.searches import SEARCHES, certain_first
from cielo.generation.trie import Trie
from cielo.machine import usable_cores
from cielo.records import Decoding
from cielo.text.language import say
from cielo.text.prompt import build_prompt
from cielo.text.tokenizer import Encoded, Tokenizer
from cielo.workbench.bench.workload import load_workload

Progress = Callable[[str], None]
_Figures = dict[str, float]
Found = dict[Execution, tuple[Measured, ...]]
_BATCH_TOKENS = (512, 1024, 2048, 4096)
_ALONE = 4  # prompts one by one
_TIMEOUT = 1800.0


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
    bundle: str | None = None  # whose trie a constrained search looks through


def tune(
    bundle: Bundle,
    executions: Sequence[Execution],
    *,
    prompts: int = 32,
    rounds: int = 2,
    workload: Path | None = None,
    progress: Progress | None = None,
) -> Found:
    """Measure the plans that are worth measuring on this machine, each with one mention at a time and in bulk.

    First the ways to share out the processors, then for the best in bulk the sizes of a batch, and, where the search is
    ``probable``, whether to look for a single answer greedily first. All executions take turns in every round.

    Returns:
        What was measured for each execution of which any plan could be, the fastest in bulk first.

    Raises:
        BundleError: where a generator's files were altered.
        TuningError: where no plan could be measured.
    """
    tell = progress or (lambda text: None)
    models = [bundle.generator_model(execution.backend) for execution in executions]
    check_files(bundle, parts=[*models, bundle.generator_tokenizer])
    tasks = {execution: _task(bundle, execution, prompts, workload) for execution in executions}
    found: dict[Execution, list[Measured]] = {execution: [] for execution in executions}
    for variants in (_shares, _sizes, _searches):
        fresh = [
            (execution, plan)
            for execution, entries in found.items()
            for plan in variants(execution, entries, tasks[execution].decoding)
            if plan not in [entry.plan for entry in entries]
        ]
        for (execution, plan), rows in _measure(fresh, tasks, rounds, tell).items():
            found[execution].append(_summary(plan, rows))
    if not any(found.values()):
        raise TuningError("no thread plan could be measured; `cielo link` says what is wrong with the bundle")
    return {
        execution: tuple(sorted(entries, key=lambda entry: entry.bulk_ms))
        for execution, entries in found.items()
        if entries
    }


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
        # A backend that cannot do the bundle's search is never asked for it: it gets the most usual one.
        decoding=generator.decoding if generator.decoding in backend(execution.backend).decodings else "probable",
        bundle=str(bundle.path),
        prompts=[
            build_prompt(mention.text, mention.sentence, prepare=settings.prepare_sentence, window=settings.window)
            for mention in chosen
        ],
    )


def _fastest(entries: Sequence[Measured], use: Use) -> list[ThreadPlan]:
    return [min(entries, key=lambda entry: entry.figure(use)).plan] if entries else []


def _shares(execution: Execution, entries: Sequence[Measured], decoding: Decoding) -> list[ThreadPlan]:
    """Every way to share out the cores evenly; waiting matters where a replica has several threads."""
    first = backend(execution.backend).default_plan(execution.device)
    if execution.device == "cuda":
        return [first, replace(first, replicas=2)]
    cores = usable_cores()
    shares = [(replicas, cores // replicas) for replicas in range(cores, 0, -1) if cores % replicas == 0]
    plans = [replace(first, replicas=replicas, threads=threads) for replicas, threads in shares]
    return plans + [replace(plan, wait_policy="active") for plan in plans if plan.threads > 1]


def _sizes(execution: Execution, entries: Sequence[Measured], decoding: Decoding) -> list[ThreadPlan]:
    factor = 4 if execution.device == "cuda" else 1
    return [replace(plan, batch_tokens=factor * size) for plan in _fastest(entries, "bulk") for size in _BATCH_TOKENS]


def _searches(execution: Execution, entries: Sequence[Measured], decoding: Decoding) -> list[ThreadPlan]:
    fastest = dict.fromkeys(plan for use in USES for plan in _fastest(entries, use))
    return [replace(plan, first_search="greedy") for plan in fastest] if decoding == "probable" else []


def _measure(
    pairs: Sequence[tuple[Execution, ThreadPlan]], tasks: Mapping[Execution, Task], rounds: int, tell: Progress
) -> dict[tuple[Execution, ThreadPlan], list[_Figures]]:
    """Return the figures of each round; a plan whose process failed has none."""
    samples: dict[tuple[Execution, ThreadPlan], list[_Figures]] = {}
    for number in range(rounds):
        for execution, plan in pairs:
            tell(f"round {number + 1} of {rounds}: {execution.backend}, {describe(plan)}")
            figures = _in_own_process(plan, tasks[execution])
            if figures:
                samples.setdefault((execution, plan), []).append(figures)
    return samples


def _summary(plan: ThreadPlan, rows: list[_Figures]) -> Measured:
    single, bulk = ([row[use] for row in rows] for use in USES)
    return Measured(
        plan, statistics.median(single), (min(single), max(single)), statistics.median(bulk), (min(bulk), max(bulk))
    )


@dataclass(frozen=True, slots=True)
class Winner:
    """The fastest for a use, of everything that was measured."""

    execution: Execution
    measured: Measured


def winners(found: Found) -> dict[Use, Winner]:
    """Return the fastest for each use."""
    entries = [Winner(execution, entry) for execution, measured in found.items() for entry in measured]
    return {use: min(entries, key=lambda entry: entry.measured.figure(use)) for use in USES}


def describe(plan: ThreadPlan) -> str:
    """Return a plan in words, in the language of `cielo.text.language.speaking`."""
    share = say("{replicas} x {threads} threads", replicas=plan.replicas, threads=plan.threads)
    if plan.threads == 1:
        share = say("{replicas} x 1 thread", replicas=plan.replicas)
    waiting = f" ({plan.wait_policy})" if plan.threads > 1 else ""
    greedy = say(", greedy first") if plan.first_search == "greedy" else ""
    return say(
        "{share}, {tokens} tokens a batch{greedy}", share=share + waiting, tokens=plan.batch_tokens, greedy=greedy
    )


def _in_own_process(plan: ThreadPlan, task: Task) -> _Figures | None:
    """Return a plan's milliseconds a mention by use, or None where its process failed (out of memory, most often)."""
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
    trie = _trie(task, tokenizer)
    with backend(task.backend).open(
        Path(task.generator), tokenizer, device=task.device, compute_type=task.compute_type, plan=plan
    ) as generator:
        run(generator, encoded[:1], task, plan, trie)  # warms up
        alone = [run(generator, [prompt], task, plan, trie) for prompt in encoded[:_ALONE]]
        offline = run(generator, encoded, task, plan, trie) / max(1, len(encoded))
    sys.stdout.write(json.dumps({"single": statistics.median(alone), "bulk": offline}))


def _trie(task: Task, tokenizer: Tokenizer) -> Trie | None:
    if task.decoding != "constrained" or task.bundle is None:
        return None
    found = open_trie(Bundle.open(Path(task.bundle)), tokenizer)
    return None if found is None else found.trie


def run(generator: Generator, prompts: list[Encoded], task: Task, plan: ThreadPlan, trie: Trie | None = None) -> float:
    """Decode prompts as a plan says, among the rows of a trie where there is one; return the milliseconds it took."""
    start = time.perf_counter()
    if trie is not None:
        generator.search_tries(prompts, [trie] * len(prompts), ConstrainedSearch())
    elif plan.first_search == "greedy":
        certain_first(generator, prompts, SEARCHES[task.decoding])
    else:
        generator.generate(prompts, SEARCHES[task.decoding])
    return 1000 * (time.perf_counter() - start)


if __name__ == "__main__":
    main()
