"""``cielo evaluate``, ``cielo calibrate`` and ``cielo lexicon``: what is learnt from annotated mentions."""

from __future__ import annotations

import contextlib
import json
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cielo.bundle.layout import Bundle, default_bundle
from cielo.cli.base import (
    EXIT_ROWS,
    UNVERIFIED,
    Assignment,
    console,
    linking_options,
    main,
    model_options,
    open_linker,
    require_codes,
    split_options,
    tell_problems,
)
from cielo.errors import BundleError, TableError
from cielo.files import atomic_write, sha256_of

if TYPE_CHECKING:
    from cielo.link.linker import Linker
    from cielo.workbench.evaluation.corpora import CuiMap
    from cielo.workbench.evaluation.records import Corpus
    from cielo.workbench.evaluation.run import Replay, Run

_CORPUS_FORMATS = ("codiesp", "sentences", "e3c", "brat", "rows")
_BESIDE: dict[str, tuple[str, dict[str, Any]]] = {
    "I": ("pipeline I", {"pipeline": "I"}),
    "reference": ("as in the paper", {"reference": True}),
    "rerank": ("re-ranked", {"rerank": True}),
    "no-lexicon": ("without the lexicon", {"lexicon": False}),
}
_SHOWN = 10
_REASONS = 3
_NONE_LINKABLE = "no mention of the corpus can be linked"
_CORPUS = click.option("--format", "form", type=click.Choice(_CORPUS_FORMATS), help="Default: as its contents tell.")
_SPLIT = click.option("--split", help="Of CodiEsp (train, dev, test), where a folder holds several.")
_CUIS = click.option("--cui-map", type=click.Path(path_type=Path),
                     help="CUIs to codes (cui,code or ClinIDMap's layout), for corpora with CUIs.")  # fmt: skip
_BUNDLE = click.option("--bundle", type=click.Path(path_type=Path), envvar="CIELO_BUNDLE",
                       help="Default: CIELO_BUNDLE, else the mini.")  # fmt: skip


def _read(path: Path, form: Any, split: str | None, cui_map: CuiMap | None) -> Corpus:
    from cielo.workbench.evaluation.corpora import read_corpus

    corpus = read_corpus(path, form, split=split, cui_map=cui_map)
    _require_mentions(corpus, f"{path}: no annotated mention could be read")
    return corpus


def _read_map(path: Path | None) -> CuiMap | None:
    from cielo.workbench.evaluation.corpora import read_cui_map

    return None if path is None else read_cui_map(path)


def _require_mentions(corpus: Corpus, message: str) -> None:
    if not corpus.mentions:
        reasons = [f"{entry.place}: {entry.reason}" for entry in corpus.skipped[-_REASONS:]]
        if corpus.uncoded:
            reasons.append(f"{corpus.uncoded:,} mentions whose CUI no table maps")
        raise TableError(f"{message} ({'; '.join(reasons) or 'there is none'})")


def _tell_skipped(corpora: Sequence[Corpus], cui_map: CuiMap | None) -> None:
    """Say what of the corpora and of the table of CUIs was passed over; if anything was, end with a code."""
    for note in dict.fromkeys(note for corpus in corpora for note in corpus.notes):
        click.echo(f"  note: {note}", err=True)
    skipped = [*(cui_map.skipped if cui_map else ()), *(entry for corpus in corpora for entry in corpus.skipped)]
    for entry in skipped[:_SHOWN]:
        click.echo(f"  skipped: {entry.place}: {entry.reason}", err=True)
    if len(skipped) > _SHOWN:
        click.echo(f"  skipped: {len(skipped) - _SHOWN:,} more", err=True)
    if uncoded := sum(corpus.uncoded for corpus in corpora):
        click.echo(f"  left out: {uncoded:,} mentions whose CUI no table maps", err=True)
    if skipped:
        sys.exit(EXIT_ROWS)


