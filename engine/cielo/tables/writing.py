"""Rows out, in any format: CSV as in RFC 4180, TSV without quoting, JSON, workbooks with every cell as text, Parquet.

A TSV has no quoting (the IANA media type): a tab or a line end inside a value is written as a space. What is no
character (half of a surrogate pair, which JSON can hold) is written as an escape such as ``\\ud83e``.
"""

from __future__ import annotations

import contextlib
import csv
import io
import itertools
import json
import re
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias

from cielo.errors import TableError
from cielo.files import atomic_write
from cielo.records import Json
from cielo.tables.formats import Format, require_library
from cielo.tables.workbook import MAX_ROWS

Row: TypeAlias = "Mapping[str, Json]"
_ONE_LINE = str.maketrans(dict.fromkeys("\t\r\n\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029", " "))
_NOT_XML = re.compile("[\x00-\x08\x0b\x0c\x0d\x0e-\x1f\ufffe\uffff]|_(?=x[0-9A-Fa-f]{4}_)")
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_NUMBER = re.compile(r"[+-]?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?")
_MAX_CELL = 32_767  # characters, of a workbook
_BATCH = 4096
_CHUNK = 1 << 20


@contextlib.contextmanager
def open_output(path: str) -> Iterator[BinaryIO]:
    """Open a file, or standard output for ``-``, so that what is written appears whole or, on an error, not at all.

    Raises:
        TableError: where it cannot be written.
    """
    try:
        if path == "-":
            with _spool() as spool:
                yield spool
                _copy(spool, sys.stdout.buffer)
        else:
            with atomic_write(Path(path)) as temporary, temporary.open("w+b") as file:
                yield file
    except BrokenPipeError:
        raise  # the reader of standard output has gone: no error of the table
    except OSError as error:
        raise TableError(f"{path}: cannot be written ({error.strerror})") from error


def _spool() -> Any:
    return tempfile.TemporaryFile("w+b")


def _copy(spool: BinaryIO, output: BinaryIO) -> None:
    spool.seek(0)
    while chunk := spool.read(_CHUNK):
        output.write(chunk)
    output.flush()


def write_table(
    stream: BinaryIO,
    form: Format,
    rows: Iterable[Row],
    *,
    order: Callable[[Iterable[str]], Sequence[str]] = tuple,
    cell: Callable[[str, Any], str | None] = lambda _, value: cell_text(value),
    guarded: bool = False,
) -> None:
    """Write rows.

    Args:
        stream: of bytes; it stays open.
        form: of the output.
        rows: their values by the names of the columns. JSON keeps the values, the other formats write texts.
        order: of the columns; is given those of all rows, in the order in which they first occur. Not for JSON.
        cell: the text of a value of a column; None: an empty cell. Not for JSON.
        guarded: whether CSV and TSV get each cell and name by `guard_formula`.

    Raises:
        TableError: where a workbook would have too many rows or too long a cell, or its library is not installed.
    """
    require_library("the output", form)
    if form in ("jsonl", "json"):
        _write_json(stream, rows, array=form == "json")
        return
    # The columns are known only when every row is: the rows wait on disk, not in memory.
    columns: dict[str, None] = {}
    with tempfile.TemporaryFile("w+", encoding="utf-8", newline="") as spool:
        for number, row in enumerate(rows, start=1):
            columns.update(dict.fromkeys(row))
            cells = {name: cell(name, value) for name, value in row.items()}
            if form == "xlsx":
                _check_workbook(number, cells)
            spool.write(json.dumps(cells) + "\n")
        spool.seek(0)
        names = list(order(columns))
        written = ([cells.get(name) for name in names] for cells in map(json.loads, spool))
        if guarded and form in ("csv", "tsv"):
            names = [guard_formula(name) for name in names]
            written = ([cell and guard_formula(cell) for cell in cells] for cells in written)
        _WRITERS[form](stream, names, written)


