"""The one entrance to all tables: `read_table`."""

from __future__ import annotations

import contextlib
import gzip
import io
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, cast

from cielo.errors import TableError
from cielo.tables.columns import Role
from cielo.tables.contents import WORKBOOKS, Content, beginning_of, content_of
from cielo.tables.flat import open_flat
from cielo.tables.formats import GZIP, Format, TableFormat, known_format, require_library
from cielo.tables.jsonl import open_json
from cielo.tables.parquet import open_parquet
from cielo.tables.rows import RejectedRow, TableRow
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
    named = known_format(name, form.format)
    table = Table(name, named or "csv", stack)
    with contextlib.ExitStack() as opening:
        opening.push(stack)
        stream = stack.enter_context(open_bytes(source)) if isinstance(source, Path) else source
        with translated(table):
            if name.lower().endswith(GZIP):
                stream = cast(BinaryIO, stack.enter_context(gzip.open(stream)))
            head, stream = beginning_of(stream)
            content = content_of(stream, head, name, named)
            if not (named in WORKBOOKS and _format(content) in WORKBOOKS):
                table.format = _format(content)
            if content != "html" and content != "xml-2003":
                require_library(name, content)
            table.set_rows(_rows(stream, table, form, roles, content))
        opening.pop_all()
    return table


def _format(content: Content) -> Format:
    return "xls" if content == "html" or content == "xml-2003" else content


def _rows(
    stream: BinaryIO, table: Table, form: TableFormat, roles: Sequence[Role], content: Content
) -> Iterator[TableRow | RejectedRow]:
    if content in ("csv", "tsv"):
        return open_flat(stream, table, form, roles)
    if content in ("jsonl", "json"):
        return open_json(stream, table, form, roles)
    if content == "parquet":
        return open_parquet(_seekable(stream), table, roles)
    return open_workbook(_seekable(stream), table, form, roles, content)


def sniffed_format(path: Path) -> Format | None:
    """Return the format of a file whose name does not tell it, by what it holds; None: it cannot be read.

    Raises:
        TableError: where it is plainly no table.
    """
    content = _content(path, None)
    return None if content is None else _format(content)


def possible_formats(path: Path, named: Format | None = None) -> set[Format]:
    """Return the formats whose options can have an effect on a file: as it is called, and as what it holds.

    Args:
        path: of the file; where it cannot be read, its name alone counts.
        named: as it is said to be; None: as its name tells.
    """
    known = known_format(str(path), named)
    found: set[Format] = set() if known is None else {known}
    with contextlib.suppress(TableError):
        content = _content(path, known)
        if content is not None:
            found.add(_format(content))
        if content == "html":
            found.add("csv")  # a page is text, and has an encoding
    return found


def _content(path: Path, named: Format | None) -> Content | None:
    try:
        with open_bytes(path) as stream:
            head, _ = beginning_of(stream)
            return content_of(stream, head, str(path), named)
    except OSError:
        return None


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
