"""The keys of callers: a file with a line ``name key`` for each, read again on demand."""

from __future__ import annotations

import hashlib
import hmac
import re
from pathlib import Path

from cielo.errors import OptionError

_LINE = re.compile(r"([A-Za-z0-9._-]{1,64})\s+(\S+)")
_LEAST = 16  # characters of a key


class Keys:
    """The keys of a file. What they are compared by is a digest, so that every comparison takes the same time."""

    def __init__(self, file: Path) -> None:
        """Read the file.

        Raises:
            OptionError: naming the lines that hold no key; the keys are not shown.
        """
        self._file = file
        self._digests: dict[str, bytes] = {}
        self.reload()

    def __len__(self) -> int:
        return len(self._digests)

    def reload(self) -> None:
        """Read the file again; where it cannot be used, the keys stay as they were.

        Raises:
            OptionError: see `__init__`.
        """
        try:
            text = self._file.read_text(encoding="utf-8")
        except OSError as error:
            raise OptionError(
                f"the keys {self._file} cannot be read ({error.strerror}); name a file that can"
            ) from error
        except UnicodeDecodeError as error:
            raise OptionError(f"the keys {self._file} are not UTF-8; write a line `name key` for each") from error
        self._digests = _read(self._file, text)

    def name_of(self, key: str) -> str | None:
        """Return the name of a key; None where it is none. All keys are compared, whichever it is."""
        given, found = _digest(key), None
        for name, digest in self._digests.items():
            if hmac.compare_digest(given, digest):
                found = name
        return found


def _read(file: Path, text: str) -> dict[str, bytes]:
    digests: dict[str, bytes] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        match = _LINE.fullmatch(line.strip())
        if match is None:
            raise OptionError(f"the keys {file}, line {number}: expected `name key`, the name of letters and digits")
        name, key = match.groups()
        if len(key) < _LEAST:
            raise OptionError(f"the keys {file}, line {number}: expected a key of at least {_LEAST} characters")
        if name in digests:
            raise OptionError(f"the keys {file}, line {number}: the name {name} stands there twice; give each its own")
        digests[name] = _digest(key)
    if not digests:
        raise OptionError(f"the keys {file} hold none; write a line `name key` for each")
    return digests


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()
