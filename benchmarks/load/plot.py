"""The plot of a load: how long each request took, and the memory beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from matplotlib import rc_context
from matplotlib.figure import Figure

_COLOURS = ("#0b5f8a", "#8a5a0b", "#a3231b")
_SETTINGS = {"svg.fonttype": "none", "svg.hashsalt": "cielo", "font.family": "sans-serif", "font.size": 9}


def draw(result: dict[str, Any], path: Path) -> None:
    """Draw the loads of a result side by side into an SVG file."""
    loads = result["loads"]
    with rc_context(_SETTINGS):
        _figure(loads).savefig(path, metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")))


def _figure(loads: list[dict[str, Any]]) -> Figure:
    figure = Figure(figsize=(12, 5.4), layout="constrained")
    above = figure.subplots(2, len(loads), sharex="col", squeeze=False, height_ratios=[3, 1])
    longest = max((row[1] for load in loads for row in load["rows"] if row[2] == 200), default=1.0)
    for place, load in enumerate(loads):
        _times(above[0][place], load, longest, _COLOURS[place % len(_COLOURS)])
        _memory(above[1][place], load)
    above[0][0].set_ylabel("seconds from arrival to answer")
    above[1][0].set_ylabel("memory, GB")
    most = max(max(_memory_of(one)) for load in loads for one in load["figures"]) / 1e9
    for axes in above[1]:
        axes.set_ylim(0, 1.15 * most)
    return figure


def _times(axes: Any, load: dict[str, Any], longest: float, colour: str) -> None:
    good = [row for row in load["rows"] if row[2] == 200]
    refused = [row for row in load["rows"] if row[2] != 200]
    axes.plot([row[0] for row in good], [row[1] for row in good], ".", color=colour, markersize=3)
    axes.plot([row[0] for row in refused], [0.0 for _ in refused], "|", color="#666", markersize=8)
    for name in ("p50", "p99"):
        if load[name] is not None:
            axes.axhline(load[name], color="#333", linewidth=0.8, linestyle="--" if name == "p50" else "-")
            axes.annotate(f"{name} {1000 * load[name]:.0f} ms", (0, load[name]), va="bottom", fontsize=9)
    axes.set_ylim(-0.03 * longest, 1.1 * longest)
    axes.set_title(
        f"{load['share']:.0%} of capacity: {load['links_per_second']:.1f} a second, {load['refused']} of "
        f"{load['requests']} refused", fontsize=10,
    )  # fmt: skip


def _memory_of(figures: dict[str, float]) -> list[float]:
    return [value for name, value in figures.items() if name.startswith("cielo_memory_bytes")] or [0.0]


def _memory(axes: Any, load: dict[str, Any]) -> None:
    figures = load["figures"]
    if not figures:
        return
    start = figures[0]["at"]
    names = sorted(name for name in figures[0] if name.startswith("cielo_memory_bytes"))
    for name, style in zip(names, ("-", "--"), strict=False):
        label = name.partition('"')[2].partition('"')[0]
        axes.plot([one["at"] - start for one in figures], [one[name] / 1e9 for one in figures], style, label=label)
    axes.set_xlabel("seconds")
    axes.legend(fontsize=8, loc="lower right")
