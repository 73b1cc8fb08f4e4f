"""The backends that this version has, by name, and which of them answers where nobody said or measured it.

To add one: write its file beside this one, and enter it here.
"""

from __future__ import annotations

from collections.abc import Sequence

from cielo.errors import BundleError
from cielo.generation.ctranslate2 import CTranslate2Backend
from cielo.generation.onnx import OnnxBackend
from cielo.generation.plan import Use
from cielo.generation.protocol import Backend
from cielo.records import Decoding

BACKENDS: dict[str, Backend] = {"ctranslate2": CTranslate2Backend(), "onnx": OnnxBackend()}
DEFAULT_BACKEND = "ctranslate2"
# The backends that answer one mention the fastest, the best first; measured on two cores with AVX-512 VNNI alone.
_FAST_ALONE = ("onnx",)


def running(decoding: Decoding | None = None) -> tuple[str, ...]:
    """Return the names of the backends that run a decoding; None: of all."""
    return tuple(name for name, known in BACKENDS.items() if decoding is None or decoding in known.decodings)


def backend(name: str = DEFAULT_BACKEND) -> Backend:
    """Return the backend of that name.

    Raises:
        BundleError: where this version has none of that name.
    """
    try:
        return BACKENDS[name]
    except KeyError:
        raise BundleError(
            f"got backend {name!r}, expected one of {', '.join(BACKENDS)}; update cielo, or convert the bundle again"
        ) from None


def preferred(names: Sequence[str], device: str, use: Use) -> str:
    """Return the backend that answers on a machine that `cielo tune` was not run on.

    One mention alone on a processor is answered by the backend that was the fastest at that, where it is among them:
    it puts all cores to work on one answer. In bulk, and on a GPU, the first of them answers, the bundle's own. That
    was measured on two cores; that it holds on more is no more than likely.

    Args:
        names: that may answer, the bundle's own first; at least one.
        device: ``cpu`` or ``cuda``.
        use: how it will be asked.
    """
    if use == "single" and device == "cpu":
        return next((name for name in _FAST_ALONE if name in names), names[0])
    return names[0]
