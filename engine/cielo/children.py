"""Child processes: started so that no foreign code comes in, and ended when their parent ends.

    with child("cielo.workbench.tuning", stdin=subprocess.PIPE) as process:
        ...

Run as a module this file is the child's first step: it ties the child to its parent, then runs the module asked for.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib.util
import os
import runpy
import signal
import site
import subprocess
import sys
import sysconfig
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

_PARENT_DEATH_SIGNAL = 1  # prctl(2), PR_SET_PDEATHSIG


@contextlib.contextmanager
def child(
    module: str,
    *arguments: str,
    settings: Mapping[str, str] | None = None,
    interpreter: str | None = None,
    homes: Iterable[Path] | None = None,
    **streams: Any,
) -> Iterator[subprocess.Popen[Any]]:
    """Run a module in a process of its own, which has ended when the block ends.

    Args:
        module: its name, as for ``python -m``.
        arguments: of the module.
        settings: what its environment has beside the caller's.
        interpreter: default: the caller's own.
        homes: the folders in which the child finds cielo and the module; default: where the caller has them from.
        streams: further arguments of `subprocess.Popen`.

    Raises:
        OSError: where the process cannot be started.
    """
    process = start_child(module, *arguments, settings=settings, interpreter=interpreter, homes=homes, **streams)
    try:
        with process:
            try:
                yield process
            except BaseException:
                end_child(process)
                raise
    finally:
        end_child(process)


def start_child(
    module: str,
    *arguments: str,
    settings: Mapping[str, str] | None = None,
    interpreter: str | None = None,
    homes: Iterable[Path] | None = None,
    **streams: Any,
) -> subprocess.Popen[Any]:
    """Start a process as `child` does; the caller ends it with `end_child`."""
    # -P keeps the current folder out of the child's path. -I would do so too, but it also hides the user's own
    # site-packages, where `pip install --user` puts cielo, and settings such as PYTHONUTF8. So PYTHONPATH is dropped
    # by hand.
    command = [interpreter or sys.executable, "-P", "-m", __name__, str(os.getpid()), module, *arguments]
    found = [_home(__name__), _home(module)] if homes is None else list(homes)
    path = os.pathsep.join(str(home) for home in dict.fromkeys(found) if home not in _installed())
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment |= {"PYTHONPATH": path} if path else {}
    # In a session of its own, so that an interrupt at the terminal reaches the parent alone, which ends the child.
    return subprocess.Popen(command, env={**environment, **(settings or {})}, start_new_session=True, **streams)


def run_child(module: str, *, given: str, timeout: float, settings: Mapping[str, str] | None = None) -> str | None:
    """Run a module with text on its standard input; return its standard output, None where it failed.

    Raises:
        subprocess.TimeoutExpired: where it takes more than `timeout` seconds; it has then been ended.
    """
    with child(
        module, settings=settings, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        encoding="utf-8",
    ) as process:  # fmt: skip
        output, _ = process.communicate(given, timeout)
    return str(output) if process.returncode == 0 else None


def end_child(process: subprocess.Popen[Any]) -> None:
    """End a child that still runs, and what it has started itself."""
    if process.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _home(module: str) -> Path:
    """Return the folder from which the caller has a module's package."""
    spec = importlib.util.find_spec(module.partition(".")[0])
    places = list(spec.submodule_search_locations or ()) if spec is not None else []
    if not places:
        raise ModuleNotFoundError(f"there is no package of the module {module}", name=module)
    return Path(places[0]).resolve().parent


def _installed() -> set[Path]:
    """The folders that every process of this interpreter looks in; they must not come before its own libraries."""
    known = [sysconfig.get_path("purelib"), sysconfig.get_path("platlib"), site.getusersitepackages()]
    return {Path(folder).resolve() for folder in [*known, *site.getsitepackages()]}


# From here on: the other process.


def main(arguments: list[str]) -> None:
    """Tie this process to its parent, and run a module.

    Args:
        arguments: the parent's process number, the module's name, and the module's own arguments.
    """
    parent, module, *rest = arguments
    _end_with(int(parent))
    sys.argv = [module, *rest]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


def _end_with(parent: int) -> None:
    """Have the system end this process when its parent ends, however that may be: Linux alone can."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(_PARENT_DEATH_SIGNAL, signal.SIGKILL)
        if os.getppid() != parent:  # it had ended before
            sys.exit(1)


if __name__ == "__main__":
    main(sys.argv[1:])
