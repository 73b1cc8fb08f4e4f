"""Child processes: no foreign code comes in, and none outlives its parent."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import cielo
import pytest
from cielo import children
from cielo.children import child, end_child, run_child, start_child

ENGINE = Path(cielo.__file__).parents[1]


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """Return a folder with a package `sample`, whose modules do what the tests need."""
    sample = tmp_path / "home" / "sample"
    sample.mkdir(parents=True)
    (sample / "__init__.py").touch()
    (sample / "echo.py").write_text("import sys\nprint(sys.argv[1:], sys.stdin.read())\n", encoding="utf-8")
    (sample / "path.py").write_text("import json, sys\nprint(json.dumps(sys.path))\n", encoding="utf-8")
    (sample / "fail.py").write_text("raise SystemExit(3)\n", encoding="utf-8")
    (sample / "hang.py").write_text(
        "import os, subprocess, sys, time\n"
        "grandchild = subprocess.Popen(['sleep', '60'])\n"
        "print(os.getpid(), grandchild.pid, flush=True)\n"
        "time.sleep(60)\n",
        encoding="utf-8",
    )
    return sample.parent


@pytest.fixture
def homes(package: Path) -> tuple[Path, Path]:
    return package, ENGINE


def gone(pid: int) -> bool:
    for _ in range(100):
        try:
            state = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            return True
        if state == "Z":
            return True
        time.sleep(0.05)
    return False


def test_arguments_and_input_reach_the_module(homes: tuple[Path, Path]) -> None:
    with child("sample.echo", "a", "b c", homes=homes, stdin=-1, stdout=-1, encoding="utf-8") as process:
        output, _ = process.communicate("text")
    assert (output, process.returncode) == ("['a', 'b c'] text\n", 0)


def test_run_gives_the_output_or_nothing(
    package: Path, homes: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(package))
    assert run_child("sample.echo", given="x", timeout=30) == "[] x\n"
    assert run_child("sample.fail", given="", timeout=30) is None


def test_a_child_that_takes_too_long_is_ended(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(package))
    started: list[subprocess.Popen[str]] = []

    def start(*arguments: str, **options: object) -> subprocess.Popen[str]:
        started.append(start_child(*arguments, **options))  # type: ignore[arg-type]
        return started[0]

    monkeypatch.setattr(children, "start_child", start)
    with pytest.raises(subprocess.TimeoutExpired):
        run_child("sample.hang", given="", timeout=0.5)
    assert gone(started[0].pid)


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, ValueError])
def test_an_error_in_the_parent_ends_the_child_and_its_own_children(
    homes: tuple[Path, Path], error: type[BaseException]
) -> None:
    with (
        pytest.raises(error),
        child("sample.hang", homes=homes, stdout=subprocess.PIPE, encoding="utf-8") as process,
    ):
        assert process.stdout is not None
        numbers = [int(word) for word in process.stdout.readline().split()]
        raise error
    assert all(gone(number) for number in numbers)


PARENT = """
import subprocess, sys, time
from pathlib import Path
from cielo.children import start_child
process = start_child("sample.hang", homes=[Path(home) for home in sys.argv[1:]], stdout=subprocess.PIPE)
print(process.stdout.readline().split()[0].decode(), flush=True)
time.sleep(60)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not tell a child of its parent's end")
@pytest.mark.usefixtures("heard")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_no_child_outlives_its_parent_however_that_ends(homes: tuple[Path, Path], number: signal.Signals) -> None:
    command = [sys.executable, "-c", PARENT, *map(str, homes)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as parent:
        assert parent.stdout is not None
        grandchild = int(parent.stdout.readline())
        assert not Path(f"/proc/{grandchild}/stat").read_text(encoding="utf-8").endswith("Z")
        parent.send_signal(number)
    assert gone(grandchild)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not tell a child of its parent's end")
def test_a_child_whose_parent_has_ended_already_does_nothing(tmp_path: Path) -> None:
    command = [sys.executable, "-P", "-m", "cielo.children", "1", "sample.echo"]
    done = subprocess.run(command, capture_output=True, check=False, timeout=30)
    assert (done.returncode, done.stdout) == (1, b"")


def test_ending_a_child_twice_is_fine(homes: tuple[Path, Path]) -> None:
    process = start_child("sample.echo", homes=homes, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    process.wait()
    end_child(process)
    end_child(process)


def path_of_a_child(homes: tuple[Path, Path] | None = None) -> list[str]:
    import json

    with child("sample.path", homes=homes, stdout=subprocess.PIPE) as process:
        output, _ = process.communicate()
    return list(json.loads(output))


def test_neither_the_current_folder_nor_pythonpath_comes_in(
    tmp_path: Path, homes: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(["", str(tmp_path), "."]))
    found = path_of_a_child(homes)
    assert not {"", ".", str(tmp_path)} & set(found)


def test_a_package_that_the_caller_has_from_anywhere_is_found(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(package))
    assert str(package.resolve()) in path_of_a_child()


def test_installed_packages_do_not_come_before_the_interpreter_s_own(
    package: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(package))
    monkeypatch.setattr(children, "_installed", lambda: {package.resolve()})
    process = start_child("sample.path", stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    process.communicate()
    assert process.returncode != 0  # nothing is added, and nothing else knows this package


def test_a_module_without_a_package_is_an_error() -> None:
    with pytest.raises(ModuleNotFoundError, match=r"no_such_package\.x"):
        start_child("no_such_package.x")
