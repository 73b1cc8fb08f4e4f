"""Plots that more than one report uses. Records in, pictures out; no meaning is carried by colour alone.

On a phone, names stand above what they name instead of left of it, so that the letters keep their size.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cielo.workbench.page.axes import span, spread_out, ticks, writer
from cielo.workbench.page.canvas import HALF, NARROW, WIDE, Canvas, Margins, Picture, Shape
from cielo.workbench.page.parts import between, class_name, figure, percent
from cielo.workbench.page.text import shorten

COLOURS = ("blue", "red", "green", "purple", "yellow", "ink")
DASHES: tuple[tuple[float, ...], ...] = ((), (8, 4), (2.5, 3), (10, 3, 2.5, 3))
_LETTER = 7.2  # pixels that a letter of a name takes
_NAME_GAP = 17  # pixels between names that stand below each other
_NAME_SIZE = 13.0


def room_for(names: Sequence[str], most: float = 236) -> float:
    """Return the pixels that a column of names takes, at most `most`; longer names are cut."""
    return min(most, 20 + _LETTER * max(map(len, names), default=0))


def _fitting(name: str, room: float) -> str:
    return shorten(name, max(4, int(room / _LETTER)))


@dataclass(frozen=True, slots=True)
class _Columns:
    """Where names, bars and notes stand: side by side, or, on a phone, names and notes above the bars."""

    left: float
    right: float
    head: float  # pixels above a row's bars that its name takes

    @classmethod
    def of(cls, width: float, names: Sequence[str], notes: float, most: float = 236) -> _Columns:
        """Return the columns of a picture; `notes` are the pixels at the right."""
        return cls(6, 10, 18) if width <= NARROW else cls(room_for(names, most), notes, 0)

    def names(self, canvas: Canvas, top: float, height: float, name: str, note: str) -> None:
        """Write a row's name and note; `top` and `height` are those of the whole row."""
        inner = canvas.width - self.left - self.right
        if self.head:
            room = inner - _LETTER * len(note) - 8
            canvas.text(_fitting(name, room), 0, top + self.head / 2 + 2, place="row", kind="name", colour="ink",
                        size=_NAME_SIZE)  # fmt: skip
            canvas.text(note, 1, top + self.head / 2 + 2, place="row", anchor="right", kind="total")
            return
        middle = top + height / 2
        canvas.text(_fitting(name, self.left - 14), 0, middle, place="row", dx=-12, anchor="right", kind="name",
                    colour="ink", size=_NAME_SIZE)  # fmt: skip
        canvas.text(note, 1, middle, place="row", dx=12, kind="total", colour="ink", size=_NAME_SIZE)


def _rows_canvas(width: float, columns: _Columns, heights: float, x: tuple[float, float], *, axis: bool) -> Canvas:
    """Return a canvas for rows: its vertical axis counts pixels, downwards."""
    bottom = 44 if axis else 6
    margins = Margins(columns.left, columns.right, 6, bottom)
    return Canvas(width, heights + 6 + bottom, margins, x=x, y=(heights, 0), floor=axis)


@dataclass(frozen=True, slots=True)
class Stack:
    """One bar of parts: its name, what all of it comes to in words, and the share of each part."""

    name: str
    total: str
    parts: Mapping[str, float]


def stacked(
    rows: Sequence[Stack],
    label: str,
    colours: Mapping[str, str],
    *,
    full: float = 1.0,
    inside: str = "#fefefe",
    axis: str = "",
) -> Picture:
    """Return bars, each cut up into its parts.

    Args:
        rows: from top to bottom; their parts are called by `class_name`.
        label: for a screen reader.
        colours: of each part.
        full: the share that fills the width.
        inside: the colour of the names within the bars.
        axis: what the axis of shares is called; empty: there is none.
    """

    def draw(width: float) -> Canvas:
        columns = _Columns.of(width, [row.name for row in rows], 150)
        height = 46 + columns.head
        canvas = _rows_canvas(width, columns, len(rows) * height, (0, 100 * full), axis=bool(axis))
        if axis:
            marks = ticks(0, 100 * full)
            canvas.axis_x(marks, writer(marks), axis)
        pixel = 100 * full / (width - columns.left - columns.right)
        for number, row in enumerate(rows):
            top, at = number * height, 0.0
            columns.names(canvas, top, height, row.name, row.total)
            for name, share in row.parts.items():
                ends = (at, at + max(0.0, 100 * share - 1.5 * pixel))
                bar = (top + columns.head + 8, top + columns.head + 38)
                canvas.box(ends, bar, f"part-{name}", colours[name], f"{class_name(name)}: {percent(share, 1)}")
                words = f"{class_name(name)} {percent(share)}"
                if (ends[1] - ends[0]) / pixel > 6.8 * len(words) + 14:
                    canvas.text(words, at, sum(bar) / 2, dx=8, kind="inside", colour=inside)
                at += 100 * share
        return canvas

    return Picture(label, draw, (WIDE, NARROW))


