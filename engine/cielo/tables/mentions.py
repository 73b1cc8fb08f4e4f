"""Rows of mentions in and rows of links out: JSON Lines, CSV, TSV. Everything is text; codes are never numbers.

A row that cannot be read is handed on with its error, so that it is answered in its place and its neighbours are
not lost. CSV follows RFC 4180. TSV has no quoting (the IANA media type): a tab or a line end inside a value is
written as a space.
"""

from __future__ import annotations

import contextlib
import csv
import io
import json
import math
import sys
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, BinaryIO, Literal

from cielo.errors import MentionError, TableError
from cielo.files import atomic_write
from cielo.records import Link, Mention

Format = Literal["jsonl", "csv", "tsv"]
FORMATS: tuple[Format, ...] = ("jsonl", "csv", "tsv")
_SUFFIXES: dict[str, Format] = {".jsonl": "jsonl", ".ndjson": "jsonl", ".csv": "csv", ".tsv": "tsv", ".tab": "tsv"}
_MENTION_COLUMNS = ("text", "sentence", "kind", "id")
_RESULT_COLUMNS = (
    "code", "codes", "description", "title", "kind", "method", "match", "confidence", "generated", "log_prob",
    "probability", "distance", "candidates", "truncated", "provenance", "error",
)  # fmt: skip
_MAX_CELL = 1 << 28
_MAX_NESTING = 64
_ONE_LINE = str.maketrans(dict.fromkeys("\t\r\n\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029", " "))


@dataclass(frozen=True, slots=True)
class InputRow:
    """One row of the input: its values, and what is wrong with it, if anything is."""

    number: int
    values: dict[str, Any]
    error: str | None = None

    def mention(self) -> Mention:
        """Return the row's mention.

        Raises:
            MentionError: where the row holds none.
        """
        if self.error is not None:
            raise MentionError(self.error)
        if self.values.get("text") is None:
            raise MentionError("the row has no text; give a column `text`")
        rest = {name: self.values.get(name) or None for name in ("sentence", "kind")}
        name = self.values.get("id")
        return Mention(self.values["text"], **rest, id=None if name is None else str(name))


def format_of(path: str, named: Format | None, other: Format | None = None) -> Format:
    """Return the format of a file: the one `named`, else by its name's ending, else that of the `other` file.

    Raises:
        TableError: where none of these tells.
    """
    found = named or _SUFFIXES.get(Path(path).suffix.lower()) or other
    if found is None:
        raise TableError(f"the format of {path} is not known by its name; name it: {', '.join(FORMATS)}")
    return found


@contextlib.contextmanager
def open_input(path: str) -> Iterator[BinaryIO]:
    """Open a file, or standard input for ``-``.

    Raises:
        TableError: where it cannot be opened.
    """
    if path == "-":
        yield sys.stdin.buffer
        return
    try:
        stream = Path(path).open("rb")  # noqa: SIM115  closed below
    except OSError as error:
        raise TableError(f"{path}: cannot be read ({error.strerror}); name a file of {', '.join(FORMATS)}") from error
    with stream:
        yield stream


@contextlib.contextmanager
def open_output(path: str) -> Iterator[IO[str]]:
    """Open a file, or standard output for ``-``, so that what is written appears whole or, on an error, not at all.

    Raises:
        TableError: where it cannot be written.
    """
    try:
        if path == "-":
            with _spool() as spool:
                yield spool
                _copy(spool, sys.stdout.buffer)
        elif Path(path).exists() and not Path(path).is_file():  # /dev/null, a pipe: never to be renamed over
            with Path(path).open("wb") as stream, _spool() as spool:
                yield spool
                _copy(spool, stream)
        else:
            with atomic_write(Path(path)) as temporary, _open_text(temporary) as text:
                yield text
    except BrokenPipeError:
        raise  # the reader of standard output has gone: no error of the table
    except OSError as error:
        raise TableError(f"{path}: cannot be written ({error.strerror})") from error


def _open_text(path: Path) -> IO[str]:
    return path.open("w", encoding="utf-8", errors="backslashreplace", newline="")


def _spool() -> IO[str]:
    return tempfile.TemporaryFile("w+", encoding="utf-8", errors="backslashreplace", newline="")


def _copy(spool: IO[str], output: BinaryIO) -> None:
    spool.seek(0)
    while chunk := spool.read(1 << 20):
        output.write(chunk.encode("utf-8"))
    output.flush()


def read_rows(stream: BinaryIO, form: Format) -> Iterator[InputRow]:
    """Read the rows of a stream, one after the other.

    Raises:
        TableError: where a CSV or TSV has no header, or its header has no column ``text`` or one name twice.
    """
    if form == "jsonl":
        return _read_jsonl(stream)
    # Bytes that are not UTF-8 come through as lone surrogates, and are found row by row.
    lines = io.TextIOWrapper(stream, encoding="utf-8-sig", errors="surrogateescape", newline="")
    csv.field_size_limit(_MAX_CELL)
    reader = csv.reader(lines, strict=True) if form == "csv" else (line.rstrip("\r\n").split("\t") for line in lines)
    return _read_flat(iter(reader))


def _read_jsonl(stream: BinaryIO) -> Iterator[InputRow]:
    for number, line in enumerate(stream, start=1):
        line = line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line
        if line.strip():
            yield _json_row(number, line)


