"""The plots of a comparison of rivals: groups of bars with their quartiles, drawn as the pages' plots are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from cielo.workbench.page.axes import ticks, writer
from cielo.workbench.page.canvas import Canvas, Margins, Picture
from cielo.workbench.page.plots import room_for

WIDTH = 760.0


@dataclass(frozen=True, slots=True)
class MeasuredBar:
    """A measured value with its quartiles; or, where there is none, why."""

    colour: str
    median: float | None
    low: float = 0.0
    high: float = 0.0
    failure: str = "not measured"


@dataclass(frozen=True, slots=True)
class MeasuredGroup:
    """What stands under one name in a plot of measured bars."""

    name: str
    bars: Sequence[MeasuredBar]


def measured_bars(
    title: str, groups: Sequence[MeasuredGroup], keys: Sequence[tuple[str, str]], write: Callable[[float], str]
) -> Picture:
    """Return groups of horizontal bars with their quartiles, a headline above, and a key of names and colours."""
    longest = max((one.high for group in groups for one in group.bars if one.median is not None), default=1.0) or 1.0

    def draw(width: float) -> Canvas:
        heights = [15.0 * len(group.bars) + 12 for group in groups]
        margins = Margins(room_for([group.name for group in groups]), 84, 44, 34)
        canvas = Canvas(width, sum(heights) + 78, margins, x=(0, longest), y=(sum(heights), 0))
        marks = ticks(0, longest, 6)
        canvas.axis_x(marks, writer(marks), "", grid=True)
        canvas.text(title, 0, 1, place="axes", dx=12 - margins.left, dy=26, kind="title", colour="ink", size=15)
        pixel = longest / (width - margins.left - margins.right)
        for number, (name, colour) in enumerate(reversed(keys)):
            x, y = longest + (margins.right - 92 * (number + 1)) * pixel, -26.0
            canvas.box((x, x + 10 * pixel), (y - 5, y + 5), "key", colour)
            canvas.text(name, x, y, dx=16, kind="tick")
        top = 0.0
        for group, height in zip(groups, heights, strict=True):
            canvas.text(group.name, 0, top + height / 2, dx=-10, anchor="right",
                        kind="name", colour="ink", room=margins.left - 16, size=13)  # fmt: skip
            for number, one in enumerate(group.bars):
                _measured(canvas, one, top + 6 + 15 * number, write)
            top += height
        return canvas

    return Picture(title, draw, (WIDTH,))


def _measured(canvas: Canvas, one: MeasuredBar, top: float, write: Callable[[float], str]) -> None:
    middle = top + 7
    if one.median is None:
        canvas.text(one.failure, 0, middle, dx=4, kind="note")
        return
    canvas.box((0, one.median), (top, top + 13), "bar", one.colour, write(one.median))
    if one.high > one.low:
        canvas.line([(one.low, middle), (one.high, middle)], "spread", "ink", width=1.2)
    canvas.text(write(one.median), one.high, middle, dx=6, kind="value", colour="soft")
