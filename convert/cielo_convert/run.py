"""The conversion as a command: how far each file and step is, and the rows that were not taken."""

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
from cielo_convert.sources import Plan, Progress, carry_out

if TYPE_CHECKING:
    from rich.console import Console

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
    plan: Plan,
    output: Path,
    *,
    overwrite: bool,
    console: Console,
    device: str | None = None,
    progress: Progress | None = None,
) -> Converted:
    """Fetch what a plan has to fetch, and build its bundle.

    Args:
        plan: of which nothing is missing.
        output: the new bundle's directory.
        overwrite: replace what stands there, once the new bundle is whole.
        console: where the rows are named that were not taken.
        device: of the gate; None: all that are here.
        progress: is told how far each file and step is: its name, how much is done, and of how much (None: not known).

    Raises:
        CieloError: as `cielo_convert.sources.carry_out` and `cielo_convert.build.build`.
    """
    tell: Progress = progress or (lambda name, done, total: None)
    recipe, checkpoints = carry_out(plan, tell)
    from cielo_convert.build import build  # loads PyTorch, which takes seconds

    count = 0

    def told(rows: Sequence[RejectedCode]) -> None:
        nonlocal count
        count = len(rows)
        _tell_rejected(console, rows)

    built = build(
        recipe, output, progress=tell, rejected=told, overwrite=overwrite, checkpoints=checkpoints, device=device
    )
    return Converted(Bundle.open(built), count)


def _tell_rejected(console: Console, rows: Sequence[RejectedCode]) -> None:
    """Name the first rows that were not taken."""
    for row in rows[:_REJECTED_SHOWN]:
        console.print(f"rejected: {row.table}, line {row.line}: {row.reason}", markup=False)
    if len(rows) > _REJECTED_SHOWN:
        more = f"{len(rows) - _REJECTED_SHOWN:,} more; `cielo kb build --rejected FILE` writes all"
        console.print(f"rejected: {more}", markup=False)
