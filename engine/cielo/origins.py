"""Where fetched files are from: a record beside them, with address, licence, whom to name, hash and date."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cielo import schema
from cielo.errors import CieloError, DownloadError, remedy_for
from cielo.files import atomic_write


@dataclass(frozen=True, slots=True)
class FetchedFile:
    """A file that was fetched: its name, where it is from, its size in bytes, and its SHA-256."""

    name: str
    address: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Origin:
    """Where files are from, as it is kept beside them.

    Attributes:
        name: of the source.
        licence: as the source states it.
        attribution: whom to name.
        date: of the day they were fetched, as ISO 8601 has it.
        revision: the commit, where the source has one.
    """

    name: str
    licence: str
    attribution: str
    date: str
    files: tuple[FetchedFile, ...]
    revision: str | None = None


def origin_file(place: Path) -> Path:
    """Return the name of the record of a fetched file or folder: beside it."""
    return place.with_name(f"{place.name}.origin.json")


def write_origin(place: Path, origin: Origin) -> None:
    """Keep the record of a fetched file or folder.

    Raises:
        DownloadError: where it cannot be written.
    """
    file = origin_file(place)
    try:
        with atomic_write(file) as temporary:
            temporary.write_bytes(schema.encode(origin))
    except OSError as error:
        remedy = remedy_for(error, "name another folder")
        raise DownloadError(f"{file} cannot be written ({error.strerror}); {remedy}") from error


def read_origin(place: Path) -> Origin | None:
    """Return the record of a fetched file or folder; None where there is none that can be read."""
    try:
        content = origin_file(place).read_bytes()
        return schema.decode(Origin, content, "the record", error=DownloadError, remedy="fetch again", unknown="ignore")
    except (OSError, CieloError):
        return None
