"""``cielo tune`` and ``cielo bench``: how fast a bundle is on this machine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cielo.bundle.layout import Bundle, default_bundle
from cielo.cli.base import console, echo, main, open_linker
from cielo.cli.options import ALLOW_UNVERIFIED, VERIFY, Size, model_options
from cielo.cli.outputs import Output, writes
from cielo.machine import processor_name

if TYPE_CHECKING:
    from cielo.workbench.bench.scenarios import Scenario
    from cielo.workbench.tuning import Goal, Measured


@main.command()
@click.argument("bundle", type=click.Path(path_type=Path), required=False)
@click.option("--goal", type=click.Choice(["throughput", "latency"]), default="throughput", show_default=True)
@click.option("--prompts", type=click.IntRange(1), default=32, show_default=True, help="How many to decode at once.")
@click.option("--rounds", type=click.IntRange(1), default=2, show_default=True, help="How often each plan is measured.")
@click.option("--workload", type=click.Path(path_type=Path), help="Rows of your own; default: what comes with cielo.")
@click.option("--backend", metavar="NAME", default="auto", show_default=True, help="That runs the generator.")
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True)
@click.option("--compute-type", metavar="TYPE", help="Of the generator; default: the bundle's own.")
def tune(
    bundle: Path | None,
    goal: Goal,
    prompts: int,
    rounds: int,
    workload: Path | None,
    backend: str,
    device: str,
    compute_type: str | None,
) -> None:
    """Measure how this machine decodes BUNDLE the fastest, and keep the winner for `cielo link` to use.

    Plans differ in time and memory, never in a code. The winner is kept for this bundle, machine, backend, device and
    compute type, in the state directory (CIELO_STATE, else ~/.local/state/cielo).
    """
    from cielo.bundle.opening import execution_on
    from cielo.bundle.state import require_state, save_plan
    from cielo.workbench.tuning import tune as measure

    opened = Bundle.open(bundle or default_bundle())
    execution = execution_on(opened, backend=backend, device=device, compute_type=compute_type)
    require_state(opened, execution)
    with console(stderr=True).status("tuning") as status:
        found = measure(
            opened,
            execution,
            goal=goal,
            prompts=prompts,
            rounds=rounds,
            workload=workload,
            progress=lambda text: status.update(f"tuning: {text}"),
        )
    _show_plans(found, goal, opened)
    figures = {"goal": goal, "processor": processor_name(), "plans": [asdict(entry) for entry in found]}
    echo(f"kept in {save_plan(opened, execution, found[0].plan, figures)}")


def _show_plans(found: Sequence[Measured], goal: Goal, bundle: Bundle) -> None:
    from rich.table import Table

    from cielo.workbench.tuning import describe

    title = f"plans for {bundle.name}@{bundle.sha256[:12]} on {processor_name()}, best for {goal} first"
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    table.add_column("plan")
    for name in ("ms a mention, all at once", "of rounds", "ms a mention alone", "of rounds"):
        table.add_column(name, justify="right", no_wrap=True)
    for place, entry in enumerate(found):
        ranges = [f"{low:.1f} - {high:.1f}" for low, high in (entry.offline_range, entry.alone_range)]
        row = (describe(entry.plan), f"{entry.offline_ms:.1f}", ranges[0], f"{entry.alone_ms:.1f}", ranges[1])
        table.add_row(*row, style="bold" if place == 0 else None)
    console().print(table)


@main.command()
@click.argument("bundle", type=click.Path(path_type=Path), required=False)
@click.option(
    "--scenario",
    "scenarios",
    multiple=True,
    type=click.Choice(["single-stream", "multi-stream", "offline", "server"]),
    help="Default: all four.",
)
@click.option("--workload", type=click.Path(path_type=Path), help="Rows of your own; default: what comes with cielo.")
@click.option("--seconds", type=float, default=10.0, show_default=True, help="Budget of each scenario.")
@click.option("--rate", type=float, help="Mentions a second that arrive; default: half of the offline throughput.")
@click.option("--decoding", type=click.Choice(["published", "probable", "constrained"]),
              help="The search; default: the bundle's own.")  # fmt: skip
@click.option("--memory", type=Size(), help="Keep the process within this much memory, such as 3GB.")
@click.option("--json", "json_path", type=Output(dir_okay=False, path_type=Path), help="Raw samples go here.")
@click.option("--html", "html_path", type=Output(dir_okay=False, path_type=Path), help="The report goes here.")
@ALLOW_UNVERIFIED
@VERIFY
@model_options
@writes
def bench(
    bundle: Path | None,
    scenarios: tuple[Scenario, ...],
    workload: Path | None,
    seconds: float,
    rate: float | None,
    json_path: Path | None,
    html_path: Path | None,
    **opening: Any,
) -> None:
    """Measure latency, throughput and memory of BUNDLE on this machine; the report holds no text of the workload."""
    from cielo.workbench.bench.run import SCENARIOS, BenchSettings, run_with_reports

    try:
        settings = BenchSettings(scenarios=scenarios or SCENARIOS, seconds=seconds, rate=rate)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    with open_linker(bundle=bundle, cache=False, **opening) as linker:
        run_with_reports(
            linker,
            settings=settings,
            workload=workload,
            json_path=json_path,
            html_path=html_path,
            console=console(),
            status=console(stderr=True),
        )
