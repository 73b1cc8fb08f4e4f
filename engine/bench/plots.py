"""Plots as inline SVG, drawn by small functions: numbers in, text out. Colours come from the page's style sheet."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise

from engine.bench import figures
from engine.bench.statistics import Histogram, nice_step, percentile

_TICKS = 5
_LABEL_GAP = 26  # pixels below which two labels of marks would touch
_ROOM = 1.04  # what the axis is longer than its longest value
_CLIP = 2.5  # the axis ends at this many times p95 where a few samples are much slower


def _number(value: float) -> str:
    """Write a coordinate: a tenth of a pixel is fine enough."""
    return f"{value:.1f}".removesuffix(".0")


def _text(x: float, y: float, content: str, *, anchor: str = "start", kind: str = "tick") -> str:
    return f'<text x="{_number(x)}" y="{_number(y)}" text-anchor="{anchor}" class="{kind}">{escape(content)}</text>'


def _line(x1: float, y1: float, x2: float, y2: float, kind: str) -> str:
    points = f'x1="{_number(x1)}" y1="{_number(y1)}" x2="{_number(x2)}" y2="{_number(y2)}"'
    return f'<line {points} class="{kind}"/>'


def _rect(x: float, y: float, width: float, height: float, kind: str, title: str) -> str:
    box = f'x="{_number(x)}" y="{_number(y)}" width="{_number(max(0.0, width))}" height="{_number(max(0.0, height))}"'
    return f'<rect {box} class="{kind}"><title>{escape(title)}</title></rect>'


def _dot(x: float, y: float, radius: float, kind: str, title: str = "") -> str:
    inner = f"<title>{escape(title)}</title>" if title else ""
    return f'<circle cx="{_number(x)}" cy="{_number(y)}" r="{_number(radius)}" class="{kind}">{inner}</circle>'


def ticks(low: float, high: float, most: int = _TICKS) -> list[float]:
    """Return round numbers from `low` to `high`, at most one more than `most` of them."""
    step = nice_step(high - low, most)
    first = math.ceil(low / step - 1e-9)
    return [number * step for number in range(first, math.floor(high / step + 1e-9) + 1)]


def decimals(values: Sequence[float]) -> int:
    """Return how many decimals tell neighbouring `values` apart."""
    gaps = [second - first for first, second in pairwise(values)]
    return max(0, -math.floor(math.log10(min(gaps)) + 1e-9)) if gaps else 0


@dataclass(frozen=True, slots=True)
class Frame:
    """The area of a plot: from numbers to pixels, and its axes."""

    x_low: float
    x_high: float
    y_high: float
    width: float = 460
    height: float = 210
    left: float = 46
    right: float = 14
    top: float = 12
    bottom: float = 40

    def x(self, value: float) -> float:
        """Return the pixel of a number on the horizontal axis."""
        return self.left + (self.width - self.left - self.right) * (value - self.x_low) / (self.x_high - self.x_low)

    def y(self, value: float) -> float:
        """Return the pixel of a number on the vertical axis, which begins at 0."""
        return self.floor - (self.floor - self.top) * value / self.y_high

    @property
    def floor(self) -> float:
        """The pixel of the horizontal axis."""
        return self.height - self.bottom

    def axes(self, x_label: str, *, y_write: Callable[[float], str], y_ticks: Sequence[float], x_ticks: bool) -> str:
        """Draw grid lines, ticks and labels."""
        parts = []
        for value in y_ticks:
            parts.append(_line(self.left, self.y(value), self.width - self.right, self.y(value), "grid"))
            parts.append(_text(self.left - 7, self.y(value) + 4, y_write(value), anchor="end"))
        values = ticks(self.x_low, self.x_high, 6) if x_ticks else []
        for value in values:
            parts.append(_line(self.x(value), self.floor, self.x(value), self.floor + 4, "axis"))
            content = f"{value:,.{decimals(values)}f}"
            parts.append(_text(self.x(value), self.floor + 17, content, anchor="middle"))
        parts.append(_line(self.left, self.floor, self.width - self.right, self.floor, "axis"))
        middle = (self.left + self.width - self.right) / 2
        parts.append(_text(middle, self.height - 6, x_label, anchor="middle", kind="label"))
        return "".join(parts)

    def svg(self, title: str, *parts: str) -> str:
        """Return the whole picture; `title` is what a screen reader says."""
        size = f"0 0 {_number(self.width)} {_number(self.height)}"
        return f'<svg viewBox="{size}" role="img" aria-label="{escape(title, quote=True)}">{"".join(parts)}</svg>'


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
    path = [f"M{_number(frame.x(0))} {_number(frame.floor)}"]
    for rank, value in enumerate(ordered, start=1):
        if value <= limit:
            path.append(f"H{_number(frame.x(value / size))}V{_number(frame.y(rank / count))}")
    slower = sum(value > limit for value in values)
    path.append(f"H{_number(frame.x(limit / size))}")
    curve = "".join(path)
    area = f'<path d="{curve}V{_number(frame.floor)}Z" class="area"/>'
    dots = []
    for percent in marks:
        rank = -(-percent * count // 100)
        value = ordered[rank - 1] if rank <= len(ordered) else math.inf
        if value <= limit:
            name = f"p{percent}: {figures.seconds(value)}"
            dots.append(_dot(frame.x(value / size), frame.y(percent / 100), 4, "dot", name))
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
    return _text(frame.width - frame.right - 4, frame.floor - 8, content, anchor="end", kind="note")


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
    dots = "".join(_dot(frame.x(arrival), frame.y(latency / size), 2.4, "point") for arrival, latency in points)
    rug = _rug(frame, [arrival for arrival, _ in points], "rug") + _rug(frame, unanswered, "rug lost")
    name = _text(frame.left, frame.top - 2, f"latency, {unit}", kind="label")
    return frame.svg(title, axes, dots, rug, name)


def _rug(frame: Frame, arrivals: Sequence[float], kind: str) -> str:
    """Draw one short stroke for each arrival, as one path."""
    top = frame.floor + 23
    strokes = "".join(f"M{_number(frame.x(arrival))} {_number(top)}v10" for arrival in arrivals)
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
        bars.append(_rect(left, frame.y(value), width, frame.floor - frame.y(value), "bar", name))
        bars.append(_text(frame.x(number + 0.5), frame.floor + 17, str(number + 1), anchor="middle"))
    right = frame.width - frame.right
    band = _rect(frame.left, frame.y(high), right - frame.left, frame.y(low) - frame.y(high), "band", "quartiles")
    line = _line(frame.left, frame.y(median), right, frame.y(median), "median")
    return frame.svg(title, axes, *bars, band, line)


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
        bars.append(_rect(frame.x(low) + 0.5, top, width - 1, frame.floor - top, "bar", f"{span}: {count}"))
    return frame.svg(title, axes, *bars, *_marks(frame, marks))


def _marks(frame: Frame, marks: Mapping[str, float]) -> list[str]:
    """Draw named places; a name that would touch its neighbour's goes one line lower."""
    parts: list[str] = []
    previous, lower = -math.inf, False
    for name, value in marks.items():
        x = frame.x(value)
        lower = x - previous < _LABEL_GAP and not lower
        parts.append(_line(x, frame.top + 2, x, frame.floor, "mark"))
        parts.append(_text(x + 3, frame.top + (22 if lower else 10), name, kind="note"))
        previous = x
    return parts


@dataclass(frozen=True, slots=True)
class Stack:
    """One bar of parts: its name, what all of it comes to in words, and the share of each part."""

    name: str
    total: str
    parts: Mapping[str, float]


def stacked(rows: Sequence[Stack], title: str) -> str:
    """Draw bars of one length, each cut up into its parts; a part's colour is that of the class ``stage-<name>``."""
    height = 46
    left, right, width = 118, 150, 960
    parts: list[str] = []
    for number, row in enumerate(rows):
        top = number * height + 8
        at = float(left)
        parts.append(_text(left - 12, top + 20, row.name, anchor="end", kind="name"))
        for name, share in row.parts.items():
            length = share * (width - left - right)
            parts.append(_rect(at, top, length - 1.5, 30, f"stage-{name}", f"{name}: {share:.1%}"))
            if length > 64:
                parts.append(_text(at + 9, top + 20, f"{name} {share:.0%}", kind="inside"))
            at += length
        parts.append(_text(width - right + 12, top + 20, row.total, kind="name"))
    frame = Frame(0, 1, 1, width=width, height=len(rows) * height + 4)
    return frame.svg(title, *parts)
