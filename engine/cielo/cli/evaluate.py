"""``cielo evaluate``: links, or stored outputs, scored against annotations."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cielo.bundle.layout import Bundle, default_bundle
from cielo.cli import corpora
from cielo.cli.base import console, echo, echo_json, main, open_linker, report_problems, require_codes
from cielo.cli.options import (
    ALLOW_UNVERIFIED,
    BUNDLE,
    GUARD,
    LEXICON,
    VERIFY,
    Assignment,
    link_options,
    linking_options,
    model_options,
    searched,
)
from cielo.cli.outputs import Output, writes
from cielo.cli.progress import Progress, waiting
from cielo.errors import TableError
from cielo.files import atomic_write, temporary_folder
from cielo.options import LinkOptions
from cielo.tables.writing import guard_formula

if TYPE_CHECKING:
    from cielo.bundle.calibration import Reliability
    from cielo.link.linker import Linker
    from cielo.workbench.evaluation.records import Corpus
    from cielo.workbench.evaluation.results import About, Evaluation, SplitScores, TrainingSource
    from cielo.workbench.evaluation.run import Replay, Run

_BESIDE: dict[str, tuple[str, dict[str, Any]]] = {
    "I": ("pipeline I", {"pipeline": "I"}),
    "published": ("matched as in the paper", {"matching": "published"}),
    "rerank": ("re-ranked", {"rerank": True}),
    "no-lexicon": ("without the lexicon", {"lexicon": False}),
}


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
@corpora.CUIS
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
    type=click.Choice(list(_BESIDE)),
    help="A further run of the first search, with this one thing changed. May be repeated.",
)
@click.option(
    "--resamples",
    type=click.IntRange(100, 100_000),
    default=2000,
    show_default=True,
    help="Of the bootstrap that intervals come from.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--html", type=Output(dir_okay=False, path_type=Path), help="A report with plots goes here.")
@click.option(
    "--tsv", type=Output(dir_okay=False, path_type=Path), help="A line for each mention of the first run goes here."
)
@click.option("--with-text", is_flag=True, help="Let --tsv hold the mentions and their sentences.")
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

    CORPUS is CodiEsp (a folder with text_files, or an X file), a file of sentences as the paper's, E3C, a folder of
    BRAT files, or a table with the columns text, sentence, kind and code. Malformed lines are passed over and reported
    (exit code 3).
    """
    from cielo.workbench.page.extra import require_all

    if (corpus is None) == (predictions is None):
        raise click.UsageError("give either a CORPUS or --predictions, not both and not neither")
    if bool(given["tables"]) != (predictions is not None):
        raise click.UsageError("--predictions and --kb KIND=TABLE belong together")
    if predictions is not None:
        _refuse_linking(given)
    if given["html"] is not None:
        require_all()  # before the work, not after it
    cui_map = corpora.read_map(given.pop("cui_map"))
    showing = {name: given.pop(name) for name in ("as_json", "html", "tsv", "with_text", "guard_formulas")}
    source = corpus or predictions
    assert source is not None
    annotated = corpora.read(source, given.pop("form"), given.pop("split"), cui_map)
    training = {path: corpora.read(path, None, None, cui_map) for path in given.pop("training")}
    found = (_evaluate_stored if predictions else _evaluate_links)(annotated, _seen(training), given)
    about = replace(found.about, corpus=click.format_filename(source.name), training=_about_training(training))
    _show(replace(found, about=about), showing)
    corpora.report_skipped([found.corpus, *training.values()], cui_map)


def _seen(training: Mapping[Path, Corpus]) -> frozenset[str] | None:
    from cielo.workbench.evaluation.run import seen_texts

    return seen_texts(training.values()) if training else None


def _about_training(training: Mapping[Path, Corpus]) -> tuple[TrainingSource, ...]:
    from cielo.workbench.evaluation.results import TrainingSource

    return tuple(
        TrainingSource(click.format_filename(path.name), len(corpus.mentions), len(corpus.skipped))
        for path, corpus in training.items()
    )


