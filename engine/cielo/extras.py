"""Optional libraries: imported where they are used, and where one is missing, named with the extra that brings it."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

from cielo.errors import CieloError


def require(name: str, extra: str, user: str) -> ModuleType:
    """Return a module of an optional library.

    Args:
        name: of the module.
        extra: of cielo that installs the library.
        user: what needs it, as the error's first words: ``a run on Ray``.

    Raises:
        CieloError: where it is not installed.
    """
    try:
        return import_module(name)
    except ImportError as error:
        library = name.partition(".")[0]
        raise CieloError(
            f"{user} needs {library}, which is not installed; install it with: pip install 'cielo[{extra}]'"
        ) from error
