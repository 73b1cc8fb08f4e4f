"""What the page of an evaluation shows first, and what it shows only if asked for: mistakes with their texts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from cielo.workbench.evaluation.headline import main_score, named_best, part_name, shown_paper
from cielo.workbench.evaluation.results import CardComparison, CardScore, Evaluation, PaperScores
from cielo.workbench.evaluation.views import interval_of, seconds
from cielo.workbench.page.parts import DASH, PageCell, PageTable, Tile, count, figure, many

_GIGABYTE = 1e9


def header_lines(evaluation: Evaluation) -> Iterator[str]:
    """Yield the lines below the page's title: bundle, knowledge base, when and where, and the options."""
    about, machine = evaluation.about, evaluation.about.machine
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
    made = about.made.replace("T", " ").replace("+00:00", " UTC")
    libraries = {} if machine is None else machine.libraries
    versions = [f"{name} {version}" for name, version in libraries.items()]
    if made or versions:
        yield " · ".join(filter(None, (made, *versions)))
    if machine is not None:
        memory = "" if machine.memory is None else f"{machine.memory / _GIGABYTE:.0f} GB of memory"
        yield " · ".join(filter(None, (machine.processor, f"{machine.cores} cores", memory)))
    if about.options:
        yield f"options: {' '.join(about.options)}"


def tiles(evaluation: Evaluation) -> Iterator[Tile]:
    """Yield the figures that a reader looks for: those of the best run, and the ceiling."""
    corpus, run = evaluation.corpus, named_best(evaluation)
    split = run.splits["all"]
    of = "" if corpus.split is None else f" of the split “{corpus.split}”"
    among = f" in {many(corpus.documents, 'document')}" if corpus.documents else ""
    yield Tile(count(corpus.mentions), "", f"annotated mentions{of}{among} were scored")
    key, name, value = main_score(split)
    low, high = interval_of(split, key)
    interval = "" if low is None or high is None else f" (95\u00a0%: {low:.1f} to {high:.1f})"
    best = "" if len(evaluation.runs) == 1 else f", the best of {len(evaluation.runs)} runs"
    yield Tile(f"{value:.1f}", "%", f"{name} of “{run.name}”{best}: the first code is right{interval}")
    if split.known is not None:
        words = "have a right code that the knowledge base holds: no run can have more right"
        yield Tile(f"{100 * split.known / split.count:.1f}", "%", words)
    yield Tile(f"{split.accuracy_3:.1f}", "%", "are right in the first three characters of the code")
    beside = "" if split.accuracy_covered is None else f"; of these {split.accuracy_covered:.1f}\u00a0% are right"
    yield Tile(f"{split.coverage:.1f}", "%", f"got a code{beside}")
    yield Tile(count(corpus.skipped), "", "places of the corpus were skipped")


def paper_table(evaluation: Evaluation) -> PageTable | None:
    """Return what the paper shows of each run and part of the mentions; None where it was not kept."""
    shown = shown_paper(evaluation)
    if not shown:
        return None
    kinds = list(dict.fromkeys(kind for one in shown for kind in (*one.map, *one.f1)))
    measures = [f"{measure}, {kind}" for measure in ("MAP", "F1") for kind in kinds]
    head = ("run", "text", "PLI", "PLII", "ceiling", *measures)
    rows = tuple(_paper_row(one, kinds, evaluation.corpus.split) for one in shown)
    return PageTable("What the paper shows, of each run", head, rows)


def _paper_row(one: PaperScores, kinds: Iterable[str], split: str | None) -> tuple[str | PageCell, ...]:
    measures = [figure(found.get(kind), 3) for found in (one.map, one.f1) for kind in kinds]
    shares = map(figure, (one.text_accuracy, one.pli, one.plii))
    name = PageCell(one.run, f"{part_name(one.split, split)}, {count(one.mentions)}")
    return (name, *shares, figure(one.ceiling), *measures)


@dataclass(frozen=True, slots=True)
class CardView:
    """The model card's figures beside those of a run."""

    run: str
    model: str
    table: PageTable
    spent: str
    differences: tuple[str, ...]


def card_view(found: CardComparison | None) -> CardView | None:
    """Return the comparison with the model card, None where it was not asked for."""
    if found is None:
        return None
    rows = tuple(
        (card_name(one), PageCell(f"{one.card:.2f}", f"± {one.spread:.2f}"), figure(one.measured), card_difference(one))
        for one in found.scores
    )
    table = PageTable("The card’s figures and those measured", ("", "card", "measured", "difference"), rows)
    spent = " · ".join(filter(None, ("" if found.seconds is None else f"{seconds(found.seconds)} s", found.hardware)))
    return CardView(found.run, found.model, table, spent, found.differences)


def card_name(one: CardScore) -> str:
    """Name a figure of the card."""
    return one.measure if one.split == "all" else f"{one.measure}, {one.split}"


def card_difference(one: CardScore) -> str:
    """Write by how much what was measured differs from the card."""
    return DASH if one.measured is None else f"{one.measured - one.card:+.2f}"


def examples_table(evaluation: Evaluation) -> PageTable | None:
    """Return the mistakes with their texts; None where they were not asked for."""
    if not evaluation.examples:
        return None
    rows = tuple(
        (
            one.name,
            one.mention,
            " ".join(filter(None, (", ".join(one.codes), one.right_description))),
            " ".join(filter(None, (one.code, one.description))) or DASH,
            one.generated or DASH,
            one.sentence or DASH,
        )
        for one in evaluation.examples
    )
    return PageTable("Examples of mistakes", ("class", "mention", "right", "answered", "generated", "sentence"), rows)