@dataclass(frozen=True, slots=True)
class _Found:
    """The runs of an evaluation and what they were made on."""

    runs: list[Run]
    corpus: Corpus
    systems: dict[str, Any]
    about: About
    resamples: int
    calibration: dict[str, Reliability] = field(default_factory=dict)


def _evaluate_links(corpus: Corpus, seen: frozenset[str] | None, given: dict[str, Any]) -> _Found:
    from cielo.workbench.evaluation.results import About
    from cielo.workbench.evaluation.run import link_corpus, linkable

    given.pop("tables")
    decodings, beside, resamples = (given.pop(name) for name in ("decodings", "beside", "resamples"))
    options = link_options(given)
    opened = Bundle.open(given["bundle"] or default_bundle())
    names = _names(decodings)
    with open_linker(cache=False, decoding=searched(names), **given) as linker:
        require_codes(linker, options.subset)
        report_problems(linker.lexicon_problems())
        corpus = linkable(corpus, linker)
        corpora.require_mentions(corpus, corpora.NONE_LINKABLE)
        runs = []
        with Progress() as progress:
            for name, changed in _ways(linker, options, names, beside):
                progress.begin(f"linking, {name}", len(corpus.mentions))
                runs.append(link_corpus(linker, corpus, name, seen, changed, progress.advance))
        progress.show_summary()
        bundle = linker.bundle
        about = About(bundle=f"{bundle.name}@{bundle.sha256[:12]}", knowledge_base=linker.knowledge_base.edition)
        worth = {str(name): entry.reliability for name, entry in opened.calibrations().items()}
        return _Found(runs, corpus, linker.knowledge_base.systems, about, resamples, worth)


def _names(decodings: str | None) -> list[str]:
    return [name.strip() for name in decodings.split(",")] if decodings else []


def _ways(
    linker: Linker, options: LinkOptions, decodings: Sequence[Any], beside: Sequence[str]
) -> Iterator[tuple[str, LinkOptions]]:
    """Yield the name of each run and the options for it."""
    names: Sequence[Any] = decodings or [linker.provenance().decoding]
    for name in dict.fromkeys(names):
        yield name, replace(options, decoding=name)
    for way in dict.fromkeys(beside):
        words, changes = _BESIDE[way]
        # Confidence is known of the default way of linking alone.
        unsure: dict[str, Any] = {"min_confidence": None} if way in ("published", "rerank") else {}
        yield f"{names[0]}, {words}", replace(options, decoding=names[0], **changes, **unsure)


def _evaluate_stored(corpus: Corpus, seen: frozenset[str] | None, given: dict[str, Any]) -> _Found:
    from cielo.workbench.evaluation.results import About, KnowledgeSource
    from cielo.workbench.evaluation.run import stored_only

    beside, resamples = given["beside"], given["resamples"]
    options = link_options(given)
    with _replay(given, options.pipeline) as replay:
        base = replay.resolver.knowledge_base
        corpus = stored_only(corpus, base.kinds)
        corpora.require_mentions(corpus, "no row can be scored")
        how = ", matched as in the paper" if options.matching == "published" else ""
        runs = [replay.run(corpus, f"stored outputs{how}", options, seen)]
        for way in dict.fromkeys(beside):
            words, changes = _BESIDE[way]
            runs.append(replay.run(corpus, f"stored outputs, {words}", replace(options, **changes), seen))
        about = About(
            knowledge_base=tuple(
                KnowledgeSource(source.name, source.kind, source.rows, source.rejected) for source in base.sources
            ),
            encoder=replay.encoder or None,
        )
        return _Found(runs, corpus, dict(replay.systems), about, resamples)


def _refuse_linking(given: Mapping[str, Any]) -> None:
    """Refuse the options that mean nothing where outputs are stored."""
    names = {"decodings": "--decoding", "lexicon": "--lexicon", "rerank": "--rerank", "chapters": "--chapter",
             "leaf": "--leaf", "codes": "--codes"}  # fmt: skip
    refused = [option for name, option in names.items() if given[name]]
    if given["min_confidence"] is not None:
        refused.append("--min-confidence")
    refused += [f"--beside {way}" for way in given["beside"] if way not in ("published", "I")]
    if refused:
        raise click.UsageError(f"stored outputs are what they are: no {', '.join(refused)} with them")


