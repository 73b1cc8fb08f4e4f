from __future__ import annotations

import json
import math
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from cielo.errors import CieloError
from cielo.link import confidence as calibration
from cielo.link.confidence import (
    TERMS,
    Calibration,
    CalibrationError,
    Features,
    cross_validate,
    fit,
    fold_of,
    quality,
    reliability,
    terms,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.calibration import calibration_curve
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import brier_score_loss, log_loss
from sklearn.preprocessing import StandardScaler

EXACT = Features(log_prob=math.log(0.8), margin=2.0, method="exact", match="literal", distance=None, codes=1)
FEATURES = st.builds(
    Features,
    log_prob=st.floats(-40, 0) | st.just(-math.inf),
    margin=st.none() | st.floats(-20, 40),
    method=st.sampled_from(["exact", "semantic"]),
    match=st.sampled_from([None, "literal", "normal"]),
    distance=st.none() | st.floats(0, 4),
    codes=st.integers(1, 40),
)


def sample(count: int, seed: int = 0) -> tuple[list[Features], list[bool], np.ndarray]:
    """Return links like those of a real run, whether they are right, and the chance with which they are."""
    rng = np.random.default_rng(seed)
    features, chances = [], []
    for _ in range(count):
        probability = float(np.clip(rng.beta(1.2, 0.5), 1e-4, 1 - 1e-4))
        method = "exact" if rng.random() < 0.5 + 0.45 * probability else "semantic"
        match = None if method == "semantic" else "normal" if rng.random() < 0.2 else "literal"
        distance = float(rng.uniform(0.05, 1.0)) if method == "semantic" else None
        codes = 1 if method == "semantic" else int(rng.choice([1, 1, 1, 2, 4]))
        margin = float(rng.exponential(1 + 4 * probability))
        features.append(Features(math.log(probability), margin, method, match, distance, codes))
        odds = math.log(probability / (1 - probability)) + 0.2 * margin - 0.9 * math.log(codes) - 2.5 * (distance or 0)
        chances.append(1 / (1 + math.exp(-(odds - 0.4))))
    right = rng.random(count) < np.array(chances)
    return features, right.tolist(), np.array(chances)


def test_terms_by_hand() -> None:
    assert terms(EXACT) == pytest.approx([math.log(0.8), -math.log(0.2), 2.0, 0, 0, 0, 0])
    normal = replace(EXACT, match="normal", margin=None, codes=3, distance=0.5)
    assert terms(normal) == pytest.approx([math.log(0.8), -math.log(0.2), 10.0, 1, 0, 0, math.log(3)])
    semantic = replace(EXACT, method="semantic", match=None, margin=99.0, distance=0.5)
    assert terms(semantic) == pytest.approx([math.log(0.8), -math.log(0.2), 10.0, 0, 1, 0.5, 0])
    assert len(terms(EXACT)) == len(TERMS)


def test_sure_and_hopeless_outputs_have_finite_terms() -> None:
    limit = math.log(1e-6)
    assert terms(replace(EXACT, log_prob=0.0))[:2] == pytest.approx([0, -limit])
    assert terms(replace(EXACT, log_prob=1e-7))[:2] == pytest.approx([0, -limit])  # above nought by rounding
    assert terms(replace(EXACT, log_prob=-math.inf))[:2] == pytest.approx([limit, 0])
    assert terms(replace(EXACT, margin=math.inf))[2] == 10.0
    assert terms(replace(EXACT, margin=-math.inf))[2] == -10.0


@pytest.mark.parametrize(
    "wrong",
    [
        {"method": "lexicon"},
        {"method": "none"},
        {"match": "stem"},
        {"log_prob": math.nan},
        {"margin": math.nan},
        {"distance": math.nan},
        {"distance": math.inf},
        {"codes": 0},
    ],
)
def test_features_out_of_range_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="expected"):
        terms(replace(EXACT, **wrong))


@pytest.mark.parametrize("penalty", [1.0, 25.0])
def test_the_fit_is_scikit_learn_s(penalty: float) -> None:
    features, right, _ = sample(600)
    found = fit(features, right, penalty)
    assert min(found.coefficients[:2]) > 0  # none was left out, so that the two models are the same
    scaler = StandardScaler().fit([terms(one) for one in features])
    columns = scaler.transform([terms(one) for one in features])
    expected = LogisticRegression(C=1 / penalty, tol=1e-10, max_iter=10_000).fit(columns, right)
    assert found.coefficients == pytest.approx(expected.coef_[0], abs=1e-5)
    assert found.intercept == pytest.approx(expected.intercept_[0], abs=1e-5)
    assert found.means == pytest.approx(scaler.mean_)
    assert [found.confidence(one) for one in features] == pytest.approx(expected.predict_proba(columns)[:, 1], abs=1e-5)
    assert (found.mentions, found.right, found.penalty) == (600, sum(right), penalty)


