"""``cielo link``: one mention for a reader, or the rows of a file."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import click

from cielo.cli.base import (
    EXIT_ROWS,
    UNVERIFIED,
    Size,
    console,
    linking_options,
    main,
    model_options,
    open_linker,
    require_codes,
    split_options,
    tell_problems,
)
from cielo.errors import MentionError
from cielo.records import Candidate, Link, Mention
from cielo.tables import mentions as tables

if TYPE_CHECKING:
    from cielo.link.linker import Linker

_ROWS_AT_ONCE = 512


@main.command()
@click.argument("text", required=False)
@click.option("--sentence", help="The sentence that the mention stands in.")
@click.option("--kind", help="Only codes of this kind (in the mini: diagnosis, procedure).")
@click.option("--input", "source", metavar="FILE|-", help="Rows to link: JSONL, CSV or TSV with a column `text`.")
@click.option("--output", "target", metavar="FILE|-", default="-", show_default=True, help="Where the rows go.")
@click.option(
    "--format", "form", type=click.Choice(tables.FORMATS), help="Of --input and --output, where names don't tell."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option("--top-k", type=click.IntRange(1, 100), default=5, show_default=True, help="Candidates in a result.")
@click.option(
    "--decoding",
    type=click.Choice(["published", "probable", "greedy"]),
    help="The search; default: the bundle's own.",
)
@click.option(
    "--bundle", type=click.Path(path_type=Path), envvar="CIELO_BUNDLE", help="Default: CIELO_BUNDLE, else the mini."
)
@click.option("--allow-unverified", is_flag=True, help=UNVERIFIED)
@click.option(
    "--memory", type=Size(), help="Keep the process within this much memory, such as 3GB, by making batches smaller."
)
@click.option(
    "--cache", type=click.Path(dir_okay=False, path_type=Path), help="Keep links in this file; it holds no text."
)
@click.option(
    "--lexicon",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Mentions and their codes, asked before the model.",
)
@linking_options
@model_options
def link(
    text: str | None,
    sentence: str | None,
    kind: str | None,
    source: str | None,
    target: str,
    form: tables.Format | None,
    as_json: bool,
    top_k: int,
    cache: Path | None,
    **others: Any,
) -> None:
    """Link one mention (TEXT), or the rows of a file (--input)."""
    if (text is None) == (source is None):
        raise click.UsageError("give either one TEXT or --input, not both and not neither")
    if source is not None and (sentence is not None or as_json):
        raise click.UsageError(
            "--sentence and --json belong to one TEXT; rows bring their own, and --format names their form"
        )
    options, opening = split_options(others)
    options["top_k"], opening["cache"] = top_k, cache or True
    if source is not None:
        _link_rows(source, target, form, kind, options, opening)
        return
    mention = Mention(text or "", sentence, kind)
    with open_linker(**opening) as linker:
        require_codes(linker, options["subset"])
        tell_problems(linker.lexicon_problems())
        linked = linker.link([mention], **{**options, "neighbours": "always"})[0]
    if as_json:
        click.echo(json.dumps({"text": text, "sentence": sentence, **tables.link_columns(linked)}, ensure_ascii=False))
    else:
        _show_link(linked)


def _link_rows(
    source: str,
    target: str,
    form: tables.Format | None,
    kind: str | None,
    options: dict[str, Any],
    opening: dict[str, Any],
) -> None:
    read_form = tables.format_of(source, form, None if target == "-" else tables.format_of(target, form))
    write_form = tables.format_of(target, None if target != "-" and form is None else form, read_form)
    failed = 0

    def outcomes(linker: Linker, rows: Iterable[tables.InputRow]) -> Iterator[dict[str, Any]]:
        nonlocal failed
        for row, outcome in _link_in_order(linker, rows, kind, options):
            failed += isinstance(outcome, str)
            yield tables.output_row(row, outcome)

    with tables.open_input(source) as stream, open_linker(**opening) as linker, tables.open_output(target) as output:
        require_codes(linker, options["subset"])
        tell_problems(linker.lexicon_problems())
        rows = _with_progress(tables.read_rows(stream, read_form), source, stream)
        tables.write_rows(output, write_form, outcomes(linker, rows))
    if failed:
        click.echo(f"cielo: {failed} row(s) hold an error; see their column `error`", err=True)
        sys.exit(EXIT_ROWS)


def _link_in_order(
    linker: Linker, rows: Iterable[tables.InputRow], kind: str | None, options: dict[str, Any]
) -> Iterator[tuple[tables.InputRow, Link | str]]:
    """Link what can be linked of each stretch of rows, and answer every row in its place."""
    source = iter(rows)
    while batch := list(itertools.islice(source, _ROWS_AT_ONCE)):
        mentions = [_mention_or_error(linker, row, kind) for row in batch]
        links = iter(linker.link([mention for mention in mentions if isinstance(mention, Mention)], **options))
        for row, mention in zip(batch, mentions, strict=True):
            yield row, mention if isinstance(mention, str) else next(links)


def _mention_or_error(linker: Linker, row: tables.InputRow, kind: str | None) -> Mention | str:
    try:
        mention = row.mention()
        if mention.kind is None and kind is not None:
            mention = Mention(mention.text, mention.sentence, kind, mention.id)
        linker.check(mention)
    except MentionError as error:
        return str(error)
    return mention


def _with_progress(rows: Iterable[tables.InputRow], source: str, stream: BinaryIO) -> Iterator[tables.InputRow]:
    """Show on a terminal how far the file has been read."""
    terminal = console(stderr=True)
    if not terminal.is_terminal or source == "-":
        yield from rows
        return
    from rich.progress import Progress

    with Progress(console=terminal, transient=True) as progress:
        task = progress.add_task("linking", total=os.fstat(stream.fileno()).st_size)
        for row in rows:
            yield row
            with contextlib.suppress(ValueError, OSError):
                progress.update(task, completed=stream.tell(), description=f"linking: row {row.number}")


_FOUND = {
    "exact": "exact: the generated text is a description of the knowledge base",
    "semantic": "semantic: the nearest description to the generated text",
    "lexicon": "lexicon: the mention stands in the lexicon; nothing was generated",
    "none": "none: no description lies near the generated text",
}


def _show_link(linked: Link) -> None:
    from rich.markup import escape
    from rich.table import Table

    out = console()
    out.print(_head(linked))
    if linked.title is not None and linked.title != linked.description:
        out.print(f"  title:     {escape(linked.title)}")
    if len(linked.codes) > 1:
        out.print(f"  also:      {escape(', '.join(linked.codes[1:]))}")
    out.print(f"  found by:  {_how(linked)}")
    if linked.probability is not None:
        distance = "" if linked.distance is None else f", distance {linked.distance:.3f}"
        out.print(f"  generated: {escape(linked.generated)}  (probability {linked.probability:.3f}{distance})")
    if linked.truncated:
        out.print("  note:      the prompt was longer than the model takes, and was cut")
    others = linked.candidates[1:] if linked.code else linked.candidates
    if others:
        table = Table(box=None, pad_edge=False, show_header=True, header_style="dim")
        for name in ("  runners-up", "kind", "description", "evidence"):
            table.add_column(name, no_wrap=name != "description")
        for candidate in others:
            evidence = ", ".join(_evidence(candidate))
            table.add_row(f"  {escape(candidate.code)}", candidate.kind, escape(candidate.description), evidence)
        out.print(table)
    origin = linked.bundle
    source = f"{origin.name}@{origin.sha256[:12]}, {origin.knowledge_base}"
    how = f"pipeline {origin.pipeline}{', as in the paper' if origin.reference else ''}"
    out.print(f"[dim]  {escape(source)}, {origin.decoding}, {how}, {origin.compute_type} on {origin.device}[/]")


def _head(linked: Link) -> str:
    from rich.markup import escape

    if not linked.code:
        return "[bold]no code[/]"
    sure = "" if linked.confidence is None else f"  [bold](confidence {linked.confidence:.2f})[/]"
    return f"[bold]{escape(linked.code)}[/]  {escape(linked.description or '')}{sure}"


def _how(linked: Link) -> str:
    if linked.method == "none" and linked.confidence is not None:
        return f"none: the first candidate's confidence, {linked.confidence:.2f}, is too low"
    return _FOUND[linked.method] + (" (in normal form)" if linked.match == "normal" else "")


def _evidence(candidate: Candidate) -> Iterator[str]:
    if candidate.log_prob is not None:
        yield f"log-prob. {candidate.log_prob:.2f}"
    if candidate.distance is not None:
        yield f"distance {candidate.distance:.3f}"
