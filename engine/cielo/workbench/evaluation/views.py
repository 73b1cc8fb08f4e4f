"""What the page of an evaluation shows of its runs: their scores, comparisons, curves and confidences."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cielo.bundle.calibration import Reliability, ReliabilityQuality
from cielo.text.language import say, sentence
from cielo.text.visible import visible
from cielo.workbench.evaluation.headline import PARTS, main_score, shown_p, shown_run
from cielo.workbench.evaluation.results import Evaluation, RunComparison, RunScores, SplitScores
from cielo.workbench.page import plots
from cielo.workbench.page.agreement import Group, agreement
from cielo.workbench.page.canvas import Picture, Shape
from cielo.workbench.page.parts import DASH, Facts, PageCell, PageTable, between, count, figure, signed
from cielo.workbench.page.text import shorten

MEASURES: tuple[tuple[str, str, Shape], ...] = (
    ("plii", "PLII", "circle"), ("pli", "PLI", "square"), ("accuracy_3", sentence("3 characters"), "diamond"),
)  # fmt: skip
_COLUMNS = (
    ("recall_at_3", "recall@3"), ("recall_at_5", "recall@5"), ("mrr", "MRR"), ("coverage", sentence("answered")),
    ("accuracy_covered", sentence("right of answered")), ("pli_known", sentence("PLI, known")),
    ("plii_known", sentence("PLII, known")), ("normal_text_accuracy", sentence("text")),
    ("text_accuracy", sentence("text, literal")),
)  # fmt: skip


def interval_of(split: SplitScores, measure: str) -> tuple[float | None, float | None]:
    """Return the ends of a measure's interval, where it has one."""
    found = split.intervals.get(measure)
    return (None, None) if found is None else (found.low, found.high)


@dataclass(frozen=True, slots=True)
class SplitView:
    """The scores of a split; `table` is None where the split is all mentions."""

    title: str
    mentions: str = ""
    picture: Picture | None = None
    table: PageTable | None = None


def split_views(runs: Sequence[RunScores]) -> list[SplitView]:
    """Return a view of each split that some run has."""
    found = []
    for name in dict.fromkeys(name for run in runs for name in run.splits):
        title = say("All mentions") if name == "all" else say(PARTS.get(name, name)).capitalize()
        if name != "all" and all(run.splits.get(name) == run.splits["all"] for run in runs):
            found.append(SplitView(title))
        else:
            found.append(_split_view(runs, name, title))
    return found


def _split_view(runs: Sequence[RunScores], name: str, title: str) -> SplitView:
    splits = [(run, run.splits[name]) for run in runs if name in run.splits]
    rows = [plots.IntervalRow(visible(shown_run(run.name)), _estimates(split), _note(split)) for run, split in splits]
    label = say("{part}: accuracy of each run with its interval; the table below has the figures", part=title)
    head = (say("run"), "PLI", "PLII", say("3 characters"), *(say(column) for _, column in _COLUMNS), say("seconds"))
    table = PageTable(
        say("{part}: scores of each run", part=title),
        head,
        tuple(_scores_row(run, split, name) for run, split in splits),
    )
    picture = plots.intervals(rows, say("share of mentions that are right, %"), label)
    return SplitView(title, count(splits[0][1].count), picture, table)


def _estimates(split: SplitScores) -> list[plots.Estimate]:
    return [
        plots.Estimate(say(label), value, *interval_of(split, key), shape)
        for key, label, shape in MEASURES
        if (value := getattr(split, key)) is not None
    ]


def _note(split: SplitScores) -> str:
    _, label, value = main_score(split)
    return f"{label} {figure(value, 1)}"


def _scores_row(run: RunScores, split: SplitScores, name: str) -> tuple[str | PageCell, ...]:
    return (
        shown_run(run.name),
        *(_with_interval(getattr(split, key), *interval_of(split, key)) for key in ("pli", "plii", "accuracy_3")),
        *(figure(getattr(split, key)) for key, _ in _COLUMNS),
        seconds(run.seconds) if name == "all" else DASH,
    )


def _with_interval(value: float | None, low: float | None, high: float | None) -> PageCell:
    known = value is not None and low is not None and high is not None
    return PageCell(figure(value), between(figure(low), figure(high)) if known else "")


def seconds(value: float | None) -> str:
    """Write a time."""
    return figure(value, 1 if value is not None and value >= 10 else 2)


@dataclass(frozen=True, slots=True)
class ComparisonsView:
    """Each run against the first; `picture` and `table` are None where there is but one run."""

    against: str
    picture: Picture | None
    table: PageTable | None
    missed: str


