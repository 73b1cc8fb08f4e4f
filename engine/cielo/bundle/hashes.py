"""The hashes of a bundle's files at opening: a file that is not as it was written gives no answers.

Every file is hashed before it is loaded. What was found is kept in the machine's state, with the size, the times and
the inode that the file had: as long as these are the same, later openings do not hash it again.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
import warnings
from collections.abc import Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

from cielo import schema
from cielo.bundle.layout import Bundle
from cielo.bundle.state import MOST_BYTES, write_state
from cielo.errors import BundleError, OptionError
from cielo.files import open_regular, read_bounded, sha256_of_stream
from cielo.machine import machine_key, state_directory

# When the files of a bundle are hashed at opening.
VerifyFiles = Literal["always", "once", "never"]

_AT_ONCE = 4  # hashing does not hold Python's lock
# A file that was changed a moment ago can be changed again without a later time: such a hash is not kept.
_SETTLED = 2.0  # seconds, the coarsest clock of a file system
_LONG = 1.0  # seconds of hashing from which on it is worth a word that they come again each time


@dataclass(frozen=True, slots=True)
class KnownFile:
    """A file that was hashed.

    Attributes:
        size: in bytes.
        mtime_ns: when its content changed, in nanoseconds.
        ctime_ns: when its inode changed: whoever sets the time of the content back changes this one.
        inode: its number.
        sha256: in hexadecimal.
    """

    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int
    sha256: str


@dataclass(frozen=True, slots=True)
class KnownFiles:
    """The files of one bundle that this machine has hashed, by their names in it.

    Attributes:
        bundle: its path, links resolved.
        files: by their names.
    """

    bundle: str
    files: Mapping[str, KnownFile] = field(default_factory=dict)
    schema: Literal[1] = 1


def check_files(
    bundle: Bundle, verify: VerifyFiles = "once", parts: Collection[Path] | None = None, *, keep: bool = True
) -> None:
    """Refuse a bundle with a file that its manifest does not list, or whose content is not the one that it names.

    Args:
        bundle: the bundle.
        verify: ``always``: hash every file; ``once``: those that this machine has not hashed as they are now;
            ``never``: none.
        parts: of the bundle that matter, files or folders; None: all.
        keep: whether this machine's state is to hold what was hashed.

    Raises:
        OptionError: where `verify` is none of these.
        BundleError: naming every file that was altered, added or cannot be read.
    """
    if verify not in get_args(VerifyFiles):
        raise OptionError(f"verify_files: got {verify!r}, expected one of {', '.join(get_args(VerifyFiles))}")
    bundle.refuse_strays()
    if verify == "never":
        return
    wanted = [
        name
        for name in bundle.manifest.files
        if parts is None or any((bundle.path / name).is_relative_to(part) for part in parts)
    ]
    known = _read(bundle) if verify == "once" else {}
    fresh = [name for name in wanted if name not in known or known[name] != _as_it_is(bundle, known[name], name)]
    begun = time.monotonic()
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        taken = dict(zip(fresh, pool.map(lambda name: _hash(bundle, name), fresh), strict=True))
    seconds = time.monotonic() - begun
    hashes = {name: taken[name] if name in taken else known[name] for name in wanted}
    bundle.compare_hashes({name: file.sha256 if isinstance(file, KnownFile) else file for name, file in hashes.items()})
    if keep and fresh and verify == "once":
        _keep(bundle, {**known, **taken}, seconds)


def checked_knowledge_base(path: Path) -> Path:
    """Return the file of a bundle's knowledge base, once its hash has been compared; `path` is the bundle's directory.

    Raises:
        BundleError: where the bundle is missing or the file was altered.
    """
    bundle = Bundle.open(path)
    check_files(bundle, parts=[bundle.knowledge_base])
    return bundle.knowledge_base


def _hash(bundle: Bundle, name: str) -> KnownFile | OSError:
    """Return the hash of a file and what it was before that, or why it cannot be read."""
    try:
        with open_regular(bundle.path / name) as stream:
            return _known(os.fstat(stream.fileno()), sha256_of_stream(stream))
    except OSError as error:
        return error


def _known(found: os.stat_result, sha256: str) -> KnownFile:
    return KnownFile(found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino, sha256)


def _as_it_is(bundle: Bundle, known: KnownFile, name: str) -> KnownFile | None:
    with contextlib.suppress(OSError):
        return _known((bundle.path / name).stat(), known.sha256)
    return None


def _read(bundle: Bundle) -> Mapping[str, KnownFile]:
    """Return what is known of a bundle's files; a damaged state file knows nothing."""
    with contextlib.suppress(OSError, RuntimeError, BundleError):  # RuntimeError: this user has no home
        file = _state_file(bundle)
        content = read_bounded(file, MOST_BYTES)
        found = schema.decode(KnownFiles, content, str(file), error=BundleError, remedy="delete it")
        return found.files if found.bundle == _place(bundle) else {}
    return {}


def _keep(bundle: Bundle, hashes: Mapping[str, KnownFile | OSError], seconds: float) -> None:
    """Keep the hashes of files that were left alone for a while before they were taken."""
    settled = time.time_ns() - int((_SETTLED + seconds) * 1e9)
    sure = {
        name: file
        for name, file in sorted(hashes.items())
        if isinstance(file, KnownFile) and name in bundle.manifest.files
        if max(file.mtime_ns, file.ctime_ns) < settled
    }
    try:
        if sure:
            write_state(_state_file(bundle), KnownFiles(_place(bundle), sure))
    except (BundleError, RuntimeError) as error:
        if seconds > _LONG:
            warnings.warn(
                f"the files of the bundle {bundle.name} are hashed at every opening ({seconds:.0f} s): {error}",
                RuntimeWarning,
                stacklevel=2,
            )


def _place(bundle: Bundle) -> str:
    return os.fsencode(bundle.path.resolve()).decode("utf-8", "backslashreplace")


def _state_file(bundle: Bundle) -> Path:
    name = hashlib.sha256(_place(bundle).encode()).hexdigest()[:32]
    return state_directory() / "files" / f"{name}-{machine_key()}.json"
