"""The conversion as a command: a recipe's file, how far each step is, and the rows that were not taken."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from cielo.bundle.layout import Bundle
from cielo.errors import CieloError
from cielo.knowledge.building import RejectedCode

from cielo_convert.recipe import Recipe

if TYPE_CHECKING:
    from rich.console import Console

_REJECTED_SHOWN = 20


def run_with_progress(
    recipe: Path,
    output: Path,
    *,
    overwrite: bool,
    console: Console,
    progress: Callable[[str, int, int], None] | None = None,
) -> Bundle:
    """Build the bundle of the recipe file `recipe`, and return it, opened.

    Args:
        recipe: its file.
        output: directory of the bundle.
        overwrite: replace what stands there.
        console: where the rows are named that were not taken.
        progress: is told how far each step is; see `cielo_convert.build.build`.

    Raises:
        CieloError: as `cielo_convert.build.build`, and where the conversion's libraries are not installed.
    """
    # What is wrong with the recipe is said at once: the libraries below take seconds to load.
    loaded = Recipe.load(recipe)
    loaded.check_files()
    try:
        from cielo_convert.build import build
    except ImportError as error:
        raise CieloError(f"conversion needs {error.name}; install it with: pip install 'cielo[convert]'") from error
    tell = functools.partial(_tell_rejected, console)
    return Bundle.open(build(loaded, output, progress=progress, rejected=tell, overwrite=overwrite))


def _tell_rejected(console: Console, rows: Sequence[RejectedCode]) -> None:
    """Name the first rows that were not taken."""
    for row in rows[:_REJECTED_SHOWN]:
        console.print(f"rejected: {row.table}, line {row.line}: {row.reason}", markup=False)
    if len(rows) > _REJECTED_SHOWN:
        more = f"{len(rows) - _REJECTED_SHOWN:,} more; `cielo kb build --rejected FILE` writes all"
        console.print(f"rejected: {more}", markup=False)
