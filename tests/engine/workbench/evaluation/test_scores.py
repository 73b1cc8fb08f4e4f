from __future__ import annotations

import math
from dataclasses import asdict, replace
from itertools import permutations, product

import msgspec
import pytest
from cielo.workbench.evaluation.records import Outcome
from cielo.workbench.evaluation.scores import (
    break_down,
    certainty,
    coverage_curve,
    is_right,
    is_right_category,
    rank_of_right,
    risk_coverage_area,
    score,
    score_chapters,
    system_of,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from outcome_fakes import SYSTEMS, outcome, outcomes
from sklearn.metrics import accuracy_score, label_ranking_average_precision_score

RUNS = st.lists(outcomes(), min_size=1, max_size=12)


def test_scores_by_hand() -> None:
    found = score(
        [
            outcome("t68", "T68"),
            outcome("T68.XXXA", "T68", ranked=["T68.XXXA", "T68"]),
            outcome("I10", "T68", ranked=["I10", "I15", "E11", "T68"]),
            outcome(None, "T68", ranked=["I10", "I15", "T68"]),
            outcome(None, "T68"),
        ]
    )
    assert (found.count, found.right, found.right_3, found.covered) == (5, 1, 2, 3)
    assert found.accuracy == 20.0
    assert found.accuracy_3 == 40.0
    assert (found.recall_at_1, found.recall_at_3, found.recall_at_5) == (20.0, 60.0, 80.0)
    assert found.mrr == pytest.approx(100 * (1 + 1 / 2 + 1 / 4 + 1 / 3) / 5)
    assert found.coverage == 60.0
    assert found.accuracy_covered == pytest.approx(100 / 3)
    assert found.text_accuracy is None
    assert found.normal_text_accuracy is None
    assert found.described == 0


@pytest.mark.parametrize(
    ("code", "gold", "right", "category"),
    [
        ("T68.XXX", "t68xxx", True, True),
        ("T68", ("I10", "T68"), True, True),
        ("T68", "T68.XXXA", False, True),
        ("0210083", "0210", False, True),
        ("R05", "R05X", True, True),
        ("R05.X", "r05", True, True),
        ("T68", "T68.XXX", True, True),
        ("S42.90X", "S42.90", True, True),
        ("T08.X0", "T08", False, True),
        ("0FB03ZX", "0FB03Z", False, True),
        ("T69", "T68", False, False),
        (None, "T68", False, False),
        ("...", "T68", False, False),
        ("", "", False, False),
    ],
)
def test_codes_are_compared_by_letters_and_digits_without_placeholders_at_the_end(
    code: str | None, gold: str | tuple[str, ...], right: bool, category: bool
) -> None:
    found = outcome(code, gold)
    assert is_right(found) is right
    assert is_right_category(found) is category


def test_where_the_system_is_known_its_rule_counts() -> None:
    for system, right in (("icd-10-cm", True), (None, True), ("other", False), ("icd-10-pcs", False)):
        found = replace(outcome("A10B", "A10BX", ranked=["A10B", "A10BX"]), system=system)  # an X of its own, in ATC
        assert is_right(found) is right
        assert rank_of_right(found) == (1 if right else 2)


def test_the_answer_stands_first_and_each_code_counts_once() -> None:
    assert rank_of_right(outcome("I10", "E11", ranked=["i.10", "T68", "I10", "E11"])) == 3
    assert rank_of_right(outcome("E11", "E11", ranked=["I10", "E11"])) == 1
    assert rank_of_right(outcome(None, "E11", ranked=["I10"])) is None
    assert rank_of_right(outcome("I10X", "R05X", ranked=["I10", "I10.X", "R05"])) == 2


def test_generated_text_is_compared_to_the_letter_and_in_normal_form() -> None:
    named = {"description": "Hipotermia, no especificada"}
    found = score(
        [
            outcome("T68", generated="Hipotermia, no especificada", annotated=named),
            outcome("T68", generated="hipotermia no especificada", annotated=named),
            outcome("T68", generated="fiebre", annotated=named),
            outcome(None, generated="", annotated=named),
            outcome("T68", method="lexicon", annotated=named),  # nothing was generated, which is nobody's mistake
            outcome("T68", generated="fiebre"),
        ]
    )
    assert (found.described, found.text_right, found.normal_text_right) == (4, 1, 2)
    assert (found.text_accuracy, found.normal_text_accuracy) == (25.0, 50.0)


def test_no_text_is_no_description_of_signs_alone() -> None:
    found = score([outcome("T68", generated="", annotated={"description": "..."})])
    assert (found.text_right, found.normal_text_right) == (0, 0)


def test_nothing_has_no_scores() -> None:
    with pytest.raises(ValueError, match="at least one"):
        score([])
    with pytest.raises(ValueError, match="at least one"):
        risk_coverage_area([])


@settings(deadline=None)
@given(RUNS)
def test_accuracy_and_mrr_are_scikit_learn_s(run: list[Outcome]) -> None:
    found = score(run)
    right = [is_right(one) for one in run]
    assert found.accuracy == pytest.approx(100 * accuracy_score([True] * len(run), right))
    # With one right code, the label ranking average precision is the reciprocal rank.
    expected = 0.0
    for one in run:
        if (rank := rank_of_right(one)) is not None:
            truth, values = [[0] * 8], [[-float(place) for place in range(8)]]
            truth[0][rank - 1] = 1
            expected += label_ranking_average_precision_score(truth, values) / len(run)
    assert found.mrr == pytest.approx(100 * expected)


@settings(deadline=None)
@given(RUNS)
def test_scores_are_percentages_in_their_order(run: list[Outcome]) -> None:
    found = score(run)
    shares = [value for value in asdict(found).values() if isinstance(value, float)]
    assert all(0 <= value <= 100 for value in shares)
    assert found.accuracy <= found.recall_at_1 <= found.recall_at_3 <= found.recall_at_5
    assert found.recall_at_1 <= found.mrr
    assert found.accuracy <= found.accuracy_3
    assert found.accuracy <= found.coverage
    assert found.text_right <= found.normal_text_right <= found.described <= found.count
    if found.accuracy_covered is not None:
        assert found.accuracy == pytest.approx(found.accuracy_covered * found.coverage / 100)


@settings(deadline=None)
@given(RUNS, st.randoms(use_true_random=False))
def test_the_order_of_mentions_makes_no_difference(run: list[Outcome], random: object) -> None:
    shuffled = list(run)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert break_down(run, SYSTEMS) == break_down(shuffled, SYSTEMS)
    assert coverage_curve(run) == coverage_curve(shuffled)
    assert risk_coverage_area(run) == pytest.approx(risk_coverage_area(shuffled))


@settings(deadline=None)
@given(RUNS)
def test_groups_share_the_mentions_out(run: list[Outcome]) -> None:
    found = break_down(run, SYSTEMS)
    chapters = [scores for kind in found.chapters.values() for scores in kind.values()]
    for groups in (found.kinds.values(), found.methods.values(), found.seen.values(), chapters):
        assert sum(one.count for one in groups) == found.all.count == len(run)
        assert sum(one.right for one in groups) == found.all.right
    assert msgspec.json.decode(msgspec.json.encode(found), type=type(found)) == found


def test_groups_by_hand() -> None:
    run = [
        outcome("J18", "J18", seen=True),  # chapter X
        outcome("A09", "J18", seen=True, method="semantic"),
        outcome("A09", "A09", seen=False),
        outcome("XW0", "XW03", kind="procedure"),  # section X
        outcome("B020", "B020", kind="procedure", seen=False),
        outcome("Q1", "Q1", kind="finding"),
        outcome(None, "?", kind=None),
    ]
    found = break_down(run, SYSTEMS)
    assert {kind: scores.count for kind, scores in found.kinds.items()} == {
        "diagnosis": 3, "finding": 1, "procedure": 2, "unknown": 1
    }  # fmt: skip
    counts = {kind: {name: one.count for name, one in scores.items()} for kind, scores in found.chapters.items()}
    assert counts == {
        "diagnosis": {"I": 1, "X": 2},
        "finding": {"unknown": 1},
        "procedure": {"B": 1, "X": 1},
        "unknown": {"unknown": 1},
    }
    assert list(counts["diagnosis"]) == ["I", "X"]
    assert found.chapters["diagnosis"]["X"].accuracy == 50.0
    assert {name: scores.count for name, scores in found.methods.items()} == {"exact": 5, "none": 1, "semantic": 1}
    assert {name: scores.accuracy for name, scores in found.seen.items()} == {
        "seen": 50.0, "unseen": 100.0, "unknown": pytest.approx(100 / 3)
    }  # fmt: skip


def test_chapters_stand_in_the_order_of_their_codes() -> None:
    run = [outcome(None, code) for code in ((), "V01", "U07.1", "Z00", "A00", "I10", "C50")]
    assert list(score_chapters(run, SYSTEMS)["diagnosis"]) == ["I", "II", "IX", "XXII", "XX", "XXI", "unknown"]


def test_the_system_of_a_kind_is_looked_up_or_asked_for() -> None:
    assert system_of(SYSTEMS, "procedure") == "icd-10-pcs"
    assert system_of(SYSTEMS, "drug") == system_of(SYSTEMS, None) == "other"
    assert system_of(lambda kind: "icd-10-cm" if kind is None else "other", None) == "icd-10-cm"


def test_confidence_goes_before_probability() -> None:
    assert certainty(outcome("T68", confidence=0.0, probability=0.9)) == 0.0
    assert certainty(outcome("T68", probability=0.9)) == 0.9
    assert certainty(outcome("T68")) == 0.0
    assert certainty(outcome("T68", method="lexicon")) == 1.0  # which no threshold holds back
    assert certainty(outcome("T68", method="lexicon", confidence=0.4)) == 0.4


def test_the_curve_by_hand() -> None:
    run = [
        outcome("T68", confidence=0.9),
        outcome("T68", confidence=0.5),
        outcome("I10", confidence=0.5),
        outcome("I10", probability=0.25),
        outcome(None, confidence=0.7),
    ]
    points = [(point.coverage, point.accuracy, point.threshold) for point in coverage_curve(run)]
    assert points == [(80.0, 50.0, 0.25), (60.0, pytest.approx(200 / 3), 0.5), (20.0, 100.0, 0.9)]
    # Risks at one to five mentions: 0, then (0 or 1) / 2, 1/3, 2/4, 3/5.
    assert risk_coverage_area(run) == pytest.approx((0 + 1 / 4 + 1 / 3 + 2 / 4 + 3 / 5) / 5)
    assert coverage_curve([outcome(None)]) == []
    assert risk_coverage_area([outcome(None)]) == 1.0


@settings(deadline=None)
@given(RUNS)
def test_points_are_what_a_threshold_leaves(run: list[Outcome]) -> None:
    points = coverage_curve(run)
    for point in points:
        kept = [one for one in run if one.code is not None and certainty(one) >= point.threshold]
        assert point.coverage == pytest.approx(100 * len(kept) / len(run))
        assert point.accuracy == pytest.approx(100 * sum(map(is_right, kept)) / len(kept))
    assert sorted({point.threshold for point in points}) == [point.threshold for point in points]
    if points:
        assert points[0].coverage == score(run).coverage
        assert points[0].accuracy == pytest.approx(score(run).accuracy_covered)


@settings(deadline=None)
@given(st.lists(outcomes(), min_size=1, max_size=5))
def test_the_area_is_the_mean_over_all_orders_of_equally_sure_answers(run: list[Outcome]) -> None:
    groups: dict[float, list[bool]] = {}
    for one in run:
        groups.setdefault(-math.inf if one.code is None else certainty(one), []).append(not is_right(one))
    areas = []
    for orders in product(*(permutations(groups[value]) for value in sorted(groups, reverse=True))):
        wrong = [bad for order in orders for bad in order]
        areas.append(sum(sum(wrong[:n]) / n for n in range(1, len(run) + 1)) / len(run))
    assert risk_coverage_area(run) == pytest.approx(sum(areas) / len(areas))
