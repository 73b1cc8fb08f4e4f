"""A signal that a library makes an error of its own of, as native modules do while they load, still ends a command."""

from __future__ import annotations

import os
import signal

import click
import pytest
from cielo.cli.base import main
from click.testing import CliRunner


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_an_error_made_of_a_signal_is_the_signal(number: signal.Signals, monkeypatch: pytest.MonkeyPatch) -> None:
    @click.command()
    def loading() -> None:
        try:
            os.kill(os.getpid(), number)
            signal.sigtimedwait([], 0.5)
        except BaseException as error:
            raise ImportError("initialization failed") from error

    monkeypatch.setattr(main, "get_command", lambda context, name: loading)
    before = signal.signal(number, signal.SIG_DFL)
    try:
        result = CliRunner().invoke(main, ["loading"])
    finally:
        signal.signal(number, before)
    assert result.exit_code == 128 + number
    assert f"ended by {number.name}" in result.output
