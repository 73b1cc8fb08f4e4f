"""The worker: a process of its own that holds the models, so that what ends them does not end the server.

Run as a module it reads its settings from a socket that it was given, opens the bundle, and links what it is sent,
batch after batch. A thread beside answers pings: a process that was stopped, or hangs, does not.
"""

from __future__ import annotations

import contextlib
import logging
import queue
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from types import TracebackType

import msgspec

from cielo.bundle.choosing import Asked, choose_backend
from cielo.bundle.layout import Bundle, default_bundle
from cielo.errors import CalibrationError, CieloError, MentionError, OptionError, remedy_for
from cielo.link.linker import Linker
from cielo.machine import parse_size, resident_bytes
from cielo.options import LinkOptions
from cielo.records import Link, Mention
from cielo.server.frames import (
    HEAD_BYTES,
    Batch,
    Done,
    FromWorker,
    Linked,
    Ping,
    Pong,
    Ready,
    Refused,
    Unable,
    length_of,
    pack,
    to_worker,
)
from cielo.server.logs import place_of, set_up
from cielo.server.settings import ServeSettings

# Ordinary words, in lengths as they occur: what is linked before the first caller comes.
_WARM_UP = tuple(
    Mention(text, f"Paciente de {age} años que acude por {text} de varios días de evolución, sin otros síntomas.")
    for age, text in enumerate(("tos", "fiebre", "dolor abdominal", "hipertensión arterial", "disnea", "cefalea"), 40)
)
_LOG = logging.getLogger("cielo.server")
_OF_OPTIONS = (OptionError, CalibrationError)


class Models:
    """The linkers of a bundle, by use; one for both where one backend is the fastest for both."""

    def __init__(self, settings: ServeSettings) -> None:
        """Open them.

        Raises:
            CieloError: as `Linker.open`.
        """
        first = "bulk" if settings.use == "auto" else settings.use
        self.bulk = self.single = _open(settings, use=first)
        if settings.use == "auto" and (name := _other_backend(settings, self.bulk)):
            try:
                self.single = _open(replace(settings, backend=name), use="single", beside=self.bulk)
            except BaseException:
                self.bulk.close()
                raise

    def ready(self) -> Ready:
        """Link a few mentions, and return what the server has to know."""
        for linker in {self.single, self.bulk}:
            linker.link(_WARM_UP[:1])
        began = time.perf_counter()
        self.bulk.link(_WARM_UP, LinkOptions(top_k=4))  # options of its own: nothing of it is in the cache
        seconds = time.perf_counter() - began
        origin, plan = self.bulk.provenance(), self.bulk.plan
        return Ready(
            bundle=self.bulk.bundle,
            backends={"single": self.single.provenance().backend, "bulk": origin.backend},
            compute_type=origin.compute_type,
            device=origin.device,
            decoding=origin.decoding,
            batch_tokens=plan.batch_tokens * plan.replicas,
            tokens_per_second=sum(self.bulk.input_lengths(_WARM_UP)) / seconds,
        )

    def close(self) -> None:
        """Release the models."""
        self.single.close()  # what both share is the other's
        self.bulk.close()

    def run(self, batch: Batch) -> Done:
        """Link a batch. What is wrong with a mention is its own; what fails with others is tried alone."""
        began = time.perf_counter()
        linker = self.single if batch.use == "single" else self.bulk
        stages: dict[str, float] = {}
        outcomes = list(_outcomes(linker, batch.mentions, batch.options, stages))
        return Done(batch.number, outcomes, time.perf_counter() - began, stages, resident_bytes())


def _open(settings: ServeSettings, *, use: str, beside: Linker | None = None) -> Linker:
    return Linker.open(
        settings.bundle,
        backend=settings.backend,
        device=settings.device,
        compute_type=settings.compute_type,
        threads=settings.threads,
        decoding=settings.decoding,
        allow_unverified=settings.allow_unverified,
        memory=None if settings.memory is None else parse_size(settings.memory),
        cache=settings.cache or True,
        lexicon=settings.lexicon,
        verify_files=settings.verify_files,
        use="single" if use == "single" else "bulk",
        beside=beside,
    )