@dataclass(frozen=True, slots=True)
class Estimate:
    """A value, the interval around it where there is one, and how it is drawn."""

    name: str
    value: float
    low: float | None = None
    high: float | None = None
    shape: Shape = "circle"


@dataclass(frozen=True, slots=True)
class IntervalRow:
    """What stands on one line of a plot of intervals: its name, its values, and a note at the right."""

    name: str
    estimates: Sequence[Estimate]
    note: str = ""


def intervals(
    rows: Sequence[IntervalRow],
    x_label: str,
    label: str,
    *,
    bounds: tuple[float, float] = (0, 100),
    line_at: float | None = None,
) -> Picture:
    """Return values as marks with bars for their intervals, a line for each row.

    Args:
        rows: from top to bottom, with at least one value between them.
        x_label: names the axis and its unit. It shows the values' range and need not begin at 0.
        label: for a screen reader.
        bounds: beyond which the axis does not go.
        line_at: a value to be seen, and to draw a line at.
    """
    values = [value for row in rows for one in row.estimates for value in (one.value, one.low, one.high)]
    ends = span([value for value in (*values, line_at) if value is not None], bounds)

    def draw(width: float) -> Canvas:
        columns = _Columns.of(width, [row.name for row in rows], 96)
        heights = [columns.head + max(26, 15 * len(row.estimates) + 12) for row in rows]
        canvas = _rows_canvas(width, columns, sum(heights), ends, axis=True)
        marks = ticks(*ends, 6 if width > NARROW else 4)
        canvas.axis_x(marks, writer(marks), x_label, grid=True)
        top = 0.0
        for row, height in zip(rows, heights, strict=True):
            if line_at is not None:
                ends_of_line = [(line_at, top + columns.head), (line_at, top + height)]
                canvas.line(ends_of_line, "median", "ink", dashes=(5, 4), width=1.2)
            columns.names(canvas, top, height, row.name, row.note)
            middle = top + (columns.head + height) / 2
            for number, one in enumerate(row.estimates):
                y = middle + 15 * (number - (len(row.estimates) - 1) / 2)
                _estimate(canvas, one, y, named=len(row.estimates) > 1)  # the value of a single one is the row's note
            top += height
        return canvas

    return Picture(label, draw, (WIDE, NARROW))


def _estimate(canvas: Canvas, one: Estimate, y: float, *, named: bool) -> None:
    title = f"{one.name}: {figure(one.value)}"
    if one.low is not None and one.high is not None:
        title += f" ({between(figure(one.low), figure(one.high))})"
        canvas.line([(one.low, y), (one.high, y)], "whisker", "ink", width=1.4)
        for end in (one.low, one.high):
            canvas.line([(end, y - 4), (end, y + 4)], "whisker-end", "ink", width=1.4)
    canvas.mark(one.value, y, one.shape, title)
    if named:
        ends = [end for end in (one.low, one.value, one.high) if end is not None]
        canvas.beside(figure(one.value, 1), min(ends), max(ends), y)


@dataclass(frozen=True, slots=True)
class Bar:
    """A bar of 0 to 100: its name, a second value drawn as a stroke, a note, and whether it rests on few mentions."""

    name: str
    value: float
    stroke: float | None = None
    note: str = ""
    faint: bool = False


