from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
from cielo.bundle.calibration import Calibration
from cielo.errors import BundleError
from cielo.link.confidence import PROVEN_TERMS, TERMS, Features, confidence, has_these_terms, terms
from cielo.schema import decode, encode, to_builtins
from hypothesis import given, settings
from hypothesis import strategies as st

EXACT = Features(log_prob=math.log(0.8), margin=2.0, method="exact", match="literal", distance=None, codes=1)
FEATURES = st.builds(
    Features,
    log_prob=st.floats(-40, 0) | st.just(-math.inf),
    margin=st.none() | st.floats(-20, 40),
    method=st.sampled_from(["exact", "semantic"]),
    match=st.sampled_from([None, "literal", "normal"]),
    distance=st.none() | st.floats(0, 4),
    codes=st.integers(1, 40),
    mass=st.none() | st.floats(0, 1),
    behind=st.none() | st.floats(0, 40),
)


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


def test_terms_of_a_constrained_search_by_hand() -> None:
    proven = replace(EXACT, mass=0.9, behind=1.5)
    assert proven.terms == PROVEN_TERMS and EXACT.terms == TERMS
    assert terms(proven) == pytest.approx([*terms(EXACT), math.log(0.9) - math.log(0.1), -1.5])
    limit = math.log(1e-6)
    assert terms(replace(EXACT, mass=1.0, behind=0.0))[-2:] == pytest.approx([-limit, 0.0])
    assert terms(replace(EXACT, mass=0.0, behind=math.inf))[-2:] == pytest.approx([limit, limit])
    assert terms(replace(EXACT, mass=0.5, behind=-1e-9))[-2:] == pytest.approx([0.0, 0.0])  # below 0 by rounding


def test_a_calibration_takes_its_own_terms_alone() -> None:
    proven = replace(EXACT, mass=0.9, behind=1.5)
    assert confidence(MODEL, proven) == confidence(MODEL, EXACT)
    both = replace(
        MODEL, terms=PROVEN_TERMS, means=(*MODEL.means, 1.0, -1.0), scales=(*MODEL.scales, 1.0, 1.0),
        coefficients=(*MODEL.coefficients, 0.5, 0.25),
    )  # fmt: skip
    assert confidence(both, proven) != confidence(MODEL, proven)
    assert confidence(both, proven) > confidence(both, replace(proven, behind=9.0))
    with pytest.raises(ValueError, match="expected log_p"):
        confidence(both, EXACT)
    assert has_these_terms(both, "constrained") and has_these_terms(MODEL, "constrained")
    assert not has_these_terms(both, "probable")
    assert not has_these_terms(replace(both, terms=PROVEN_TERMS[::-1]), "constrained")


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
        {"mass": math.nan},
        {"behind": math.nan},
    ],
)
def test_features_out_of_range_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="expected"):
        terms(replace(EXACT, **wrong))


MODEL = Calibration(
    schema=1,
    terms=TERMS,
    means=(-0.6, 1.3, 3.1, 0.15, 0.3, 0.16, 0.2),
    scales=(0.9, 1.4, 2.7, 0.36, 0.46, 0.3, 0.4),
    coefficients=(0.7, 0.9, 0.5, -0.1, 0.0, -0.6, -0.4),
    intercept=0.4,
    mentions=200,
    right=123,
    penalty=1.0,
)


def read(content: object) -> Calibration:
    return decode(Calibration, content, "the calibration", error=BundleError, remedy="calibrate again")


@settings(deadline=None)
@given(FEATURES)
def test_a_confidence_is_a_probability_that_json_keeps(features: Features) -> None:
    found = confidence(MODEL, features)
    assert 0 <= found <= 1
    assert confidence(read(encode(MODEL)), features) == found


def test_far_odds_do_not_overflow() -> None:
    steep = replace(MODEL, coefficients=(1e6,) * len(TERMS))
    assert confidence(steep, replace(EXACT, log_prob=-40.0, margin=-10.0)) == 0.0
    assert confidence(steep, replace(EXACT, log_prob=0.0, margin=10.0, codes=40)) == 1.0


def test_a_model_goes_through_json_unchanged() -> None:
    assert read(encode(MODEL)) == MODEL


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
    with pytest.raises(BundleError, match="the calibration is not valid"):
        read({**to_builtins(MODEL), key: value})


def test_other_terms_are_another_version_s() -> None:
    assert has_these_terms(MODEL)
    assert not has_these_terms(replace(MODEL, terms=(*TERMS[1:], "more")))


@pytest.mark.parametrize("content", [None, [], {}, "x", {"schema": 1}])
def test_what_is_no_calibration_is_refused(content: object) -> None:
    with pytest.raises(BundleError, match="the calibration is not valid"):
        read(content)
