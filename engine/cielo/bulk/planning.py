"""Planning a run: its input is cut into fragments, and each distinct mention goes to the fragment where it is first.

So a mention is linked once in the whole run, always among the same others: what is in a fragment's file depends on the
input, the bundle and the options, and not on who works when.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path

from cielo.bulk.fragments import NO_MENTION, PlannedRow, write_planned
from cielo.bulk.inputs import Reading, Source, read_rows
from cielo.bulk.layout import RunFolder
from cielo.bulk.records import BulkOptions, Fragment, Plan
from cielo.bundle.prompts import Prompts
from cielo.errors import MentionError
from cielo.files import atomic_write, temporary_file
from cielo.records import Mention
from cielo.tables.links import kept_columns, language_of
from cielo.tables.mentions import InputRow
from cielo.text.language import in_language

_PAGES = -32_000  # of SQLite: 32 MB at most
_DIGEST = 16  # bytes


class Distinct:
    """The distinct mentions of a run and their ordinals, in an SQLite file: digests alone, no text."""

    def __init__(self, file: Path, prompts: Prompts) -> None:
        self._prompts = prompts
        self._base = sqlite3.connect(file, isolation_level=None)
        # The file is made for one pass and thrown away: nothing of it need outlive a crash.
        for setting in (
            "journal_mode = OFF",
            "synchronous = OFF",
            "locking_mode = EXCLUSIVE",
            f"cache_size = {_PAGES}",
        ):
            self._base.execute(f"PRAGMA {setting}")
        self._base.execute("CREATE TABLE seen (digest BLOB PRIMARY KEY, ordinal INTEGER) WITHOUT ROWID")
        self._base.execute("BEGIN")
        self.count = 0

    def ordinal(self, mention: Mention) -> tuple[int, bool]:
        """Return a mention's ordinal, and whether it is seen for the first time.

        Mentions are the same where their text, their kind and the prompt that the model gets are.
        """
        prompt = self._prompts.prompt(mention.text, mention.sentence)
        digest = hashlib.blake2b(repr((mention.text, mention.kind, prompt)).encode(), digest_size=_DIGEST).digest()
        found = self._base.execute("SELECT ordinal FROM seen WHERE digest = ?", (digest,)).fetchone()
        if found is not None:
            return found[0], False
        self._base.execute("INSERT INTO seen VALUES (?, ?)", (digest, self.count))
        self.count += 1
        return self.count - 1, True

    def close(self) -> None:
        """Close the file."""
        self._base.close()


@dataclass(slots=True)
class _Cutting:
    folder: RunFolder
    options: BulkOptions
    distinct: Distinct
    fragments: list[Fragment] = field(default_factory=list)
    columns: dict[str, None] = field(default_factory=dict)
    rows: int = 0

    def cut(self, file: int, rows: Iterator[InputRow]) -> None:
        while chunk := list(islice(rows, self._next())):
            first = self.distinct.count
            planned = [self._planned(row) for row in chunk]
            number = len(self.fragments)
            with atomic_write(self.folder.rows(number)) as temporary, temporary.open("wb") as stream:
                sha256 = write_planned(stream, planned)
            owned = self.distinct.count - first
            self.fragments.append(
                Fragment(number, file, chunk[0].number, chunk[-1].number, len(chunk), sha256, first, owned)
            )
            self.rows += len(chunk)

    def _next(self) -> int:
        limit = self.options.limit
        return self.options.rows if limit is None else min(self.options.rows, limit - self.rows)

    def _planned(self, row: InputRow) -> PlannedRow:
        language = language_of(self.options.form, self.options.style)
        self.columns.update(dict.fromkeys(kept_columns(list(row.values), language)))
        try:
            mention = row.mention(self.options.kind)
        except MentionError as error:
            return PlannedRow(replace(row, error=error.said), NO_MENTION, None)
        mention = replace(mention, id=None)
        ordinal, new = self.distinct.ordinal(mention)
        return PlannedRow(row, ordinal, mention if new else None)


def make_plan(folder: RunFolder, sources: Sequence[Source], options: BulkOptions, prompts: Prompts) -> Plan:
    """Cut the input of a run, and write the rows of its fragments.

    Args:
        folder: of the run; the plan itself is not written.
        sources: of the input.
        options: how it is cut.
        prompts: of the bundle.

    Raises:
        TableError: where a source cannot be read as a whole.
        OSError: where a fragment cannot be written.
    """
    reading = Reading()
    with temporary_file(folder.scratch) as file, closing(Distinct(file, prompts)) as distinct:
        cutting = _Cutting(folder, options, distinct)
        place = 0
        for source in sources:
            cutting.cut(place, read_rows(source, options.table, options.columns, reading))
            place += len(source.files)
        warnings = tuple(in_language(warning, options.style.language) for warning in reading.warnings)
        return Plan(tuple(cutting.columns), tuple(cutting.fragments), warnings)