def _json_row(number: int, line: bytes) -> InputRow:
    try:
        values = json.loads(line.decode("utf-8"), parse_constant=_refuse_constant, parse_float=_finite)
    except UnicodeDecodeError:
        return InputRow(number, {}, "the line is not UTF-8; save the file as UTF-8")
    except (ValueError, RecursionError):
        return InputRow(number, {}, "the line is not JSON; expected one object on each line")
    if not isinstance(values, dict):
        return InputRow(number, {}, f"the line holds a JSON {type(values).__name__}; expected an object")
    if _nested_deeper(values, _MAX_NESTING):
        return InputRow(number, {}, f"the line nests values more than {_MAX_NESTING} deep; expected plain columns")
    return InputRow(number, values)


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _finite(number: str) -> float:
    value = float(number)
    if math.isinf(value):  # ``1e999``: what is read must be written again, and JSON has no infinity
        raise ValueError("a number is too large")
    return value


def _nested_deeper(value: Any, levels: int) -> bool:
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return any(levels == 0 or _nested_deeper(part, levels - 1) for part in parts if isinstance(part, (dict, list)))


def _read_flat(reader: Iterator[list[str]]) -> Iterator[InputRow]:
    header = _header(reader)
    number = 1
    while True:
        number += 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield InputRow(number, {}, f"the row is not well-formed CSV ({error})")
            continue
        if any(cells):
            yield _flat_row(number, header, cells)


def _header(reader: Iterator[list[str]]) -> list[str]:
    try:
        header = [name.strip() for name in next(reader, [])]
    except csv.Error as error:
        raise TableError(f"the header is not well-formed CSV ({error})") from error
    if "text" not in header:
        raise TableError("the header has no column `text`; expected text, sentence and, if wanted, kind and id")
    twice = sorted({name for name in header if name and header.count(name) > 1})
    if twice:
        raise TableError(f"{len(twice)} column name(s) of the header occur more than once; name each column once")
    return header


def _flat_row(number: int, header: list[str], cells: list[str]) -> InputRow:
    values = {name: _printable(cell) for name, cell in zip(header, cells, strict=False)}
    if len(cells) != len(header):
        return InputRow(number, values, f"the row has {len(cells)} columns; the header has {len(header)}")
    if any("\udc80" <= character <= "\udcff" for cell in cells for character in cell):
        return InputRow(number, values, "the row is not UTF-8; save the file as UTF-8")
    return InputRow(number, values)


def _printable(cell: str) -> str:
    return cell.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def output_row(row: InputRow, outcome: Link | str) -> dict[str, Any]:
    """Return the output row: the input's columns, then the link's, or the error.

    An input column that bears the name of a result column is kept as ``input_<name>`` (``input_input_<name>`` where
    the input has that column too); ``kind`` is the linked code's, and the input's where nothing was linked.
    """
    kept = {_kept_name(name, row.values): value for name, value in row.values.items()}
    if isinstance(outcome, str):
        return {**kept, "error": outcome}
    result = link_columns(outcome)
    if result["kind"] is None:
        result["kind"] = row.values.get("kind") or None
    return {**kept, **result}


def _kept_name(name: str, others: Iterable[str]) -> str:
    if name not in _RESULT_COLUMNS or name == "kind":
        return name
    kept = f"input_{name}"
    while kept in others:
        kept = f"input_{kept}"
    return kept


def link_columns(link: Link) -> dict[str, Any]:
    """Return what the output shows of a link, in the order of its columns."""
    values = link.to_dict()
    return {name: values[name] for name in _RESULT_COLUMNS if name in values}


def write_rows(stream: IO[str], form: Format, rows: Iterable[dict[str, Any]]) -> None:
    """Write rows; a CSV or TSV gets the columns of all rows, in the order in which they first occur."""
    if form == "jsonl":
        for row in rows:
            stream.write(json.dumps(row, ensure_ascii=False) + "\n")
        return
    # The columns are known only when every row is: the rows wait on disk, not in memory.
    columns: dict[str, None] = {}
    with _spool() as spool:
        for row in rows:
            columns.update(dict.fromkeys(row))
            spool.write(json.dumps(row) + "\n")
        spool.seek(0)
        _write_flat(stream, form, _ordered(columns), (json.loads(line) for line in spool))


def _ordered(columns: Iterable[str]) -> list[str]:
    given = [name for name in columns if name not in _RESULT_COLUMNS]
    return given + list(_RESULT_COLUMNS)


def _write_flat(stream: IO[str], form: Format, columns: list[str], rows: Iterable[dict[str, Any]]) -> None:
    if form == "csv":
        writer = csv.writer(stream)
        writer.writerow(columns)
        writer.writerows([_cell(name, row.get(name)) for name in columns] for row in rows)
        return
    stream.write("\t".join(name.translate(_ONE_LINE) for name in columns) + "\n")
    for row in rows:
        stream.write("\t".join(_cell(name, row.get(name)).translate(_ONE_LINE) for name in columns) + "\n")


def _cell(name: str, value: Any) -> str:
    """Write a value as a cell's text: codes with ``|`` between them, a bundle as name, hash and how it was asked."""
    if value is None:
        return ""
    if name == "codes" and isinstance(value, list):
        return "|".join(value)
    if name == "provenance" and isinstance(value, dict):
        bundle, how = value["bundle"], [value["decoding"], value["pipeline"]]
        if value["matching"] == "published":
            how.append("published matching")
        return " ".join([f"{bundle['name']}@{bundle['sha256'][:12]}", *how])
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
