"""This machine: its processors, memory and libraries, and where cielo keeps what it finds out about it."""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import os
import platform
import re
from collections.abc import Iterator
from pathlib import Path

from cielo.errors import CieloError

_LIBRARIES = (
    "cielo",
    "ctranslate2",
    "onnxruntime",
    "tokenizers",
    "hnswlib",
    "numpy",
    "torch",
    "transformers",
    "optimum",
)
_M_MMAP_THRESHOLD = -3  # of glibc's malloc.h
_UNITS = {"": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30}
_OF_A_QUOTA = ("quota", "period")
_NO_BOUND = 1 << 60  # the first version of cgroups writes a number near 2^63 where there is no bound
_SIZE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([KMG]?I?B?)\s*", re.IGNORECASE)


def state_directory() -> Path:
    """Return the directory for what cielo keeps about this machine: ``CIELO_STATE``, else the XDG state directory.

    Raises:
        CieloError: where neither is named and the user has no home directory.
    """
    named = os.environ.get("CIELO_STATE")
    if named:
        return Path(named)
    given = os.environ.get("XDG_STATE_HOME")
    if given:
        return Path(given) / "cielo"
    try:
        home = Path.home()
    except RuntimeError as error:  # a user without an entry in passwd, as in a container, and no HOME
        raise CieloError(
            "this user has no home directory to keep what is found out about the machine in; set CIELO_STATE or HOME"
        ) from error
    return home / ".local" / "state" / "cielo"


def library_versions() -> dict[str, str]:
    """Return the versions of the libraries that a bundle depends on, as far as they are installed."""
    from importlib import metadata  # slow to load

    versions = {"python": platform.python_version()}
    for name in _LIBRARIES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            versions[name] = metadata.version(name)
    return versions


def processor_name() -> str:
    """Return the name of this machine's processor."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def machine_key() -> str:
    """Return a short key of this machine's processor and instruction sets, on which int8 results depend."""
    flags = ""
    with contextlib.suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        flags = next((line for line in lines if line.startswith(("flags", "Features"))), "")
    return hashlib.sha256(f"{processor_name()}\n{flags}".encode()).hexdigest()[:16]


def usable_cores() -> int:
    """Return how many physical cores this process may use: its affinity, less twin threads, within its CPU quota."""
    try:
        cores = len({_siblings(processor) for processor in os.sched_getaffinity(0)})
    except AttributeError:  # not Linux
        cores = os.cpu_count() or 1
    granted = granted_processors()
    return max(1, cores if granted is None else min(cores, int(granted)))


def _siblings(processor: int) -> str:
    """Return a name of the core that a logical processor belongs to."""
    file = Path(f"/sys/devices/system/cpu/cpu{processor}/topology/thread_siblings_list")
    try:
        return file.read_text(encoding="ascii")
    except OSError:
        return str(processor)


def granted_processors(root: Path = Path("/")) -> float | None:
    """Return how many processors' time the control groups grant this process; None where none of them sets a bound.

    That is the least quota of its group and of all groups above it: `cpu.max` in the second version of cgroups, the
    pair `cpu.cfs_quota_us` and `cpu.cfs_period_us` in the first. In a container its own group is mostly mounted as the
    uppermost.

    Args:
        root: of the file system in which ``proc`` and ``sys`` are.
    """
    granted = (quota for folder in _control_groups(root, "cpu") for quota in (_new_quota(folder), _old_quota(folder)))
    return min((quota for quota in granted if quota is not None), default=None)


def granted_memory(root: Path = Path("/")) -> int | None:
    """Return the bytes that the control groups grant this process; None where none of them sets a bound.

    See `granted_processors`; the bounds are `memory.max` and, in the first version, `memory.limit_in_bytes`.
    """
    names = ("memory.max", "memory.limit_in_bytes")
    bounds = (_memory_bound(folder / name) for folder in _control_groups(root, "memory") for name in names)
    return min((bound for bound in bounds if bound is not None), default=None)


