"""The parts of a page that templates lay out, and how figures are written on it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

DASH = "–"  # instead of what is not known


@dataclass(frozen=True, slots=True)
class PageCell:
    """A cell of a table with a second, smaller line."""

    text: str
    beside: str = ""


@dataclass(frozen=True, slots=True)
class PageTable:
    """A table: its first column holds names, the others figures; the caption is for a screen reader."""

    caption: str
    head: tuple[str, ...]
    rows: tuple[tuple[str | PageCell, ...], ...]


@dataclass(frozen=True, slots=True)
class Tile:
    """A card of one figure, with a sentence below."""

    figure: str
    unit: str
    words: str


Facts = tuple[tuple[str, str], ...]  # names and what they stand for


def figure(value: float | None, digits: int = 2) -> str:
    """Write a number with so many decimals."""
    return DASH if value is None else f"{value:,.{digits}f}"


def count(value: float | None) -> str:
    """Write a whole number."""
    return figure(value, 0)


def many(number: int, name: str) -> str:
    """Write a number of things."""
    return f"{number:,} {name}" if number == 1 else f"{number:,} {name}s"


def words(value: object) -> str:
    """Write a setting or a name."""
    if value is None or value == "":
        return DASH
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return "; ".join(map(words, value)) or DASH
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {words(entry)}" for name, entry in value.items()) or DASH
    return str(value)
