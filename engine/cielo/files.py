"""Files: their hashes, and the one way in which every command writes them: whole or not at all.

What is being written lies in `.cielo-<random>.partial` beside the target, mode 0600, and its writer holds a lock
(flock) on it. Such a file without a lock belongs to a process that was killed: the next writer in that directory
removes it.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import hashlib
import os
import re
import secrets
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

_CHUNK = 1 << 20
_PARTIAL = re.compile(r"\.cielo-[0-9a-f]{32}\.partial")
_SIDES = ("-journal", "-wal", "-shm")  # what SQLite keeps beside a file
_HERE, _EXCHANGE = -100, 2  # renameat2(2): AT_FDCWD, RENAME_EXCHANGE
_MOST_LINKS = 40  # as many as Linux follows


def open_regular(file: Path) -> BinaryIO:
    """Open a regular file for reading; anything else (a FIFO, a device, a folder) is refused and never waited for.

    Raises:
        OSError: where it cannot be opened or is not a regular file.
    """
    descriptor = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return os.fdopen(descriptor, "rb")
    os.close(descriptor)
    raise OSError(errno.EINVAL, "not a regular file", str(file))


def read_bounded(file: Path, most: int) -> bytes:
    """Return what a regular file holds, which may be `most` bytes.

    Raises:
        OSError: where it cannot be read, is not a regular file, or is longer.
    """
    with open_regular(file) as stream:
        content = stream.read(most + 1) if os.fstat(stream.fileno()).st_size <= most else None
    if content is None or len(content) > most:
        raise OSError(errno.EFBIG, f"longer than {most / 1e6:g} MB", str(file))
    return content


def sha256_of(file: Path) -> str:
    """Return the SHA-256 of a regular file, in hexadecimal.

    Raises:
        OSError: where it cannot be read or is not a regular file.
    """
    with open_regular(file) as stream:
        return sha256_of_stream(stream)


def sha256_of_stream(stream: BinaryIO) -> str:
    """Return the SHA-256 of what is left of an opened file, in hexadecimal."""
    digest = hashlib.sha256()
    while chunk := stream.read(_CHUNK):
        digest.update(chunk)
    return digest.hexdigest()


@contextlib.contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Give a temporary file; when the block ends well it becomes `path`, else it is removed.

    A new file gets the mode that the umask allows; an existing one keeps its mode and owner, and where `path` is a
    link, the file that it leads to is replaced and the link stays. What is not a regular file (`/dev/null`, a FIFO,
    `/dev/stdout`) is never replaced: the content is written into it at the end.

    Raises:
        OSError: where the file cannot be written; `path` is then what it was, unless it is not a regular file.
    """
    target = _follow(path)
    known = None if isinstance(target, int) else _stat(target)
    if isinstance(target, int) or (known is not None and not stat.S_ISREG(known.st_mode)):
        if known is not None and stat.S_ISDIR(known.st_mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        if not isinstance(target, int) and not os.access(target, os.W_OK):  # before the work, not after it
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        with _partial(Path(tempfile.gettempdir()), _make_file) as temporary:
            yield temporary
            _pour(temporary, target)
        return
    with _partial(target.parent, _make_file) as temporary:
        yield temporary
        _finish(temporary, known)
        temporary.replace(target)
        _sync(target.parent)


@contextlib.contextmanager
def exclusive_write(path: Path, scratch: Path) -> Iterator[Path]:
    """Give a temporary file; when the block ends well it becomes `path`, unless something stands there: that stays.

    So of several writers of one file the first one's stands, whole, and no late one changes it.

    Args:
        path: of the file.
        scratch: an existing folder of the same file system, for the temporary file.

    Raises:
        OSError: where the file cannot be written.
    """
    with _partial(scratch, _make_file) as temporary:
        yield temporary
        _finish(temporary, None)
        try:
            path.hardlink_to(temporary)
        except FileExistsError:
            return
        except OSError as error:
            if error.errno not in (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK):
                raise
            temporary.replace(path)  # a file system without hard links
        _sync(path.parent)


def is_replaced(path: str | Path) -> bool:
    """Tell whether writing `path` replaces what stands there; a device, a pipe and an open stream are written into."""
    target = _follow(Path(path))
    known = None if isinstance(target, int) else _stat(target)
    return known is not None and (stat.S_ISREG(known.st_mode) or stat.S_ISDIR(known.st_mode))


def put_in_place(written: Path, target: Path) -> None:
    """Bring a whole file that lies beside `target` to the disk, and give it that name.

    Raises:
        OSError: where that cannot be done; `target` is then what it was.
    """
    _finish(written, _stat(target))
    written.replace(target)
    _sync(target.parent)


@contextlib.contextmanager
def temporary_file(parent: Path) -> Iterator[Path]:
    """Give a new file in `parent`, mode 0600; the block may rename it; what is left of it at the end is removed.

    Raises:
        OSError: where it cannot be made.
    """
    with _partial(parent, _make_file) as temporary:
        yield temporary


@contextlib.contextmanager
def temporary_folder(parent: Path) -> Iterator[Path]:
    """Give a new folder in `parent`, mode 0700; the block may rename it; what is left of it at the end is removed.

    Raises:
        OSError: where it cannot be made.
    """
    with _partial(parent, _make_folder) as temporary:
        yield temporary


def exchange(first: Path, second: Path) -> bool:
    """Let two paths of one file system change places, in one step; tell whether that could be done (Linux alone can).

    So there is no moment in which neither of them is there, whenever the process is killed.
    """
    with contextlib.suppress(OSError, AttributeError):
        return bool(ctypes.CDLL(None).renameat2(_HERE, bytes(first), _HERE, bytes(second), _EXCHANGE) == 0)
    return False


def replace_folder(temporary: Path, output: Path) -> None:
    """Let a whole new folder stand at `output`, where the old one, if there is one, is until then.

    Raises:
        OSError: where it cannot; what stood there stands there still.
    """
    if not output.exists():
        temporary.rename(output)
        return
    if exchange(temporary, output):  # the old one then lies where the new one was made, and is removed there
        return
    old = temporary.with_suffix(".old")
    output.rename(old)
    try:
        temporary.rename(output)
    except OSError:
        old.rename(output)
        raise
    if old.is_dir() and not old.is_symlink():
        shutil.rmtree(old, ignore_errors=True)
    else:
        old.unlink()


def _follow(path: Path) -> Path | int:
    """Return the file that a path leads to, link by link; where that is an open stream (`/dev/stdout`), its number."""
    streams = (Path(f"/proc/{os.getpid()}/fd"), Path("/dev/fd"))
    place = path.absolute()
    for _ in range(_MOST_LINKS):
        folder = place.parent.resolve()
        place = folder / place.name
        if folder in streams and place.name.isdecimal():
            return int(place.name)
        if not place.is_symlink():
            return place
        place = folder / place.readlink()
    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path))


