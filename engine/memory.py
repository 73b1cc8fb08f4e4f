"""Memory: what this process holds, and a linker kept within a budget.

The budget is kept by counting: what the opened models hold is measured, and batches are made so small that the worst
they can need (every output as long as it may be) fits into what is left.
"""

from __future__ import annotations

import contextlib
import re
from pathlib import Path

from engine.assembly import Stages
from engine.bundle import Bundle
from engine.errors import DeviceError
from engine.stages.generator import SEARCHES, Shape

_UNITS = {"": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30}
_SIZE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([KMG]?I?B?)\s*", re.IGNORECASE)
# Of what the models leave free, the encoder may use a quarter; its batches and the generator's never overlap, but the
# allocator gives back what one of them used only in part.
_ENCODER_SHARE = 0.25


def parse_size(text: str) -> int:
    """Return the bytes of a size such as ``3GB``, ``2.5 GiB`` or ``800MB``.

    Raises:
        ValueError: where it is no size.
    """
    match = _SIZE.fullmatch(text)
    unit = match.group(2).upper() if match else ""
    unit = {"B": ""}.get(unit, unit if unit in _UNITS else unit + "B")
    if match is None or unit not in _UNITS:
        raise ValueError(f"got {text!r}, expected a size such as 3GB, 2.5GiB or 800MB")
    return int(float(match.group(1)) * _UNITS[unit])


def resident_bytes() -> int | None:
    """Return the resident memory of this process, in bytes; None where the system does not tell (no ``/proc``)."""
    return bytes_in(Path("/proc/self/status"), "VmRSS")


def bytes_in(file: Path, name: str) -> int | None:
    """Return the value of the line ``name: N kB`` of a file under ``/proc``, in bytes; None where there is none."""
    with contextlib.suppress(OSError, UnicodeDecodeError, ValueError, IndexError):
        for line in file.read_text(encoding="utf-8").splitlines():
            if line.startswith(f"{name}:"):
                return int(line.split()[1]) * 1024
    return None


def keep_within(stages: Stages, bundle: Bundle, memory: int) -> None:
    """Limit the batches of opened stages so that this process stays within `memory` bytes, whatever comes in.

    Raises:
        DeviceError: where the models leave too little for one prompt, or the bundle or the system cannot tell sizes.
    """
    held, shape = resident_bytes(), bundle.manifest["generator"].get("shape")
    if held is None or shape is None:
        wanting = "this system does not tell the memory of a process" if held is None else _OLD_BUNDLE
        raise DeviceError(f"a memory budget cannot be kept: {wanting}; leave the budget out")
    working = int((memory - held) * (1 - _ENCODER_SHARE))
    longest = int(bundle.manifest["generator"]["max_source_tokens"])
    counted = Shape(**shape)
    least = max(counted.row_bytes(longest, search) for search in SEARCHES.values())
    if working < least:
        needed = held + least / (1 - _ENCODER_SHARE)
        raise DeviceError(
            f"got a memory budget of {memory / 1e6:.0f} MB; the opened models hold {held / 1e6:.0f} MB and the longest "
            f"prompt can need {least / 1e6:.0f} MB: give at least {needed / 1e6:.0f} MB"
        )
    stages.generator.limit_memory(working, counted)
    stages.embedder.limit_memory(int((memory - held) * _ENCODER_SHARE))


_OLD_BUNDLE = "the bundle was built by an older cielo and does not tell its generator's shape (convert it again)"
