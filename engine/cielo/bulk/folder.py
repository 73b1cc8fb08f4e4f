"""The folder of a run: the names of the files in it.

part-00000.parquet …   the output, one file for each part
errors.jsonl           the rows that hold an error
summary.json           what the run did
state/                 what a run needs to go on: the plan, the mentions, their links, what became of each part
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from cielo.bulk.records import PartFormat
from cielo.errors import BulkError


@dataclass(frozen=True, slots=True)
class Folder:
    """A run's folder."""

    path: Path

    @property
    def state(self) -> Path:
        """What a run needs to go on."""
        return self.path / "state"

    @property
    def plan(self) -> Path:
        """The plan, which is there as soon as the input was read."""
        return self.state / "plan.json"

    @property
    def mentions(self) -> Path:
        """The distinct mentions."""
        return self.state / "mentions.sqlite"

    @property
    def summary(self) -> Path:
        """What the run did; the last file to be written."""
        return self.path / "summary.json"

    @property
    def errors(self) -> Path:
        """The rows that hold an error."""
        return self.path / "errors.jsonl"

    def unit(self, number: int) -> Path:
        """The links of a unit."""
        return self.state / "units" / f"{number:06}.links"

    def part(self, number: int, form: PartFormat) -> Path:
        """A file of output."""
        return self.path / f"part-{number:05}.{form}"

    def done(self, number: int) -> Path:
        """What became of a part."""
        return self.state / "parts" / f"{number:05}.json"

    def part_errors(self, number: int) -> Path:
        """The rows of a part that hold an error."""
        return self.state / "parts" / f"{number:05}.errors.jsonl"

    def lease(self, name: str) -> Path:
        """The claim of a piece of work."""
        return self.state / "leases" / name

    def make(self) -> None:
        """Make the folders.

        Raises:
            BulkError: where they cannot be made or written to.
        """
        try:
            for name in ("units", "parts", "leases"):
                (self.state / name).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise BulkError(f"{self.path}: cannot be written to ({error.strerror}); name another folder") from error
        if not os.access(self.path, os.W_OK | os.X_OK):
            raise BulkError(f"{self.path}: cannot be written to; name another folder")
