from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from calibration_fakes import sample
from cielo.bundle.calibration import Reliability
from cielo.errors import BundleError
from cielo.schema import decode, encode
from cielo.workbench.calibration.fit import cross_validate
from cielo.workbench.calibration.quality import quality, reliability
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.calibration import calibration_curve
from sklearn.metrics import brier_score_loss, log_loss


def test_quality_by_hand() -> None:
    found = quality([0.9, 0.9, 0.6, 0.2], [True, False, True, False], bins=2)
    assert [(one.low, one.high, one.count, one.accuracy) for one in found.bins] == [
        (0.2, 0.6, 2, 0.5), (0.9, 0.9, 2, 0.5)
    ]  # fmt: skip
    assert [one.confidence for one in found.bins] == pytest.approx([0.4, 0.9])
    assert found.expected_calibration_error == pytest.approx((2 * 0.1 + 2 * 0.4) / 4)
    assert found.brier == pytest.approx((0.01 + 0.81 + 0.16 + 0.04) / 4)
    assert found.log_loss == pytest.approx(-(math.log(0.9) + math.log(0.1) + math.log(0.6) + math.log(0.8)) / 4)


def test_quality_is_scikit_learn_s() -> None:
    rng = np.random.default_rng(5)
    said = rng.beta(2, 1, size=1_000)
    good = rng.random(1_000) < said**1.5
    found = quality(said.tolist(), good.tolist())
    assert found.brier == pytest.approx(brier_score_loss(good, said))
    assert found.log_loss == pytest.approx(log_loss(good, said))
    accuracies, confidences = calibration_curve(good, said, n_bins=10, strategy="quantile")
    assert [one.count for one in found.bins] == [100] * 10
    assert [one.confidence for one in found.bins] == pytest.approx(confidences, abs=0.005)
    assert [one.accuracy for one in found.bins] == pytest.approx(accuracies, abs=0.02)


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from([0.0, 0.1, 0.5, 0.99, 1.0]) | st.floats(0, 1), st.booleans()), min_size=1),
    st.integers(1, 10),
)
def test_bins_share_the_mentions_out(said: list[tuple[float, bool]], bins: int) -> None:
    confidences, right = [one for one, _ in said], [good for _, good in said]
    found = quality(confidences, right, bins)
    assert 1 <= len(found.bins) <= bins
    assert sum(one.count for one in found.bins) == len(said)
    assert all(one.low <= one.confidence <= one.high for one in found.bins)
    assert all(one.high < other.low for one, other in pairwise(found.bins))
    assert 0 <= found.expected_calibration_error <= 1
    assert 0 <= found.brier <= 1
    assert 0 <= found.log_loss <= -math.log(1e-6) + 1e-9
    assert found == quality(confidences[::-1], right[::-1], bins)


@pytest.mark.parametrize(("said", "right"), [([], []), ([0.5], []), ([1.5], [True]), ([math.nan], [True])])
def test_what_has_no_quality_is_refused(said: list[float], right: list[bool]) -> None:
    with pytest.raises(ValueError, match=r"expected one of each|outside of \[0, 1\]"):
        quality(said, right)


def test_what_chance_brings_is_not_taken_for_reliability() -> None:
    rng = np.random.default_rng(6)
    features, _, _ = sample(300)
    right = (rng.random(300) < 0.5).tolist()
    texts = [f"mención {number}" for number in range(300)]
    found = reliability(features, right, texts, data="ab" * 32)
    assert found.calibrated.log_loss > math.log(2) - 0.01  # no better than a coin
    assert found.calibrated.log_loss < found.raw.log_loss


def test_reliability_compares_with_the_raw_probability() -> None:
    features, right, _ = sample(3_000)
    texts = [f"mención {number}" for number in range(3_000)]
    found = reliability(features, right, texts, data="ab" * 32)
    assert (found.mentions, found.right, found.folds, found.data) == (3_000, sum(right), 5, "ab" * 32)
    assert found.raw == quality([math.exp(one.log_prob) for one in features], right)
    assert found.calibrated == quality(cross_validate(features, right, texts), right)
    assert found.calibrated.expected_calibration_error < 0.03 < found.raw.expected_calibration_error
    assert found.calibrated.brier < found.raw.brier
    assert found.calibrated.log_loss < found.raw.log_loss
    assert decode(Reliability, encode(found), "it", error=BundleError, remedy="none") == found
