"""The secret of a user's caches: keys and entries' tags are made with it, and it is in no cache."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
from pathlib import Path

from cielo.files import read_bounded, temporary_file
from cielo.machine import state_directory

SECRET_BYTES = 32
_SECRET_FILE = "cache.key"  # noqa: S105 (a file's name)


def load_secret(directory: Path | None = None) -> bytes:
    """Return the secret of this user's caches: 32 random bytes in a file of its own, made when first asked for.

    It lies in `directory` (default: the state directory), readable by its owner alone, and never in a cache. Where it
    is deleted or damaged a new one is made, and the entries made with the old one are never found again; they go when
    the cache is full.

    Raises:
        OSError: where it can neither be read nor made.
    """
    file = (directory or state_directory()) / _SECRET_FILE
    secret = _read_secret(file)
    if secret is None:
        file.parent.mkdir(parents=True, exist_ok=True)
        _make_secret(file)
        secret = _read_secret(file)  # of two processes at once, the first one's holds
    if secret is None:
        raise OSError(f"{file} does not keep what is written to it")
    return secret


def _read_secret(file: Path) -> bytes | None:
    """Return the secret; None where there is none, a damaged one being removed."""
    try:
        content = read_bounded(file, SECRET_BYTES)
    except FileNotFoundError:
        return None
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.EFBIG):
            raise
        content = b""  # no regular file, or a longer one
    if len(content) != SECRET_BYTES:
        file.unlink(missing_ok=True)
        return None
    if file.stat().st_mode & 0o077:
        with contextlib.suppress(OSError):
            file.chmod(0o600)
    return content


def _make_secret(file: Path) -> None:
    with temporary_file(file.parent) as temporary:
        with temporary.open("wb") as stream:
            stream.write(secrets.token_bytes(SECRET_BYTES))
            stream.flush()
            os.fsync(stream.fileno())
        try:
            file.hardlink_to(temporary)  # whole or not at all, and never over another's
        except FileExistsError:
            pass
        except OSError:  # no hard links here: of two processes at once, one may lose what it keeps first
            temporary.replace(file)
