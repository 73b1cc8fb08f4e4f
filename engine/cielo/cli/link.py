"""``cielo link``: one mention for a reader, or the rows of a file."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cielo.cli.base import console, echo, echo_json, main, open_linker, report_problems, report_withheld, require_codes
from cielo.cli.options import (
    ALLOW_UNVERIFIED,
    BUNDLE,
    DECODINGS,
    FORMATS,
    GUARD,
    LEXICON,
    VERIFY,
    Size,
    link_options,
    linking_options,
    model_options,
)
from cielo.cli.outputs import Output, writes
from cielo.cli.verbosity import is_verbose
from cielo.records import Candidate, Decoding, Link, Mention, Proof

if TYPE_CHECKING:
    from cielo.tables import Format


@main.command()
@click.argument("text", required=False)
@click.option("--sentence", help="The sentence that the mention stands in.")
@click.option("--kind", help="Only codes of this kind (in the mini: diagnosis, procedure).")
@click.option(
    "--input", "source", metavar="FILE|-", type=click.Path(allow_dash=True), help="Rows to link, with a column `text`."
)
@click.option(
    "--output",
    "target",
    metavar="FILE|-",
    type=Output(allow_dash=True),
    default="-",
    show_default=True,
    help="Where the rows go.",
)
@click.option(
    "--format", "form", type=click.Choice(FORMATS), help="Of --output; default: by its name, else that of --input."
)
@click.option(
    "--input-format", type=click.Choice(FORMATS), help="Of --input; default: by its name, else that of --output."
)
@click.option("--encoding", help="Of --input; default: detected (UTF-8, UTF-16 by its mark, else Windows-1252).")
@click.option("--sheet", help="Of a workbook; default: the first with a column `text`.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option(
    "--decoding", type=click.Choice(DECODINGS), help="How outputs are searched for; default: the bundle's own."
)
@BUNDLE
@ALLOW_UNVERIFIED
@VERIFY
@click.option(
    "--memory", type=Size(), help="Keep the process within this much memory, such as 3GB, by making batches smaller."
)
@click.option(
    "--cache", type=Output(kept=True, dir_okay=False, path_type=Path), help="Keep links in this file; it holds no text."
)
@LEXICON
@GUARD
@linking_options
@model_options
@writes
def link(
    text: str | None,
    sentence: str | None,
    kind: str | None,
    source: str | None,
    target: str,
    form: Format | None,
    input_format: Format | None,
    encoding: str | None,
    sheet: str | None,
    as_json: bool,
    decoding: Decoding | None,
    cache: Path | None,
    guard_formulas: bool,
    **given: Any,
) -> None:
    """Link one mention (TEXT), or the rows of a file (--input)."""
    if (text is None) == (source is None):
        raise click.UsageError("give either one TEXT or --input, not both and not neither")
    if source is not None and (sentence is not None or as_json):
        raise click.UsageError(
            "--sentence and --json belong to one TEXT; rows bring their own, and --format names their form"
        )
    options = link_options(given, decoding=decoding, neighbours="misses" if source is not None else "always")
    use = "single" if source is None else "bulk"
    opening = {**given, "cache": cache or True, "decoding": decoding, "use": use}
    if source is not None:
        from cielo.cli.rows import link_rows, reading_of  # loads all that reads and writes tables

        reading = reading_of(source, input_format, target, form, encoding=encoding, sheet=sheet)
        link_rows(source, target, reading, form, kind, options, guarded=guard_formulas, **opening)
        return
    mention = Mention(text or "", sentence, kind)
    with open_linker(**opening) as linker:
        require_codes(linker, options.subset)
        report_problems(linker.lexicon_problems())
        linked = linker.link([mention], options)[0]
        report_withheld(linker, options.subset, linked.code is None, 1)
    if is_verbose():
        from cielo.cli.progress import Summary

        summary = Summary()
        summary.add(linked)
        echo(summary.stages(), err=True)
    if as_json:
        from cielo.tables.mentions import link_columns

        echo_json(json.dumps({"text": text, "sentence": sentence, **link_columns(linked)}, ensure_ascii=False))
    else:
        _show_link(linked)


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
    if linked.proof is not None:
        out.print(f"  proof:     {_proof(linked.proof)}")
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
    origin, bundle = linked.provenance, linked.provenance.bundle
    source = f"{bundle.name}@{bundle.sha256[:12]}, {bundle.edition}"
    how = f"pipeline {origin.pipeline}{', matched as in the paper' if origin.matching == 'published' else ''}"
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


def _proof(proof: Proof) -> str:
    found = f"{proof.mass:.3f} of the probability in the descriptions found, {proof.passes} passes of the decoder"
    if proof.exact:
        return f"no description is more probable; {found}"
    return f"open: one that was not looked at could be more probable by {proof.gap:.2f} nats; {found}"


def _evidence(candidate: Candidate) -> Iterator[str]:
    if candidate.log_prob is not None:
        yield f"log-prob. {candidate.log_prob:.2f}"
    if candidate.distance is not None:
        yield f"distance {candidate.distance:.3f}"
