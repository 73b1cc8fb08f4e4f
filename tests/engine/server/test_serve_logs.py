"""The log's lines hold what is on the list, and nothing else."""

from __future__ import annotations

import json
import logging

import pytest
from cielo.server.logs import place_of, set_up


def test_a_line_holds_the_listed_fields_alone(capsys: pytest.CaptureFixture[str]) -> None:
    logger = set_up("info")
    logger.info("request", extra={"event": "request", "status": 200, "text": "HTA"})
    logging.getLogger("uvicorn.error").warning("Invalid request: %s", "HTA")
    try:
        raise ValueError("HTA")
    except ValueError:
        logging.getLogger("asyncio").exception("it was HTA")
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [line["message"] for line in lines] == ["request", "uvicorn.error", "asyncio"]
    assert (lines[0]["status"], lines[2]["error"]) == (200, "ValueError")
    assert "HTA" not in str(lines)


def test_the_level_of_the_log(capsys: pytest.CaptureFixture[str]) -> None:
    set_up("warning").info("request")
    assert capsys.readouterr().err == ""


def test_the_place_of_an_error_has_no_text_of_it() -> None:
    try:
        int("HTA")
    except ValueError as error:
        found = place_of(error)
    assert found["error"] == "ValueError"
    assert "test_serve_logs.py" in found["where"]
    assert "HTA" not in str(found)
