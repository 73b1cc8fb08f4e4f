"""``cielo documents``: the marked spans of documents, linked; out as rows, or in the forms of other tools."""

from __future__ import annotations

import contextlib
import functools
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cielo.cli.base import EXIT_ROWS, KEPT, echo, main
from cielo.cli.linkers import open_linker, report_problems, report_withheld, require_codes
from cielo.cli.options import (
    ALLOW_UNVERIFIED,
    BUNDLE,
    DECODINGS,
    FORMATS,
    LEXICON,
    VERIFY,
    Assignment,
    Size,
    link_options,
    linking_options,
    model_options,
)
from cielo.cli.outputs import PRINTED, Output, writes
from cielo.cli.progress import Progress, Summary
from cielo.cli.tabular import decision_options, refuse_given, refuse_idle, style_options
from cielo.errors import CieloError
from cielo.records import Decoding
from cielo.text.kinds import kind_of
from cielo.text.language import numeral, say

if TYPE_CHECKING:
    from cielo.cli.document_forms import Form
    from cielo.cli.document_tally import Tally
    from cielo.documents.records import Document
    from cielo.documents.sources import DocumentSource
    from cielo.link.linker import Linker

_FORMS = (*FORMATS, "brat", "fhir", "omop", "bigbio")
_OF_FORMS = {
    "terminology": ("brat", "bigbio"),
    "subject": ("fhir",),
    "code_systems": ("fhir",),
    "number_notes": ("omop",),
    "concepts": ("omop",),
    "vocabularies": ("omop",),
}


@main.command()
@click.argument("inputs", nargs=-1, required=True, metavar="INPUT...", type=click.Path(allow_dash=True))
@click.option("--output", "target", metavar="PATH|-", type=Output(allow_dash=True), default="-", show_default=True,
              help="A file; of brat a folder.")  # fmt: skip
@click.option("--format", "form", type=click.Choice(_FORMS), help="Of --output; default: by its name, else jsonl.")
@click.option("--errors", type=Output(path_type=str), metavar="FILE",
              help="What could not be linked goes here too, as a table.")  # fmt: skip
@click.option("--encoding", help="Of JSON; default: detected (UTF-8, UTF-16 by its mark, else Windows-1252).")
@click.option("--split", help="Of CodiEsp, where a folder has several.")
@click.option("--kind", help="Of the spans that name none (in the mini: diagnosis, procedure).")
@click.option("--type", "types", type=Assignment(is_path=False), multiple=True, metavar="TYPE=KIND",
              help="The kind of the spans of a type (BRAT, BigBio). May be repeated.")  # fmt: skip
@click.option("--terminology", metavar="NAME", default="CIE10ES", show_default=True,
              help="brat, bigbio: what the codes are said to be of.")  # fmt: skip
@click.option("--subject", metavar="REFERENCE",
              help="fhir: the patient of documents that name none, such as Patient/{document}.")  # fmt: skip
@click.option("--code-system", "code_systems", multiple=True, metavar="KIND=URL|VERSION",
              help="fhir: the address of a kind's code system; default: the knowledge base's own.")  # fmt: skip
@click.option("--number-notes", is_flag=True, help="omop: number the notes from 1; default: a document's id.")
@click.option("--concepts", type=click.Path(dir_okay=False, path_type=Path), metavar="CONCEPT.csv",
              help="omop: your table CONCEPT; without it all concept ids are 0.")  # fmt: skip
@click.option("--vocabulary", "vocabularies", type=Assignment(is_path=False), multiple=True, metavar="KIND=NAME",
              help="omop: by which vocabulary of CONCEPT a kind's codes are found.")  # fmt: skip
