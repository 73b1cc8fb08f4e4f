"""The directory of a run: the names of its files, and how its records are kept in it.

The finished output lies in the directory itself, what the run needs on the way in its folder ``.bulk``.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from cielo import schema
from cielo.errors import TableError, remedy_for
from cielo.files import exclusive_write
from cielo.tables.formats import Format

_Record = TypeVar("_Record")
_ANOTHER = "name another output directory, or remove this one"
_FOLDERS = ("rows", "links", "done", "leases", "scratch")


@dataclass(frozen=True, slots=True)
class RunFolder:
    """The paths of a run in its output directory."""

    path: Path

    @property
    def work(self) -> Path:
        """What is needed until the run is finished; of what is finished the identity and the records stay."""
        return self.path / ".bulk"

    @property
    def scratch(self) -> Path:
        """Where files lie while they are written."""
        return self.work / "scratch"

    @property
    def leases(self) -> Path:
        """Of the leases."""
        return self.work / "leases"

    @property
    def identity(self) -> Path:
        """Of the run's identity, which is written first."""
        return self.work / "run.json"

    @property
    def plan(self) -> Path:
        """Of the plan."""
        return self.work / "plan.json"

    @property
    def manifest(self) -> Path:
        """Of the manifest, which is written last."""
        return self.path / "manifest.json"

    @property
    def errors(self) -> Path:
        """Of the rows that could not be linked."""
        return self.path / "errors.csv"

    @property
    def summary(self) -> Path:
        """Of the summary."""
        return self.path / "summary.json"

    def rows(self, number: int) -> Path:
        """Of a fragment's rows."""
        return self.work / "rows" / f"{number:06}.jsonl.gz"

    def links(self, number: int) -> Path:
        """Of the links of the mentions that occur first in a fragment."""
        return self.work / "links" / f"{number:06}"

    def done(self, number: int) -> Path:
        """Of the record of a finished fragment."""
        return self.work / "done" / f"{number:06}.json"

    def part(self, number: int, form: Format) -> Path:
        """Of a fragment's output."""
        return self.path / f"part-{number:06}.{form}"

    def make(self) -> None:
        """Make the directory and its folders.

        Raises:
            TableError: where that cannot be done, or it holds files of something else.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            if not self.work.is_dir() and any(self.path.iterdir()):
                raise TableError(
                    f"{self.path}: holds files that are of no run of `cielo bulk`; name an empty directory"
                )
            for name in _FOLDERS:
                (self.work / name).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            remedy = remedy_for(error, "name a directory that can be written to")
            raise TableError(f"{self.path}: cannot be written ({error.strerror}); {remedy}") from error

    def keep(self, path: Path, record: object) -> None:
        """Write a record, unless it stands there.

        Raises:
            OSError: where it cannot be written.
        """
        with exclusive_write(path, self.scratch) as temporary:
            temporary.write_bytes(schema.encode(record))

    def read(self, path: Path, kind: type[_Record]) -> _Record | None:
        """Return a record; None: it is not there.

        Raises:
            TableError: where it is damaged.
        """
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            return None
        return schema.decode(kind, content, str(path), error=TableError, remedy=_ANOTHER, shown=False)
