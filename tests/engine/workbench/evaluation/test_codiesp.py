from __future__ import annotations

from itertools import permutations
from typing import Any

import msgspec
import pytest
from cielo.workbench.evaluation.codiesp import (
    Micro,
    PositionedCode,
    average_precision,
    extent,
    gold_codes,
    listed_extent,
    located_answers,
    located_gold,
    matched_positions,
    mean_average_precision,
    micro,
    positions,
    rank_codes,
)
from cielo.workbench.evaluation.records import Outcome
from hypothesis import given, settings
from hypothesis import strategies as st
from outcome_fakes import outcome
from sklearn.metrics import average_precision_score, f1_score, precision_score, recall_score

CODES = st.lists(st.sampled_from([f"A{number:02}" for number in range(12)]), max_size=12, unique=True)
PLACES = st.tuples(st.sampled_from("abcd"), st.sampled_from(["diagnosis", "procedure"]))
RANKINGS = st.dictionaries(PLACES, CODES, max_size=8)
LOCATED = st.lists(
    st.builds(
        lambda document, code, start, length: PositionedCode(document, "diagnosis", code, ((start, start + length),)),
        st.sampled_from("ab"),
        st.sampled_from(["I10", "T68"]),
        st.integers(0, 40),
        st.integers(1, 20),
    ),
    max_size=8,
)


def at(code: str, *spans: tuple[int, int], kind: str = "diagnosis", document: str = "a") -> PositionedCode:
    return PositionedCode(document, kind, code, spans)


def answer(code: str | None, gold: str, sure: float | None = None, **known: Any) -> Outcome:
    annotated = {"document": known.pop("document", "a"), "spans": known.pop("spans", ())}
    return outcome(code, gold, confidence=sure, annotated=annotated, **known)


def test_average_precision_by_hand() -> None:
    # Right at places 1, 3 and 4; one of the four right codes is missing.
    found = average_precision(["N20.0", "I10", "R69", "M81.0", "T68"], ["n20.0", "r69", "m81.0", "h80.90"])
    assert found == pytest.approx((1 / 1 + 2 / 3 + 3 / 4) / 4)
    assert average_precision(["I10", "N200", "n20.0", "R69"], ["N20.0", "R69"]) == pytest.approx((1 / 2 + 2 / 3) / 2)
    assert average_precision(["I10", "N20.0"], ["N20.0"], depth=1) == 0.0
    assert average_precision([], ["N20.0"]) == 0.0
    with pytest.raises(ValueError, match="at least one"):
        average_precision(["I10"], [])


def test_codes_count_as_they_are_written_as_in_the_script() -> None:
    # In the other scores R05X is R05: see test_scores.
    place = ("a", "diagnosis")
    assert average_precision(["R05"], ["R05X"]) == average_precision(["R05X"], ["R05"]) == 0.0
    assert average_precision(["r05.x"], ["R05X"]) == 1.0
    assert micro({place: ["R05", "I10"]}, {place: ["R05X", "I10"]}, "diagnosis") == Micro(2, 2, 1)
    assert mean_average_precision({place: ["R05"]}, {place: ["R05X"]}, "diagnosis").value == 0.0
    assert rank_codes([answer("R05", "R05X"), answer("R05X", "R05X")], valid=["R05X"]) == {place: ("R05X",)}
    assert gold_codes([answer(None, "R05").annotated, answer(None, "R05X").annotated]) == {place: ("R05", "R05X")}
    for measure in (positions, matched_positions):
        assert measure([at("R05", (0, 3))], [at("R05X", (0, 3))]).right == 0
        assert measure([at("R05X", (0, 3))], [at("r05x", (0, 3))]).right == 1


@settings(deadline=None)
@given(CODES, CODES.filter(bool))
def test_average_precision_is_scikit_learn_s(ranked: list[str], gold: list[str]) -> None:
    truth = [code in gold for code in ranked]
    # Over the ranked codes alone it divides by the right ones among them.
    expected = average_precision_score(truth, range(len(ranked), 0, -1)) * sum(truth) / len(gold) if any(truth) else 0.0
    found = average_precision(ranked, gold)
    assert 0 <= found <= 1
    assert found == pytest.approx(expected)


@given(CODES.filter(bool), CODES)
def test_a_perfect_ranking_and_only_that_gives_one(gold: list[str], others: list[str]) -> None:
    rest = [code for code in others if code not in gold]
    assert average_precision(gold + rest, gold) == pytest.approx(1)
    assert average_precision([*reversed(gold), *rest], gold) == pytest.approx(1)
    if rest:
        assert average_precision([rest[0], *gold], gold) < 1


