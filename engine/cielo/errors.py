"""The errors of cielo. Each says what was got, what was expected, and what to do; none holds a user's text."""

from __future__ import annotations

import errno

from cielo import said

MORE_MEMORY = "give the process more memory (ulimit -v, the limit of its container)"
_MORE_FILES = "allow more open files (ulimit -n)"
_FEW_FILES = 32  # opening a bundle takes about a dozen at once
_LACKING = {
    errno.ENOMEM: MORE_MEMORY,
    errno.EMFILE: _MORE_FILES,
    errno.ENFILE: _MORE_FILES,
    errno.ENOSPC: "make room on the disk",
    errno.EDQUOT: "make room within the quota",
}
# The libraries of the models hand on what the system said as text.
_SAID = {
    "bad_alloc": MORE_MEMORY,
    "cannot allocate memory": MORE_MEMORY,
    "failed to allocate": MORE_MEMORY,
    "out of memory": MORE_MEMORY,
    "too many open files": _MORE_FILES,
    "system error number 12": MORE_MEMORY,
    "system error number 24": _MORE_FILES,
    "unable to open database file": _MORE_FILES,
    "disk is full": _LACKING[errno.ENOSPC],
    "no space left": _LACKING[errno.ENOSPC],
}


def remedy_for(error: BaseException, otherwise: str) -> str:
    """Return what to do about an error: where this machine lacked something, give more of it; else `otherwise`."""
    if isinstance(error, MemoryError):
        return MORE_MEMORY
    if isinstance(error, OSError) and error.errno in _LACKING:
        return _LACKING[error.errno]
    said = str(error).lower()
    # Some libraries keep the system's reason to themselves: where next to no file may be open, that is the reason.
    known = _MORE_FILES if _may_open_few_files() else otherwise
    return next((remedy for words, remedy in _SAID.items() if words in said), known)


def _may_open_few_files() -> bool:
    try:
        import resource
    except ImportError:  # not Unix
        return False
    return 0 <= resource.getrlimit(resource.RLIMIT_NOFILE)[0] < _FEW_FILES


class CieloError(said.SayingError):
    """The base of every error that cielo raises on purpose."""


class BundleError(CieloError):
    """A bundle is missing, incomplete, altered, or of a schema that this version does not read."""


class UnverifiedError(BundleError):
    """A compute type whose parity has not been shown on this kind of device was asked for."""


class ParityError(CieloError):
    """A parity check failed."""


class RecipeError(CieloError):
    """A recipe is not valid, or names something that is not there."""


class CheckpointError(CieloError):
    """A checkpoint cannot be found, or is not what its recipe says."""


class DownloadError(CieloError):
    """A file could not be fetched, or what came is not what its source says.

    Attributes:
        status: of HTTP; None where nothing answered, or the answer was not what was expected.
    """

    def __init__(self, message: str, status: int | None = None) -> None:
        """Say what is missing, and what to do."""
        super().__init__(message)
        self.status = status


class TableError(CieloError):
    """A table of input rows or of a knowledge base cannot be read."""


class CalibrationError(CieloError):
    """A calibration cannot be made from the mentions that were given."""


class CacheError(CieloError):
    """A file that was named as a result cache is something else."""


class TuningError(CieloError):
    """No thread plan could be measured."""


class MentionError(CieloError):
    """A mention cannot be linked as it was given."""


class OptionError(CieloError, ValueError):
    """An option has a value that is not allowed, or excludes another one."""


class ClosedError(CieloError):
    """A linker was used after it was closed, or in another process than the one that opened it."""


class DeviceError(CieloError):
    """The device or the compute type asked for is not to be had on this machine."""


class ConnectionFailedError(CieloError):
    """A server could not be reached, or the connection broke."""


class ServerError(CieloError):
    """A server refused a whole request.

    Attributes:
        status: of HTTP.
        code: see `cielo.wire.Problem`; ``failed`` where the answer was not one of the server's.
        field: of the request, where it is one.
        request_id: by which the server's log names the request.
    """

    def __init__(
        self, status: int, code: str, message: str, field: str | None = None, request_id: str | None = None
    ) -> None:
        """Say what the server said."""
        place = f" ({field})" if field else ""
        super().__init__(f"the server answered {status}, {code}{place}: {message}")
        self.status, self.code, self.field, self.request_id = status, code, field, request_id
