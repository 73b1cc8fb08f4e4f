"""No command connects to anything, and none leaves a file but those that are documented."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest
from commands import COMMAND, EACH
from served import TC, serving

STRACE = shutil.which("strace")
TRACED = [str(STRACE), "-f", "-qq", "-e", "trace=connect,sendto,sendmsg,sendmmsg", "-o"]
# Sockets between processes of one machine are no network; a name service is looked for by such a socket alone.
_NETWORK = ("AF_INET", "AF_INET6", "sin_port", "sin6_port")


def run(tmp_path: Path, command: list[str]) -> list[str]:
    """Run a command with an empty home and temporary folder; return the lines of its trace that touch a network."""
    trace = tmp_path / "trace"
    folders = {name: tmp_path / name for name in ("home", "tmp", "here")}
    for folder in folders.values():
        folder.mkdir()
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("XDG_", "ORT_", "PYTHONPATH"))}
    environment = {
        **kept, "HOME": str(folders["home"]), "TMPDIR": str(folders["tmp"]), "CIELO_STATE": str(tmp_path / "state"),
        "OMP_NUM_THREADS": "1",
    }  # fmt: skip
    done = subprocess.run(
        [*TRACED, str(trace), *command], cwd=folders["here"], env=environment, capture_output=True, text=True,
        check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert [str(path) for folder in folders.values() for path in folder.rglob("*") if path.is_file()] == []
    lines = trace.read_text(encoding="utf-8", errors="replace").splitlines()
    return [line for line in lines if any(word in line for word in _NETWORK)]


@pytest.mark.skipif(STRACE is None, reason="needs strace")
@pytest.mark.parametrize("arguments", EACH, indirect=True)
def test_a_command_is_offline_and_leaves_nothing(tmp_path: Path, arguments: list[str]) -> None:
    assert run(tmp_path, [*COMMAND, *arguments]) == []


@pytest.mark.skipif(STRACE is None, reason="needs strace")
def test_a_server_connects_to_nothing_and_leaves_nothing(tmp_path: Path) -> None:
    trace, home = tmp_path / "trace", tmp_path / "home"
    home.mkdir()
    traced = {"HOME": str(home), "TMPDIR": str(home), "CIELO_STATE": str(tmp_path / "state")}
    with serving(tmp_path, environment=traced, before=[*TRACED, str(trace)]) as served:
        assert served.link(TC).json()["results"][0]["link"]["code"] == "BW20"
        assert served.get("/").status_code == 200
        children = Path(f"/proc/{served.process.pid}/task/{served.process.pid}/children").read_text().split()
        os.kill(int(children[0]), signal.SIGTERM)  # the server, under strace
        assert served.process.wait(60) == 0
    assert [path for path in home.rglob("*") if path.is_file()] == []
    lines = trace.read_text(encoding="utf-8", errors="replace").splitlines()
    assert lines
    assert [line for line in lines if any(word in line for word in _NETWORK)] == []


@pytest.mark.skipif(STRACE is None, reason="needs strace")
def test_a_connection_would_be_seen(tmp_path: Path) -> None:
    code = "import socket\nwith socket.socket() as end:\n    end.settimeout(1)\n    end.connect_ex(('127.0.0.1', 9))"
    assert run(tmp_path, [COMMAND[0], "-c", code]) != []