def test_mean_average_precision_by_hand() -> None:
    gold = {
        ("a", "diagnosis"): ["I10", "T68"],
        ("b", "diagnosis"): ["R69"],
        ("c", "diagnosis"): ["N20.0"],
        ("a", "procedure"): ["BW20"],
        ("d", "diagnosis"): [],
    }
    ranking = {
        ("a", "diagnosis"): ["I10", "R69", "T68"],
        ("b", "diagnosis"): ["T68"],
        ("d", "diagnosis"): ["T68"],
        ("e", "diagnosis"): ["T68"],
    }
    found = mean_average_precision(ranking, gold, "diagnosis")
    assert found.value == pytest.approx((5 / 6 + 0 + 0) / 3)
    assert found.script == pytest.approx((5 / 6 + 0) / 4)  # not over c, of which nothing is said, but over d and e
    assert (found.documents, found.predicted_documents) == (3, 4)
    procedures = mean_average_precision(ranking, gold, "procedure")
    assert (procedures.value, procedures.script, procedures.predicted_documents) == (0.0, 0.0, 0)
    assert mean_average_precision(ranking, gold, "other").value is None
    assert msgspec.json.decode(msgspec.json.encode(found), type=type(found)) == found


@given(RANKINGS, RANKINGS)
def test_measures_lie_between_nought_and_one(ranking: dict[Any, list[str]], gold: dict[Any, list[str]]) -> None:
    found = mean_average_precision(ranking, gold, "diagnosis")
    assert 0 <= found.script <= 1
    assert found.value is None or 0 <= found.value <= 1
    assert mean_average_precision(gold, gold, "diagnosis").value in (None, pytest.approx(1))


@settings(deadline=None)
@given(RANKINGS, RANKINGS)
def test_micro_measures_are_scikit_learn_s(ranking: dict[Any, list[str]], gold: dict[Any, list[str]]) -> None:
    found = micro(ranking, gold, "procedure")
    pairs = {(place, code) for table in (ranking, gold) for place in table for code in table[place]}
    pairs = {pair for pair in pairs if pair[0][1] == "procedure"}
    truth = [code in gold.get(place, ()) for place, code in pairs]
    told = [code in ranking.get(place, ()) for place, code in pairs]
    for measure, value in ((precision_score, found.precision), (recall_score, found.recall), (f1_score, found.f1)):
        assert value == pytest.approx(measure([*truth, False], [*told, False], zero_division=0))
    assert found == Micro(predicted=sum(told), gold=sum(truth), right=found.right)
    everything = micro(ranking, gold)
    assert everything.right == found.right + micro(ranking, gold, "diagnosis").right


def test_codes_are_ranked_by_certainty_each_once() -> None:
    run = [
        answer("I10", "I10", 0.5),
        answer("T68", "T68", 0.9),
        answer("i.10", "I10", 0.95),
        answer("R69", "R69", 0.5),
        answer(None, "R69", 0.99),
        answer("E11", "R69", probability=0.7),
        answer("BW20", "BW20", 0.6, kind="procedure"),
        answer("BW20", "R69", 0.1, answered_kind="procedure"),
        answer("A00", "A00", document="b"),
    ]
    assert rank_codes(run) == {
        ("a", "diagnosis"): ("i.10", "T68", "E11", "R69"),
        ("a", "procedure"): ("BW20",),
        ("b", "diagnosis"): ("A00",),
    }
    assert rank_codes(run, valid=["t68", "r69"]) == {("a", "diagnosis"): ("T68", "R69")}
    first = rank_codes(run, sure=lambda one: 1.0)[("a", "diagnosis")]
    assert first == ("I10", "T68", "R69", "E11")  # equally sure: as they come


def test_the_right_codes_of_documents() -> None:
    run = [answer(None, "I10"), answer(None, "i10"), answer(None, "T68"), answer(None, "BW20", kind="procedure")]
    assert gold_codes(one.annotated for one in run) == {
        ("a", "diagnosis"): ("I10", "T68"), ("a", "procedure"): ("BW20",)
    }  # fmt: skip


@pytest.mark.parametrize("unknown", [{"document": None}, {"kind": None}])
def test_documents_and_kinds_have_to_be_known(unknown: dict[str, None]) -> None:
    run = [answer("I10", "I10", spans=((1, 2),), **unknown)]
    with pytest.raises(ValueError, match="not known"):
        rank_codes(run)
    with pytest.raises(ValueError, match="not known"):
        located_answers(run)
    with pytest.raises(ValueError, match="not known"):
        gold_codes(one.annotated for one in run)
    with pytest.raises(ValueError, match="not known"):
        located_gold(one.annotated for one in run)


