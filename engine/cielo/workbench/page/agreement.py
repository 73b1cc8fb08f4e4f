"""The plot of confidences against what they are worth: marks on a square whose diagonal is honesty."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cielo.text.language import say
from cielo.workbench.page.axes import ticks, writer
from cielo.workbench.page.canvas import Canvas, Margins, Picture, Shape
from cielo.workbench.page.parts import count, figure


@dataclass(frozen=True, slots=True)
class Group:
    """Mentions of nearly one confidence: the range and the mean of it, the share that is right, and how many."""

    low: float
    high: float
    confidence: float
    accuracy: float
    count: int


def agreement(sets: Sequence[tuple[str, Shape, Sequence[Group]]], x_label: str, y_label: str, label: str) -> Picture:
    """Return confidence (to the right) against accuracy (upwards), both in [0, 1], with the line where they agree.

    The counts of the first set stand beside its marks, as far as there is room.
    """

    def draw(width: float) -> Canvas:
        canvas = Canvas(width, 340, Margins(42, 14, 28, 46), x=(0, 1), y=(0, 1))
        marks = ticks(0, 1)
        canvas.axis_x(marks, writer(marks), x_label)
        canvas.axis_y(marks, writer(marks), y_label)
        canvas.line([(0, 0), (1, 1)], "median", "ink", dashes=(5, 4), width=1.2)
        for name, shape, groups in sets:
            for one in groups:
                canvas.line([(one.low, one.accuracy), (one.high, one.accuracy)], "whisker", "ink", width=1.4)
                title = say(
                    "{name}: confidence {confidence}, right {accuracy}, n {count}",
                    name=name,
                    confidence=figure(one.confidence, 3),
                    accuracy=figure(one.accuracy, 3),
                    count=count(one.count),
                )
                canvas.mark(one.confidence, one.accuracy, shape, title)
        _counts(canvas, sets)
        return canvas

    return Picture(label, draw, (360,))


def _counts(canvas: Canvas, sets: Sequence[tuple[str, Shape, Sequence[Group]]]) -> None:
    """Write counts below their marks, without those that would touch another mark or count."""
    across, up = canvas.width - 56, 340 - 74
    taken = [(one.confidence * across, one.accuracy * up) for _, _, groups in sets for one in groups]
    for one in sets[0][2] if sets else ():
        x, y = one.confidence * across, one.accuracy * up
        others = [place for place in taken if place != (x, y)]
        if y - 15 > 8 and all(abs(x - left) > 22 or abs(y - 15 - below) > 12 for left, below in others):
            taken.append((x, y - 15))
            canvas.text(count(one.count), one.confidence, one.accuracy, dy=-15, anchor="center", kind="count")
