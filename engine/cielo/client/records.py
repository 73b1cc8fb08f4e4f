"""What a client hands out beside links."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LinkError:
    """Why one mention has no link, in its place among the others' links; see `cielo.wire.ErrorBody`."""

    index: int
    code: str
    message: str
    field: str | None = None
    id: str | None = None
