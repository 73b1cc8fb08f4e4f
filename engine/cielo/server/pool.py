"""The worker, supervised: started, watched, and started again when it dies or hangs."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import subprocess
from collections.abc import Callable
from typing import Literal

import msgspec

from cielo.children import end_child, start_child
from cielo.errors import BundleError, CieloError, OptionError
from cielo.records import BundleIdentity
from cielo.server.frames import (
    HEAD_BYTES,
    Batch,
    Done,
    FromWorker,
    Ping,
    Pong,
    Ready,
    ToWorker,
    Unable,
    from_worker,
    length_of,
    pack,
)
from cielo.server.settings import ServeSettings

Reason = Literal["died", "hung"]
_PING_SECONDS = 1.0
_LONGEST_START = 900.0  # seconds: gigabytes are hashed at the first opening
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 30.0
_LOG = logging.getLogger("cielo.server")


class Worker:
    """One worker process, from its start to its end."""

    def __init__(self, settings: ServeSettings) -> None:
        """Hold what it is started with; see `start`."""
        self._settings = settings
        self._process: subprocess.Popen[bytes] | None = None
        self._reader: asyncio.StreamReader
        self._writer: asyncio.StreamWriter
        self._heard = 0.0
        self._pinged = 0.0

    async def start(self) -> Ready:
        """Start the process, and wait until its models are warm.

        Raises:
            CieloError: where it cannot open the bundle, or ended before it had.
        """
        here, there = socket.socketpair()
        with there:
            self._process = start_child(
                "cielo.server.worker", str(there.fileno()), pass_fds=(there.fileno(),), stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
            )  # fmt: skip
        self._reader, self._writer = await asyncio.open_connection(sock=here)
        settings = msgspec.json.encode(self._settings, enc_hook=str)
        self._writer.write(len(settings).to_bytes(HEAD_BYTES, "big") + settings)
        try:
            async with asyncio.timeout(_LONGEST_START):
                first = await self.receive()
        except TimeoutError:
            first = None
        if isinstance(first, Unable):
            raise (OptionError if first.usage else BundleError)(first.message)
        if not isinstance(first, Ready):
            code = self.end()
            raise CieloError(f"the process of the models ended before they were open (exit code {code})")
        self._heard = self._now()
        return first

    async def receive(self) -> FromWorker | None:
        """Return what it sent next; None where it has ended."""
        try:
            content = await self._reader.readexactly(length_of(await self._reader.readexactly(HEAD_BYTES)))
        except (asyncio.IncompleteReadError, OSError):
            return None
        self._heard = self._now()
        return from_worker(content)

    def send(self, frame: ToWorker) -> None:
        """Send it something; where it has ended, that shows when it is listened to."""
        if isinstance(frame, Ping):
            self._pinged = self._now()
        with contextlib.suppress(OSError):
            self._writer.write(pack(frame))

    @property
    def silent_seconds(self) -> float:
        """How long it has not answered a ping."""
        return self._now() - self._pinged if self._pinged > self._heard else 0.0

    def end(self) -> int | None:
        """End the process, whatever it does, and return its exit code."""
        if self._process is None:
            return None
        end_child(self._process)
        with contextlib.suppress(AttributeError):  # it was never connected
            self._writer.close()
        return self._process.returncode

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()


class Supervisor:
    """Keeps one worker at work, and tells what it answers.

    Attributes:
        ready: what the first worker said of itself.
        up: whether there is one that can be given work.
        memory: of the worker, in bytes, as it last said; None: it is not known.
    """

    def __init__(
        self,
        settings: ServeSettings,
        *,
        on_done: Callable[[Done], None],
        on_up: Callable[[], None],
        on_down: Callable[[Reason], None],
        is_overdue: Callable[[], bool],
    ) -> None:
        """Hold what is told when: a batch was done, a worker is ready, a worker was lost with what it had.

        A worker that is `overdue` with its work hangs, even if it answers pings.
        """
        self._settings = settings
        self._is_overdue = is_overdue
        self._on_done, self._on_up, self._on_down = on_done, on_up, on_down
        self._worker = Worker(settings)
        self._tasks: list[asyncio.Task[None]] = []
        self.ready: Ready
        self.up = False
        self.memory: int | None = None

    @property
    def bundle(self) -> BundleIdentity:
        """The bundle that every worker has to have opened."""
        return self.ready.bundle

    async def start(self) -> None:
        """Start the first worker.

        Raises:
            CieloError: where it cannot be started: the bundle or a setting is wrong.
        """
        try:
            self.ready = await self._worker.start()
        except BaseException:
            self._worker.end()
            raise
        self.up = True
        self._tasks.append(asyncio.create_task(self._keep()))

    def send(self, batch: Batch) -> None:
        """Give the worker a batch; `up` has to be true."""
        self._worker.send(batch)

    async def close(self) -> None:
        """End the worker, and watch no more."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self.up = False
        await asyncio.to_thread(self._worker.end)

    async def _keep(self) -> None:
        while True:
            reason = await self._watch()
            self.up = False
            code = await asyncio.to_thread(self._worker.end)
            _LOG.error("worker lost", extra={"event": "worker_lost", "reason": reason, "exit_code": code})
            self._on_down(reason)
            await self._restart()
            self.up = True
            _LOG.warning("worker started", extra={"event": "worker_started"})
            self._on_up()

    async def _watch(self) -> Reason:
        """Pass on what the worker sends, and return why it is lost."""
        listening = asyncio.create_task(self._listen())
        try:
            while not listening.done():
                if self._worker.silent_seconds == 0.0:
                    self._worker.send(Ping())
                await asyncio.wait({listening}, timeout=_PING_SECONDS)
                if self._worker.silent_seconds > self._settings.hang_seconds or self._is_overdue():
                    return "hung"
            listening.result()
            return "died"
        finally:
            listening.cancel()

    async def _listen(self) -> None:
        while (frame := await self._worker.receive()) is not None:
            if isinstance(frame, Pong):
                self.memory = frame.memory
            elif isinstance(frame, Done):
                self.memory = frame.memory
                self._on_done(frame)

    async def _restart(self) -> None:
        """Start another worker, again and again, each time after a longer pause; it must have the same bundle."""
        pause = _FIRST_PAUSE
        while True:
            self._worker = Worker(self._settings)
            try:
                found = await self._worker.start()
                if found.bundle == self.bundle:
                    return
                problem = "the bundle is another one than at the start: start the server again"
            except CieloError as error:
                problem = str(error)
            await asyncio.to_thread(self._worker.end)
            _LOG.error("worker not started", extra={"event": "worker_not_started", "problem": problem})
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)
