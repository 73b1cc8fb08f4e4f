"""What the readers of corpora share: the lines of text files, and what is gathered from them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cielo.errors import TableError
from cielo.knowledge.code_columns import looks_like_code
from cielo.said import Said
from cielo.tables import Role
from cielo.tables.columns import has_all
from cielo.tables.delimiters import DELIMITERS, find_dialect
from cielo.workbench.evaluation.records import Annotated, Corpus, Skipped

_BETWEEN_CODES = re.compile(r"[|;,\r\n]")
_BETWEEN_PIECES = re.compile(r"(?:\s+-\s+|[\s/+])+")
_MARKS = " \t\xa0†‡*"
NOT_UTF8 = Said("the line is not UTF-8; save the file as UTF-8")


@dataclass(slots=True)
class Gathering:
    """What a reader has found so far.

    Attributes:
        read: how many of the corpus's own units (lines, documents) were understood, with or without a mention.
        readings: how many documents were read in each other way (see `line_ends`).
        textless: documents without a text, whose mentions were taken from the table alone.
    """

    mentions: list[Annotated] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    uncoded: int = 0
    read: int = 0
    readings: Counter[str] = field(default_factory=Counter)
    textless: set[str] = field(default_factory=set)

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
            if count == 1:
                yield Said("{count} document was read {change}, as their annotations count", count=count, change=change)
            else:
                yield Said(
                    "{count:,} documents were read {change}, as their annotations count", count=count, change=change
                )
        if self.textless:
            yield Said(
                "mentions of {count:,} documents that have no text file were read without a sentence",
                count=len(self.textless),
            )


def line_of(name: str, number: int) -> str:
    """Return the place of a line of a file."""
    return Said("{name}, line {number}", name=name, number=number)


def has_header(line: str, roles: Sequence[Role]) -> bool:
    """Tell whether a first line names the columns of `roles`, each column once."""
    names = find_dialect([line], roles, DELIMITERS, "lenient").columns
    return bool(names) and has_all(names, roles) and len({*map(str.strip, names)}) == len(names)


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


def split_codes(cell: str) -> tuple[str, ...]:
    """Return the codes of a cell, each once, without the dagger or the asterisk of a pair.

    Between them may stand ``|``, ``;``, a comma or a line end; and what else people write (``A17.0† G01*``,
    ``I10/E11.9``) where all of the parts look like codes.
    """
    parts: list[str] = []
    for part in _BETWEEN_CODES.split(cell):
        pieces = [piece for piece in _BETWEEN_PIECES.split(part.strip()) if piece]
        parts += pieces if all(map(looks_like_code, pieces)) else [part]
    return in_order(part.strip(_MARKS) for part in parts)


def in_order(values: Iterable[str | None]) -> tuple[str, ...]:
    """Return the values that are not empty, each once."""
    return tuple(dict.fromkeys(value.strip() for value in values if value and value.strip()))
