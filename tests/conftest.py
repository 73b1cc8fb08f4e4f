"""Settings of all tests."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

# A busy machine is no failure: no example has a deadline. In CI the examples are the same each time.
settings.register_profile("cielo", settings(), deadline=None)
settings.load_profile("cielo")

# A suite that was started in the background or by nohup is deaf to these, and so would be the commands that it starts.
for _number, _usual in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
    if signal.getsignal(_number) is signal.SIG_IGN:
        signal.signal(_number, _usual)

_ALL = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set()


def _take_a_share() -> None:
    """Give each of several workers processors of its own: threads that wait for the neighbour's take minutes."""
    count = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    if 1 < count <= len(_ALL):
        number = int(os.environ["PYTEST_XDIST_WORKER"].removeprefix("gw"))
        os.sched_setaffinity(0, sorted(_ALL)[number::count])


_take_a_share()  # here, before any library is loaded that counts the processors


@pytest.fixture
def every_processor() -> Iterator[None]:
    """Let a test of threads that could disturb each other have all processors, and not those of its worker alone."""
    if not _ALL:
        yield
        return
    own = os.sched_getaffinity(0)
    os.sched_setaffinity(0, _ALL)
    yield
    os.sched_setaffinity(0, own)


@pytest.fixture(scope="session")
def one_backend(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the mini that holds the generator for CTranslate2 alone, decodes `probable`, and has no trie."""
    from minis import mini_of_one_backend

    return mini_of_one_backend(tmp_path_factory.mktemp("one") / "mini").path


@pytest.fixture
def with_one_backend(one_backend: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Let that copy be the bundle that is opened where none is named."""
    monkeypatch.setenv("CIELO_BUNDLE", str(one_backend))
    return one_backend