def test_known_chances_are_found_again() -> None:
    features, right, _ = sample(6_000)
    others, _, chances = sample(2_000, seed=1)
    model = fit(features, right)
    found = np.array([model.confidence(one) for one in others])
    assert np.abs(found - chances).mean() < 0.02
    raw = np.exp([one.log_prob for one in others])
    assert np.abs(raw - chances).mean() > 0.05


def test_calibrated_probabilities_are_left_as_they_are() -> None:
    rng = np.random.default_rng(2)
    probabilities = rng.uniform(0.02, 0.98, size=8_000)
    features = [replace(EXACT, log_prob=math.log(one)) for one in probabilities]
    model = fit(features, (rng.random(8_000) < probabilities).tolist())
    for probability in (0.05, 0.3, 0.5, 0.7, 0.95):
        assert model.confidence(replace(EXACT, log_prob=math.log(probability))) == pytest.approx(probability, abs=0.03)


def test_the_mean_confidence_is_the_share_of_right_answers() -> None:
    features, right, _ = sample(500, seed=3)
    model = fit(features, right)
    assert np.mean([model.confidence(one) for one in features]) == pytest.approx(np.mean(right), abs=1e-7)


def test_the_fit_is_the_same_on_every_run_and_in_every_order() -> None:
    features, right, _ = sample(300)
    assert fit(features, right) == fit(features, right)
    turned = fit(features[::-1], right[::-1])
    assert turned.coefficients == pytest.approx(fit(features, right).coefficients, abs=1e-6)


@pytest.mark.parametrize("turn", [1, -1])
def test_confidence_never_falls_where_the_probability_rises(turn: int) -> None:
    rng = np.random.default_rng(4)
    probabilities = rng.uniform(0.01, 0.99, size=400)
    features = [replace(EXACT, log_prob=math.log(one)) for one in probabilities]
    # Surest in the middle, or against all sense: the less probable the righter.
    chances = 1 - np.abs(2 * probabilities - 1) if turn > 0 else 1 - probabilities
    model = fit(features, (rng.random(400) < chances).tolist())
    assert min(model.coefficients[:2]) == 0
    rising = [model.confidence(replace(EXACT, log_prob=math.log(one))) for one in np.linspace(0.001, 1, 200)]
    assert all(before <= after + 1e-12 for before, after in pairwise(rising))


def test_classes_that_can_be_told_apart_leave_the_coefficients_finite() -> None:
    features = [replace(EXACT, log_prob=math.log(0.9 if number % 2 else 0.1)) for number in range(100)]
    model = fit(features, [bool(number % 2) for number in range(100)])
    assert all(map(math.isfinite, model.coefficients))
    assert model.confidence(features[1]) > 0.95
    assert model.confidence(features[0]) < 0.05


def test_alike_mentions_get_their_share() -> None:
    model = fit([EXACT] * 80, [number % 4 > 0 for number in range(80)])
    assert model.coefficients == (0.0,) * len(TERMS)
    assert model.confidence(EXACT) == pytest.approx(0.75)


def test_what_cannot_be_fitted_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    features, right, _ = sample(60)
    assert issubclass(CalibrationError, CieloError)
    with pytest.raises(CalibrationError, match="got 49 linked mentions, expected at least 50"):
        fit(features[:49], right[:49])
    with pytest.raises(CalibrationError, match="all 60 answers are right"):
        fit(features, [True] * 60)
    with pytest.raises(CalibrationError, match="all 60 answers are wrong"):
        fit(features, [False] * 60)
    with pytest.raises(ValueError, match="one answer for each"):
        fit(features, right[:-1])
    with pytest.raises(ValueError, match="penalty above 0"):
        fit(features, right, 0.0)
    monkeypatch.setattr(calibration, "_STEPS", 1)
    with pytest.raises(CalibrationError, match="did not converge in 1 steps"):
        fit(features, right)


MODEL = fit(*sample(200)[:2])


@settings(deadline=None)
@given(FEATURES)
def test_a_confidence_is_a_probability_that_json_keeps(features: Features) -> None:
    found = MODEL.confidence(features)
    assert 0 <= found <= 1
    assert Calibration.from_dict(json.loads(json.dumps(MODEL.to_dict()))).confidence(features) == found


def test_far_odds_do_not_overflow() -> None:
    steep = replace(MODEL, coefficients=(1e6,) * len(TERMS))
    assert steep.confidence(replace(EXACT, log_prob=-40.0, margin=-10.0)) == 0.0
    assert steep.confidence(replace(EXACT, log_prob=0.0, margin=10.0, codes=40)) == 1.0


