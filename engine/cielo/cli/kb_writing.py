"""``cielo kb build`` and ``replace``: a knowledge base of tables of codes, and one put into a bundle."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cielo.bundle.layout import Bundle
from cielo.cli.base import EXIT_ROWS, KEPT, echo
from cielo.cli.knowledge import kb
from cielo.cli.linkers import report_unknown_codes
from cielo.cli.options import Assignment, subset_of, subset_options
from cielo.cli.outputs import OVERWRITE, Output, check_outputs, writes
from cielo.cli.progress import Progress, waiting
from cielo.cli.tabular import formats_of, refuse_idle
from cielo.errors import TableError
from cielo.files import atomic_write

if TYPE_CHECKING:
    from cielo.knowledge.building import BuiltKnowledgeBase
    from cielo.workbench.replacing import Replaced, Unwritable

_SHOWN = 20


def _table_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of the tables that a knowledge base is built from; `_build` takes them."""
    for option in reversed((
        click.option("--table", "tables", type=Assignment(), multiple=True, metavar="KIND=FILE",
                     help="A table of codes and descriptions: TSV, CSV, JSONL, XLSX, Parquet. May be repeated."),
        click.option("--synonyms", type=Assignment(), multiple=True, metavar="KIND=FILE",
                     help="A table of further descriptions, such as index terms. May be repeated."),
        click.option("--edition", default="", help="The name of the terminology's edition."),
        click.option("--encoding",
                     help="Of text files; default: detected (UTF-8, UTF-16 by its mark, else Windows-1252)."),
        click.option("--sheet", help="Of workbooks; default: the first with both columns."),
        click.option("--code-column", help="By name; default: by the usual names and by what the columns hold."),
        click.option("--description-column", help="Likewise."),
        click.option("--system", "systems", type=Assignment(), multiple=True, metavar="KIND=SYSTEM",
                     help="icd-10-cm, icd-10-pcs or other; default: what nearly all codes of the kind are."),
        click.option("--code-system", "code_systems", multiple=True, metavar="KIND=URL|VERSION",
                     help="The address of a kind's code system, as FHIR names it. May be repeated."),
        click.option("--rejected", type=Output(dir_okay=False, path_type=Path),
                     help="Rejected rows go here, as TSV."),
    )):  # fmt: skip
        command = option(command)
    return subset_options(command)


@kb.command()
@click.argument("output", type=Output(dir_okay=False, path_type=Path))
@_table_options
@writes
def build(output: Path, rejected: Path | None, **given: Any) -> None:
    """Build a knowledge base file from tables.

    OUTPUT is for --kb, and for `cielo kb replace`; `cielo convert` builds its own.
    Rows that cannot be taken are reported with their line and the reason, and the others go on (exit code 3).
    """
    with waiting("building the knowledge base"):
        built = _build(output, **given)
    _report_built(output, built, rejected)
    if built.rejected:
        sys.exit(EXIT_ROWS)


@kb.command()
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option("--output", required=True, type=Output(path_type=Path), help="Directory of the new bundle.")
@OVERWRITE
@click.option("--kb", "file", type=click.Path(dir_okay=False, path_type=Path),
              help="A knowledge base file in place of tables.")  # fmt: skip
@click.option("--unwritable", type=Output(dir_okay=False, path_type=Path),
              help="Descriptions that the generator cannot write go here, as TSV.")  # fmt: skip
@_table_options
def replace(
    bundle: Path,
    output: Path,
    overwrite: bool,
    file: Path | None,
    unwritable: Path | None,
    rejected: Path | None,
    **given: Any,
) -> None:
    """Put another knowledge base into a bundle.

    The new bundle is a copy of BUNDLE with the codes of other tables, or of a file (--kb); no PyTorch is needed.
    Descriptions that BUNDLE lacks are embedded with its encoder, all are indexed, and parity is measured again. The
    confidence, fitted with the old codes, is left out; BUNDLE stays. A run that was stopped goes on where it was. Exit
    code 3: rows were rejected, or there are descriptions that BUNDLE's generator cannot write.
    """
    from cielo.workbench.replacing import replace_knowledge_base

    check_outputs(overwrite=overwrite)
    if (file is not None) == bool(given["tables"]):
        raise click.UsageError("give either --table KIND=FILE or --kb FILE, not both and not neither")
    if file is not None and (rejected is not None or any(given.values())):
        raise click.UsageError("--kb FILE is taken as it is, expected no option of tables beside it")
    built: list[BuiltKnowledgeBase] = []

    def write(path: Path) -> None:
        if file is not None:
            _copy(file, path)
        else:
            built.append(_build(path, **given))
            _report_built(output, built[0], rejected)

    with Progress() as progress:
        made = replace_knowledge_base(
            Bundle.open(bundle), output, write, progress=_teller(progress), overwrite=overwrite
        )
    _report_replaced(made, unwritable)
    if made.unwritable or any(one.rejected for one in built):
        sys.exit(EXIT_ROWS)


