"""Plots of latencies, lengths and stages, drawn by small functions: numbers in, text out."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from cielo.workbench.bench import figures
from cielo.workbench.bench.statistics import Histogram, percentile
from cielo.workbench.page import plots
from cielo.workbench.page.drawing import Frame, decimals, dot, line, px, rect, text, ticks
from cielo.workbench.page.plots import Stack

_LABEL_GAP = 26  # pixels below which two labels of marks would touch
_ROOM = 1.04  # what the axis is longer than its longest value
_CLIP = 2.5  # the axis ends at this many times p95 where a few samples are much slower


def _time_unit(limit: float) -> tuple[float, str]:
    return (1.0, "seconds") if limit >= 2 else (1e-3, "milliseconds")


def _latency_limit(values: Sequence[float]) -> float:
    """Return where the axis of latencies ends: at the slowest, unless that would squeeze all others together."""
    return min(_ROOM * max(values), _CLIP * percentile(values, 95)) or 1e-6


def cdf(values: Sequence[float], title: str, *, unanswered: int = 0, marks: Sequence[int] = ()) -> str:
    """Draw the share of queries (upwards) that were answered within a time (to the right).

    Args:
        values: latencies in seconds, at least one.
        title: for a screen reader.
        unanswered: queries without an answer: the curve ends below the top.
        marks: percentiles to show as dots.
    """
    limit = _latency_limit(values)
    size, unit = _time_unit(limit)
    frame = Frame(0, limit / size, 1)
    ordered = sorted(values)
    count = len(values) + unanswered
    path = [f"M{px(frame.x(0))} {px(frame.floor)}"]
    for rank, value in enumerate(ordered, start=1):
        if value <= limit:
            path.append(f"H{px(frame.x(value / size))}V{px(frame.y(rank / count))}")
    slower = sum(value > limit for value in values)
    path.append(f"H{px(frame.x(limit / size))}")
    curve = "".join(path)
    area = f'<path d="{curve}V{px(frame.floor)}Z" class="area"/>'
    dots = []
    for percent in marks:
        rank = -(-percent * count // 100)
        value = ordered[rank - 1] if rank <= len(ordered) else math.inf
        if value <= limit:
            name = f"p{percent}: {figures.seconds(value)}"
            dots.append(dot(frame.x(value / size), frame.y(percent / 100), 4, "dot", name))
    axes = frame.axes(
        f"latency, {unit}", y_write=lambda value: f"{value:.0%}", y_ticks=(0, 0.25, 0.5, 0.75, 1), x_ticks=True
    )
    beyond = _beyond(frame, slower, max(values))
    return frame.svg(title, axes, area, f'<path d="{curve}" class="curve"/>', *dots, beyond)


def _beyond(frame: Frame, slower: int, slowest: float) -> str:
    """Say what lies right of the axis' end."""
    if not slower:
        return ""
    content = f"{slower:,} slower, up to {figures.seconds(slowest)} →"
    return text(frame.width - frame.right - 4, frame.floor - 8, content, anchor="end", kind="note")


def timeline(points: Sequence[tuple[float, float]], unanswered: Sequence[float], title: str) -> str:
    """Draw each query's latency (upwards) over its arrival (to the right), and every arrival as a stroke below.

    Args:
        points: arrival and latency of what was answered, in seconds, at least one.
        unanswered: arrivals of what was not.
        title: for a screen reader.
    """
    limit = max(latency for _, latency in points) or 1e-6
    size, unit = _time_unit(limit)
    last = max([arrival for arrival, _ in points] + list(unanswered))
    frame = Frame(0, last or 1.0, limit / size * _ROOM, width=960, height=280, bottom=62)
    values = ticks(0, limit / size)
    axes = frame.axes(
        "seconds since the beginning, at the mention's arrival",
        y_write=lambda value: f"{value:,.{decimals(values)}f}",
        y_ticks=values,
        x_ticks=True,
    )
    dots = "".join(dot(frame.x(arrival), frame.y(latency / size), 2.4, "point") for arrival, latency in points)
    rug = _rug(frame, [arrival for arrival, _ in points], "rug") + _rug(frame, unanswered, "rug lost")
    name = text(frame.left, frame.top - 2, f"latency, {unit}", kind="label")
    return frame.svg(title, axes, dots, rug, name)


def _rug(frame: Frame, arrivals: Sequence[float], kind: str) -> str:
    """Draw one short stroke for each arrival, as one path."""
    top = frame.floor + 23
    strokes = "".join(f"M{px(frame.x(arrival))} {px(top)}v10" for arrival in arrivals)
    return f'<path d="{strokes}" class="{kind}"/>' if strokes else ""


def repeats(values: Sequence[float], low: float, median: float, high: float, title: str) -> str:
    """Draw the throughput of each repeat as a bar, with the median as a line and the quartiles as a band."""
    frame = Frame(0, len(values), max(values) * 1.08)
    marks = ticks(0, frame.y_high)
    axes = frame.axes("repeat", y_write=lambda value: f"{value:,.{decimals(marks)}f}", y_ticks=marks, x_ticks=False)
    width = (frame.x(1) - frame.x(0)) * 0.62
    bars = []
    for number, value in enumerate(values):
        left = frame.x(number + 0.5) - width / 2
        name = f"repeat {number + 1}: {figures.significant(value)} mentions a second"
        bars.append(rect(left, frame.y(value), width, frame.floor - frame.y(value), "bar", name))
        bars.append(text(frame.x(number + 0.5), frame.floor + 17, str(number + 1), anchor="middle"))
    right = frame.width - frame.right
    band = rect(frame.left, frame.y(high), right - frame.left, frame.y(low) - frame.y(high), "band", "quartiles")
    middle = line(frame.left, frame.y(median), right, frame.y(median), "median")
    return frame.svg(title, axes, *bars, band, middle)


def histogram(data: Histogram, x_label: str, title: str, marks: Mapping[str, float] | None = None) -> str:
    """Draw a histogram; `marks` are named places on the horizontal axis."""
    marks = marks or {}
    end = data.start + data.width * len(data.counts)
    frame = Frame(data.start, max(end, *marks.values(), end), max(data.counts) * (1.22 if marks else 1.06), width=340)
    y_ticks = ticks(0, max(data.counts))
    axes = frame.axes(x_label, y_write=lambda value: f"{value:,.{decimals(y_ticks)}f}", y_ticks=y_ticks, x_ticks=True)
    bars = []
    for number, count in enumerate(data.counts):
        low = data.start + number * data.width
        width = frame.x(low + data.width) - frame.x(low)
        span = f"{low:g}" if data.width == 1 else f"{low:g} to {low + data.width - 1:g}"
        top = frame.y(count)
        bars.append(rect(frame.x(low) + 0.5, top, width - 1, frame.floor - top, "bar", f"{span}: {count}"))
    return frame.svg(title, axes, *bars, *_marks(frame, marks))


def _marks(frame: Frame, marks: Mapping[str, float]) -> list[str]:
    """Draw named places; a name that would touch its neighbour's goes one line lower."""
    parts: list[str] = []
    previous, lower = -math.inf, False
    for name, value in marks.items():
        x = frame.x(value)
        lower = x - previous < _LABEL_GAP and not lower
        parts.append(line(x, frame.top + 2, x, frame.floor, "mark"))
        parts.append(text(x + 3, frame.top + (22 if lower else 10), name, kind="note"))
        previous = x
    return parts


def stacked(rows: Sequence[Stack], title: str) -> str:
    """Draw bars of one length, each cut up into its parts; a part's colour is that of the class ``stage-<name>``."""
    return plots.stacked(rows, title, lambda name: f"stage-{name}")
