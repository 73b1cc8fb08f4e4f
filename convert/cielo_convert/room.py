"""Room for a conversion: what it needs of disk and memory at its peak, against what this machine has."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from cielo.errors import CieloError
from cielo.machine import available_bytes

from cielo_convert.sources import Plan

# Measured at the published model's true shape (generator 4.9 GB in float32, encoder 2.2 GB; benchmarks/README.md): the
# largest process held 7.7 GB in a conversion to int8, and 10.0 GB in one to float32.
_PEAK_NARROW, _PEAK_WIDE = 1.6, 2.1  # bytes for each byte of the generator's weights
# What is left of a byte of float32, scales and what is not quantised included.
_LEFT = {"int8": 0.3, "int16": 0.55, "float16": 0.5, "bfloat16": 0.5}
# The vectors: 1,024 numbers of four bytes for a row of about 70 bytes in the tables.
_VECTORS = 60


@dataclass(frozen=True, slots=True)
class Needs:
    """What a conversion needs, in bytes; estimated from the sizes of its sources.

    Attributes:
        fetched: of disk where the fetched files lie.
        bundle: of disk where the bundle is made.
        memory: of the largest process.
    """

    fetched: int
    bundle: int
    memory: int


def needs(plan: Plan) -> Needs:
    """Return what a plan needs."""
    recipe = plan.recipe
    types = recipe.generator.compute_types.values()
    factor = _PEAK_NARROW if all(name.startswith("int8") for name in types) else _PEAK_WIDE
    generator, encoder = plan.generator.size, plan.encoder.size
    models = generator * sum(_left(name) for name in types) + encoder * _left(recipe.encoder.precision)
    vectors = sum(part.size for part in plan.tables) * _VECTORS
    return Needs(sum(load.size or 0 for load in plan.downloads), int(models + vectors), int(generator * factor))


def _left(compute_type: str) -> float:
    return next((share for beginning, share in _LEFT.items() if compute_type.startswith(beginning)), 1.0)


def require_room(plan: Plan, folder: Path, output: Path) -> None:
    """Refuse a conversion that this machine has no room for.

    Args:
        plan: of the conversion.
        folder: that files are fetched into.
        output: the bundle's directory.

    Raises:
        CieloError: naming each lack in figures.
    """
    wanted = needs(plan)
    disks: dict[int, tuple[Path, int]] = {}
    for place, size in ((_standing(folder), wanted.fetched), (_standing(output), wanted.bundle)):
        device = place.stat().st_dev
        disks[device] = (place, disks.get(device, (place, 0))[1] + size)
    lacks = [
        f"the disk of {place} has {free / 1e9:.1f} GB free, about {size / 1e9:.1f} GB are needed"
        for place, size in disks.values()
        if (free := shutil.disk_usage(place).free) < size
    ]
    memory = available_bytes()
    if memory is not None and memory < wanted.memory:
        lacks.append(f"{memory / 1e9:.1f} GB of memory are available, about {wanted.memory / 1e9:.1f} GB are needed")
    if lacks:
        raise CieloError(
            f"{'; '.join(lacks)}: make room, or use another machine (a bundle can be copied); --skip-checks goes on "
            "anyway"
        )


def _standing(path: Path) -> Path:
    """Return the nearest folder of a path that is there."""
    return next(folder for folder in path.absolute().parents if folder.is_dir())
