"""How much a command says beside its result: with ``-q`` only what is wrong, with ``-v`` what it opened, and times.

Both are options of the group and of every command below it: ``cielo -q link …`` and ``cielo link -q …`` are the same.
"""

from __future__ import annotations

from typing import Literal

import click

_LEVEL = "cielo.verbosity"
_HELP: dict[Literal["quiet", "verbose"], str] = {
    "quiet": "No progress and no summary; what is wrong is still said.",
    "verbose": "Say what was opened, and how long each stage took.",
}


class _Level(click.Option):
    """One of the two; the other one excludes it."""

    def __init__(self, level: Literal["quiet", "verbose"]) -> None:
        super().__init__(
            [f"-{level[0]}", f"--{level}"], is_flag=True, expose_value=False, help=_HELP[level], callback=self._take
        )
        self._level = level

    def _take(self, context: click.Context, _: click.Parameter, value: bool) -> None:
        if value and context.meta.setdefault(_LEVEL, self._level) != self._level:
            raise click.UsageError("--quiet and --verbose exclude each other")


def accept_verbosity(command: click.Command) -> None:
    """Give a command and all below it the two options; what has them keeps them."""
    if not any(isinstance(parameter, _Level) for parameter in command.params):
        command.params += [_Level("quiet"), _Level("verbose")]
    if isinstance(command, click.Group):
        for below in command.commands.values():
            accept_verbosity(below)


def is_quiet() -> bool:
    """Tell whether the command that runs is to say nothing but what is wrong."""
    return _level() == "quiet"


def is_verbose() -> bool:
    """Tell whether the command that runs is to say more than it must."""
    return _level() == "verbose"


def _level() -> object:
    context = click.get_current_context(silent=True)
    return None if context is None else context.meta.get(_LEVEL)
