"""What the page of an evaluation shows beyond its runs' scores: groups, mistakes, CodiEsp's measures and settings."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields

from cielo.text.language import numeral, say, sentence
from cielo.text.visible import visible
from cielo.workbench.bench.system import System
from cielo.workbench.evaluation.analysis import Quartiles
from cielo.workbench.evaluation.gold import kind_name
from cielo.workbench.evaluation.headline import shown_run
from cielo.workbench.evaluation.results import Evaluation, PooledScores, RunScores
from cielo.workbench.evaluation.scores import Scores
from cielo.workbench.page import plots
from cielo.workbench.page.canvas import Picture
from cielo.workbench.page.parts import DASH, Facts, PageCell, PageTable, between, class_name, count, figure, words

_FEW_MENTIONS = 20  # a group of fewer is drawn faintly
# Classes of mistakes: the name in a bar, what it means, and a colour light enough in both schemes for dark letters.
_MISTAKES = {
    sentence("near: parent"): (sentence("parent"), sentence("parent: the answer is less specific"), "#9cc5f2"),
    sentence("near: child"): (sentence("child"), sentence("child: the answer is more specific"), "#6ea9ea"),
    sentence("near: sibling"): (sentence("sibling"), sentence("sibling: of the same category"), "#86d3b4"),
    sentence("same chapter"): (sentence("chapter"), sentence("same chapter, or section"), "#f3c75b"),
    sentence("other"): (sentence("other"), sentence("anything else"), "#f0918a"),
    sentence("wrong kind"): (sentence("kind"), sentence("of the wrong kind"), "#c5a9ee"),
    "none": ("none", sentence("no answer"), "#c6c3bc"),
}
# What the fields of the records of settings are called; a test holds it to the records.
SETTINGS = (
    sentence("corpus"), sentence("corpus sha256"), sentence("training"), sentence("bundle"),
    sentence("knowledge base"), sentence("encoder"), sentence("made"), sentence("options"), sentence("machine"),
    sentence("mentions"), sentence("documents"), sentence("skipped"), sentence("uncoded"), sentence("name"),
    sentence("rows"), sentence("rejected"), sentence("kind"), sentence("sha256"), sentence("edition"),
    sentence("decoding"), sentence("backend"), sentence("compute type"), sentence("device"), sentence("pipeline"),
    sentence("matching"), sentence("top k"), sentence("rerank"), sentence("min confidence"), sentence("subset"),
    sentence("lexicon"), sentence("chapters"), sentence("leaf"), sentence("codes"),
)  # fmt: skip
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
        (say("By kind"), say("The kind that the annotators gave."), found.kinds),
        (say("By method"), say("How the answer was found; mentions without an answer count as wrong."), found.methods),
    ]
    for kind, chapters in found.chapters.items():
        title = say("By chapter: {kind}", kind=visible(kind_name(kind)))
        shown.append((title, say("The chapter, or section, of the right code."), chapters))
    return [_group_view(title, what, groups) for title, what, groups in shown if groups]


def _group_view(title: str, what: str, groups: dict[str, Scores]) -> GroupView:
    rows = [
        plots.Bar(
            visible(kind_name(name)), one.accuracy, one.accuracy_3, f"n {count(one.count)}", one.count < _FEW_MENTIONS
        )
        for name, one in groups.items()
    ]
    label = say("{title}: accuracy of each group and its mentions", title=title)
    picture = plots.bars(rows, say("share that is right, %"), label)
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
        plots.Stack(
            visible(shown_run(run.name)), say("{share} % wrong", share=figure(100 * sum(found.values()), 1)), found
        )
        for run, found in zip(runs, shares, strict=True)
    ]
    picture = plots.stacked(
        stacks,
        say("Share of each kind of mistake in all mentions, for each run; the table below has the counts"),
        {short: colour for short, _, colour in _MISTAKES.values()},
        full=max(sum(found.values()) for found in shares) or 1.0,
        inside=_INSIDE,
        axis=say("share of all mentions, %"),
    )
    counts = [{str(one.name): one.count for one in run.errors} for run in runs]
    names = (sentence("right"), *_MISTAKES)
    rows = tuple((class_name(name), *(count(found.get(name)) for found in counts)) for name in names)
    head = (say("mentions"), *(shown_run(run.name) for run in runs))
    table = PageTable(say("Mentions of each class, for each run"), head, rows)
    keys = tuple((say(long), colour) for _, long, colour in _MISTAKES.values())
    return MistakesView(keys, picture, table, len(runs) > 2, _sureness(best))


def _sureness(run: RunScores) -> PageTable | None:
    """Return how sure the answers of each class were."""
    entries = [entry for entry in run.errors if entry.count]
    names = (sentence("confidence"), sentence("probability"), sentence("distance"))
    shown = [name for name in names if any(getattr(one, name) for one in entries)]
    if not shown:
        return None
    rows: list[tuple[str | PageCell, ...]] = [
        (class_name(entry.name), count(entry.count), *(_quartiles(getattr(entry, name)) for name in shown))
        for entry in entries
    ]
    head = (say("class"), say("mentions"), *(say("{measure}, median", measure=say(name)) for name in shown))
    return PageTable(say("How sure answers of each class are"), head, tuple(rows))


def _quartiles(found: Quartiles | None) -> PageCell:
    if found is None:
        return PageCell(DASH)
    return PageCell(figure(found.median, 3), between(figure(found.low, 3), figure(found.high, 3)))


@dataclass(frozen=True, slots=True)
class CodiEspView:
    """CodiEsp's measures of the runs that have them; `positions` is None where the corpus names none."""

    ranked: PageTable
    positions: PageTable | None


