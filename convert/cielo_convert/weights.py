"""The files of a checkpoint: which of those that there are belong to it, and whether they are all there."""

from __future__ import annotations

import json
from collections.abc import Iterable
from fnmatch import fnmatch
from pathlib import Path

from cielo.errors import CheckpointError

# Weight files, in the order in which they are looked for.
SINGLE = ("model.safetensors", "pytorch_model.bin")
INDEXES = ("model.safetensors.index.json", "pytorch_model.bin.index.json")
_SETTINGS = ("*.json", "*.model", "*.txt")


def wanted(names: Iterable[str]) -> list[str]:
    """Return the files of a repository that a conversion needs: the settings, then one set of weights, each sorted.

    Args:
        names: of all its files; safetensors are preferred.
    """
    here = sorted(name for name in names if "/" not in name)
    pattern = (
        "model*.safetensors" if any(fnmatch(name, "model*.safetensors") for name in here) else "pytorch_model*.bin"
    )
    weights = [name for name in here if fnmatch(name, pattern)]
    settings = [name for name in here if any(fnmatch(name, pattern) for pattern in _SETTINGS)]
    return [*settings, *weights] if weights else []


def is_whole(directory: Path) -> bool:
    """Tell whether a directory holds a config and one set of weights; what is in them is checked when they are read."""
    if not (directory / "config.json").is_file():
        return False
    for single, index in zip(SINGLE, INDEXES, strict=True):
        if (directory / single).is_file():
            return True
        if (directory / index).is_file():
            try:
                read_index(directory, index)
            except CheckpointError:
                return False
            return True
    return False


def size_of(directory: Path) -> int:
    """Return the bytes of the weights that are read; 0 where there are none."""
    names = wanted(file.name for file in directory.iterdir() if file.is_file())
    return sum((directory / name).stat().st_size for name in names if name.endswith((".safetensors", ".bin")))


def read_index(directory: Path, index: str) -> dict[str, str]:
    """Return which file holds which tensor, as an index says.

    Raises:
        CheckpointError: where it cannot be read, or a file that it names is not there.
    """
    try:
        files = dict(json.loads((directory / index).read_text(encoding="utf-8"))["weight_map"])
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise CheckpointError(f"{directory / index} is damaged; copy or download it again") from error
    missing = sorted({name for name in files.values() if not (directory / name).is_file()})
    if missing:
        raise CheckpointError(f"{directory} lacks the weight files {', '.join(missing)}; copy or download them")
    return files
