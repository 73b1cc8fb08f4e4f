"""The formats of tables, and which one a file has: by its name's ending, or as it is named."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from cielo.errors import TableError

Format = Literal["csv", "tsv", "jsonl", "json", "xlsx", "parquet"]
Quoting = Literal["strict", "none", "lenient"]
FORMATS: tuple[Format, ...] = ("csv", "tsv", "jsonl", "json", "xlsx", "parquet")
_SUFFIXES: dict[str, Format] = {
    ".csv": "csv", ".tsv": "tsv", ".tab": "tsv", ".txt": "tsv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "json",
    ".xlsx": "xlsx", ".xlsm": "xlsx", ".parquet": "parquet", ".pq": "parquet",
}  # fmt: skip
_LIBRARIES = {"xlsx": ("openpyxl", "workbooks (XLSX)"), "parquet": ("pyarrow", "Parquet files")}
GZIP = ".gz"


@dataclass(frozen=True, slots=True, kw_only=True)
class TableFormat:
    """How a table is read; what is None is found out.

    Attributes:
        format: by the name's ending.
        encoding: of a text file (see `cielo.tables.encodings.encoding_of`).
        delimiter: between the cells of a CSV (see `cielo.tables.delimiters`); in a TSV it is the tab.
        sheet: of a workbook, by name; the first that has a header.
        quoting: ``strict``: as RFC 4180 says, a malformed row is rejected (CSV); ``none``: a quote is a character like
            any other (TSV, as its media type says); ``lenient``: quotes count where all of the row is well-formed so.
        comment: lines that begin so are passed over.
    """

    format: Format | None = None
    encoding: str | None = None
    delimiter: str | None = None
    sheet: str | None = None
    quoting: Quoting | None = None
    comment: str | None = None


def format_of(path: str | Path, named: Format | None = None, *, default: Format | None = None) -> Format:
    """Return the format of a file: the one `named`, else by its name's ending, else `default`.

    Raises:
        TableError: where none of these tells, or the one named is not known.
    """
    name = Path(path).name.lower().removesuffix(GZIP)
    found = named or _SUFFIXES.get(Path(name).suffix) or default
    if found is None:
        raise TableError(f"{path}: its format is not known by its name; name it: {', '.join(FORMATS)}")
    if found not in FORMATS:
        raise TableError(f"{path}: the format {found!r} is not known; name one of {', '.join(FORMATS)}")
    return found


def require_library(path: str | Path, form: Format) -> None:
    """Check that the library of a format is installed.

    Raises:
        TableError: where it is not, with the extra that brings it.
    """
    if form not in _LIBRARIES:
        return
    library, what = _LIBRARIES[form]
    try:
        found = importlib.util.find_spec(library) is not None
    except (ImportError, ValueError):  # ValueError: a module that was blocked
        found = False
    if not found:
        raise TableError(f"{path}: {what} need {library}; pip install 'cielo[tables]'")
