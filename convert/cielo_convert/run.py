"""The conversion as a command: a bar for each file and step, and the rows that were not taken."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cielo.bundle.layout import Bundle
from cielo.errors import CieloError, DeviceError
from cielo.knowledge.building import RejectedCode

from cielo_convert.recipe import Recipe
from cielo_convert.sources import Plan, carry_out

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress as Bars
    from rich.progress import TaskID

_REJECTED_SHOWN = 20
_LIBRARIES = ("torch", "transformers", "optimum", "onnx", "sentencepiece", "safetensors", "huggingface_hub")
_VISIBLE = "CUDA_VISIBLE_DEVICES"


@dataclass(frozen=True, slots=True)
class Converted:
    """A new bundle, and how many rows of its tables were not taken."""

    bundle: Bundle
    rejected: int


def require_libraries() -> None:
    """Refuse to begin without the conversion's libraries; none is loaded for that.

    Raises:
        CieloError: naming what to install.
    """
    missing = [name for name in _LIBRARIES if importlib.util.find_spec(name) is None]
    if missing:
        raise CieloError(f"conversion needs {', '.join(missing)}; install it with: pip install 'cielo[convert]'")


def choose_device(recipe: Recipe, device: str) -> str | None:
    """Return the device of the gate, for ``auto`` (None: all that are here), ``cpu``, ``cuda`` or ``cuda:N``.

    Of several GPUs this process and its children then see the named one alone: call it before CUDA is loaded.

    Raises:
        DeviceError: where it is unknown, or no backend of the recipe has it here.
    """
    from cielo.generation.backends import backend

    if device == "auto":
        return None
    kind, _, number = device.partition(":")
    if kind not in ("cpu", "cuda") or (":" in device and not (kind == "cuda" and number.isdecimal())):
        raise DeviceError(f"got device {device!r}; expected auto, cpu, cuda, or cuda:N")
    if number:
        _see_only(int(number))
    if not any(kind in backend(name).devices() for name in recipe.generator.backends):
        raise DeviceError(f"device {device} was asked for and no such device was found; use --device cpu, or auto")
    return kind


def _see_only(number: int) -> None:
    allowed = [name.strip() for name in os.environ.get(_VISIBLE, "").split(",") if name.strip()]
    if allowed and number >= len(allowed):
        raise DeviceError(f"got device cuda:{number}; {_VISIBLE} allows {len(allowed)}, counted from 0")
    os.environ[_VISIBLE] = allowed[number] if allowed else str(number)


def run_with_progress(
    plan: Plan, output: Path, *, overwrite: bool, console: Console, device: str | None = None
) -> Converted:
    """Fetch what a plan has to fetch, build its bundle, and draw the progress on `console`.

    Args:
        plan: of which nothing is missing.
        output: the new bundle's directory.
        overwrite: replace what stands there, once the new bundle is whole.
        console: to draw on.
        device: of the gate; None: all that are here.

    Raises:
        CieloError: as `cielo_convert.sources.carry_out` and `cielo_convert.build.build`.
    """
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    named = (TextColumn("{task.description}", markup=False), BarColumn())
    with Progress(*named, DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn(), console=console) as bars:
        recipe, checkpoints = carry_out(plan, _Shown(bars).draw)
    from cielo_convert.build import build  # loads PyTorch, which takes seconds

    with Progress(*named, MofNCompleteColumn(), TimeElapsedColumn(), console=console) as bars:
        shown = _Shown(bars)
        built = build(
            recipe, output, progress=shown.draw, rejected=shown.tell, overwrite=overwrite, checkpoints=checkpoints,
            device=device,
        )  # fmt: skip
    return Converted(Bundle.open(built), shown.rejected)


class _Shown:
    """What the shell shows of a conversion."""

    def __init__(self, bars: Bars) -> None:
        self.rejected = 0
        self._bars = bars
        self._tasks: dict[str, TaskID] = {}

    def draw(self, step: str, done: int, total: int | None) -> None:
        """Move a step's bar; the steps before it are finished."""
        for name, task in self._tasks.items():
            if name != step and not self._bars.tasks[task].finished:
                self._bars.update(task, completed=self._bars.tasks[task].total)
        if step not in self._tasks:
            self._tasks[step] = self._bars.add_task(step, total=total)
        self._bars.update(self._tasks[step], completed=done, total=total)

    def tell(self, rows: Sequence[RejectedCode]) -> None:
        """Name the first rows that were not taken."""
        self.rejected = len(rows)
        for row in rows[:_REJECTED_SHOWN]:
            self._bars.console.print(f"rejected: {row.table}, line {row.line}: {row.reason}", markup=False)
        if len(rows) > _REJECTED_SHOWN:
            more = f"{len(rows) - _REJECTED_SHOWN:,} more; `cielo kb build --rejected FILE` writes all"
            self._bars.console.print(f"rejected: {more}", markup=False)
