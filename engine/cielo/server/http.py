"""Requests and answers: bodies within limits and time, JSON to records, and errors as JSON."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass
from typing import TypeVar

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from cielo.errors import CieloError
from cielo.options import LinkOptions
from cielo.schema import decode, parse
from cielo.server.frames import Refused
from cielo.wire import STATUS, ErrorBody, Failure, Problem

_Record = TypeVar("_Record")
JSON = "application/json"
NDJSON = "application/x-ndjson"
_REMEDY = "see /v1/openapi.json"
_NUMBER = re.compile(r"\d{1,15}")


class HttpError(Exception):
    """An answer that is an error; `message` holds nothing of the request.

    Attributes:
        headers: beside those that every answer has.
    """

    def __init__(
        self, code: Problem, message: str, *, field: str | None = None, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(code)
        self.code, self.message, self.field, self.headers = code, message, field, dict(headers or {})


class _InvalidError(CieloError):
    pass


def json_response(record: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Return a record as a JSON answer."""
    return Response(msgspec.json.encode(record), status, headers, JSON)


def failure(error: HttpError, request_id: str | None) -> Response:
    """Return an error as an answer."""
    body = Failure(ErrorBody(error.code, error.message, error.field, request_id))
    return json_response(body, STATUS[error.code], error.headers)


async def read_body(request: Request, *, most: int, seconds: float) -> bytes:
    """Return the body of a request.

    Raises:
        HttpError: where it is longer than `most` bytes, or does not arrive within `seconds`.
        starlette.requests.ClientDisconnect: where the caller has gone.
    """
    too_large = HttpError(
        "too_large",
        f"expected a body of at most {most:,} bytes; ask for less at a time",
        headers={"Connection": "close"},
    )
    said = request.headers.get("content-length", "")
    if _NUMBER.fullmatch(said) and int(said) > most:
        raise too_large
    parts, size = [], 0
    try:
        async with asyncio.timeout(seconds):
            async for part in request.stream():
                size += len(part)
                if size > most:
                    raise too_large
                parts.append(part)
    except TimeoutError:
        raise HttpError(
            "timeout", f"the body did not arrive within {seconds:g} seconds; ask again", headers={"Connection": "close"}
        ) from None
    return b"".join(parts)


def require_type(request: Request, *expected: str) -> None:
    """Refuse a body of another media type. A browser asks no foreign site for these without being allowed to.

    Raises:
        HttpError: naming what was expected.
    """
    given = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if given not in expected:
        raise HttpError("unsupported_media_type", f"expected the Content-Type {' or '.join(expected)}")


def document_of(content: bytes, what: str = "the body", *, unchecked: bool = False) -> object:
    """Return what a JSON body holds.

    Args:
        content: the body.
        what: it is called in the message.
        unchecked: leave texts as they are that are no Unicode, for whoever looks at them one by one.

    Raises:
        HttpError: where it is no JSON.
    """
    try:
        document = parse(content, what, error=_InvalidError, remedy="send one JSON document in UTF-8")
    except CieloError as error:
        raise HttpError("bad_request", str(error)) from None
    if not unchecked:
        require_unicode(document, what)
    return document


def require_unicode(document: object, what: str) -> None:
    """Refuse halves of surrogate pairs, which JSON can hold and no text can.

    Raises:
        HttpError: saying so.
    """
    try:
        msgspec.json.encode(document)
    except UnicodeEncodeError:
        raise HttpError("bad_request", f"{what} holds half of a surrogate pair; send Unicode text") from None


def record_of(kind: type[_Record], document: object, place: str = "", *, what: str = "the request") -> _Record:
    """Return the record that a document holds.

    Args:
        kind: a dataclass.
        document: as `document_of` returns it.
        place: of the document in the request, such as ``mentions[3]``.
        what: it is called in the message.

    Raises:
        HttpError: naming the field; no value of the request is shown.
    """
    try:
        return decode(kind, document, what, error=_InvalidError, remedy=_REMEDY)
    except (CieloError, ValueError) as error:
        message = str(error)
        name = _field_of(kind, message)
        where = ".".join(part for part in (place, name) if part) or None
        raise HttpError("invalid", message, field=where) from None


def refusal_of(error: HttpError) -> Refused:
    """Return an error of one mention, as its outcome. Its message begins with the field."""
    return Refused(error.code, error.message, field=error.field)


def _field_of(kind: object, message: str) -> str | None:
    """Return the first field of a record that a message names."""
    if not is_dataclass(kind):
        return None
    names = "|".join(field.name for field in fields(kind))
    found = re.search(rf"(?:not valid: ?|\n  |mention's )((?:{names})(?:[.\[][\w.\[\]]*)?)\b", message)
    return found.group(1) if found else None


def options_of(query: Iterable[tuple[str, str]]) -> LinkOptions:
    """Return the options that a query names: each field of `LinkOptions` but `subset`, as text.

    Raises:
        HttpError: naming the parameter.
    """
    given = list(query)
    kinds = {field.name: field for field in fields(LinkOptions) if field.name != "subset"}
    for name, _ in given:
        if name not in kinds:
            raise HttpError("invalid", f"a parameter of the query is not known; expected {', '.join(kinds)}")
    if len(dict(given)) < len(given):
        raise HttpError("invalid", "a parameter of the query stands there twice; give it once")
    return record_of(LinkOptions, {name: _value(text) for name, text in given}, "query")


def whole_number(given: Mapping[str, str], name: str, default: int, *, least: int = 1, most: int) -> int:
    """Return a number of the query.

    Raises:
        HttpError: where it is none, or out of range.
    """
    text = given.get(name)
    if text is None:
        return default
    if not (text.isascii() and _NUMBER.fullmatch(text) and least <= int(text) <= most):
        raise HttpError("invalid", f"expected a whole number from {least} to {most}", field=name)
    return int(text)


def _value(text: str) -> object:
    """Return a text of a query as JSON would have it; what is no JSON is a text."""
    try:
        return msgspec.json.decode(text.encode())
    except msgspec.DecodeError:
        return text
