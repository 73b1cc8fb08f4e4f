"""Tables written for a test, and what is read from them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cielo.knowledge.code_tables import CodeRow, CodeTable, read_code_table
from cielo.tables import RejectedRow

Outcome = list[tuple[Any, ...]]


def flat(rows: list[CodeRow | RejectedRow]) -> Outcome:
    """Rows as (line, code, description), rejected ones as (line, reason)."""
    return [(r.line, r.code, r.description) if isinstance(r, CodeRow) else (r.line, r.reason) for r in rows]


@pytest.fixture
def read(tmp_path: Path) -> Callable[..., Outcome]:
    """Write a file and read it."""

    def written(content: bytes | str, name: str = "tabla.tsv", **options: Any) -> Outcome:
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return flat(list(read_code_table(CodeTable(path, "diagnosis", **options)).rows))

    return written
