"""How many processes a machine holds: by its cores, and by the memory that one of them was measured to need."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from cielo.errors import OptionError
from cielo.link.linker import Linker
from cielo.machine import bytes_in
from cielo.options import LinkOptions
from cielo.workbench.bench.workload import load_workload

_SAMPLE = 64  # mentions: enough for some of the largest batches
# What a run holds beside its linker: its plan, the rows and links of fragments, pages of mapped files. A run of 200,000
# rows of the mini (one thread, 20,000 distinct mentions) reached 307 MB, where these mentions had needed 168 MB.
_OF_A_RUN = 200_000_000


def plan_actors(cores: int, memory: int | None, *, cores_each: int = 1, memory_each: int | None = None) -> int:
    """Return how many actors a machine holds: one for each share of its cores, as far as its memory goes; perhaps none.

    Args:
        cores: of the machine.
        memory: in bytes, that actors may use; None: it is not known, and bounds nothing.
        cores_each: of an actor, at least 1.
        memory_each: that an actor needs, in bytes (see `process_bytes`); None: it is not known, and bounds nothing.

    Raises:
        OptionError: where an actor has no core or no memory.
    """
    if cores_each < 1 or (memory_each is not None and memory_each < 1):
        raise OptionError(
            f"got {cores_each} core(s) and {memory_each} bytes for each actor, expected at least 1 of each"
        )
    shares = cores // cores_each
    return shares if memory is None or memory_each is None else min(shares, memory // memory_each)


def process_bytes(opening: Callable[[], Linker], linking: LinkOptions | None = None) -> int | None:
    """Return the memory that a process of a run needs, in bytes; None where the system does not tell.

    It is what a run holds beside its linker, and what is measured in this process, which should have done nothing else:
    a linker is opened and links some mentions of the workload of `cielo bench`, as long as those of a published corpus.

    Args:
        opening: gives the linker, without a cache.
        linking: how mentions are linked.
    """
    with opening() as linker:
        for _ in linker.link_each(load_workload().mentions[:_SAMPLE], linking):
            pass
    peak = bytes_in(Path("/proc/self/status"), "VmHWM")
    return None if peak is None else peak + _OF_A_RUN