def _memory_bound(file: Path) -> int | None:
    with contextlib.suppress(OSError, ValueError):
        bound = int(file.read_text(encoding="ascii"))  # ``max``, no number, where there is none
        return bound if 0 <= bound < _NO_BOUND else None
    return None


def _control_groups(root: Path, controller: str) -> Iterator[Path]:
    """Yield the folders of the control groups that can bound this process; not all need to be there."""
    mounts = root / "sys" / "fs" / "cgroup"
    yield mounts
    lines: list[str] = []
    with contextlib.suppress(OSError, UnicodeDecodeError):
        lines = (root / "proc" / "self" / "cgroup").read_text(encoding="utf-8").splitlines()
    for line in lines:
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if controllers and controller not in controllers.split(","):
            continue
        names = [name for name in path.split("/") if name not in ("", ".", "..")]
        for mount in (controllers, controller) if controllers else ("", "unified"):
            for depth in range(len(names), -1, -1):
                yield mounts.joinpath(mount, *names[:depth])


def _new_quota(folder: Path) -> float | None:
    with contextlib.suppress(OSError, ValueError, ZeroDivisionError):
        quota, period = (folder / "cpu.max").read_text(encoding="ascii").split()
        return int(quota) / int(period)  # ``max``, no number, where there is no bound
    return None


def _old_quota(folder: Path) -> float | None:
    with contextlib.suppress(OSError, ValueError, ZeroDivisionError):
        quota, period = (int((folder / f"cpu.cfs_{name}_us").read_text(encoding="ascii")) for name in _OF_A_QUOTA)
        return quota / period if quota > 0 else None  # -1 where there is no bound
    return None


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


def available_bytes(root: Path = Path("/")) -> int | None:
    """Return the memory that a process could still get without ending another, in bytes; None where nothing tells.

    What the system calls available and its free swap, but no more than the control group leaves.

    Args:
        root: of the file system in which ``proc`` and ``sys`` are.
    """
    system = [bytes_in(root / "proc" / "meminfo", name) for name in ("MemAvailable", "SwapFree")]
    bounds = [] if system[0] is None else [system[0] + (system[1] or 0)]
    # Of every group above this process, as `granted_memory`; the first version's mount counts where no line names it.
    for folder in (*_control_groups(root, "memory"), root / "sys" / "fs" / "cgroup" / "memory"):
        for most, used in (("memory.max", "memory.current"), ("memory.limit_in_bytes", "memory.usage_in_bytes")):
            bound = _memory_bound(folder / most)
            with contextlib.suppress(OSError, ValueError):
                if bound is not None:
                    bounds.append(bound - int((folder / used).read_text(encoding="ascii")))
    return max(0, min(bounds)) if bounds else None


def resident_bytes() -> int | None:
    """Return the resident memory of this process, in bytes; None where the system does not tell (no ``/proc``)."""
    return bytes_in(Path("/proc/self/status"), "VmRSS")


def give_back_memory() -> None:
    """Let glibc return what this process has freed: after loading a large encoder, a third of a gigabyte."""
    with contextlib.suppress(OSError, AttributeError):  # another system, or another C library
        ctypes.CDLL(None).malloc_trim(0)


def keep_no_freed_memory() -> None:
    """Let glibc give every block of a quarter of a megabyte or more back as soon as it is freed, at some cost of time.

    Else it keeps the more the larger the blocks are that a program frees, and for each thread.
    """
    with contextlib.suppress(OSError, AttributeError):  # another system, or another C library
        ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, 1 << 18)


def bytes_in(file: Path, name: str) -> int | None:
    """Return the value of the line ``name: N kB`` of a file under ``/proc``, in bytes; None where there is none."""
    with contextlib.suppress(OSError, UnicodeDecodeError, ValueError, IndexError):
        for line in file.read_text(encoding="utf-8").splitlines():
            if line.startswith(f"{name}:"):
                return int(line.split()[1]) * 1024
    return None
