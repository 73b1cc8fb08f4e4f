"""Intervals and comparisons by resampling documents.

Mentions of one document are not independent: a document is drawn whole, with all of its mentions, as often as it comes
up. Mentions whose document is not known are drawn by themselves.

- Intervals: percentiles of the resampled ratio (Efron and Tibshirani, `An Introduction to the Bootstrap`, 1993,
  chapter 13; whole clusters: Davison and Hinkley, `Bootstrap Methods and their Application`, 1997, section 3.8).
- Comparison of two runs: an interval of the same kind for the difference, and a randomisation test (Noreen,
  `Computer-Intensive Methods for Testing Hypotheses`, 1989), in which the two runs change places in each document by
  the toss of a coin. Its p-value counts the observed arrangement in, so that it is never 0 (Phipson and Smyth,
  "Permutation p-values should never be zero", 2010).
- McNemar's exact test looks at the mentions that one run alone has right. It takes mentions for independent, which
  makes it bolder than the randomisation test where they are not.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cielo.workbench.evaluation.records import Outcome
from cielo.workbench.evaluation.scores import is_right

RESAMPLES = 2_000
LEVEL = 0.95
FEWEST = 10  # documents, below which an interval says nothing of others
_AT_ONCE = 1_000_000  # draws held in memory

_Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Interval:
    """A value with its percentile interval, in the unit of the values it was made of.

    Attributes:
        level: the share of resamples between `low` and `high`.
        count: mentions; `clusters`: documents, or mentions without one, that were resampled.
        resamples: those that had a value (a ratio has none where nothing that it counts was drawn).
    """

    value: float
    low: float
    high: float
    level: float
    count: int
    clusters: int
    resamples: int


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two runs on the same mentions.

    Attributes:
        first, second: accuracy of each, in percent.
        difference: of the second over the first, in percentage points, with its interval `low` to `high`; None: there
            are too few documents for one.
        p_value: two-sided, of the randomisation test over documents.
        only_first, only_second: mentions that one run alone has right; `both` and `neither`: the rest.
        mcnemar_p_value: two-sided, exact.
    """

    first: float
    second: float
    difference: float
    low: float | None
    high: float | None
    level: float
    p_value: float
    only_first: int
    only_second: int
    both: int
    neither: int
    mcnemar_p_value: float
    count: int
    clusters: int
    resamples: int


def documents(outcomes: Sequence[Outcome]) -> list[Hashable]:
    """Return the cluster of each outcome: its document, or a number of its own where that is not known."""
    known = (outcome.annotated.document for outcome in outcomes)
    return [number if document is None else document for number, document in enumerate(known)]


def ratio_interval(
    parts: Sequence[float],
    wholes: Sequence[float] | None = None,
    clusters: Sequence[Hashable] | None = None,
    *,
    resamples: int = RESAMPLES,
    level: float = LEVEL,
    seed: int = 0,
) -> Interval:
    """Return the percentile interval of sum(parts) / sum(wholes).

    Args:
        parts: a value for each mention (1 where right).
        wholes: what it counts in the denominator; None: 1, so that the ratio is a mean.
        clusters: what is drawn together; None: each mention by itself.
        resamples: how often to draw.
        level: the share of resamples in the interval.
        seed: of the random numbers.

    Raises:
        ValueError: where lengths differ, a number is out of its range, or the denominator is 0.
    """
    parts_sums, wholes_sums = _cluster_sums(parts, [1.0] * len(parts) if wholes is None else wholes, clusters)
    _check(resamples, level)
    if not wholes_sums.sum():
        raise ValueError("the denominators add up to 0, expected something to count")
    drawn = _resample(np.stack([parts_sums, wholes_sums], axis=1), resamples, seed)
    drawn = drawn[drawn[:, 1] != 0]
    low, high = _percentiles(drawn[:, 0] / drawn[:, 1], level)
    value = float(parts_sums.sum() / wholes_sums.sum())
    return Interval(value, low, high, level, len(parts), len(parts_sums), len(drawn))


def accuracy_interval(
    outcomes: Sequence[Outcome],
    right: Callable[[Outcome], bool] = is_right,
    among: Callable[[Outcome], bool] | None = None,
    *,
    resamples: int = RESAMPLES,
    level: float = LEVEL,
    seed: int = 0,
) -> Interval:
    """Return the share of right outcomes, in percent, with its interval; documents are resampled.

    Args:
        outcomes: at least one.
        right: what counts as right; default: the first code.
        among: which outcomes count at all (say, those that got a code); None: all.
        resamples: how often to draw.
        level: the share of resamples in the interval.
        seed: of the random numbers.

    Raises:
        ValueError: where there is nothing to count, or a number is out of its range.
    """
    counted = [among is None or among(outcome) for outcome in outcomes]
    parts = [100.0 * (count and right(outcome)) for count, outcome in zip(counted, outcomes, strict=True)]
    clusters = documents(outcomes)
    return ratio_interval(parts, list(map(float, counted)), clusters, resamples=resamples, level=level, seed=seed)


