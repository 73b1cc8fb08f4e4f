"""What all commands share: the group, its errors and exit codes, options, and the console."""

from __future__ import annotations

import atexit
import contextlib
import errno
import gc
import importlib
import io
import os
import signal
import sys
import threading
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from cielo.cli.verbosity import accept_verbosity
from cielo.errors import MORE_MEMORY, CieloError, OptionError, ParityError, remedy_for
from cielo.text.visible import visible_json, visible_lines

if TYPE_CHECKING:
    from rich.console import Console


EXIT_FAILED, EXIT_USAGE, EXIT_ROWS, EXIT_PARITY, EXIT_INTERRUPTED = 1, 2, 3, 4, 130
KEPT = "cielo.kept"  # where a command says what is there after a signal: a text, or what looks and returns one
_AGAIN = 0.02  # seconds after which a signal is sent again whose exception was dropped
_ENDING = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name))


# The module of each command. They are loaded when they are asked for: a command starts without the others' libraries.
_HOMES = {
    "bench": "measure", "bulk": "bulk", "calibrate": "calibrate", "completion": "completion", "convert": "converting",
    "doctor": "doctor", "documents": "documents", "evaluate": "evaluate", "info": "bundles", "kb": "knowledge",
    "lexicon": "lexicon", "link": "link", "serve": "serve", "tune": "measure", "verify": "bundles",
}  # fmt: skip

# At exit the interpreter would search all objects for reference cycles: a tenth of the time of `link TEXT`.
atexit.register(gc.freeze)

_WHOLE = 1000  # characters: longer than any sentence
# Files are written by functions that raise errors of cielo: these come from standard output.
_OF_OUTPUT = (errno.EPIPE, errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EBADF)


