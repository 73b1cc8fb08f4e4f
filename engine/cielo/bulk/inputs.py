"""The input of a run: tables (files, folders, globs, gzip, zstd) and annotated folders (BRAT, CodiEsp), as rows."""

from __future__ import annotations

import contextlib
import glob
import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import BinaryIO, cast

from cielo.bulk.annotated import brat_rows, codiesp_rows
from cielo.bulk.records import InputFile
from cielo.errors import CieloError, TableError
from cielo.extras import require
from cielo.files import sha256_of
from cielo.said import Said
from cielo.tables import Format, TableFormat, format_of
from cielo.tables.mentions import InputRow, MentionColumns, read_mentions
from cielo.tables.reading import open_bytes, possible_formats
from cielo.workbench.evaluation.corpora import detect_format

_ZSTD = ".zst"
_GLOB = frozenset("*?[")


@dataclass(frozen=True, slots=True)
class Source:
    """A table or an annotated folder.

    Attributes:
        path: of it.
        files: that its rows come from: itself, or all files of the folder.
        corpus: the form of an annotated folder; None: a table.
    """

    path: Path
    files: tuple[Path, ...]
    corpus: str | None = None


@dataclass(slots=True)
class Reading:
    """What is said of an input after its rows were read."""

    warnings: list[str] = field(default_factory=list)


def find_sources(named: Sequence[str]) -> list[Source]:
    """Return the sources that paths and patterns name: each once, those of a folder or pattern sorted by name.

    Raises:
        TableError: where one names nothing, or nothing that can be read.
    """
    found = [source for name in named for source in _expand(name)]
    return list({source.path.resolve(): source for source in found}.values())


def _expand(name: str) -> Iterator[Source]:
    path = Path(name)
    if path.is_dir():
        yield from _of_folder(path)
    elif path.exists() or not _GLOB & set(name):
        open_bytes(path).close()
        yield Source(path, (path,))
    else:
        names = sorted(glob.glob(name, recursive=True))  # noqa: PTH207, a pattern may be absolute
        if not names:
            raise TableError(f"{name}: names no file; give a file, a folder, or a pattern in quotes")
        for each in names:
            yield from _expand(each)


def _of_folder(path: Path) -> Iterator[Source]:
    files = sorted(file for file in path.rglob("*") if file.is_file() and not file.name.startswith("."))
    tables = [file for file in files if _is_table(file)]
    with contextlib.suppress(TableError):
        corpus = detect_format(path)
        if corpus in ("brat", "codiesp"):
            yield Source(path, tuple(files), corpus)
            return
    if not tables:
        raise TableError(f"{path}: holds no table and no annotated documents; name a folder that does")
    for file in tables:
        yield Source(file, (file,))


def _is_table(file: Path) -> bool:
    try:
        return format_of(_plain_name(file)) is not None
    except TableError:
        return False


def _plain_name(path: Path) -> str:
    return str(path)[: -len(_ZSTD)] if path.name.lower().endswith(_ZSTD) else str(path)


def formats_of(sources: Sequence[Source]) -> set[Format]:
    """Return the formats of the tables among the sources.

    Raises:
        TableError: where the name of one does not tell it.
    """
    paths = [source.path for source in sources if source.corpus is None]
    return {form for path in paths for form in (format_of(_plain_name(path)), *possible_formats(path))}


def input_files(sources: Sequence[Source]) -> tuple[InputFile, ...]:
    """Return the files of the sources with their hashes.

    Raises:
        TableError: where one cannot be read.
    """
    try:
        return tuple(
            InputFile(str(file), file.stat().st_size, sha256_of(file)) for source in sources for file in source.files
        )
    except OSError as error:
        raise TableError(f"{error.filename}: cannot be read ({error.strerror}); name a file that can be") from error


def read_rows(source: Source, form: TableFormat, columns: MentionColumns, reading: Reading) -> Iterator[InputRow]:
    """Yield the rows of a source, one after the other.

    Args:
        source: as `find_sources` gave it.
        form: how a table is read; its format is known by its name.
        columns: what a table's columns are called.
        reading: gets what is odd about it, at the end.

    Raises:
        TableError: where it cannot be read as a whole.
    """
    if source.corpus is not None:
        yield from (brat_rows if source.corpus == "brat" else codiesp_rows)(source.path)
        return
    name = _plain_name(source.path)
    with open_bytes(source.path) as raw, _decompressed(source.path, raw) as stream:
        table = read_mentions(stream, replace(form, format=format_of(name)), columns=columns, name=name)
        with _damage_named(source.path):
            yield from table
        reading.warnings += [
            Said("{file}: {warning}", file=str(source.path), warning=warning) for warning in table.table.warnings()
        ]


@contextlib.contextmanager
def _damage_named(path: Path) -> Iterator[None]:
    try:
        yield
    except (CieloError, OSError):
        raise
    except Exception as error:
        if type(error).__name__ != "ZstdError":
            raise
        raise TableError(f"{path}: cannot be read (damaged zstd); give a whole file") from error


@contextlib.contextmanager
def _decompressed(path: Path, raw: BinaryIO) -> Iterator[BinaryIO]:
    if not path.name.lower().endswith(_ZSTD):
        yield raw
        return
    zstandard = require("zstandard", "bulk", f"{path}: zstd")
    opened: Callable[..., object] = zstandard.ZstdDecompressor().stream_reader
    with _damage_named(path):
        yield cast(BinaryIO, io.BufferedReader(cast(io.RawIOBase, opened(raw, read_across_frames=True))))
