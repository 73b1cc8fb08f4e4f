"""``python -m benchmarks.load``: a served bundle at several loads, and what `cielo bench` offline does beside it.

Capacity is what is answered to clients that ask again at once; then come Poisson arrivals at shares of it.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
from cielo.schema import to_builtins
from cielo.workbench.bench.system import describe_system

from benchmarks.load.plot import draw
from benchmarks.load.server import Served, serving

_BENCH = [sys.executable, "-c", "from cielo.cli import main; main()", "bench", "--scenario", "offline"]
_SHOWN = 400  # requests of a load that are kept and drawn
_FAR = 1_000_000  # prompts of one run are other ones than those of the next


def asked(served: Served, number: int, *arguments: object) -> dict[str, Any]:
    """Let a process of its own ask, and return what came of it."""
    command = [sys.executable, "-m", "benchmarks.load.arrivals", "--host", served.url, "--first", str(number * _FAR)]
    before, began = served.processor_seconds(), len(served.samples)
    done = subprocess.run([*command, *map(str, arguments)], stdout=subprocess.PIPE, check=True)
    told: dict[str, Any] = json.loads(done.stdout)
    after = served.processor_seconds()
    told["processor"] = {name: round(after[name] - before[name], 2) for name in after}
    told["processor"]["load"] = round(told.pop("processor_seconds"), 2)
    told["figures"] = served.samples[began:]
    return told


def summary(told: dict[str, Any], seconds: float) -> dict[str, Any]:
    """Return the figures of a run: what was answered in a second, how long it took, what was refused."""
    rows = told["rows"]
    good = sorted(row[1] for row in rows if row[2] == 200)
    queue = [sample.get("cielo_queue_tokens", 0.0) for sample in told["figures"]]
    memory = [_memory(sample) for sample in told["figures"]]
    return {
        "requests": len(rows), "answered": len(good), "links": sum(row[3] for row in rows),
        "links_per_second": round(sum(row[3] for row in rows) / max(seconds, told["seconds"]), 2),
        "offered_per_second": round(len(rows) / seconds, 2),
        "refused": sum(row[2] == 429 for row in rows), "failed": sum(row[2] not in (200, 429) for row in rows),
        "p50": _percentile(good, 0.5), "p90": _percentile(good, 0.9), "p99": _percentile(good, 0.99),
        "slowest": good[-1] if good else None,
        "queue_tokens_most": max(queue, default=0.0),
        "memory_first": memory[0] if memory else None, "memory_last": memory[-1] if memory else None,
        "memory_most": max(memory, default=0.0), "processor": told["processor"],
    }  # fmt: skip


def thinned(rows: list[list[float]]) -> list[list[float]]:
    """Return some of the requests, evenly: of those that were answered, and of those that were not."""
    good = [row for row in rows if row[2] == 200]
    other = [row for row in rows if row[2] != 200]
    return sorted(row for part in (good, other) for row in part[:: max(1, len(part) // _SHOWN)])


def _memory(sample: dict[str, float]) -> float:
    return sum(value for name, value in sample.items() if name.startswith("cielo_memory_bytes"))


def _percentile(values: Sequence[float], share: float) -> float | None:
    return round(values[min(len(values) - 1, int(share * len(values)))], 4) if values else None


def offline(model: Sequence[str], seconds: float) -> float:
    """Return the mentions a second of `cielo bench` offline; `model` are its options of bundle, backend and search."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "bench.json"
        command = [*_BENCH, *model, "--seconds", str(seconds), "--json", str(out)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        return float(json.loads(out.read_bytes())["scenarios"][0]["throughput"])


@click.command()
@click.option("--bundle", type=click.Path(path_type=Path), help="Default: the mini.")
@click.option("--backend", default="auto", show_default=True)
@click.option("--decoding", help="Default: the bundle's own.")
@click.option("--allow-unverified", is_flag=True)
@click.option("--shares", default="0.5,0.8,1.2", show_default=True, help="Of the capacity.")
@click.option("--seconds", default=60.0, show_default=True, help="Of each load.")
@click.option("--rounds", default=3, show_default=True, help="Of capacity and offline, in turns.")
@click.option("--mentions", "per_request", default=1, show_default=True, help="In a request.")
@click.option("--output", type=click.Path(path_type=Path), required=True, help="Without its ending: .json and .svg.")
@click.argument("settings", nargs=-1)
def main(
    bundle: Path | None,
    backend: str,
    decoding: str | None,
    allow_unverified: bool,
    shares: str,
    seconds: float,
    rounds: int,
    per_request: int,
    output: Path,
    settings: tuple[str, ...],
) -> None:
    """Measure a served bundle. SETTINGS are options of `cielo serve` (after --)."""
    model = ["--backend", backend, *(["--decoding", decoding] if decoding else [])]
    model += ["--allow-unverified"] if allow_unverified else []
    named = [] if bundle is None else ["--bundle", str(bundle)]
    alone: list[float] = []
    capacities: list[float] = []
    loads: list[dict[str, Any]] = []
    with serving([*named, *model, *settings]) as served:
        for number in range(rounds):
            alone.append(offline([*named[1:], *model], seconds / 3))
            told = asked(served, number, "--seconds", seconds / 3, "--mentions", per_request)
            capacities.append(summary(told, seconds / 3)["links_per_second"])
            click.echo(f"offline {alone[-1]:.2f}, served {capacities[-1]:.2f} mentions a second")
        capacity = statistics.median(capacities)
        for number, share in enumerate(map(float, shares.split(",")), start=rounds):
            rate = share * capacity / per_request
            told = asked(served, number, "--seconds", seconds, "--mentions", per_request, "--rate", rate)
            loads.append({"share": share, **summary(told, seconds), "rows": told["rows"], "figures": told["figures"]})
            shown = {name: value for name, value in loads[-1].items() if name not in ("rows", "figures")}
            click.echo(json.dumps(shown))
    result = {
        "bundle": "mini" if bundle is None else bundle.name, "settings": [*model, *settings], "mentions": per_request,
        "seconds": seconds, "offline_per_second": alone, "capacity_per_second": capacities, "loads": loads,
        "system": to_builtins(describe_system()),
    }  # fmt: skip
    for load in loads:  # all requests of a minute would be megabytes
        load["rows"] = [(round(row[0], 2), round(row[1], 4), row[2]) for row in thinned(load["rows"])]
    draw(result, output.with_suffix(".svg"))
    output.with_suffix(".json").write_text(json.dumps(result) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
