"""The evaluation as one HTML page: no network, no script, plots as inline SVG, light and dark.

It is made of the record that `summary.summarize` returns, so that a page can be made again from a kept JSON file
(`results.from_json`). It holds scores, counts, names and hashes, and no clinical text.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from cielo.errors import TableError
from cielo.text.visible import visible
from cielo.workbench.evaluation import breakdowns, views
from cielo.workbench.evaluation.results import CorpusSummary, Evaluation, RunScores
from cielo.workbench.evaluation.summary import gold_notes
from cielo.workbench.evaluation.views import best_known, interval_of
from cielo.workbench.page import render
from cielo.workbench.page.parts import Facts, PageTable, Tile, count, many, words
from cielo.workbench.records import write_text

_FEW_DOCUMENTS = 20  # from which intervals are not to be relied on
_OPEN = 10  # skipped places that are shown without being asked for


def write_page(path: Path, evaluation: Evaluation) -> None:
    """Write the page of an evaluation, whole or not at all.

    Raises:
        TableError: where it cannot be written; it names `path`.
        CieloError: where the extra ``report`` is not installed.
    """
    write_text(path, to_html(evaluation), TableError)


@dataclass(frozen=True, slots=True)
class _SkippedView:
    shown: str
    table: PageTable | None
    open: bool


@dataclass(frozen=True, slots=True)
class _View:
    """What the template shows, in its order; what is None or empty is left out."""

    corpus: str
    corpus_hash: str
    below: tuple[str, ...]
    tiles: tuple[Tile, ...]
    caveats: tuple[str, ...]
    first: str
    splits: Sequence[views.SplitView]
    shapes: Facts
    comparisons: views.ComparisonsView | None
    withholding: views.WithholdingView | None
    reliability: Sequence[views.ReliabilityView]
    qualities: Facts
    groups: Sequence[breakdowns.GroupView]
    mistakes: breakdowns.MistakesView
    codiesp: breakdowns.CodiEspView | None
    skipped: _SkippedView | None
    settings: breakdowns.SettingsView


def to_html(evaluation: Evaluation) -> str:
    """Return the page of an evaluation.

    Raises:
        CieloError: where the extra ``report`` is not installed.
    """
    about, runs = evaluation.about, evaluation.runs
    view = _View(
        corpus=words(about.corpus),
        corpus_hash=f"@{about.corpus_sha256[:12]}" if about.corpus_sha256 else "",
        below=tuple(_below(evaluation)),
        tiles=tuple(_tiles(evaluation.corpus, runs[0])),
        caveats=(*gold_notes(evaluation), *_caveats(evaluation.corpus, runs[0])),
        first=runs[0].name,
        splits=views.split_views(runs),
        shapes=tuple((label, shape) for _, label, shape in views.MEASURES),
        comparisons=views.comparisons_view(evaluation),
        withholding=views.withholding_view(runs),
        reliability=[views.reliability_view(visible(name), one) for name, one in evaluation.calibration.items()],
        qualities=tuple((label, shape) for _, label, shape in views.QUALITIES),
        groups=breakdowns.group_views(runs[0]),
        mistakes=breakdowns.mistakes_view(runs),
        codiesp=breakdowns.codiesp_view(runs),
        skipped=_skipped(evaluation.corpus),
        settings=breakdowns.settings_view(evaluation),
    )
    return render.render("evaluation.html.j2", f"cielo evaluate: {view.corpus}", view)


def _below(evaluation: Evaluation) -> Iterator[str]:
    """Yield the lines below the headline."""
    about = evaluation.about
    if about.bundle:
        yield f"bundle {about.bundle}"
    elif about.encoder:
        yield f"stored outputs; encoder of {about.encoder}"
    if about.knowledge_base:
        named = about.knowledge_base
        listed = named if isinstance(named, str) else "; ".join(
            f"{one.name}, {one.kind}, {one.rows:,} rows, {one.rejected:,} rejected" for one in named
        )  # fmt: skip
        yield f"knowledge base: {listed}"


def _tiles(corpus: CorpusSummary, run: RunScores) -> Iterator[Tile]:
    split = run.splits["test"]
    among = f" in {many(corpus.documents, 'document')}" if corpus.documents else ""
    yield Tile(count(corpus.mentions), "", f"annotated mentions{among} were scored")
    key, name, value = best_known(split)
    low, high = interval_of(split, key)
    interval = "" if low is None or high is None else f" (95\u00a0%: {low:.1f} to {high:.1f})"
    yield Tile(f"{value:.1f}", "%", f"{name} of “{run.name}”: the first code is right{interval}")
    yield Tile(f"{split.accuracy_3:.1f}", "%", "are right in the first three characters of the code")
    beside = "" if split.accuracy_covered is None else f"; of these {split.accuracy_covered:.1f}\u00a0% are right"
    yield Tile(f"{split.coverage:.1f}", "%", f"got a code{beside}")
    yield Tile(count(corpus.skipped), "", "places of the corpus were skipped")


def _caveats(corpus: CorpusSummary, run: RunScores) -> Iterator[str]:
    """Say what makes the figures worth less than they look."""
    if corpus.skipped:
        yield f"{many(corpus.skipped, 'place')} of the corpus could not be used: no score counts any (see “Skipped”)."
    if corpus.uncoded:
        yield f"Left out, since no table maps their annotation to a code: {many(corpus.uncoded, 'mention')}."
    yield from corpus.notes
    if not corpus.documents:
        yield (
            "The corpus names no documents, so that the intervals take every mention for independent. Where mentions "
            "come from the same texts, the intervals are too narrow."
        )
    elif corpus.documents < _FEW_DOCUMENTS:
        among = many(corpus.documents, "document")
        yield f"Intervals are resampled from {among} only: they are a rough guide, no more."
    if not {"test_seen", "test_unseen"} & set(run.splits):
        yield "No training mentions were given: how many of these the model has seen before is not known."


def _skipped(corpus: CorpusSummary) -> _SkippedView | None:
    places = corpus.skipped_places
    if not places and not corpus.skipped:
        return None
    listed_of = f"{len(places):,} of " if len(places) < corpus.skipped else ""
    rows = tuple((entry.place, entry.reason) for entry in places)
    return _SkippedView(
        shown=listed_of + many(max(corpus.skipped, len(places)), "place"),
        table=PageTable("Places that were skipped", ("place", "reason"), rows) if rows else None,
        open=len(places) <= _OPEN,
    )
