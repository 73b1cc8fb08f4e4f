"""Whole plots as inline SVG that more than one report can use. Values in, text out; nothing is told by colour alone."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from cielo.workbench.page.drawing import Frame, decimals, dot, line, polygon, px, rect, text, ticks

Shape = Literal["circle", "square", "diamond"]

COLOURS = 6  # classes ``series-0`` to ``series-5``
DASHES = 4  # classes ``dash-0`` to ``dash-3``
_LETTER = 7.2  # pixels that a letter of a name takes
_NAME_GAP = 17  # pixels between names that stand below each other


def shorten(name: str, letters: int) -> str:
    """Cut a name that has more than `letters`."""
    return name if len(name) <= letters else f"{name[: letters - 1]}…"


def room_for(names: Sequence[str], most: float = 236) -> float:
    """Return the pixels that a column of names takes, at most `most`; longer names are cut."""
    return min(most, 20 + _LETTER * max(map(len, names), default=0))


def _name(x: float, y: float, name: str, room: float, *, anchor: str = "start") -> str:
    """Write a name into `room` pixels."""
    return text(x, y, shorten(name, max(4, int(room / _LETTER))), anchor=anchor, kind="name")


@dataclass(frozen=True, slots=True)
class Stack:
    """One bar of parts: its name, what all of it comes to in words, and the share of each part."""

    name: str
    total: str
    parts: Mapping[str, float]


def stacked(
    rows: Sequence[Stack],
    title: str,
    kind: Callable[[str], str],
    *,
    full: float = 1.0,
    left: float = 118,
    least: float = 64,
    axis: str = "",
) -> str:
    """Draw bars, each cut up into its parts.

    Args:
        rows: from top to bottom.
        title: for a screen reader.
        kind: the class of a part, by its name.
        full: the share that fills the width.
        left: pixels for the names.
        least: pixels that a part needs to be named within the bar.
        axis: what the axis of shares is called; empty: there is none.
    """
    height, right, width = 46, 150, 960
    frame = Frame(
        0, 100 * full, 1, width, len(rows) * height + (48 if axis else 4), left, right, bottom=44 if axis else 0
    )
    parts: list[str] = [frame.axes(axis, y_write=str, y_ticks=(), x_ticks=True)] if axis else []
    for number, row in enumerate(rows):
        top = number * height + 8
        at = float(left)
        parts.append(_name(left - 12, top + 20, row.name, left - 12, anchor="end"))
        for name, share in row.parts.items():
            length = share / full * (width - left - right)
            parts.append(rect(at, top, length - 1.5, 30, kind(name), f"{name}: {share:.1%}"))
            if length > least:
                parts.append(text(at + 9, top + 20, f"{name} {share:.0%}", kind="inside"))
            at += length
        parts.append(text(width - right + 12, top + 20, row.total, kind="name"))
    return frame.svg(title, *parts)


@dataclass(frozen=True, slots=True)
class Estimate:
    """A value, the interval around it where there is one, and how it is drawn."""

    name: str
    value: float
    low: float | None = None
    high: float | None = None
    shape: Shape = "circle"


@dataclass(frozen=True, slots=True)
class Row:
    """What stands on one line of a plot of intervals: its name, its values, and a note at the right."""

    name: str
    estimates: Sequence[Estimate]
    note: str = ""


def mark(x: float, y: float, shape: Shape, title: str) -> str:
    """Draw a value: a filled circle, an empty square, or an empty diamond."""
    if shape == "circle":
        return dot(x, y, 5, "mark-circle", title)
    if shape == "square":
        return rect(x - 4.5, y - 4.5, 9, 9, "mark-square", title)
    return polygon([(x, y - 6.2), (x + 6.2, y), (x, y + 6.2), (x - 6.2, y)], "mark-diamond", title)


def shape_key(shape: Shape) -> str:
    """Return a small picture of a mark, for a key."""
    return f'<svg viewBox="0 0 16 16" class="swatch" aria-hidden="true">{mark(8, 8, shape, "")}</svg>'


def intervals(
    rows: Sequence[Row],
    x_label: str,
    title: str,
    *,
    bounds: tuple[float, float] = (0, 100),
    reference: float | None = None,
) -> str:
    """Draw values as marks with bars for their intervals, a line for each row.

    Args:
        rows: from top to bottom, with at least one value between them.
        x_label: names the axis and its unit. It shows the values' range and need not begin at nought.
        title: for a screen reader.
        bounds: beyond which the axis does not go.
        reference: a value to be seen, and to draw a line at.
    """
    values = [value for row in rows for one in row.estimates for value in (one.value, one.low, one.high)]
    low, high = _range([value for value in (*values, reference) if value is not None], bounds)
    heights = [max(30, 15 * len(row.estimates) + 14) for row in rows]
    left = room_for([row.name for row in rows])
    frame = Frame(low, high, 1, 960, sum(heights) + 56, left, 96, 8, 48)
    marks = ticks(low, high, 6)
    parts = [frame.axes(x_label, y_write=str, y_ticks=(), x_ticks=True)]
    parts += [line(frame.x(value), frame.top, frame.x(value), frame.floor, "grid") for value in marks]
    if reference is not None:
        parts.append(line(frame.x(reference), frame.top, frame.x(reference), frame.floor, "median"))
    top = frame.top
    for row, height in zip(rows, heights, strict=True):
        parts.append(_name(left - 14, top + height / 2 + 5, row.name, left - 14, anchor="end"))
        for number, one in enumerate(row.estimates):
            parts.append(_estimate(frame, one, top + height / 2 + 15 * (number - (len(row.estimates) - 1) / 2)))
        parts.append(text(frame.width - frame.right + 14, top + height / 2 + 5, row.note, kind="name"))
        top += height
    return frame.svg(title, *parts)


def _range(values: Sequence[float], bounds: tuple[float, float]) -> tuple[float, float]:
    """Return the ends of an axis for `values`: a little more than they span, at most `bounds`, never nothing."""
    low, high = min(values), max(values)
    room = max(0.06 * (high - low), 0.5)
    low, high = max(low - room, bounds[0]), min(high + room, bounds[1])
    return (low, high) if high > low else (low - 1.0, low + 1.0)


def _estimate(frame: Frame, one: Estimate, y: float) -> str:
    title = f"{one.name}: {one.value:.2f}"
    bar = ""
    if one.low is not None and one.high is not None:
        title += f" ({one.low:.2f} to {one.high:.2f})"
        bar = line(frame.x(one.low), y, frame.x(one.high), y, "whisker")
        bar += "".join(line(frame.x(end), y - 4, frame.x(end), y + 4, "whisker") for end in (one.low, one.high))
    return bar + mark(frame.x(one.value), y, one.shape, title)


@dataclass(frozen=True, slots=True)
class Bar:
    """A bar of 0 to 100: its name, a second value drawn as a stroke, a note, and whether it rests on few mentions."""

    name: str
    value: float
    stroke: float | None = None
    note: str = ""
    faint: bool = False


def bars(rows: Sequence[Bar], x_label: str, title: str) -> str:
    """Draw horizontal bars on an axis from 0 to 100, their values and notes at the right."""
    height, right = 26, 106
    left = room_for([row.name for row in rows], 116)
    frame = Frame(0, 100, 1, 360, len(rows) * height + 52, left, right, 6, 46)
    parts = [frame.axes(x_label, y_write=str, y_ticks=(), x_ticks=True)]
    parts += [line(frame.x(value), frame.top, frame.x(value), frame.floor, "grid") for value in ticks(0, 100)]
    for number, row in enumerate(rows):
        top = frame.top + number * height + 4
        parts.append(_name(left - 10, top + 14, row.name, left - 10, anchor="end"))
        title_of_bar = f"{row.name}: {row.value:.2f}"
        kind = "bar faint" if row.faint else "bar"
        parts.append(rect(left, top, frame.x(row.value) - left, 18, kind, title_of_bar))
        if row.stroke is not None:
            parts.append(line(frame.x(row.stroke), top - 2, frame.x(row.stroke), top + 20, "stroke"))
        parts.append(text(frame.width - right + 46, top + 14, f"{row.value:.1f}", anchor="end", kind="name"))
        parts.append(text(frame.width - right + 54, top + 14, row.note, kind="note"))
    return frame.svg(title, *parts)


@dataclass(frozen=True, slots=True)
class Series:
    """A named curve, its points in any order."""

    name: str
    points: Sequence[tuple[float, float]]


def series_kind(number: int) -> str:
    """Return the classes of the curve of this number: colours and dashes change at different paces."""
    return f"series series-{number % COLOURS} dash-{number % DASHES}"


def curves(series: Sequence[Series], x_label: str, y_label: str, title: str) -> str:
    """Draw curves over an axis from 0 to 100, each named where it ends at the right.

    The vertical axis shows the values' range and need not begin at nought.
    """
    heights = [y for one in series for _, y in one.points]
    low, high = _range(heights, (0, 100))
    frame = Frame(0, 100, high, 960, max(340, 80 + _NAME_GAP * len(series)), 54, 286, 28, 46, low)
    values = ticks(low, high)
    digits = decimals(values)
    parts = [
        frame.axes(x_label, y_write=lambda value: f"{value:.{digits}f}", y_ticks=values, x_ticks=True),
        text(frame.left - 40, frame.top - 14, y_label, kind="label"),
    ]
    ends: list[tuple[float, float]] = []
    for number, one in enumerate(series):
        ordered = sorted(one.points)
        path = "L".join(f"{px(frame.x(x))} {px(frame.y(y))}" for x, y in ordered)
        ends.append((frame.x(ordered[-1][0]), frame.y(ordered[-1][1])))
        parts.append(f'<path d="M{path}" class="{series_kind(number)}"/>')
    room = (frame.top, frame.floor)
    for number, (one, (x, y), at) in enumerate(
        zip(series, ends, _apart([y for _, y in ends], _NAME_GAP, room), strict=True)
    ):
        start = frame.width - frame.right + 26
        parts.append(dot(x, y, 3.5, f"end series-{number % COLOURS}"))
        parts.append(line(x + 4, y, start - 6, at, "leader"))
        parts.append(line(start, at, start + 26, at, series_kind(number)))
        parts.append(_name(start + 33, at + 4.5, one.name, frame.right - 60))
    return frame.svg(title, *parts)


def _apart(places: Sequence[float], gap: float, room: tuple[float, float]) -> list[float]:
    """Return places near to those given, in the same order, that are at least `gap` apart and within `room`."""
    order = sorted(range(len(places)), key=lambda number: (places[number], number))
    found = list(places)
    at = -math.inf
    for number in order:
        at = found[number] = max(places[number], at + gap, room[0])
    limit = room[1]
    for number in reversed(order):
        found[number] = min(found[number], limit)
        limit = found[number] - gap
    return found


@dataclass(frozen=True, slots=True)
class Group:
    """Mentions of nearly one confidence: the range and the mean of it, the share that is right, and how many."""

    low: float
    high: float
    confidence: float
    accuracy: float
    count: int


def agreement(sets: Sequence[tuple[str, Shape, Sequence[Group]]], x_label: str, y_label: str, title: str) -> str:
    """Draw confidence (to the right) against accuracy (upwards), both in [0, 1], with the line where they agree.

    The counts of the first set stand beside its marks, as far as there is room.
    """
    frame = Frame(0, 1, 1, 360, 330, 42, 14, 28, 46)
    values = ticks(0, 1)
    parts = [
        frame.axes(x_label, y_write=lambda value: f"{value:.1f}", y_ticks=values, x_ticks=True),
        text(frame.left - 34, frame.top - 14, y_label, kind="label"),
        line(frame.x(0), frame.y(0), frame.x(1), frame.y(1), "median"),
    ]
    for name, shape, groups in sets:
        for one in groups:
            x, y = frame.x(one.confidence), frame.y(one.accuracy)
            told = f"{name}: confidence {one.confidence:.3f}, right {one.accuracy:.3f}, n {one.count:,}"
            parts.append(line(frame.x(one.low), y, frame.x(one.high), y, "whisker"))
            parts.append(mark(x, y, shape, told))
    marks = [(frame.x(one.confidence), frame.y(one.accuracy)) for _, _, groups in sets for one in groups]
    parts += _counts(frame, sets[0][2], marks) if sets else []
    return frame.svg(title, *parts)


def _counts(frame: Frame, groups: Sequence[Group], marks: Sequence[tuple[float, float]]) -> list[str]:
    """Write counts below their marks, without those that would touch another mark or count."""
    parts: list[str] = []
    taken = list(marks)
    for one in groups:
        x, y = frame.x(one.confidence), frame.y(one.accuracy) + 15
        others = [place for place in taken if place != (x, y - 15)]
        if y < frame.floor - 8 and all(abs(x - left) > 22 or abs(y - top) > 12 for left, top in others):
            taken.append((x, y))
            parts.append(text(x, y + 4, f"{one.count:,}", anchor="middle", kind="note"))
    return parts