@contextlib.contextmanager
def _replay(given: dict[str, Any], pipeline: str) -> Iterator[Replay]:
    from cielo.knowledge.code_tables import CodeTable
    from cielo.workbench.evaluation.replay import open_replay

    tables = [CodeTable(Path(path), kind) for kind, path in given["tables"]]
    bundle = Bundle.open(given["bundle"] or default_bundle()) if pipeline == "II" else None
    if bundle is not None:
        echo(f"  encoder: of the bundle {bundle.name}@{bundle.sha256[:12]}", err=True)
    with (
        temporary_folder(Path(tempfile.gettempdir())) as folder,
        waiting("reading the tables"),
        open_replay(folder, tables, bundle, threads=given["threads"], verify_files=given["verify_files"]) as replay,
    ):
        yield replay


def _show(found: _Found, showing: dict[str, Any]) -> None:
    from cielo.workbench.evaluation.results import to_json
    from cielo.workbench.evaluation.summary import corpus_hash, summarize

    about = replace(found.about, corpus_sha256=corpus_hash(found.corpus))
    evaluation = summarize(
        found.runs, found.corpus, found.systems, resamples=found.resamples, about=about, calibration=found.calibration
    )
    if showing["html"]:
        from cielo.workbench.evaluation.report import write_page

        write_page(showing["html"], evaluation)
    if showing["tsv"]:
        _write_rows(showing["tsv"], found, with_text=showing["with_text"], guarded=showing["guard_formulas"])
    if showing["as_json"]:
        echo_json(to_json(evaluation))
    else:
        _show_scores(evaluation)


def _write_rows(path: Path, found: _Found, *, with_text: bool, guarded: bool) -> None:
    from cielo.workbench.evaluation.analysis import columns, rows

    lines = [columns(with_text), *rows(found.runs[0].outcomes, found.systems, with_text=with_text)]
    try:
        with atomic_write(path) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as stream:
            cells = ([guard_formula(cell) if guarded else cell for cell in line] for line in lines)
            stream.writelines("\t".join(line) + "\n" for line in cells)
    except OSError as error:
        raise TableError(f"{path}: cannot be written ({error.strerror})") from error


def _show_scores(evaluation: Evaluation) -> None:
    from rich.markup import escape
    from rich.table import Table

    from cielo.workbench.evaluation.summary import gold_notes

    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("run", overflow="fold")  # the names may be folded where the terminal is narrow; figures never
    notes = gold_notes(evaluation)
    known = ("PLI, known", "PLII, known") if notes else ()  # else they are the same
    for name in ("PLI", "PLII", *known, "3 char.", "recall@5", "MRR", "answered", "text"):
        table.add_column(name, justify="right", no_wrap=True)
    for run in evaluation.runs:
        for name, split in run.splits.items():
            shown = [_with_interval(split, key) for key in ("pli", "plii", "accuracy_3")]
            shown[2:2] = map(_percent, (split.pli_known, split.plii_known) if notes else ())
            others = map(_percent, (split.recall_at_5, split.mrr, split.coverage, split.text_accuracy))
            table.add_row(escape(f"{run.name}\n{name}, {split.count:,}"), *shown, *others)
    table.caption, table.caption_justify = "in per cent; below a share its 95 % interval", "left"
    out = console()
    out.print(table)
    for note in notes:
        out.print(escape(note))
    for entry in evaluation.comparisons:
        out.print(
            f"{entry.run} against {entry.against}: {entry.difference:+.2f} points "
            f"({entry.low:+.2f} to {entry.high:+.2f}), p = {entry.p_value:.3g}; right in one alone: "
            f"{entry.only_second} and {entry.only_first}"
        )
    if missed := evaluation.published_missed:
        out.print(
            f"the published decoding missed an output that is better by its own score on {missed.share:.1f} % of "
            f"{missed.prompts:,} prompts"
        )


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _with_interval(split: SplitScores, key: str) -> str:
    value, interval = getattr(split, key), split.intervals.get(key)
    return "-" if value is None or interval is None else f"{value:.2f}\n{interval.low:.1f}-{interval.high:.1f}"
