"""What an evaluation says: the scores of each run, with intervals, comparisons and errors, ready for JSON.

Names. ``pli`` and ``plii`` are the model card's: the share of mentions whose first code is right when only exact
matches count, and when the nearest description answers for the rest. Splits are ``test`` (all mentions) and, where
training mentions are given, ``test_unseen`` and ``test_seen`` (mentions whose text occurs among them, or not).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from cielo.knowledge.codes import System
from cielo.text.normal import normal_form
from cielo.workbench.evaluation import codiesp
from cielo.workbench.evaluation.analysis import count_classes
from cielo.workbench.evaluation.bootstrap import accuracy_interval, compare
from cielo.workbench.evaluation.records import Corpus, Outcome
from cielo.workbench.evaluation.run import Run, missed_share
from cielo.workbench.evaluation.scores import (
    break_down,
    coverage_curve,
    is_right,
    is_right_category,
    risk_coverage_area,
    score,
)

# Scores of a split that are taken over from `Scores`, under their own names.
_SCORES = (
    "accuracy_3", "recall_at_3", "recall_at_5", "mrr", "coverage", "accuracy_covered", "text_accuracy",
    "normal_text_accuracy",
)  # fmt: skip
_CURVE_POINTS = 200
_SKIPPED_SHOWN = 100


def summarize(
    runs: Sequence[Run], corpus: Corpus, systems: Mapping[str, System], *, resamples: int, about: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the whole evaluation.

    Args:
        runs: on the same mentions; the others are compared with the first.
        corpus: that they were made on.
        systems: the code system of each kind.
        resamples: of the bootstrap.
        about: what was evaluated: names and hashes of files.

    Raises:
        ValueError: where there is no run, or no mention.
    """
    told = [_run(run, corpus, systems, resamples) for run in runs]
    return {
        "about": dict(about),
        "corpus": _corpus(corpus),
        "splits": told[0]["splits"],
        "runs": told,
        "comparisons": [
            {"run": run.name, "against": runs[0].name,
             **compare(runs[0].outcomes, run.outcomes, resamples=resamples).to_dict()}
            for run in runs[1:]
        ],
        "published_missed": _missed(runs),
    }  # fmt: skip


def _corpus(corpus: Corpus) -> dict[str, Any]:
    return {
        "mentions": len(corpus.mentions),
        "documents": len({entry.document for entry in corpus.mentions} - {None}),
        "skipped": len(corpus.skipped),
        "uncoded": corpus.uncoded,
        "notes": list(corpus.notes),
        "skipped_places": [{"place": entry.place, "reason": entry.reason} for entry in corpus.skipped[:_SKIPPED_SHOWN]],
    }


def _missed(runs: Sequence[Run]) -> dict[str, Any] | None:
    """Say how often the reference search missed a better output, where another search ran beside it."""
    plain = [run for run in runs if run.links and not run.settings.get("rerank")]
    first = next((run for run in plain if run.settings["decoding"] == "published"), None)
    others = [run for run in plain if run.settings["decoding"] != "published"]
    return missed_share(first, others) if first and others else None


def _run(run: Run, corpus: Corpus, systems: Mapping[str, System], resamples: int) -> dict[str, Any]:
    outcomes = run.outcomes
    return {
        "name": run.name,
        "settings": dict(run.settings),
        "seconds": run.seconds,
        "splits": {name: _split(part, run, resamples) for name, part in _splits(outcomes)},
        "breakdown": break_down(outcomes, systems).to_dict(),
        "coverage_curve": [point.to_dict() for point in _thinned(coverage_curve(outcomes))],
        "risk_coverage_area": risk_coverage_area(outcomes),
        "errors": [entry.to_dict() for entry in count_classes(outcomes, systems)],
        "codiesp": _codiesp(outcomes, corpus),
    }


def _splits(outcomes: Sequence[Outcome]) -> list[tuple[str, Sequence[Outcome]]]:
    parts: list[tuple[str, Sequence[Outcome]]] = [("test", outcomes)]
    for name, seen in (("test_unseen", False), ("test_seen", True)):
        if part := [outcome for outcome in outcomes if outcome.seen is seen]:
            parts.append((name, part))
    return parts


def _split(outcomes: Sequence[Outcome], run: Run, resamples: int) -> dict[str, Any]:
    scores = score(outcomes)
    measured: dict[str, Callable[[Outcome], bool]] = {"pli": _right_without_neighbours}
    if run.settings.get("pipeline") == "II":
        measured["plii"] = is_right
    found: dict[str, Any] = {
        "count": scores.count,
        "right": scores.right,
        "no_answer": scores.count - scores.covered,
        "no_exact_match": sum(outcome.method not in ("exact", "lexicon") for outcome in outcomes),
        "described": scores.described,
    }
    for name, right in measured.items():
        found[name] = 100.0 * sum(map(right, outcomes)) / scores.count
    found |= {name: getattr(scores, name) for name in _SCORES}
    measured["accuracy_3"] = is_right_category
    found["intervals"] = {
        name: accuracy_interval(outcomes, right, resamples=resamples).to_dict() for name, right in measured.items()
    }
    return found


def _right_without_neighbours(outcome: Outcome) -> bool:
    return outcome.method in ("exact", "lexicon") and is_right(outcome)


def _thinned(points: Sequence[Any]) -> list[Any]:
    """Keep so many points of a curve as a plot can show, its ends among them."""
    step = max(1, -(-len(points) // _CURVE_POINTS))
    return [*points[:-1:step], *points[-1:]]


def _codiesp(outcomes: Sequence[Outcome], corpus: Corpus) -> dict[str, Any] | None:
    """Return CodiEsp's own measures, where every mention's document and kind is known."""
    if any(entry.document is None or entry.mention.kind is None for entry in corpus.mentions):
        return None
    ranking = codiesp.rank_codes(outcomes)
    # A kind whose codes the corpus does not list apart has those of its mentions.
    listed = {kind for _, kind in corpus.document_codes}
    marked = codiesp.gold_codes(entry for entry in corpus.mentions if entry.mention.kind not in listed)
    gold = {**marked, **corpus.document_codes}
    found: dict[str, Any] = {}
    for kind in sorted({kind for _, kind in gold}):
        found[kind] = {
            "map": codiesp.mean_average_precision(ranking, gold, kind).to_dict(),
            "micro": codiesp.micro(ranking, gold, kind).to_dict(),
        }
    right, answers = codiesp.located_gold(corpus.mentions), codiesp.located_answers(outcomes)
    if right:
        found["positions"] = codiesp.positions(answers, right).to_dict()
        found["matched_positions"] = codiesp.matched_positions(answers, right).to_dict()
    return found


def corpus_hash(corpus: Corpus) -> str:
    """Return a hash of the mentions, their codes and stored outputs: what was calibrated or evaluated on."""
    digest = hashlib.sha256()
    for entry in corpus.mentions:
        mention, stored = entry.mention, entry.generated or ""
        parts = (normal_form(mention.text), mention.sentence or "", mention.kind or "", stored, *entry.codes)
        digest.update("\x1f".join(parts).encode("utf-8", "surrogatepass") + b"\x1e")
    return digest.hexdigest()