def test_extents_of_discontinuous_mentions() -> None:
    assert extent(((572, 581), (405, 411))) == (405, 581)
    assert listed_extent(((572, 581), (405, 411))) == (572, 411)
    assert extent(((405, 411), (572, 581))) == listed_extent(((405, 411), (572, 581))) == (405, 581)


@pytest.mark.parametrize(
    ("start", "end", "covering", "near"),
    [
        (100, 120, 1, 1),
        (90, 130, 1, 1),
        (89, 120, 0, 0),
        (100, 131, 0, 0),
        (101, 120, 0, 1),  # the script wants the whole mention covered
        (100, 119, 0, 1),
        (110, 110, 0, 1),
        (111, 120, 0, 0),
        (100, 109, 0, 0),
    ],
)
def test_ten_characters_are_tolerated(start: int, end: int, covering: int, near: int) -> None:
    gold = [at("N20.0", (100, 104), (110, 120))]
    predicted = [at("n200", (start, end))]
    assert positions(predicted, gold).right == covering
    assert matched_positions(predicted, gold).right == near


def test_the_script_counts_codes_of_documents() -> None:
    gold = [at("M81.0", (10, 20)), at("M81.0", (300, 310)), at("R69", (50, 60)), at("I10", (1, 5), document="b")]
    predicted = [
        at("M81.0", (10, 20)),
        at("M81.0", (300, 310)),
        at("M81.0", (700, 710)),
        at("R69", (400, 410)),
        at("T68", (50, 60)),
        at("T68", (1, 5), document="c"),
    ]
    found = positions(predicted, gold)
    assert (found.predicted, found.gold, found.right) == (4, 3, 1)
    assert (found.precision, found.recall, found.f1) == (1 / 4, 1 / 3, pytest.approx(2 / 7))
    mentions = matched_positions(predicted, gold)
    assert (mentions.predicted, mentions.gold, mentions.right) == (6, 4, 2)


def test_a_right_mention_is_matched_once() -> None:
    gold = [at("I10", (10, 20)), at("I10", (18, 28))]
    # The first prediction may take either, the second only the first: both are right.
    assert matched_positions([at("I10", (12, 22)), at("I10", (2, 12))], gold).right == 2
    assert matched_positions([at("I10", (10, 20))] * 3, gold[:1]).right == 1


def test_kinds_are_kept_apart() -> None:
    gold, predicted = [at("B02.0", (1, 9))], [at("B020", (1, 9), kind="procedure")]
    assert positions(predicted, gold).right == matched_positions(predicted, gold).right == 0
    assert micro({("a", "procedure"): ["B020"]}, {("a", "diagnosis"): ["B02.0"]}).right == 0


def test_answers_stand_where_their_mentions_do() -> None:
    run = [
        answer("I10", "I10", spans=((30, 40), (5, 9))),
        answer("T68", "I10", spans=((50, 60),)),
        answer(None, "I10", spans=((70, 80),)),
        answer("I10", "I10"),
    ]
    predicted, gold = located_answers(run), located_gold(one.annotated for one in run)
    assert predicted[0] == at("I10", (30, 40), (5, 9))
    assert (len(predicted), len(gold)) == (2, 3)
    assert positions(predicted, gold).right == 1
    assert matched_positions(predicted, gold).right == 1


@settings(deadline=None)
@given(LOCATED, LOCATED)
def test_as_many_mentions_are_matched_as_can_be(predicted: list[PositionedCode], gold: list[PositionedCode]) -> None:
    predicted, gold = predicted[:4], gold[:4]

    def near(one: PositionedCode, other: PositionedCode) -> bool:
        (start, end), (right_start, right_end) = extent(one.spans), extent(other.spans)
        same = (one.document, one.code) == (other.document, other.code)
        return same and abs(start - right_start) <= 10 and abs(end - right_end) <= 10

    padded: list[PositionedCode | None] = [*gold, *[None] * len(predicted)]
    best = max(
        sum(other is not None and near(one, other) for one, other in zip(predicted, order, strict=False))
        for order in permutations(padded, len(predicted))
    )
    assert matched_positions(predicted, gold).right == best


@given(LOCATED, LOCATED)
def test_a_covering_prediction_is_a_near_one(predicted: list[PositionedCode], gold: list[PositionedCode]) -> None:
    covering, near = positions(predicted, gold), matched_positions(predicted, gold)
    assert covering.right <= near.right <= min(near.predicted, near.gold)
    assert covering.predicted <= near.predicted
    assert positions(predicted, gold) == positions(predicted[::-1], gold[::-1])
    assert near == matched_positions(predicted[::-1], gold[::-1])
    assert positions(gold, gold).f1 == matched_positions(gold, gold).f1 == (1.0 if gold else 0.0)
    assert 0 <= covering.f1 <= max(covering.precision, covering.recall) <= 1
