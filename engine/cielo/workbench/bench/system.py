"""What the figures were measured on: processor, memory, libraries, environment, and the process's own memory.

Where the system does not say (no ``/proc``), a value is None.
"""

from __future__ import annotations

import contextlib
import os
import platform
import re
import threading
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from cielo.machine import bytes_in, granted_processors, library_versions, machine_key, processor_name, usable_cores

# Instruction sets that the libraries choose their kernels by.
_FLAGS = frozenset(
    "avx avx2 fma f16c avx512f avx512bw avx512_vnni avx512_bf16 avx512_fp16 avx_vnni amx_tile amx_int8 amx_bf16 "
    "asimd asimddp i8mm bf16 sve sve2".split()
)
_ENVIRONMENT = re.compile(r"(OMP|GOMP|KMP|MKL|OPENBLAS|CT2|ORT|CUDA|MALLOC)_\w+|GLIBC_TUNABLES")
_PROC = Path("/proc")
_RESET_PEAK = b"5"  # proc(5): resets the peak resident set size to what is resident now
_SAMPLING_SECONDS = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class System:
    """A machine, as far as it matters beside a measured time; None where the system does not say.

    Attributes:
        processor: its name.
        machine_key: by which plans and figures of one kind of machine are kept.
        architecture: of the processor.
        cores: physical cores that this process may use.
        processors: logical processors that it may use, `processors_in_all`: that the machine has,
            `processors_granted`: whose time its control group grants.
        gpus: those that NVIDIA's driver knows.
        instruction_sets: those that libraries choose their kernels by.
        memory: bytes.
        load: the mean number of processes that wanted to run in the last minute.
        kernel, libc: name and release.
        libraries: versions by name.
        environment: variables that change how the libraries work.
    """

    processor: str
    machine_key: str
    architecture: str
    cores: int
    processors: int | None
    processors_in_all: int | None
    processors_granted: float | None
    gpus: tuple[str, ...]
    instruction_sets: tuple[str, ...]
    memory: int | None
    load: float | None
    kernel: str
    libc: str | None
    libraries: dict[str, str]
    environment: dict[str, str]


def describe_system(proc: Path = _PROC) -> System:
    """Return what is worth knowing about this machine beside a measured time."""
    return System(
        processor=processor_name(),
        machine_key=machine_key(),
        architecture=platform.machine(),
        cores=usable_cores(),
        processors=usable_processors(),
        processors_in_all=os.cpu_count(),
        processors_granted=granted_processors(),
        gpus=tuple(gpus(proc)),
        instruction_sets=tuple(instruction_sets(proc)),
        memory=bytes_in(proc / "meminfo", "MemTotal"),
        load=load(),
        kernel=f"{platform.system()} {platform.release()}",
        libc=" ".join(platform.libc_ver()) or None,
        libraries=library_versions(),
        environment={name: value for name, value in sorted(os.environ.items()) if _ENVIRONMENT.fullmatch(name)},
    )


def usable_processors() -> int | None:
    """Return how many logical processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count()


def gpus(proc: Path = _PROC) -> list[str]:
    """Return the names of the GPUs that NVIDIA's driver knows."""
    names = []
    with contextlib.suppress(OSError, UnicodeDecodeError):
        for file in sorted((proc / "driver" / "nvidia" / "gpus").glob("*/information")):
            lines = file.read_text(encoding="utf-8").splitlines()
            names += [line.partition(":")[2].strip() for line in lines if line.startswith("Model:")]
    return names


def instruction_sets(proc: Path = _PROC) -> list[str]:
    """Return the processor's instruction sets, of those that matter here."""
    with contextlib.suppress(OSError, UnicodeDecodeError):
        for line in (proc / "cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith(("flags", "Features")):
                return sorted(_FLAGS & set(line.partition(":")[2].split()))
    return []


def load() -> float | None:
    """Return the mean number of processes that wanted to run in the last minute: neighbours disturb a measurement."""
    with contextlib.suppress(OSError, AttributeError):
        return os.getloadavg()[0]
    return None


def resident(proc: Path = _PROC) -> int | None:
    """Return the bytes of this process that are in memory."""
    return bytes_in(proc / "self" / "status", "VmRSS")


@dataclass(frozen=True, slots=True)
class Memory:
    """Resident memory of the process, in bytes.

    Attributes:
        steady: when what was watched had ended.
        peak: the most while it ran.
        peak_by: ``kernel``, or ``samples`` taken twenty times a second, which a short peak escapes.
    """

    steady: int | None
    peak: int | None
    peak_by: str | None


class MemoryWatch:
    """Watches the resident memory while its block runs; afterwards `memory` holds what was seen."""

    def __init__(self, proc: Path = _PROC) -> None:
        self.memory = Memory(None, None, None)
        self._proc = proc
        self._seen = 0
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        if not self._reset_peak() and resident(self._proc) is not None:
            self._thread = threading.Thread(target=self._sample, name="cielo-bench-memory", daemon=True)
            self._thread.start()
        return self

    def _reset_peak(self) -> bool:
        try:
            with open(os.open(self._proc / "self" / "clear_refs", os.O_WRONLY), "wb") as file:  # noqa: PTH123  write-only
                file.write(_RESET_PEAK)
        except OSError:
            return False
        return bytes_in(self._proc / "self" / "status", "VmHWM") is not None

    def _sample(self) -> None:
        while True:
            self._seen = max(self._seen, resident(self._proc) or 0)
            if self._stop.wait(_SAMPLING_SECONDS):
                return

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        steady = resident(self._proc)
        if self._thread is not None:
            self._stop.set()
            self._thread.join()
            self.memory = Memory(steady, max(self._seen, steady or 0), "samples")
        elif steady is not None:
            self.memory = Memory(steady, bytes_in(self._proc / "self" / "status", "VmHWM"), "kernel")
