"""A client of `cielo serve`; extra `client`. It loads no model.

>>> from cielo.client import Client
>>> from cielo import Mention
>>> with Client("http://127.0.0.1:8080", key="...") as client:  # doctest: +SKIP
...     client.link([Mention("TC abdominal", "La TC abdominal es normal.")])[0].code
'BW20'
"""

from __future__ import annotations

from cielo.client.records import LinkError
from cielo.errors import ConnectionFailedError, ServerError

try:
    from cielo.client.clients import AsyncClient, Client
except ModuleNotFoundError as error:
    if error.name != "httpx":
        raise
    raise ModuleNotFoundError(
        "the client needs httpx; install it with `pip install 'cielo[client]'`", name="httpx"
    ) from error

__all__ = ["AsyncClient", "Client", "ConnectionFailedError", "LinkError", "ServerError"]
