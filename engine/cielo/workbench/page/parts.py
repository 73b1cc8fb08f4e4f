"""The parts of a page that templates lay out, and how figures are written on it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from cielo.text import wording
from cielo.text.language import numeral, say, spoken

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
    return DASH if value is None else numeral(f"{value:,.{digits}f}")


def signed(value: float, digits: int = 2) -> str:
    """Write a difference, with its sign."""
    return numeral(f"{value:+,.{digits}f}")


def percent(share: float, digits: int = 0) -> str:
    """Write a share of 1 as per cent, as the language does."""
    written = f"{share:.{digits}%}"
    return written if spoken() == "en" else numeral(written).replace("%", "\u00a0%")


def between(low: str, high: str) -> str:
    """Write a range."""
    return say("{low} to {high}", low=low, high=high)


def count(value: float | None) -> str:
    """Write a whole number."""
    return figure(value, 0)


def many(number: int, one: str, several: str) -> str:
    """Write a number of things; both sentences have the place ``{count}``, and are marked by `sentence`."""
    return say(one if number == 1 else several, count=count(number))


def value_name(name: str) -> str:
    """Return what a method, a match or a kind is called."""
    return wording.values(spoken()).get(name, name)


def class_name(name: str) -> str:
    """Return what a class of mistakes or a stage is called; ``none`` is the method of that name."""
    return say(value_name(name))


def words(value: object) -> str:
    """Write a setting or a name."""
    if value is None or value == "":
        return DASH
    if isinstance(value, bool):
        return say("yes") if value else say("no")
    if isinstance(value, float):
        return numeral(str(value))
    if isinstance(value, list | tuple):
        return "; ".join(map(words, value)) or DASH
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {words(entry)}" for name, entry in value.items()) or DASH
    return str(value)
