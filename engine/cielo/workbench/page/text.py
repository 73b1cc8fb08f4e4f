"""Names on a page."""

from __future__ import annotations


def shorten(name: str, letters: int) -> str:
    """Cut a name that has more than `letters`."""
    return name if len(name) <= letters else f"{name[: letters - 1]}…"
