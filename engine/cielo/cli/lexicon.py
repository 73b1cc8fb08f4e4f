"""``cielo lexicon``: a table of mentions and their codes, made of corpora, and checked."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cielo.bundle.hashes import checked_knowledge_base
from cielo.bundle.layout import Bundle, default_bundle
from cielo.cli import corpora
from cielo.cli.base import EXIT_ROWS, echo, main
from cielo.cli.linkers import report_problems
from cielo.cli.options import BUNDLE
from cielo.cli.outputs import Output, writes
from cielo.files import is_replaced, sha256_of

if TYPE_CHECKING:
    from cielo.workbench.evaluation.records import Corpus


@main.group()
def lexicon() -> None:
    """A table of mentions and their codes, asked before the model."""


@lexicon.command()
@click.argument("paths", metavar="CORPORA...", type=click.Path(path_type=Path), nargs=-1, required=True)
@click.option("--output", required=True, type=Output(dir_okay=False, path_type=Path), help="TSV, or CSV by name.")
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
@corpora.CORPUS
@corpora.SPLIT
@corpora.rows_options
@corpora.CODE_MAP
@BUNDLE
@writes
def build(
    paths: tuple[Path, ...],
    output: Path,
    minimum_count: int,
    minimum_purity: float,
    any_kind: bool,
    bundle: Path | None,
    code_map: Path | None,
    **reading: Any,
) -> None:
    """Make a lexicon of the mentions of CORPORA that annotators nearly always gave the same code."""
    from cielo.link import lexicon as module

    mapped, rows = corpora.read_map(code_map), corpora.rows_reading(reading)
    corpora.refuse_idle_options(paths, reading["form"], rows)
    Bundle.open(bundle or default_bundle())  # before anything is written
    read = [corpora.read(path, code_map=mapped, rows=rows, **reading) for path in paths]
    annotations = [
        (entry.mention.text, entry.mention.kind, entry.codes[0]) for corpus in read for entry in corpus.mentions
    ]
    made = module.build(annotations, minimum_count=minimum_count, minimum_purity=minimum_purity, by_kind=not any_kind)
    module.write_lexicon(output, made.entries)
    echo(
        f"{click.format_filename(output)}: {len(made.entries):,} texts from {made.annotations:,} annotations; "
        f"left out: {len(made.too_rare):,} too rare, {len(made.conflicts):,} with codes that disagree, "
        f"{made.unusable:,} unusable"
    )
    _check(output if is_replaced(output) else None, bundle, read)  # what went into a pipe cannot be read again
    corpora.report_skipped(read, mapped)


@lexicon.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@BUNDLE
def check(file: Path, bundle: Path | None) -> None:
    """Report the lines of FILE that cannot be used, disagree, or name a code that the knowledge base lacks."""
    if _check(file, bundle):
        sys.exit(EXIT_ROWS)


def _check(file: Path | None, bundle: Path | None, made_of: Sequence[Corpus] = ()) -> int:
    from cielo.knowledge.reading import KnowledgeBase
    from cielo.link import lexicon as module

    base = KnowledgeBase(checked_knowledge_base(bundle or default_bundle()))
    try:
        corpora.report_unknown(made_of, base)
        if file is None:
            return 0
        read = module.read_lexicon(file, lambda code, kind: base.find(code, kind) is not None, kinds=base.kinds)
        problems = read.problems
    finally:
        base.close()
    counts = f"{len(read.entries):,} entries, {len(problems):,} problems"
    echo(f"{click.format_filename(file)}: {counts}, sha256 {sha256_of(file)[:12]}")
    report_problems(problems)
    return len(problems)
