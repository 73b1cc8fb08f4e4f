"""The libraries of the extra ``report``, which only those need who make pages."""

from __future__ import annotations

import contextlib
import os
from types import ModuleType

from cielo import extras
from cielo.errors import CieloError
from cielo.machine import state_directory

_LIBRARIES = ("jinja2", "matplotlib")


def require(name: str) -> ModuleType:
    """Return a module of the extra ``report``.

    Raises:
        CieloError: where it is not installed.
    """
    # It keeps a list of fonts, which would lie in the home directory otherwise.
    with contextlib.suppress(CieloError):
        os.environ.setdefault("MPLCONFIGDIR", str(state_directory() / "matplotlib"))
    return extras.require(name, "report", "a page")


def require_all() -> None:
    """Refuse to go on without the libraries of a page, before work is done that a page is to show.

    Raises:
        CieloError: where one is not installed.
    """
    for name in _LIBRARIES:
        require(name)
