"""What the page of an evaluation shows beyond its runs' scores: groups, mistakes, CodiEsp's measures and settings."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields

from cielo.text.visible import visible
from cielo.workbench.bench.system import System
from cielo.workbench.evaluation.analysis import Quartiles
from cielo.workbench.evaluation.results import Evaluation, PooledScores, RunScores
from cielo.workbench.evaluation.scores import Scores
from cielo.workbench.page import plots
from cielo.workbench.page.canvas import Picture
from cielo.workbench.page.parts import DASH, Facts, PageCell, PageTable, count, figure, words

_FEW_MENTIONS = 20  # a group of fewer is drawn faintly
# Classes of mistakes: the name in a bar, what it means, and a colour light enough in both schemes for dark letters.
_MISTAKES = {
    "near: parent": ("parent", "parent: the answer is less specific", "#9cc5f2"),
    "near: child": ("child", "child: the answer is more specific", "#6ea9ea"),
    "near: sibling": ("sibling", "sibling: of the same category", "#86d3b4"),
    "same chapter": ("chapter", "same chapter, or section", "#f3c75b"),
    "other": ("other", "anything else", "#f0918a"),
    "wrong kind": ("kind", "of the wrong kind", "#c5a9ee"),
    "none": ("none", "no answer", "#c6c3bc"),
}
_INSIDE = "#1d1c1b"  # letters on those colours, the same in both schemes


@dataclass(frozen=True, slots=True)
class GroupView:
    """The accuracy of each group; `few` says whether some are drawn faintly, for want of mentions."""

    title: str
    what: str
    picture: Picture
    few: int


def group_views(run: RunScores) -> list[GroupView]:
    """Return the groups of a run: by kind, by method, and by chapter of each kind."""
    found = run.breakdown
    shown = [
        ("By kind", "The kind that the annotators gave.", found.kinds),
        ("By method", "How the answer was found; mentions without an answer count as wrong.", found.methods),
    ]
    for kind, chapters in found.chapters.items():
        shown.append((f"By chapter: {visible(kind)}", "The chapter, or section, of the right code.", chapters))
    return [_group_view(title, what, groups) for title, what, groups in shown if groups]


def _group_view(title: str, what: str, groups: dict[str, Scores]) -> GroupView:
    rows = [
        plots.Bar(visible(name), one.accuracy, one.accuracy_3, f"n {one.count:,}", one.count < _FEW_MENTIONS)
        for name, one in groups.items()
    ]
    picture = plots.bars(rows, "share that is right, %", f"{title}: accuracy of each group and its mentions")
    return GroupView(title, what, picture, _FEW_MENTIONS if any(row.faint for row in rows) else 0)


@dataclass(frozen=True, slots=True)
class MistakesView:
    """The kinds of mistakes of each run, and how sure the best run's answers of each kind were."""

    keys: Facts
    picture: Picture
    table: PageTable
    dense: bool
    sureness: PageTable | None


def mistakes_view(runs: Sequence[RunScores], best: RunScores) -> MistakesView:
    """Return the mistakes of each run, and how sure the answers of the best one are."""
    shares = [{_MISTAKES[one.name][0]: one.share / 100 for one in run.errors if one.name in _MISTAKES} for run in runs]
    stacks = [
        plots.Stack(visible(run.name), f"{100 * sum(found.values()):.1f} % wrong", found)
        for run, found in zip(runs, shares, strict=True)
    ]
    picture = plots.stacked(
        stacks,
        "Share of each kind of mistake in all mentions, for each run; the table below has the counts",
        {short: colour for short, _, colour in _MISTAKES.values()},
        full=max(sum(found.values()) for found in shares) or 1.0,
        inside=_INSIDE,
        axis="share of all mentions, %",
    )
    counts = [{str(one.name): one.count for one in run.errors} for run in runs]
    rows = tuple((name, *(count(found.get(name)) for found in counts)) for name in ("right", *_MISTAKES))
    table = PageTable("Mentions of each class, for each run", ("mentions", *(run.name for run in runs)), rows)
    keys = tuple((long, colour) for _, long, colour in _MISTAKES.values())
    return MistakesView(keys, picture, table, len(runs) > 2, _sureness(best))


