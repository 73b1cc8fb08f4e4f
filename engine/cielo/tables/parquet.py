"""Parquet files, read in batches of rows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from cielo.errors import TableError
from cielo.tables.columns import Columns, find_columns, no_columns
from cielo.tables.lines import open_bytes
from cielo.tables.rows import CodeTable, Rejected, TableRow, row_of

_BATCH = 8192
_SHOWN = 60  # characters of the name of a type


def read_parquet(table: CodeTable) -> Iterator[TableRow | Rejected]:
    """Read a Parquet file; its columns of codes and descriptions must be strings."""
    try:
        from pyarrow import parquet
    except ImportError as error:
        raise TableError(f"{table.path}: reading Parquet needs pyarrow; pip install 'cielo[tables]'") from error
    try:
        with open_bytes(table.path) as stream:
            yield from _rows(parquet.ParquetFile(stream, page_checksum_verification=True), table)
    except TableError:
        raise
    except OSError as error:
        raise TableError(f"{table.path}: cannot be read ({error.strerror or 'damaged Parquet'})") from error
    except Exception as error:  # the library has many, and damaged files bring out all of them
        raise TableError(f"{table.path}: is no Parquet file, or is damaged ({type(error).__name__})") from error


def _rows(file: Any, table: CodeTable) -> Iterator[TableRow | Rejected]:
    schema = file.schema_arrow
    columns = find_columns(schema.names, table)
    if columns is None:
        raise no_columns(table, schema.names)
    for place in (columns.code, columns.description):
        kind = schema.field(place).type
        if not _is_text(kind):
            raise TableError(
                f"{table.path}: the column {schema.names[place]!r} is of type {str(kind)[:_SHOWN]}, expected strings; "
                "in another type codes lose zeros and letters: write it as text from the source"
            )
    places = {place for place in (columns.code, columns.description, columns.preferred) if place is not None}
    line = 1
    for batch in file.iter_batches(_BATCH, columns=sorted({schema.names[p] for p in places}), use_threads=False):
        for row in _batch(batch, schema.names, columns):
            yield row_of(line, *row, table)
            line += 1


def _batch(batch: Any, names: list[str], columns: Columns) -> Iterator[tuple[object, object, object]]:
    def values(place: int) -> list[object]:
        column = batch.column(batch.schema.names.index(names[place]))
        try:
            return column.to_pylist()  # type: ignore[no-any-return]
        except UnicodeDecodeError:
            return [_value(item) for item in column]

    marks: list[object] = [True] * len(batch) if columns.preferred is None else values(columns.preferred)
    return zip(values(columns.code), values(columns.description), marks, strict=True)


def _value(item: Any) -> object:
    try:
        return item.as_py()
    except UnicodeDecodeError:
        return "\udcff"  # no text: rejected as such


def _is_text(kind: Any) -> bool:
    from pyarrow import types

    if types.is_dictionary(kind):
        kind = kind.value_type
    # A column without a single value has the type null.
    is_view = getattr(types, "is_string_view", lambda _: False)
    return bool(types.is_string(kind) or types.is_large_string(kind) or types.is_null(kind) or is_view(kind))
