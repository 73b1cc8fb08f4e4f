"""Results as JSON and back, and the files that reports go to."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

import msgspec

from cielo import schema
from cielo.errors import CieloError
from cielo.files import atomic_write

_Record = TypeVar("_Record")


def encode(record: object) -> bytes:
    """Return a record as one line of JSON in UTF-8.

    Numbers that are not finite become null. Bytes of a file's name that are no character are written out (``\\udcff``).
    """
    try:
        return schema.encode(record, indent=0)
    except UnicodeEncodeError:
        return schema.encode(_written_out(msgspec.to_builtins(record, enc_hook=schema.plain)), indent=0)


def _written_out(value: object) -> object:
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode("utf-8")
    if isinstance(value, dict):
        return {_written_out(name): _written_out(entry) for name, entry in value.items()}
    return [*map(_written_out, value)] if isinstance(value, list | tuple) else value


def decode(record: type[_Record], content: bytes, what: str, error: type[CieloError] = CieloError) -> _Record:
    """Return the record that JSON holds.

    Args:
        record: its type.
        content: the JSON.
        what: is named where it does not hold one.
        error: what is raised.

    Raises:
        CieloError: where `content` is not JSON, or a field is missing or of another type; see `error`.
    """
    remedy = "give the JSON that this version of cielo wrote"
    return schema.decode(record, content, what, error=error, remedy=remedy)


def write_text(path: Path, content: str, error: type[CieloError] = CieloError) -> None:
    """Write a file, whole or not at all.

    Args:
        path: where to.
        content: as UTF-8.
        error: what is raised, naming `path`, where it cannot be written.

    Raises:
        CieloError: see `error`.
    """
    try:
        with atomic_write(path) as temporary:
            temporary.write_text(content, encoding="utf-8")
    except OSError as problem:
        raise error(f"{path}: cannot be written ({problem.strerror}); name a file in a writable directory") from problem
