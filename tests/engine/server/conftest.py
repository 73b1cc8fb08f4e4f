"""Fixtures of the server's tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from served import SYSTEM, Served, serving


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The mini, served with limits that a test can reach."""
    limits = ["--max-mentions", "40", "--max-characters", "500", "--max-body", "200KB"]
    systems = ["--code-system", f"diagnosis={SYSTEM}|2024"]
    with serving(tmp_path_factory.mktemp("served"), *limits, *systems) as one:
        yield one
