"""What this machine found out about a bundle: its parity here, and the thread plans that `cielo tune` kept.

Both are kept in the machine's state directory, for each backend, device and compute type (`Execution`).
"""

from __future__ import annotations

import contextlib
import errno
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

from msgspec import Meta

from cielo import schema
from cielo.bundle.layout import Bundle
from cielo.bundle.manifest import Execution, ParityFigures
from cielo.errors import BundleError
from cielo.files import atomic_write, read_bounded, temporary_file
from cielo.generation.plan import ThreadPlan, Use
from cielo.machine import machine_key, processor_name, state_directory, usable_cores

_Milliseconds = Annotated[float, Meta(ge=0)]

MOST_BYTES = 4_000_000  # of a state file; they hold some thousands


@dataclass(frozen=True, slots=True)
class MachineParity:
    """The figures of this machine for one bundle, by `Execution.key`."""

    parity: Mapping[str, ParityFigures]
    schema: Literal[1] = 1


@dataclass(frozen=True, slots=True)
class Measured:
    """A plan's figures, in milliseconds a mention: medians over the rounds, with the least and the most.

    Attributes:
        plan: what was measured.
        single_ms: one mention at a time.
        single_range: the least and the most of the rounds' medians.
        bulk_ms: all mentions at once.
        bulk_range: the least and the most of the rounds.
    """

    plan: ThreadPlan
    single_ms: _Milliseconds
    single_range: tuple[_Milliseconds, _Milliseconds]
    bulk_ms: _Milliseconds
    bulk_range: tuple[_Milliseconds, _Milliseconds]

    def figure(self, use: Use) -> float:
        """Return the milliseconds of a use."""
        return self.single_ms if use == "single" else self.bulk_ms


@dataclass(frozen=True, slots=True)
class KeptPlans:
    """What `cielo tune` measured on this machine for one bundle in one `Execution`.

    Attributes:
        cores: how many it was measured with.
        measured: every plan that was.
        processor: its name.
    """

    cores: Annotated[int, Meta(ge=1)]
    measured: Annotated[tuple[Measured, ...], Meta(min_length=1)]
    processor: str
    schema: Literal[3] = 3

    def best(self, use: Use) -> Measured:
        """Return the fastest for a use."""
        return min(self.measured, key=lambda entry: entry.figure(use))

    def figure(self, use: Use) -> float:
        """Return the milliseconds by which backends are compared: those of the fastest that searches with beams.

        Greedy first does less, and only where one answer without runners-up is asked for.
        """
        alike = [entry for entry in self.measured if entry.plan.first_search == "beams"] or self.measured
        return min(entry.figure(use) for entry in alike)


def known_parity(bundle: Bundle) -> dict[str, ParityFigures]:
    """Return what is known here of parity, by `Execution.key`.

    The figures of the machine that built the bundle are in its manifest; those of this machine replace them.
    """
    return {**bundle.manifest.parity, **_read_parity(_parity_file(bundle))}


def has_parity(bundle: Bundle, execution: Execution) -> bool:
    """Tell whether parity was shown for exactly this backend, device and compute type."""
    figures = known_parity(bundle).get(execution.key)
    return figures is not None and figures.passed


def record_parity(bundle: Bundle, execution: Execution, figures: ParityFigures) -> Path:
    """Keep this machine's parity figures; return the file they are in.

    Raises:
        BundleError: where the state directory cannot be written to.
    """
    file = _parity_file(bundle)
    write_state(file, MachineParity({**_read_parity(file), execution.key: figures}))
    return file


def save_plans(bundle: Bundle, execution: Execution, measured: Sequence[Measured]) -> Path:
    """Keep what was measured on this machine, one plan at least; return its file.

    Raises:
        BundleError: where the state directory cannot be written to.
    """
    file = plan_file(bundle, execution)
    write_state(file, KeptPlans(usable_cores(), tuple(measured), processor_name()))
    return file


def load_plans(bundle: Bundle, execution: Execution) -> KeptPlans | None:
    """Return what was measured on this machine; None where nothing was, or with another number of cores."""
    file = plan_file(bundle, execution)
    try:
        kept = schema.decode(
            KeptPlans, read_bounded(file, MOST_BYTES), str(file), error=BundleError, remedy="run `cielo tune`"
        )
    except OSError:
        return None
    except BundleError as error:
        warnings.warn(f"a thread plan is not used: {error}", stacklevel=2)
        return None
    return kept if kept.cores == usable_cores() else None


def plan_for(bundle: Bundle, execution: Execution, threads: int | None = None, *, use: Use = "bulk") -> ThreadPlan:
    """Return the plan of a linker: for `threads` if given, else the best that `cielo tune` kept, else the default."""
    kept = None if threads else load_plans(bundle, execution)
    if kept is not None:
        return replace(kept.best(use).plan, source="tuned")
    from cielo.generation.backends import backend  # it loads numpy and the tokenizers: the command starts without

    return backend(execution.backend).default_plan(execution.device, threads, use=use)


def plan_file(bundle: Bundle, execution: Execution) -> Path:
    """Return where this machine's plan for a bundle is kept."""
    name = "-".join([bundle.models_sha256[:16], execution.backend, execution.device, execution.compute_type])
    return state_directory() / "plans" / f"{name}-{machine_key()}.json"


def _parity_file(bundle: Bundle) -> Path:
    return state_directory() / "parity" / f"{bundle.models_sha256[:32]}-{machine_key()}.json"


def _read_parity(file: Path) -> Mapping[str, ParityFigures]:
    """Return what a state file holds; a damaged one holds nothing."""
    try:
        found = schema.decode(
            MachineParity, read_bounded(file, MOST_BYTES), str(file), error=BundleError, remedy="delete it"
        )
    except (OSError, BundleError):
        return {}
    return found.parity


def write_state(file: Path, record: object) -> None:
    """Write a state file.

    Raises:
        BundleError: where the state directory cannot be written to.
    """
    with _keeping(file), atomic_write(file) as temporary:
        temporary.write_bytes(schema.encode(record))


def require_state(bundle: Bundle, *executions: Execution) -> None:
    """Try whether this machine's parity and plans can be kept: before minutes of measuring, and not after them.

    Raises:
        BundleError: where the state directory cannot be written to.
    """
    for file in (_parity_file(bundle), *(plan_file(bundle, execution) for execution in executions)):
        with _keeping(file), temporary_file(file.parent):
            pass


@contextlib.contextmanager
def _keeping(file: Path) -> Iterator[None]:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        if file.exists() and not file.is_file():  # a FIFO would be waited for
            raise OSError(errno.EINVAL, f"{file.name} is not a regular file")
        yield
    except OSError as error:
        raise BundleError(
            f"what this machine found out cannot be kept in {file.parent} ({error.strerror}); "
            "name another directory in CIELO_STATE"
        ) from error
