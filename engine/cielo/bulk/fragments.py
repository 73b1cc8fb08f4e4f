"""The rows of a fragment and the links of its mentions, as they are kept while a run is at work."""

from __future__ import annotations

import bisect
import contextlib
import gzip
import hashlib
import json
import mmap
import struct
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

from cielo.bulk.layout import RunFolder
from cielo.bulk.records import Fragment
from cielo.errors import TableError
from cielo.records import Json, Mention
from cielo.tables.links import restored, stored
from cielo.tables.mentions import InputRow
from cielo.tables.rows import Cell, shown
from cielo.text.language import packed, unpacked

NO_MENTION = -1
_OPEN = 64  # files of links that are mapped at a time
_KEPT = 4096  # links that are kept decoded


@dataclass(frozen=True, slots=True)
class PlannedRow:
    """A row of the input.

    Attributes:
        row: as it was read; where it holds no mention its error says why.
        ordinal: of its mention among the run's distinct ones; `NO_MENTION`: it holds none.
        mention: where it occurs here for the first time; else None.
    """

    row: InputRow
    ordinal: int
    mention: Mention | None


def write_planned(stream: BinaryIO, rows: Iterable[PlannedRow]) -> str:
    """Write rows, and return the SHA-256 of what they say."""
    digest = hashlib.sha256()
    with gzip.GzipFile(fileobj=stream, mode="wb", compresslevel=1, mtime=0, filename="") as packed:
        for planned in rows:
            row, mention = planned.row, planned.mention
            values = {name: shown(cell) for name, cell in row.values.items()}
            owned = None if mention is None else [mention.text, mention.sentence, mention.kind]
            line = json.dumps([row.number, values, _kept(row.error), planned.ordinal, owned]).encode("ascii") + b"\n"
            digest.update(line)
            packed.write(line)
    return digest.hexdigest()


def _kept(error: str | None) -> Json:
    return None if error is None else packed(error)


def read_planned(folder: RunFolder, fragment: Fragment) -> Iterator[PlannedRow]:
    """Yield the rows of a fragment.

    Raises:
        TableError: where its file is damaged or missing.
    """
    path, digest = folder.rows(fragment.number), hashlib.sha256()
    try:
        with gzip.open(path) as stream:
            for line in stream:
                digest.update(line)
                number, values, error, ordinal, owned = json.loads(line)
                row = InputRow(number, cast("dict[str, Cell]", values), None if error is None else unpacked(error))
                yield PlannedRow(row, ordinal, None if owned is None else Mention(*owned))
    except (OSError, EOFError, ValueError) as error:
        raise _damaged(path) from error
    if digest.hexdigest() != fragment.sha256:
        raise _damaged(path)


def write_links(stream: BinaryIO, links: Sequence[Mapping[str, Json]]) -> None:
    """Write the links of a fragment's own mentions: their number, where each begins, and each as JSON."""
    encoded = [json.dumps(stored(link), ensure_ascii=True, separators=(",", ":")).encode("ascii") for link in links]
    place = 8 * (len(encoded) + 2)
    offsets = [place]
    for content in encoded:
        place += len(content)
        offsets.append(place)
    stream.write(struct.pack(f"<{len(offsets) + 1}Q", len(encoded), *offsets))
    stream.writelines(encoded)


class LinkStore:
    """The links of a run by the ordinals of their mentions, read where they lie."""

    def __init__(self, folder: RunFolder, fragments: Sequence[Fragment]) -> None:
        self._folder = folder
        self._fragments = [fragment for fragment in fragments if fragment.distinct]
        self._starts = [fragment.ordinal for fragment in self._fragments]
        self._maps: OrderedDict[int, mmap.mmap] = OrderedDict()
        self._links: OrderedDict[int, dict[str, Json]] = OrderedDict()

    def get(self, ordinal: int) -> dict[str, Json]:
        """Return the columns of a link, or its ``error``; the caller does not change it.

        Raises:
            TableError: where its file is damaged or missing.
        """
        found = self._links.get(ordinal)
        if found is None:
            found = self._links[ordinal] = self._read(ordinal)
            if len(self._links) > _KEPT:
                self._links.popitem(last=False)
        return found

    def close(self) -> None:
        """Close the files."""
        while self._maps:
            self._maps.popitem()[1].close()

    def _read(self, ordinal: int) -> dict[str, Json]:
        fragment = self._fragments[bisect.bisect_right(self._starts, ordinal) - 1]
        path, place = self._folder.links(fragment.number), ordinal - fragment.ordinal
        try:
            mapped = self._mapped(fragment.number, path)
            (count,) = struct.unpack_from("<Q", mapped, 0)
            if count != fragment.distinct:
                raise _damaged(path)
            start, end = struct.unpack_from("<2Q", mapped, 8 * (place + 1))
            return restored(json.loads(mapped[start:end]))
        except (OSError, ValueError, struct.error) as error:
            raise _damaged(path) from error

    def _mapped(self, number: int, path: Path) -> mmap.mmap:
        if number in self._maps:
            self._maps.move_to_end(number)
            return self._maps[number]
        with path.open("rb") as file:
            mapped = self._maps[number] = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        if len(self._maps) > _OPEN:
            with contextlib.suppress(BufferError):
                self._maps.popitem(last=False)[1].close()
        return mapped


def _damaged(path: Path) -> TableError:
    return TableError(f"{path}: is damaged or missing; remove the output directory and run the command again")
