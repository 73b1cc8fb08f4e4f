"""Tables written for a test, and what is read from them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cielo.tables import CodeTable, Rejected, TableRow, read_table

Outcome = list[tuple[Any, ...]]


def flat(rows: list[TableRow | Rejected]) -> Outcome:
    """Rows as (line, code, description), rejected ones as (line, reason)."""
    return [(r.line, r.code, r.description) if isinstance(r, TableRow) else (r.line, r.reason) for r in rows]


@pytest.fixture
def read(tmp_path: Path) -> Callable[..., Outcome]:
    """Write a file and read it."""

    def written(content: bytes | str, name: str = "tabla.tsv", **options: Any) -> Outcome:
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return flat(list(read_table(CodeTable(path, "diagnosis", **options))))

    return written
