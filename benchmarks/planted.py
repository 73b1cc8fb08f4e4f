"""Planted slowdowns, and what the harness makes of them: ``python -m benchmarks.planted``.

Each linker runs the offline scenario of `cielo bench` in turns: as it is, with a wrong thread plan (one replica), with
batches in the order in which the mentions came, and with batches of one. A harness that shows no difference measures
something else.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

import click
from cielo.generation import batching
from cielo.generation import ctranslate2 as generator
from cielo.generation.plan import ThreadPlan, batch_on_each_core
from cielo.link.linker import Linker
from cielo.workbench.bench.run import BenchSettings, run_bench
from cielo.workbench.bench.workload import load_workload

_make_batches = batching.make_batches


def unsorted_batches(
    lengths: Sequence[int], batch_tokens: int, parts: int = 1, most_rows: Callable[[int], int] | None = None
) -> list[list[int]]:
    """Cut as many batches as the sorted ones, in the order of the rows."""
    count = len(_make_batches(lengths, batch_tokens, parts, most_rows))
    size = -(-len(lengths) // count)
    return [list(range(first, min(first + size, len(lengths)))) for first in range(0, len(lengths), size)]


@contextmanager
def planted(name: str, plan: ThreadPlan) -> Iterator[ThreadPlan]:
    """Plant a slowdown while the block runs, and give the plan to open a linker with."""
    if name == "unsorted batches":
        with mock.patch.object(generator, "make_batches", unsorted_batches):
            yield plan
    elif name == "one replica":
        yield ThreadPlan(1, batch_tokens=plan.batch_tokens, source="given")
    elif name == "batches of one":
        yield ThreadPlan(plan.replicas, batch_tokens=1, source="given")
    else:
        yield plan


@click.command()
@click.option("--bundle", type=click.Path(path_type=Path), help="Default: the mini.")
@click.option("--seconds", default=6.0, show_default=True, help="For each run.")
@click.option("--rounds", default=3, show_default=True)
def main(bundle: Path | None, seconds: float, rounds: int) -> None:
    """Show what planted slowdowns do to the offline throughput."""
    workload, settings = load_workload(), BenchSettings(scenarios=("offline",), seconds=seconds)
    names = ("as it is", "one replica", "unsorted batches", "batches of one")
    found: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(rounds):
        for name in names:
            with (
                planted(name, batch_on_each_core("cpu")) as plan,
                Linker.open(bundle, device="cpu", plan=plan, cache=False, allow_unverified=True) as linker,
            ):
                (offline,) = run_bench(linker, workload, settings).scenarios
                found[name].append(offline.throughput)
    click.echo("| planted | mentions a second: median | range | of the first |\n|---|---|---|---|")
    first = statistics.median(found[names[0]])
    for name, values in found.items():
        median = statistics.median(values)
        click.echo(f"| {name} | {median:.1f} | {min(values):.1f} to {max(values):.1f} | {median / first:.2f} |")


if __name__ == "__main__":
    main()
