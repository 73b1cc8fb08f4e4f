"""The formats of tables, and which one a file has: by its name's ending, or as it is named."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from cielo.errors import OptionError, TableError
from cielo.text.language import LANGUAGES, Language

Format = Literal["csv", "tsv", "jsonl", "json", "xlsx", "parquet", "xls"]
Quoting = Literal["strict", "none", "lenient"]
FORMATS: tuple[Format, ...] = ("csv", "tsv", "jsonl", "json", "xlsx", "parquet")
INPUT_FORMATS: tuple[Format, ...] = (*FORMATS, "xls")  # which are read
_SUFFIXES: dict[str, Format] = {
    ".csv": "csv", ".tsv": "tsv", ".tab": "tsv", ".txt": "tsv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "json",
    ".xlsx": "xlsx", ".xlsm": "xlsx", ".xls": "xls", ".parquet": "parquet", ".pq": "parquet",
}  # fmt: skip
_LIBRARIES = {
    "xlsx": ("openpyxl", "workbooks (XLSX)"), "xls": ("xlrd", "workbooks of Excel 97 to 2003 (XLS)"),
    "parquet": ("pyarrow", "Parquet files"),
}  # fmt: skip
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


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputStyle:
    """How tables for people (CSV, TSV, workbooks) are written.

    Attributes:
        delimiter: between the cells of a CSV: one character, neither a quote nor a line end.
        bom: whether a CSV or TSV begins with a byte order mark, by which Excel knows UTF-8.
        decimal: the sign in figures of a CSV or TSV, ``.`` or ``,``; a workbook's program has its own.
        guarded: whether cells of CSV and TSV that a spreadsheet takes for a formula get an apostrophe.
        language: of the words and of the names of columns.

    Raises:
        OptionError: where a value is not among those allowed.
    """

    delimiter: str = ","
    bom: bool = False
    decimal: str = "."
    guarded: bool = False
    language: Language = "en"

    def __post_init__(self) -> None:
        if len(self.delimiter) != 1 or self.delimiter in '"\r\n\0':
            raise OptionError(f"got the delimiter {self.delimiter!r}, expected one character: , or ; or | or a tab")
        if self.decimal not in (".", ","):
            raise OptionError(f"got the decimal sign {self.decimal!r}, expected . or ,")
        if self.language not in LANGUAGES:
            raise OptionError(f"got the language {self.language!r}, expected one of {', '.join(LANGUAGES)}")


def format_of(path: str | Path, named: Format | None = None, *, default: Format | None = None) -> Format:
    """Return the format of a file: the one `named`, else by its name's ending, else `default`.

    Raises:
        TableError: where none of these tells, or the one named is not known.
    """
    found = known_format(path, named) or default
    if found is None:
        raise TableError(f"{path}: its format is not known by its name; name it: {', '.join(INPUT_FORMATS)}")
    return found


def known_format(path: str | Path, named: Format | None = None) -> Format | None:
    """Return the format of a file: the one `named`, else by its name's ending; None: it tells nothing.

    Raises:
        TableError: where the one named is not known.
    """
    name = Path(path).name.lower().removesuffix(GZIP)
    found = named or _SUFFIXES.get(Path(name).suffix)
    if found is not None and found not in INPUT_FORMATS:
        raise TableError(f"{path}: the format {found!r} is not known; name one of {', '.join(INPUT_FORMATS)}")
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
