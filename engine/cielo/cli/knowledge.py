"""``cielo kb``: the knowledge base, built from tables and looked into."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cielo.bundle.hashes import checked_knowledge_base
from cielo.bundle.layout import default_bundle
from cielo.cli import fetching
from cielo.cli.base import EXIT_FAILED, EXIT_ROWS, console, echo, echo_json, fail, main, report_unknown_codes
from cielo.cli.options import Assignment, subset_of, subset_options
from cielo.cli.outputs import Output, writes
from cielo.errors import TableError
from cielo.files import atomic_write

if TYPE_CHECKING:
    from cielo.knowledge.building import BuiltKnowledgeBase, RejectedCode
    from cielo.knowledge.reading import KnowledgeBase
    from cielo.knowledge.records import ConceptDetails
    from cielo.records import Concept

_SHOWN = 20


@main.group()
def kb() -> None:
    """The knowledge base: build it from tables of codes, show a code, search descriptions."""


kb.add_command(fetching.fetch)


@kb.command()
@click.argument("output", type=Output(dir_okay=False, path_type=Path))
@click.option(
    "--table",
    "tables",
    type=Assignment(),
    multiple=True,
    metavar="KIND=FILE",
    help="A table of codes and descriptions: TSV, CSV, JSONL, XLSX, Parquet. May be repeated.",
)
@click.option(
    "--synonyms",
    type=Assignment(),
    multiple=True,
    metavar="KIND=FILE",
    help="A table of further descriptions, such as index terms. May be repeated.",
)
@click.option("--edition", default="", help="The name of the terminology's edition.")
@click.option("--encoding", help="Of text files; default: detected (UTF-8, UTF-16 by its mark, else Windows-1252).")
@click.option("--sheet", help="Of workbooks; default: the first with both columns.")
@click.option("--code-column", help="By name; default: by the usual names and by what the columns hold.")
@click.option("--description-column", help="Likewise.")
@click.option(
    "--system",
    "systems",
    type=Assignment(),
    multiple=True,
    metavar="KIND=SYSTEM",
    help="icd-10-cm, icd-10-pcs or other; default: what nearly all codes of the kind are.",
)
@click.option(
    "--code-system",
    "code_systems",
    multiple=True,
    metavar="KIND=URL|VERSION",
    help="The address of a kind's code system, as FHIR names it. May be repeated.",
)
@click.option("--rejected", type=Output(dir_okay=False, path_type=Path), help="Rejected rows go here, as TSV.")
@subset_options
@writes
def build(
    output: Path,
    tables: Sequence[tuple[str, str]],
    synonyms: Sequence[tuple[str, str]],
    edition: str,
    systems: Sequence[tuple[str, str]],
    code_systems: Sequence[str],
    rejected: Path | None,
    chapters: Sequence[str],
    leaf: bool,
    codes: Path | None,
    **reading: Any,
) -> None:
    """Build the knowledge base file OUTPUT from tables (`cielo convert` does so by itself).

    Rows that cannot be taken are reported with their line and the reason, and the others go on (exit code 3).
    """
    from cielo.knowledge.building import build_knowledge_base
    from cielo.knowledge.code_systems import parse_code_systems
    from cielo.knowledge.code_tables import CodeTable

    if not tables:
        raise click.UsageError("give at least one --table KIND=FILE")
    read = [CodeTable(Path(path), kind, **reading) for kind, path in tables]
    read += [CodeTable(Path(path), kind, synonyms=True, **reading) for kind, path in synonyms]
    named: dict[str, Any] = dict(systems)  # checked where it is used
    with console(stderr=True).status("building the knowledge base"):
        built = build_knowledge_base(
            output,
            read,
            edition=edition,
            systems=named,
            code_systems=parse_code_systems(code_systems, [table.kind for table in read]),
            subset=subset_of(chapters=chapters, leaf=leaf, codes=codes),
        )
    _show_built(output, built)
    report_unknown_codes(lambda code: code not in built.unknown)
    if rejected is not None:
        _write_rejected(rejected, built.rejected)
    if built.rejected:
        sys.exit(EXIT_ROWS)


def _show_built(output: Path, built: BuiltKnowledgeBase) -> None:
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


def _write_rejected(path: Path, rows: Sequence[RejectedCode]) -> None:
    try:
        with atomic_write(path) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as stream:
            stream.write("table\tline\treason\n")
            stream.writelines(f"{row.table}\t{row.line}\t{row.reason}\n" for row in rows)
    except OSError as error:
        raise TableError(f"{path}: cannot be written ({error.strerror})") from error


_KIND = click.option("--kind", help="Only codes of this kind.")


def _base_options(command: Callable[..., Any]) -> Callable[..., Any]:
    for option in (
        click.option("--kb", "file", type=click.Path(dir_okay=False, path_type=Path),
                     help="A knowledge base file; default: the bundle's."),
        click.option("--bundle", type=click.Path(path_type=Path), envvar="CIELO_BUNDLE",
                     help="Default: CIELO_BUNDLE, else the mini."),
        click.option("--json", "as_json", is_flag=True, help="Print JSON."),
    ):  # fmt: skip
        command = option(command)
    return command


@contextlib.contextmanager
def _opened(file: Path | None, bundle: Path | None, kind: str | None = None) -> Iterator[KnowledgeBase]:
    from cielo.knowledge.reading import KnowledgeBase

    base = KnowledgeBase(file or checked_knowledge_base(bundle or default_bundle()))
    try:
        if kind is not None and kind not in base.kinds:
            raise click.UsageError(f"got kind {kind!r}; the knowledge base has {', '.join(base.kinds)}")
        yield base
    finally:
        base.close()


@kb.command()
@_base_options
def info(file: Path | None, bundle: Path | None, as_json: bool) -> None:
    """Show what the knowledge base holds: its edition, its kinds, and the tables that it was built from."""
    from cielo.knowledge.code_systems import address_of

    with _opened(file, bundle) as base:
        addresses = {kind: address_of(system) for kind, system in base.code_systems.items()}
        kinds = {
            kind: {"system": base.systems[kind], "codes": base.concepts[kind], "address": addresses.get(kind)}
            for kind in base.kinds
        }
        edition, sources = base.edition, base.sources
    if as_json:
        told = {"edition": edition, "kinds": kinds, "sources": [asdict(source) for source in sources]}
        echo_json(json.dumps(told, ensure_ascii=False))
        return
    echo(f"edition: {edition or '-'}")
    for kind, entry in kinds.items():
        address = f", {entry['address']}" if entry["address"] else ""
        echo(f"  {kind}: {entry['codes']:,} codes ({entry['system']}{address})")
    for source in sources:
        echo(
            f"  from {source.name} ({source.kind}): {source.rows:,} rows, {source.rejected:,} rejected, "
            f"sha256 {source.sha256[:12]}"
        )


@kb.command()
@click.argument("code")
@_KIND
@_base_options
def show(code: str, file: Path | None, bundle: Path | None, kind: str | None, as_json: bool) -> None:
    """Show CODE: its descriptions, its place in the hierarchy, its children.

    Dots, case and placeholders (T68.XXX) do not matter. Where there is no such code, those that begin like it are
    named: one that lacks its seventh character finds them so.
    """
    with _opened(file, bundle, kind) as base:
        entry = base.show(code, kind)
        near = base.beginning_with(code, _SHOWN, kind) if entry is None else []
    if entry is None:
        hint = f"; codes that begin like it: {', '.join(found.code for found in near)}" if near else ""
        fail(f"the knowledge base has no code {code}{hint}", EXIT_FAILED)
        return
    if as_json:
        echo_json(json.dumps(asdict(entry), ensure_ascii=False))
    else:
        _show_entry(entry)


def _show_entry(entry: ConceptDetails) -> None:
    from rich.markup import escape

    out = console()
    leaf = "a leaf" if entry.leaf else f"{len(entry.children)} below it"
    place = f", chapter {entry.chapter}" if entry.chapter else ""
    out.print(f"[bold]{escape(entry.code)}[/]  {escape(entry.title)}")
    out.print(f"  {escape(entry.kind)}{place}, {leaf}")
    for text in entry.descriptions:
        out.print(f"  also:  {escape(text)}")
    for code, title in entry.ancestors:
        out.print(f"  under: {escape(code)}  {escape(title)}")
    for code, title in entry.children:
        out.print(f"  has:   {escape(code)}  {escape(title)}")


@kb.command()
@click.argument("text")
@click.option("--limit", type=click.IntRange(1, 1000), default=_SHOWN, show_default=True, help="The most codes.")
@_KIND
@_base_options
def search(text: str, limit: int, file: Path | None, bundle: Path | None, kind: str | None, as_json: bool) -> None:
    """Search for the words of TEXT, or words that begin like them, or for a code; the closest first.

    Accents, case, hyphens and a code's dot do not matter. Where a word is in no description, others that are written
    nearly like it are named.
    """
    with _opened(file, bundle, kind) as base:
        result = base.search(text, kind, limit)
    if as_json:
        echo_json(json.dumps(asdict(result), ensure_ascii=False))
        return
    meant = f"did you mean: {', '.join(result.suggestions)}?" if result.suggestions else ""
    if not result.found:
        fail("no description holds any of these words" + (f"; {meant}" if meant else ""), EXIT_FAILED)
    _show_found(result.found)
    if result.total > len(result.found):
        echo(f"{len(result.found)} of {result.total:,} shown; --limit shows more", err=True)
    if meant:
        echo(f"not every word is in a description; {meant}", err=True)


def _show_found(found: Sequence[Concept]) -> None:
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in ("code", "kind", "description"):
        table.add_column(name, no_wrap=name != "description")
    for concept in found:
        synonym = "" if concept.description == concept.title else f"  ({concept.title})"
        table.add_row(escape(concept.code), escape(concept.kind), escape(concept.description + synonym))
    console().print(table)
