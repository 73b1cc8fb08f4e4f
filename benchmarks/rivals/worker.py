"""The process of a rival: commands as JSON lines on standard input, answers on standard output.

It needs no more than the standard library before the rival itself is loaded, and only ever sees token ids, except
where it shows how its own tokenizer encodes. An error is reported by its kind, and by its message where no prompt was
given.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import Any, TextIO

from benchmarks.rivals import Inputs, Runner

_LONGEST_REASON = 300


class Worker:
    """Answers commands for one rival."""

    def __init__(self, module: str) -> None:
        self._module_name = module
        self._runner: Runner | None = None

    def answer(self, command: dict[str, Any]) -> dict[str, Any]:
        """Carry a command out and return what to say about it."""
        actions: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
            "prepare": self._prepare, "open": self._open, "encode": self._encode, "run": self._run,
        }  # fmt: skip
        start = time.perf_counter()
        try:
            result = actions[command["do"]](command)
        except (Exception, SystemExit) as error:
            traceback.print_tb(error.__traceback__)
            return {"ok": False, "error": _reason(error, told=command["do"] in ("prepare", "open"))}
        result.setdefault("seconds", time.perf_counter() - start)
        return {"ok": True, **result, **memory()}

    def _prepare(self, command: dict[str, Any]) -> dict[str, Any]:
        _load(self._module_name).prepare(Inputs(**command["inputs"]), Path(command["directory"]))
        return {}

    def _open(self, command: dict[str, Any]) -> dict[str, Any]:
        module = _load(self._module_name)
        directory = Path(command["directory"])
        self._runner = module.open_rival(Inputs(**command["inputs"]), directory, command["options"])
        return {"describe": self._runner.describe()}

    def _encode(self, command: dict[str, Any]) -> dict[str, Any]:
        return {"ids": self._opened.encode(command["prompts"])}

    def _run(self, command: dict[str, Any]) -> dict[str, Any]:
        start = time.perf_counter()
        outputs = self._opened.run(command["ids"], command["decoding"], command["scores"])
        seconds = time.perf_counter() - start
        if len(outputs) != len(command["ids"]):
            raise ValueError(f"got {len(outputs)} outputs for {len(command['ids'])} prompts")
        return {"seconds": seconds, "outputs": outputs}

    @property
    def _opened(self) -> Runner:
        if self._runner is None:
            raise ValueError("the rival is not open")
        return self._runner


def _load(name: str) -> ModuleType:
    if not name.endswith(".py"):
        return importlib.import_module(name)
    spec = importlib.util.spec_from_file_location(Path(name).stem, name)
    if spec is None or spec.loader is None:
        raise ImportError(f"{name} cannot be loaded")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _reason(error: BaseException, *, told: bool) -> str:
    """Return the kind of an error, and the first line of its message where it can hold no prompt."""
    kind = type(error).__name__
    message = str(error).strip().splitlines()
    if not told or not message:
        return kind
    return f"{kind}: {message[0][:_LONGEST_REASON]}"


def memory() -> dict[str, int]:
    """Return what is resident, and the most that was, in bytes; 0 where the system does not tell."""
    found = {"VmRSS": 0, "VmHWM": 0}
    with suppress(OSError, ValueError, IndexError):
        for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
            name = line.partition(":")[0]
            if name in found:
                found[name] = int(line.split()[1]) * 1024
    return {"resident": found["VmRSS"], "peak": found["VmHWM"]}


def _own_output() -> TextIO:
    """Take standard output for the answers alone; what libraries write there goes to standard error."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return answers


def _be_expendable() -> None:
    """Have the system end this process, where memory runs out, before the one that waits for it."""
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")


def main(module: str) -> None:
    """Answer commands until the input ends or says ``close``."""
    answers = _own_output()
    _be_expendable()
    worker = Worker(module)
    for line in sys.stdin:
        command = json.loads(line)
        if command["do"] == "close":
            break
        answers.write(json.dumps(worker.answer(command)) + "\n")
        answers.flush()
    # Libraries with threads of their own can hang or crash while they are taken down; nothing is left to be written.
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1])
