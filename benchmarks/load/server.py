"""A served bundle, watched: its figures once a second, and the processor time of its two processes."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

_COMMAND = [sys.executable, "-c", "from cielo.cli import main; main()", "serve", "--port", "0"]
_TICKS = os.sysconf("SC_CLK_TCK")
WATCHED = ("cielo_memory_bytes", "cielo_queue_tokens", "cielo_tokens_per_second")


@dataclass
class Served:
    """A server; `samples` are its figures, `began` the zero of their times."""

    url: str
    process: subprocess.Popen[bytes]
    began: float = field(default_factory=time.perf_counter)
    samples: list[dict[str, float]] = field(default_factory=list)

    def figures(self) -> dict[str, float]:
        """Return the figures that are watched, by name and labels."""
        with urllib.request.urlopen(f"{self.url}/metrics", timeout=60) as answer:  # noqa: S310
            lines = answer.read().decode().splitlines()
        rows = [line.rpartition(" ") for line in lines if line.startswith(WATCHED)]
        return {name: float(value) for name, _, value in rows}

    def processor_seconds(self) -> dict[str, float]:
        """Return the processor time of the server and of its worker."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text(encoding="ascii")
        numbers = {"server": self.process.pid, "worker": int(children.split()[0])}
        return {name: _processor_seconds(number) for name, number in numbers.items()}


def _processor_seconds(process: int) -> float:
    parts = Path(f"/proc/{process}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(parts[11]) + int(parts[12])) / _TICKS


@contextlib.contextmanager
def serving(arguments: Sequence[str]) -> Iterator[Served]:
    """Serve until the block ends, and look at the figures once a second."""
    process = subprocess.Popen([*_COMMAND, *arguments, "--log-level", "info"], stderr=subprocess.PIPE)
    stopped = threading.Event()
    try:
        served = Served(_address(process), process)
        threading.Thread(target=_drain, args=(process,), daemon=True).start()
        watching = threading.Thread(target=_watch, args=(served, stopped), daemon=True)
        watching.start()
        yield served
        stopped.set()
        watching.join()
        process.send_signal(signal.SIGTERM)
        process.wait(60)
    finally:
        process.kill()
        process.wait()


def _address(process: subprocess.Popen[bytes]) -> str:
    assert process.stderr is not None
    told = b""
    for line in process.stderr:
        told = line
        if b'"serving"' in line:
            return str(json.loads(line)["address"])
    raise RuntimeError(f"the server did not start: {told.decode(errors='replace').strip()}")


def _drain(process: subprocess.Popen[bytes]) -> None:
    assert process.stderr is not None
    for _ in process.stderr:
        pass


def _watch(served: Served, stopped: threading.Event) -> None:
    while not stopped.wait(1.0):
        with contextlib.suppress(OSError):
            served.samples.append({"at": time.perf_counter() - served.began, **served.figures()})