@main.command()
@click.argument("corpus", type=click.Path(path_type=Path), required=False)
@click.option(
    "--predictions",
    type=click.Path(path_type=Path),
    help="Stored outputs (a column `pred`) to be scored without the generator, in the place of CORPUS.",
)
@click.option(
    "--kb",
    "tables",
    type=Assignment(),
    multiple=True,
    metavar="KIND=TABLE",
    help="With --predictions: the tables of codes and descriptions. May be repeated.",
)
@_CORPUS
@_SPLIT
@_CUIS
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
    help="One or several of published,probable,greedy; default: the bundle's own.",
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
@click.option("--html", type=click.Path(dir_okay=False, path_type=Path), help="A report with plots goes here.")
@click.option(
    "--tsv", type=click.Path(dir_okay=False, path_type=Path), help="A line for each mention of the first run goes here."
)
@click.option("--with-text", is_flag=True, help="Let --tsv hold the mentions and their sentences.")
@click.option("--lexicon", type=click.Path(dir_okay=False, path_type=Path), help="Asked before the model.")
@click.option("--top-k", type=click.IntRange(1, 100), default=5, show_default=True, help="Candidates in a result.")
@click.option("--allow-unverified", is_flag=True, help=UNVERIFIED)
@_BUNDLE
@linking_options
@model_options
def evaluate(corpus: Path | None, predictions: Path | None, **given: Any) -> None:
    """Score the links of CORPUS, or --predictions, against its annotations.

    CORPUS is CodiEsp (a folder with text_files, or an X file), a file of sentences as the paper's, E3C, a folder of
    BRAT files, or a table with the columns text, sentence, kind and code. Malformed lines are passed over and told of
    (exit code 3).
    """
    if (corpus is None) == (predictions is None):
        raise click.UsageError("give either a CORPUS or --predictions, not both and not neither")
    if bool(given["tables"]) != (predictions is not None):
        raise click.UsageError("--predictions and --kb KIND=TABLE belong together")
    if predictions is not None:
        _refuse_linking(given)
    cui_map = _read_map(given.pop("cui_map"))
    showing = {name: given.pop(name) for name in ("as_json", "html", "tsv", "with_text")}
    source = corpus or predictions
    assert source is not None
    annotated = _read(source, given.pop("form"), given.pop("split"), cui_map)
    training = {path: _read(path, None, None, cui_map) for path in given.pop("training")}
    found = (_evaluate_stored if predictions else _evaluate_links)(annotated, _seen(training), given)
    about = {"corpus": click.format_filename(source.name), "training": _about_training(training)}
    _show(found, about, showing)
    _tell_skipped([found.corpus, *training.values()], cui_map)


def _seen(training: Mapping[Path, Corpus]) -> frozenset[str] | None:
    from cielo.workbench.evaluation.run import seen_texts

    return seen_texts(training.values()) if training else None


def _about_training(training: Mapping[Path, Corpus]) -> list[dict[str, Any]]:
    return [
        {"name": click.format_filename(path.name), "mentions": len(corpus.mentions), "skipped": len(corpus.skipped)}
        for path, corpus in training.items()
    ]


@dataclass(frozen=True, slots=True)
class _Found:
    """The runs of an evaluation and what they were made on."""

    runs: list[Run]
    corpus: Corpus
    systems: dict[str, Any]
    about: dict[str, Any]
    resamples: int
    calibration: dict[str, Any] = field(default_factory=dict)


def _evaluate_links(corpus: Corpus, seen: frozenset[str] | None, given: dict[str, Any]) -> _Found:
    from cielo.workbench.evaluation.run import link_corpus, linkable

    given.pop("tables")
    decodings, beside, resamples, top_k = (given.pop(name) for name in ("decodings", "beside", "resamples", "top_k"))
    options, opening = split_options(given)
    options["top_k"] = top_k
    with open_linker(cache=False, **opening) as linker:
        require_codes(linker, options["subset"])
        tell_problems(linker.lexicon_problems())
        corpus = linkable(corpus, linker)
        _require_mentions(corpus, _NONE_LINKABLE)
        runs = []
        with console(stderr=True).status("linking") as status:
            for name, changes in _ways(linker, decodings, beside):
                status.update(f"linking: {name}")
                runs.append(link_corpus(linker, corpus, name, seen, **{**options, **changes}))
        bundle = linker.bundle
        about = {"bundle": f"{bundle.name}@{bundle.sha256[:12]}", "knowledge_base": linker.knowledge_base.edition}
        worth = {name: entry["reliability"] for name, entry in bundle.calibrations().items()}
        return _Found(runs, corpus, linker.knowledge_base.systems, about, resamples, worth)


