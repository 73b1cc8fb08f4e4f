"""Files that commands write: none is an input of the same command, and what stands there is replaced only if asked for.

A path option of the type `Output` is written to; every other path of a command is an input.
"""

from __future__ import annotations

import contextlib
import functools
import os
import stat
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from cielo.bundle.layout import default_bundle
from cielo.cli.options import Assignment
from cielo.errors import CieloError
from cielo.files import is_replaced

PRINTED = "what was printed stays"  # said after a signal
OVERWRITE = click.option(
    "--overwrite", is_flag=True, help="Replace what stands at an output, once the new one is whole."
)


class Output(click.Path):
    """A path that is written to; ``-`` is standard output.

    Attributes:
        kept: it is added to where it stands, as a cache is; so that needs no ``--overwrite``.
    """

    def __init__(self, *, kept: bool = False, **settings: Any) -> None:
        super().__init__(**settings)
        self.kept = kept


def writes(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command ``--overwrite``, and check its outputs before it begins."""

    @functools.wraps(command)
    def checked(*arguments: Any, overwrite: bool, **given: Any) -> Any:
        check_outputs(overwrite=overwrite)
        return command(*arguments, **given)

    return OVERWRITE(checked)


@dataclass(frozen=True, slots=True)
class _Named:
    """A path of the command line, and the option that names it."""

    option: str
    path: str
    status: os.stat_result | None  # None: there is nothing


def check_outputs(*, overwrite: bool, besides: Sequence[str] = ()) -> None:
    """Check the outputs of the command that runs.

    Args:
        overwrite: whether what stands there may be replaced.
        besides: inputs, by the names of their parameters, that may be an output too.

    Raises:
        UsageError: where one is an input, lies in a folder that is one, holds one, or is another output too.
        CieloError: where one exists, is a file or a folder, and may not be replaced.
    """
    context = click.get_current_context()
    inputs, outputs = list(_inputs(context, besides)), list(_outputs(context))
    for place, (named, kept) in enumerate(outputs):
        for other in [*inputs, *(before for before, _ in outputs[:place])]:
            if _is_same(named, other):
                raise click.UsageError(
                    f"{named.option} names {_shown(named)}, which {other.option} names or holds too; name another file"
                )
        if named.status is not None and not kept and not overwrite and named.path != "-" and is_replaced(named.path):
            raise CieloError(f"{_shown(named)} exists; name another output, or replace it with --overwrite")


def _inputs(context: click.Context, besides: Sequence[str]) -> Iterator[_Named]:
    for parameter in context.command.params:
        value = context.params.get(parameter.name or "")
        if parameter.name in besides or isinstance(parameter.type, Output):
            continue
        if not isinstance(parameter.type, click.Path | Assignment):
            continue
        if isinstance(parameter.type, Assignment) and not parameter.type.is_path:
            continue
        if parameter.name == "bundle" and value is None:
            value = default_bundle()
        for path in value if isinstance(value, tuple | list) else (value,):
            if path is not None:
                yield _named(parameter, path[1] if isinstance(path, tuple) else path, sys.stdin)


def _outputs(context: click.Context) -> Iterator[tuple[_Named, bool]]:
    for parameter in context.command.params:
        if isinstance(parameter.type, Output) and (path := context.params.get(parameter.name or "")) is not None:
            yield _named(parameter, path, sys.stdout), parameter.type.kept


def _named(parameter: click.Parameter, path: str | Path, stream: Any) -> _Named:
    option = parameter.opts[0] if isinstance(parameter, click.Option) else parameter.human_readable_name
    status = None
    with contextlib.suppress(OSError, ValueError):
        status = os.fstat(stream.fileno()) if str(path) == "-" else Path(path).stat()
    return _Named(option, os.fspath(path), status)


def _is_same(output: _Named, other: _Named) -> bool:
    """Tell whether an output is another path: the same file or folder, by whatever name, or one inside the other."""
    if output.status is None or other.status is None:
        return "-" not in (output.path, other.path) and _real(output) == _real(other)
    if stat.S_ISDIR(output.status.st_mode):
        return _real(output) in (_real(other), *_real(other).parents)
    if stat.S_ISDIR(other.status.st_mode):
        # A page among the files of a corpus is none of them.
        return not output.path.endswith(".html") and output.path != "-" and _real(other) in _real(output).parents
    return stat.S_ISREG(output.status.st_mode) and os.path.samestat(output.status, other.status)


def _real(named: _Named) -> Path:
    return Path(os.path.realpath(named.path))


def _shown(named: _Named) -> str:
    return "standard output" if named.path == "-" else click.format_filename(named.path)
