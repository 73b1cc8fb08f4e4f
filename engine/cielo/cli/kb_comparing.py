"""``cielo kb diff``: what another knowledge base changes."""

from __future__ import annotations

import contextlib
import json
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cielo.cli.base import echo, echo_json
from cielo.cli.knowledge import kb, opened
from cielo.errors import TableError

if TYPE_CHECKING:
    from cielo.knowledge.differences import KindDifference, Loss
    from cielo.knowledge.reading import KnowledgeBase

_SHOWN = 20


@kb.command()
@click.argument("old")
@click.argument("new")
@click.option("--lexicon", type=click.Path(dir_okay=False, path_type=Path),
              help="A lexicon, or annotated mentions: what it loses by the codes that are gone.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print JSON, with every code.")
def diff(old: str, new: str, lexicon: Path | None, as_json: bool) -> None:
    """Compare two knowledge bases.

    Named are the codes added, gone, and with another title.

    OLD and NEW are each a knowledge base file, the directory of a bundle, or a table as KIND=FILE; beside a table its
    kind alone is compared.
    """
    from cielo.knowledge.differences import compare, loss

    with contextlib.ExitStack() as stack:
        (one, of_one), (other, of_other) = (stack.enter_context(_side(side)) for side in (old, new))
        kinds = [kind for kind in (of_one, of_other) if kind is not None]
        found = compare(one, other, list(dict.fromkeys(kinds)) or None)
        lost = None if lexicon is None else loss(lexicon, one, other)
        editions = one.edition, other.edition
    if as_json:
        told = {
            "old": editions[0],
            "new": editions[1],
            "kinds": {kind: asdict(entry) for kind, entry in found.items()},
            "lexicon": None if lost is None else asdict(lost),
        }
        echo_json(json.dumps(told, ensure_ascii=False))
        return
    for kind, entry in found.items():
        _show_kind(kind, entry)
    if lost is not None and lexicon is not None:
        _show_loss(click.format_filename(lexicon), lost)


@contextlib.contextmanager
def _side(named: str) -> Iterator[tuple[KnowledgeBase, str | None]]:
    """Open a knowledge base as it was named, with the kind where it is a table of one."""
    kind, sign, table = named.partition("=")
    if not sign or Path(named).exists():
        _refuse_table(named)
        with opened(Path(named)) as base:
            yield base, None
        return
    from cielo.knowledge.building import build_knowledge_base
    from cielo.knowledge.code_tables import CodeTable

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "knowledge_base.sqlite"
        built = build_knowledge_base(file, [CodeTable(Path(table), kind)], edition=Path(table).name)
        if built.rejected:
            name = click.format_filename(table)
            echo(f"  {name}: {len(built.rejected):,} rows rejected; `cielo kb build` names them", err=True)
        with opened(file) as base:
            yield base, kind


def _refuse_table(named: str) -> None:
    from cielo.tables import format_of

    try:
        format_of(named)
    except TableError:  # no table by its name
        return
    raise TableError(
        f"{named} cannot be opened as a knowledge base: it is a table by its name; say of which kind: diagnosis={named}"
    )


def _show_kind(kind: str, found: KindDifference) -> None:
    echo(
        f"{kind}: {len(found.added):,} codes added, {len(found.gone):,} gone, {len(found.retitled):,} with another "
        f"title, {found.same:,} as they were"
    )
    _show("added", [f"{entry.code}  {entry.title}" for entry in found.added])
    _show("gone", [f"{entry.code}  {entry.title}" for entry in found.gone])
    _show("retitled", [f"{entry.code}  {entry.old} -> {entry.new}" for entry in found.retitled])


def _show_loss(name: str, lost: Loss) -> None:
    echo(f"{name}: {len(lost.lost):,} of {lost.codes:,} codes are lost; {lost.unknown:,} are in neither")
    _show("lost", [f"line {entry.line}, {entry.code}" for entry in lost.lost])
    if lost.unreadable:
        echo(f"  {lost.unreadable:,} lines have no code that can be read", err=True)


def _show(what: str, lines: Sequence[str]) -> None:
    for line in lines[:_SHOWN]:
        echo(f"  {what}: {line}")
    if len(lines) > _SHOWN:
        echo(f"  {what}: {len(lines) - _SHOWN:,} more; --json names all")
