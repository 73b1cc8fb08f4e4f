"""One reader and one writer of tables: CSV, TSV, JSON, workbooks (XLSX) and Parquet, to rows of cells and back."""

from cielo.tables.columns import ColumnFinder, Role
from cielo.tables.formats import FORMATS, Format, TableFormat, format_of
from cielo.tables.reading import read_table
from cielo.tables.rows import Cell, RejectedRow, TableRow
from cielo.tables.table import Table

__all__ = [
    "FORMATS",
    "Cell",
    "ColumnFinder",
    "Format",
    "RejectedRow",
    "Role",
    "Table",
    "TableFormat",
    "TableRow",
    "format_of",
    "read_table",
]