def codiesp_view(runs: Sequence[RunScores]) -> CodiEspView | None:
    """Return CodiEsp's measures, None where no run has them."""
    found = [(shown_run(run.name), run.codiesp) for run in runs if run.codiesp is not None]
    if not found:
        return None
    ranked = tuple(
        (
            name,
            kind_name(kind),
            figure(one.map.value, 3),
            figure(one.map.script, 3),
            count(one.map.documents),
            *_pooled(one.micro),
        )
        for name, scores in found
        for kind, one in scores.kinds.items()
    )
    placed = tuple(
        (name, title, *_pooled(one))
        for name, scores in found
        for one, title in (
            (scores.positions, say("as the task’s script")),
            (scores.matched_positions, say("mention by mention")),
        )
        if one is not None
    )
    pooled = (say("precision"), say("recall"), "F1", say("right"), say("answered"), say("gold"))
    head = (say("run"), say("kind"), "MAP", say("MAP (script)"), say("documents"), *pooled)
    places = (say("run"), say("positions"), *pooled)
    return CodiEspView(
        PageTable(say("CodiEsp’s measures of each run and kind"), head, ranked),
        PageTable(say("CodiEsp’s measures of positions"), places, placed) if placed else None,
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
    evaluated = [(name, value) for name, value in _entries(evaluation.about) if name != say("machine")]
    evaluated += [(say(name), count(getattr(corpus, name))) for name in ("mentions", "documents", "skipped", "uncoded")]
    if evaluation.about.machine is not None:
        evaluated += [(say("machine"), _machine(evaluation.about.machine))]
    settings = [dict(_entries(run.settings)) for run in runs]
    alike = {name: value for name, value in settings[0].items() if all(one[name] == value for one in settings)}
    other = [name for name in settings[0] if name not in alike]
    rows = tuple((shown_run(run.name), *(one[name] for name in other)) for run, one in zip(runs, settings, strict=True))
    table = PageTable(say("Settings in which the runs differ"), (say("run"), *other), rows)
    return SettingsView((*evaluated, *_intervals_of(runs)), tuple(alike.items()), table if other else None)


def _machine(machine: System) -> str:
    """Name what of a machine changes results: the processor and its kernels, and the libraries."""
    return "; ".join(
        (
            machine.processor,
            say("{count} cores", count=machine.cores),
            *(f"{name} {version}" for name, version in machine.libraries.items()),
            " ".join(machine.instruction_sets),
        )
    )


def _entries(record: object) -> Iterator[tuple[str, str]]:
    """Yield the fields of a record as a person reads them."""
    for one in fields(record):  # type: ignore[arg-type]
        yield say(one.name.replace("_", " ")), words(_plain(getattr(record, one.name)))


def _plain(value: object) -> object:
    if isinstance(value, tuple):
        return tuple(map(_plain, value))
    return dict(_entries(value)) if hasattr(value, "__dataclass_fields__") else value


def _intervals_of(runs: Sequence[RunScores]) -> Facts:
    first = next(iter(runs[0].splits["all"].intervals.values()), None)
    if first is None:
        return ()
    drawn = say(
        "{level} %, {resamples} resamples of {clusters} documents, or mentions without one",
        level=numeral(f"{100 * first.level:g}"),
        resamples=count(first.resamples),
        clusters=count(first.clusters),
    )
    return ((say("intervals"), drawn),)
