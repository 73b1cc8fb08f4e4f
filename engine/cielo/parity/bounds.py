"""Figures with their bounds: how a check is made of what was measured."""

from __future__ import annotations

import math
from collections.abc import Mapping

from cielo.bundle.manifest import Bound, Check

_NOTHING = "there is nothing to compare"


class Bounds:
    """Makes checks; a bundle's recipe may have bounds of its own."""

    def __init__(self, overrides: Mapping[str, float]) -> None:
        """Hold the recipe's tolerances by the name of the check."""
        self._overrides = overrides

    def at_most(self, name: str, figure: float, tolerance: float, compared: int, detail: str) -> Check:
        """Return a check of `compared` things whose figure may be no greater; where there are none, one that fails."""
        return self._check(name, figure, tolerance, "<=", compared, detail)

    def at_least(self, name: str, figure: float, tolerance: float, compared: int, detail: str) -> Check:
        """Return a check of `compared` things whose figure may be no less; where there are none, one that fails."""
        return self._check(name, figure, tolerance, ">=", compared, detail)

    def _check(
        self, name: str, figure: float, tolerance: float, comparison: Bound, compared: int, detail: str
    ) -> Check:
        finite = float(figure) if compared and math.isfinite(figure) else None
        bound = float(self._overrides.get(name, tolerance))
        return Check(name, finite, bound, comparison, detail if compared else _NOTHING)
