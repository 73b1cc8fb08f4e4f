"""Asking a backend for what it can do: the device, the compute type, the search."""

from __future__ import annotations

from cielo.errors import DeviceError, OptionError
from cielo.generation.protocol import Backend

DEVICES = ("cpu", "cuda")


def resolve_device(backend: Backend, device: str) -> str:
    """Return ``cpu`` or ``cuda`` for ``cpu``, ``cuda`` or ``auto``: a GPU where the backend finds one.

    Raises:
        DeviceError: where the device is unknown or not there.
    """
    if device not in (*DEVICES, "auto"):
        raise DeviceError(f"got device {device!r}; expected one of {', '.join(DEVICES)}, auto")
    there = backend.devices()
    if device == "auto":
        return "cuda" if "cuda" in there else "cpu"
    if device not in there:
        way_out = "use device cpu, or auto" if "cpu" in there else "use device auto"
        raise DeviceError(f"device {device} was asked for and no {device.upper()} device was found; {way_out}")
    return device


def require_runnable(backend: Backend, device: str, compute_type: str) -> None:
    """Refuse a compute type that this machine's `device` does not run as it is.

    Raises:
        DeviceError: where it is unknown to the backend, or does not run.
    """
    if device not in backend.devices():
        raise DeviceError(f"got device {device!r}; this machine has {', '.join(backend.devices())} for {backend.name}")
    if compute_type not in backend.compute_types:
        raise DeviceError(f"got compute type {compute_type!r}; expected one of {', '.join(backend.compute_types)}")
    runnable = backend.runnable_compute_types(device)
    if compute_type not in runnable:
        raise DeviceError(
            f"compute type {compute_type} does not run on this machine's {device}; "
            f"it runs {', '.join(sorted(runnable))}"
        )


def require_search(backend: Backend, decoding: str, *, log_probs: bool = False) -> None:
    """Refuse a decoding, or log-probabilities of given texts (which re-ranking needs), that a backend does not do.

    Raises:
        OptionError: naming what it does.
    """
    if decoding not in backend.decodings:
        raise OptionError(
            f"got decoding {decoding!r}; the backend {backend.name} runs {', '.join(backend.decodings)}: choose one of "
            "these, or open the bundle with the decoding, for a backend that runs it"
        )
    if log_probs and not backend.gives_log_probs:
        raise OptionError(f"rerank needs log-probabilities, which the backend {backend.name} does not give")
