"""Fitting a calibration, and cross-validating it.

The penalty, half of the squared coefficients without the intercept, is that of ``C = 1`` in other libraries: it keeps
coefficients finite where the classes can be separated, and hardly matters beside hundreds of mentions. The fit is
Newton's method with halved steps: no random numbers, the same on every run.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from cielo.bundle.calibration import Calibration
from cielo.errors import CalibrationError
from cielo.link.confidence import PENALTY, Features, confidence, terms
from cielo.text.normal import normal_form

FEWEST = 50  # mentions
FOLDS = 5
_MONOTONE = frozenset(("log_p", "minus_log_not_p", "behind_best_output"))  # whose coefficients may not be negative
_STEPS, _HALVINGS = 100, 40
_GRADIENT = 1e-9  # per mention

_Floats = npt.NDArray[np.float64]


def fit(features: Sequence[Features], right: Sequence[bool], penalty: float = PENALTY) -> Calibration:
    """Fit a calibration.

    Args:
        features: of links that have a code, by one decoding.
        right: whether the first code of each is right.
        penalty: on half of the squared coefficients of the standardised terms.

    Raises:
        CalibrationError: where there are too few mentions or only right or only wrong ones, or the fit does not
            converge.
        ValueError: where lengths differ, the penalty is not positive, a feature is not in its range, or some are of a
            constrained search and others are not.
    """
    if len(features) != len(right) or not (penalty > 0 and math.isfinite(penalty)):
        got = f"{len(features)} features, {len(right)} answers and penalty {penalty}"
        raise ValueError(f"got {got}; expected one answer for each, and a penalty above 0")
    if len(features) < FEWEST:
        raise CalibrationError(f"got {len(features)} linked mentions, expected at least {FEWEST}; annotate more")
    good = np.array(right, dtype=np.float64)
    if not 0 < good.sum() < len(good):
        what = "right" if good[0] else "wrong"
        raise CalibrationError(f"all {len(good)} answers are {what}; a calibration needs both, take more mentions")
    names = features[0].terms
    if any(one.terms != names for one in features):
        raise ValueError("got links with and without a proof, expected those of one decoding")
    table = np.array([terms(one) for one in features])
    means, scales = table.mean(axis=0), table.std(axis=0)
    scales[scales < 1e-12] = 1.0  # a term that is the same everywhere: centred it is 0, and so its coefficient
    columns = (table - means) / scales
    weights, intercept = _fit_rising(names, columns, good, penalty)
    return Calibration(
        schema=1,
        terms=names,
        means=tuple(means.tolist()),
        scales=tuple(scales.tolist()),
        coefficients=weights,
        intercept=intercept,
        mentions=len(good),
        right=int(good.sum()),
        penalty=penalty,
    )


def _fit_rising(
    names: Sequence[str], columns: _Floats, good: _Floats, penalty: float
) -> tuple[tuple[float, ...], float]:
    """Return coefficients and intercept; terms that would make the confidence fall with the probability get 0."""
    used = list(range(len(names)))
    while True:
        *weights, intercept = _newton(columns[:, used], good, penalty).tolist()
        falling = [(weight, term) for weight, term in zip(weights, used, strict=True) if names[term] in _MONOTONE]
        weight, term = min(falling, default=(0.0, 0))
        if weight >= 0:
            coefficients = dict(zip(used, weights, strict=True))
            return tuple(coefficients.get(term, 0.0) for term in range(len(names))), intercept
        used.remove(term)


def _newton(columns: _Floats, good: _Floats, penalty: float) -> _Floats:
    """Return the coefficients, the intercept last, that make the penalised negative log-likelihood least."""
    columns = np.column_stack([columns, np.ones(len(good))])
    penalties = np.array([penalty] * (columns.shape[1] - 1) + [0.0])

    def loss(weights: _Floats) -> float:
        odds = columns @ weights
        return float((np.logaddexp(0.0, odds) - good * odds).sum() + 0.5 * (penalties * weights**2).sum())

    weights = np.zeros(columns.shape[1])
    for _ in range(_STEPS):
        chances = _sigmoid(columns @ weights)
        gradient = columns.T @ (chances - good) + penalties * weights
        if np.abs(gradient).max() <= _GRADIENT * len(good):
            return weights
        curvature = (columns * (chances * (1 - chances))[:, None]).T @ columns + np.diag(penalties)
        step = np.linalg.lstsq(curvature, gradient, rcond=None)[0]
        before = loss(weights)
        share = 1.0
        for _ in range(_HALVINGS):
            # Next to the least value the loss is known no better than to its rounding.
            if loss(weights - share * step) <= before + 1e-12 * abs(before):
                break
            share /= 2
        weights = weights - share * step
    raise CalibrationError(
        f"the fit did not converge in {_STEPS} steps; the mentions may be too much alike, take others"
    )


def _sigmoid(odds: _Floats) -> _Floats:
    chances: _Floats = 0.5 * (1.0 + np.tanh(0.5 * odds))
    return chances


def fold_of(text: str, folds: int = FOLDS) -> int:
    """Return the fold of a mention: by the hash of its normal form, so that one text is always in one fold."""
    return int.from_bytes(hashlib.sha256(normal_form(text).encode()).digest()[:8], "big") % folds


def cross_validate(
    features: Sequence[Features],
    right: Sequence[bool],
    texts: Sequence[str],
    *,
    folds: int = FOLDS,
    penalty: float = PENALTY,
) -> list[float]:
    """Return the confidence of each link, by a calibration fitted to the mentions of the other folds.

    Mentions of the same text are in the same fold (see `fold_of`).

    Raises:
        CalibrationError: as `fit`, for the mentions of the other folds.
        ValueError: where lengths differ, or as `fit`.
    """
    if not len(features) == len(right) == len(texts) or folds < 2:
        got = f"{len(features)} features, {len(right)} answers, {len(texts)} texts and {folds} folds"
        raise ValueError(f"got {got}; expected one of each, and at least 2 folds")
    if not features:
        raise CalibrationError(f"got no linked mentions, expected at least {FEWEST}; annotate more")
    places = [fold_of(text, folds) for text in texts]
    models = {
        fold: fit(
            [one for one, place in zip(features, places, strict=True) if place != fold],
            [good for good, place in zip(right, places, strict=True) if place != fold],
            penalty,
        )
        for fold in sorted(set(places))
    }
    return [confidence(models[place], one) for one, place in zip(features, places, strict=True)]
