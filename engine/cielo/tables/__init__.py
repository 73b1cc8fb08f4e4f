"""Readers of code tables: TSV, CSV, JSON Lines, workbooks (XLSX) and Parquet, to rows of codes and descriptions."""

from cielo.tables.lines import encoding_of
from cielo.tables.reading import FORMATS, read_table
from cielo.tables.rows import CodeTable, Rejected, TableFormat, TableRow

__all__ = ["FORMATS", "CodeTable", "Rejected", "TableFormat", "TableRow", "encoding_of", "read_table"]
