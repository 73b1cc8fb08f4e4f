"""What plots are drawn with: shapes as SVG, round numbers for axes, and the frame that turns numbers into pixels.

Colours come from the page's style sheet, by the classes that shapes are given.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise

_TICKS = 5
_STEPS = (1.0, 2.0, 5.0, 10.0, 20.0)


def px(value: float) -> str:
    """Write a coordinate in pixels: a tenth of a pixel is fine enough."""
    return f"{value:.1f}".removesuffix(".0")


def text(x: float, y: float, content: str, *, anchor: str = "start", kind: str = "tick") -> str:
    """Return a line of text that stands on `y`."""
    return f'<text x="{px(x)}" y="{px(y)}" text-anchor="{anchor}" class="{kind}">{escape(content)}</text>'


def line(x1: float, y1: float, x2: float, y2: float, kind: str) -> str:
    """Return a straight line."""
    points = f'x1="{px(x1)}" y1="{px(y1)}" x2="{px(x2)}" y2="{px(y2)}"'
    return f'<line {points} class="{kind}"/>'


def rect(x: float, y: float, width: float, height: float, kind: str, title: str) -> str:
    """Return a rectangle; `title` shows where a pointer rests on it."""
    box = f'x="{px(x)}" y="{px(y)}" width="{px(max(0.0, width))}" height="{px(max(0.0, height))}"'
    return f'<rect {box} class="{kind}"><title>{escape(title)}</title></rect>'


def dot(x: float, y: float, radius: float, kind: str, title: str = "") -> str:
    """Return a circle."""
    inner = f"<title>{escape(title)}</title>" if title else ""
    return f'<circle cx="{px(x)}" cy="{px(y)}" r="{px(radius)}" class="{kind}">{inner}</circle>'


def polygon(points: Sequence[tuple[float, float]], kind: str, title: str) -> str:
    """Return a closed shape."""
    corners = " ".join(f"{px(x)},{px(y)}" for x, y in points)
    return f'<polygon points="{corners}" class="{kind}"><title>{escape(title)}</title></polygon>'


def nice_step(span: float, most: int) -> float:
    """Return the least step of the form 1, 2 or 5 times a power of ten of which at most `most` cover `span`.

    Raises:
        ValueError: where `span` is not positive or `most` is below 1.
    """
    if not (span > 0 and math.isfinite(span)) or most < 1:
        raise ValueError(f"got span {span} and {most} steps, expected a positive span and at least one step")
    power = 10.0 ** math.floor(math.log10(span / most))
    return next(step * power for step in _STEPS if step * power * most >= span)


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
    y_low: float = 0

    def x(self, value: float) -> float:
        """Return the pixel of a number on the horizontal axis."""
        return self.left + (self.width - self.left - self.right) * (value - self.x_low) / (self.x_high - self.x_low)

    def y(self, value: float) -> float:
        """Return the pixel of a number on the vertical axis."""
        return self.floor - (self.floor - self.top) * (value - self.y_low) / (self.y_high - self.y_low)

    @property
    def floor(self) -> float:
        """The pixel of the horizontal axis."""
        return self.height - self.bottom

    def axes(self, x_label: str, *, y_write: Callable[[float], str], y_ticks: Sequence[float], x_ticks: bool) -> str:
        """Draw grid lines, ticks and labels."""
        parts = []
        for value in y_ticks:
            parts.append(line(self.left, self.y(value), self.width - self.right, self.y(value), "grid"))
            parts.append(text(self.left - 7, self.y(value) + 4, y_write(value), anchor="end"))
        values = ticks(self.x_low, self.x_high, 6) if x_ticks else []
        for value in values:
            parts.append(line(self.x(value), self.floor, self.x(value), self.floor + 4, "axis"))
            content = f"{value:,.{decimals(values)}f}"
            parts.append(text(self.x(value), self.floor + 17, content, anchor="middle"))
        parts.append(line(self.left, self.floor, self.width - self.right, self.floor, "axis"))
        middle = (self.left + self.width - self.right) / 2
        parts.append(text(middle, self.height - 6, x_label, anchor="middle", kind="label"))
        return "".join(parts)

    def svg(self, title: str, *parts: str) -> str:
        """Return the whole picture; `title` is what a screen reader says."""
        size = f"0 0 {px(self.width)} {px(self.height)}"
        return f'<svg viewBox="{size}" role="img" aria-label="{escape(title, quote=True)}">{"".join(parts)}</svg>'
