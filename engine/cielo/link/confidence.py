"""A calibrated confidence: the probability that the first code of a link is right.

The model is a logistic regression with few terms:

- ``log p`` and ``-log(1 - p)`` of the generated text's probability p, the two terms of beta calibration (Kull, Silva
  Filho and Flach, "Beta calibration", 2017). With a coefficient of one each they give p itself, which is nearly right
  already; others bend it at either end. As there, a term whose coefficient comes out negative is left out and the
  rest is fitted again, so that the confidence never falls where the probability rises.
- the margin over the next output that means another code, in nats, at most ten; none at all counts as ten.
- whether the description was matched in normal form only, or is merely the nearest one, and then how far away it is.
- the logarithm of how many codes the matched description has: the first of them is an even guess.

Terms are standardised. How a model is fitted stands in `cielo.workbench.calibration`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from cielo.bundle.calibration import Calibration

TERMS = ("log_p", "minus_log_not_p", "margin", "normal_form", "semantic", "distance", "log_codes")
PENALTY = 1.0
_MOST_MARGIN = 10.0  # nats
_LEAST_LOG = math.log(1e-6)  # of p and of 1 - p


@dataclass(frozen=True, slots=True)
class Features:
    """What the confidence of a link depends on.

    Attributes:
        log_prob: natural logarithm of the probability of the generated text.
        margin: by how much it exceeds that of the next output that means another code; None: there is none.
        method: ``exact`` or ``semantic``.
        match: of an exact match: to the letter (``literal``) or in ``normal`` form; None counts as ``literal``.
        distance: of a semantic match; passed over where the match is exact.
        codes: how many codes the matched description has.
    """

    log_prob: float
    margin: float | None
    method: str
    match: str | None
    distance: float | None
    codes: int


def terms(features: Features) -> list[float]:
    """Return the terms of the model, in the order of `TERMS`.

    Raises:
        ValueError: where a feature is not in its range.
    """
    _check(features)
    log_prob = min(0.0, features.log_prob)
    log_rest = math.log(rest) if (rest := -math.expm1(log_prob)) > 0 else -math.inf
    margin = _MOST_MARGIN if features.margin is None else max(-_MOST_MARGIN, min(_MOST_MARGIN, features.margin))
    semantic = features.method == "semantic"
    return [
        max(_LEAST_LOG, log_prob),
        -max(_LEAST_LOG, log_rest),
        margin,
        float(not semantic and features.match == "normal"),
        float(semantic),
        (features.distance or 0.0) if semantic else 0.0,
        math.log(features.codes),
    ]


def _check(features: Features) -> None:
    if features.method not in ("exact", "semantic") or features.match not in (None, "literal", "normal"):
        got = f"method {features.method!r} and match {features.match!r}"
        raise ValueError(f"got {got}, expected exact or semantic, and literal, normal or None")
    if (
        math.isnan(features.log_prob)
        or math.isnan(features.margin or 0.0)
        or not math.isfinite(features.distance or 0.0)
    ):
        raise ValueError("got a log-probability, margin or distance that is no number, expected numbers")
    if features.codes < 1:
        raise ValueError(f"got {features.codes} codes, expected at least 1")


def confidence(calibration: Calibration, features: Features) -> float:
    """Return the probability, in [0, 1], that the first code of a link is right.

    Raises:
        ValueError: where a feature is not in its range, or the calibration is of other terms (see `has_these_terms`).
    """
    standard = zip(calibration.coefficients, terms(features), calibration.means, calibration.scales, strict=True)
    distances = math.fsum(weight * (term - mean) / scale for weight, term, mean, scale in standard)
    log_odds = calibration.intercept + distances
    if log_odds >= 0:
        return 1.0 / (1.0 + math.exp(-log_odds))
    odds = math.exp(log_odds)
    return odds / (1.0 + odds)


def has_these_terms(calibration: Calibration) -> bool:
    """Tell whether a calibration is of the terms of this version."""
    return calibration.terms == TERMS
