"""What can go wrong between a client and its server. No error holds a text of a request."""

from __future__ import annotations

from dataclasses import dataclass

from cielo.errors import CieloError


class ConnectionFailedError(CieloError):
    """The server could not be reached, or the connection broke."""


class ServerError(CieloError):
    """The server refused a whole request.

    Attributes:
        status: of HTTP.
        code: see `cielo.wire.Problem`; ``failed`` where the answer was not one of the server's.
        field: of the request, where it is one.
        request_id: by which the server's log names the request.
    """

    def __init__(
        self, status: int, code: str, message: str, field: str | None = None, request_id: str | None = None
    ) -> None:
        """Say what the server said."""
        place = f" ({field})" if field else ""
        super().__init__(f"the server answered {status}, {code}{place}: {message}")
        self.status, self.code, self.field, self.request_id = status, code, field, request_id


@dataclass(frozen=True, slots=True)
class LinkError:
    """Why one mention has no link, in its place among the others' links; see `cielo.wire.ErrorBody`."""

    index: int
    code: str
    message: str
    field: str | None = None
    id: str | None = None
