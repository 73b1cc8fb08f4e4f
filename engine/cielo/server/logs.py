"""Logs: one JSON object a line on standard error, made of a fixed list of fields. None of them can hold a mention."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime

# `exc_info`, arguments of a message, paths and queries are not among them: they can hold what a caller wrote.
FIELDS = (
    "event", "request_id", "key", "method", "route", "status", "problem", "ms", "mentions", "tokens", "bytes", "reason",
    "exit_code", "error", "where", "address", "seconds",
)  # fmt: skip
_OURS = "cielo.server"


class _Lines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            # What a library says may quote a request: its name and level have to do.
            "message": record.getMessage() if record.name == _OURS else record.name,
        }
        line |= {name: value for name in FIELDS if (value := getattr(record, name, None)) is not None}
        if record.exc_info and record.exc_info[1] is not None:
            line |= place_of(record.exc_info[1])
        return json.dumps(line, ensure_ascii=False, default=str)


def place_of(error: BaseException) -> dict[str, str]:
    """Return the type of an error and where it came from, without what it says."""
    place = error.__traceback__
    while place is not None and place.tb_next is not None:
        place = place.tb_next
    where = "" if place is None else f"{place.tb_frame.f_code.co_filename}:{place.tb_lineno}"
    return {"error": type(error).__name__, "where": where}


def set_up(level: str) -> logging.Logger:
    """Send the logs of the server and of the libraries under it to standard error, and return the server's."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Lines())
    for name in (_OURS, "uvicorn", "uvicorn.error", "asyncio"):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [handler], False
        logger.setLevel(level.upper() if name == _OURS else logging.WARNING)
    return logging.getLogger(_OURS)
