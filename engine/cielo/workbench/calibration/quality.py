"""How far confidences can be taken at their word: reliability tables, calibration error, Brier score, log loss."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from cielo.bundle.calibration import Reliability, ReliabilityBin, ReliabilityQuality
from cielo.link.confidence import PENALTY, Features
from cielo.workbench.calibration.fit import FOLDS, cross_validate

BINS = 10
_LEAST = 1e-6  # of a probability whose logarithm is taken

_Floats = npt.NDArray[np.float64]


def reliability(
    features: Sequence[Features],
    right: Sequence[bool],
    texts: Sequence[str],
    *,
    data: str,
    folds: int = FOLDS,
    penalty: float = PENALTY,
) -> Reliability:
    """Return what a calibration of these mentions is worth, by cross-validation.

    Args:
        features: of links that have a code.
        right: whether the first code of each is right.
        texts: of the mentions.
        data: sha256 of what the mentions were read from.
        folds: into how many parts to divide them.
        penalty: as of `fit`.

    Raises:
        CalibrationError: where a calibration cannot be fitted (see `fit`).
        ValueError: where lengths differ, or a feature is not in its range.
    """
    confidences = cross_validate(features, right, texts, folds=folds, penalty=penalty)
    return Reliability(
        calibrated=quality(confidences, right),
        raw=quality([math.exp(min(0.0, one.log_prob)) for one in features], right),
        mentions=len(features),
        right=sum(map(bool, right)),
        folds=folds,
        data=data,
    )


def quality(confidences: Sequence[float], right: Sequence[bool], bins: int = BINS) -> ReliabilityQuality:
    """Return the reliability table of confidences, and what sums it up.

    Bins hold about the same number of mentions (Nguyen and O'Connor, "Posterior calibration and exploratory analysis",
    2015), since most confidences lie near 1, where bins of one width would say least. Equal confidences are never
    separated, so that bins may be fewer and uneven.

    Raises:
        ValueError: where there are no confidences, lengths differ, or one is not in [0, 1].
    """
    if not confidences or len(confidences) != len(right) or bins < 1:
        raise ValueError(f"got {len(confidences)} confidences, {len(right)} answers, {bins} bins; expected one of each")
    said, good = np.array(confidences, dtype=np.float64), np.array(right, dtype=np.float64)
    if not ((said >= 0) & (said <= 1)).all():
        raise ValueError("got a confidence outside of [0, 1]")
    table = tuple(_bins(said, good, bins))
    sure = np.clip(said, _LEAST, 1 - _LEAST)
    return ReliabilityQuality(
        bins=table,
        expected_calibration_error=math.fsum(one.count * abs(one.confidence - one.accuracy) for one in table)
        / len(said),
        brier=math.fsum((said - good) ** 2) / len(said),
        log_loss=-math.fsum(np.where(good > 0, np.log(sure), np.log1p(-sure))) / len(said),
    )


def _bins(said: _Floats, good: _Floats, bins: int) -> Iterable[ReliabilityBin]:
    ordered = np.sort(said)
    borders = np.unique(ordered[[len(said) * number // bins for number in range(1, bins)]])
    places = np.searchsorted(borders, said, side="right")
    for place in np.unique(places):
        here = said[places == place]
        accuracy = float(good[places == place].mean())
        confidence = min(max(math.fsum(here) / len(here), float(here.min())), float(here.max()))
        yield ReliabilityBin(float(here.min()), float(here.max()), len(here), confidence, accuracy)
