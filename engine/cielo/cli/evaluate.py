"""``cielo evaluate``: links, or stored outputs, scored against annotations."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cielo.bundle.layout import Bundle, default_bundle
from cielo.cli import corpora
from cielo.cli.base import echo, echo_json, main, open_linker, report_problems, require_codes
from cielo.cli.evaluation_shown import given_options, refuse_idle_options, show_scores, write_rows
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
from cielo.files import temporary_folder
from cielo.options import LinkOptions

if TYPE_CHECKING:
    from cielo.bundle.calibration import Reliability
    from cielo.bundle.manifest import Manifest
    from cielo.link.linker import Linker
    from cielo.workbench.evaluation.records import Corpus
    from cielo.workbench.evaluation.results import About, TrainingSource
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
        _refuse_linking(given)
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
    found = (_evaluate_stored if predictions else _evaluate_links)(annotated, _seen(training), given)
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


@dataclass(frozen=True, slots=True)
class _Found:
    """The runs of an evaluation and what they were made on."""

    runs: list[Run]
    corpus: Corpus
    systems: dict[str, Any]
    about: About
    resamples: int
    calibration: dict[str, Reliability] = field(default_factory=dict)
    manifest: Manifest | None = None


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
        return _Found(runs, corpus, linker.knowledge_base.systems, about, resamples, worth, opened.manifest)


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
    from cielo.link.steps import problems_of
    from cielo.workbench.evaluation.results import About, KnowledgeSource
    from cielo.workbench.evaluation.run import stored_only

    beside, resamples = given["beside"], given["resamples"]
    options = link_options(given)
    with _replay(given, options.pipeline) as replay:
        base = replay.resolver.knowledge_base
        if replay.lexicon is not None:
            report_problems(problems_of(replay.lexicon, base))
        corpus = stored_only(corpus, base.kinds)
        corpora.require_mentions(corpus, "no row can be scored")
        how = "" if replay.lexicon is None else ", with the lexicon"  # which the paper's matching does not ask
        how = ", matched as in the paper" if options.matching == "published" else how
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
    names = {"decodings": "--decoding", "as_published": "--as-published", "rerank": "--rerank", "chapters": "--chapter",
             "leaf": "--leaf", "codes": "--codes"}  # fmt: skip
    refused = [option for name, option in names.items() if given[name]]
    if given["min_confidence"] is not None:
        refused.append("--min-confidence")
    ways = ("published", "I", "no-lexicon") if given["lexicon"] else ("published", "I")
    refused += [f"--beside {way}" for way in given["beside"] if way not in ways]
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
        open_replay(
            folder,
            tables,
            bundle,
            lexicon=given["lexicon"],
            threads=given["threads"],
            verify_files=given["verify_files"],
        ) as replay,
    ):
        yield replay


def _show(found: _Found, about: About, showing: dict[str, Any]) -> None:
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
            echo(f"  note: {click.format_filename(showing[name])} holds clinical text (--with-text)", err=True)