def _stat(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except FileNotFoundError:
        return None


@contextlib.contextmanager
def _partial(folder: Path, make: Callable[[Path], int]) -> Iterator[Path]:
    """Give something new and locked in `folder`, and remove it at the end; what others left there is removed first."""
    _remove_leftovers(folder)
    temporary, descriptor = _make(folder, make)
    try:
        yield temporary
    finally:
        _remove(temporary)
        os.close(descriptor)


def _make(folder: Path, make: Callable[[Path], int]) -> tuple[Path, int]:
    while True:
        temporary = folder / f".cielo-{secrets.token_hex(16)}.partial"
        descriptor = make(temporary)
        with contextlib.suppress(OSError):  # no locks on this file system: then nothing is ever taken for a leftover
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        # Between making and locking, another writer may have taken it for a leftover.
        found = _stat(temporary)
        if found is not None and os.path.samestat(found, os.fstat(descriptor)):
            return temporary, descriptor
        os.close(descriptor)


def _make_file(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)


def _make_folder(path: Path) -> int:
    path.mkdir(mode=0o700)
    return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)


def _remove_leftovers(folder: Path) -> None:
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for name in [entry.name for entry in entries]:
            if _PARTIAL.fullmatch(name):
                with contextlib.suppress(OSError):
                    _remove_unlocked(folder / name)


def _remove_unlocked(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)  # fails while its writer lives
        _remove(path)
    finally:
        os.close(descriptor)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
        for side in _SIDES:
            path.with_name(path.name + side).unlink(missing_ok=True)


def _finish(temporary: Path, known: os.stat_result | None) -> None:
    """Give a written file the mode and owner of the file it replaces, and bring it to the disk."""
    descriptor = os.open(temporary, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        if known is None:
            os.fchmod(descriptor, 0o666 & ~_umask())
        else:
            os.fchmod(descriptor, _mode_kept(descriptor, known))
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _mode_kept(descriptor: int, known: os.stat_result) -> int:
    mode = stat.S_IMODE(known.st_mode) & 0o777
    for user in (known.st_uid, -1):  # who is not the owner may still give the group
        with contextlib.suppress(PermissionError):
            os.fchown(descriptor, user, known.st_gid)
            return mode
    # Where the group is another, what was allowed to the old one is not for the new one.
    return mode if os.fstat(descriptor).st_gid == known.st_gid else mode & 0o707


def _umask() -> int:
    with contextlib.suppress(OSError, ValueError, StopIteration):
        lines = Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines()
        return int(next(line for line in lines if line.startswith("Umask:")).split()[1], 8)
    umask = os.umask(0o077)  # elsewhere it can only be read by setting it
    os.umask(umask)
    return umask


def _pour(temporary: Path, target: Path | int) -> None:
    """Write a file's content into what is not a regular file."""
    # A stream that is open already is written on where it stands: opening it again would cut off what it holds.
    opened = os.dup(target) if isinstance(target, int) else os.open(target, os.O_WRONLY | os.O_CLOEXEC)
    with os.fdopen(opened, "wb") as output, temporary.open("rb") as content:
        shutil.copyfileobj(content, output, _CHUNK)


def _sync(folder: Path) -> None:
    with contextlib.suppress(OSError):  # not every file system can
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
