"""The one writer of files: whole or not at all, whatever happens to the process."""

from __future__ import annotations

import errno
import os
import resource
import signal
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from cielo import files
from cielo.files import atomic_write, exchange, temporary_folder

PARTIAL = ".cielo-*.partial*"


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture(autouse=True)
def own_temporary_folder(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path_factory.mktemp("temporary")
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    return folder


def test_a_new_file_appears_at_the_end_with_the_mode_that_the_umask_allows(tmp_path: Path) -> None:
    path = tmp_path / "new"
    before = os.umask(0o027)
    try:
        with atomic_write(path) as temporary:
            assert mode(temporary) == 0o600
            temporary.write_text("whole", encoding="utf-8")
            assert not path.exists()
    finally:
        os.umask(before)
    assert path.read_text(encoding="utf-8") == "whole"
    assert mode(path) == 0o640
    assert list(tmp_path.iterdir()) == [path]


def test_names_cannot_be_foreseen(tmp_path: Path) -> None:
    names = set()
    for _ in range(20):
        with atomic_write(tmp_path / "x") as temporary:
            names.add(temporary.name)
    assert len(names) == 20
    assert not any(str(os.getpid()) == part for name in names for part in name.split("."))


@pytest.mark.parametrize("kept", [0o600, 0o640, 0o664, 0o755])
def test_what_stood_there_keeps_its_mode(tmp_path: Path, kept: int) -> None:
    path = tmp_path / "known"
    path.write_text("old", encoding="utf-8")
    path.chmod(kept)
    with atomic_write(path) as temporary:
        assert mode(temporary) == 0o600
        temporary.write_text("new", encoding="utf-8")
    assert (path.read_text(encoding="utf-8"), mode(path)) == ("new", kept)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_what_stood_there_keeps_its_owner(tmp_path: Path) -> None:
    path = tmp_path / "known"
    path.touch()
    os.chown(path, 1234, 2345)
    with atomic_write(path) as temporary:
        temporary.write_text("new", encoding="utf-8")
    assert (path.stat().st_uid, path.stat().st_gid) == (1234, 2345)


def test_what_a_group_was_allowed_is_not_for_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    path = tmp_path / "known"
    path.touch()
    path.chmod(0o664)
    known = os.stat_result([*path.stat()[:5], path.stat().st_gid + 1, *path.stat()[6:]])
    monkeypatch.setattr(os, "fchown", refuse)
    monkeypatch.setattr(files, "_stat", lambda place: known if place == path else place.stat())
    with atomic_write(path) as temporary:
        temporary.write_text("new", encoding="utf-8")
    assert mode(path) == 0o604


def test_an_error_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "known"
    path.write_text("old", encoding="utf-8")
    with pytest.raises(ValueError, match="inside"), atomic_write(path) as temporary:
        temporary.write_text("half", encoding="utf-8")
        raise ValueError("inside")
    assert path.read_text(encoding="utf-8") == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("relative", [True, False])
def test_a_link_stays_and_its_file_is_replaced(tmp_path: Path, relative: bool) -> None:
    (tmp_path / "deep").mkdir()
    real = tmp_path / "deep" / "real"
    real.write_text("old", encoding="utf-8")
    (tmp_path / "middle").symlink_to("deep/real" if relative else real)
    (tmp_path / "link").symlink_to("middle" if relative else tmp_path / "middle")
    with atomic_write(tmp_path / "link") as temporary:
        assert temporary.parent == real.parent.resolve()
        temporary.write_text("new", encoding="utf-8")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "middle").is_symlink()
    assert real.read_text(encoding="utf-8") == "new"
    assert not real.is_symlink()


def test_a_link_to_nothing_makes_what_it_leads_to(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("made")
    with atomic_write(tmp_path / "link") as temporary:
        temporary.write_text("new", encoding="utf-8")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "made").read_text(encoding="utf-8") == "new"


