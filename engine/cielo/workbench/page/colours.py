"""The colours of pages and plots, in light and in dark.

Plots are drawn in the light ones; within a page each is replaced by the CSS variable of its name, so that the page's
scheme decides. No two names have one light colour.
"""

from __future__ import annotations

LIGHT = {
    "page": "#f7f6f3", "card": "#ffffff", "ink": "#1d1c1a", "soft": "#66635d", "hair": "#e3e0da", "grid": "#eceae5",
    "accent": "#256abf", "warn": "#c2372f",
    "yellow": "#eda100", "blue": "#2a78d6", "green": "#1baf7a", "purple": "#4a3aa7", "red": "#e34948",
    "grey": "#b3b0a9",
}  # fmt: skip
DARK = {
    "page": "#141517", "card": "#1c1e21", "ink": "#ecebe7", "soft": "#a09d96", "hair": "#303236", "grid": "#2a2c30",
    "accent": "#6aa9f2", "warn": "#ef7d74",
    "yellow": "#c98500", "blue": "#3987e5", "green": "#199e70", "purple": "#9085e9", "red": "#e66767",
    "grey": "#6d6b66",
}  # fmt: skip


def themed(colour: str) -> str:
    """Return a colour as a page's style writes it: the variable of its name, or the colour itself if it has none."""
    return _VARIABLES.get(colour, colour)


_VARIABLES = {value: f"var(--{name})" for name, value in LIGHT.items()}
