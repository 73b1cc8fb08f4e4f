"""A calibrated confidence: the probability that the first code of a link is right.

The model is a logistic regression with few terms:

- ``log p`` and ``-log(1 - p)`` of the generated text's probability p, the two terms of beta calibration (Kull, Silva
  Filho and Flach, "Beta calibration", 2017). With a coefficient of one each they give p itself, which is nearly right
  already; others bend it at either end. As there, a term whose coefficient comes out negative is left out and the
  rest is fitted again, so that the confidence never falls where the probability rises.
- the margin over the next output that means another code, in nats, at most ten; none at all counts as ten.
- whether the description was matched in normal form only, or is merely the nearest one, and then how far away it is.
- the logarithm of how many codes the matched description has: the first of them is an even guess.

Of a constrained search two more, which tell whether the mention is any concept of the knowledge base at all:

- the log-odds of the mass, that is, of the sum of the probabilities of all descriptions that were found;
- by how much the best description is less probable than the best output seen, in nats.

Terms are standardised, and a calibration names its own: one without the two is as good as it was. How a model is
fitted stands in `cielo.workbench.calibration`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from cielo.bundle.calibration import Calibration

TERMS = ("log_p", "minus_log_not_p", "margin", "normal_form", "semantic", "distance", "log_codes")
PROVEN_TERMS = (*TERMS, "log_odds_of_mass", "behind_best_output")
PENALTY = 1.0
# It looks at the lead over a runner-up, which with one description proven alone may not have been found.
LEAST_PROVEN = 2
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
        mass: of a constrained search, the sum of the probabilities of all descriptions that were found; else None.
        behind: likewise, by how much the best output's log-probability exceeds that of the best description, at least
            0; else None.
    """

    log_prob: float
    margin: float | None
    method: str
    match: str | None
    distance: float | None
    codes: int
    mass: float | None = None
    behind: float | None = None

    @property
    def terms(self) -> tuple[str, ...]:
        """The names of the terms that are known of it."""
        return TERMS if self.mass is None or self.behind is None else PROVEN_TERMS


def terms(features: Features) -> list[float]:
    """Return the terms of the model, in the order of `Features.terms`.

    Raises:
        ValueError: where a feature is not in its range.
    """
    _check(features)
    log_prob = min(0.0, features.log_prob)
    margin = _MOST_MARGIN if features.margin is None else max(-_MOST_MARGIN, min(_MOST_MARGIN, features.margin))
    semantic = features.method == "semantic"
    known = [
        max(_LEAST_LOG, log_prob),
        -_log(-math.expm1(log_prob)),
        margin,
        float(not semantic and features.match == "normal"),
        float(semantic),
        (features.distance or 0.0) if semantic else 0.0,
        math.log(features.codes),
    ]
    if features.mass is not None and features.behind is not None:
        known += [_log(features.mass) - _log(1.0 - features.mass), max(_LEAST_LOG, -max(0.0, features.behind))]
    return known


def _log(share: float) -> float:
    """Return the logarithm of a share, which is no less than a millionth."""
    return max(_LEAST_LOG, math.log(share)) if share > 0 else _LEAST_LOG


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
    if math.isnan(features.mass or 0.0) or math.isnan(features.behind or 0.0):
        raise ValueError("got a mass or a lead of the best output that is no number, expected numbers")
    if features.codes < 1:
        raise ValueError(f"got {features.codes} codes, expected at least 1")


def confidence(calibration: Calibration, features: Features) -> float:
    """Return the probability, in [0, 1], that the first code of a link is right.

    Raises:
        ValueError: where a feature is not in its range, or the calibration has terms that are not known of it.
    """
    if not set(calibration.terms) <= set(features.terms):
        raise ValueError(f"got a calibration of {', '.join(calibration.terms)}; expected {', '.join(features.terms)}")
    found = dict(zip(features.terms, terms(features), strict=True))
    values = [found[name] for name in calibration.terms]
    standard = zip(calibration.coefficients, values, calibration.means, calibration.scales, strict=True)
    distances = math.fsum(weight * (term - mean) / scale for weight, term, mean, scale in standard)
    log_odds = calibration.intercept + distances
    if log_odds >= 0:
        return 1.0 / (1.0 + math.exp(-log_odds))
    odds = math.exp(log_odds)
    return odds / (1.0 + odds)


def has_these_terms(calibration: Calibration, decoding: str = "probable") -> bool:
    """Tell whether a calibration is of terms that this version knows of the links of a decoding."""
    return calibration.terms == TERMS or (decoding == "constrained" and calibration.terms == PROVEN_TERMS)
