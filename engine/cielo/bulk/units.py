"""Units: the links of mentions that were linked together, in a file from which each can be read by its number.

A link depends, in its last digits, on what was linked in the same batch. So each distinct mention is linked in one
unit, whoever links it and when, and the mentions of a unit in one order: the same run gives the same bytes.

The file: the number of links in 8 bytes, where each ends in 8 bytes each, then the links in MessagePack.
"""

from __future__ import annotations

import functools
import struct
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import msgspec

from cielo.bulk.folder import Folder
from cielo.errors import BulkError, CieloError
from cielo.files import atomic_write
from cielo.link.linker import Linker
from cielo.options import LinkOptions
from cielo.records import Link, Mention, Timings

_NUMBER = struct.Struct("<Q")
_FILES_KEPT = 64
_encoder, _decoder = msgspec.msgpack.Encoder(), msgspec.msgpack.Decoder(Link | str)


def link_unit(linker: Linker, mentions: Sequence[Mention], options: LinkOptions) -> list[bytes]:
    """Return the link of each mention, or what is wrong with it, as bytes."""
    return [_encoder.encode(_kept(outcome)) for outcome in linker.link_each(mentions, options)]


def _kept(outcome: Link | CieloError) -> Link | str:
    # How long it took is another each time.
    return replace(outcome, timings=Timings()) if isinstance(outcome, Link) else str(outcome)


def write_unit(path: Path, links: Sequence[bytes]) -> None:
    """Write the file of a unit, whole or not at all.

    Raises:
        OSError: where it cannot be written.
    """
    ends, end = [], 0
    for link in links:
        end += len(link)
        ends.append(_NUMBER.pack(end))
    with atomic_write(path) as temporary:
        temporary.write_bytes(b"".join([_NUMBER.pack(len(links)), *ends, *links]))


class Units:
    """The links of a run, by the numbers of the mentions. A few files stay open."""

    def __init__(self, folder: Folder, size: int) -> None:
        """Read the units of a folder, each of `size` mentions."""
        self._folder, self._size = folder, size
        self._content = functools.lru_cache(_FILES_KEPT)(self._read)

    def link(self, number: int) -> Link | str:
        """Return the link of a mention, or what is wrong with it."""
        content = self._content(number // self._size)
        place = number % self._size
        (count,) = _NUMBER.unpack_from(content)
        begin = _NUMBER.unpack_from(content, _NUMBER.size * place)[0] if place else 0
        (end,) = _NUMBER.unpack_from(content, _NUMBER.size * (place + 1))
        start = _NUMBER.size * (count + 1)
        return _decoder.decode(content[start + begin : start + end])

    def _read(self, unit: int) -> bytes:
        path = self._folder.unit(unit)
        try:
            return path.read_bytes()
        except OSError as error:
            raise BulkError(f"{path}: cannot be read ({error.strerror}); begin another run") from error
