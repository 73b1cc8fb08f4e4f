"""Runs of the linker on annotated mentions: what is refused, what is carried over, and how often a search missed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cielo.knowledge.subsets import Subset
from cielo.link.lexicon import read_lexicon
from cielo.link.linker import Linker
from cielo.options import LinkOptions
from cielo.records import BundleIdentity, Link, Mention, Provenance
from cielo.workbench.evaluation.records import Annotated, Corpus, Missed, RunSettings, Skipped, SubsetSummary
from cielo.workbench.evaluation.run import Run, link_corpus, linkable, missed_share
from cielo.workbench.evaluation.scores import is_right

PROVENANCE = Provenance(BundleIdentity("b", "0", "kb"), "ctranslate2", "float32", "cpu", "published")
CORPUS = Corpus(
    (
        Annotated(
            Mention("TC abdominal", "La TC abdominal es normal.", "procedure", "a"), ("bw20",), "TC  de\nabdomen"
        ),
        Annotated(Mention("fiebre", "Refiere fiebre.", "diagnosis"), ("R50",), document="d"),
        Annotated(Mention("xqzw kjhg"), ("T68", "I10")),
    )
)


@pytest.fixture(scope="module")
def linker(tmp_path_factory: pytest.TempPathFactory, one_backend: Path) -> Iterator[Linker]:
    lexicon = tmp_path_factory.mktemp("lexicon") / "lexicon.tsv"
    lexicon.write_text("text\tcode\tkind\nfiebre\tR50.9\tdiagnosis\n", encoding="utf-8")
    with Linker.open(one_backend, threads=1, cache=False, lexicon=lexicon) as opened:
        assert opened.lexicon_sha256 == read_lexicon(lexicon).sha256
        yield opened


SETTINGS = RunSettings(name="mini", sha256="ab", edition="kb", decoding="published")


def link(log_prob: float | None, tokens: int = 1, generated: str = "") -> Link:
    return Link(None, (), None, None, "none", generated, log_prob, None, (), PROVENANCE, tokens=tokens)


def run_of(*links: Link) -> Run:
    return Run("a run", SETTINGS, (), links)


def test_outcomes_are_those_of_the_links_in_the_order_of_the_mentions(linker: Linker) -> None:
    run = link_corpus(linker, CORPUS, "a name", frozenset({"fiebre"}), LinkOptions(lexicon=False))
    assert run.name == "a name"
    assert run.seconds is not None and run.seconds > 0
    links = linker.link([entry.mention for entry in CORPUS.mentions], LinkOptions(lexicon=False))
    for outcome, found, entry in zip(run.outcomes, links, CORPUS.mentions, strict=True):
        assert outcome.annotated.mention == entry.mention
        assert (outcome.code, outcome.kind, outcome.method) == (found.code, found.kind, found.method)
        assert outcome.ranked == tuple(candidate.code for candidate in found.candidates)
        assert (outcome.generated, outcome.description) == (found.generated, found.description)
        assert outcome.probability == pytest.approx(found.probability)
        assert outcome.confidence == pytest.approx(found.confidence)
    assert run.outcomes[0].code == "BW20"
    assert run.outcomes[0].annotated.description == "TC de abdomen"  # as outputs are written
    assert [outcome.seen for outcome in run.outcomes] == [False, True, False]


def test_seen_is_not_known_without_training_mentions(linker: Linker) -> None:
    assert {outcome.seen for outcome in link_corpus(linker, CORPUS, "n").outcomes} == {None}
    assert {outcome.seen for outcome in link_corpus(linker, CORPUS, "n", frozenset()).outcomes} == {False}


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({}, {"decoding": "probable", "pipeline": "II", "matching": "tiered", "rerank": False, "top_k": 5}),
        ({"decoding": "greedy", "pipeline": "I", "top_k": 3}, {"decoding": "greedy", "pipeline": "I", "top_k": 3}),
        ({"matching": "published"}, {"matching": "published", "lexicon": None, "subset": None}),
        ({"lexicon": False}, {"lexicon": None}),
        ({"rerank": True}, {"rerank": True, "min_confidence": None}),
        ({"min_confidence": 0.5}, {"rerank": False, "min_confidence": 0.5}),
        (
            {"subset": Subset(chapters=frozenset({"IX", "I"}), codes=frozenset({"I10"}))},
            {"subset": SubsetSummary(("I", "IX"), leaf=False, codes=1)},
        ),
    ],
)
def test_settings_say_what_was_asked_for(linker: Linker, options: dict[str, Any], told: dict[str, Any]) -> None:
    settings = link_corpus(linker, CORPUS, "n", options=LinkOptions(**options)).settings
    assert {name: getattr(settings, name) for name in told} == told


def test_the_lexicon_answers_where_it_is_asked(linker: Linker) -> None:
    first, second, third = link_corpus(linker, CORPUS, "n").outcomes
    assert (second.method, second.code, second.generated, second.probability) == ("lexicon", "R50.9", "", None)
    assert "lexicon" not in (first.method, third.method)
    assert link_corpus(linker, CORPUS, "n").settings.lexicon == linker.lexicon_sha256
    for options in (LinkOptions(lexicon=False), LinkOptions(matching="published")):
        run = link_corpus(linker, CORPUS, "n", options=options)
        assert {outcome.method for outcome in run.outcomes}.isdisjoint({"lexicon"})


@pytest.mark.parametrize("gold", ["R05X", "R05.XXX", "r05"])
def test_placeholders_count_where_figures_are_the_paper_s_and_nowhere_else(linker: Linker, gold: str) -> None:
    corpus = Corpus((Annotated(Mention("tos", "Paciente con tos.", "diagnosis"), (gold,)),))
    for matching, right in (("tiered", True), ("published", gold == "r05")):
        options = LinkOptions(matching=matching, lexicon=False)  # type: ignore[arg-type]
        (found,) = link_corpus(linker, corpus, "n", options=options).outcomes
        assert (found.code, is_right(found), found.known) == ("R05", right, right)


def test_mentions_of_another_kind_are_passed_over_and_named(linker: Linker) -> None:
    secret = Annotated(Mention("Zutanito", kind="Menganita"), ("R50",))
    corpus = Corpus(
        (CORPUS.mentions[0], secret, CORPUS.mentions[2]), (Skipped("line 9", "why"),), {("d", "diagnosis"): ("R50",)}, 2
    )
    kept = linkable(corpus, linker)
    assert kept.mentions == (CORPUS.mentions[0], CORPUS.mentions[2])
    assert [entry.place for entry in kept.skipped] == ["line 9", "mention 2"]
    assert "Menganita" not in kept.skipped[1].reason and "diagnosis, procedure" in kept.skipped[1].reason
    assert (kept.document_codes, kept.uncoded) == (corpus.document_codes, 2)


def test_an_empty_corpus_gives_an_empty_run(linker: Linker) -> None:
    run = link_corpus(linker, Corpus(()), "n", options=LinkOptions(decoding="greedy"))
    assert (run.outcomes, run.links, run.settings.decoding) == ((), (), "greedy")


def test_missed_prompts_by_hand() -> None:
    # Per token: -1.0, -0.5, -0.2, -3.0; the lexicon answered the fifth.
    reference = run_of(link(-2.0, 2), link(-1.0, 2), link(-1.0, 5), link(-3.0, 1), link(None, 0))
    # -0.9 is better; -0.6 worse; the same; no output of its own; and nothing to compare with.
    probable = run_of(link(-0.9, 1), link(-0.6, 1), link(-0.6, 3), link(None, 0), link(-1.0, 1))
    greedy = run_of(link(-5.0, 1), link(-0.8, 2), link(-4.0, 1), link(-4.0, 1), link(-1.0, 1))
    assert missed_share(reference, [probable]) == Missed(prompts=4, missed=1, share=25.0)
    assert missed_share(reference, [greedy]) == Missed(prompts=4, missed=1, share=25.0)  # the second: -0.4
    assert missed_share(reference, [probable, greedy]) == Missed(prompts=4, missed=2, share=50.0)


def test_scores_that_differ_by_rounding_are_no_miss() -> None:
    reference = run_of(link(-1.0, 1))
    assert missed_share(reference, [run_of(link(-1.0 + 5e-5, 1))]) == Missed(prompts=1, missed=0, share=0.0)
    assert missed_share(reference, [run_of(link(-1.0 + 5e-4, 1))]) == Missed(prompts=1, missed=1, share=100.0)


def test_nothing_to_compare_is_no_share() -> None:
    reference = run_of(link(-1.0, 1))
    assert missed_share(reference, []) is None
    assert missed_share(reference, [replace(reference, links=())]) is None
    assert missed_share(run_of(link(None, 0)), [reference]) is None


def test_a_better_output_by_the_scores_of_the_linker_itself(linker: Linker) -> None:
    reference = link_corpus(linker, CORPUS, "n", options=LinkOptions(decoding="published", lexicon=False))
    greedy = link_corpus(linker, CORPUS, "n", options=LinkOptions(decoding="greedy", lexicon=False))
    told = missed_share(reference, [greedy])
    assert told is not None and told.prompts == 3
    means = [
        [found.log_prob / found.tokens for found in run.links if found.log_prob is not None]
        for run in (reference, greedy)
    ]
    assert told.missed == sum(other > one + 1e-4 for one, other in zip(*means, strict=True))
