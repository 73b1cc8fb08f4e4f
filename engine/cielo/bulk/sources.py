"""The input of a run: files, folders and globs to files, and their rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from cielo.bulk.records import Source
from cielo.errors import BulkError, TableError
from cielo.files import sha256_of
from cielo.tables.formats import TableFormat, format_of
from cielo.tables.mentions import InputRow, MentionTable, read_mentions

_SIGNS = frozenset("*?[")


def find_sources(names: Sequence[str], form: TableFormat) -> tuple[Source, ...]:
    """Return the files that are meant, each once: named ones, those of a folder, and those that a glob fits.

    Args:
        names: of files, folders (searched through, tables alone), and globs (``**`` for any folders).
        form: what is known of their format.

    Raises:
        BulkError: where a name means nothing, or a file cannot be read.
    """
    paths = list(dict.fromkeys(path for name in names for path in _files(name, form)))
    return tuple(_source(path) for path in paths)


def _files(name: str, form: TableFormat) -> list[Path]:
    path = Path(name)
    if path.is_dir():
        found = sorted(file for file in path.rglob("*") if file.is_file() and _is_table(file, form))
        if not found:
            raise BulkError(f"{name}: the folder holds no table (CSV, TSV, JSON, XLSX, Parquet); name another")
        return found
    if path.exists() or not _SIGNS & set(name):
        return [path]
    found = sorted(file for file in _globbed(name) if file.is_file())
    if not found:
        raise BulkError(f"{name}: no file is meant by it; name files, folders or globs")
    return found


def _globbed(name: str) -> Iterator[Path]:
    path = Path(name)
    base = Path(path.anchor) if path.anchor else Path()
    return base.glob(str(path.relative_to(base)))


def _is_table(file: Path, form: TableFormat) -> bool:
    try:
        format_of(file, form.format)
    except TableError:
        return False
    return not file.name.startswith(".")


def _source(path: Path) -> Source:
    try:
        return Source(str(path), sha256_of(path), path.stat().st_size)
    except OSError as error:
        raise BulkError(f"{path}: cannot be read ({error.strerror}); name files that can be") from error


def open_rows(source: Source, form: TableFormat) -> MentionTable:
    """Open the rows of a source.

    Raises:
        TableError: where it is no table with a column ``text``.
    """
    return read_mentions(Path(source.path), form)


def rows_of(source: Source, form: TableFormat, first: int = 0) -> Iterator[InputRow]:
    """Yield the rows of a source from the row `first`, counted from 0."""
    for number, row in enumerate(open_rows(source, form)):
        if number >= first:
            yield row
