"""``cielo tune`` and ``cielo bench``: how fast a bundle is on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cielo.bundle.layout import Bundle, default_bundle
from cielo.cli.base import console, echo, main
from cielo.cli.linkers import open_linker
from cielo.cli.options import ALLOW_UNVERIFIED, DEVICES, VERIFY, BundlePath, Size, language_option, model_options
from cielo.cli.outputs import Output, writes
from cielo.cli.progress import waiting
from cielo.cli.verbosity import is_quiet
from cielo.machine import processor_name
from cielo.text.language import numeral, say

if TYPE_CHECKING:
    from cielo.workbench.bench.scenarios import Scenario
    from cielo.workbench.tuning import Found


@main.command()
@click.argument("bundle", type=BundlePath(), required=False)
@click.option("--prompts", type=click.IntRange(1), default=32, show_default=True, help="How many to decode at once.")
@click.option("--rounds", type=click.IntRange(1), default=2, show_default=True, help="How often each plan is measured.")
@click.option("--workload", type=click.Path(path_type=Path), help="Rows of your own; default: what comes with cielo.")
@click.option("--backend", metavar="NAME", default="auto", show_default=True, help="auto: each that BUNDLE holds.")
@click.option(
    "--device", type=click.Choice(DEVICES), default="auto", show_default=True, help="auto: a GPU where there is one."
)
@click.option("--compute-type", metavar="TYPE", help="Of the generator; default: the bundle's own.")
@language_option
def tune(
    bundle: Path | None,
    prompts: int,
    rounds: int,
    workload: Path | None,
    backend: str,
    device: str,
    compute_type: str | None,
) -> None:
    """Measure how this machine decodes BUNDLE the fastest, and keep that for `cielo link` to use.

    Each backend is measured with one mention at a time (`cielo link TEXT`) and in bulk (`--input`). Plans differ in
    time and memory, never in a code. What is found is kept for this bundle, machine, backend, device and compute type,
    in the state directory (CIELO_STATE, else ~/.local/state/cielo).
    """
    from cielo.bundle.opening import executions_on
    from cielo.bundle.state import require_state, save_plans
    from cielo.workbench.tuning import tune as measure

    opened = Bundle.open(bundle or default_bundle())
    executions = executions_on(opened, backend=backend, device=device, compute_type=compute_type)
    require_state(opened, *executions)
    with waiting("tuning") as show:
        found = measure(
            opened,
            executions,
            prompts=prompts,
            rounds=rounds,
            workload=workload,
            progress=lambda text: show(f"tuning: {text}"),
        )
    _show_plans(found, opened)
    _show_winners(found)
    for execution, measured in found.items():
        echo(say("kept in {path}", path=save_plans(opened, execution, measured)))
    for execution in executions:
        if execution not in found:
            echo(say("cielo: no plan of {execution} could be measured", execution=execution.key), err=True)


def _show_plans(found: Found, bundle: Bundle) -> None:
    from rich.table import Table

    from cielo.generation.plan import USES
    from cielo.workbench.tuning import describe, winners

    title = say(
        "plans for {bundle} on {processor}, the fastest of all in bold",
        bundle=f"{bundle.name}@{bundle.sha256[:12]}",
        processor=processor_name(),
    )
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    table.add_column(say("backend"), no_wrap=True)
    table.add_column(say("plan"))
    for name in (say("ms a mention, single"), say("of rounds"), say("ms a mention, bulk"), say("of rounds")):
        table.add_column(name, justify="right", no_wrap=True)
    best = {use: winner.measured.figure(use) for use, winner in winners(found).items()}
    for execution, measured in found.items():
        for entry in measured:
            row = [execution.backend, describe(entry.plan)]
            for use, (low, high) in zip(USES, (entry.single_range, entry.bulk_range), strict=True):
                figure = entry.figure(use)
                shown = f"[bold]{figure:.1f}[/]" if figure == best[use] else f"{figure:.1f}"
                row += [numeral(shown), numeral(f"{low:.1f} - {high:.1f}")]
            table.add_row(*row)
    console().print(table)


def _show_winners(found: Found) -> None:
    """Say which plan is kept for each use, and what the one that is the fastest in bulk costs a mention alone."""
    from cielo.workbench.tuning import describe, winners

    best = winners(found)
    for use, winner in best.items():
        echo(
            say(
                "{use}: {backend}, {plan}, {time} ms a mention",
                use=say("one mention alone") if use == "single" else say("in bulk"),
                backend=winner.execution.backend,
                plan=describe(winner.measured.plan),
                time=numeral(f"{winner.measured.figure(use):.1f}"),
            )
        )
    single, bulk = best["single"].measured.single_ms, best["bulk"].measured.single_ms
    if best["single"] != best["bulk"] and single > 0:
        echo(
            say(
                "the plan for bulk takes {time} ms for one mention alone, {times} times as long: a plan is kept for "
                "each (`cielo link TEXT` takes the first, all else the second)",
                time=numeral(f"{bulk:.1f}"),
                times=numeral(f"{bulk / single:.1f}"),
            )
        )


@main.command()
@click.argument("bundle", type=BundlePath(), required=False)
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
@language_option
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
    use = "single" if settings.scenarios == ("single-stream",) else "bulk"
    status = console(stderr=True)
    status.quiet = is_quiet()
    with open_linker(bundle=bundle, cache=False, use=use, **opening) as linker:
        run_with_reports(
            linker,
            settings=settings,
            workload=workload,
            json_path=json_path,
            html_path=html_path,
            console=console(),
            status=status,
        )