def bars(rows: Sequence[Bar], x_label: str, label: str) -> Picture:
    """Return horizontal bars on an axis from 0 to 100, their values and notes at the right."""

    def draw(width: float) -> Canvas:
        columns = _Columns(room_for([row.name for row in rows], 0.34 * width), 98, 0)
        height = 26.0
        canvas = _rows_canvas(width, columns, len(rows) * height, (0, 100), axis=True)
        marks = ticks(0, 100, 5 if width > NARROW else 2)
        canvas.axis_x(marks, writer(marks), x_label, grid=True)
        for number, row in enumerate(rows):
            top = number * height
            columns.names(canvas, top, height, row.name, "")
            title = f"{row.name}: {figure(row.value)}"
            canvas.box((0, row.value), (top + 4, top + 22), "bar faint" if row.faint else "bar", "accent", title,
                       alpha=0.3 if row.faint else 1)  # fmt: skip
            if row.stroke is not None:
                canvas.line([(row.stroke, top + 2), (row.stroke, top + 24)], "stroke", "ink", width=2)
            canvas.text(figure(row.value, 1), 1, top + 13, place="row", dx=44, anchor="right", kind="value",
                        colour="ink", size=_NAME_SIZE)  # fmt: skip
            canvas.text(row.note, 1, top + 13, place="row", dx=50, kind="note", room=columns.right - 50)
        return canvas

    return Picture(label, draw, (HALF, NARROW))


@dataclass(frozen=True, slots=True)
class Series:
    """A named curve, its points in any order."""

    name: str
    points: Sequence[tuple[float, float]]


def series_style(number: int) -> tuple[str, tuple[float, ...]]:
    """Return colour and dashes of the curve of this number: the two change at different paces."""
    return COLOURS[number % len(COLOURS)], DASHES[number % len(DASHES)]


def curves(series: Sequence[Series], x_label: str, y_label: str, label: str) -> Picture:
    """Return curves over an axis from 0 to 100, each named: where it ends at the right, or on a phone below the axis.

    The vertical axis shows the values' range and need not begin at 0.
    """
    low, high = span([y for one in series for _, y in one.points], (0, 100))
    marks = ticks(low, high)

    def draw(width: float) -> Canvas:
        narrow, names = width <= NARROW, _NAME_GAP * len(series)
        margins = Margins(44, 12, 28, 52 + names) if narrow else Margins(54, 286, 28, 46)
        height = 300 + names if narrow else max(340, 80 + names)
        canvas = Canvas(width, height, margins, x=(0, 100), y=(low, high))
        canvas.axis_x(ticks(0, 100, 5), writer([0, 20]), "" if narrow else x_label)
        canvas.axis_y(marks, writer(marks), y_label)
        if narrow:
            canvas.text(x_label, 0.5, 0, place="axes", dy=-36, anchor="center", kind="label")
        inner = height - margins.top - margins.bottom
        ends: list[tuple[float, float]] = []
        for number, one in enumerate(series):
            ordered = sorted(one.points)
            colour, dashes = series_style(number)
            canvas.line(ordered, f"series series-{number}", colour, width=2.2, dashes=dashes)
            canvas.dots(ordered[-1:], 3.5, "end", colour)
            ends.append(ordered[-1])
        if narrow:
            _names_below(canvas, series, (high - low) / inner, low)
        else:
            _names_beside(canvas, series, ends, (low, high), inner)
        return canvas

    return Picture(label, draw, (WIDE, NARROW))


def _names_beside(
    canvas: Canvas,
    series: Sequence[Series],
    ends: Sequence[tuple[float, float]],
    room: tuple[float, float],
    inner: float,
) -> None:
    """Name curves at the right, as near to their ends as their neighbours allow; `inner` is the height in pixels."""
    pixel = (room[1] - room[0]) / inner
    across = 100 / (canvas.width - canvas.margins.left - canvas.margins.right)
    places = spread_out([y for _, y in ends], _NAME_GAP * pixel, room)
    for number, (one, (x, y), at) in enumerate(zip(series, ends, places, strict=True)):
        colour, dashes = series_style(number)
        start = 100 + 26 * across
        canvas.line([(x + 4 * across, y), (start - 6 * across, at)], "leader", "soft", alpha=0.4)
        canvas.line([(start, at), (start + 26 * across, at)], "key", colour, width=2.2, dashes=dashes)
        canvas.text(_fitting(one.name, canvas.margins.right - 60), start, at, dx=33, kind="name", colour="ink",
                    size=_NAME_SIZE)  # fmt: skip


def _names_below(canvas: Canvas, series: Sequence[Series], pixel: float, low: float) -> None:
    across = 100 / (canvas.width - canvas.margins.left - canvas.margins.right)
    for number, one in enumerate(series):
        colour, dashes = series_style(number)
        y = low - (56 + number * _NAME_GAP) * pixel
        canvas.line([(0, y), (26 * across, y)], "key", colour, width=2.2, dashes=dashes)
        room = canvas.width - canvas.margins.left - canvas.margins.right - 33
        canvas.text(_fitting(one.name, room), 0, y, dx=33, kind="name", colour="ink", size=_NAME_SIZE)