def test_links_in_a_circle_are_an_error(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with pytest.raises(OSError, match=os.strerror(errno.ELOOP)), atomic_write(tmp_path / "a"):
        pytest.fail("it cannot be written")


def test_a_folder_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError), atomic_write(tmp_path):
        pytest.fail("it cannot be written")


def test_a_missing_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), atomic_write(tmp_path / "none" / "x"):
        pytest.fail("it cannot be written")


def test_a_planted_link_is_not_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    victim = tmp_path / "victim"
    victim.write_text("theirs", encoding="utf-8")
    monkeypatch.setattr(files.secrets, "token_hex", lambda size: "0" * 2 * size)
    (tmp_path / f".cielo-{'0' * 32}.partial").symlink_to(victim)
    with pytest.raises(FileExistsError), atomic_write(tmp_path / "x"):
        pytest.fail("it cannot be written")
    assert victim.read_text(encoding="utf-8") == "theirs"


def test_a_link_that_looks_like_a_leftover_harms_nobody(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("theirs", encoding="utf-8")
    (tmp_path / f".cielo-{'1' * 32}.partial").symlink_to(victim)
    with atomic_write(tmp_path / "x") as temporary:
        temporary.touch()
    assert victim.read_text(encoding="utf-8") == "theirs"


def test_a_device_is_written_to_and_stays(tmp_path: Path) -> None:
    with atomic_write(Path("/dev/null")) as temporary:
        temporary.write_text("gone", encoding="utf-8")
    assert stat.S_ISCHR(Path("/dev/null").stat().st_mode)
    assert not list(Path("/dev").glob(PARTIAL))
    (tmp_path / "link").symlink_to("/dev/null")
    with atomic_write(tmp_path / "link") as temporary:
        temporary.write_text("gone", encoding="utf-8")
    assert (tmp_path / "link").is_symlink()


def test_a_full_device_is_an_error_and_leaves_nothing(own_temporary_folder: Path) -> None:
    with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)), atomic_write(Path("/dev/full")) as temporary:
        temporary.write_text("too much", encoding="utf-8")
    assert list(own_temporary_folder.iterdir()) == []