def guard_formula(text: str) -> str:
    """Put an apostrophe before what a spreadsheet would take for a formula: a text that is no number, with such a sign.

    The signs are ``=``, ``+``, ``-``, ``@``, a tab and a return (OWASP, "CSV Injection"). Workbooks need none of it:
    there every cell is typed as text.
    """
    return f"'{text}" if text.startswith(_FORMULA) and not _NUMBER.fullmatch(text) else text


def cell_text(value: Any) -> str | None:
    """Return the text of a value: of what is neither text nor None its JSON."""
    return value if value is None or isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _write_json(stream: BinaryIO, rows: Iterable[Row], *, array: bool) -> None:
    before, between, after = (b"[", b",\n", b"]\n") if array else (b"", b"\n", b"")
    stream.write(before)
    for number, row in enumerate(rows):
        if number and array:
            stream.write(between)
        stream.write(_encoded(json.dumps(row, ensure_ascii=False)))
        if not array:
            stream.write(between)
    stream.write(after)


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "backslashreplace")


def _text(stream: BinaryIO) -> io.TextIOWrapper:
    return io.TextIOWrapper(stream, encoding="utf-8", errors="backslashreplace", newline="")


Rows: TypeAlias = Iterator[list[str | None]]


def _write_csv(stream: BinaryIO, names: list[str], rows: Rows) -> None:
    text = _text(stream)
    writer = csv.writer(text)
    writer.writerow(names)
    writer.writerows([cell or "" for cell in cells] for cells in rows)
    text.detach()


def _write_tsv(stream: BinaryIO, names: list[str], rows: Rows) -> None:
    header: list[str | None] = [*names]
    for cells in itertools.chain([header], rows):
        stream.write(_encoded("\t".join((cell or "").translate(_ONE_LINE) for cell in cells) + "\n"))


def _check_workbook(number: int, cells: Mapping[str, str | None]) -> None:
    if number >= MAX_ROWS:
        raise TableError(f"the output has more rows than a workbook holds ({MAX_ROWS:,}); write CSV or JSON Lines")
    if any(cell is not None and len(cell) > _MAX_CELL for cell in cells.values()):
        raise TableError(
            f"row {number} of the output has a cell of more than {_MAX_CELL:,} characters, which no workbook holds; "
            "write CSV or JSON Lines"
        )


def _write_workbook(stream: BinaryIO, names: list[str], rows: Rows) -> None:
    import openpyxl
    from openpyxl.cell import WriteOnlyCell

    book = openpyxl.Workbook(write_only=True)
    sheet = book.create_sheet("links")

    def text(value: str | None) -> Any:
        """Return a cell that is text whatever it looks like: never a number, a date or a formula."""
        if not value:
            return None
        cell = WriteOnlyCell(sheet)
        cell.value = _escaped(value)
        cell.data_type, cell.number_format = "s", "@"
        return cell

    header: list[str | None] = [*names]
    for cells in itertools.chain([header], rows):
        sheet.append([text(cell) for cell in cells])
    book.save(stream)


def _escaped(value: str) -> str:
    whole = _encoded(value).decode("utf-8")
    return _NOT_XML.sub(lambda found: f"_x{ord(found[0]):04X}_", whole)


def _write_parquet(stream: BinaryIO, names: list[str], rows: Rows) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    schema = pa.schema([(_encoded(name).decode("utf-8"), pa.string()) for name in names])
    with parquet.ParquetWriter(stream, schema) as writer:
        while batch := list(itertools.islice(rows, _BATCH)):
            columns = [
                pa.array([None if cell is None else _encoded(cell).decode("utf-8") for cell in column], pa.string())
                for column in zip(*batch, strict=True)
            ]
            writer.write_table(pa.Table.from_arrays(columns, schema=schema))


_WRITERS: dict[str, Callable[[BinaryIO, list[str], Rows], None]] = {
    "csv": _write_csv, "tsv": _write_tsv, "xlsx": _write_workbook, "parquet": _write_parquet,
}  # fmt: skip
