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

if TYPE_CHECKING:
    from rich.console import Console

    from cielo.workbench.evaluation.records import Outcome
    from cielo.workbench.evaluation.results import CardComparison, Evaluation, SplitScores
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

    from cielo.workbench.evaluation.headline import gold_notes, interval_notes, shown_p

    out = console()
    _show_best(evaluation, out)
    _show_paper(evaluation, out)
    _show_others(evaluation, out)
    for note in (*gold_notes(evaluation), *interval_notes(evaluation)):
        out.print(escape(note))
    for entry in evaluation.comparisons:
        ends = "" if entry.low is None or entry.high is None else f" ({entry.low:+.2f} to {entry.high:+.2f})"
        out.print(
            f"{escape(entry.run)} against {escape(entry.against)}: {entry.difference:+.2f} points{ends}, "
            f"p {shown_p(entry.p_value, entry.resamples)}; right in one alone: "
            f"{entry.only_second} and {entry.only_first}"
        )
    if missed := evaluation.published_missed:
        out.print(
            f"the published decoding missed an output that is better by its own score on {missed.share:.1f} % of "
            f"{missed.prompts:,} prompts"
        )
    if evaluation.card is not None:
        _show_card(evaluation.card, out)


def _show_best(evaluation: Evaluation, out: Console) -> None:
    from rich.markup import escape

    from cielo.workbench.evaluation.headline import main_score, named_best

    run, gold = named_best(evaluation), evaluation.gold
    _, name, value = main_score(run.splits["all"])
    best = f", the best of {len(evaluation.runs)} runs" if len(evaluation.runs) > 1 else ""
    ceiling = "" if gold is None else f"; the knowledge base holds the right code of {gold.ceiling:.2f} %"
    out.print(f"{name} {value:.2f} %: {escape(run.name)}{best}{ceiling}")


def _show_paper(evaluation: Evaluation, out: Console) -> None:
    from rich.markup import escape
    from rich.table import Table

    from cielo.workbench.evaluation.headline import part_name, shown_paper

    paper = shown_paper(evaluation)
    kinds = list(dict.fromkeys(kind for one in paper for kind in (*one.map, *one.f1)))
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("run", overflow="fold")
    for name in ("text", "PLI", "PLII", "ceiling", *(("MAP", "F1") if kinds else ())):
        table.add_column(name, justify="right", no_wrap=True)
    for one in paper:
        table.add_row(
            escape(f"{one.run}\n{part_name(one.split, evaluation.corpus.split)}, {one.mentions:,}"),
            *map(_percent, (one.text_accuracy, one.pli, one.plii)),
            _percent(one.ceiling),
            *(escape(_by_kind(found)) for found in ((one.map, one.f1) if kinds else ())),
        )
    table.caption_justify = "left"
    table.caption = "as the paper: text in normal form; in per cent, but MAP and F1, which are CodiEsp's"
    out.print(table)


def _by_kind(found: dict[str, float]) -> str:
    return "\n".join(f"{kind} {value:.3f}" for kind, value in found.items()) or "-"


def _show_others(evaluation: Evaluation, out: Console) -> None:
    from rich.markup import escape
    from rich.table import Table

    from cielo.workbench.evaluation.headline import gold_notes, part_name

    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("run", overflow="fold")  # the names may be folded where the terminal is narrow; figures never
    known = ("PLI, known", "PLII, known") if gold_notes(evaluation) else ()  # else they are the same
    for name in ("PLI", "PLII", *known, "3 char.", "recall@5", "MRR", "answered"):
        table.add_column(name, justify="right", no_wrap=True)
    for run in evaluation.runs:
        for name, split in run.splits.items():
            shown = [_with_interval(split, key) for key in ("pli", "plii", "accuracy_3")]
            shown[2:2] = map(_percent, (split.pli_known, split.plii_known) if known else ())
            others = map(_percent, (split.recall_at_5, split.mrr, split.coverage))
            part = part_name(name, evaluation.corpus.split)
            table.add_row(escape(f"{run.name}\n{part}, {split.count:,}"), *shown, *others)
    table.caption, table.caption_justify = "in per cent; below a share its 95 % interval", "left"
    out.print(table)


def _show_card(card: CardComparison, out: Console) -> None:
    from rich.markup import escape
    from rich.table import Table

    from cielo.workbench.evaluation.first_views import card_difference, card_name

    table = Table(box=None, pad_edge=False, header_style="dim")
    out.print(escape(f"{card.run} beside the card of {card.model}, in per cent"))
    for name in ("", "card", "measured", "difference"):
        table.add_column(name, justify="right" if name else "left", no_wrap=True)
    for one in card.scores:
        figures = f"{one.card:.2f} ± {one.spread:.2f}", _percent(one.measured), card_difference(one)
        table.add_row(card_name(one), *figures)
    out.print(table)
    spent = "not known" if card.seconds is None else f"{card.seconds:.1f} s"
    out.print(escape(f"linking: {spent}; hardware: {card.hardware or 'not known'}"))
    for words in card.differences:
        out.print(escape(f"differs: {words}"))


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _with_interval(split: SplitScores, key: str) -> str:
    value, interval = getattr(split, key), split.intervals.get(key)
    return _percent(value) + ("" if interval is None else f"\n{interval.low:.1f}-{interval.high:.1f}")
