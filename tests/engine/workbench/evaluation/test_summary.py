"""What an evaluation says, of outcomes made by hand: every expected number is worked out beside it."""

from __future__ import annotations

import html
import json
from dataclasses import replace
from typing import Any

import pytest
from cielo.records import BundleIdentity, Link, Mention, Provenance
from cielo.workbench.evaluation.gold import GoldCount
from cielo.workbench.evaluation.headline import gold_notes
from cielo.workbench.evaluation.records import Annotated, Corpus, Missed, Outcome, RunSettings, Skipped
from cielo.workbench.evaluation.report import to_html
from cielo.workbench.evaluation.results import About, Evaluation, from_json, to_json
from cielo.workbench.evaluation.run import Run
from cielo.workbench.evaluation.summary import corpus_hash, summarize
from hypothesis import given, settings
from hypothesis import strategies as st
from outcome_fakes import SYSTEMS, outcome, outcomes

SETTINGS = RunSettings(name="mini", sha256="ab", edition="kb", decoding="probable", pipeline="II")
# Right by exact match; right by a neighbour; right by the lexicon; right to three characters; second; wrong; none.
OUTCOMES = (
    outcome("T68", "T68", seen=True),
    outcome("T68", "t68", method="semantic", seen=True),
    outcome("I10", "I10", method="lexicon", seen=False),
    outcome("E11.9", "E11.0", seen=False),
    outcome("I10", "I15.0", ranked=["I10", "I15.0"], seen=False),
    outcome("BW20", "T68", answered_kind="procedure", method="semantic", seen=False),
    outcome(None, "T68", seen=True),
)


def run_of(*found: Outcome, name: str = "a run", **known: Any) -> Run:
    return Run(name, replace(SETTINGS, **known), tuple(found))


def corpus_of(*found: Outcome, **known: Any) -> Corpus:
    return Corpus(tuple(entry.annotated for entry in found), **known)


def told(*runs: Run, corpus: Corpus | None = None, resamples: int = 100) -> Evaluation:
    corpus = corpus or corpus_of(*runs[0].outcomes)
    return summarize(runs, corpus, SYSTEMS, resamples=resamples, about=About(corpus="name"))


def test_scores_of_each_split_by_hand() -> None:
    splits = told(run_of(*OUTCOMES)).splits
    test, seen, unseen = splits["all"], splits["seen"], splits["unseen"]
    assert (test.count, test.right, test.no_answer, test.no_exact_match) == (7, 3, 1, 3)
    assert test.pli == pytest.approx(100 * 2 / 7)  # by a description, and by the lexicon
    assert test.plii == pytest.approx(100 * 3 / 7)  # and by a neighbour
    assert test.accuracy_3 == pytest.approx(100 * 4 / 7)  # and E11
    assert test.recall_at_3 == test.recall_at_5 == pytest.approx(100 * 4 / 7)  # the three, and the second
    assert test.mrr == pytest.approx(100 * 3.5 / 7)
    assert test.coverage == pytest.approx(100 * 6 / 7)
    assert test.accuracy_covered == pytest.approx(100 * 3 / 6)
    assert (test.described, test.text_accuracy, test.normal_text_accuracy) == (0, None, None)
    assert (seen.count, seen.pli, seen.plii) == (3, pytest.approx(100 / 3), pytest.approx(200 / 3))
    assert (unseen.count, unseen.pli, unseen.plii, unseen.accuracy_3) == (4, 25.0, 25.0, 50.0)
    assert unseen.mrr == pytest.approx(100 * 1.5 / 4)


def test_right_codes_that_cannot_be_answered_are_counted_by_kind() -> None:
    found = told(
        run_of(
            outcome("T68", "T68", known=True),
            outcome("T68", "I15.0", known=True, method="semantic"),
            outcome("T68", "Q99.9", known=False),
            outcome("BW20", "0ZZZZZZ", kind="procedure", known=False),
            outcome(None, "0ZZZZZZ", kind="procedure", known=False),
        )
    )
    assert found.gold is not None
    assert found.gold.all == GoldCount(mentions=5, unknown=3, codes=4, unknown_codes=2)
    assert found.gold.kinds == {"diagnosis": GoldCount(3, 1, 3, 1), "procedure": GoldCount(2, 2, 1, 1)}
    assert found.gold.ceiling == 40.0
    split = found.splits["all"]
    assert (split.pli, split.known, split.pli_known, split.plii_known) == (20.0, 2, 50.0, 50.0)
    (note,) = gold_notes(found)
    for said in ("3 of 5 mentions", "2 of 4 codes", "diagnosis 1 of 3", "procedure 2 of 2", "40.00 %", "PLI 50.00 %"):
        assert said in note
    assert note in html.unescape(to_html(found))
    assert from_json(to_json(found)) == found


