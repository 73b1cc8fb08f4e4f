"""What ``cielo evaluate`` shows of an evaluation: its scores for a reader, a table of mentions, the options given."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cielo.cli.base import console
from cielo.cli.tabular import refuse_given
from cielo.errors import TableError
from cielo.files import atomic_write
from cielo.tables.writing import guard_formula
from cielo.text.language import numeral, retell, say

if TYPE_CHECKING:
    from rich.console import Console

    from cielo.workbench.evaluation.records import Outcome
    from cielo.workbench.evaluation.results import CardComparison, Evaluation, RunComparison, SplitScores
    from cielo.workbench.evaluation.scores import Systems


def given_options() -> tuple[str, ...]:
    """Return the options of the running command that were given, as they are typed; paths by their last names."""
    context = click.get_current_context()
    return tuple(
        word
        for parameter in context.command.params
        if isinstance(parameter, click.Option)
        and context.get_parameter_source(parameter.name or "") not in (None, click.core.ParameterSource.DEFAULT)
        for word in _written(parameter, context.params.get(parameter.name or ""))
    )


def refuse_idle_options(showing: Mapping[str, object]) -> None:
    """Refuse options that were given and are of an output that was not asked for.

    Args:
        showing: where results go, by the names of the parameters.

    Raises:
        UsageError: where there is one.
    """
    if not showing["tsv"]:
        refuse_given({"guard_formulas": "of --tsv"})
    if not (showing["tsv"] or showing["html"] or showing["as_json"]):
        refuse_given({"with_text": "of --tsv, --html and --json"})


def _written(option: click.Option, value: object) -> Iterator[str]:
    if option.is_flag:
        yield option.opts[0] if value or not option.secondary_opts else option.secondary_opts[0]
        return
    for one in value if option.multiple and isinstance(value, tuple) else (value,):
        yield f"{option.opts[0]} {_shown(one)}"


def _shown(value: object) -> str:
    if isinstance(value, tuple):  # KIND=TABLE
        name, path = value
        return f"{name}={click.format_filename(Path(path).name)}"
    return click.format_filename(value.name) if isinstance(value, Path) else str(value)


def write_rows(path: Path, outcomes: Sequence[Outcome], systems: Systems, *, with_text: bool, guarded: bool) -> None:
    """Write a line for each mention of a run, whole or not at all.

    Raises:
        TableError: where it cannot be written.
    """
    from cielo.workbench.evaluation.analysis import columns, rows

    lines = [columns(with_text), *rows(outcomes, systems, with_text=with_text)]
    try:
        with atomic_write(path) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as stream:
            cells = ([guard_formula(cell) if guarded else cell for cell in line] for line in lines)
            stream.writelines("\t".join(line) + "\n" for line in cells)
    except OSError as error:
        raise TableError(f"{path}: cannot be written ({error.strerror})") from error


def show_scores(evaluation: Evaluation) -> None:
    """Print an evaluation for a reader: the paper's figures first, then the other scores and the comparisons."""
    from rich.markup import escape

    from cielo.workbench.evaluation.headline import gold_notes, interval_notes
    from cielo.workbench.page.parts import count, figure

    out = console()
    _show_best(evaluation, out)
    _show_paper(evaluation, out)
    _show_others(evaluation, out)
    for note in (*gold_notes(evaluation), *interval_notes(evaluation)):
        out.print(escape(note))
    for entry in evaluation.comparisons:
        out.print(escape(_compared(entry)))
    if missed := evaluation.published_missed:
        out.print(
            say(
                "the published decoding missed an output that is better by its own score on {share} % of {prompts} "
                "prompts",
                share=figure(missed.share, 1),
                prompts=count(missed.prompts),
            )
        )
    if evaluation.card is not None:
        _show_card(evaluation.card, out)


def _compared(entry: RunComparison) -> str:
    from cielo.workbench.evaluation.headline import shown_p, shown_run
    from cielo.workbench.page.parts import between, signed

    known = entry.low is not None and entry.high is not None
    return say(
        "{run} against {other}: {difference} points{ends}, p {p}; right in one alone: {second} and {first}",
        run=shown_run(entry.run),
        other=shown_run(entry.against),
        difference=signed(entry.difference),
        ends=f" ({between(signed(entry.low or 0), signed(entry.high or 0))})" if known else "",
        p=shown_p(entry.p_value, entry.resamples),
        second=entry.only_second,
        first=entry.only_first,
    )


