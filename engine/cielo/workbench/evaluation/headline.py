"""What is said first of an evaluation: the paper's figures, the best run, the ceiling, and why something is missing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from cielo.text.language import numeral, say, sentence
from cielo.workbench.evaluation.bootstrap import FEWEST
from cielo.workbench.evaluation.gold import describe
from cielo.workbench.evaluation.results import Evaluation, PaperScores, RunScores, SplitScores
from cielo.workbench.page.parts import count, figure

PARTS = {"all": sentence("all"), "unseen": sentence("unseen in training"), "seen": sentence("seen in training")}


def shown_run(name: str) -> str:
    """Return the name of a run for a reader: a search keeps its name, what is said of it is said in the language."""
    return ", ".join(map(say, name.split(", ")))


def main_score(split: SplitScores) -> tuple[str, str, float]:
    """Return key, name and value of the measure that counts for a run: PLII where there is one, else PLI."""
    return ("pli", "PLI", split.pli) if split.plii is None else ("plii", "PLII", split.plii)


def best_run(runs: Sequence[RunScores]) -> RunScores:
    """Return the run with the most right first codes among all mentions; of equal ones the first."""
    return max(runs, key=lambda run: main_score(run.splits["all"])[2])


def named_best(evaluation: Evaluation) -> RunScores:
    """Return the run that an evaluation calls its best."""
    return next((run for run in evaluation.runs if run.name == evaluation.best), evaluation.runs[0])


def paper_scores(runs: Sequence[RunScores]) -> Iterator[PaperScores]:
    """Yield what the paper shows of each run, for all mentions and, where known, for unseen and seen ones."""
    for run in runs:
        measures = run.codiesp.kinds if run.codiesp is not None else {}
        for name, split in run.splits.items():
            shown = measures if name == "all" else {}
            yield PaperScores(
                run=run.name,
                split=name,
                mentions=split.count,
                text_accuracy=split.normal_text_accuracy,
                pli=split.pli,
                plii=split.plii,
                map={kind: one.map.value for kind, one in shown.items() if one.map.value is not None},
                f1={kind: one.micro.f1 for kind, one in shown.items()},
                ceiling=None if split.known is None else 100.0 * split.known / split.count,
            )


def shown_paper(evaluation: Evaluation) -> list[PaperScores]:
    """Return the paper's figures without those of parts that are all mentions."""
    whole = evaluation.corpus.mentions
    return [one for one in evaluation.paper if one.split == "all" or one.mentions < whole]


def part_name(part: str, split: str | None) -> str:
    """Return the name of a part of the mentions: ``all``, or ``test``, ``test, unseen in training`` and so on."""
    words = say(PARTS.get(part, part))
    return words if split is None else split if part == "all" else f"{split}, {words}"


def interval_notes(evaluation: Evaluation) -> list[str]:
    """Say of which parts there is no interval, and why; the list is empty where all have one."""
    parts = evaluation.runs[0].splits
    few = [
        f"{say(PARTS.get(name, name))} ({count(one.clusters)})" for name, one in parts.items() if one.clusters < FEWEST
    ]
    if not few:
        return []
    return [
        say(
            "No interval for these mentions: {parts}. Intervals come from drawing documents, or mentions without "
            "one, again at random, and fewer than {fewest} say nothing of others.",
            parts=", ".join(few),
            fewest=FEWEST,
        )
    ]


def shown_p(value: float, resamples: int | None = None) -> str:
    """Write a p-value with the sign before it: at its floor, which the resamples set, it is only known to be less."""
    if value < 0.001:
        return numeral("< 0.001")
    if resamples is not None and value <= 1 / (1 + resamples):
        return numeral(f"≤ {value:.2g}")
    return numeral(f"= {value:.3g}")


def gold_notes(evaluation: Evaluation) -> list[str]:
    """Say, where right codes could not be answered, how many, the ceiling, and the first run's scores among the others.

    The list is empty where all could be.
    """
    gold, run = evaluation.gold, evaluation.runs[0]
    if gold is None or not gold.all.unknown:
        return []
    split = run.splits["all"]
    missing, most = describe(gold, kept_to_a_part=run.settings.subset is not None), figure(gold.ceiling)
    scores = [
        f"{name} {figure(value)} %" for name, value in (("PLI", split.pli_known), ("PLII", split.plii_known))
        if value is not None
    ]  # fmt: skip
    if not scores:
        return [say("{missing}. No run can have more than {most} % right.", missing=missing, most=most)]
    return [
        say(
            "{missing}. No run can have more than {most} % right; among the other {known} mentions “{run}” has "
            "{scores}.",
            missing=missing,
            most=most,
            known=count(split.known),
            run=shown_run(run.name),
            scores=say("{first} and {second}", first=scores[0], second=scores[1]) if scores[1:] else scores[0],
        )
    ]