def test_nothing_is_said_where_every_right_code_is_known_or_nobody_looked() -> None:
    for known in (True, None):
        found = told(run_of(outcome("T68", known=known)))
        assert gold_notes(found) == []
        assert (found.gold is None) == (found.splits["all"].known is None) == (known is None)
    none = told(run_of(outcome("T68", "I10", known=False))).splits["all"]
    assert (none.known, none.pli_known, none.plii_known) == (0, None, None)


def test_plii_is_not_claimed_of_pipeline_one() -> None:
    found = told(run_of(*OUTCOMES * 2, pipeline="I")).splits["all"]
    assert found.plii is None and "plii" not in found.intervals
    assert set(found.intervals) == {"pli", "accuracy_3"}


def test_splits_are_only_told_where_training_mentions_are_known() -> None:
    unknown = tuple(replace(entry, seen=None) for entry in OUTCOMES)
    assert list(told(run_of(*unknown)).splits) == ["all"]
    all_seen = tuple(replace(entry, seen=True) for entry in OUTCOMES)
    assert list(told(run_of(*all_seen)).splits) == ["all", "seen"]


def test_text_accuracy_by_hand() -> None:
    named = {"description": "Hipotermia"}
    found = told(
        run_of(
            outcome("T68", generated="Hipotermia", annotated=named),
            outcome("T68", generated="hipotermia.", annotated=named),
            outcome("T68", generated="Otra", annotated=named),
            outcome("T68", generated="Hipotermia"),  # not named: not counted
            outcome("T68", method="lexicon", annotated=named),  # nothing was generated: not counted
        )
    ).splits["all"]
    assert found.described == 3
    assert found.text_accuracy == pytest.approx(100 / 3)
    assert found.normal_text_accuracy == pytest.approx(200 / 3)


def test_intervals_lie_around_the_scores_and_count_documents() -> None:
    found = [
        replace(one, annotated=replace(one.annotated, document=f"d{row % 10}")) for row, one in enumerate(OUTCOMES * 2)
    ]
    test = told(run_of(*found), resamples=500).splits["all"]
    for name in ("pli", "plii", "accuracy_3"):
        interval = test.intervals[name]
        assert interval.value == pytest.approx(getattr(test, name))
        assert 0 <= interval.low <= getattr(test, name) <= interval.high <= 100
        assert (interval.count, interval.clusters, interval.resamples) == (14, 10, 500)


def test_groups() -> None:
    groups = told(run_of(*OUTCOMES)).runs[0].breakdown
    assert {name: scores.count for name, scores in groups.methods.items()} == {
        "exact": 3, "lexicon": 1, "none": 1, "semantic": 2,
    }  # fmt: skip
    assert {name: scores.count for name, scores in groups.chapters["diagnosis"].items()} == {
        "IV": 1, "IX": 2, "XIX": 4,
    }  # fmt: skip
    assert groups.kinds["diagnosis"].accuracy == pytest.approx(100 * 3 / 7)
    assert {name: scores.count for name, scores in groups.seen.items()} == {"seen": 3, "unseen": 4}


def test_errors_by_class() -> None:
    classes = {entry.name: entry.count for entry in told(run_of(*OUTCOMES)).runs[0].errors}
    assert classes == {
        "right": 3, "none": 1, "wrong kind": 1, "near: parent": 0, "near: child": 0, "near: sibling": 1,
        "same chapter": 1, "other": 0,
    }  # fmt: skip


