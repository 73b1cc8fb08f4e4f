"""The one entrance to all tables: `read_table`."""

from __future__ import annotations

import contextlib
import gzip
import io
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO, cast

from cielo.errors import TableError
from cielo.tables.columns import Role
from cielo.tables.flat import open_flat
from cielo.tables.formats import GZIP, TableFormat, format_of, require_library
from cielo.tables.jsonl import open_json
from cielo.tables.parquet import open_parquet
from cielo.tables.table import Table, translated
from cielo.tables.workbook import open_workbook


def read_table(
    source: Path | BinaryIO, form: TableFormat | None = None, roles: Sequence[Role] = (), *, name: str | None = None
) -> Table:
    """Open a table; its rows come one after the other, and in their places those that cannot be taken.

    The header is the first row, among the first 50 (of each sheet of a workbook), in which each of the `roles` has its
    column, and the lines above it are read past; without roles it is the first row with anything in it. Where there
    is no such row the table has no header: `Table.columns` is empty, and cells are named by their places ("1", "2",
    ...). In JSON each row has names of its own. Cells of text formats are strings as they are written; rows without
    anything in them are passed over; a row with more cells than the header is rejected, one with fewer lacks them.

    Args:
        source: a file, or a stream of bytes, which stays open.
        form: what is known of the format; None: nothing.
        roles: the columns that a header must have.
        name: of the source in errors; default: the file's.

    Raises:
        TableError: where the file as a whole cannot be read: here or, where it is damaged further on, from its rows.
    """
    form = form or TableFormat()
    name = name or (str(source) if isinstance(source, Path) else "the input")
    stack = contextlib.ExitStack()
    table = Table(name, format_of(name, form.format), stack)
    with contextlib.ExitStack() as opening:
        opening.push(stack)
        require_library(name, table.format)
        stream = stack.enter_context(open_bytes(source)) if isinstance(source, Path) else source
        with translated(table):
            if name.lower().endswith(GZIP):
                stream = cast(BinaryIO, stack.enter_context(gzip.open(stream)))
            if table.format in ("csv", "tsv"):
                rows = open_flat(stream, table, form, roles)
            elif table.format in ("jsonl", "json"):
                rows = open_json(stream, table, form)
            elif table.format in ("xlsx", "xls"):
                rows = open_workbook(_seekable(stream), table, form, roles)
            else:
                rows = open_parquet(_seekable(stream), table, roles)
        table.set_rows(rows)
        opening.pop_all()
    return table


def _seekable(stream: BinaryIO) -> BinaryIO:
    return stream if stream.seekable() else io.BytesIO(stream.read())


def open_bytes(path: Path) -> BinaryIO:
    """Open a file.

    Raises:
        TableError: where it is missing, a folder, or may not be read.
    """
    try:
        if stat.S_ISDIR(path.stat().st_mode):
            raise TableError(f"{path}: cannot be read (Is a directory); name a file")
        return path.open("rb")
    except OSError as error:
        raise TableError(f"{path}: cannot be read ({error.strerror}); name a file that can be") from error
    except ValueError as error:  # a path with a NUL
        raise TableError(f"{str(path)!r}: cannot be read (no valid name); name a file that can be") from error
