"""What the readers of corpora share: lines and records of text files, and what is gathered from them."""

from __future__ import annotations

import re
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from cielo.errors import TableError
from cielo.workbench.evaluation.records import Annotated, Corpus, Skipped

NOT_UTF8 = "the line is not UTF-8; save the file as UTF-8"
_QUOTED = re.compile(r'"((?:[^"]+|"")*+)"')
# Where commas part the columns a quoted cell may hold line ends; a stray quote must not swallow the rest of the file.
_JOINED = ",;"
_MOST_LINES = 16


@dataclass(slots=True)
class Gathering:
    """What a reader has found so far.

    Attributes:
        read: how many of the corpus's own units (lines, documents) were understood, with or without a mention.
        readings: how many documents were read in each other way (see `line_ends`).
    """

    mentions: list[Annotated] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    uncoded: int = 0
    read: int = 0
    readings: Counter[str] = field(default_factory=Counter)

    def reread(self, change: str | None) -> None:
        """Note that a document was read in another way than its file has it, if it was."""
        if change is not None:
            self.readings[change] += 1

    def skip(self, place: str, reason: str) -> None:
        """Note a part that is passed over."""
        self.skipped.append(Skipped(place, reason))

    def corpus(
        self, path: Path, expected: str, document_codes: Mapping[tuple[str, str], tuple[str, ...]] | None = None
    ) -> Corpus:
        """Return the corpus.

        Raises:
            TableError: where nothing of it was understood.
        """
        if not self.read:
            first = f"; the first, {self.skipped[0].place}: {self.skipped[0].reason}" if self.skipped else ""
            raise TableError(
                f"{path}: nothing of it could be read ({len(self.skipped)} parts were passed over{first}); "
                f"expected {expected}"
            )
        return Corpus(
            tuple(self.mentions), tuple(self.skipped), document_codes or {}, self.uncoded, tuple(self._notes())
        )

    def _notes(self) -> Iterator[str]:
        for change, count in sorted(self.readings.items()):
            yield f"{count} document{'s were' if count > 1 else ' was'} read {change}, as their annotations count"


def read_lines(path: Path) -> Iterator[tuple[int, str | None]]:
    """Yield the lines of a file with their numbers, from 1; None for a line that is not UTF-8.

    Raises:
        TableError: where the file cannot be read.
    """
    try:
        with path.open("rb") as stream:
            for number, line in enumerate(stream, start=1):
                line = line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line
                yield number, _decoded(line.rstrip(b"\r\n"))
    except (OSError, ValueError) as error:  # ValueError: a zero byte in the name
        raise unreadable(path, error) from error


def read_text(path: Path) -> str | None:
    """Return the text of a file as its offsets count it, line ends and all; None where it is not UTF-8.

    Raises:
        TableError: where the file cannot be read.
    """
    try:
        return _decoded(path.read_bytes())
    except (OSError, ValueError) as error:
        raise unreadable(path, error) from error


def unreadable(path: Path, error: OSError | ValueError) -> TableError:
    """Return the error of a file that cannot be opened."""
    return TableError(f"{path}: cannot be read ({getattr(error, 'strerror', None) or 'no such name'})")


def _decoded(content: bytes) -> str | None:
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        return None


def split_records(
    lines: Iterable[tuple[int, str | None]], delimiter: str
) -> Iterator[tuple[int, str, list[str] | None]]:
    """Yield each record: the number of its first line, that line, and the cells; None for cells that are not UTF-8.

    A cell is quoted where it begins with a quote and all of the record is well-formed so (RFC 4180, as pandas writes
    cells that hold a quote); in any other line quotes are text, as in files that know no quoting. With tabs or ``|``
    between the columns a line end ends the record.
    """
    source = iter(lines)
    waiting: deque[tuple[int, str | None]] = deque()
    while True:
        number, line = waiting.popleft() if waiting else next(source, (0, None))
        if not number:
            return
        if line is None:
            yield number, "", None
        elif '"' not in line:
            yield number, line, line.split(delimiter)
        else:
            if line.count('"') % 2 and delimiter in _JOINED:
                waiting.extend(islice(source, max(0, _MOST_LINES - len(waiting))))
            cells, used = _joined(line, waiting, delimiter)
            yield number, line, cells
            for _ in range(used):
                waiting.popleft()


def _joined(line: str, following: Iterable[tuple[int, str | None]], delimiter: str) -> tuple[list[str], int]:
    """Return the cells of the record that begins with `line`, and how many of the following lines belong to it."""
    text = line
    cells, is_open = _cells(text, delimiter)
    for used, (_, more) in enumerate(following, start=1):
        if not is_open or more is None:
            break
        text = f"{text}\n{more}"
        cells, is_open = _cells(text, delimiter)
        if cells is not None:
            return cells, used
    return (line.split(delimiter) if cells is None else cells), 0


def _cells(text: str, delimiter: str) -> tuple[list[str] | None, bool]:
    """Return the cells of a well-formed record, else None, and whether a quoted cell is still open at its end."""
    cells: list[str] = []
    start = 0
    while True:
        if text.startswith('"', start):
            found = _QUOTED.match(text, start)
            if found is None:
                return None, True
            cells.append(found[1].replace('""', '"'))
            end = found.end()
            if end < len(text) and text[end] != delimiter:
                return None, False
        else:
            end = text.find(delimiter, start)
            end = len(text) if end < 0 else end
            cells.append(text[start:end])
        if end == len(text):
            return cells, False
        start = end + 1


def twice(names: Iterable[str]) -> bool:
    """Tell whether a name occurs more than once."""
    seen = [name for name in names if name]
    return len(seen) != len(set(seen))


def in_order(values: Iterable[str | None]) -> tuple[str, ...]:
    """Return the values that are not empty, each once."""
    return tuple(dict.fromkeys(value.strip() for value in values if value and value.strip()))