def test_a_model_goes_through_json_unchanged() -> None:
    assert Calibration.from_dict(json.loads(json.dumps(MODEL.to_dict()))) == MODEL


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("schema", 2),
        ("terms", ["log_p"]),
        ("means", [0.0]),
        ("means", "0000000"),
        ("means", [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, "0"]),
        ("coefficients", [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, math.nan]),
        ("coefficients", [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, True]),
        ("scales", [1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.0]),
        ("scales", [1.0, 1.0, 1.0, 1.0, 1.0, 1.0, -1.0]),
        ("intercept", math.inf),
        ("intercept", None),
        ("mentions", 10.5),
        ("mentions", True),
        ("right", 0),
        ("right", 10**9),
        ("penalty", 0),
        ("more", 1),
    ],
)
def test_bad_content_is_refused(key: str, value: object) -> None:
    content = MODEL.to_dict()
    content[key] = value
    with pytest.raises(ValueError, match="calibration"):
        Calibration.from_dict(content)


@pytest.mark.parametrize("content", [None, [], {}, "x", {"schema": 1}])
def test_what_is_no_calibration_is_refused(content: object) -> None:
    with pytest.raises(ValueError, match="no calibration"):
        Calibration.from_dict(content)


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
    told = rng.beta(2, 1, size=1_000)
    good = rng.random(1_000) < told**1.5
    found = quality(told.tolist(), good.tolist())
    assert found.brier == pytest.approx(brier_score_loss(good, told))
    assert found.log_loss == pytest.approx(log_loss(good, told))
    accuracies, confidences = calibration_curve(good, told, n_bins=10, strategy="quantile")
    assert [one.count for one in found.bins] == [100] * 10
    assert [one.confidence for one in found.bins] == pytest.approx(confidences, abs=0.005)
    assert [one.accuracy for one in found.bins] == pytest.approx(accuracies, abs=0.02)


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from([0.0, 0.1, 0.5, 0.99, 1.0]) | st.floats(0, 1), st.booleans()), min_size=1),
    st.integers(1, 10),
)
def test_bins_share_the_mentions_out(told: list[tuple[float, bool]], bins: int) -> None:
    confidences, right = [one for one, _ in told], [good for _, good in told]
    found = quality(confidences, right, bins)
    assert 1 <= len(found.bins) <= bins
    assert sum(one.count for one in found.bins) == len(told)
    assert all(one.low <= one.confidence <= one.high for one in found.bins)
    assert all(one.high < other.low for one, other in pairwise(found.bins))
    assert 0 <= found.expected_calibration_error <= 1
    assert 0 <= found.brier <= 1
    assert 0 <= found.log_loss <= -math.log(1e-6) + 1e-9
    assert found == quality(confidences[::-1], right[::-1], bins)


@pytest.mark.parametrize(("told", "right"), [([], []), ([0.5], []), ([1.5], [True]), ([math.nan], [True])])
def test_what_has_no_quality_is_refused(told: list[float], right: list[bool]) -> None:
    with pytest.raises(ValueError, match=r"expected one of each|outside of \[0, 1\]"):
        quality(told, right)


def test_one_text_is_in_one_fold() -> None:
    assert fold_of("Hipertensión  arterial.") == fold_of("hipertension arterial")
    assert fold_of("dolor") == 0  # on every machine, in every version
    folds = [fold_of(f"mención {number}") for number in range(1_000)]
    assert set(folds) == set(range(5))
    assert min(np.bincount(folds)) > 150


def test_a_mention_is_judged_by_the_others_alone() -> None:
    features, right, _ = sample(400)
    texts = [f"mención {number % 80}" for number in range(400)]
    found = cross_validate(features, right, texts)
    for place in (0, 7):
        fold = fold_of(texts[place])
        others = [number for number in range(400) if fold_of(texts[number]) != fold]
        assert not {texts[number] for number in others} & {texts[place]}
        model = fit([features[number] for number in others], [right[number] for number in others])
        assert found[place] == model.confidence(features[place])


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
    assert json.loads(json.dumps(found.to_dict())) == found.to_dict()


def test_folds_need_enough_mentions() -> None:
    features, right, _ = sample(55)
    texts = [f"mención {number}" for number in range(55)]
    with pytest.raises(CalibrationError, match="expected at least 50"):
        cross_validate(features, right, texts)
    with pytest.raises(CalibrationError, match="expected at least 50"):
        cross_validate([], [], [])
    with pytest.raises(ValueError, match="one of each"):
        cross_validate(features, right, texts[:-1])
    with pytest.raises(ValueError, match="at least 2 folds"):
        cross_validate(features, right, texts, folds=1)
