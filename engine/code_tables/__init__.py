"""Readers of code tables: TSV, CSV, JSON Lines, workbooks (XLSX) and Parquet, to rows of codes and descriptions."""

from engine.code_tables.lines import encoding_of
from engine.code_tables.reading import FORMATS, read_table
from engine.code_tables.rows import CodeTable, Rejected, TableFormat, TableRow

__all__ = ["FORMATS", "CodeTable", "Rejected", "TableFormat", "TableRow", "encoding_of", "read_table"]
