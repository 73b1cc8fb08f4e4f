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
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

TERMS = ("log_p", "minus_log_not_p", "margin", "normal_form", "semantic", "distance", "log_codes")
SCHEMA = 1
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


@dataclass(frozen=True, slots=True)
class Calibration:
    """A fitted model.

    Attributes:
        means, scales: by which the terms are standardised, in the order of `TERMS`.
        coefficients: of the standardised terms.
        intercept: the log-odds of a link whose terms are the means.
        mentions: from how many it was fitted; `right`: how many of them were right.
        penalty: on half of the squared coefficients.
    """

    means: tuple[float, ...]
    scales: tuple[float, ...]
    coefficients: tuple[float, ...]
    intercept: float
    mentions: int
    right: int
    penalty: float = PENALTY

    def confidence(self, features: Features) -> float:
        """Return the probability, in [0, 1], that the first code of the link is right.

        Raises:
            ValueError: where a feature is not in its range.
        """
        standard = zip(self.coefficients, terms(features), self.means, self.scales, strict=True)
        log_odds = self.intercept + math.fsum(weight * (term - mean) / scale for weight, term, mean, scale in standard)
        if log_odds >= 0:
            return 1.0 / (1.0 + math.exp(-log_odds))
        odds = math.exp(log_odds)
        return odds / (1.0 + odds)

    def to_dict(self) -> dict[str, Any]:
        """Return the model as plain dictionaries and lists, ready for JSON."""
        return {"schema": SCHEMA, "terms": list(TERMS), **{name: _plain(value) for name, value in asdict(self).items()}}

    @classmethod
    def from_dict(cls, content: object) -> Calibration:
        """Return the model that `to_dict` made.

        Raises:
            ValueError: where `content` is anything else; the message says what.
        """
        if not isinstance(content, dict) or set(content) != {"schema", "terms", *cls.__dataclass_fields__}:
            raise ValueError("no calibration: expected an object with the keys of this version and no others")
        if content["schema"] != SCHEMA or content["terms"] != list(TERMS):
            raise ValueError("a calibration of another version, with other terms; calibrate the bundle anew")
        means, scales, coefficients = (_numbers(content, name) for name in ("means", "scales", "coefficients"))
        if min(scales) <= 0:
            raise ValueError("the scales of a calibration have to be above 0")
        counts = content["mentions"], content["right"]
        if not all(type(count) is int for count in counts) or not 0 < counts[1] < counts[0]:
            raise ValueError("the mentions of a calibration have to be a number above that of the right ones, above 0")
        penalty = _number(content["penalty"])
        if penalty <= 0:
            raise ValueError("the penalty of a calibration has to be above 0")
        return cls(means, scales, coefficients, _number(content["intercept"]), counts[0], counts[1], penalty)


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"a calibration holds a {type(value).__name__} that is no finite number")
    return float(value)


def _numbers(content: Mapping[str, Any], name: str) -> tuple[float, ...]:
    values = content[name]
    if not isinstance(values, list) or len(values) != len(TERMS):
        raise ValueError(f"the {name} of a calibration have to be a list of {len(TERMS)} numbers")
    return tuple(map(_number, values))