def _sureness(run: RunScores) -> PageTable | None:
    """Return how sure the answers of each class were."""
    entries = [entry for entry in run.errors if entry.count]
    shown = [name for name in ("confidence", "probability", "distance") if any(getattr(one, name) for one in entries)]
    if not shown:
        return None
    rows: list[tuple[str | PageCell, ...]] = [
        (entry.name, count(entry.count), *(_quartiles(getattr(entry, name)) for name in shown)) for entry in entries
    ]
    head = ("class", "mentions", *(f"{name}, median" for name in shown))
    return PageTable("How sure answers of each class are", head, tuple(rows))


def _quartiles(found: Quartiles | None) -> PageCell:
    return (
        PageCell(DASH) if found is None else PageCell(figure(found.median, 3), f"{found.low:.3f} to {found.high:.3f}")
    )


@dataclass(frozen=True, slots=True)
class CodiEspView:
    """CodiEsp's measures of the runs that have them; `positions` is None where the corpus names none."""

    ranked: PageTable
    positions: PageTable | None


def codiesp_view(runs: Sequence[RunScores]) -> CodiEspView | None:
    """Return CodiEsp's measures, None where no run has them."""
    found = [(run.name, run.codiesp) for run in runs if run.codiesp is not None]
    if not found:
        return None
    ranked = tuple(
        (name, kind, figure(one.map.value, 3), figure(one.map.script, 3), count(one.map.documents), *_pooled(one.micro))
        for name, scores in found
        for kind, one in scores.kinds.items()
    )
    placed = tuple(
        (name, title, *_pooled(one))
        for name, scores in found
        for one, title in (
            (scores.positions, "as the task’s script"),
            (scores.matched_positions, "mention by mention"),
        )
        if one is not None
    )
    pooled = ("precision", "recall", "F1", "right", "answered", "gold")
    head = ("run", "kind", "MAP", "MAP (script)", "documents", *pooled)
    return CodiEspView(
        PageTable("CodiEsp’s measures of each run and kind", head, ranked),
        PageTable("CodiEsp’s measures of positions", ("run", "positions", *pooled), placed) if placed else None,
    )


def _pooled(one: PooledScores) -> tuple[str, ...]:
    shares = (figure(value, 3) for value in (one.precision, one.recall, one.f1))
    return (*shares, *(count(value) for value in (one.right, one.predicted, one.gold)))


@dataclass(frozen=True, slots=True)
class SettingsView:
    """What was evaluated, the settings that all runs share, and those in which they differ."""

    evaluated: Facts
    common: Facts
    differing: PageTable | None


def settings_view(evaluation: Evaluation) -> SettingsView:
    """Return the settings."""
    corpus, runs = evaluation.corpus, evaluation.runs
    evaluated = [(name, value) for name, value in _entries(evaluation.about) if name != "machine"]
    evaluated += [(name, count(getattr(corpus, name))) for name in ("mentions", "documents", "skipped", "uncoded")]
    if evaluation.about.machine is not None:
        evaluated += [("machine", _machine(evaluation.about.machine))]
    settings = [dict(_entries(run.settings)) for run in runs]
    alike = {name: value for name, value in settings[0].items() if all(one[name] == value for one in settings)}
    other = [name for name in settings[0] if name not in alike]
    rows = tuple((run.name, *(one[name] for name in other)) for run, one in zip(runs, settings, strict=True))
    differing = PageTable("Settings in which the runs differ", ("run", *other), rows) if other else None
    return SettingsView((*evaluated, *_intervals_of(runs)), tuple(alike.items()), differing)


def _machine(machine: System) -> str:
    """Name what of a machine changes results: the processor and its kernels, and the libraries."""
    return "; ".join(
        (
            machine.processor,
            f"{machine.cores} cores",
            *(f"{name} {version}" for name, version in machine.libraries.items()),
            " ".join(machine.instruction_sets),
        )
    )


def _entries(record: object) -> Iterator[tuple[str, str]]:
    """Yield the fields of a record as a person reads them."""
    for one in fields(record):  # type: ignore[arg-type]
        yield one.name.replace("_", " "), words(_plain(getattr(record, one.name)))


def _plain(value: object) -> object:
    if isinstance(value, tuple):
        return tuple(map(_plain, value))
    return dict(_entries(value)) if hasattr(value, "__dataclass_fields__") else value


def _intervals_of(runs: Sequence[RunScores]) -> Facts:
    first = next(iter(runs[0].splits["all"].intervals.values()), None)
    if first is None:
        return ()
    drawn = f"{100 * first.level:g} %, {first.resamples:,} resamples of {first.clusters:,} "
    return (("intervals", f"{drawn}documents, or mentions without one"),)
