"""The gate: no bundle is written before its outputs were compared with float32 PyTorch's."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from cielo.bundle.layout import Bundle
from cielo.bundle.manifest import Check, Execution, ParityFigures
from cielo.errors import ParityError
from cielo.generation.backends import backend as registered
from cielo.generation.capabilities import DEVICES
from cielo.parity.checks import run_checks

WIDEN = "use a wider quantization or precision, or set [parity.tolerances] in the recipe knowingly"


def pass_gate(
    bundle: Bundle,
    early: Mapping[str, Sequence[Check]],
    *,
    device: str | None = None,
    remedy: str = WIDEN,
    tell: Callable[[str], None] | None = None,
) -> dict[str, ParityFigures]:
    """Run the checks for each backend, on each device here that runs its compute type, or on one.

    Args:
        bundle: with all its files and its manifest.
        early: the checks that the conversion made on the way, by backend; they are kept with the others.
        device: on which those backends are checked that have it; the others on all that they have. None: all on all.
        remedy: what to do where a check fails.
        tell: is called with each `Execution.key` before its checks, which can take minutes.

    Returns:
        The figures for the manifest, by `Execution.key`.

    Raises:
        ParityError: where a check failed.
    """
    figures: dict[str, ParityFigures] = {}
    for backend in bundle.manifest.generator.backends:
        before = early.get(backend, ())
        here = executions_here(bundle, backend, device)
        for execution in here:
            if tell is not None:
                tell(execution.key)
            report = run_checks(bundle, execution)
            refuse_failed(report.checks, remedy)
            figures[execution.key] = report.figures(before)
        if not here:
            # Written, and for the machine that can run it to verify: it is not opened until then.
            unverified = ParityFigures(status="unverified", checks=tuple(before))
            figures |= {bundle.execution(device, backend=backend).key: unverified for device in DEVICES}
    return figures


def executions_here(bundle: Bundle, backend: str, only: str | None = None) -> list[Execution]:
    """Return how a backend of a bundle runs here: on each device that runs its model's compute type, or on one.

    Args:
        bundle: whose backend it is.
        backend: by name.
        only: the device, where the backend has it.
    """
    compute_type, runs = bundle.model(backend).compute_type, registered(backend)
    return [
        Execution(backend, device, compute_type)
        for device in ((only,) if only in runs.devices() else runs.devices())
        if compute_type in runs.runnable_compute_types(device)
    ]


def refuse_failed(checks: Iterable[Check], remedy: str = WIDEN) -> None:
    """Raise where checks failed.

    Raises:
        ParityError: naming each failed check with its figure and its tolerance.
    """
    failed = [check for check in checks if not check.passed]
    if failed:
        lines = "".join(f"\n  {_verdict(check)}" for check in failed)
        raise ParityError(
            f"{len(failed)} check(s) against float32 PyTorch failed, and no bundle was written:{lines}\n  {remedy}"
        )


def _verdict(check: Check) -> str:
    return f"{check.name}: got {check.shown_figure}, expected {check.comparison} {check.tolerance:g} ({check.detail})"
