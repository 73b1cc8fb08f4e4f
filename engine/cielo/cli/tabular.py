"""Options of commands that read rows of mentions and write rows of links, and the records that they give.

An option that was given and can have no effect is refused: who gives it expects one.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from cielo.cli.options import GUARD, language_option
from cielo.text.language import spoken

if TYPE_CHECKING:
    from cielo.decisions import Thresholds
    from cielo.tables.formats import Format, OutputStyle, TableFormat
    from cielo.tables.mentions import MentionColumns

COLUMNS = ("text", "sentence", "kind", "id")
TABULAR = (
    *(f"{role}_column" for role in COLUMNS), "encoding", "delimiter", "sheet", "bom", "decimal",
    "guard_formulas",
)  # fmt: skip
"""The parameters of `reading_options` and `style_options`."""
_SEPARATED: tuple[Format, ...] = ("csv", "tsv")
# Of which formats an option is, where they are read and where they are written.
_EFFECTS: dict[str, tuple[tuple[Format, ...], tuple[Format, ...]]] = {
    "sheet": (("xlsx", "xls"), ()),
    "encoding": (("csv", "tsv", "jsonl", "json"), ()),
    "delimiter": (_SEPARATED, ("csv",)),
    "bom": ((), _SEPARATED),
    "decimal": ((), _SEPARATED),
    "guard_formulas": ((), _SEPARATED),
}
_USUAL_DELIMITERS = ",;\t|"
_SPANISH_EXCEL: dict[str, Any] = {"delimiter": ";", "bom": True, "decimal": ","}  # it opens a CSV so alone
_TABULATOR = {"\\t": "\t", "tab": "\t"}


def _delimiter(_: click.Context, __: click.Parameter, value: str | None) -> str | None:
    value = _TABULATOR.get(value or "", value)
    if value is not None and (len(value) != 1 or value in '"\r\n\0'):
        raise click.BadParameter(f"got {value!r}, expected one character: , or ; or | or tab")
    return value


DELIMITER = click.option("--delimiter", callback=_delimiter, metavar="SIGN", help=(
    "Of a CSV: written, and tried first where one is read; default: , written (; with --language es), and any read."
))  # fmt: skip


def reading_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of a table that is read; `table_format` and `mention_columns` make the records of them."""
    named = [
        click.option(f"--{role}-column", metavar="NAME", help=f"Of the input: the column of the {what}.")
        for role, what in reversed((
            ("text", "mention; default: text, texto, mention, mención, entity or entidad. By place (1, 2, ...) "
                     "where there is no header"),
            ("sentence", "sentence around it; default: sentence, oración, frase or contexto"),
            ("kind", "kind of code; default: kind or tipo"),
            ("id", "row's own name; default: id"),
        ))
    ]  # fmt: skip
    for option in (
        click.option("--sheet", help="Of a workbook; default: the first with the columns."),
        click.option("--encoding", help="Of the input; default: detected (UTF-8, UTF-16, else Windows-1252)."),
        *named,
    ):
        command = option(command)
    return command


def mention_columns(given: dict[str, object]) -> MentionColumns:
    """Take the names of columns out of a command's options."""
    from cielo.tables.mentions import MentionColumns

    named: dict[str, Any] = {role: given.pop(f"{role}_column") for role in COLUMNS}
    return MentionColumns(**named)


def table_format(given: dict[str, object], form: Format | None = None) -> TableFormat:
    """Take the other options of `reading_options` out of a command's; ``delimiter`` stays for what is written."""
    from cielo.tables.formats import TableFormat

    delimiter = given["delimiter"]
    tried = delimiter and f"{delimiter}{''.join(sign for sign in _USUAL_DELIMITERS if sign != delimiter)}"
    named: dict[str, Any] = {"delimiter": tried, **{name: given.pop(name) for name in ("encoding", "sheet")}}
    return TableFormat(format=form, **named)


def decision_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the thresholds of the column ``decision``; `thresholds_of` makes the record of them."""
    for option in (
        click.option("--review", type=float, default=0.5, show_default=True, metavar="SHARE",
                     help="Decide `review` from this confidence on, and `none` below."),
        click.option("--accept", type=float, default=0.9, show_default=True, metavar="SHARE",
                     help="Decide `accept` from this confidence on."),
    ):  # fmt: skip
        command = option(command)
    return command


def thresholds_of(given: dict[str, object]) -> Thresholds:
    """Take the thresholds out of a command's options.

    Raises:
        OptionError: where they are not in their ranges.
    """
    from cielo.decisions import Thresholds

    named: dict[str, Any] = {name: given.pop(name) for name in ("accept", "review")}
    return Thresholds(**named)


def style_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of tables for people; `style_of` makes the record of them."""
    for option in (
        DELIMITER,
        language_option,
        GUARD,
        click.option("--decimal", type=click.Choice([".", ","]),
                     help="The decimal sign in CSV and TSV; default: . (, with --language es)."),
        click.option("--bom/--no-bom", default=None, help=(
            "Begin a CSV or TSV with the mark by which Excel knows UTF-8; default: with --language es."
        )),
    ):  # fmt: skip
        command = option(command)
    return command


def style_of(given: dict[str, object]) -> OutputStyle:
    """Take the style of what is written out of a command's options, ``delimiter`` among them."""
    from cielo.tables.formats import OutputStyle

    named: dict[str, Any] = {name: given.pop(name) for name in ("bom", "decimal", "delimiter")}
    usual = _SPANISH_EXCEL if spoken() == "es" else {}
    named = usual | {name: value for name, value in named.items() if value is not None}
    return OutputStyle(**named, language=spoken(), guarded=bool(given.pop("guard_formulas")))


def options_given(names: Collection[str]) -> dict[str, str]:
    """Return which options of the running command were given, by the names of their parameters, as they are typed."""
    context = click.get_current_context()
    return {
        parameter.name: parameter.opts[0]
        for parameter in context.command.params
        if parameter.name in names
        and context.get_parameter_source(parameter.name) not in (None, ParameterSource.DEFAULT)
    }


def refuse_given(reasons: Mapping[str, str]) -> None:
    """Refuse options that can have no effect.

    Args:
        reasons: of which thing each is, by the names of their parameters.

    Raises:
        UsageError: where one of them was given.
    """
    for name, option in options_given(reasons).items():
        raise click.UsageError(f"{option} is {reasons[name]}: it has no effect here; leave it out")


def refuse_idle(read: Collection[str], written: Collection[str] = ()) -> None:
    """Refuse options of tables that can have no effect on the formats that are read and written.

    Raises:
        UsageError: where one of them was given.
    """
    refuse_given({
        name: _of_formats(*effects)
        for name, effects in _EFFECTS.items()
        if not {*effects[0]} & {*read} and not {*effects[1]} & {*written}
    })  # fmt: skip


def _of_formats(read: Collection[Format], written: Collection[Format]) -> str:
    parts = ((read, "read"), (written, "written"))
    told = [f"{', '.join(form.upper() for form in forms)} that is {done}" for forms, done in parts if forms]
    return f"of {', or '.join(told)}"


def formats_of(paths: Iterable[Path]) -> set[Format]:
    """Return the formats of tables, as names and contents tell; where they tell none, all: the reader says so."""
    from cielo.tables.formats import INPUT_FORMATS
    from cielo.tables.reading import possible_formats

    found = [possible_formats(path) for path in paths]
    return set().union(*found) if all(found) else set(INPUT_FORMATS)
