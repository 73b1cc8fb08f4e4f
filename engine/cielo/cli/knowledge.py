"""``cielo kb``: the group of its commands, and what they share. A command's module is loaded when it is asked for."""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cielo.bundle.hashes import checked_knowledge_base
from cielo.bundle.layout import default_bundle
from cielo.cli.base import Subgroup, main
from cielo.cli.options import BundlePath
from cielo.cli.verbosity import accept_verbosity

if TYPE_CHECKING:
    from cielo.knowledge.reading import KnowledgeBase

_HOMES = {
    "build": "kb_writing", "diff": "kb_comparing", "fetch": "fetching", "info": "kb_reading", "replace": "kb_writing",
    "search": "kb_reading", "show": "kb_reading",
}  # fmt: skip


class _Commands(Subgroup):
    def list_commands(self, context: click.Context) -> list[str]:
        return sorted(_HOMES)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        if name in _HOMES:
            importlib.import_module(f"cielo.cli.{_HOMES[name]}")
        command = super().get_command(context, name)
        if command is not None:
            accept_verbosity(command)  # what is loaded later than the group
        return command


@click.group(cls=_Commands)
def kb() -> None:
    """The knowledge base: built, put into a bundle, compared, looked into."""


main.add_command(kb)


def base_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of which knowledge base is looked into: file, bundle, as_json; see `opened`."""
    for option in (
        click.option("--kb", "file", type=click.Path(dir_okay=False, path_type=Path),
                     help="A knowledge base file; default: the bundle's."),
        click.option("--bundle", type=BundlePath(), envvar="CIELO_BUNDLE",
                     help="Default: CIELO_BUNDLE, else the mini."),
        click.option("--json", "as_json", is_flag=True, help="Print JSON."),
    ):  # fmt: skip
        command = option(command)
    return command


@contextlib.contextmanager
def opened(file: Path | None, bundle: Path | None = None, kind: str | None = None) -> Iterator[KnowledgeBase]:
    """Open a knowledge base, and close it at the end.

    Args:
        file: of the knowledge base, or the directory of a bundle; None: that of `bundle`.
        bundle: None: ``CIELO_BUNDLE``, else the mini.
        kind: that it must have.

    Raises:
        BundleError: where there is none.
        UsageError: where it lacks the kind.
    """
    from cielo.knowledge.reading import KnowledgeBase

    if file is None or file.is_dir():
        file = checked_knowledge_base(file or bundle or default_bundle())
    base = KnowledgeBase(file)
    try:
        if kind is not None and kind not in base.kinds:
            raise click.UsageError(f"got kind {kind!r}; the knowledge base has {', '.join(base.kinds)}")
        yield base
    finally:
        base.close()
