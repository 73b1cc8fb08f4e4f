from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest
from cielo.workbench.evaluation.analysis import CLASSES, classify, columns, count_classes, rows
from cielo.workbench.evaluation.records import Outcome
from cielo.workbench.evaluation.scores import is_right
from hypothesis import given, settings
from hypothesis import strategies as st
from outcome_fakes import SYSTEMS, outcome, outcomes

RUNS = st.lists(outcomes(), min_size=1, max_size=12)


@pytest.mark.parametrize(
    ("code", "gold", "expected"),
    [
        ("E11.9", "e119", "right"),
        (None, "E11.9", "none"),
        ("-", "E11.9", "none"),
        ("E11", "E11.9", "near: parent"),
        ("E11.65", "E11.6", "near: child"),
        ("T68.XXXA", "T68", "near: child"),
        ("E11.8", "E11.9", "near: sibling"),
        ("E11.65", "E11.9", "near: sibling"),
        ("E10.9", "E11.9", "same chapter"),
        ("D49.9", "D50.0", "other"),  # neighbours in the alphabet, of two chapters
        ("C80.1", "D49.9", "same chapter"),
        ("I10", "E11.9", "other"),
        ("I10", ("E11.9", "I15.0", "I10"), "right"),
        ("E11.8", ("I10", "E10.9", "E11.9"), "near: sibling"),  # the nearest of several
        ("E11", ("E11.9", "E11.65"), "near: parent"),
    ],
)
def test_classes_of_diagnoses(code: str | None, gold: str | tuple[str, ...], expected: str) -> None:
    assert classify(outcome(code, gold), SYSTEMS) == expected


@pytest.mark.parametrize(
    ("code", "gold", "expected"),
    [
        ("0210", "0210083", "near: parent"),
        ("0210083", "0210", "near: child"),
        ("0210093", "0210083", "near: sibling"),
        ("0211", "0210", "same chapter"),  # three characters in common are the same operation, no more
        ("BW20", "0210", "other"),
    ],
)
def test_classes_of_procedures(code: str, gold: str, expected: str) -> None:
    assert classify(outcome(code, gold, kind="procedure"), SYSTEMS) == expected


def test_classes_of_other_systems_look_at_beginnings_alone() -> None:
    assert classify(outcome("2711", "2710", kind="drug"), SYSTEMS) == "near: sibling"
    assert classify(outcome("2811", "2710", kind="drug"), SYSTEMS) == "other"


@pytest.mark.parametrize(
    ("known", "expected"),
    [
        ({"kind": "diagnosis", "answered_kind": "procedure"}, "wrong kind"),
        ({"kind": "diagnosis", "answered_kind": None}, "near: parent"),
        ({"kind": None, "answered_kind": "diagnosis"}, "near: parent"),
    ],
)
def test_kinds_are_compared_where_both_are_known(known: dict[str, Any], expected: str) -> None:
    assert classify(outcome("E11", "E11.9", **known), SYSTEMS) == expected


def test_the_answered_kind_tells_the_system_where_the_mention_has_none() -> None:
    found = outcome("0211", "0210", kind=None, answered_kind="procedure")
    assert classify(found, SYSTEMS) == "same chapter"


def test_counts_by_hand() -> None:
    found = count_classes(
        [
            outcome("I10", "I10", probability=0.9),
            outcome("E11", "E11.9", probability=0.2, distance=0.1),
            outcome("E11", "E11.9", probability=0.4, distance=0.3, confidence=0.5),
            outcome(None, "E11.9", distance=0.8),
        ],
        SYSTEMS,
    )
    assert [one.name for one in found] == list(CLASSES)
    by_name = {one.name: one for one in found}
    assert {name: one.count for name, one in by_name.items() if one.count} == {"right": 1, "near: parent": 2, "none": 1}
    parent = by_name["near: parent"]
    assert parent.share == 50.0
    assert parent.probability is not None
    assert (parent.probability.count, parent.probability.median) == (2, pytest.approx(0.3))
    assert (parent.probability.low, parent.probability.high) == (pytest.approx(0.25), pytest.approx(0.35))
    assert parent.confidence is not None
    assert (parent.confidence.count, parent.confidence.low, parent.confidence.high) == (1, 0.5, 0.5)
    assert by_name["none"].probability is None
    assert by_name["other"].share == 0.0
    assert msgspec.json.decode(msgspec.json.encode(parent), type=type(parent)) == parent
    assert [one.count for one in count_classes([], SYSTEMS)] == [0] * len(CLASSES)


@settings(deadline=None)
@given(RUNS)
def test_every_mention_has_one_class(run: list[Outcome]) -> None:
    found = {one.name: one for one in count_classes(run, SYSTEMS)}
    assert sum(one.count for one in found.values()) == len(run)
    assert sum(one.share for one in found.values()) == pytest.approx(100)
    assert found["right"].count == sum(map(is_right, run))
    assert found["none"].count == sum(one.code is None for one in run)
    assert count_classes(run[::-1], SYSTEMS) == list(found.values())
    probabilities = [one.probability for one in run if is_right(one) and one.probability is not None]
    spread = found["right"].probability
    assert (spread is None) is (not probabilities)
    if spread is not None:
        assert spread.median == pytest.approx(np.median(probabilities))
        assert spread.low <= spread.median <= spread.high


CLINICAL = {"description": "Hipotermia,\tno especificada", "document": "caso 1"}


def clinical() -> Outcome:
    return outcome(
        "0210", ("0210083", "T68"), kind="procedure", text="frío\nintenso", id="m1", seen=True, method="semantic",
        probability=0.123456789, confidence=1.0, distance=0.25, generated="hipo\ttermia", description="Derivación",
        annotated=CLINICAL,
    )  # fmt: skip


def test_a_row_by_hand() -> None:
    [row] = rows([clinical()], SYSTEMS)
    assert dict(zip(columns(), row, strict=True)) == {
        "id": "m1", "document": "caso 1", "kind": "procedure", "gold": "0210083|T68", "answer": "0210",
        "class": "near: parent", "method": "semantic", "probability": "0.123457", "confidence": "1",
        "distance": "0.25", "seen": "yes",
    }  # fmt: skip


def test_texts_are_told_only_where_they_are_asked_for() -> None:
    plain, told = rows([clinical()], SYSTEMS)[0], rows([clinical()], SYSTEMS, with_text=True)[0]
    assert not any(word in field for field in plain for word in ("frío", "termia", "Hipotermia", "Derivación"))
    assert told[: len(plain)] == plain
    assert dict(zip(columns(with_text=True), told, strict=True)) == {
        **dict(zip(columns(), plain, strict=True)), "mention": "frío intenso", "sentence": "",
        "gold_description": "Hipotermia, no especificada", "generated": "hipo termia", "description": "Derivación",
    }  # fmt: skip


def test_what_is_not_known_is_empty() -> None:
    [row] = rows([outcome(None, "T68", kind=None)], SYSTEMS)
    assert row == ("", "", "", "T68", "", "none", "none", "", "", "", "")
    assert rows([outcome("T68", seen=False)], SYSTEMS)[0][-1] == "no"


@settings(deadline=None)
@given(RUNS, st.booleans())
def test_rows_fit_their_header_and_one_line(run: list[Outcome], with_text: bool) -> None:
    found = rows(run, SYSTEMS, with_text=with_text)
    assert len(found) == len(run)
    assert all(len(row) == len(columns(with_text)) for row in found)
    assert all(len(f"{field}x".splitlines()) == 1 and "\t" not in field for row in found for field in row)
