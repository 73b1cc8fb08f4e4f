"""The conversion as a command: a recipe's file, a bar for each step, and the rows that were not taken."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from cielo.bundle.layout import Bundle
from cielo.errors import CieloError
from cielo.knowledge.building import RejectedCode

from cielo_convert.recipe import Recipe

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress as Bars
    from rich.progress import TaskID

_REJECTED_SHOWN = 20


def run_with_progress(recipe: Path, output: Path, *, overwrite: bool, console: Console) -> Bundle:
    """Build the bundle of the recipe file `recipe`, draw the progress on `console`, and return the opened bundle.

    Raises:
        CieloError: as `cielo_convert.build.build`, and where the conversion's libraries are not installed.
    """
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    # What is wrong with the recipe is said at once: the libraries below take seconds to load.
    loaded = Recipe.load(recipe)
    loaded.check_files()
    try:
        from cielo_convert.build import build
    except ImportError as error:
        raise CieloError(f"conversion needs {error.name}; install it with: pip install 'cielo[convert]'") from error
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as bars:
        shown = _Shown(bars)
        built = build(loaded, output, progress=shown.draw, rejected=shown.tell, overwrite=overwrite)
    return Bundle.open(built)


class _Shown:
    """What the shell shows of a conversion."""

    def __init__(self, bars: Bars) -> None:
        self._bars = bars
        self._tasks: dict[str, TaskID] = {}

    def draw(self, step: str, done: int, total: int) -> None:
        """Move a step's bar; the steps before it are finished."""
        for name, task in self._tasks.items():
            if name != step and not self._bars.tasks[task].finished:
                self._bars.update(task, completed=self._bars.tasks[task].total)
        if step not in self._tasks:
            self._tasks[step] = self._bars.add_task(step, total=total)
        self._bars.update(self._tasks[step], completed=done, total=total)

    def tell(self, rows: Sequence[RejectedCode]) -> None:
        """Name the first rows that were not taken."""
        for row in rows[:_REJECTED_SHOWN]:
            self._bars.console.print(f"rejected: {row.table}, line {row.line}: {row.reason}", markup=False)
        if len(rows) > _REJECTED_SHOWN:
            more = f"{len(rows) - _REJECTED_SHOWN:,} more; `cielo kb build --rejected FILE` writes all"
            self._bars.console.print(f"rejected: {more}", markup=False)
