"""Rows out, in any format: CSV as in RFC 4180, TSV without quoting, JSON, workbooks with every cell as text, Parquet.

A TSV has no quoting (the IANA media type): a tab or a line end inside a value is written as a space. What is no
character (half of a surrogate pair, which JSON can hold) is written as an escape such as ``\\ud83e``.
"""

from __future__ import annotations

import codecs
import contextlib
import csv
import itertools
import json
import re
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, TextIO, cast

from cielo.errors import TableError
from cielo.files import atomic_write
from cielo.records import Json
from cielo.tables.formats import GZIP, Format, OutputStyle, require_library
from cielo.tables.workbook import MAX_ROWS
from cielo.tables.workbook_writing import OutCell, Tone, write_workbook

_ONE_LINE = str.maketrans(dict.fromkeys("\t\r\n\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029", " "))
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_NUMBER = re.compile(r"[+-]?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?")
_MAX_CELL = 32_767  # characters, of a workbook
_BATCH = 4096
_CHUNK = 1 << 20
LIVE: tuple[Format, ...] = ("csv", "tsv", "jsonl", "json")  # whose rows can be shown as they are written


@contextlib.contextmanager
def open_output(path: str, form: Format | None = None) -> Iterator[BinaryIO]:
    """Open a file, so that what is written appears whole or, on an error, not at all; or standard output for ``-``.

    On standard output the rows of text formats come as they are written; other formats, and where none is named, wait
    until they are whole.

    Raises:
        TableError: where it cannot be written.
    """
    if path.lower().endswith(GZIP):
        raise TableError(f"{path}: tables are not written compressed; name it without {GZIP}, and compress it then")
    try:
        if path == "-" and form in LIVE:
            yield cast(BinaryIO, _Live(sys.stdout.buffer))
        elif path == "-":
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


class _Live:
    """A stream whose reader sees what is written at once."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream

    def write(self, content: bytes) -> int:
        written = self._stream.write(content)
        self._stream.flush()
        return written


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
    rows: Iterable[Mapping[str, Json]],
    *,
    columns: Sequence[str] | None = None,
    order: Callable[[Iterable[str]], Sequence[str]] = tuple,
    cell: Callable[[str, Any], OutCell] | None = None,
    style: OutputStyle | None = None,
    label: Callable[[str], str] = str,
    tones: Callable[[Mapping[str, OutCell]], Mapping[str, Tone]] | None = None,
) -> None:
    """Write rows.

    Args:
        stream: of bytes; it stays open.
        form: of the output.
        rows: their values by the names of the columns. JSON keeps the values; the other formats write text, and
            figures as their style says.
        columns: the names of all, where they are known before the rows; these are then written as they come. None:
            those of the rows. Not for JSON, and neither are the following.
        order: of the columns where they are not known before; is given them in the order in which they first occur.
        cell: what is written of a value of a column; None: see `out_cell`.
        style: how tables for people look.
        label: what stands above a column.
        tones: which cells of a row a workbook colours, by the names of their columns.

    Raises:
        TableError: where a workbook would have too many rows or too long a cell, or its library is not installed.
    """
    require_library("the output", form)
    if form == "xls":
        raise TableError("the output: XLS is read and not written; write XLSX")
    if form in ("jsonl", "json"):
        _write_json(stream, rows, array=form == "json")
        return
    style, shown = style or OutputStyle(), cell or out_cell
    cells: Iterator[dict[str, OutCell]] = ({name: shown(name, value) for name, value in row.items()} for row in rows)
    if form == "xlsx":
        cells = _fitting_workbook(cells)
    with contextlib.ExitStack() as stack:
        if columns is None:
            # The columns are known only when every row is: the rows wait on disk, not in memory.
            spool = stack.enter_context(tempfile.TemporaryFile("w+", encoding="utf-8", newline=""))
            columns, cells = order(_spooled(cells, spool)), map(json.loads, spool)
        if form == "xlsx":
            write_workbook(stream, columns, cells, label=label, tones=tones)
        elif form == "parquet":
            _write_parquet(stream, columns, cells)
        else:
            _write_flat(stream, form, columns, cells, style=style, label=label)


def out_cell(name: str, value: Any) -> OutCell:
    """Return what is written of a value: its text, or of what is neither text nor None its JSON."""
    return cell_text(value)


def _spooled(rows: Iterable[Mapping[str, OutCell]], spool: TextIO) -> list[str]:
    """Write rows into a spool, wind it back, and return the names of their columns."""
    names: dict[str, None] = {}
    for row in rows:
        names.update(dict.fromkeys(row))
        spool.write(json.dumps(row) + "\n")
    spool.seek(0)
    return list(names)


def guard_formula(text: str) -> str:
    """Put an apostrophe before what a spreadsheet would take for a formula: a text that is no number, with such a sign.

    The signs are ``=``, ``+``, ``-``, ``@``, a tab and a return (OWASP, "CSV Injection"). Workbooks need none of it:
    there every cell is typed as text.
    """
    return f"'{text}" if text.startswith(_FORMULA) and not _NUMBER.fullmatch(text) else text


def cell_text(value: Any) -> str | None:
    """Return the text of a value: of what is neither text nor None its JSON."""
    return value if value is None or isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _write_json(stream: BinaryIO, rows: Iterable[Mapping[str, Json]], *, array: bool) -> None:
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


def _write_flat(
    stream: BinaryIO,
    form: Format,
    columns: Sequence[str],
    rows: Iterable[Mapping[str, OutCell]],
    *,
    style: OutputStyle,
    label: Callable[[str], str],
) -> None:
    if style.bom:
        stream.write(codecs.BOM_UTF8)
    text = _Encoder(stream)
    writer = csv.writer(text, delimiter=style.delimiter)
    guard = guard_formula if style.guarded else str

    def written(value: OutCell) -> str:
        if isinstance(value, float):
            return f"{value:.3f}".replace(".", style.decimal)
        return guard(value) if value else ""

    header = [guard(label(name)) for name in columns]
    for line in itertools.chain([header], ([written(row.get(name)) for name in columns] for row in rows)):
        if form == "csv":
            writer.writerow(line)
        else:
            text.write("\t".join(cell.translate(_ONE_LINE) for cell in line) + "\n")


class _Encoder:
    """Text to a stream of bytes."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        return self._stream.write(_encoded(text))


def _fitting_workbook(rows: Iterable[dict[str, OutCell]]) -> Iterator[dict[str, OutCell]]:
    for number, row in enumerate(rows, start=1):
        if number >= MAX_ROWS:
            raise TableError(f"the output has more rows than a workbook holds ({MAX_ROWS:,}); write CSV or JSON Lines")
        if any(isinstance(value, str) and len(value) > _MAX_CELL for value in row.values()):
            raise TableError(
                f"row {number} of the output has a cell of more than {_MAX_CELL:,} characters, which no workbook "
                "holds; write CSV or JSON Lines"
            )
        yield row


def _write_parquet(stream: BinaryIO, columns: Sequence[str], rows: Iterable[Mapping[str, OutCell]]) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    schema = pa.schema([(_encoded(name).decode("utf-8"), pa.string()) for name in columns])
    cells = iter(rows)
    with parquet.ParquetWriter(stream, schema) as writer:
        while batch := list(itertools.islice(cells, _BATCH)):
            arrays = [pa.array([_whole(row.get(name)) for row in batch], pa.string()) for name in columns]
            writer.write_table(pa.Table.from_arrays(arrays, schema=schema))


def _whole(value: OutCell) -> str | None:
    return None if value is None else _encoded(str(value)).decode("utf-8")
