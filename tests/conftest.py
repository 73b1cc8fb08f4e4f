"""Settings of all tests."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
from hypothesis import settings
from minis import mini_of_one_backend

# A busy machine is no failure: no example has a deadline. In CI the examples are the same each time.
settings.register_profile("cielo", settings(), deadline=None)
settings.load_profile("cielo")

# A suite that was started in the background or by nohup is deaf to these, and so would be the commands that it starts.
for _number, _usual in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
    if signal.getsignal(_number) is signal.SIG_IGN:
        signal.signal(_number, _usual)


@pytest.fixture(scope="session")
def one_backend(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the mini that holds the generator for CTranslate2 alone, decodes `probable`, and has no trie."""
    return mini_of_one_backend(tmp_path_factory.mktemp("one") / "mini").path


@pytest.fixture
def with_one_backend(one_backend: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Let that copy be the bundle that is opened where none is named."""
    monkeypatch.setenv("CIELO_BUNDLE", str(one_backend))
    return one_backend
