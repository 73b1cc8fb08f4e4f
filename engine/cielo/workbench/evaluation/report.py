"""The evaluation as one HTML page: no network, no script, plots as inline SVG, light and dark.

It is made of the record that `summary.summarize` returns, so that a page can be made again from a kept JSON file
(`results.from_json`). It holds scores, counts, names and hashes, and clinical text only where examples were asked for.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from cielo.errors import TableError
from cielo.text.language import retell, say, sentence
from cielo.text.visible import visible
from cielo.workbench.evaluation import breakdowns, first_views, views
from cielo.workbench.evaluation.bootstrap import FEWEST
from cielo.workbench.evaluation.headline import gold_notes, interval_notes, named_best, shown_run
from cielo.workbench.evaluation.results import CorpusSummary, Evaluation
from cielo.workbench.page import render
from cielo.workbench.page.parts import Facts, PageTable, Tile, count, many, words
from cielo.workbench.records import write_text

_FEW_DOCUMENTS = 20  # from which intervals are not to be relied on
_PLACES = sentence("{count} place"), sentence("{count} places")
_MENTIONS = sentence("{count} mention"), sentence("{count} mentions")
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
    paper: PageTable | None
    card: first_views.CardView | None
    caveats: tuple[str, ...]
    best: str
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
    examples: PageTable | None
    skipped: _SkippedView | None
    settings: breakdowns.SettingsView


def to_html(evaluation: Evaluation) -> str:
    """Return the page of an evaluation, in the language of `cielo.text.language.speaking`.

    Raises:
        CieloError: where the extra ``report`` is not installed.
    """
    about, runs = evaluation.about, evaluation.runs
    view = _View(
        corpus=words(about.corpus),
        corpus_hash=f"@{about.corpus_sha256[:12]}" if about.corpus_sha256 else "",
        below=tuple(first_views.header_lines(evaluation)),
        tiles=tuple(first_views.tiles(evaluation)),
        paper=first_views.paper_table(evaluation),
        card=first_views.card_view(evaluation.card),
        caveats=(*gold_notes(evaluation), *interval_notes(evaluation), *_caveats(evaluation)),
        best=shown_run(named_best(evaluation).name),
        first=shown_run(runs[0].name),
        splits=views.split_views(runs),
        shapes=views.legend(views.MEASURES),
        comparisons=views.comparisons_view(evaluation),
        withholding=views.withholding_view(runs),
        reliability=[views.reliability_view(visible(name), one) for name, one in evaluation.calibration.items()],
        qualities=views.legend(views.QUALITIES),
        groups=breakdowns.group_views(named_best(evaluation)),
        mistakes=breakdowns.mistakes_view(runs, named_best(evaluation)),
        codiesp=breakdowns.codiesp_view(runs),
        examples=first_views.examples_table(evaluation),
        skipped=_skipped(evaluation.corpus),
        settings=breakdowns.settings_view(evaluation),
    )
    return render.render("evaluation.html.j2", f"cielo evaluate: {view.corpus}", view)


def _caveats(evaluation: Evaluation) -> Iterator[str]:
    """Say what a reader must know first: that texts are there, and what makes the figures worth less than they look."""
    corpus, runs = evaluation.corpus, evaluation.runs
    if evaluation.examples:
        yield say("This page holds clinical text, the examples of mistakes, since --with-text asked for them.")
    if len(runs) > 1:
        yield say(
            "“{run}” is the best of {count} runs on these very mentions: what was chosen so looks better than it is.",
            run=shown_run(evaluation.best),
            count=len(runs),
        )
    if corpus.skipped:
        places = many(corpus.skipped, *_PLACES)
        yield say("{places} of the corpus could not be used: no score counts any (see “Skipped”).", places=places)
    if corpus.uncoded:
        mentions = many(corpus.uncoded, *_MENTIONS)
        yield say("Left out, since no table maps their annotation to a code: {mentions}.", mentions=mentions)
    yield from map(retell, corpus.notes)
    if not corpus.documents:
        yield say(
            "The corpus names no documents, so that the intervals take every mention for independent. Where mentions "
            "come from the same texts, the intervals are too narrow."
        )
    elif FEWEST <= corpus.documents < _FEW_DOCUMENTS:
        among = many(corpus.documents, *first_views.DOCUMENTS)
        yield say("Intervals are resampled from {documents} only: they are a rough guide, no more.", documents=among)
    if not {"seen", "unseen"} & set(runs[0].splits):
        yield say("No training mentions were given: how many of these the model has seen before is not known.")


def _skipped(corpus: CorpusSummary) -> _SkippedView | None:
    places = corpus.skipped_places
    if not places and not corpus.skipped:
        return None
    every = many(max(corpus.skipped, len(places)), *_PLACES)
    rows = tuple((retell(entry.place), retell(entry.reason)) for entry in places)
    return _SkippedView(
        shown=say("{some} of {all}", some=count(len(places)), all=every) if len(places) < corpus.skipped else every,
        table=PageTable(say("Places that were skipped"), (say("place"), say("reason")), rows) if rows else None,
        open=len(places) <= _OPEN,
    )
