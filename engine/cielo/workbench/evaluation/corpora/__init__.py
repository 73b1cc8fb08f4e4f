"""Readers of annotated corpora; each gives a `Corpus`, and names what it passed over."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Literal

from cielo.errors import TableError
from cielo.tables import read_table
from cielo.tables.columns import looks_like_header, show_names
from cielo.tables.encodings import open_lines
from cielo.tables.mentions import MentionColumns
from cielo.workbench.evaluation.corpora.brat import read_brat
from cielo.workbench.evaluation.corpora.code_map import CodeMap, MappedCode, read_code_map
from cielo.workbench.evaluation.corpora.codiesp import read_codiesp, splits_of
from cielo.workbench.evaluation.corpora.concepts import files_under
from cielo.workbench.evaluation.corpora.e3c import SUFFIXES, read_e3c
from cielo.workbench.evaluation.corpora.lines import unreadable
from cielo.workbench.evaluation.corpora.rows import RowsReading, is_rows, read_rows
from cielo.workbench.evaluation.corpora.sentences import is_header, read_sentences
from cielo.workbench.evaluation.corpora.shared_tasks import is_shared_task, read_shared_task, tables_of
from cielo.workbench.evaluation.corpora.splits import split_of
from cielo.workbench.evaluation.records import Corpus

CorpusFormat = Literal["codiesp", "sentences", "shared-task", "e3c", "brat", "rows"]
CORPUS_FORMATS: tuple[CorpusFormat, ...] = ("codiesp", "sentences", "shared-task", "e3c", "brat", "rows")
__all__ = [
    "CORPUS_FORMATS",
    "CodeMap",
    "CorpusFormat",
    "MappedCode",
    "RowsReading",
    "detect_format",
    "read_brat",
    "read_code_map",
    "read_codiesp",
    "read_corpus",
    "read_e3c",
    "read_rows",
    "read_sentences",
    "read_shared_task",
]
_BEGINNING = 1 << 16
_BINARY = (b"PK", b"\xd0\xcf\x11\xe0", b"PAR1")


def read_corpus(
    path: Path | str,
    format: CorpusFormat | None = None,
    *,
    split: str | None = None,
    code_map: Mapping[str, tuple[MappedCode, ...]] | None = None,
    rows: RowsReading | None = None,
) -> Corpus:
    """Read a corpus.

    Args:
        path: a file or a folder.
        format: one of `CORPUS_FORMATS`; None: as its contents tell.
        split: of CodiEsp; None: the only one that there is, or the one whose file is named.
        code_map: needed for corpora that are annotated with concepts (see `read_code_map`).
        rows: how rows of one's own are read; where columns are named, the corpus is one of rows.

    Raises:
        TableError: where the format is not known, the map is missing, or none of it can be read.
    """
    path = Path(path)
    format = format or detect_format(path, rows)
    if format == "codiesp":
        folder, named = (path.parent, path.name.removesuffix("X.tsv")) if path.is_file() else (path, split)
        return read_codiesp(folder, named)
    corpus = read_rows(path, rows) if format == "rows" else _read(path, format, code_map)
    return replace(corpus, split=split_of(path))


def _read(path: Path, format: CorpusFormat, code_map: Mapping[str, tuple[MappedCode, ...]] | None) -> Corpus:
    if format == "sentences":
        return read_sentences(path)
    if format == "shared-task":
        return read_shared_task(path, code_map)
    if format == "e3c":
        return read_e3c(path, code_map)
    if format == "brat":
        return read_brat(path, code_map)
    raise TableError(f"the format of a corpus was given as {format!r}; expected one of {', '.join(CORPUS_FORMATS)}")


def detect_format(path: Path, rows: RowsReading | None = None) -> CorpusFormat:
    """Return the format of a corpus, as its contents tell.

    Args:
        path: a file or a folder.
        rows: how rows of one's own would be read.

    Raises:
        TableError: where they tell none.
    """
    rows = rows or RowsReading()
    if rows.columns != MentionColumns() or rows.code is not None:
        return "rows"
    try:
        found = _format_of_folder(path) if path.is_dir() else _format_of_file(path, rows)
    except (OSError, ValueError) as error:
        raise unreadable(path, error) from error
    if found is None:
        if path.is_dir():
            raise TableError(
                f"{path}: the folder holds neither CodiEsp nor BRAT nor E3C; name a file in it, or its format "
                f"({', '.join(CORPUS_FORMATS)})"
            )
        raise TableError(
            f"{path}: the format of the corpus is not known by its contents{_columns_of(path, rows)}; name it "
            f"({', '.join(CORPUS_FORMATS)}), or the columns of a table (--text-column, --code-column)"
        )
    return found


def _first_line(path: Path) -> str:
    """Return the first line that holds something; of a workbook or Parquet the names of its columns, tabs between."""
    with path.open("rb") as stream:
        if stream.read(4).startswith(_BINARY):
            with contextlib.suppress(TableError), read_table(path) as table:
                return "\t".join(table.columns)
            return ""
        stream.seek(0)
        _, lines = open_lines(io.BytesIO(stream.read(_BEGINNING)), str(path))
        return next((line.rstrip("\r\n") for line in lines if line.strip()), "")


def _columns_of(path: Path, rows: RowsReading) -> str:
    """Say which columns a table has, where they are names of columns."""
    with contextlib.suppress(TableError):
        if path.is_file():
            with read_table(path, rows.table, rows.roles()) as table:
                names = table.nearest
            return f" (found the columns {show_names(names)})" if looks_like_header(names) else ""
    return ""


def _format_of_folder(path: Path) -> CorpusFormat | None:
    if splits_of(path):
        return "codiesp"
    if tables_of(path):
        return "shared-task"
    if any(files_under(path, (".ann",))):
        return "brat"
    return "e3c" if any(files_under(path, SUFFIXES)) else None


def _format_of_file(path: Path, rows: RowsReading) -> CorpusFormat | None:
    first = _first_line(path)
    if path.suffix.lower() == ".ann":
        return "brat"
    if first.startswith("<"):
        return "e3c"
    if is_header(first):
        return "sentences"
    if is_shared_task(first):
        return "shared-task"
    if path.name.endswith("X.tsv") and first.count("\t") == 4:
        return "codiesp"
    if first.startswith(("{", "[")):
        return "rows"
    with contextlib.suppress(TableError):  # of no known format
        return "rows" if is_rows(path, rows) else None
    return None
