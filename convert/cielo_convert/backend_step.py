"""A backend's step of the conversion: what it is given, and what it gives."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from cielo.bundle.manifest import Check, GeneratorModel


@dataclass(frozen=True, slots=True)
class LoadedGenerator:
    """A generator's checkpoint, loaded once for every backend.

    Attributes:
        checkpoint: its directory.
        model: in PyTorch, float32, with the head that the files hold (`cielo_convert.checkpoint.load_generator`).
        tokenizer: the reference tokenizer.
        kept: ids of the output tokens, sorted; None: all.
    """

    checkpoint: Path
    model: Any
    tokenizer: Any
    kept: list[int] | None


@dataclass(frozen=True, slots=True)
class ConvertedGenerator:
    """What a backend's step gives.

    Attributes:
        model: what the manifest says of it.
        checks: against the checkpoint's own files, kept with the backend's parity figures.
    """

    model: GeneratorModel
    checks: tuple[Check, ...] = ()


class ConvertStep(Protocol):
    """Writes a backend's model into a directory that is there."""

    def __call__(self, loaded: LoadedGenerator, directory: Path, compute_type: str) -> ConvertedGenerator:
        """Write the model in a compute type that the backend has.

        Raises:
            CheckpointError: where the model is of a kind that the backend cannot have.
        """
        ...
