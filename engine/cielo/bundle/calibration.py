"""The calibrations that a bundle holds: `calibration.json`, as records.

Here stands what the file must hold; `cielo.link.confidence` applies it, `cielo.workbench.calibration` makes it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from msgspec import Meta

from cielo.records import Decoding

_Positive = Annotated[float, Meta(gt=0)]
_Share = Annotated[float, Meta(ge=0, le=1)]
_Count = Annotated[int, Meta(ge=1)]
_Least = Annotated[float, Meta(ge=0)]


@dataclass(frozen=True, slots=True)
class Calibration:
    """A logistic regression over named terms of a link.

    Attributes:
        terms: their names, in the order of the other lists.
        means, scales: by which the terms are standardised.
        coefficients: of the standardised terms.
        intercept: the log-odds of a link whose terms are the means.
        mentions: from how many it was fitted; `right`: how many of them were right.
        penalty: on half of the squared coefficients.

    Raises:
        ValueError: where the lists are of unlike lengths, or all of the mentions were right.
    """

    schema: Literal[1]
    terms: tuple[str, ...]
    means: tuple[float, ...]
    scales: tuple[_Positive, ...]
    coefficients: tuple[float, ...]
    intercept: float
    mentions: _Count
    right: _Count
    penalty: _Positive

    def __post_init__(self) -> None:
        lengths = [len(values) for values in (self.means, self.scales, self.coefficients)]
        if any(length != len(self.terms) for length in lengths):
            got = ", ".join(map(str, lengths))
            raise ValueError(f"got {got} means, scales and coefficients, expected {len(self.terms)} of each")
        if self.right >= self.mentions:
            raise ValueError(f"got {self.right} right of {self.mentions} mentions, expected fewer right ones")


@dataclass(frozen=True, slots=True)
class ReliabilityBin:
    """Mentions of nearly one confidence.

    Attributes:
        low, high: the least and the greatest confidence among them.
        count: mentions.
        confidence: their mean confidence.
        accuracy: their share that is right.
    """

    low: _Share
    high: _Share
    count: _Count
    confidence: _Share
    accuracy: _Share


@dataclass(frozen=True, slots=True)
class ReliabilityQuality:
    """How far confidences can be taken at their word; less is better.

    Attributes:
        bins: the reliability table.
        expected_calibration_error: the mean distance between confidence and accuracy of a bin, by its mentions.
        brier: the mean square of the distance between confidence and answer (1: right, 0: wrong).
        log_loss: the mean negative log-likelihood, in nats.
    """

    bins: tuple[ReliabilityBin, ...]
    expected_calibration_error: _Share
    brier: _Share
    log_loss: _Least


@dataclass(frozen=True, slots=True)
class Reliability:
    """What a calibration is worth on mentions that it was not fitted to.

    Attributes:
        calibrated: of confidences by cross-validation.
        raw: of the generated text's probability as it is, for comparison.
        mentions: how many; `right`: of these.
        folds: into how many parts the mentions were divided.
        data: sha256 of what they were read from.
        outside: how many of the mentions mean no concept of the knowledge base, so that no answer is right.
    """

    calibrated: ReliabilityQuality
    raw: ReliabilityQuality
    mentions: _Count
    right: Annotated[int, Meta(ge=0)]
    folds: Annotated[int, Meta(ge=2)]
    data: str
    outside: Annotated[int, Meta(ge=0)] = 0


@dataclass(frozen=True, slots=True)
class KeptCalibration:
    """A calibration, and what it is worth."""

    model: Calibration
    reliability: Reliability


Calibrations = dict[Decoding, KeptCalibration]
