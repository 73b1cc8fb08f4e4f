"""The lines of a text file: its encoding, and lines whose bytes are not text come through marked."""

from __future__ import annotations

import codecs
import contextlib
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from cielo.errors import TableError
from cielo.tables.rows import CodeTable

_CHUNK = 1 << 20
_MARKS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))
_ERRORS = "cielo.mark"


def _mark(error: UnicodeError) -> tuple[str, int]:
    """Stand in for `surrogateescape`, which UTF-16 cannot use: what is not text becomes one lone surrogate."""
    if not isinstance(error, UnicodeDecodeError):
        raise error
    return "\udcff", error.end


codecs.register_error(_ERRORS, _mark)


def check_file(path: Path) -> None:
    """Check that `path` is a file that can be looked at.

    Raises:
        TableError: where it is missing, a directory, or no file that can be read twice.
    """
    try:
        mode = path.stat().st_mode
    except OSError as error:
        raise TableError(f"{path}: cannot be read ({error.strerror}); name a table of codes") from error
    except ValueError as error:  # a path with a NUL
        raise TableError(f"{path!r}: cannot be read (no valid name); name a table of codes") from error
    if stat.S_ISDIR(mode):
        raise TableError(f"{path}: cannot be read (Is a directory); name a table of codes")
    if not stat.S_ISREG(mode):
        raise TableError(f"{path}: cannot be read (it is no regular file); save it as a file")


def encoding_of(path: Path) -> str:
    """Return the encoding of a text file.

    A byte order mark decides (UTF-8, UTF-16 in either order); without one it is UTF-8 if the whole file is valid
    UTF-8, else Windows-1252.

    Raises:
        TableError: where the file cannot be read.
    """
    check_file(path)
    try:
        with path.open("rb") as stream:
            chunk = stream.read(_CHUNK)
            marked = next((name for mark, name in _MARKS if chunk.startswith(mark)), None)
            if marked is not None:
                return marked
            decoder = codecs.getincrementaldecoder("utf-8")()
            while chunk:
                decoder.decode(chunk)
                chunk = stream.read(_CHUNK)
            decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return "windows-1252"
    except OSError as error:
        raise TableError(f"{path}: cannot be read ({error.strerror})") from error
    return "utf-8"


def open_bytes(path: Path) -> BinaryIO:
    """Open a file that is no text.

    Raises:
        TableError: where it cannot be read.
    """
    check_file(path)
    try:
        return path.open("rb")
    except OSError as error:
        raise TableError(f"{path}: cannot be read ({error.strerror})") from error


@contextlib.contextmanager
def open_lines(table: CodeTable) -> Iterator[tuple[str, Iterator[str]]]:
    """Open a text file: its encoding, and its lines with their ends, without a byte order mark.

    A line ends with a line feed, a carriage return, or both. Where a line's bytes are not text, the line holds a
    lone surrogate (see `is_decoded`).

    Raises:
        TableError: where it cannot be read, or its encoding is not known.
    """
    check_file(table.path)
    encoding = encoding_of(table.path) if table.encoding is None else table.encoding
    try:
        stream = table.path.open(encoding=encoding, errors=_ERRORS, newline="")
    except OSError as error:
        raise TableError(f"{table.path}: cannot be read ({error.strerror})") from error
    except (LookupError, ValueError) as error:
        raise TableError(
            f"{table.path}: the encoding {encoding!r} is not known; name utf-8, utf-16 or windows-1252"
        ) from error
    with stream:
        try:
            yield encoding, _unmarked(stream)
        except UnicodeError as error:
            raise TableError(f"{table.path}: cannot be decoded as {encoding!r}; name another encoding") from error
        except OSError as error:
            raise TableError(f"{table.path}: cannot be read ({error.strerror})") from error


def _unmarked(stream: Iterator[str]) -> Iterator[str]:
    for number, line in enumerate(stream):
        yield line if number else line.removeprefix("\ufeff")