def comparisons_view(evaluation: Evaluation) -> ComparisonsView | None:
    """Return the comparisons, None where nothing was compared."""
    missed = _missed(evaluation)
    entries = evaluation.comparisons
    if not entries:
        return ComparisonsView("", None, None, missed) if missed else None
    against = visible(shown_run(entries[0].against))
    rows = [
        plots.IntervalRow(
            visible(shown_run(entry.run)),
            [plots.Estimate(say("difference"), entry.difference, entry.low, entry.high)],
            signed(entry.difference),
        )
        for entry in entries
    ]
    label = say("Difference of each run to “{run}”, in percentage points; the table below has the figures", run=against)
    axis = say("difference to “{run}”, percentage points", run=shorten(against, 40))
    picture = plots.intervals(rows, axis, label, bounds=(-100, 100), line_at=0)
    head = (
        say("run"), say("difference"), "p", "p (McNemar)", say("right in it alone"), say("right in the first alone"),
        say("both"), say("neither"),
    )  # fmt: skip
    table = PageTable(say("Each run against the first"), head, tuple(map(_comparison_row, entries)))
    return ComparisonsView(against, picture, table, missed)


def _comparison_row(entry: RunComparison) -> tuple[str | PageCell, ...]:
    return (
        shown_run(entry.run),
        PageCell(signed(entry.difference), _ends(entry)),
        shown_p(entry.p_value, entry.resamples).removeprefix("= "),
        shown_p(entry.mcnemar_p_value).removeprefix("= "),
        *(count(value) for value in (entry.only_second, entry.only_first, entry.both, entry.neither)),
    )


def _ends(entry: RunComparison) -> str:
    return "" if entry.low is None or entry.high is None else between(signed(entry.low), signed(entry.high))


def _missed(evaluation: Evaluation) -> str:
    found = evaluation.published_missed
    if found is None:
        return ""
    return say(
        "The published search missed an output that is better by its own score on {share} % of {prompts} prompts "
        "({missed}); the other searches here found it.",
        share=figure(found.share, 1),
        prompts=count(found.prompts),
        missed=count(found.missed),
    )


@dataclass(frozen=True, slots=True)
class WithholdingView:
    """What is left where unsure answers are withheld."""

    picture: Picture
    table: PageTable


def withholding_view(runs: Sequence[RunScores]) -> WithholdingView | None:
    """Return the curves, None where no run answered anything."""
    series = [
        plots.Series(visible(shown_run(run.name)), [(point.coverage, point.accuracy) for point in run.coverage_curve])
        for run in runs
        if run.coverage_curve
    ]
    if not series:
        return None
    label = say("Accuracy of the answers that are left over the share of mentions that keep one, for each run")
    areas = tuple((shown_run(run.name), figure(run.risk_coverage_area, 4)) for run in runs)
    return WithholdingView(
        plots.curves(series, say("mentions that get a code (coverage), %"), say("right of these, %"), label),
        PageTable(say("Area of risk of each run"), (say("run"), say("area of risk (AURC)")), areas),
    )


QUALITIES: tuple[tuple[str, str, Shape], ...] = (
    ("calibrated", sentence("confidence"), "circle"), ("raw", sentence("probability as it is"), "square"),
)  # fmt: skip


def legend(entries: Sequence[tuple[str, str, Shape]]) -> Facts:
    """Return the names of `MEASURES` or `QUALITIES` with their shapes."""
    return tuple((say(name), shape) for _, name, shape in entries)


@dataclass(frozen=True, slots=True)
class ReliabilityView:
    """How far the confidences of a search can be taken at their word."""

    decoding: str
    mentions: str
    picture: Picture
    errors: PageTable
    bins: PageTable


def reliability_view(decoding: str, found: Reliability) -> ReliabilityView:
    """Return the reliability of one search."""
    qualities: list[tuple[str, Shape, ReliabilityQuality]] = [
        (say(name), shape, getattr(found, key)) for key, name, shape in QUALITIES
    ]
    sets = [
        (name, shape, [Group(one.low, one.high, one.confidence, one.accuracy, one.count) for one in quality.bins])
        for name, shape, quality in qualities
    ]
    rows = tuple(
        (
            between(figure(one.low, 3), figure(one.high, 3)),
            figure(one.confidence, 3),
            figure(one.accuracy, 3),
            count(one.count),
        )
        for one in found.calibrated.bins
    )
    errors = tuple(
        (name, *(figure(value, 3) for value in (one.expected_calibration_error, one.brier, one.log_loss)))
        for name, _, one in qualities
    )
    label = say("Reliability, {decoding}: confidence against accuracy", decoding=decoding)
    head = (say("confidence"), say("mean"), say("right"), say("mentions"))
    worth = ("", say("calibration error"), "Brier", say("log-loss, nats"))
    return ReliabilityView(
        decoding,
        count(found.mentions),
        agreement(sets, say("mean confidence of a bin"), say("share that is right"), label),
        PageTable(say("{decoding}: errors of confidences", decoding=decoding), worth, errors),
        PageTable(say("{decoding}: bins of confidences", decoding=decoding), head, rows),
    )
