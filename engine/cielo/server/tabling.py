"""``/v1/tables``: files to rows and back, for the page. One reader for everybody, and nothing is kept here."""

from __future__ import annotations

import asyncio
import io
import itertools
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal, cast

import msgspec
from msgspec import Meta
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from cielo.errors import CieloError, MentionError, TableError
from cielo.records import Json, Link
from cielo.server.http import JSON, HttpError, document_of, json_response, read_body, record_of, require_type
from cielo.server.service import Service
from cielo.tables.contents import beginning_of, content_of
from cielo.tables.formats import OutputStyle, TableFormat, format_of
from cielo.tables.links import output_row, write_rows
from cielo.tables.mentions import InputRow, read_mentions
from cielo.tables.rows import Cell, shown

BYTES = "application/octet-stream"
MOST_ROWS = 20_000
_CELLS = (str, int, float)
_MOST_UNPACKED = 256 * 1024 * 1024  # bytes of a workbook, which is a compressed archive
WRITTEN: dict[str, str] = {
    "csv": "text/csv; charset=utf-8",
    "json": JSON,
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
}


@dataclass(frozen=True, slots=True)
class ReadRow:
    """A row of a table: its mention, and all its cells by the names of their columns; or what is wrong with it."""

    text: str | None
    sentence: str | None
    kind: str | None
    id: str | None
    values: dict[str, object]
    error: str | None = None


@dataclass(frozen=True, slots=True)
class ReadTable:
    """A table that was read. `warnings` are about the file as a whole."""

    columns: tuple[str, ...]
    rows: tuple[ReadRow, ...]
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Review:
    """What a coder decided of a row."""

    decision: Literal["accepted", "changed", "rejected", ""] = ""
    code: str | None = None
    title: str | None = None


@dataclass(frozen=True, slots=True)
class WrittenRow:
    """A row to be written: the cells that it came with, its link or its error, and the coder's decision."""

    values: dict[str, object]
    link: dict[str, object] | None = None
    error: str | None = None
    review: Review | None = None


@dataclass(frozen=True, slots=True)
class WrittenTable:
    """A table to be written."""

    rows: Annotated[tuple[WrittenRow, ...], Meta(min_length=1)]


def routes(service: Service) -> list[Route]:
    """Return the routes."""
    settings = service.settings

    async def read(request: Request) -> Response:
        require_type(request, BYTES)
        body = await read_body(request, most=settings.body_bytes, seconds=settings.body_seconds)
        name = request.query_params.get("name", "")
        return json_response(await asyncio.to_thread(_read, body, name))

    async def write(request: Request) -> Response:
        require_type(request, JSON)
        form = request.query_params.get("format", "csv")
        if form not in WRITTEN:
            raise HttpError("invalid", f"the format is not known; expected {', '.join(WRITTEN)}", field="format")
        body = await read_body(request, most=4 * settings.body_bytes, seconds=settings.body_seconds)
        content = await asyncio.to_thread(_write, body, cast(Literal["csv", "json", "xlsx"], form))
        headers = {"Content-Disposition": f'attachment; filename="cielo.{form}"'}
        return Response(content, headers=headers, media_type=WRITTEN[form])

    return [
        Route("/v1/tables/read", read, methods=["POST"]),
        Route("/v1/tables/write", write, methods=["POST"]),
    ]


def _read(body: bytes, name: str) -> ReadTable:
    """Return the rows of a file; of its name the ending counts, and nothing of it is shown.

    Raises:
        HttpError: where it is no table with a column ``text``, or has too many rows.
    """
    try:
        form = format_of(f"table.{name.rpartition('.')[2]}" if "." in name else "table")
        stream = io.BytesIO(body)
        content = content_of(stream, beginning_of(stream)[0], "the file", form)
        if content in ("parquet", "html", "xml-2003"):
            raise TableError("the file: Parquet, HTML and XML are not read here; give CSV, TSV, JSON or XLSX")
        if content == "xlsx":
            _refuse_bomb(body)
        table = read_mentions(io.BytesIO(body), TableFormat(format=form), name="the file")
        rows = [_row(row) for row in itertools.islice(table, MOST_ROWS + 1)]
    except TableError as error:
        raise HttpError("invalid", str(error), field="body") from None
    if len(rows) > MOST_ROWS:
        raise HttpError("too_large", f"the file has more than {MOST_ROWS:,} rows; link it by `cielo link --input`")
    columns = table.table.columns or tuple(dict.fromkeys(name for row in rows for name in row.values))
    return ReadTable(columns, tuple(rows), table.table.warnings())


def _refuse_bomb(body: bytes) -> None:
    try:
        size = sum(entry.file_size for entry in zipfile.ZipFile(io.BytesIO(body)).infolist())
    except (zipfile.BadZipFile, ValueError, OSError) as error:
        raise TableError("the file is no workbook (XLSX); save it as one, or as CSV") from error
    if size > _MOST_UNPACKED:
        raise TableError(f"the workbook has {size:,} bytes unpacked, expected at most {_MOST_UNPACKED:,}")


def _row(row: InputRow) -> ReadRow:
    values: dict[str, object] = {name: shown(cell) for name, cell in row.values.items()}
    try:
        mention = row.mention()
    except MentionError as error:
        return ReadRow(None, None, None, None, values, str(error))
    return ReadRow(mention.text, mention.sentence, mention.kind, mention.id, values)


def _write(body: bytes, form: Literal["csv", "json", "xlsx"]) -> bytes:
    """Return a table as a file.

    Raises:
        HttpError: where the request is none, or a cell does not fit into the format.
    """
    asked = record_of(WrittenTable, document_of(body))
    stream = io.BytesIO()
    try:
        write_rows(stream, form, _written(asked.rows), style=OutputStyle(guarded=True))
    except CieloError as error:
        raise HttpError("invalid", str(error), field="rows") from None
    return stream.getvalue()


def _written(rows: Sequence[WrittenRow]) -> Iterator[dict[str, Json]]:
    reviewed = any(row.review is not None for row in rows)
    for place, row in enumerate(rows):
        values: dict[str, Cell] = {name: value for name, value in row.values.items() if isinstance(value, _CELLS)}
        given = InputRow(place, values)
        cells = output_row(given, _link(row.link, place) if row.link is not None else row.error or "it was not linked")
        review = row.review or Review()
        decided: dict[str, Json] = {"decision": review.decision, "final_code": review.code, "final_title": review.title}
        yield {**cells, **decided} if reviewed else cells


def _link(value: dict[str, object], place: int) -> Link:
    try:
        return msgspec.convert(value, Link)
    except (msgspec.ValidationError, ValueError):
        raise HttpError(
            "invalid", "the link is none; send it as /v1/link gave it", field=f"rows[{place}].link"
        ) from None
