"""``cielo evaluate``: links, or stored outputs, scored against annotations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cielo.cli import corpora
from cielo.cli.base import echo, echo_json, main
from cielo.cli.evaluation_runs import WAYS, Found, evaluate_links, evaluate_stored, refuse_linking
from cielo.cli.evaluation_shown import given_options, refuse_idle_options, show_scores, write_rows
from cielo.cli.options import (
    ALLOW_UNVERIFIED,
    BUNDLE,
    GUARD,
    LEXICON,
    VERIFY,
    Assignment,
    language_option,
    linking_options,
    model_options,
)
from cielo.cli.outputs import Output, writes
from cielo.text.language import say

if TYPE_CHECKING:
    from cielo.workbench.evaluation.records import Corpus
    from cielo.workbench.evaluation.results import About, TrainingSource


@main.command()
@click.argument("corpus", type=click.Path(path_type=Path), required=False)
@click.option(
    "--predictions",
    type=click.Path(path_type=Path),
    help="Stored outputs (a column `pred`), scored without the generator; instead of CORPUS.",
)
@click.option(
    "--kb",
    "tables",
    type=Assignment(),
    multiple=True,
    metavar="KIND=TABLE",
    help="With --predictions: the tables of codes and descriptions. May be repeated.",
)
@corpora.CORPUS
@corpora.SPLIT
@corpora.rows_options
@corpora.CODE_MAP
@click.option(
    "--train",
    "training",
    type=click.Path(path_type=Path),
    multiple=True,
    help="A corpus whose mentions count as seen. May be repeated.",
)
@click.option(
    "--decoding",
    "decodings",
    metavar="SEARCHES",
    help="One or several of published,probable,greedy,constrained; default: the bundle's own.",
)
@click.option(
    "--beside",
    multiple=True,
    type=click.Choice(WAYS),
    help="A further run of the first search, with this one thing changed (published and rerank need free outputs: "
    "beside constrained they take the search probable). May be repeated.",
)
@click.option(
    "--resamples",
    type=click.IntRange(100, 100_000),
    default=2000,
    show_default=True,
    help="Of the bootstrap that intervals come from.",
)
@click.option(
    "--as-published",
    is_flag=True,
    help="Link as the model card does, and print its figures beside those measured; train and dev splits beside "
    "CORPUS count as seen.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--html", type=Output(dir_okay=False, path_type=Path), help="A report with plots goes here.")
@click.option(
    "--tsv", type=Output(dir_okay=False, path_type=Path), help="A line for each mention of the first run goes here."
)
@click.option(
    "--with-text",
    is_flag=True,
    help="Let --tsv hold the mentions and their sentences, --html and --json examples of mistakes: clinical text.",
)
@language_option
@LEXICON
@GUARD
@ALLOW_UNVERIFIED
@VERIFY
@BUNDLE
@linking_options
@model_options
@writes
def evaluate(corpus: Path | None, predictions: Path | None, **given: Any) -> None:
    """Score the links of CORPUS, or --predictions, against its annotations.

    CORPUS is CodiEsp (a folder with text_files, or an X file), a file of sentences as the paper's, a table of
    DisTEMIST, SympTEMIST or MedProcNER, E3C, a folder of BRAT files, or a table with the columns text, sentence, kind
    and code. Malformed lines are passed over and reported (exit code 3).
    """
    from cielo.workbench.bench.system import describe_system
    from cielo.workbench.page.extra import require_all

    if (corpus is None) == (predictions is None):
        raise click.UsageError("give either a CORPUS or --predictions, not both and not neither")
    if bool(given["tables"]) != (predictions is not None):
        raise click.UsageError("--predictions and --kb KIND=TABLE belong together")
    if predictions is not None:
        refuse_linking(**given)
    elif given["as_published"]:
        _as_published(corpus, given)
    if given["html"] is not None:
        require_all()  # before the work, not after it
    code_map, rows = corpora.read_map(given.pop("code_map")), corpora.rows_reading(given)
    showing = {
        name: given.pop(name) for name in ("as_json", "html", "tsv", "with_text", "guard_formulas", "as_published")
    }
    source = corpus or predictions
    assert source is not None
    corpora.refuse_idle_options([source, *filter(Path.is_file, given["training"])], given["form"], rows)
    refuse_idle_options(showing)
    annotated = corpora.read(source, given.pop("form"), given.pop("split"), code_map, rows)
    training = {
        path: corpora.read(path, None, None, code_map, rows if path.is_file() else None)
        for path in given.pop("training")
    }
    made = datetime.now(UTC).isoformat(timespec="seconds")
    found = (evaluate_stored if predictions else evaluate_links)(annotated, _seen(training), **given)
    about = replace(
        found.about,
        corpus=click.format_filename(source.absolute().name),
        training=_about_training(training),
        made=made,
        options=given_options(),
        machine=describe_system(),
    )
    _show(found, about, showing)
    corpora.report_skipped([found.corpus, *training.values()], code_map)


def _as_published(corpus: Path | None, given: dict[str, Any]) -> None:
    """Ask for what the model card describes, but where other options were given: they are said to differ."""
    from cielo.workbench.evaluation.corpora.codiesp import splits_of
    from cielo.workbench.evaluation.published import training_beside

    assert corpus is not None
    given["decodings"] = given["decodings"] or "published"
    if click.get_current_context().get_parameter_source("matching") == click.core.ParameterSource.DEFAULT:
        given["matching"] = "published"
    if corpus.is_dir() and given["split"] is None and "test" in splits_of(corpus):
        given["split"] = "test"
    given["training"] = given["training"] or tuple(training_beside(corpus))


def _seen(training: Mapping[Path, Corpus]) -> frozenset[str] | None:
    from cielo.workbench.evaluation.run import seen_texts

    return seen_texts(training.values()) if training else None


def _about_training(training: Mapping[Path, Corpus]) -> tuple[TrainingSource, ...]:
    from cielo.workbench.evaluation.results import TrainingSource

    return tuple(
        TrainingSource(click.format_filename(path.name), len(corpus.mentions), len(corpus.skipped))
        for path, corpus in training.items()
    )


def _show(found: Found, about: About, showing: dict[str, Any]) -> None:
    from cielo.workbench.evaluation.results import to_json
    from cielo.workbench.evaluation.summary import corpus_hash, summarize

    evaluation = summarize(
        found.runs,
        found.corpus,
        found.systems,
        resamples=found.resamples,
        about=replace(about, corpus_sha256=corpus_hash(found.corpus)),
        calibration=found.calibration,
        with_text=showing["with_text"],
    )
    if showing["as_published"] and found.manifest is not None:
        from cielo.workbench.evaluation.published import compare_with_card

        evaluation = replace(evaluation, card=compare_with_card(evaluation, found.manifest))
    if showing["html"]:
        from cielo.workbench.evaluation.report import write_page

        write_page(showing["html"], evaluation)
    if showing["tsv"]:
        guarded, with_text = showing["guard_formulas"], showing["with_text"]
        write_rows(showing["tsv"], found.runs[0].outcomes, found.systems, with_text=with_text, guarded=guarded)
    if showing["as_json"]:
        echo_json(to_json(evaluation))
    else:
        show_scores(evaluation)
    for name in ("html", "tsv") if showing["with_text"] else ():
        if showing[name] is not None:
            file = click.format_filename(showing[name])
            echo(say("  note: {file} holds clinical text (--with-text)", file=file), err=True)
