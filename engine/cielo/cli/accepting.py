"""Licences of what a command fetches: shown, and accepted once."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import click

from cielo.cli.base import echo
from cielo.errors import CieloError
from cielo.licences import Licence, accept, not_accepted

ACCEPT = click.option(
    "--accept-licence", is_flag=True, help="Accept the licences of what is fetched, without being asked."
)


RAW_BASE = click.option(
    "--raw-base", envvar="CIELO_RAW_BASE", metavar="URL", help="Of a mirror of the server for raw files."
)


def show_licences(licences: Sequence[Licence], *, err: bool = False) -> None:
    """Show licences, each with what it asks for in one sentence."""
    for licence in licences:
        echo(f"  {licence.of}: {licence.name or 'no licence stated'}. {licence.plain} {licence.page}", err=err)


def on_a_terminal() -> bool:
    """Tell whether there is somebody to ask."""
    return sys.stdin.isatty()


def require_accepted(licences: Sequence[Licence], *, accepted: bool) -> None:
    """See to it that the user accepts the licences of what will be fetched; those that were accepted stay so.

    Args:
        licences: of what will be fetched.
        accepted: whether that was said on the command line.

    Raises:
        CieloError: where they are not accepted, or there is no terminal to ask on.
    """
    asked = not_accepted(licences)
    if not asked:
        return
    echo("What will be fetched has licences of its own:", err=True)
    show_licences(asked, err=True)
    if not accepted:
        if not on_a_terminal():
            raise CieloError("nothing was fetched; read these licences, and accept them with --accept-licence")
        if not click.confirm("Do you accept them?", err=True):
            raise CieloError("nothing was fetched: its licences were not accepted")
    accept(asked)
