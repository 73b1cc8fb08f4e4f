"""``cielo kb info``, ``show`` and ``search``: a knowledge base, looked into."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cielo.cli.base import EXIT_FAILED, console, echo, echo_json, fail
from cielo.cli.knowledge import base_options, kb, opened

if TYPE_CHECKING:
    from cielo.knowledge.records import ConceptDetails
    from cielo.records import Concept

_SHOWN = 20
_KIND = click.option("--kind", help="Only codes of this kind.")


@kb.command()
@click.argument("place", metavar="[FILE]", type=click.Path(path_type=Path), required=False)
@base_options
def info(place: Path | None, file: Path | None, bundle: Path | None, as_json: bool) -> None:
    """Show what a knowledge base holds.

    Its edition, its kinds, and the tables that it was built from.

    FILE is one that `cielo kb build` made, or the directory of a bundle, as with --kb and --bundle.
    """
    from cielo.knowledge.code_systems import address_of

    if place is not None and file is not None:
        raise click.UsageError("give the knowledge base once: as FILE, or by --kb")
    with opened(place or file, bundle) as base:
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
@base_options
def show(code: str, file: Path | None, bundle: Path | None, kind: str | None, as_json: bool) -> None:
    """Show a code and its place.

    CODE with its descriptions, its place in the hierarchy, its children.
    Dots, case and placeholders (T68.XXX) do not matter. Where there is no such code, those that begin like it are
    named: one that lacks its seventh character finds them so.
    """
    with opened(file, bundle, kind) as base:
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
@base_options
def search(text: str, limit: int, file: Path | None, bundle: Path | None, kind: str | None, as_json: bool) -> None:
    """Search by words, or for a code.

    For the words of TEXT, or words that begin like them, or for a code; the closest first.
    Accents, case, hyphens and a code's dot do not matter. Where a word is in no description, others that are written
    nearly like it are named.
    """
    with opened(file, bundle, kind) as base:
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
