"""The backends that this version has, by name. To add one: write its file beside this one, and enter it here."""

from __future__ import annotations

from cielo.errors import BundleError
from cielo.generation.ctranslate2 import CTranslate2Backend
from cielo.generation.onnx import OnnxBackend
from cielo.generation.protocol import Backend
from cielo.records import Decoding

BACKENDS: dict[str, Backend] = {"ctranslate2": CTranslate2Backend(), "onnx": OnnxBackend()}
DEFAULT_BACKEND = "ctranslate2"


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
