"""Which backend opens a bundle: the one that is asked for, or the fastest of those that may.

A backend may answer where parity was shown for it and it does the decoding. The fastest is the one that `cielo tune`
measured to be so on this machine for the way of use, the bundle's own unless another was faster by a twentieth; where
it did not measure all of them, `cielo.generation.backends.preferred` says which.
"""

from __future__ import annotations

from dataclasses import dataclass

from cielo.bundle.layout import Bundle
from cielo.bundle.manifest import Execution
from cielo.bundle.state import has_parity, load_plans
from cielo.errors import OptionError
from cielo.generation.backends import BACKENDS, preferred, running
from cielo.generation.backends import backend as registered
from cielo.generation.capabilities import DEVICES, require_search
from cielo.generation.plan import Use
from cielo.records import Decoding

AUTO = "auto"
_WORTH_IT = 1.05  # how much faster another backend must have been than the bundle's own


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
    """Return the backend's name. For ``auto`` it is one without parity where none may answer: its opening says so.

    Raises:
        BundleError: where the bundle holds no generator for the one that is asked for.
        OptionError: where that one does not run the decoding, or no backend of the bundle does.
    """
    if asked.backend != AUTO:
        bundle.model(asked.backend)
        require_search(registered(asked.backend), asked.decoding)
        return asked.backend
    device = "cpu" if asked.device == AUTO else asked.device
    names = _that_may(bundle, asked, (device,))
    if not names and asked.device == AUTO:
        names = _that_may(bundle, asked, DEVICES)
    if len(names) < 2:
        return names[0] if names else _able(bundle, asked.decoding)[0]
    kept = {name: load_plans(bundle, _execution(bundle, asked, name, device)) for name in names} if asked.tuned else {}
    figures = {name: plans.figure(asked.use) for name, plans in kept.items() if plans is not None}
    if len(figures) == len(names):
        # The first is the bundle's own: noise is no reason for scores that differ in their last digits.
        return min(figures, key=lambda name: figures[name] * (1 if name == names[0] else _WORTH_IT))
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
    return [
        name
        for name in _able(bundle, asked.decoding)
        if any(has_parity(bundle, _execution(bundle, asked, name, device)) for device in devices)
    ]


def _able(bundle: Bundle, decoding: Decoding) -> list[str]:
    """Return the backends of a bundle that run a decoding, its own before others.

    Raises:
        BundleError: where this version has none of its backends.
        OptionError: where none of them runs it.
    """
    own, held = bundle.manifest.generator.backend, bundle.manifest.generator.backends
    here, known = running(decoding), running()
    names = list(dict.fromkeys([own, *held]))
    able = [name for name in names if name in here]
    if able:
        return able
    if not any(name in known for name in names):
        registered(own)
    listed = ", ".join(f'"{name}"' for name in [*names, *here[:1]])
    remedy = f"convert its recipe with `backends = [{listed}]` under [generator]" if here else "choose another decoding"
    raise OptionError(
        f"got decoding {decoding!r}; the bundle {bundle.name} holds the generator for {', '.join(names)}, which does "
        f"not run it: {remedy}"
    )


def _execution(bundle: Bundle, asked: Asked, name: str, device: str) -> Execution:
    return bundle.execution(device, backend=name, compute_type=asked.compute_type)
