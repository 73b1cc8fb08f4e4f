"""A table that is being read: its layout, its rows one after the other, and what is said of it afterwards."""

from __future__ import annotations

import contextlib
import zlib
from collections.abc import Callable, Iterable, Iterator
from types import TracebackType

from cielo.errors import TableError
from cielo.tables.encodings import Signs
from cielo.tables.formats import Format
from cielo.tables.rows import RejectedRow, TableRow


class Table:
    """A table that is being read; its rows come once, one after the other.

    Attributes:
        name: of the file, as errors say it.
        format: that it is read in.
        encoding: of a text file.
        delimiter: between its cells.
        columns: the names of its columns, stripped, a second one of one name as ``name (2)``; empty where there is no
            header, and in JSON, where each row has names of its own.
        raw_columns: as they are written.
        nearest: where no header was found, the row that is likest to one.
        header: the line (of a workbook the row) of the header.
        where: of a workbook, where the header was looked for.
        lines: how many physical lines were read so far; of other formats than text, rows.
        notes: what a person should know of how it is read, and `later` returns what is known once it was.
        rows: how many rows were given so far, and `rejected` how many could not be taken.
    """

    def __init__(self, name: str, form: Format, stack: contextlib.ExitStack) -> None:
        self.name = name
        self.format: Format = form
        self.encoding: str | None = None
        self.delimiter: str | None = None
        self.columns: tuple[str, ...] = ()
        self.raw_columns: tuple[str, ...] = ()
        self.nearest: tuple[str, ...] = ()
        self.header: int | None = None
        self.where = ""
        self.lines = self.rows = self.rejected = 0
        self.signs = Signs()
        self.notes: list[str] = []
        self.later: Callable[[], Iterable[str]] = tuple
        self._source: Iterator[TableRow | RejectedRow] = iter(())
        self._stack = stack

    def set_rows(self, rows: Iterator[TableRow | RejectedRow]) -> None:
        """Set where the rows come from: for readers."""
        self._source = rows

    def warnings(self) -> tuple[str, ...]:
        """Return what seems wrong with the table as a whole, as far as it was read, and what of it is not."""
        return *self.notes, *self.later(), *self.signs.warnings()

    def __iter__(self) -> Iterator[TableRow | RejectedRow]:
        """Yield the rows in their order, and in their places those that cannot be taken.

        Raises:
            TableError: where the file is damaged further on.
        """
        with self, translated(self):
            for row in self._source:
                self.rows += 1
                self.rejected += isinstance(row, RejectedRow)
                yield row

    def close(self) -> None:
        """Close the file, if it was opened for this table."""
        self._stack.close()

    def __enter__(self) -> Table:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


@contextlib.contextmanager
def translated(table: Table) -> Iterator[None]:
    """Turn what is wrong with a file into a `TableError`."""
    try:
        yield
    except UnicodeError as error:
        raise TableError(f"{table.name}: cannot be decoded as {table.encoding!r}; name another encoding") from error
    except (OSError, EOFError, zlib.error) as error:
        why = getattr(error, "strerror", None) or "the file is damaged"
        raise TableError(f"{table.name}: cannot be read ({why})") from error