def test_a_comparison_with_the_first_run_by_hand() -> None:
    second = [replace(one, code="T68") for one in OUTCOMES]  # right: 1, 2, 6, 7
    third = [replace(one, code=None) for one in OUTCOMES]
    found = told(run_of(*OUTCOMES), run_of(*second, name="two"), run_of(*third, name="three")).comparisons
    assert [(entry.run, entry.against) for entry in found] == [("two", "a run"), ("three", "a run")]
    assert (found[0].only_first, found[0].only_second, found[0].both, found[0].neither) == (1, 2, 2, 2)
    assert found[0].difference == pytest.approx(100 / 7)
    assert found[1].difference == pytest.approx(-300 / 7)
    assert found[0].mcnemar_p_value == 1.0
    assert 0 < found[1].p_value <= 1


def test_a_single_run_is_compared_with_nothing() -> None:
    found = told(run_of(*OUTCOMES))
    assert (found.comparisons, found.published_missed) == ((), None)


def test_runs_on_other_mentions_and_no_mentions_are_refused() -> None:
    with pytest.raises(ValueError, match="same mentions"):
        told(run_of(*OUTCOMES), run_of(*OUTCOMES[::-1]))
    with pytest.raises(ValueError, match="no outcomes"):
        told(run_of())


def link(log_prob: float) -> Link:
    provenance = Provenance(BundleIdentity("b", "0", "kb"), "ctranslate2", "float32", "cpu", "published")
    return Link(None, (), None, None, "none", "", log_prob, None, (), provenance, tokens=1)


def test_what_the_reference_search_missed_is_found_whichever_run_comes_first() -> None:
    one = OUTCOMES[:1]
    reference = Run("r", replace(SETTINGS, decoding="published"), one, (link(-2.0),))
    better = Run("p", SETTINGS, one, (link(-1.0),))
    again = Run("r, pipeline I", replace(SETTINGS, decoding="published"), one, (link(-2.0),))
    ranked = Run("p, re-ranked", replace(SETTINGS, rerank=True), one, (link(-1.0),))
    missed = Missed(prompts=1, missed=1, share=100.0)
    for runs in ([reference, better], [better, reference], [better, again, reference]):
        assert told(*runs).published_missed == missed
    # A run that changes nothing of the search, or the order alone, is not another search.
    for runs in ([reference, again], [reference, ranked], [better], [better, ranked]):
        assert told(*runs).published_missed is None


def test_stored_outputs_have_no_search_to_compare() -> None:
    stored = run_of(*OUTCOMES, decoding="published")
    assert told(stored, run_of(*OUTCOMES)).published_missed is None


PLACED = (
    outcome("T68", "T68", annotated={"document": "a", "spans": ((0, 4),)}),
    outcome("I10", "E11.9", annotated={"document": "a", "spans": ((10, 14),)}),
    outcome("BW20", "BW20", kind="procedure", annotated={"document": "b", "spans": ((0, 2),)}),
    outcome(None, "0DTJ", kind="procedure", annotated={"document": "b", "spans": ((5, 9),)}),
)


def test_the_measures_of_codiesp_by_hand() -> None:
    found = told(run_of(*PLACED)).runs[0].codiesp
    # diagnosis: T68 (right), I10 (wrong) of T68, E11.9: average precision 1/1 / 2.
    assert found.kinds["diagnosis"].map.value == found.kinds["diagnosis"].map.script == 0.5
    assert (found.kinds["diagnosis"].micro.precision, found.kinds["diagnosis"].micro.recall) == (0.5, 0.5)
    assert found.kinds["procedure"].map.value == 0.5
    assert (found.kinds["procedure"].micro.precision, found.kinds["procedure"].micro.recall) == (1.0, 0.5)
    for name in ("positions", "matched_positions"):  # three answers, two of the four right
        assert (getattr(found, name).predicted, getattr(found, name).gold, getattr(found, name).right) == (3, 4, 2)


def test_the_codes_that_a_corpus_lists_for_its_documents_are_the_right_ones() -> None:
    listed = {("a", "diagnosis"): ("T68", "E11.9", "R50.9", "R51"), ("b", "procedure"): ("BW20",)}
    found = told(run_of(*PLACED), corpus=corpus_of(*PLACED, document_codes=listed)).runs[0].codiesp
    assert found.kinds["diagnosis"].map.value == 0.25
    assert found.kinds["procedure"].map.value == 1.0