def _show_best(evaluation: Evaluation, out: Console) -> None:
    from rich.markup import escape

    from cielo.workbench.evaluation.headline import main_score, named_best, shown_run

    run, gold = named_best(evaluation), evaluation.gold
    _, name, value = main_score(run.splits["all"])
    runs = len(evaluation.runs)
    best = say(", the best of {count} runs", count=runs) if runs > 1 else ""
    held = "" if gold is None else _percent(gold.ceiling)
    ceiling = say("; the knowledge base holds the right code of {share} %", share=held) if held else ""
    out.print(escape(f"{name} {_percent(value)} %: {shown_run(run.name)}{best}{ceiling}"))


def _show_paper(evaluation: Evaluation, out: Console) -> None:
    from rich.markup import escape
    from rich.table import Table

    from cielo.workbench.evaluation.headline import part_name, shown_paper, shown_run
    from cielo.workbench.page.parts import count

    paper = shown_paper(evaluation)
    kinds = list(dict.fromkeys(kind for one in paper for kind in (*one.map, *one.f1)))
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column(say("run"), overflow="fold")
    for name in (say("text"), "PLI", "PLII", say("ceiling"), *(("MAP", "F1") if kinds else ())):
        table.add_column(name, justify="right", no_wrap=True)
    for one in paper:
        table.add_row(
            escape(f"{shown_run(one.run)}\n{part_name(one.split, evaluation.corpus.split)}, {count(one.mentions)}"),
            *map(_percent, (one.text_accuracy, one.pli, one.plii)),
            _percent(one.ceiling),
            *(escape(_by_kind(found)) for found in ((one.map, one.f1) if kinds else ())),
        )
    table.caption_justify = "left"
    table.caption = say("as the paper: text in normal form; in per cent, but MAP and F1, which are CodiEsp's")
    out.print(table)


def _by_kind(found: dict[str, float]) -> str:
    from cielo.workbench.evaluation.gold import kind_name
    from cielo.workbench.page.parts import figure

    return "\n".join(f"{kind_name(kind)} {figure(value, 3)}" for kind, value in found.items()) or "-"


def _show_others(evaluation: Evaluation, out: Console) -> None:
    from rich.markup import escape
    from rich.table import Table

    from cielo.workbench.evaluation.headline import gold_notes, part_name, shown_run
    from cielo.workbench.page.parts import count

    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column(say("run"), overflow="fold")  # the names may be folded where the terminal is narrow; figures never
    known = (say("PLI, known"), say("PLII, known")) if gold_notes(evaluation) else ()  # else they are the same
    for name in ("PLI", "PLII", *known, say("3 char."), "recall@5", "MRR", say("answered")):
        table.add_column(name, justify="right", no_wrap=True)
    for run in evaluation.runs:
        for name, split in run.splits.items():
            shown = [_with_interval(split, key) for key in ("pli", "plii", "accuracy_3")]
            shown[2:2] = map(_percent, (split.pli_known, split.plii_known) if known else ())
            others = map(_percent, (split.recall_at_5, split.mrr, split.coverage))
            part = part_name(name, evaluation.corpus.split)
            table.add_row(escape(f"{shown_run(run.name)}\n{part}, {count(split.count)}"), *shown, *others)
    table.caption, table.caption_justify = say("in per cent; below a share its 95 % interval"), "left"
    out.print(table)


def _show_card(card: CardComparison, out: Console) -> None:
    from rich.markup import escape
    from rich.table import Table

    from cielo.workbench.evaluation.first_views import card_difference, card_name
    from cielo.workbench.evaluation.headline import shown_run
    from cielo.workbench.page.parts import figure

    table = Table(box=None, pad_edge=False, header_style="dim")
    named = {"run": shown_run(card.run), "model": card.model}
    out.print(escape(say("{run} beside the card of {model}, in per cent", **named)))
    for name in ("", say("card"), say("measured"), say("difference")):
        table.add_column(name, justify="right" if name else "left", no_wrap=True)
    for one in card.scores:
        figures = f"{figure(one.card)} ± {figure(one.spread)}", _percent(one.measured), card_difference(one)
        table.add_row(card_name(one), *figures)
    out.print(table)
    spent = say("not known") if card.seconds is None else f"{figure(card.seconds, 1)} s"
    hardware = retell(card.hardware) or say("not known")
    out.print(escape(say("linking: {spent}; hardware: {hardware}", spent=spent, hardware=hardware)))
    for words in card.differences:
        out.print(escape(say("differs: {what}", what=retell(words))))


def _percent(value: float | None) -> str:
    return "-" if value is None else numeral(f"{value:.2f}")


def _with_interval(split: SplitScores, key: str) -> str:
    value, interval = getattr(split, key), split.intervals.get(key)
    return _percent(value) + ("" if interval is None else numeral(f"\n{interval.low:.1f}-{interval.high:.1f}"))
