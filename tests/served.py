"""A server in a process of its own, for tests."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

COMMAND = [sys.executable, "-c", "from cielo.cli import main; main()", "serve", "--port", "0"]
TC = {"text": "TC abdominal", "sentence": "La TC abdominal es normal."}
SYSTEM = "https://example.org/dx"
_PATIENCE = 120.0  # a busy machine is no failure


@dataclass
class Served:
    """A server that answers, where it is, and what it logs."""

    url: str
    process: subprocess.Popen[bytes]
    log: Path

    @property
    def client(self) -> httpx.Client:
        return httpx.Client(base_url=self.url, timeout=_PATIENCE)

    def link(self, *mentions: Mapping[str, Any], **more: Any) -> httpx.Response:
        with self.client as client:
            return client.post("/v1/link", json={"mentions": mentions, **more})

    def get(self, path: str, **more: Any) -> httpx.Response:
        with self.client as client:
            return client.get(path, **more)

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log.read_text(encoding="utf-8").splitlines() if line.startswith("{")]

    def events(self, name: str) -> list[dict[str, Any]]:
        return [line for line in self.lines() if line.get("event") == name]

    def metric(self, name: str) -> float:
        """Return the sum of a metric over its labels."""
        rows = [line for line in self.get("/metrics").text.splitlines() if line.startswith((f"{name} ", f"{name}{{"))]
        return sum(float(line.rpartition(" ")[2]) for line in rows)

    def worker(self) -> int:
        """Return the number of the worker's process."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        assert len(children) == 1
        return int(children[0])

    def until_ready(self) -> None:
        wait_until(lambda: self.get("/readyz").status_code == 200)

    def end(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(_PATIENCE)


def wait_until(condition: Any) -> None:
    """Wait until a condition holds."""
    end = time.monotonic() + _PATIENCE
    while not condition():
        assert time.monotonic() < end, "it never came to be"
        time.sleep(0.02)


@contextlib.contextmanager
def serving(
    folder: Path,
    *arguments: str,
    environment: Mapping[str, str] | None = None,
    before: Sequence[str] = (),
    **popen: Any,
) -> Iterator[Served]:
    """Serve until the block ends; `folder` gets its log, and `before` stands before the command."""
    log = folder / "serve.log"
    variables = {**os.environ, **(environment or {})}
    with log.open("wb") as stream:
        process = subprocess.Popen([*before, *COMMAND, *arguments], stderr=stream, env=variables, **popen)
    served = Served("", process, log)
    try:
        wait_until(lambda: process.poll() is not None or served.events("serving"))
        assert process.poll() is None, log.read_text()
        served.url = served.events("serving")[0]["address"]
        yield served
    finally:
        process.kill()
        process.wait()