def _other_backend(settings: ServeSettings, opened: Linker) -> str | None:
    """Return the backend for single mentions, where it is another one; None where one answers all.

    A budget of memory, or a compute type, is one backend's.
    """
    if settings.backend != "auto" or settings.memory is not None or settings.compute_type is not None:
        return None
    origin = opened.provenance()
    bundle = Bundle.open(settings.bundle or default_bundle())
    decoding = settings.decoding or bundle.manifest.generator.decoding
    asked = Asked("auto", origin.device, None, decoding, "single", tuned=settings.threads is None)
    name = choose_backend(bundle, asked)
    return None if name == origin.backend else name


def _outcomes(
    linker: Linker, mentions: Sequence[Mention], options: LinkOptions, stages: dict[str, float]
) -> Iterator[Linked | Refused]:
    try:
        found = list(linker.link_each(mentions, options, chunk=max(1, len(mentions))))
    except _OF_OPTIONS as error:
        yield from [Refused("invalid", str(error), "options")] * len(mentions)
    except Exception as error:  # a library's, or a fault of ours: the neighbours shall not suffer
        if len(mentions) > 1:
            for mention in mentions:
                yield from _outcomes(linker, [mention], options, stages)
            return
        yield Refused("failed", remedy_for(error, "the server failed at this mention; its log says where"))
        _report(error)
    else:
        _add_stages(stages, next((link for link in found if isinstance(link, Link)), None))
        yield from map(_outcome, found)


def _outcome(found: Link | CieloError) -> Linked | Refused:
    if isinstance(found, Link):
        row = msgspec.to_builtins(found)
        row["probability"] = found.probability
        return Linked(msgspec.json.encode(row), found.method)
    return Refused("invalid" if isinstance(found, MentionError) else "failed", str(found))


def _add_stages(stages: dict[str, float], link: Link | None) -> None:
    if link is not None:
        for name, value in asdict(link.timings).items():
            if name != "mentions":
                stages[name] = stages.get(name, 0.0) + value


def _report(error: BaseException) -> None:
    """Log what failed and where, without what it says itself: that can hold a mention."""
    _LOG.error("mention failed", extra={"event": "mention_failed", **place_of(error)})


def _report_unhandled(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    _report(error)


class _Line:
    """The socket to the server. Sending is thread-safe."""

    def __init__(self, link: socket.socket) -> None:
        self._socket = link
        self._file = link.makefile("rb")
        self._sending = threading.Lock()

    def send(self, frame: FromWorker) -> None:
        content = pack(frame)
        with self._sending:
            self._socket.sendall(content)

    def receive(self) -> bytes | None:
        head = self._file.read(HEAD_BYTES)
        if len(head) < HEAD_BYTES:
            return None
        length = length_of(head)
        content = self._file.read(length)
        return content if len(content) == length else None


def _listen(line: _Line, batches: queue.SimpleQueue[Batch | None]) -> None:
    """Answer pings and pass batches on, until the server has gone."""
    with contextlib.suppress(OSError):
        while (content := line.receive()) is not None:
            frame = to_worker(content)
            if isinstance(frame, Ping):
                line.send(Pong(resident_bytes()))
            else:
                batches.put(frame)
    batches.put(None)


def _settings(content: bytes | None) -> ServeSettings:
    return msgspec.json.decode(content or b"", type=ServeSettings, dec_hook=lambda kind, value: kind(value))


def main(arguments: Sequence[str]) -> int:
    """Open the models, and link what comes until the server closes the socket.

    Args:
        arguments: the number of the socket.
    """
    sys.excepthook = _report_unhandled
    threading.excepthook = lambda args: _report_unhandled(args.exc_type, args.exc_value or args.exc_type(), None)
    set_up("error")
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's interrupt is the server's business
    line = _Line(socket.socket(fileno=int(arguments[0])))
    settings = _settings(line.receive())
    batches: queue.SimpleQueue[Batch | None] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(line, batches), daemon=True).start()
    try:
        models = Models(settings)
    except CieloError as error:
        line.send(Unable(str(error), isinstance(error, OptionError)))
        return 1
    try:
        line.send(models.ready())
        while (batch := batches.get()) is not None:
            line.send(models.run(batch))
    except OSError:  # the server has gone
        return 0
    finally:
        models.close()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