def _build(
    output: Path,
    *,
    tables: Sequence[tuple[str, str]],
    synonyms: Sequence[tuple[str, str]],
    edition: str,
    systems: Sequence[tuple[str, str]],
    code_systems: Sequence[str],
    chapters: Sequence[str],
    leaf: bool,
    codes: Path | None,
    **reading: Any,
) -> BuiltKnowledgeBase:
    from cielo.knowledge.building import build_knowledge_base
    from cielo.knowledge.code_systems import parse_code_systems
    from cielo.knowledge.code_tables import CodeTable

    if not tables:
        raise click.UsageError("give at least one --table KIND=FILE")
    read = [CodeTable(Path(path), kind, **reading) for kind, path in tables]
    read += [CodeTable(Path(path), kind, synonyms=True, **reading) for kind, path in synonyms]
    refuse_idle(formats_of(table.path for table in read))
    named: dict[str, Any] = dict(systems)  # checked where it is used
    return build_knowledge_base(
        output,
        read,
        edition=edition,
        systems=named,
        code_systems=parse_code_systems(code_systems, [table.kind for table in read]),
        subset=subset_of(chapters=chapters, leaf=leaf, codes=codes),
    )


def _copy(file: Path, path: Path) -> None:
    from cielo.knowledge.reading import KnowledgeBase

    KnowledgeBase(file).close()  # which refuses what is none
    try:
        shutil.copyfile(file, path)
    except OSError as error:
        raise TableError(f"{file}: cannot be copied ({error.strerror})") from error


def _report_built(output: Path, built: BuiltKnowledgeBase, rejected: Path | None) -> None:
    counts = ", ".join(
        f"{count:,} of kind {kind} ({built.systems[kind]})" for kind, count in built.summary.concepts.items()
    )
    echo(f"{click.format_filename(output)}: codes: {counts}; {built.summary.descriptions:,} descriptions")
    for source in built.sources:
        echo(f"  {source.name} ({source.kind}): {source.rows:,} rows, {source.rejected:,} rejected")
    for warning in built.warnings:
        echo(f"  warning: {warning}", err=True)
    for row in built.rejected[:_SHOWN]:
        echo(f"  rejected: {row.table}, line {row.line}: {row.reason}", err=True)
    if len(built.rejected) > _SHOWN:
        echo(f"  rejected: {len(built.rejected) - _SHOWN:,} more; --rejected FILE writes all", err=True)
    report_unknown_codes(lambda code: code not in built.unknown)
    if rejected is not None:
        _write_tsv(
            rejected, "table\tline\treason", (f"{row.table}\t{row.line}\t{row.reason}" for row in built.rejected)
        )


def _report_replaced(made: Replaced, unwritable: Path | None) -> None:
    bundle, name = made.bundle, click.format_filename(made.bundle.path)
    echo(f"{name}: bundle {bundle.name}@{bundle.sha256[:12]}, {bundle.manifest.knowledge_base.edition or 'no edition'}")
    if made.vectors_kept:
        echo(f"  {made.vectors_kept:,} vectors were kept from the run before", err=True)
    for key, figures in bundle.manifest.parity.items():
        passed = sum(check.passed for check in figures.checks)
        echo(f"  parity {key}: {figures.status}, {passed} of {len(figures.checks)} checks")
    for key in made.unshown:
        echo(f"  parity {key}: not shown here; run `cielo verify --parity` where it can run", err=True)
    if made.calibrations:
        was = ", ".join(made.calibrations)
        echo(f"  no confidence: that of the old bundle ({was}) holds for its codes; see `cielo calibrate`", err=True)
    echo(f"  none beyond distance {bundle.manifest.index.max_distance:g}, as with the old codes", err=True)
    for kind in made.kinds_gone:
        echo(f"  warning: the old bundle has the kind {kind}, the new one has not", err=True)
    _report_unwritable(made.unwritable, unwritable)


def _report_unwritable(found: Sequence[Unwritable], file: Path | None) -> None:
    for one in found[:_SHOWN]:
        echo(f"  cannot be written: {one.code} ({one.kind}): {one.reason}", err=True)
    if found:
        more = f"; {len(found) - _SHOWN:,} more" if len(found) > _SHOWN else ""
        where = "--unwritable FILE writes all" if file is None else f"all are in {click.format_filename(file)}"
        echo(f"  cannot be written: {len(found):,} descriptions{more}; {where}", err=True)
    if file is not None:
        rows = (f"{one.code}\t{one.kind}\t{one.description}\t{one.reason}" for one in found)
        _write_tsv(file, "code\tkind\tdescription\treason", rows)


def _write_tsv(path: Path, header: str, rows: Iterable[str]) -> None:
    try:
        with atomic_write(path) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as stream:
            stream.write(f"{header}\n")
            stream.writelines(f"{row}\n" for row in rows)
    except OSError as error:
        raise TableError(f"{path}: cannot be written ({error.strerror})") from error


def _teller(progress: Progress) -> Callable[[str, int, int], None]:
    """Return what tells of the steps; once there are vectors of its own to keep, an interrupt is told of them."""
    meta = click.get_current_context().meta

    def tell(step: str, done: int, total: int) -> None:
        progress.step(step, done, total)
        if step.startswith("vectors") and done:
            meta[KEPT] = "the vectors so far are kept: the same command goes on with them"

    return tell
