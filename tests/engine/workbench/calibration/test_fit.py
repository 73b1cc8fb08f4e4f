from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from calibration_fakes import EXACT, sample
from cielo.errors import CalibrationError, CieloError
from cielo.link.confidence import PROVEN_TERMS, TERMS, confidence, terms
from cielo.workbench.calibration import fit as module
from cielo.workbench.calibration.fit import cross_validate, fit, fold_of
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler


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
    assert [confidence(found, one) for one in features] == pytest.approx(
        expected.predict_proba(columns)[:, 1], abs=1e-5
    )
    assert (found.mentions, found.right, found.penalty) == (600, sum(right), penalty)


def test_what_a_proof_tells_is_learnt() -> None:
    features, _, _ = sample(2_000)
    rng = np.random.default_rng(5)
    proven = [replace(one, mass=float(rng.random()), behind=float(rng.exponential(3.0))) for one in features]
    right = [one.mass is not None and one.mass > 0.5 for one in proven]
    model = fit(proven, right)
    assert model.terms == PROVEN_TERMS
    high, low = (replace(EXACT, mass=mass, behind=1.0) for mass in (0.95, 0.05))
    assert confidence(model, high) > 0.9 and confidence(model, low) < 0.1
    # The farther behind the best output, the less sure, whatever the mentions say.
    farther = [one.behind is not None and one.behind > 3.0 for one in proven]
    assert fit(proven, farther).coefficients[PROVEN_TERMS.index("behind_best_output")] == 0.0
    with pytest.raises(ValueError, match="with and without a proof"):
        fit([*features[:50], *proven[:50]], right[:100])


def test_known_chances_are_found_again() -> None:
    features, right, _ = sample(6_000)
    others, _, chances = sample(2_000, seed=1)
    model = fit(features, right)
    found = np.array([confidence(model, one) for one in others])
    assert np.abs(found - chances).mean() < 0.02
    raw = np.exp([one.log_prob for one in others])
    assert np.abs(raw - chances).mean() > 0.05


def test_calibrated_probabilities_are_left_as_they_are() -> None:
    rng = np.random.default_rng(2)
    probabilities = rng.uniform(0.02, 0.98, size=8_000)
    features = [replace(EXACT, log_prob=math.log(one)) for one in probabilities]
    model = fit(features, (rng.random(8_000) < probabilities).tolist())
    for probability in (0.05, 0.3, 0.5, 0.7, 0.95):
        assert confidence(model, replace(EXACT, log_prob=math.log(probability))) == pytest.approx(probability, abs=0.03)


def test_the_mean_confidence_is_the_share_of_right_answers() -> None:
    features, right, _ = sample(500, seed=3)
    model = fit(features, right)
    assert np.mean([confidence(model, one) for one in features]) == pytest.approx(np.mean(right), abs=1e-7)


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
    rising = [confidence(model, replace(EXACT, log_prob=math.log(one))) for one in np.linspace(0.001, 1, 200)]
    assert all(before <= after + 1e-12 for before, after in pairwise(rising))


def test_classes_that_can_be_told_apart_leave_the_coefficients_finite() -> None:
    features = [replace(EXACT, log_prob=math.log(0.9 if number % 2 else 0.1)) for number in range(100)]
    model = fit(features, [bool(number % 2) for number in range(100)])
    assert all(map(math.isfinite, model.coefficients))
    assert confidence(model, features[1]) > 0.95
    assert confidence(model, features[0]) < 0.05


def test_alike_mentions_get_their_share() -> None:
    model = fit([EXACT] * 80, [number % 4 > 0 for number in range(80)])
    assert model.coefficients == (0.0,) * len(TERMS)
    assert confidence(model, EXACT) == pytest.approx(0.75)


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
    monkeypatch.setattr(module, "_STEPS", 1)
    with pytest.raises(CalibrationError, match="did not converge in 1 steps"):
        fit(features, right)


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
        assert found[place] == confidence(model, features[place])


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
