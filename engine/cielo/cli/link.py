"""``cielo link``: one mention for a reader, or the rows of a file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from cielo.cli.base import echo, echo_json, main
from cielo.cli.linkers import open_linker, report_problems, report_withheld, require_codes
from cielo.cli.options import (
    ALLOW_UNVERIFIED,
    BUNDLE,
    DECODING,
    FORMATS,
    INPUT_FORMATS,
    LEXICON,
    MEMORY,
    VERIFY,
    link_options,
    linking_options,
    model_options,
)
from cielo.cli.outputs import Output, writes
from cielo.cli.showing import show_link
from cielo.cli.tabular import (
    TABULAR,
    decision_options,
    mention_columns,
    options_given,
    reading_options,
    refuse_given,
    refuse_idle,
    style_of,
    style_options,
    table_format,
    thresholds_of,
)
from cielo.cli.verbosity import is_verbose
from cielo.decisions import decision_of
from cielo.records import Decoding, Mention

if TYPE_CHECKING:
    from cielo.tables import Format


_OF_ROWS = ("target", "form", "input_format", "resume", *TABULAR)


@main.command()
@click.argument("text", required=False)
@click.option("--sentence", help="The sentence that the mention stands in.")
@click.option(
    "--kind", help="Only codes of this kind, whatever a column of --input says (in the mini: diagnosis, procedure)."
)
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
    "--input-format",
    type=click.Choice(INPUT_FORMATS),
    help="Of --input; default: by its name, else by what it holds, else that of --output.",
)
@reading_options
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@DECODING
@BUNDLE
@ALLOW_UNVERIFIED
@VERIFY
@MEMORY
@click.option(
    "--cache", type=Output(kept=True, dir_okay=False, path_type=Path), help="Keep links in this file; it holds no text."
)
@click.option(
    "--kb", "knowledge_base", type=click.Path(dir_okay=False, path_type=Path),
    help="A knowledge base in place of the bundle's, without vectors: pipeline I alone.",
)  # fmt: skip
@click.option("--resume", is_flag=True, help=(
    "Of rows: keep what is done beside --output until all is, and go on with what was kept. It can hold what the "
    "model wrote."
))  # fmt: skip
@LEXICON
@decision_options
@style_options
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
    as_json: bool,
    resume: bool,
    decoding: Decoding | None,
    cache: Path | None,
    **given: Any,
) -> None:
    """Link one mention (TEXT), or the rows of a file (--input)."""
    if (text is None) == (source is None):
        raise click.UsageError("give either one TEXT or --input, not both and not neither")
    if source is not None and (sentence is not None or as_json):
        raise click.UsageError(
            "--sentence and --json belong to one TEXT; rows bring their own, and --format names their form"
        )
    if source is None:
        _refuse_options_of_rows(click.get_current_context())
    source_of = click.get_current_context().get_parameter_source
    if given["knowledge_base"] is not None and source_of("pipeline") is ParameterSource.DEFAULT:
        given["pipeline"] = "I"
    options = link_options(given, decoding=decoding, neighbours="misses" if source is not None else "always")
    thresholds, tabular = thresholds_of(given), {name: given.pop(name) for name in TABULAR}
    opening = {**given, "cache": cache or True, "decoding": decoding, "use": "single" if source is None else "bulk"}
    if source is not None:
        from cielo.cli.rows import Rows, link_rows, reading_of, written_form  # loads all that reads and writes tables
        from cielo.tables.reading import possible_formats

        if resume:
            _require_resumable(source, target)
            opening["cache"] = False
        columns, named = mention_columns(tabular), table_format(tabular, input_format)
        reading = reading_of(source, named, target, form)
        written = written_form(target, form, reading)
        refuse_idle(possible_formats(Path(source), reading.format), [written])
        rows = Rows(
            source=source, reading=reading, columns=columns, target=target, form=written,
            style=style_of(tabular), thresholds=thresholds, kind=kind, resumed=resume,
        )  # fmt: skip
        link_rows(rows, options, **opening)
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
        from cielo.tables.links import link_columns

        row = {"text": text, "sentence": sentence, **link_columns(linked, thresholds)}
        echo_json(json.dumps(row, ensure_ascii=False))
    else:
        show_link(linked, decision_of(linked, thresholds))


def _require_resumable(source: str, target: str) -> None:
    if "-" in (source, target):
        raise click.UsageError("--resume needs files: an --input and an --output that are not standard streams")
    refuse_given({"cache": "of runs without --resume, which gives the same bytes whatever was linked before"})


def _refuse_options_of_rows(context: click.Context) -> None:
    """Refuse what one TEXT has no use for: nobody is to wait for a file that is never written."""
    given = [option for name, option in options_given(_OF_ROWS).items() if context.params[name] != "-"]
    if given:
        raise click.UsageError(f"{', '.join(given)}: of rows (--input); one TEXT is printed, with --json as JSON")