def _ways(linker: Linker, decodings: str | None, beside: Sequence[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the name of each run and the linker's options for it."""
    from cielo.generation.ctranslate2 import SEARCHES

    names = [name.strip() for name in (decodings or linker.identity().decoding).split(",")]
    unknown = [name for name in names if name not in SEARCHES]
    if unknown:
        raise click.UsageError(f"got decoding {unknown[0]!r}, expected some of {', '.join(SEARCHES)}")
    for name in dict.fromkeys(names):
        yield name, {"decoding": name}
    for way in dict.fromkeys(beside):
        words, changes = _BESIDE[way]
        # Confidence is known of the default way of linking alone.
        unsure = {"min_confidence": None} if way in ("reference", "rerank") else {}
        yield f"{names[0]}, {words}", {"decoding": names[0], **changes, **unsure}


def _evaluate_stored(corpus: Corpus, seen: frozenset[str] | None, given: dict[str, Any]) -> _Found:
    from cielo.workbench.evaluation.run import stored_only

    pipeline, reference = given["pipeline"], given["reference"]
    with _replay(given, pipeline) as replay:
        base = replay.resolver.knowledge_base
        corpus = stored_only(corpus, base.kinds)
        _require_mentions(corpus, "no row can be scored")
        options = {"pipeline": pipeline, "reference": reference, "seen": seen, "top_k": given["top_k"]}
        runs = [replay.run(corpus, "stored outputs" + (", as in the paper" if reference else ""), **options)]
        for way in dict.fromkeys(given["beside"]):
            words, changes = _BESIDE[way]
            runs.append(replay.run(corpus, f"stored outputs, {words}", **{**options, **changes}))
        about = {
            "knowledge_base": [
                {"name": source.name, "kind": source.kind, "rows": source.rows, "rejected": source.rejected}
                for source in base.sources
            ],
            "encoder": replay.encoder or None,
        }
        return _Found(runs, corpus, dict(replay.systems), about, given["resamples"])


def _refuse_linking(given: Mapping[str, Any]) -> None:
    """Refuse the options that mean nothing where outputs are stored."""
    names = {"decodings": "--decoding", "lexicon": "--lexicon", "rerank": "--rerank", "chapters": "--chapter",
             "leaf": "--leaf", "codes": "--codes"}  # fmt: skip
    refused = [option for name, option in names.items() if given[name]]
    if given["min_confidence"] is not None:
        refused.append("--min-confidence")
    refused += [f"--beside {way}" for way in given["beside"] if way not in ("reference", "I")]
    if refused:
        raise click.UsageError(f"stored outputs are what they are: no {', '.join(refused)} with them")


@contextlib.contextmanager
def _replay(given: dict[str, Any], pipeline: str) -> Iterator[Replay]:
    from cielo.tables import CodeTable
    from cielo.workbench.evaluation.replay import open_replay

    tables = [CodeTable(Path(path), kind) for kind, path in given["tables"]]
    bundle = Bundle.open(given["bundle"] or default_bundle()) if pipeline == "II" else None
    if bundle is not None:
        click.echo(f"  encoder: of the bundle {bundle.name}@{bundle.sha256[:12]}", err=True)
    with (
        tempfile.TemporaryDirectory() as folder,
        console(stderr=True).status("reading the tables"),
        open_replay(Path(folder), tables, bundle, threads=given["threads"]) as replay,
    ):
        yield replay


def _show(found: _Found, about: dict[str, Any], showing: dict[str, Any]) -> None:
    from cielo.workbench.evaluation.summary import corpus_hash, summarize

    about = {**about, "corpus_sha256": corpus_hash(found.corpus), **found.about}
    told = summarize(found.runs, found.corpus, found.systems, resamples=found.resamples, about=about)
    told["calibration"] = found.calibration
    if showing["html"]:
        from cielo.workbench.evaluation.report import write_page

        write_page(showing["html"], told)
    if showing["tsv"]:
        _write_rows(showing["tsv"], found, with_text=showing["with_text"])
    if showing["as_json"]:
        # What is no character (of a file's name) becomes an escape of JSON.
        click.echo(json.dumps(told, ensure_ascii=False).encode("utf-8", "backslashreplace"))
    else:
        _show_scores(told)


def _write_rows(path: Path, found: _Found, *, with_text: bool) -> None:
    from cielo.workbench.evaluation.analysis import columns, rows

    lines = [columns(with_text), *rows(found.runs[0].outcomes, found.systems, with_text=with_text)]
    try:
        with atomic_write(path) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as stream:
            stream.writelines("\t".join(line) + "\n" for line in lines)
    except OSError as error:
        raise TableError(f"{path}: cannot be written ({error.strerror})") from error


def _show_scores(told: dict[str, Any]) -> None:
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("run", overflow="fold")  # the names may be folded where the terminal is narrow; figures never
    for name in ("PLI", "PLII", "3 char.", "recall@5", "MRR", "answered", "text"):
        table.add_column(name, justify="right", no_wrap=True)
    for run in told["runs"]:
        for name, split in run["splits"].items():
            shown = [_with_interval(split, key) for key in ("pli", "plii", "accuracy_3")]
            others = [_percent(split[key]) for key in ("recall_at_5", "mrr", "coverage", "text_accuracy")]
            table.add_row(escape(f"{run['name']}\n{name}, {split['count']:,}"), *shown, *others)
    table.caption, table.caption_justify = "in per cent; below a share its 95 % interval", "left"
    out = console()
    out.print(table)
    for entry in told["comparisons"]:
        out.print(
            f"{entry['run']} against {entry['against']}: {entry['difference']:+.2f} points "
            f"({entry['low']:+.2f} to {entry['high']:+.2f}), p = {entry['p_value']:.3g}; right in one alone: "
            f"{entry['only_second']} and {entry['only_first']}"
        )
    if missed := told["reference_missed"]:
        out.print(
            f"the reference search missed an output that is better by its own score on {missed['share']:.1f} % of "
            f"{missed['prompts']:,} prompts"
        )


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _with_interval(split: dict[str, Any], key: str) -> str:
    if split.get(key) is None:
        return "-"
    interval = split["intervals"][key]
    return f"{split[key]:.2f}\n{interval['low']:.1f}-{interval['high']:.1f}"


@main.command()
@click.argument("bundle", type=click.Path(path_type=Path))
@click.argument("corpus", type=click.Path(path_type=Path))
@click.option("--output", required=True, type=click.Path(path_type=Path), help="Directory of the calibrated bundle.")
@click.option("--overwrite", is_flag=True, help="Replace what stands at --output; it may be BUNDLE itself.")
@click.option(
    "--decoding",
    "decodings",
    multiple=True,
    type=click.Choice(["published", "probable"]),
    help="Default: the bundle's own. May be repeated.",
)
@click.option("--allow-unverified", is_flag=True, help=UNVERIFIED)
@_CORPUS
@_SPLIT
@_CUIS
@model_options
def calibrate(
    bundle: Path,
    corpus: Path,
    output: Path,
    overwrite: bool,
    decodings: tuple[Any, ...],
    form: str | None,
    split: str | None,
    cui_map: Path | None,
    **opening: Any,
) -> None:
    """Fit the confidence of BUNDLE's links on the annotated mentions of CORPUS, and keep it in a bundle.

    The mentions should be of the kind that is to be coded, and not those that the model was trained on.
    """
    from cielo.workbench.calibration.calibrate import calibrate as fit
    from cielo.workbench.calibration.calibrate import write_calibrated
    from cielo.workbench.evaluation.run import linkable
    from cielo.workbench.evaluation.summary import corpus_hash

    if output.exists() and not overwrite:  # before the work, not after it
        raise BundleError(f"{output} exists; name another output, or --overwrite it")
    mapped = _read_map(cui_map)
    annotated = _read(corpus, form, split, mapped)
    with open_linker(bundle=bundle, cache=False, **opening) as linker, console(stderr=True).status("calibrating"):
        annotated = linkable(annotated, linker)
        _require_mentions(annotated, _NONE_LINKABLE)
        chosen = decodings or (linker.identity().decoding,)
        found = fit(linker, annotated, chosen, data=corpus_hash(annotated))
    for decoding, entry in found.items():
        _show_reliability(decoding, entry["reliability"])
    written = write_calibrated(Bundle.open(bundle), output, found, overwrite=overwrite)
    click.echo(f"{click.format_filename(written.path)}: bundle {written.name}@{written.sha256[:12]}")
    _tell_skipped([annotated], mapped)


def _show_reliability(decoding: str, told: dict[str, Any]) -> None:
    from rich.table import Table

    calibrated, raw = told["calibrated"], told["raw"]
    title = (
        f"{decoding}: confidence of {told['mentions']:,} links, each by a calibration that did not see its text; "
        f"calibration error {calibrated['expected_calibration_error']:.3f} "
        f"(of the bare probability {raw['expected_calibration_error']:.3f})"
    )
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in ("confidence", "mean", "right", "mentions"):
        table.add_column(name, justify="right")
    for entry in calibrated["bins"]:
        table.add_row(
            f"{entry['low']:.3f}-{entry['high']:.3f}", f"{entry['confidence']:.3f}", f"{entry['accuracy']:.3f}",
            str(entry["count"]),
        )  # fmt: skip
    out = console()
    out.print(title)
    out.print(table)


@main.group()
def lexicon() -> None:
    """A table of mentions and their codes, asked before the model."""


@lexicon.command()
@click.argument("corpora", type=click.Path(path_type=Path), nargs=-1, required=True)
@click.option("--output", required=True, type=click.Path(dir_okay=False, path_type=Path), help="TSV, or CSV by name.")
@click.option(
    "--minimum-count",
    type=click.IntRange(1),
    default=2,
    show_default=True,
    help="How often a mention must have been given its code.",
)
@click.option(
    "--minimum-purity",
    type=click.FloatRange(0, 1),
    default=0.9,
    show_default=True,
    help="The share of a mention's annotations that must agree.",
)
@click.option("--any-kind", is_flag=True, help="Make no difference between kinds.")
@_CORPUS
@_SPLIT
@_CUIS
@_BUNDLE
def build(
    corpora: tuple[Path, ...],
    output: Path,
    minimum_count: int,
    minimum_purity: float,
    any_kind: bool,
    bundle: Path | None,
    cui_map: Path | None,
    **reading: Any,
) -> None:
    """Make a lexicon of the mentions of CORPORA that annotators nearly always gave the same code."""
    from cielo.link import lexicon as module

    mapped = _read_map(cui_map)
    Bundle.open(bundle or default_bundle())  # before anything is written
    read = [_read(path, cui_map=mapped, **reading) for path in corpora]
    annotations = [
        (entry.mention.text, entry.mention.kind, entry.codes[0]) for corpus in read for entry in corpus.mentions
    ]
    made = module.build(annotations, minimum_count=minimum_count, minimum_purity=minimum_purity, by_kind=not any_kind)
    module.write_lexicon(output, made.entries)
    click.echo(
        f"{click.format_filename(output)}: {len(made.entries):,} texts from {made.annotations:,} annotations; "
        f"left out: {len(made.too_rare):,} too rare, {len(made.conflicts):,} with codes that disagree, "
        f"{made.unusable:,} unusable"
    )
    _check(output, bundle)
    _tell_skipped(read, mapped)


@lexicon.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@_BUNDLE
def check(file: Path, bundle: Path | None) -> None:
    """Report the lines of FILE that cannot be used, disagree, or name a code that the knowledge base lacks."""
    if _check(file, bundle):
        sys.exit(EXIT_ROWS)


def _check(file: Path, bundle: Path | None) -> int:
    from cielo.knowledge.reading import KnowledgeBase
    from cielo.link import lexicon as module

    read = module.read_lexicon(file)
    base = KnowledgeBase(Bundle.open(bundle or default_bundle()).knowledge_base)
    try:
        problems = module.all_problems(read, lambda code, kind: base.find(code, kind) is not None)
    finally:
        base.close()
    counts = f"{len(read.entries):,} entries, {len(problems):,} problems"
    click.echo(f"{click.format_filename(file)}: {counts}, sha256 {sha256_of(file)[:12]}")
    tell_problems(problems)
    return len(problems)
