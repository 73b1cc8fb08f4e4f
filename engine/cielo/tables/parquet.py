"""Parquet files, read in batches of rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO

from cielo.errors import TableError
from cielo.tables.columns import Role, unique_names
from cielo.tables.rows import OF_ANOTHER_TYPE, Cell, NotText, RejectedRow, TableRow
from cielo.tables.table import Table

_BATCH = 8192
_SHOWN = 60  # characters of the name of a type


def open_parquet(stream: BinaryIO, table: Table, roles: Sequence[Role]) -> Iterator[TableRow | RejectedRow]:
    """Read the schema of a Parquet file, and return its rows.

    Raises:
        TableError: where it is no such file, or a role's column holds no strings.
    """
    from pyarrow import parquet

    try:
        file = parquet.ParquetFile(stream, page_checksum_verification=True)
        schema = file.schema_arrow
    except OSError:
        raise
    except Exception as error:  # the library has many, and damaged files bring out all of them
        raise _damaged(table, error) from error
    found = [role.find(schema.names) for role in roles]
    if None not in found:
        table.raw_columns, table.header = tuple(schema.names), 0
    else:
        table.nearest = tuple(schema.names)
    table.columns = tuple(unique_names(schema.names))
    for role, place in zip(roles, found, strict=True):
        kind = None if place is None else schema.field(place).type
        if kind is not None and role.text and not _is_text(kind):
            raise TableError(
                f"{table.name}: the column {schema.names[place]!r} is of type {str(kind)[:_SHOWN]}, expected strings; "
                "in another type codes lose zeros and letters: write it as text from the source"
            )
    return _rows(file, table)


def _damaged(table: Table, error: Exception) -> TableError:
    return TableError(f"{table.name}: is no Parquet file, or is damaged ({type(error).__name__})")


def _rows(file: Any, table: Table) -> Iterator[TableRow | RejectedRow]:
    names, number = table.columns, 0
    try:
        for batch in file.iter_batches(_BATCH, use_threads=False):
            for cells in zip(*(_values(column) for column in batch.columns), strict=True):
                number += 1
                table.lines = number
                yield TableRow(number, dict(zip(names, cells, strict=True)))
    except OSError as error:
        raise TableError(f"{table.name}: cannot be read ({error.strerror or 'damaged Parquet'})") from error
    except Exception as error:
        raise _damaged(table, error) from error


def _values(column: Any) -> list[Cell]:
    try:
        return [_plain(value) for value in column.to_pylist()]
    except UnicodeDecodeError:
        return [_value(item) for item in column]


def _value(item: Any) -> Cell:
    try:
        return _plain(item.as_py())
    except UnicodeDecodeError:
        return "\udcff"  # no text: rejected as such


def _plain(value: Any) -> Cell:
    if value is None or isinstance(value, (str, bool, int, float)):
        return value
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {str(name): _plain(item) for name, item in value.items()}
    shown = value.isoformat() if hasattr(value, "isoformat") else "" if isinstance(value, bytes) else str(value)
    return NotText(OF_ANOTHER_TYPE, shown, OF_ANOTHER_TYPE)


def _is_text(kind: Any) -> bool:
    from pyarrow import types

    if types.is_dictionary(kind):
        kind = kind.value_type
    # A column without a single value has the type null.
    is_view = getattr(types, "is_string_view", lambda _: False)
    return bool(types.is_string(kind) or types.is_large_string(kind) or types.is_null(kind) or is_view(kind))
