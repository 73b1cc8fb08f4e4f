"""Data frames: pandas, polars, DuckDB, pyarrow, and whatever else gives an Arrow stream. The same type comes back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, TypeVar, cast

from cielo.errors import OptionError, TableError
from cielo.extras import require
from cielo.link.columns import NUMBERS, RESULTS, ROLES, cells_of, linked_columns
from cielo.link.linker import Linker
from cielo.options import LinkOptions

_EXTRA, _USER = "dataframes", "a data frame"


class ArrowStream(Protocol):
    """Whatever gives its rows as an Arrow stream: a polars DataFrame, a DuckDB relation, a pyarrow Table."""

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        """Return a capsule; see Arrow's PyCapsule interface."""


Frame = TypeVar("Frame", bound=ArrowStream)


def link_frame(
    frame: Frame,
    linker: Linker,
    options: LinkOptions | None = None,
    *,
    columns: Mapping[str, str] | None = None,
    prefix: str = "",
) -> Frame:
    """Link each row, and return a frame of the same type with the columns of `cielo.link.columns.RESULTS` added.

    A row that cannot be linked has its reason in ``error``, and its neighbours their links. The frame given stays as it
    is; rows, their order and a pandas index are kept. A type that is none of pandas', polars', DuckDB's and pyarrow's
    comes back as a pyarrow Table. A DuckDB relation comes back as one of the default connection.

    Args:
        frame: with a column of mentions, and perhaps one of sentences and one of kinds.
        linker: that finds the codes.
        options: how; default: `LinkOptions()`.
        columns: which of the frame's columns is ``text``, ``sentence``, ``kind``; default: those of these names.
        prefix: of the added columns' names.

    Raises:
        CieloError: where pyarrow is needed and not installed.
        OptionError: where `columns` names another role, or an option does not fit.
        TableError: where it is no data frame, a column is missing, or one that is added is there already.
    """
    if type(frame).__module__.partition(".")[0] == "pandas":
        pandas = cast("Any", frame)
        found = _roles(list(pandas.columns), columns, prefix)
        results = linked_columns(linker, {role: cells_of(pandas[name]) for role, name in found.items()}, options)
        return cast("Frame", pandas.assign(**{f"{prefix}{name}": values for name, values in results.items()}))
    if not hasattr(frame, "__arrow_c_stream__"):
        raise TableError(f"got a {type(frame).__name__}, expected a data frame (pandas, polars, DuckDB, pyarrow)")
    pyarrow = require("pyarrow", _EXTRA, _USER)
    table = pyarrow.table(frame)
    found = _roles(table.column_names, columns, prefix)
    cells = {role: table.column(name).to_pylist() for role, name in found.items()}
    for name, values in linked_columns(linker, cells, options).items():
        kind = pyarrow.float64() if name in NUMBERS else pyarrow.string()
        table = table.append_column(f"{prefix}{name}", pyarrow.array(values, kind))
    return cast("Frame", _same_type(frame, table))


def _roles(names: Sequence[str], columns: Mapping[str, str] | None, prefix: str) -> dict[str, str]:
    given = dict(columns or {})
    if unknown := sorted(set(given) - set(ROLES)):
        raise OptionError(f"got columns for {', '.join(unknown)}, expected some of {', '.join(ROLES)}")
    if twice := [name for name in (f"{prefix}{result}" for result in RESULTS) if name in names]:
        raise TableError(
            f"the frame has the columns {', '.join(twice)} already; give a prefix for those that are added"
        )
    found = {role: given.get(role, role) for role in ROLES if role in given or role == "text" or role in names}
    for role, name in found.items():
        if list(names).count(name) != 1:
            raise TableError(f"the frame has not one column {name!r}; name the column of {role} by columns")
    return found


def _same_type(frame: object, table: Any) -> object:
    home = type(frame).__module__.lstrip("_").partition(".")[0]
    if home == "polars":
        return require("polars", _EXTRA, _USER).from_arrow(table)
    if home == "duckdb":
        return require("duckdb", _EXTRA, _USER).from_arrow(table)
    return table.to_reader() if type(frame).__name__ == "RecordBatchReader" else table
