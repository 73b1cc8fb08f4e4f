"""Memory: what this process holds, and a linker kept within a budget.

The budget is kept by counting: what the opened models hold is measured, and batches are made so small that the worst
they can need (every output as long as it may be) fits into what is left.
"""

from __future__ import annotations

from cielo.bundle.layout import Bundle
from cielo.bundle.stages import Stages
from cielo.errors import DeviceError
from cielo.generation.searches import SEARCHES
from cielo.machine import resident_bytes

# Of what the models leave free, the encoder may use a quarter; its batches and the generator's never overlap, but the
# allocator gives back what one of them used only in part.
_ENCODER_SHARE = 0.25


def keep_within(stages: Stages, bundle: Bundle, backend: str, memory: int) -> None:
    """Limit the batches of opened stages so that this process stays within `memory` bytes, whatever comes in.

    Args:
        stages: of the bundle.
        bundle: whose manifest tells sizes.
        backend: that runs the generator.
        memory: the budget for this process's resident memory, in bytes.

    Raises:
        DeviceError: where the models leave too little for one prompt, or the bundle or the system cannot tell sizes.
    """
    held, shape = resident_bytes(), bundle.model(backend).shape
    if held is None or shape is None:
        wanting = "this system does not tell the memory of a process" if held is None else _NO_SHAPE
        raise DeviceError(f"a memory budget cannot be kept: {wanting}; leave the budget out")
    working = int((memory - held) * (1 - _ENCODER_SHARE))
    longest = bundle.manifest.generator.max_source_tokens
    least = max(shape.row_bytes(longest, search) for search in SEARCHES.values())
    if working < least:
        needed = held + least / (1 - _ENCODER_SHARE)
        raise DeviceError(
            f"got a memory budget of {memory / 1e6:.0f} MB; the opened models hold {held / 1e6:.0f} MB and the longest "
            f"prompt can need {least / 1e6:.0f} MB: give at least {needed / 1e6:.0f} MB"
        )
    stages.generator.limit_memory(working, shape)
    stages.embedder.limit_memory(int((memory - held) * _ENCODER_SHARE))


_NO_SHAPE = "the bundle does not tell its generator's shape (convert it again)"
