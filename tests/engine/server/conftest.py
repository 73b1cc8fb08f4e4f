"""Fixtures of the server's tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from served import Served, serving


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The mini, served with limits that a test can reach."""
    with serving(
        tmp_path_factory.mktemp("served"), "--max-mentions", "40", "--max-characters", "500", "--max-body", "200KB"
    ) as one:
        yield one
