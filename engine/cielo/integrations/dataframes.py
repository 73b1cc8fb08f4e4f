"""Data frames: pandas, polars, DuckDB, pyarrow, and whatever else gives an Arrow stream. The same type comes back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, TypeVar, cast

from cielo.errors import CieloError, MentionError, OptionError, TableError
from cielo.integrations.extras import require
from cielo.link.linker import Linker
from cielo.options import LinkOptions
from cielo.records import Link, Mention

_EXTRA = "dataframes"
_ROLES = ("text", "sentence", "kind")
# The columns that are added, and the fields of a link that they show.
_FIELDS = {
    "code": "code", "title": "title", "linked_kind": "kind", "method": "method", "confidence": "confidence",
    "distance": "distance",
}  # fmt: skip
RESULTS = (*_FIELDS, "error")
"""The columns that are added; ``distance`` is a squared L2 distance in [0, 4], ``confidence`` lies in [0, 1]."""
_NUMBERS = ("confidence", "distance")


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
    """Link each row of a data frame, and return a frame of the same type with the columns of `RESULTS` added.

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
        cells = {
            role: pandas[name].astype(object).where(pandas[name].notna(), None).tolist() for role, name in found.items()
        }
        added = _added(_outcomes(cells, linker, options), prefix)
        return cast("Frame", pandas.assign(**added))
    if not hasattr(frame, "__arrow_c_stream__"):
        raise TableError(f"got a {type(frame).__name__}, expected a data frame (pandas, polars, DuckDB, pyarrow)")
    pyarrow = require("pyarrow", _EXTRA)
    table = pyarrow.table(frame)
    found = _roles(table.column_names, columns, prefix)
    cells = {role: table.column(name).to_pylist() for role, name in found.items()}
    for name, values in _added(_outcomes(cells, linker, options), prefix).items():
        kind = pyarrow.float64() if name.removeprefix(prefix) in _NUMBERS else pyarrow.string()
        table = table.append_column(name, pyarrow.array(values, kind))
    return cast("Frame", _same_type(frame, table))


def _roles(names: Sequence[str], columns: Mapping[str, str] | None, prefix: str) -> dict[str, str]:
    given = dict(columns or {})
    if unknown := sorted(set(given) - set(_ROLES)):
        raise OptionError(f"got columns for {', '.join(unknown)}, expected some of {', '.join(_ROLES)}")
    if twice := [name for name in (f"{prefix}{result}" for result in RESULTS) if name in names]:
        raise TableError(
            f"the frame has the columns {', '.join(twice)} already; give a prefix for those that are added"
        )
    found = {role: given.get(role, role) for role in _ROLES if role in given or role == "text" or role in names}
    for role, name in found.items():
        if list(names).count(name) != 1:
            raise TableError(f"the frame has not one column {name!r}; name the column of {role} by columns")
    return found


def _outcomes(
    cells: Mapping[str, Sequence[object]], linker: Linker, options: LinkOptions | None
) -> list[Link | CieloError]:
    rows = zip(*cells.values(), strict=True)
    return list(linker.link_each((_mention(dict(zip(cells, row, strict=True))) for row in rows), options))


def _mention(row: Mapping[str, Any]) -> Mention | CieloError:
    try:
        return Mention(row["text"], row.get("sentence") or None, row.get("kind") or None)
    except MentionError as error:
        return error


def _added(outcomes: Sequence[Link | CieloError], prefix: str) -> Mapping[str, Sequence[str | float | None]]:
    found: dict[str, list[str | float | None]] = {
        name: [getattr(outcome, field, None) for outcome in outcomes] for name, field in _FIELDS.items()
    }
    found["error"] = [None if isinstance(outcome, Link) else str(outcome) for outcome in outcomes]
    return {f"{prefix}{name}": values for name, values in found.items()}


def _same_type(frame: object, table: Any) -> object:
    home = type(frame).__module__.lstrip("_").partition(".")[0]
    if home == "polars":
        return require("polars", _EXTRA).from_arrow(table)
    if home == "duckdb":
        return require("duckdb", _EXTRA).from_arrow(table)
    return table.to_reader() if type(frame).__name__ == "RecordBatchReader" else table
