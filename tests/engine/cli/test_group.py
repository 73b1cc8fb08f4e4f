"""The group of all commands: they are loaded when they are asked for, and named all the same."""

from __future__ import annotations

import importlib
import pkgutil
from typing import get_args

import click
import pytest
from cielo import cli
from cielo.cli import main, options
from cielo.records import Decoding
from cielo.tables import FORMATS
from click.testing import CliRunner

CONTEXT = click.Context(main)


def test_every_command_of_a_module_is_named_by_the_group() -> None:
    for module in pkgutil.iter_modules(cli.__path__, "cielo.cli."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    assert sorted(main.commands) == main.list_commands(CONTEXT)


def test_the_help_names_every_command() -> None:
    shown = CliRunner().invoke(main, ["--help"]).output
    listed = shown.partition("Commands:")[2].partition("Example")[0]
    lines = [line[2:].split() for line in listed.splitlines() if line.strip() and line[2] != " "]  # not what is broken
    assert [words[0] for words in lines] == main.list_commands(CONTEXT)
    assert all(len(words) > 3 for words in lines)


@pytest.mark.parametrize("name", main.list_commands(CONTEXT))
def test_each_name_is_a_command_s_own(name: str) -> None:
    command = main.get_command(CONTEXT, name)
    assert command is not None
    assert command.name == name


def test_another_name_is_wrong_usage() -> None:
    done = CliRunner().invoke(main, ["lnik", "tos"])
    assert (done.exit_code, "No such command" in done.output) == (2, True)


def test_the_choices_of_a_line_are_those_of_the_modules_that_are_loaded_later() -> None:
    assert options.FORMATS == FORMATS
    assert set(options.DECODINGS) <= set(get_args(Decoding))
