"""Memory: what this process holds, and a linker kept within a budget.

The budget is kept by counting: what the opened models hold is measured, and batches are made so small that the worst
they can need (every output as long as it may be) fits into what is left. It is one for all callers of a linker: one at
a time works with the models, for a few mentions, and then it is the next one's turn.
"""

from __future__ import annotations

from dataclasses import replace

from cielo.bundle.layout import Bundle
from cielo.bundle.stages import Stages
from cielo.bundle.turns import Turns
from cielo.errors import DeviceError
from cielo.generation.searches import SEARCHES
from cielo.machine import resident_bytes

# Of what the models leave free, the links kept in memory may use a tenth. Of the rest, encoder and search may use
# a quarter; they and the generator never work at the same time, but the allocator gives back what one of them used only
# in part.
_ON_THE_WAY = 24_000_000  # bytes of the mentions of one turn, and of what the allocator does not give back
_CACHE_SHARE = 0.1
_ENCODER_SHARE = 0.25


def keep_within(stages: Stages, bundle: Bundle, backend: str, memory: int) -> Stages:
    """Return opened stages whose work keeps this process within `memory` bytes, whatever comes in.

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
    free = int((memory - held - _ON_THE_WAY) * (1 - _CACHE_SHARE))
    working = int(free * (1 - _ENCODER_SHARE))
    longest = bundle.manifest.generator.max_source_tokens
    least = max(shape.row_bytes(longest, search) for search in SEARCHES.values())
    if working < least:
        needed = held + _ON_THE_WAY + least / (1 - _ENCODER_SHARE) / (1 - _CACHE_SHARE)
        raise DeviceError(
            f"got a memory budget of {memory / 1e6:.0f} MB; the opened models hold {held / 1e6:.0f} MB and the longest "
            f"prompt can need {least / 1e6:.0f} MB: give at least {needed / 1e6:.0f} MB"
        )
    stages.generator.limit_memory(working, shape)
    stages.embedder.limit_memory(free - working)
    for index in stages.indexes.values():
        index.limit_memory(free - working)
    return replace(stages, turns=Turns(memory - held - _ON_THE_WAY - free))


_NO_SHAPE = "the bundle does not tell its generator's shape (convert it again)"
