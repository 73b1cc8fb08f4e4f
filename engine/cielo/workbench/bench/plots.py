"""Plots of latencies, throughput and lengths: numbers in, pictures out."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from cielo.text.language import numeral, say
from cielo.workbench.bench import figures
from cielo.workbench.bench.statistics import Histogram, Spread, percentile
from cielo.workbench.page.axes import ticks, writer
from cielo.workbench.page.canvas import HALF, NARROW, THIRD, WIDE, Canvas, Margins, Picture
from cielo.workbench.page.parts import between, count, percent

_LABEL_GAP = 30  # pixels below which two labels of marks would touch
_ROOM = 1.04  # how much longer the axis is than its longest value
_CLIP = 2.5  # the axis ends at this many times p95 where a few samples are much slower
_BAR = 0.85  # how much of its colour a bar has


def _latency_axis(limit: float) -> tuple[float, str]:
    """Return the unit of an axis of latencies, in seconds, and what the axis is called."""
    return (1.0, say("latency, seconds")) if limit >= 2 else (1e-3, say("latency, milliseconds"))


def _latency_limit(values: Sequence[float]) -> float:
    """Return where the axis of latencies ends: at the slowest, unless that would squeeze all others together."""
    return min(_ROOM * max(values), _CLIP * percentile(values, 95)) or 1e-6


def cdf(values: Sequence[float], label: str, *, unanswered: int = 0, marks: Sequence[int] = ()) -> Picture:
    """Return the share of queries (upwards) that were answered within a time (to the right).

    Args:
        values: latencies in seconds, at least one.
        label: for a screen reader.
        unanswered: queries without an answer: the curve ends below the top.
        marks: percentiles to show as dots.
    """
    limit = _latency_limit(values)
    size, latency = _latency_axis(limit)
    ordered, queries = sorted(values), len(values) + unanswered
    seen = [(value / size, rank / queries) for rank, value in enumerate(ordered, start=1) if value <= limit]
    curve = [(0.0, 0.0), *seen, (limit / size, seen[-1][1] if seen else 0.0)]
    slower = len(values) - len(seen)

    def draw(width: float) -> Canvas:
        canvas = Canvas(width, 214, Margins(), x=(0, limit / size), y=(0, 1))
        across = ticks(0, limit / size, 6 if width > NARROW else 4)
        canvas.axis_x(across, writer(across), latency)
        canvas.axis_y((0, 0.25, 0.5, 0.75, 1), percent)
        canvas.area(curve, 0, "area", "accent", 0.14)
        canvas.line(curve, "curve", "accent", width=2, steps=True)
        for mark in marks:
            rank = -(-mark * queries // 100)
            value = ordered[rank - 1] if rank <= len(ordered) else math.inf
            if value <= limit:
                canvas.dots([(value / size, mark / 100)], 4, "dot", "ink", f"p{mark}: {figures.seconds(value)}")
        if slower:
            most = figures.seconds(max(values))
            content = say("{count} slower, up to {most} →", count=count(slower), most=most)
            canvas.text(content, 1, 0, place="axes", dx=-4, dy=12, anchor="right")
        return canvas

    return Picture(label, draw, (HALF, NARROW))


def timeline(points: Sequence[tuple[float, float]], unanswered: Sequence[float], label: str) -> Picture:
    """Return each query's latency (upwards) over its arrival (to the right), and every arrival as a stroke below.

    Args:
        points: arrival and latency of what was answered, in seconds, at least one.
        unanswered: arrivals of what was not.
        label: for a screen reader.
    """
    limit = max(latency for _, latency in points) or 1e-6
    size, label_up = _latency_axis(limit)
    last = max([arrival for arrival, _ in points] + list(unanswered)) or 1.0
    top = limit / size * _ROOM

    def draw(width: float) -> Canvas:
        margins, height = Margins(top=26, bottom=66), 290.0
        canvas = Canvas(width, height, margins, x=(0, last), y=(0, top))
        across, up = ticks(0, last, 6 if width > NARROW else 4), ticks(0, top)
        wide = width > NARROW
        where = say("seconds since the beginning, at the mention’s arrival") if wide else say("arrival, seconds")
        canvas.axis_x(across, writer(across), where)
        canvas.axis_y(up, writer(up), label_up)
        shown = [(arrival, latency / size) for arrival, latency in points]
        canvas.dots(shown, 2.4, "point", "accent", alpha=0.55)
        pixel = top / (height - margins.top - margins.bottom)
        _rug(canvas, [arrival for arrival, _ in points], pixel, "rug", "soft", 0.45)
        _rug(canvas, unanswered, pixel, "rug lost", "warn", 0.9)
        return canvas

    return Picture(label, draw, (WIDE, NARROW))


def _rug(canvas: Canvas, arrivals: Sequence[float], pixel: float, kind: str, colour: str, alpha: float) -> None:
    """Draw one short stroke for each arrival, as one path."""
    if arrivals:
        gap = (math.nan, math.nan)
        strokes = [point for at in arrivals for point in ((at, -26 * pixel), (at, -36 * pixel), gap)]
        canvas.line(strokes, kind, colour, alpha=alpha)


def repeats(values: Sequence[float], spread: Spread, label: str) -> Picture:
    """Return the throughput of each repeat as a bar, with the median as a line and the quartiles as a band."""

    def draw(width: float) -> Canvas:
        canvas = Canvas(width, 214, Margins(), x=(0, len(values)), y=(0, max(values) * 1.08))
        up = ticks(0, max(values) * 1.08)
        step = 1 + len(values) // 12
        canvas.axis_x(
            [number + 0.5 for number in range(0, len(values), step)], lambda at: f"{at + 0.5:.0f}", say("repeat")
        )
        canvas.axis_y(up, writer(up))
        for number, value in enumerate(values):
            title = say("repeat {number}: {rate} mentions a second", number=number + 1, rate=figures.significant(value))
            canvas.box((number + 0.19, number + 0.81), (0, value), "bar", "accent", title, alpha=_BAR)
        canvas.box((0, len(values)), (spread.low, spread.high), "band", "ink", say("quartiles"), alpha=0.12)
        canvas.line([(0, spread.median), (len(values), spread.median)], "median", "ink", width=1.5, dashes=(5, 4))
        return canvas

    return Picture(label, draw, (HALF, NARROW))


def histogram(data: Histogram, x_label: str, label: str, marks: Mapping[str, float] | None = None) -> Picture:
    """Return a histogram; `marks` are named places on the horizontal axis."""
    marks = marks or {}
    start = min([data.start, *marks.values()])
    end = max([data.start + data.width * len(data.counts), *marks.values()])
    top = max(data.counts) * (1.24 if marks else 1.06)

    def draw(width: float) -> Canvas:
        canvas = Canvas(width, 214, Margins(), x=(start, end), y=(0, top))
        across, up = ticks(start, end, 4), ticks(0, max(data.counts), 4)
        canvas.axis_x(across, writer(across), x_label)
        canvas.axis_y(up, writer(up))
        pixel = (end - start) / (width - canvas.margins.left - canvas.margins.right)
        for number, found in enumerate(data.counts):
            low = data.start + number * data.width
            first, last = (numeral(f"{end:g}") for end in (low, low + data.width - 1))
            span = first if data.width == 1 else between(first, last)
            ends = (low + 0.5 * pixel, low + data.width - 0.5 * pixel)
            canvas.box(ends, (0, found), "bar", "accent", f"{span}: {found}", alpha=_BAR)
        _named(canvas, marks, top, pixel)
        return canvas

    return Picture(label, draw, (THIRD,))


def _named(canvas: Canvas, marks: Mapping[str, float], top: float, pixel: float) -> None:
    """Draw named places; a name that would touch its neighbour's goes one line lower."""
    previous, lower = -math.inf, False
    for name, value in marks.items():
        lower = (value - previous) / pixel < _LABEL_GAP and not lower
        canvas.line([(value, 0), (value, top)], "mark", "ink", dashes=(3, 3), alpha=0.6)
        canvas.text(say(name), value, top, dx=3, dy=-16 if lower else -4, kind="mark-name")
        previous = value
