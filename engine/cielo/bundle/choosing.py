"""Which backend opens a bundle: the one that is asked for, or the fastest of those that may.

A backend may answer where parity was shown for it and it does the decoding. The fastest is the one that `cielo tune`
measured to be so on this machine for the way of use; where it did not measure all of them,
`cielo.generation.backends.preferred` says which.
"""

from __future__ import annotations

from dataclasses import dataclass

from cielo.bundle.layout import Bundle
from cielo.bundle.manifest import Execution
from cielo.bundle.state import has_parity, load_plans
from cielo.generation.backends import BACKENDS, preferred
from cielo.generation.capabilities import DEVICES
from cielo.generation.plan import Use
from cielo.records import Decoding

AUTO = "auto"


@dataclass(frozen=True, slots=True)
class Asked:
    """What a bundle is to be opened for.

    Attributes:
        backend: by name, or ``auto``.
        device: ``cpu``, ``cuda`` or ``auto``.
        compute_type: of the generator; None: the bundle's own for the backend.
        decoding: that the backend has to do.
        use: how the linker will be asked.
        tuned: whether what `cielo tune` measured counts; it does not where a plan or threads are given.
    """

    backend: str
    device: str
    compute_type: str | None
    decoding: Decoding
    use: Use
    tuned: bool = True


def choose_backend(bundle: Bundle, asked: Asked) -> str:
    """Return the backend's name. For ``auto`` it is the bundle's own where none may answer: its opening says why.

    Raises:
        BundleError: where the bundle holds no generator for the one that is asked for.
    """
    if asked.backend != AUTO:
        bundle.model(asked.backend)
        return asked.backend
    device = "cpu" if asked.device == AUTO else asked.device
    names = _that_may(bundle, asked, (device,))
    if not names and asked.device == AUTO:
        names = _that_may(bundle, asked, DEVICES)
    if len(names) < 2:
        return names[0] if names else bundle.manifest.generator.backend
    kept = {name: load_plans(bundle, _execution(bundle, asked, name, device)) for name in names} if asked.tuned else {}
    figures = {name: plans.figure(asked.use) for name, plans in kept.items() if plans is not None}
    if len(figures) == len(names):
        return min(figures, key=lambda name: figures[name])
    return preferred(names, device, asked.use)


def backend_on_gpu(bundle: Bundle, asked: Asked) -> str | None:
    """Return the backend that answers on this machine's GPU where ``auto`` leaves both open; None where none does.

    Looking for a GPU loads the backend's library.
    """
    if asked.backend != AUTO or asked.device != AUTO:
        return None
    names = [name for name in _that_may(bundle, asked, ("cuda",)) if "cuda" in BACKENDS[name].devices()]
    return preferred(names, "cuda", asked.use) if names else None


def _that_may(bundle: Bundle, asked: Asked, devices: tuple[str, ...]) -> list[str]:
    """Return the backends that may answer on one of the devices, the bundle's own first."""
    generator = bundle.manifest.generator
    return [
        name
        for name in dict.fromkeys([generator.backend, *generator.backends])
        if name in BACKENDS
        and asked.decoding in BACKENDS[name].decodings
        and any(has_parity(bundle, _execution(bundle, asked, name, device)) for device in devices)
    ]


def _execution(bundle: Bundle, asked: Asked, name: str, device: str) -> Execution:
    return bundle.execution(device, backend=name, compute_type=asked.compute_type)
