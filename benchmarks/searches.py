"""Searches: where a shorter way gives the same answer, how often, and what it saves. ``python -m benchmarks.searches``.

`probable`: greedy first, accepted where its probability exceeds one half (`certain_first`), against the beams at once,
at each batch size, in turns. Few beams first cannot accept more: an output above one half has each of its tokens above
one half, so greedy search finds every output that this certificate can accept.

`published`: under scores divided by length, a greedy output y of n tokens cannot be beaten where
log P(y) / n >= log(1 - P(y)) / N, with N the longest output allowed: any other output has at most the probability that
is left, and a score is the nearer to 0 the longer it is. But that search stops early and does not promise the best
output: how often it returns another one where this one is proven best is counted too.
"""

from __future__ import annotations

import json
import math
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import click
from cielo.bundle.layout import Bundle, default_bundle
from cielo.bundle.stages import open_stages
from cielo.generation.plan import batch_on_each_core
from cielo.generation.protocol import Generator
from cielo.generation.searches import SEARCHES, certain_first, is_certain
from cielo.records import Hypothesis
from cielo.text.tokenizer import Encoded
from cielo.workbench.bench.system import describe_system
from cielo.workbench.bench.workload import load_workload

PROBABLE, PUBLISHED = SEARCHES["probable"], SEARCHES["published"]


def is_proven_best(greedy: Hypothesis) -> bool:
    """Tell whether no other output can have a better score divided by length than this one."""
    left = -math.expm1(greedy.log_prob)
    if not greedy.finished or left <= 0.0:
        return greedy.finished
    return greedy.log_prob_per_token >= math.log(left) / PUBLISHED.max_new_tokens


def in_batches(prompts: Sequence[Encoded], size: int, run: Callable[[list[Encoded]], Any]) -> float:
    """Give prompts to `run`, `size` at a time; return the milliseconds for each prompt."""
    start = time.perf_counter()
    for first in range(0, len(prompts), size):
        run(list(prompts[first : first + size]))
    return 1000 * (time.perf_counter() - start) / len(prompts)


def compare_times(generator: Generator, prompts: list[Encoded], size: int, rounds: int) -> dict[str, Any]:
    """Return the milliseconds of the two ways to the most probable output, and the ratio of each round."""
    samples: list[tuple[float, float]] = []
    for _ in range(rounds):
        beams = in_batches(prompts, size, lambda batch: generator.generate(batch, PROBABLE))
        greedy = in_batches(prompts, size, lambda batch: certain_first(generator, batch, PROBABLE))
        samples.append((beams, greedy))
    ratios = [beams / greedy for beams, greedy in samples]
    return {
        "batch": size,
        "beams_ms": statistics.median(beams for beams, _ in samples),
        "greedy_first_ms": statistics.median(greedy for _, greedy in samples),
        "ratio": statistics.median(ratios),
        "ratio_range": [min(ratios), max(ratios)],
    }


def agreement(generator: Generator, prompts: list[Encoded]) -> dict[str, float]:
    """Return the shares: accepted greedily, equal to the beams, proven best for `published`, and answered otherwise."""
    greedy = [rows[0] for rows in generator.generate(prompts, replace(PROBABLE, beams=1))]
    shorter = [rows[0] for rows in certain_first(generator, prompts, PROBABLE)]
    beams = [rows[0] for rows in generator.generate(prompts, PROBABLE)]
    published = [rows[0] for rows in generator.generate(prompts, PUBLISHED)]
    proven = [row for row, best in enumerate(greedy) if is_proven_best(best)]
    better = [
        row for row, best in enumerate(greedy) if best.log_prob_per_token > published[row].log_prob_per_token + 1e-4
    ]
    return {
        "prompts": len(prompts),
        "accepted": sum(map(is_certain, greedy)) / len(prompts),
        "same_as_beams": sum(a.text == b.text for a, b in zip(shorter, beams, strict=True)) / len(prompts),
        "published_proven": len(proven) / len(prompts),
        "published_other_than_proven": sum(published[row].text != greedy[row].text for row in proven)
        / max(1, len(proven)),
        "published_worse_than_greedy_by_its_own_score": len(better) / len(prompts),
    }


@click.command()
@click.option("--bundle", type=click.Path(path_type=Path), help="Default: the mini.")
@click.option("--prompts", default=96, show_default=True)
@click.option("--rounds", default=3, show_default=True)
@click.option("--sizes", default="1,8,32", show_default=True, help="Batch sizes.")
@click.option("--output", type=click.Path(path_type=Path), help="JSON.")
def main(bundle: Path | None, prompts: int, rounds: int, sizes: str, output: Path | None) -> None:
    """Measure the shorter ways to an answer."""
    opened = Bundle.open(bundle or default_bundle())
    mentions = load_workload().mentions[:prompts]
    with open_stages(opened, opened.execution("cpu"), batch_on_each_core("cpu")) as stages:
        encoded = stages.tokenizer.encode([stages.prompt(mention.text, mention.sentence) for mention in mentions])
        stages.generator.generate(encoded[:2], PROBABLE)  # warms up
        shares = agreement(stages.generator, encoded)
        times = [
            compare_times(stages.generator, encoded[: max(8, int(size))], int(size), rounds)
            for size in sizes.split(",")
        ]
    click.echo("| batch | beams at once, ms | greedy first, ms | beams / greedy first |\n|---|---|---|---|")
    for row in times:
        low, high = row["ratio_range"]
        click.echo(
            f"| {row['batch']} | {row['beams_ms']:.1f} | {row['greedy_first_ms']:.1f} "
            f"| {row['ratio']:.2f} ({low:.2f} to {high:.2f}) |"
        )
    for name, value in shares.items():
        click.echo(f"{name}: {value:.3g}")
    if output:
        found = {"bundle": opened.sha256, "system": asdict(describe_system()), "shares": shares, "times": times}
        output.write_text(json.dumps(found, indent=1, default=str), encoding="utf-8")


if __name__ == "__main__":
    main()
