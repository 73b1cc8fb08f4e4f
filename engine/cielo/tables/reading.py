"""Reading a code table in whichever format it is."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from cielo.errors import TableError
from cielo.tables.flat import read_csv, read_tsv
from cielo.tables.jsonl import read_jsonl
from cielo.tables.parquet import read_parquet
from cielo.tables.rows import CodeTable, Rejected, TableFormat, TableRow
from cielo.tables.workbook import read_workbook

_READERS: dict[TableFormat, Callable[[CodeTable], Iterator[TableRow | Rejected]]] = {
    "tsv": read_tsv, "csv": read_csv, "jsonl": read_jsonl, "xlsx": read_workbook, "parquet": read_parquet,
}  # fmt: skip
FORMATS: tuple[TableFormat, ...] = tuple(_READERS)
_SUFFIXES: dict[str, TableFormat] = {
    ".tsv": "tsv", ".tab": "tsv", ".txt": "tsv", ".csv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl",
    ".xlsx": "xlsx", ".xlsm": "xlsx", ".parquet": "parquet", ".pq": "parquet",
}  # fmt: skip


def read_table(table: CodeTable) -> Iterator[TableRow | Rejected]:
    """Read the rows of a code table in their order, and in their places those that cannot be taken, with the reason.

    Codes are text: nothing but white space around them is taken off. Descriptions have their white space folded.
    Empty lines are passed over. A row is preferred where the table's column ``preferred`` says so, or where there is
    none and the table is not one of synonyms.

    A row is a header where the columns of codes and of descriptions are both found by name in it. In a text file only
    the first row can be the header, and without one the first two columns are read; in a workbook it is looked for
    in the first 50 rows of each sheet. In a CSV or below a header a row with more columns than the first is rejected:
    its description may have been cut at a separator inside it.

    Raises:
        TableError: where the file as a whole cannot be read, when its first row is asked for or, where it is damaged
            further on, later.
    """
    form = table.format or _SUFFIXES.get(table.path.suffix.lower())
    if form is None:
        raise TableError(f"{table.path}: its format is not known by its name; name it: {', '.join(FORMATS)}")
    if form not in _READERS:
        raise TableError(f"{table.path}: the format {form!r} is not known; name one of {', '.join(FORMATS)}")
    yield from _READERS[form](table)