def test_a_kind_whose_codes_are_not_listed_has_those_of_its_mentions() -> None:
    listed = {("a", "diagnosis"): ("T68",)}
    found = told(run_of(*PLACED), corpus=corpus_of(*PLACED, document_codes=listed)).runs[0].codiesp
    assert found.kinds["diagnosis"].map.value == 1.0
    assert found.kinds["procedure"].map.value == 0.5


def test_no_measures_of_codiesp_where_a_document_or_a_kind_is_not_known() -> None:
    assert told(run_of(*OUTCOMES)).runs[0].codiesp is None
    without_kind = outcome("T68", kind=None, annotated={"document": "a"})
    assert told(run_of(*PLACED, without_kind)).runs[0].codiesp is None
    without_spans = [replace(one, annotated=replace(one.annotated, spans=())) for one in PLACED]
    found = told(run_of(*without_spans)).runs[0].codiesp
    assert (set(found.kinds), found.positions) == ({"diagnosis", "procedure"}, None)


def test_the_corpus_is_counted_and_what_was_skipped_is_named() -> None:
    skipped = tuple(Skipped(f"file.tsv, line {number}", "why") for number in range(1, 151))
    found = told(run_of(*PLACED), corpus=corpus_of(*PLACED, skipped=skipped, uncoded=7)).corpus
    assert (found.mentions, found.documents, found.skipped, found.uncoded) == (4, 2, 150, 7)
    assert found.skipped_places[0] == skipped[0]
    assert len(found.skipped_places) == 100


def test_a_long_curve_is_thinned_and_keeps_its_ends() -> None:
    many = [outcome("T68", confidence=(row + 1) / 1000) for row in range(1000)]
    points = told(run_of(*many)).runs[0].coverage_curve
    assert len(points) <= 201
    assert (points[0].coverage, points[0].threshold) == (100.0, 0.001)
    assert (points[-1].coverage, points[-1].threshold) == (0.1, 1.0)
    assert told(run_of(outcome(None))).runs[0].coverage_curve == ()


def test_no_text_of_a_mention_is_told() -> None:
    secret = "Zutanito"
    one = outcome(
        "T68", text=secret, generated=secret, description=secret, seen=True, id=secret,
        annotated={"description": secret, "document": "d"},
    )  # fmt: skip
    sentence = replace(one, annotated=replace(one.annotated, mention=replace(one.annotated.mention, sentence=secret)))
    assert secret not in to_json(told(run_of(sentence))).decode()


@given(st.lists(outcomes(), min_size=1, max_size=12))
@settings(max_examples=40, deadline=None)
def test_whatever_the_outcomes_the_scores_are_plain_json_and_in_their_range(found: list[Outcome]) -> None:
    content = told(run_of(*found))
    json.loads(to_json(content), parse_constant=pytest.fail)
    again = from_json(to_json(content))
    assert again == content
    assert sum(split.count for name, split in again.splits.items() if name != "all") <= len(found)
    for split in again.splits.values():
        assert split.pli <= split.plii <= split.accuracy_3 <= 100
        assert split.recall_at_3 <= split.recall_at_5
        assert split.plii <= split.mrr + 1e-9


def annotated(text: str = "dolor", **known: Any) -> Corpus:
    kind = known.pop("kind", "diagnosis")
    sentence = known.pop("sentence", None)
    return Corpus((Annotated(Mention(text, sentence, kind), known.pop("codes", ("R52",)), **known),))


def test_the_hash_is_of_what_is_scored() -> None:
    first = corpus_hash(annotated())
    assert first == corpus_hash(annotated("Dolor ")) and len(first) == 64
    others = [
        annotated("tos"), annotated(kind="procedure"), annotated(sentence="Con dolor."), annotated(codes=("R51",)),
        annotated(codes=("R5", "2")), annotated(codes=("R52", "R51")), annotated(generated="Dolor"), Corpus(()),
        Corpus(annotated().mentions * 2),
    ]  # fmt: skip
    assert len({first, *map(corpus_hash, others)}) == 1 + len(others)
