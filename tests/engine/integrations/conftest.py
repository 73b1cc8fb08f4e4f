from __future__ import annotations

from collections.abc import Iterator

import pytest
from cielo import Linker


@pytest.fixture(scope="package")
def linker() -> Iterator[Linker]:
    with Linker.open() as opened:
        yield opened
