"""Checks of parity, shown as a table."""

from __future__ import annotations

from collections.abc import Iterable

from cielo.bundle.manifest import Check
from cielo.cli.base import console


def show_checks(title: str, checks: Iterable[Check]) -> None:
    """Show checks with their figures and bounds on standard output."""
    from rich.table import Table

    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    for name in ("check", "figure", "bound", "", "what"):
        table.add_column(name, no_wrap=name != "what")
    for check in checks:
        verdict = "[green]passed[/]" if check.passed else "[red]FAILED[/]"
        table.add_row(check.name, check.shown_figure, f"{check.comparison} {check.tolerance:g}", verdict, check.detail)
    console().print(table)