def test_a_fifo_is_written_to_and_stays(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    read: list[str] = []
    reader = threading.Thread(target=lambda: read.append(fifo.read_text(encoding="utf-8")))
    reader.start()
    with atomic_write(fifo) as temporary:
        temporary.write_text("through", encoding="utf-8")
    reader.join(10)
    assert read == ["through"]
    assert stat.S_ISFIFO(fifo.stat().st_mode)


WRITE = """
import sys
from pathlib import Path
from cielo.files import atomic_write
with atomic_write(Path(sys.argv[1])) as temporary:
    temporary.write_text(sys.argv[2], encoding="utf-8")
"""


@pytest.mark.parametrize("name", ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"])
def test_standard_output_is_written_on_where_it_stands(tmp_path: Path, name: str) -> None:
    out = tmp_path / "out"
    out.write_text("before\n", encoding="utf-8")
    for mode_of_opening, before in (("ab", "before\n"), ("wb", "")):
        with out.open(mode_of_opening) as stream:
            subprocess.run([sys.executable, "-c", WRITE, name, "after"], stdout=stream, check=True)
        assert out.read_text(encoding="utf-8") == f"{before}after"
    assert list(tmp_path.iterdir()) == [out]
    piped = subprocess.run([sys.executable, "-c", WRITE, name, "after"], capture_output=True, check=True)
    assert piped.stdout == b"after"


def test_a_link_to_standard_output_is_standard_output(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/dev/stdout")
    command = [sys.executable, "-c", WRITE, str(tmp_path / "link"), "after"]
    assert subprocess.run(command, capture_output=True, check=True).stdout == b"after"


HANG = """
import sys, time
from pathlib import Path
from cielo.files import atomic_write, exchange, temporary_folder
with (temporary_folder if sys.argv[2] == "folder" else atomic_write)(Path(sys.argv[1])) as temporary:
    file = temporary / "half" if sys.argv[2] == "folder" else temporary
    file.write_text("Paciente con", encoding="utf-8")
    if sys.argv[2] == "file":
        temporary.with_name(temporary.name + "-journal").touch()
    print("writing", flush=True)
    time.sleep(60)
"""


def hanging(target: Path, what: str = "file") -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", HANG, str(target), what], stdout=subprocess.PIPE, text=True, encoding="utf-8"
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "writing\n"
    return process


@pytest.mark.parametrize("what", ["file", "folder"])
def test_what_a_killed_process_left_is_removed_by_the_next_writer(tmp_path: Path, what: str) -> None:
    with hanging(tmp_path / "theirs" if what == "file" else tmp_path, what) as killed:
        killed.send_signal(signal.SIGKILL)
    assert len(list(tmp_path.iterdir())) == (2 if what == "file" else 1)
    with atomic_write(tmp_path / "ours") as temporary:
        temporary.touch()
    assert [path.name for path in tmp_path.iterdir()] == ["ours"]


def test_what_is_being_written_is_left_alone(tmp_path: Path) -> None:
    with hanging(tmp_path / "theirs") as writing:
        for _ in range(3):
            with atomic_write(tmp_path / "ours") as temporary:
                temporary.touch()
        assert len(list(tmp_path.glob(PARTIAL))) == 2
        writing.kill()


def test_what_is_not_a_leftover_of_ours_is_left_alone(tmp_path: Path) -> None:
    others = {".x.123.partial", ".cielo-abc.partial", "cielo.partial", f"cielo-{'0' * 32}.partial"}
    for name in others:
        (tmp_path / name).touch()
    with atomic_write(tmp_path / "ours") as temporary:
        temporary.touch()
    assert {path.name for path in tmp_path.iterdir()} == others | {"ours"}


@pytest.mark.usefixtures("every_processor")
def test_writers_of_one_target_do_not_mix(tmp_path: Path) -> None:
    path = tmp_path / "shared"
    wrong: list[str] = []

    def write(letter: str) -> None:
        for _ in range(30):
            with atomic_write(path) as temporary, temporary.open("w", encoding="utf-8") as stream:
                for _ in range(50):
                    stream.write(letter)
            content = path.read_text(encoding="utf-8")
            if len(set(content)) != 1 or len(content) != 50:
                wrong.append(content)

    threads = [threading.Thread(target=write, args=(letter,)) for letter in "abcdef"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_is_an_error_and_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_text("old", encoding="utf-8")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    try:
        with pytest.raises(OSError, match=os.strerror(errno.EFBIG)), atomic_write(path) as temporary:
            temporary.write_bytes(bytes(1 << 20))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)
    assert path.read_text(encoding="utf-8") == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_disk_that_fails_at_the_end_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(descriptor: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    path = tmp_path / "x"
    path.write_text("old", encoding="utf-8")
    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match=os.strerror(errno.EIO)), atomic_write(path) as temporary:
        temporary.write_text("new", encoding="utf-8")
    assert path.read_text(encoding="utf-8") == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_is_the_block_s_to_rename(tmp_path: Path) -> None:
    with temporary_folder(tmp_path) as temporary:
        assert mode(temporary) == 0o700
        (temporary / "x").touch()
        temporary.rename(tmp_path / "made")
    assert [path.name for path in tmp_path.iterdir()] == ["made"]
    with temporary_folder(tmp_path) as temporary:
        (temporary / "x").touch()
    assert [path.name for path in tmp_path.iterdir()] == ["made"]


@pytest.mark.skipif(sys.platform != "linux", reason="other systems cannot")
def test_two_folders_change_places(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / f"of {name}").touch()
    assert exchange(tmp_path / "a", tmp_path / "b")
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["of b"]
    assert not exchange(tmp_path / "a", tmp_path / "none")
    assert (tmp_path / "a" / "of b").exists()
