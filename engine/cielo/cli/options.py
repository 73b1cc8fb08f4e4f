"""What commands have in common on their lines: options, and the records that are made of them."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cielo.text.language import LANGUAGES, speaking

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from cielo.knowledge.subsets import Subset
    from cielo.options import LinkOptions

UNVERIFIED = "Use a compute type although its parity was not shown."
DECODINGS = ("published", "probable", "greedy", "constrained")
DEVICES = ("auto", "cpu", "cuda")
DEVICE = "Where the models run; auto: a GPU where parity was shown on one."
FORMATS = ("csv", "tsv", "jsonl", "json", "xlsx", "parquet")
INPUT_FORMATS = (*FORMATS, "xls")


class BundlePath(click.Path):
    """The path of a bundle: shells complete it by directories."""

    def __init__(self) -> None:
        super().__init__(path_type=Path)  # a file is refused by the bundle's own reader, with a word on what it is

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Return the directories that begin like `incomplete`."""
        from click.shell_completion import CompletionItem

        return [CompletionItem(incomplete, type="dir")]


BUNDLE = click.option("--bundle", type=BundlePath(), envvar="CIELO_BUNDLE",
                      help="Default: CIELO_BUNDLE, else the mini.")  # fmt: skip
LEXICON = click.option("--lexicon", type=click.Path(dir_okay=False, path_type=Path),
                       help="Mentions and their codes, asked before the model.")  # fmt: skip
VERIFY = click.option("--verify", "verify_files", type=click.Choice(["always", "once", "never"]), default="once",
                      show_default=True, help="When the bundle's files are hashed: once for this machine.")  # fmt: skip
DECODING = click.option("--decoding", type=click.Choice(DECODINGS),
                        help="How outputs are searched for; default: the bundle's own.")  # fmt: skip
ALLOW_UNVERIFIED = click.option("--allow-unverified", is_flag=True, help=UNVERIFIED)
GUARD = click.option("--guard-formulas/--no-guard-formulas", default=False, show_default=True,
                     help="Put an apostrophe before what a spreadsheet takes for a formula (CSV, TSV).")  # fmt: skip


def language_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``--language``, and let `cielo.text.language` speak it while the command runs."""

    @functools.wraps(command)
    def spoken(*arguments: Any, **given: Any) -> Any:
        with speaking(given.pop("language")):
            return command(*arguments, **given)

    return click.option(
        "--language", type=click.Choice(LANGUAGES), default="en", show_default=True, envvar="CIELO_LANGUAGE",
        show_envvar=True, help="Of the words for people: on the terminal, in pages, and in CSV, TSV and XLSX.",
    )(spoken)  # fmt: skip


# Where a command keeps what --codes named, for `cielo.cli.linkers.report_unknown_codes`.
LISTED = "cielo.codes"
LINKING = ("top_k", "pipeline", "matching", "rerank", "min_confidence", "max_distance", "proven", "max_passes")


def model_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of where a model runs: backend, device, compute_type, threads."""
    for option in (
        click.option("--backend", metavar="NAME", default="auto", show_default=True,
                     help="That runs the generator; auto: the fastest of BUNDLE's here."),
        click.option("--device", type=click.Choice(DEVICES), default="auto", show_default=True, help=DEVICE),
        click.option("--compute-type", metavar="TYPE", help="Of the generator; default: the bundle's own."),
        click.option("--threads", type=click.IntRange(1), help="Processor threads; default: all."),
    ):  # fmt: skip
        command = option(command)
    return command


def searched(decodings: Sequence[str]) -> str | None:
    """Return the decoding that a bundle is opened for: the one that not every backend runs; None: any."""
    return "constrained" if "constrained" in decodings else None


def linking_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of how mentions are linked, but the decoding; `link_options` makes the record of them."""
    for option in (
        click.option("--top-k", type=int, default=5, show_default=True, help="The most candidates in a link."),
        click.option("--pipeline", type=click.Choice(["I", "II"]), default="II", show_default=True,
                     help="I: exact matches alone; II: the nearest description for what has none."),
        click.option("--matching", type=click.Choice(["tiered", "published"]), default="tiered", show_default=True,
                     help="tiered: literal text, then normal form; published: match and search as the paper does."),
        click.option("--rerank", is_flag=True, help="Order the candidates by the generator's own likelihood of them."),
        click.option("--min-confidence", type=float, metavar="SHARE",
                     help="Answer none where the calibrated confidence is lower."),
        click.option("--max-distance", type=float, metavar="DISTANCE",
                     help="Answer none where the nearest description is farther; default: the bundle's own."),
        click.option("--proven", type=int, metavar="COUNT",
                     help="Decoding constrained: how many descriptions are proven the most probable; default: 2 where "
                          "there is a confidence, else 1."),
        click.option("--max-passes", type=int, metavar="COUNT", default=64, show_default=True,
                     help="Decoding constrained: passes of the decoder for one mention, proven or not."),
    ):  # fmt: skip
        command = option(command)
    return subset_options(command)


def subset_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of a subset of the codes; `subset_of` makes the record of them."""
    for option in (
        click.option("--chapter", "chapters", multiple=True, metavar="CHAPTER",
                     help="Only codes of this chapter (IX; of procedures the first character; kind:X for one kind)."),
        click.option("--leaf", is_flag=True, help="Only codes below which there is no other."),
        click.option("--codes", type=click.Path(path_type=Path), help="Only the codes of this file, one on each line."),
    ):  # fmt: skip
        command = option(command)
    return command


def link_options(given: dict[str, object], **others: Any) -> LinkOptions:
    """Take the options of `linking_options` out of a command's, and return them as the linker's record."""
    from cielo.options import LinkOptions

    # Of every type, as click gives them; the record checks each.
    codes: dict[str, Any] = {name: given.pop(name) for name in ("chapters", "leaf", "codes")}
    options: dict[str, Any] = {name: given.pop(name) for name in LINKING}
    return LinkOptions(subset=subset_of(**codes), **options, **others)


def subset_of(
    *, kinds: Sequence[str] = (), chapters: Sequence[str] = (), leaf: bool = False, codes: Path | None = None
) -> Subset | None:
    """Return the subset of the codes that is asked for; None: all of them."""
    if not (kinds or chapters or leaf or codes):
        return None
    from cielo.knowledge.subsets import Subset

    return Subset(
        kinds=frozenset(kinds) or None,
        chapters=frozenset(chapters) or None,
        leaf=leaf,
        codes=_codes(codes) if codes else None,
    )


def _codes(path: Path) -> frozenset[str]:
    """Return the codes of a list, which is kept so that its unknown ones can be reported."""
    from cielo.knowledge.code_list import read_codes

    listed = read_codes(path)
    click.get_current_context().meta[LISTED] = listed
    return listed.codes


class Assignment(click.ParamType[tuple[str, str]]):
    """A name and what belongs to it, written as NAME=VALUE.

    Attributes:
        is_path: the value is a path, which the command reads.
    """

    name = "NAME=VALUE"

    def __init__(self, *, is_path: bool = True) -> None:
        self.is_path = is_path

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


MEMORY = click.option(
    "--memory", type=Size(), help="Keep the process within this much memory, such as 3GB, by making batches smaller."
)
