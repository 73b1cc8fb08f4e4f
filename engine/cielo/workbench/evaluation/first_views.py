"""What the page of an evaluation shows first, and what it shows only if asked for: mistakes with their texts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from cielo.text.language import retell, say, sentence
from cielo.workbench.evaluation.gold import kind_name
from cielo.workbench.evaluation.headline import main_score, named_best, part_name, shown_paper, shown_run
from cielo.workbench.evaluation.results import CardComparison, CardScore, Evaluation, KnowledgeSource, PaperScores
from cielo.workbench.evaluation.views import interval_of, seconds
from cielo.workbench.page.parts import DASH, PageCell, PageTable, Tile, between, class_name, count, figure, many, signed

DOCUMENTS = sentence("{count} document"), sentence("{count} documents")
_GIGABYTE = 1e9
_UNSEEN = sentence("unseen")  # a split of the card


def header_lines(evaluation: Evaluation) -> Iterator[str]:
    """Yield the lines below the page's title: bundle, knowledge base, when and where, and the options."""
    about, machine = evaluation.about, evaluation.about.machine
    if about.bundle:
        yield say("bundle {name}", name=about.bundle)
    elif about.encoder:
        yield say("stored outputs; encoder of {bundle}", bundle=about.encoder)
    if about.knowledge_base:
        named = about.knowledge_base
        yield say("knowledge base: {named}", named=named if isinstance(named, str) else "; ".join(map(_source, named)))
    made = about.made.replace("T", " ").replace("+00:00", " UTC")
    libraries = {} if machine is None else machine.libraries
    versions = [f"{name} {version}" for name, version in libraries.items()]
    if made or versions:
        yield " · ".join(filter(None, (made, *versions)))
    if machine is not None:
        gigabytes = None if machine.memory is None else figure(machine.memory / _GIGABYTE, 0)
        memory = "" if gigabytes is None else say("{size} GB of memory", size=gigabytes)
        yield " · ".join(filter(None, (machine.processor, say("{count} cores", count=machine.cores), memory)))
    if about.options:
        yield say("options: {options}", options=" ".join(about.options))


def _source(one: KnowledgeSource) -> str:
    return say(
        "{name}, {kind}, {rows} rows, {rejected} rejected",
        name=one.name,
        kind=kind_name(one.kind),
        rows=count(one.rows),
        rejected=count(one.rejected),
    )


def tiles(evaluation: Evaluation) -> Iterator[Tile]:
    """Yield the figures that a reader looks for: those of the best run, and the ceiling."""
    corpus, run = evaluation.corpus, named_best(evaluation)
    split = run.splits["all"]
    of = "" if corpus.split is None else say(" of the split “{split}”", split=corpus.split)
    among = say(" in {documents}", documents=many(corpus.documents, *DOCUMENTS)) if corpus.documents else ""
    yield Tile(count(corpus.mentions), "", say("annotated mentions{of}{among} were scored", of=of, among=among))
    key, name, value = main_score(split)
    low, high = interval_of(split, key)
    interval = "" if low is None or high is None else f" (95\u00a0%: {between(figure(low, 1), figure(high, 1))})"
    runs = len(evaluation.runs)
    best = "" if runs == 1 else say(", the best of {count} runs", count=runs)
    words = say("{measure} of “{run}”{best}: the first code is right{interval}", measure=name, run=shown_run(run.name),
                best=best, interval=interval)  # fmt: skip
    yield Tile(figure(value, 1), "%", words)
    if split.known is not None:
        words = say("have a right code that the knowledge base holds: no run can have more right")
        yield Tile(figure(100 * split.known / split.count, 1), "%", words)
    yield Tile(figure(split.accuracy_3, 1), "%", say("are right in the first three characters of the code"))
    covered = split.accuracy_covered
    beside = "" if covered is None else say("; of these {share}\u00a0% are right", share=figure(covered, 1))
    yield Tile(figure(split.coverage, 1), "%", say("got a code{beside}", beside=beside))
    yield Tile(count(corpus.skipped), "", say("places of the corpus were skipped"))


def paper_table(evaluation: Evaluation) -> PageTable | None:
    """Return what the paper shows of each run and part of the mentions; None where it was not kept."""
    shown = shown_paper(evaluation)
    if not shown:
        return None
    kinds = list(dict.fromkeys(kind for one in shown for kind in (*one.map, *one.f1)))
    measures = [f"{measure}, {kind_name(kind)}" for measure in ("MAP", "F1") for kind in kinds]
    head = (say("run"), say("text"), "PLI", "PLII", say("ceiling"), *measures)
    rows = tuple(_paper_row(one, kinds, evaluation.corpus.split) for one in shown)
    return PageTable(say("What the paper shows, of each run"), head, rows)


def _paper_row(one: PaperScores, kinds: Iterable[str], split: str | None) -> tuple[str | PageCell, ...]:
    measures = [figure(found.get(kind), 3) for found in (one.map, one.f1) for kind in kinds]
    shares = map(figure, (one.text_accuracy, one.pli, one.plii))
    name = PageCell(shown_run(one.run), f"{part_name(one.split, split)}, {count(one.mentions)}")
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
        (
            card_name(one),
            PageCell(figure(one.card), f"± {figure(one.spread)}"),
            figure(one.measured),
            card_difference(one),
        )
        for one in found.scores
    )
    head = ("", say("card"), say("measured"), say("difference"))
    table = PageTable(say("The card’s figures and those measured"), head, rows)
    spent = " · ".join(
        filter(None, ("" if found.seconds is None else f"{seconds(found.seconds)} s", retell(found.hardware)))
    )
    return CardView(shown_run(found.run), found.model, table, spent, tuple(map(retell, found.differences)))


def card_name(one: CardScore) -> str:
    """Name a figure of the card."""
    return one.measure if one.split == "all" else f"{one.measure}, {say(one.split)}"


def card_difference(one: CardScore) -> str:
    """Write by how much what was measured differs from the card."""
    return DASH if one.measured is None else signed(one.measured - one.card)


def examples_table(evaluation: Evaluation) -> PageTable | None:
    """Return the mistakes with their texts; None where they were not asked for."""
    if not evaluation.examples:
        return None
    rows = tuple(
        (
            class_name(one.name),
            one.mention,
            " ".join(filter(None, (", ".join(one.codes), one.right_description))),
            " ".join(filter(None, (one.code, one.description))) or DASH,
            one.generated or DASH,
            one.sentence or DASH,
        )
        for one in evaluation.examples
    )
    head = (say("class"), say("mention"), say("right"), say("answered"), say("generated"), say("sentence"))
    return PageTable(say("Examples of mistakes"), head, rows)
