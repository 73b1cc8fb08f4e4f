"""Scoring an evaluation: from runs to the records of `results`."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace

from cielo.bundle.calibration import Reliability
from cielo.knowledge.codes import System
from cielo.text.normal import normal_form
from cielo.workbench.evaluation import codiesp
from cielo.workbench.evaluation.analysis import count_classes
from cielo.workbench.evaluation.bootstrap import FEWEST, accuracy_interval, compare, documents
from cielo.workbench.evaluation.examples import examples
from cielo.workbench.evaluation.gold import count_gold, judged_by
from cielo.workbench.evaluation.headline import best_run, paper_scores
from cielo.workbench.evaluation.records import Corpus, Missed, Outcome
from cielo.workbench.evaluation.results import (
    About,
    CodiEspScores,
    CorpusSummary,
    Evaluation,
    KindScores,
    PooledScores,
    RunComparison,
    RunScores,
    SplitScores,
)
from cielo.workbench.evaluation.run import Run, missed_share
from cielo.workbench.evaluation.scores import (
    Point,
    break_down,
    coverage_curve,
    is_right,
    is_right_category,
    risk_coverage_area,
    score,
)

_CURVE_POINTS = 200
_SKIPPED_SHOWN = 100


def summarize(
    runs: Sequence[Run],
    corpus: Corpus,
    systems: Mapping[str, System],
    *,
    resamples: int,
    about: About,
    calibration: Mapping[str, Reliability] | None = None,
    with_text: bool = False,
) -> Evaluation:
    """Return the whole evaluation.

    Args:
        runs: on the same mentions; the others are compared with the first.
        corpus: that they were made on.
        systems: the code system of each kind.
        resamples: of the bootstrap.
        about: what was evaluated.
        calibration: what the bundle's calibrations are worth, by search.
        with_text: let it hold examples of mistakes: clinical text of the user's.

    Raises:
        ValueError: where there is no run, or no mention.
    """
    if not runs:
        raise ValueError("got no runs, expected at least one")
    scored = tuple(_run(run, corpus, systems, resamples) for run in runs)
    best = best_run(scored)
    return Evaluation(
        about=about,
        best=best.name,
        paper=tuple(paper_scores(scored)),
        corpus=_corpus(corpus),
        splits=scored[0].splits,
        runs=scored,
        comparisons=tuple(_comparison(runs[0], run, resamples) for run in runs[1:]),
        published_missed=_missed(runs),
        calibration=dict(calibration or {}),
        gold=count_gold(judged_by(runs[0].outcomes)),
        examples=tuple(examples(runs[scored.index(best)].outcomes, systems)) if with_text else (),
    )


def _corpus(corpus: Corpus) -> CorpusSummary:
    return CorpusSummary(
        mentions=len(corpus.mentions),
        documents=len({entry.document for entry in corpus.mentions} - {None}),
        skipped=len(corpus.skipped),
        uncoded=corpus.uncoded,
        skipped_places=corpus.skipped[:_SKIPPED_SHOWN],
        notes=corpus.notes,
        split=corpus.split,
    )


def _comparison(first: Run, second: Run, resamples: int) -> RunComparison:
    found = compare(first.outcomes, second.outcomes, resamples=resamples)
    if found.clusters < FEWEST:
        found = replace(found, low=None, high=None)
    return RunComparison(**asdict(found), run=second.name, against=first.name)


def _missed(runs: Sequence[Run]) -> Missed | None:
    """Say how often the published search missed a better output, where another search ran beside it."""
    plain = [run for run in runs if run.links and not run.settings.rerank]
    first = next((run for run in plain if run.settings.decoding == "published"), None)
    others = [run for run in plain if run.settings.decoding != "published"]
    return missed_share(first, others) if first and others else None


def _run(run: Run, corpus: Corpus, systems: Mapping[str, System], resamples: int) -> RunScores:
    outcomes = run.outcomes
    return RunScores(
        name=run.name,
        settings=run.settings,
        seconds=run.seconds,
        splits={name: _split(part, run, resamples) for name, part in _splits(outcomes)},
        breakdown=break_down(outcomes, systems),
        coverage_curve=_thinned(coverage_curve(outcomes)),
        risk_coverage_area=risk_coverage_area(outcomes),
        errors=tuple(count_classes(outcomes, systems)),
        codiesp=_codiesp(outcomes, corpus),
    )


def _splits(outcomes: Sequence[Outcome]) -> list[tuple[str, Sequence[Outcome]]]:
    parts: list[tuple[str, Sequence[Outcome]]] = [("all", outcomes)]
    for name, seen in (("unseen", False), ("seen", True)):
        if part := [outcome for outcome in outcomes if outcome.seen is seen]:
            parts.append((name, part))
    return parts


def _split(outcomes: Sequence[Outcome], run: Run, resamples: int) -> SplitScores:
    scores = score(outcomes)
    measures: dict[str, Callable[[Outcome], bool]] = {"pli": _right_without_neighbours, "accuracy_3": is_right_category}
    if run.settings.pipeline == "II":
        measures["plii"] = is_right
    shares = _shares(outcomes, measures)
    known = [outcome for outcome in outcomes if outcome.known]
    among = _shares(known, measures)
    clusters = len(set(documents(outcomes)))
    return SplitScores(
        count=scores.count,
        right=scores.right,
        no_answer=scores.count - scores.covered,
        no_exact_match=sum(outcome.method not in ("exact", "lexicon") for outcome in outcomes),
        described=scores.described,
        pli=shares["pli"],
        plii=shares.get("plii"),
        accuracy_3=scores.accuracy_3,
        recall_at_3=scores.recall_at_3,
        recall_at_5=scores.recall_at_5,
        mrr=scores.mrr,
        coverage=scores.coverage,
        accuracy_covered=scores.accuracy_covered,
        text_accuracy=scores.text_accuracy,
        normal_text_accuracy=scores.normal_text_accuracy,
        intervals={
            name: accuracy_interval(outcomes, right, resamples=resamples)
            for name, right in sorted(measures.items())
            if clusters >= FEWEST
        },
        known=None if all(outcome.known is None for outcome in outcomes) else len(known),
        pli_known=among.get("pli"),
        plii_known=among.get("plii"),
        clusters=clusters,
    )


def _shares(outcomes: Sequence[Outcome], measures: Mapping[str, Callable[[Outcome], bool]]) -> dict[str, float]:
    """Return the share of outcomes that each measure counts, in percent; nothing where there are no outcomes."""
    if not outcomes:
        return {}
    return {name: 100.0 * sum(map(right, outcomes)) / len(outcomes) for name, right in measures.items()}


def _right_without_neighbours(outcome: Outcome) -> bool:
    return outcome.method in ("exact", "lexicon") and is_right(outcome)


def _thinned(points: Sequence[Point]) -> tuple[Point, ...]:
    """Keep so many points of a curve as a plot can show, its ends among them."""
    step = max(1, -(-len(points) // _CURVE_POINTS))
    return (*points[:-1:step], *points[-1:])


def _codiesp(outcomes: Sequence[Outcome], corpus: Corpus) -> CodiEspScores | None:
    """Return CodiEsp's own measures, where every mention's document and kind is known."""
    if any(entry.document is None or entry.mention.kind is None for entry in corpus.mentions):
        return None
    ranking = codiesp.rank_codes(outcomes)
    # A kind whose codes the corpus does not list apart has those of its mentions.
    listed = {kind for _, kind in corpus.document_codes}
    marked = codiesp.gold_codes(entry for entry in corpus.mentions if entry.mention.kind not in listed)
    gold = {**marked, **corpus.document_codes}
    kinds = {
        kind: KindScores(
            map=codiesp.mean_average_precision(ranking, gold, kind), micro=_pooled(codiesp.micro(ranking, gold, kind))
        )
        for kind in sorted({kind for _, kind in gold})
    }
    right, answers = codiesp.located_gold(corpus.mentions), codiesp.located_answers(outcomes)
    if not right:
        return CodiEspScores(kinds)
    return CodiEspScores(
        kinds, _pooled(codiesp.positions(answers, right)), _pooled(codiesp.matched_positions(answers, right))
    )


def _pooled(found: codiesp.Micro) -> PooledScores:
    return PooledScores(found.predicted, found.gold, found.right, found.precision, found.recall, found.f1)


def corpus_hash(corpus: Corpus) -> str:
    """Return a hash of the mentions, their codes and stored outputs: what was calibrated or evaluated on."""
    digest = hashlib.sha256()
    for entry in corpus.mentions:
        mention, stored = entry.mention, entry.generated or ""
        parts = (normal_form(mention.text), mention.sentence or "", mention.kind or "", stored, *entry.codes)
        digest.update("\x1f".join(parts).encode("utf-8", "surrogatepass") + b"\x1e")
    return digest.hexdigest()