@click.option("--decoding", type=click.Choice(DECODINGS), help="How outputs are searched for; default: the bundle's.")
@BUNDLE
@ALLOW_UNVERIFIED
@VERIFY
@click.option("--memory", type=Size(), help="Keep the process within this much memory, such as 3GB.")
@click.option(
    "--cache", type=Output(kept=True, dir_okay=False, path_type=Path), help="Keep links in this file; it holds no text."
)
@LEXICON
@decision_options
@style_options
@linking_options
@model_options
@writes
def documents(
    inputs: tuple[str, ...],
    target: str,
    form: str | None,
    errors: str | None,
    encoding: str | None,
    split: str | None,
    kind: str | None,
    types: tuple[tuple[str, str], ...],
    decoding: Decoding | None,
    cache: Path | None,
    **given: Any,
) -> None:
    """Link the marked spans of documents, each in its sentence.

    INPUT is JSON Lines or a JSON array, each document {"id": …, "text": …, "spans": [[start, end], …]}; a folder of
    BRAT (.ann beside .txt) or of CodiEsp; - is standard input.

    \b
    cielo documents notes.jsonl --output links.csv
    cielo documents brat/ --output coded/ --format brat
    """
    from cielo.cli.document_forms import require_form, span_columns, write_documents
    from cielo.cli.document_tally import Tally
    from cielo.cli.document_tools import Settings
    from cielo.documents.linking import SPANS, link_documents
    from cielo.documents.sources import find_documents

    options = link_options(given, decoding=decoding)
    settings = Settings.taken(given)
    written = require_form(target, form)
    sources = [source for path in inputs for source in find_documents(path)]
    _refuse_idle(sources, written)
    summary = Summary(unit="span")
    tally = Tally(summary, settings.thresholds, wanted=errors is not None)
    if written.streams(target):
        click.get_current_context().meta[KEPT] = PRINTED
    with open_linker(**given, cache=cache or True, decoding=decoding, use="bulk") as linker:
        require_codes(linker, options.subset)
        report_problems(linker.lexicon_problems())
        _check_kinds(linker, [kind or "", *(named for _, named in types)])
        drawn = target != "-" or not sys.stdout.isatty()  # what is printed on the terminal is progress enough
        with Progress(say("linking"), functools.partial(_count, sources, split, encoding), drawn=drawn) as progress:
            linked = tally.counted(
                link_documents(
                    _documents(sources, split, encoding), linker, options, kind=kind, kinds=dict(types),
                    together=1 if written.streams(target) else SPANS, seen=summary.read, progress=progress.advance,
                )
            )  # fmt: skip
            columns = span_columns(options, linker) if written.streams(target) else None
            write_documents(linked, target, written, settings, tally, linker.knowledge_base, columns)
        report_withheld(linker, options.subset, summary.without, summary.methods.total())
    if errors is not None:
        tally.write(errors, settings.style)
    summary.show()
    _report(tally, written.has_errors)


def _refuse_idle(sources: list[DocumentSource], written: Form) -> None:
    """Refuse options that were given and are of other inputs or outputs."""
    refuse_given({
        name: f"of the form {' and '.join(forms)}" for name, forms in _OF_FORMS.items() if written.name not in forms
    })  # fmt: skip
    forms = {source.form for source in sources}
    if "codiesp" not in forms:
        refuse_given({"split": "of CodiEsp"})
    refuse_idle(forms - {"brat", "codiesp"}, [written.table] if written.table else [])


def _documents(sources: list[DocumentSource], split: str | None, encoding: str | None) -> Iterator[Document]:
    from cielo.documents.sources import read_documents

    for source in sources:
        yield from read_documents(source, split=split, encoding=encoding)


def _count(sources: list[DocumentSource], split: str | None, encoding: str | None) -> int | None:
    """Return how many spans there are, by reading them once more; None where they can be read but once."""
    with contextlib.suppress(OSError, CieloError):
        if all(Path(source.path).is_file() or Path(source.path).is_dir() for source in sources):
            return sum(len(document.spans) for document in _documents(sources, split, encoding))
    return None


def _check_kinds(linker: Linker, kinds: list[str]) -> None:
    for kind in filter(None, kinds):
        if kind_of(kind, linker.kinds) is None:
            known = ", ".join(linker.kinds)
            raise click.UsageError(f"got the kind {kind!r}, which the knowledge base has not; expected one of {known}")


def _report(tally: Tally, has_errors: bool) -> None:
    if not tally.failed:
        return
    if not has_errors:  # the form has no place for them
        for problem in tally.first:
            echo(f"  {problem}", err=True)
    more = say("all reasons are in the file of --errors") if tally.wanted else say("`--errors FILE` keeps all reasons")
    told = say(
        "{documents} document(s) and {spans} span(s) could not be linked or written; {more}",
        documents=numeral(f"{tally.documents:,}"), spans=numeral(f"{tally.spans:,}"),
        more=say("their rows say why") if has_errors else more,
    )  # fmt: skip
    echo(f"cielo: {told}", err=True)
    sys.exit(EXIT_ROWS)
