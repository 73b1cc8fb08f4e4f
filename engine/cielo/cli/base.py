"""What all commands share: the group, its errors and exit codes, options, and the console."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cielo.errors import CieloError, ParityError

if TYPE_CHECKING:
    from rich.console import Console

    from cielo.knowledge.subsets import Subset
    from cielo.link.lexicon import Problem
    from cielo.link.linker import Linker

UNVERIFIED = "Use a compute type although its parity was not shown."
EXIT_FAILED, EXIT_ROWS, EXIT_PARITY, EXIT_INTERRUPTED = 1, 3, 4, 130


_SHOWN = 10
_LINKING = ("pipeline", "reference", "rerank", "min_confidence", "max_distance")


class _Group(click.Group):
    """Turns the errors of cielo into one line on standard error and an exit code."""

    def invoke(self, context: click.Context) -> Any:
        for stream in (sys.stdout, sys.stderr):  # a file's name need not be text
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors="backslashreplace")
        try:
            return super().invoke(context)
        except ParityError as error:
            fail(str(error), EXIT_PARITY)
        except CieloError as error:
            fail(str(error), EXIT_FAILED)
        except (KeyboardInterrupt, click.Abort):
            fail("interrupted; nothing was written", EXIT_INTERRUPTED)
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(EXIT_FAILED)


def fail(message: str, code: int) -> None:
    """Say what went wrong, and end with a code."""
    click.echo(f"cielo: {message}", err=True)
    sys.exit(code)


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="cielo", prog_name="cielo", message="%(prog)s %(version)s")
def main() -> None:
    """Spanish clinical mentions to ICD-10 (CIE-10-ES) codes, offline.

    Exit codes: 0 done; 1 it could not be done; 2 wrong usage; 3 done, but some rows hold an error; 4 a parity check
    failed; 130 interrupted.
    """


def model_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of where a model runs: device, compute_type, threads."""
    for option in (
        click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True),
        click.option("--compute-type", metavar="TYPE", help="Of the generator; default: the bundle's own."),
        click.option("--threads", type=click.IntRange(1), help="Processor threads; default: all."),
    ):
        command = option(command)
    return command


def linking_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of how mentions are linked; `split_options` turns them into those of the linker."""
    for option in (
        click.option("--pipeline", type=click.Choice(["I", "II"]), default="II", show_default=True,
                     help="I: exact matches alone; II: the nearest description for what has none."),
        click.option("--reference", is_flag=True, help="Match and search as the paper does, row for row."),
        click.option("--rerank", is_flag=True, help="Order the candidates by the generator's own likelihood of them."),
        click.option("--min-confidence", type=click.FloatRange(0, 1), metavar="SHARE",
                     help="Answer none where the calibrated confidence is lower."),
        click.option("--max-distance", type=click.FloatRange(0, 4), metavar="DISTANCE",
                     help="Answer none where the nearest description is farther; default: the bundle's own."),
    ):  # fmt: skip
        command = option(command)
    return subset_options(command)


def subset_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of a part of the knowledge base; `subset_of` turns them into one."""
    for option in (
        click.option("--chapter", "chapters", multiple=True, metavar="CHAPTER",
                     help="Only codes of this chapter (IX; of procedures the first character; kind:X for one kind)."),
        click.option("--leaf", is_flag=True, help="Only codes below which there is no other."),
        click.option("--codes", type=click.Path(path_type=Path), help="Only the codes of this file, one on each line."),
    ):  # fmt: skip
        command = option(command)
    return command


def split_options(given: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return those of a command's options that say how mentions are linked, and the others, that open a linker."""
    options = {name: given.pop(name) for name in _LINKING}
    if options["rerank"] and (options["reference"] or options["pipeline"] == "I"):
        raise click.UsageError(
            "--rerank chooses among neighbours too: it goes with --pipeline II and not with --reference"
        )
    if options["reference"] and (given["chapters"] or given["leaf"] or given["codes"]):
        raise click.UsageError(
            "--reference looks at every row, as the paper does: not with --chapter, --leaf or --codes"
        )
    options["subset"] = subset_of(**{name: given.pop(name) for name in ("chapters", "leaf", "codes")})
    return options, given


def subset_of(
    *, kinds: Sequence[str] = (), chapters: Sequence[str] = (), leaf: bool = False, codes: Path | None = None
) -> Subset | None:
    """Return the part of a knowledge base that is asked for; None: all of it."""
    from cielo.knowledge.building import read_codes
    from cielo.knowledge.subsets import Subset

    if not (kinds or chapters or leaf or codes):
        return None
    return Subset(
        kinds=frozenset(kinds) or None,
        chapters=frozenset(chapters) or None,
        leaf=leaf,
        codes=read_codes(codes) if codes else None,
    )


class Assignment(click.ParamType[tuple[str, str]]):
    """A name and what belongs to it, written as NAME=VALUE."""

    name = "NAME=VALUE"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, str]:
        """Return the name and the value."""
        if isinstance(value, tuple):
            return value[0], value[1]
        name, sign, rest = str(value).partition("=")
        if not (name.strip() and sign and rest.strip()):
            self.fail(f"got {value!r}, expected NAME=VALUE", param, ctx)
        return name.strip(), rest.strip()


class Size(click.ParamType[int]):
    """A size in bytes, written as 3GB."""

    name = "SIZE"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return the number of bytes."""
        from cielo.machine import parse_size

        try:
            return parse_size(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


def open_linker(**opening: Any) -> Linker:
    """Open a linker: see `cielo.link.linker.Linker.open`."""
    from cielo.link.linker import Linker  # loads the libraries of the models: only where they are needed

    return Linker.open(**opening)


def require_codes(linker: Linker, subset: Subset | None) -> None:
    """Refuse a part of the knowledge base without a single code: a chapter that is none, or codes of another edition.

    Raises:
        UsageError: saying what was expected.
    """
    if subset is not None and not linker.knowledge_base.count(subset):
        raise click.UsageError(
            "no code of the knowledge base lies in the part that was asked for; chapters are Roman numerals of "
            "ICD-10-CM or the first character of ICD-10-PCS, and --codes names codes of this edition"
        )


def tell_problems(problems: Sequence[Problem]) -> None:
    """Tell of a lexicon's lines that are not used, on standard error."""
    for problem in problems[:_SHOWN]:
        click.echo(f"  lexicon, line {problem.line}: {problem.reason}", err=True)
    if len(problems) > _SHOWN:
        click.echo(f"  lexicon: {len(problems) - _SHOWN:,} more lines; `cielo lexicon check` names them", err=True)


def console(*, stderr: bool = False) -> Console:
    """Return a console for tables and progress; what is no terminal is 200 columns wide."""
    from rich.console import Console

    return Console(stderr=stderr, highlight=False, width=None if sys.stdout.isatty() else 200)
