"""Running the server: the socket, the signals, and the end."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import signal
import socket
from collections.abc import Iterator

import uvicorn

from cielo.errors import CieloError, OptionError
from cielo.server.app import application
from cielo.server.connections import limited_protocol
from cielo.server.keys import Keys
from cielo.server.logs import set_up
from cielo.server.service import Service
from cielo.server.settings import ServeSettings

_LOG = logging.getLogger("cielo.server")
_LONGEST_HEADERS = 32 * 1024  # bytes
_KEEP_ALIVE_SECONDS = 30
_LOOK_SECONDS = 0.05
_OTHER_FILES = 128  # of the bundle, the log, the worker
_CLOSE_SECONDS = 5  # after the drain, for answers that are being sent


def serve(settings: ServeSettings) -> None:
    """Serve until SIGTERM or SIGINT, then let what is at work finish, and return.

    Raises:
        CieloError: where the bundle, a setting or the address cannot be used; the port was then never open.
    """
    set_up(settings.log_level)
    _allow_connections(settings.max_connections)
    keys = None if settings.keys is None else Keys(settings.keys)
    with _bound(settings) as address:
        asyncio.run(_serve(settings, keys, address))


def _allow_connections(count: int) -> None:
    """Let this process have as many open files as its connections need, as far as the system allows it."""
    try:
        import resource
    except ImportError:  # not Unix
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = count + _OTHER_FILES
    if soft != resource.RLIM_INFINITY and soft < wanted:
        most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


@contextlib.contextmanager
def _bound(settings: ServeSettings) -> Iterator[socket.socket]:
    """Bind the address, without listening yet: whether it can be had shows before the models are opened."""
    try:
        places = socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, protocol, _, place = places[0]
        address = socket.socket(family, kind, protocol)
        address.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        address.bind(place)
    except OSError as error:
        raise OptionError(
            f"the address {settings.host} port {settings.port} cannot be had ({error.strerror}); choose another"
        ) from error
    with address:
        yield address


async def _serve(settings: ServeSettings, keys: Keys | None, address: socket.socket) -> None:
    service = await Service.open(settings)
    try:
        server = _Server(settings, service, keys)
        host, port = address.getsockname()[:2]
        _LOG.info("serving", extra={"event": "serving", "address": f"http://{host}:{port}"})
        gc.freeze()  # what is loaded now stays: the collector need not look at it again
        await server.serve(sockets=[address])
    finally:
        await service.close()
    _LOG.info("ended", extra={"event": "ended"})


class _Server(uvicorn.Server):
    """Uvicorn's server, with signals of its own: SIGTERM and SIGINT drain, SIGHUP reads the keys again."""

    def __init__(self, settings: ServeSettings, service: Service, keys: Keys | None) -> None:
        super().__init__(
            uvicorn.Config(
                application(service, keys),
                http=limited_protocol(settings),
                loop="asyncio",
                lifespan="off",
                ws="none",
                interface="asgi3",
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,
                timeout_keep_alive=_KEEP_ALIVE_SECONDS,
                timeout_graceful_shutdown=_CLOSE_SECONDS,
                h11_max_incomplete_event_size=_LONGEST_HEADERS,
                backlog=settings.max_connections,
            )
        )
        self._settings, self._service, self._keys = settings, service, keys
        self._draining: asyncio.Task[None] | None = None

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._end)
        loop.add_signal_handler(signal.SIGHUP, self._reload)
        try:
            yield
        finally:
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
                loop.remove_signal_handler(number)

    def _end(self) -> None:
        if self._draining is None:
            self._draining = asyncio.get_running_loop().create_task(self._drain())
        else:  # asked twice: at once
            self.should_exit = self.force_exit = True

    async def _drain(self) -> None:
        service = self._service
        service.draining = True
        _LOG.warning("draining", extra={"event": "draining", "seconds": self._settings.drain_seconds})
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._settings.drain_seconds):
                while service.active:
                    await asyncio.sleep(_LOOK_SECONDS)
        self.should_exit = True

    def _reload(self) -> None:
        if self._keys is None:
            return
        try:
            self._keys.reload()
            _LOG.warning("keys read", extra={"event": "keys_read"})
        except CieloError as error:
            # It names the file and the line, and no key.
            _LOG.error(f"keys kept as they were: {error}", extra={"event": "keys_kept"})
