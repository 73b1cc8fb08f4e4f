"""Decisions by confidence: what a desk takes, and where it looks."""

from __future__ import annotations

from dataclasses import replace

import pytest
from cielo.decisions import Decision, Thresholds, decision_of
from cielo.errors import OptionError
from cielo.records import BundleIdentity, Link, Provenance

FOUND = Link(
    "R05", ("R05",), "tos", "diagnosis", "exact", "tos", -0.1, None, (),
    Provenance(BundleIdentity("mini", "ab" * 32, "1"), "onnx", "int8", "cpu", "probable"), confidence=0.7,
)  # fmt: skip


@pytest.mark.parametrize(
    ("confidence", "decision"),
    [(1.0, "accept"), (0.9, "accept"), (0.8999, "review"), (0.5, "review"), (0.4999, "none"), (0.0, "none"),
     (None, "review")],
)  # fmt: skip
def test_the_confidence_decides(confidence: float | None, decision: Decision) -> None:
    assert decision_of(replace(FOUND, confidence=confidence), Thresholds()) == decision


def test_no_code_is_none_and_a_lexicons_code_is_accepted() -> None:
    assert decision_of(replace(FOUND, code=None, method="none", confidence=0.99), Thresholds()) == "none"
    assert decision_of(replace(FOUND, method="lexicon", confidence=None), Thresholds()) == "accept"


def test_thresholds_are_ones_own() -> None:
    assert decision_of(FOUND, Thresholds(accept=0.7, review=0.7)) == "accept"
    assert decision_of(FOUND, Thresholds(accept=1.0, review=0.0)) == "review"


@pytest.mark.parametrize(("accept", "review"), [(0.5, 0.6), (1.1, 0.5), (0.9, -0.1), (float("nan"), 0.5)])
def test_thresholds_out_of_order_are_refused(accept: float, review: float) -> None:
    with pytest.raises(OptionError, match="expected 0 <= review <= accept <= 1"):
        Thresholds(accept, review)