class _EndedError(BaseException):
    """This process was asked to end by a signal; like an interrupt, no ordinary handler of errors catches it."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


class _Ending:
    """The signals that end a block, SIGTERM and SIGHUP, and which of them has come."""

    def __init__(self) -> None:
        self.number: int | None = None
        self._hook = sys.unraisablehook
        self._before: dict[int, Any] = {}

    def listen(self) -> None:
        if threading.current_thread() is not threading.main_thread():
            return
        sys.unraisablehook = self._dropped
        # What the caller has set (`nohup` ignores SIGHUP) stays as it is.
        for number in _ENDING:
            if signal.getsignal(number) is signal.SIG_DFL:
                self._before[number] = signal.signal(number, self._end)

    def _end(self, number: int, frame: object) -> None:
        if self.number is None:  # a second one does not disturb what the first one cleans up
            self.number = number
            raise _EndedError(number)

    def _dropped(self, report: Any) -> None:
        # In a callback of a weak reference, which imports have, or a finaliser, the interpreter drops every exception.
        error = report.exc_value
        if not isinstance(error, _EndedError | KeyboardInterrupt):
            self._hook(report)
            return
        self.number = None
        number = error.number if isinstance(error, _EndedError) else signal.SIGINT
        again = threading.Timer(_AGAIN, os.kill, (os.getpid(), number))
        again.daemon = True
        again.start()

    def stop(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        sys.unraisablehook = self._hook


@contextlib.contextmanager
def _ended_by_signals() -> Iterator[None]:
    """Have SIGTERM and SIGHUP end the block as an interrupt does, so that nothing half-written is left."""
    ending = _Ending()
    try:
        ending.listen()
        yield
    except _EndedError:
        raise
    except BaseException as error:  # a library that was just loading makes an error of its own of it
        if ending.number is not None:
            raise _EndedError(ending.number) from error
        raise
    finally:
        ending.stop()


class _Command(click.Command):
    """A command whose help has its options in groups and an example, and its whole summary in lists of commands."""

    def get_short_help_str(self, limit: int = 45) -> str:
        """Return the first sentence of the help, however long: the list breaks its lines."""
        return super().get_short_help_str(max(limit, _WHOLE))

    def format_options(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options in their groups, and the commands of a group."""
        from cielo.cli.helping import write_options  # only where help is asked for

        write_options(self, context, formatter)
        if isinstance(self, click.Group):
            self.format_commands(context, formatter)

    def format_epilog(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the examples."""
        from cielo.cli.helping import write_examples

        write_examples(context, formatter)
        super().format_epilog(context, formatter)


class Subgroup(_Command, click.Group):
    """A group of commands whose help is like theirs."""

    command_class = _Command


class _Group(Subgroup):
    """Loads a command when it is asked for, and turns the errors of cielo into one line and an exit code."""

    group_class = Subgroup

    def list_commands(self, context: click.Context) -> list[str]:
        """Return the names of all commands, loaded or not."""
        return sorted(_HOMES)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        """Return a command, which its module adds to the group."""
        if name in _HOMES:
            importlib.import_module(f"cielo.cli.{_HOMES[name]}")
        command = super().get_command(context, name)
        if command is not None:
            accept_verbosity(command)
        return command

    def invoke(self, context: click.Context) -> Any:
        for stream in (sys.stdout, sys.stderr):  # a file's name need not be text
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors="backslashreplace")
        try:
            with _ended_by_signals():
                return super().invoke(context)
        except click.ClickException as error:
            object.__setattr__(error, "message", visible_lines(error.message))  # click calls it final
            raise
        except ParityError as error:
            fail(str(error), EXIT_PARITY)
        except OptionError as error:
            fail(str(error), EXIT_USAGE)
        except CieloError as error:
            fail(str(error), EXIT_FAILED)
        except (KeyboardInterrupt, click.Abort):
            fail(f"interrupted; {_kept(context)}", EXIT_INTERRUPTED)
        except _EndedError as ended:
            fail(f"ended by {signal.Signals(ended.number).name}; {_kept(context)}", 128 + ended.number)

    def main(self, *arguments: Any, **settings: Any) -> Any:
        """Run the command line, and say in one line what the system refused: a full disk, a limit, memory."""
        before = warnings.formatwarning
        try:
            try:
                warnings.formatwarning = _format_warning
                return super().main(*arguments, **settings)
            finally:
                warnings.formatwarning = before
                sys.stdout.flush()  # at the interpreter's exit nobody would catch what it raises
        except OSError as error:
            _refused(error)
        except MemoryError:
            fail(f"there is not enough memory; {MORE_MEMORY}", EXIT_FAILED)


def _kept(context: click.Context) -> str:
    kept = context.meta.get(KEPT, "nothing was written")
    return str(kept() if callable(kept) else kept)


def _format_warning(message: Warning | str, *_: Any, **__: Any) -> str:
    return f"cielo: {visible_lines(str(message))}\n"


def _refused(error: OSError) -> None:
    """End with what the system refused; in silence where the reader of standard output has gone."""
    if error.filename is None and error.errno in _OF_OUTPUT:
        with contextlib.suppress(OSError):  # what could not be written would be tried once more at the end
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if isinstance(error, BrokenPipeError):
            sys.exit(EXIT_FAILED)
        fail(f"standard output cannot be written ({error.strerror})", EXIT_FAILED)
    named = "" if error.filename is None else f" ({click.format_filename(error.filename)})"
    fail(
        f"{error.strerror or type(error).__name__}{named}; {remedy_for(error, 'mend that, and try again')}", EXIT_FAILED
    )


def echo(message: str, *, err: bool = False) -> None:
    """Write a message on standard output or error, and nothing in it that a terminal would obey."""
    click.echo(visible_lines(message), err=err)


def echo_json(content: str | bytes) -> None:
    """Write JSON on standard output; what a terminal would obey stands there in JSON's escapes."""
    text = content.decode() if isinstance(content, bytes) else content
    click.echo(visible_json(text.removesuffix("\n")))


def fail(message: str, code: int) -> None:
    """Say what went wrong, and end with a code."""
    with contextlib.suppress(OSError):  # standard error may be full, too: the code still says it
        echo(f"cielo: {message}", err=True)
    sys.exit(code)


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="cielo", prog_name="cielo", message="%(prog)s %(version)s")
def main() -> None:
    """Spanish clinical mentions to ICD-10 (CIE-10-ES) codes, offline.

    \b
    Exit codes:
      0    done
      1    it could not be done, nothing was found, or `doctor` found a fault
      2    wrong usage
      3    done, but some rows hold an error or were passed over
      4    a parity check failed
      130  interrupted; 143, 129: ended by SIGTERM, by SIGHUP
    """


accept_verbosity(main)


def console(*, stderr: bool = False) -> Console:
    """Return a console for tables and progress; what is no terminal is 200 columns wide.

    What a terminal would obey in a text is shown, not obeyed.
    """
    from rich.console import Console, ConsoleOptions, RenderableType
    from rich.segment import Segment

    class Showing(Console):
        def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterator[Segment]:
            for segment in super().render(renderable, options):
                yield segment if segment.control else Segment(visible_lines(segment.text), segment.style)

    terminal = (sys.stderr if stderr else sys.stdout).isatty()
    return Showing(stderr=stderr, highlight=False, width=None if terminal else 200)