def compare(
    first: Sequence[Outcome],
    second: Sequence[Outcome],
    right: Callable[[Outcome], bool] = is_right,
    *,
    resamples: int = RESAMPLES,
    level: float = LEVEL,
    seed: int = 0,
) -> Comparison:
    """Compare two runs on the same mentions, given in the same order.

    Raises:
        ValueError: where the mentions are not the same, there are none, or a number is out of its range.
    """
    _check(resamples, level)
    if not first or [_place(outcome) for outcome in first] != [_place(outcome) for outcome in second]:
        raise ValueError("the two runs are not of the same mentions; give the same corpus, in the same order")
    rights = np.array([[right(one), right(other)] for one, other in zip(first, second, strict=True)], dtype=bool)
    differences = rights[:, 1].astype(np.float64) - rights[:, 0]
    sums, sizes = _cluster_sums(differences.tolist(), [1.0] * len(first), documents(first))
    drawn = _resample(np.stack([sums, sizes], axis=1), resamples, seed)
    low, high = _percentiles(100.0 * drawn[:, 0] / drawn[:, 1], level)
    only_first, only_second = int((differences < 0).sum()), int((differences > 0).sum())
    both = int(rights.all(axis=1).sum())
    return Comparison(
        first=100.0 * float(rights[:, 0].mean()),
        second=100.0 * float(rights[:, 1].mean()),
        difference=100.0 * (only_second - only_first) / len(first),
        low=low,
        high=high,
        level=level,
        p_value=_randomisation_p_value(sums, resamples, seed),
        only_first=only_first,
        only_second=only_second,
        both=both,
        neither=len(first) - both - only_first - only_second,
        mcnemar_p_value=mcnemar_p_value(only_first, only_second),
        count=len(first),
        clusters=len(sums),
        resamples=resamples,
    )


def mcnemar_p_value(only_first: int, only_second: int) -> float:
    """Return the two-sided exact p-value: twice the tail of a binomial of one half, at most 1.

    Whole numbers throughout: no rounding before the last division.
    """
    total, term, tail = only_first + only_second, 1, 0
    for taken in range(min(only_first, only_second) + 1):
        tail += term
        term = term * (total - taken) // (taken + 1)
    return min(1.0, 2 * tail / (1 << total))


def _place(outcome: Outcome) -> tuple[Hashable, ...]:
    """Return what names a mention in its corpus."""
    annotated = outcome.annotated
    mention = annotated.mention
    return annotated.document, annotated.spans, annotated.codes, mention.id, mention.text, mention.sentence


def _check(resamples: int, level: float) -> None:
    if resamples < 1 or not 0 < level < 1:
        raise ValueError(f"got {resamples} resamples and level {level}, expected at least 1, and 0 < level < 1")


def _cluster_sums(
    parts: Sequence[float], wholes: Sequence[float], clusters: Sequence[Hashable] | None
) -> tuple[_Floats, _Floats]:
    """Return the sums of each cluster: all that resampling whole clusters needs."""
    names = range(len(parts)) if clusters is None else clusters
    if not len(parts) == len(wholes) == len(names):
        raise ValueError(f"got {len(parts)} parts, {len(wholes)} wholes, {len(names)} clusters; expected one of each")
    if not parts:
        raise ValueError("got no values, expected at least one")
    numbers: dict[Hashable, int] = {}
    places = np.array([numbers.setdefault(name, len(numbers)) for name in names])
    part_sums, whole_sums = np.zeros(len(numbers)), np.zeros(len(numbers))
    np.add.at(part_sums, places, np.asarray(parts, dtype=np.float64))
    np.add.at(whole_sums, places, np.asarray(wholes, dtype=np.float64))
    return part_sums, whole_sums


def _chunks(resamples: int, width: int) -> Iterator[tuple[int, int]]:
    step = max(1, _AT_ONCE // width)
    return ((start, min(start + step, resamples)) for start in range(0, resamples, step))


def _resample(sums: _Floats, resamples: int, seed: int) -> _Floats:
    """Draw as many rows of `sums` as it has, with replacement, and return their sums, once for each resample."""
    rng = np.random.default_rng(seed)
    size = len(sums)
    drawn = np.empty((resamples, sums.shape[1]))
    for start, end in _chunks(resamples, size):
        rows = rng.integers(0, size, size=(end - start, size))
        for column in range(sums.shape[1]):
            drawn[start:end, column] = sums[:, column][rows].sum(axis=1)
    return drawn


def _randomisation_p_value(sums: _Floats, resamples: int, seed: int) -> float:
    """Toss a coin for the sign of each cluster's difference; sums of whole numbers are exact."""
    rng = np.random.default_rng([seed, 1])
    observed, extreme = abs(sums.sum()), 0
    for start, end in _chunks(resamples, len(sums)):
        signs = rng.integers(0, 2, size=(end - start, len(sums)), dtype=np.int8)
        swapped = (2.0 * signs - 1.0) @ sums
        extreme += int((np.abs(swapped) >= observed).sum())
    return (1 + extreme) / (1 + resamples)


def _percentiles(values: _Floats, level: float) -> tuple[float, float]:
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
