"""A rival's process, seen from the comparison: commands out, answers in, and what it means when none comes."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cielo.children import end_child, start_child
from cielo.onnx_runtime import disable_telemetry

ROOT = Path(__file__).resolve().parents[2]
_CLOSING_SECONDS = 20.0
_TICKS = os.sysconf("SC_CLK_TCK")


class RivalError(Exception):
    """Why a rival gave no answer. `killed` tells that it was ended from outside, most often for want of memory."""

    def __init__(self, reason: str, *, killed: bool = False) -> None:
        super().__init__(reason)
        self.killed = killed


class RivalProcess:
    """One rival's process. It waits for a command with a blocking read, so that it takes no time from the others."""

    def __init__(self, module: str, interpreter: str, environment: Mapping[str, str], log: Path) -> None:
        log.parent.mkdir(parents=True, exist_ok=True)
        disable_telemetry()  # of a rival that uses ONNX Runtime; its interpreter need not have cielo
        with log.open("ab") as complaints:
            self._child = start_child(
                "benchmarks.rivals.worker",
                module,
                settings={"TOKENIZERS_PARALLELISM": "false", **environment},
                interpreter=interpreter,
                homes=(ROOT, ROOT / "engine"),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=complaints,
                encoding="utf-8",
                cwd=ROOT,
            )
        self._lines: queue.Queue[str] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        for line in self._child.stdout or ():
            self._lines.put(line)
        self._lines.put("")  # the end

    def ask(self, do: str, timeout: float, **command: Any) -> dict[str, Any]:
        """Send a command and return its answer.

        Raises:
            RivalError: where it answers with an error, ends, or does not answer in `timeout` seconds.
        """
        try:
            self._send({"do": do, **command})
            line = self._lines.get(timeout=timeout)
        except (BrokenPipeError, queue.Empty) as error:
            if isinstance(error, queue.Empty):
                self.kill()
                raise RivalError(f"gave no answer in {timeout:,.0f} s") from None
            line = ""
        if not line:
            raise self._ended()
        answer: dict[str, Any] = json.loads(line)
        if not answer["ok"]:
            raise RivalError(answer["error"])
        return answer

    def _send(self, command: dict[str, Any]) -> None:
        assert self._child.stdin is not None
        self._child.stdin.write(json.dumps(command) + "\n")
        self._child.stdin.flush()

    def _ended(self) -> RivalError:
        code = self._child.wait()
        if code >= 0:
            return RivalError(f"ended with status {code}")
        killed = -code == signal.SIGKILL
        name = signal.Signals(-code).name
        return RivalError("killed, most often for want of memory" if killed else f"crashed ({name})", killed=killed)

    @property
    def alive(self) -> bool:
        """Whether the process still runs."""
        return self._child.poll() is None

    def cpu_seconds(self) -> float:
        """Return the processor time that it has taken so far; 0 where the system does not tell."""
        try:
            stat = Path(f"/proc/{self._child.pid}/stat").read_text(encoding="utf-8")
        except OSError:
            return 0.0
        fields = stat.rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS

    def close(self) -> None:
        """Ask it to end, and end it where it does not."""
        try:
            self._send({"do": "close"})
            self._child.wait(_CLOSING_SECONDS)
        except (OSError, ValueError, subprocess.TimeoutExpired):
            self.kill()

    def kill(self) -> None:
        """End it."""
        end_child(self._child)
