"""A calibrated confidence: the probability that the first code of a link is right.

The model is a logistic regression with few terms:

- ``log p`` and ``-log(1 - p)`` of the generated text's probability p, the two terms of beta calibration (Kull, Silva
  Filho and Flach, "Beta calibration", 2017). With a coefficient of one each they give p itself, which is nearly right
  already; others bend it at either end. As there, a term whose coefficient comes out below nought is left out and the
  rest is fitted again, so that the confidence never falls where the probability rises.
- the margin over the next output that means another code, in nats, at most ten; none at all counts as ten.
- whether the description was matched in normal form only, or is merely the nearest one, and then how far away it is.
- the logarithm of how many codes the matched description has: the first of them is an even guess.

Terms are standardised. The penalty, half of the squared coefficients without the intercept, is that of ``C = 1`` in
other libraries: it keeps coefficients finite where the classes can be told apart, and is next to nothing beside
hundreds of mentions. The fit is Newton's method with halved steps: no random numbers, the same on every run.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from cielo.errors import CieloError
from cielo.text.normal import normal_form

TERMS = ("log_p", "minus_log_not_p", "margin", "normal_form", "semantic", "distance", "log_codes")
SCHEMA = 1
FEWEST = 50  # mentions
FOLDS = 5
BINS = 10
PENALTY = 1.0
_MONOTONE = (0, 1)  # terms whose coefficients may not be negative
_MOST_MARGIN = 10.0  # nats
_LEAST_LOG = math.log(1e-6)  # of p and of 1 - p
_LEAST = 1e-6  # of a probability whose logarithm is told
_STEPS, _HALVINGS = 100, 40
_GRADIENT = 1e-9  # per mention

_Floats = npt.NDArray[np.float64]


class CalibrationError(CieloError):
    """A calibration cannot be made from the mentions that were given."""


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
            raise ValueError("the scales of a calibration have to be above nought")
        counts = content["mentions"], content["right"]
        if not all(type(count) is int for count in counts) or not 0 < counts[1] < counts[0]:
            raise ValueError("the mentions of a calibration have to be a number above that of the right ones, above 0")
        penalty = _number(content["penalty"])
        if penalty <= 0:
            raise ValueError("the penalty of a calibration has to be above nought")
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


def fit(features: Sequence[Features], right: Sequence[bool], penalty: float = PENALTY) -> Calibration:
    """Fit a calibration.

    Args:
        features: of links that have a code.
        right: whether the first code of each is right.
        penalty: on half of the squared coefficients of the standardised terms.

    Raises:
        CalibrationError: where there are too few mentions or only right or only wrong ones, or the fit does not
            converge.
        ValueError: where lengths differ, the penalty is not positive, or a feature is not in its range.
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
    table = np.array([terms(one) for one in features])
    means, scales = table.mean(axis=0), table.std(axis=0)
    scales[scales < 1e-12] = 1.0  # a term that is the same everywhere: centred it is nought, and so its coefficient
    columns = (table - means) / scales
    weights, intercept = _fit_rising(columns, good, penalty)
    return Calibration(
        means=tuple(means.tolist()),
        scales=tuple(scales.tolist()),
        coefficients=weights,
        intercept=intercept,
        mentions=len(good),
        right=int(good.sum()),
        penalty=penalty,
    )


def _fit_rising(columns: _Floats, good: _Floats, penalty: float) -> tuple[tuple[float, ...], float]:
    """Return coefficients and intercept; terms that would make the confidence fall with the probability get nought."""
    used = list(range(len(TERMS)))
    while True:
        *weights, intercept = _newton(columns[:, used], good, penalty).tolist()
        falling = [(weight, term) for weight, term in zip(weights, used, strict=True) if term in _MONOTONE]
        weight, term = min(falling, default=(0.0, 0))
        if weight >= 0:
            coefficients = dict(zip(used, weights, strict=True))
            return tuple(coefficients.get(term, 0.0) for term in range(len(TERMS))), intercept
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


@dataclass(frozen=True, slots=True)
class Bin:
    """Mentions of nearly one confidence.

    Attributes:
        low, high: the least and the greatest confidence among them.
        count: mentions.
        confidence: their mean confidence.
        accuracy: their share that is right.
    """

    low: float
    high: float
    count: int
    confidence: float
    accuracy: float


@dataclass(frozen=True, slots=True)
class Quality:
    """How far confidences can be taken at their word; less is better.

    Attributes:
        bins: the reliability table.
        expected_calibration_error: the mean distance between confidence and accuracy of a bin, by its mentions.
        brier: the mean square of the distance between confidence and answer (1: right, 0: wrong).
        log_loss: the mean negative log-likelihood in nats, with confidences of at least 1e-6 and at most 1 - 1e-6.
    """

    bins: tuple[Bin, ...]
    expected_calibration_error: float
    brier: float
    log_loss: float


@dataclass(frozen=True, slots=True)
class Reliability:
    """What a calibration is worth on mentions that it was not fitted to.

    Attributes:
        calibrated: of confidences by cross-validation.
        raw: of the generated text's probability as it is, for comparison.
        mentions: how many; `right`: of these.
        folds: into how many parts the mentions were divided.
        data: sha256 of what they were read from.
    """

    calibrated: Quality
    raw: Quality
    mentions: int
    right: int
    folds: int
    data: str

    def to_dict(self) -> dict[str, Any]:
        """Return the tables as plain dictionaries and lists, ready for JSON."""
        return _listed(asdict(self))


def _listed(table: dict[str, Any]) -> dict[str, Any]:
    for name in ("calibrated", "raw"):
        table[name]["bins"] = list(table[name]["bins"])
    return table


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
    return [models[place].confidence(one) for one, place in zip(features, places, strict=True)]


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


def quality(confidences: Sequence[float], right: Sequence[bool], bins: int = BINS) -> Quality:
    """Return the reliability table of confidences, and what sums it up.

    Bins hold about the same number of mentions (Nguyen and O'Connor, "Posterior calibration and exploratory analysis",
    2015), since most confidences lie near 1, where bins of one width would tell least. Equal confidences are never
    parted, so that bins may be fewer and uneven.

    Raises:
        ValueError: where there are no confidences, lengths differ, or one is not in [0, 1].
    """
    if not confidences or len(confidences) != len(right) or bins < 1:
        raise ValueError(f"got {len(confidences)} confidences, {len(right)} answers, {bins} bins; expected one of each")
    told, good = np.array(confidences, dtype=np.float64), np.array(right, dtype=np.float64)
    if not ((told >= 0) & (told <= 1)).all():
        raise ValueError("got a confidence outside of [0, 1]")
    table = tuple(_bins(told, good, bins))
    sure = np.clip(told, _LEAST, 1 - _LEAST)
    return Quality(
        bins=table,
        expected_calibration_error=math.fsum(one.count * abs(one.confidence - one.accuracy) for one in table)
        / len(told),
        brier=math.fsum((told - good) ** 2) / len(told),
        log_loss=-math.fsum(np.where(good > 0, np.log(sure), np.log1p(-sure))) / len(told),
    )


def _bins(told: _Floats, good: _Floats, bins: int) -> Iterable[Bin]:
    ordered = np.sort(told)
    borders = np.unique(ordered[[len(told) * number // bins for number in range(1, bins)]])
    places = np.searchsorted(borders, told, side="right")
    for place in np.unique(places):
        here = told[places == place]
        accuracy = float(good[places == place].mean())
        confidence = min(max(math.fsum(here) / len(here), float(here.min())), float(here.max()))
        yield Bin(float(here.min()), float(here.max()), len(here), confidence, accuracy)
