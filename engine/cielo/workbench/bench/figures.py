"""Figures as a person reads them: three digits that matter, a unit, a dash where there is none."""

from __future__ import annotations

from collections.abc import Iterable

from cielo.text.language import numeral, sentence
from cielo.workbench.bench.statistics import Latencies
from cielo.workbench.page.parts import DASH

LATENCY = ("p50", "p90", "p95", "p99", sentence("max"))
_UNITS = ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"))


def significant(value: float | None, digits: int = 3) -> str:
    """Write a number with at least `digits` digits, and no decimals that do not matter."""
    if value is None:
        return DASH
    decimals = 0
    while decimals < digits - 1 and abs(value) < 10 ** (digits - 1 - decimals):
        decimals += 1
    return numeral(f"{value:,.{decimals}f}")


def seconds(value: float | None) -> str:
    """Write a time in the unit that suits it."""
    if value is None:
        return DASH
    size, unit = next((entry for entry in _UNITS if value >= entry[0]), _UNITS[-1])
    return f"{significant(value / size)} {unit}"


def memory(value: int | None) -> str:
    """Write a number of bytes."""
    if value is None:
        return DASH
    return f"{significant(value / 1e9)} GB" if value >= 1e9 else f"{significant(value / 1e6)} MB"


def share(value: float) -> str:
    """Write a share of 1 as per cent."""
    return numeral(f"{100 * value:.1f}\u00a0%")


def percentiles(latency: Latencies | None) -> tuple[float | None, ...]:
    """Return the values of `LATENCY`, in its order."""
    return tuple(None if latency is None else getattr(latency, name) for name in LATENCY)


class Unit:
    """One unit and one number of decimals for times that stand under each other."""

    def __init__(self, values: Iterable[float | None]) -> None:
        """Choose them for `values`, in seconds."""
        known = [value for value in values if value]
        self.size, self.name = (1.0, "s") if known and min(known) >= 1 else (1e-3, "ms")
        least = min(known, default=1.0) / self.size
        self.decimals = 2 if least < 10 else 1 if least < 100 else 0

    def write(self, value: float | None) -> str:
        """Write a time without its unit."""
        return DASH if value is None else numeral(f"{value / self.size:,.{self.decimals}f}")
