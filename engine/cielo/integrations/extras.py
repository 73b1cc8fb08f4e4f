"""The optional libraries of the integrations."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

from cielo.errors import CieloError


def require(name: str, extra: str) -> ModuleType:
    """Return a module of an optional library.

    Args:
        name: of the module.
        extra: of cielo that installs it.

    Raises:
        CieloError: where it is not installed.
    """
    try:
        return import_module(name)
    except ImportError as error:
        library = name.partition(".")[0]
        raise CieloError(
            f"this integration needs {library}, which is not installed; install it with: pip install 'cielo[{extra}]'"
        ) from error
