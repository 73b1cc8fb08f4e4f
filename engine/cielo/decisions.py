"""Decisions: where a desk has to look, by the confidence of a link."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from cielo.errors import OptionError
from cielo.records import Link

Decision = Literal["accept", "review", "none"]
DECISIONS: tuple[Decision, ...] = ("accept", "review", "none")


@dataclass(frozen=True, slots=True)
class Thresholds:
    """From which confidence a code is taken.

    Attributes:
        accept: from here on it is ``accept``, in [0, 1].
        review: from here on it is ``review``, in [0, `accept`]; below it is ``none``: to be coded by hand.

    Raises:
        OptionError: where they are not in these ranges.
    """

    accept: float = 0.9
    review: float = 0.5

    def __post_init__(self) -> None:
        if not 0 <= self.review <= self.accept <= 1:
            raise OptionError(
                f"got accept {self.accept:g} and review {self.review:g}, expected 0 <= review <= accept <= 1"
            )


def decision_of(link: Link, thresholds: Thresholds) -> Decision:
    """Return the decision on a link.

    A code of the lexicon is accepted: a person has entered it. One whose confidence is not known is to be reviewed.
    """
    if link.code is None:
        return "none"
    if link.method == "lexicon":
        return "accept"
    if link.confidence is None:
        return "review"
    if link.confidence >= thresholds.accept:
        return "accept"
    return "review" if link.confidence >= thresholds.review else "none"
