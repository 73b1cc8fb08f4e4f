"""What ``cielo documents`` writes: rows of links, and the forms of other tools, by the integrations."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import click

from cielo.cli.document_tally import Tally
from cielo.cli.document_tools import (
    NOTE_COLUMNS,
    RowsOfOne,
    Settings,
    bigbio,
    bundles,
    notes,
    require_folder,
    write_brat,
)
from cielo.decisions import Thresholds
from cielo.documents.records import Document, LinkedDocument, MarkedSpan
from cielo.errors import MentionError, TableError
from cielo.link.document_links import DocumentLink
from cielo.records import Json
from cielo.tables import FORMATS, Format, format_of
from cielo.tables.formats import require_library
from cielo.tables.links import link_columns, write_rows
from cielo.tables.writing import open_output, write_table

if TYPE_CHECKING:
    from cielo.knowledge.reading import KnowledgeBase

_JSON = ("jsonl", "json")
_COLUMNS = ("document", "id", "start", "end", "fragments", "text", "sentence", "type")


@dataclass(frozen=True, slots=True)
class Form:
    """What is written.

    Attributes:
        name: of the form: a table's format, or brat, fhir, omop, bigbio.
        table: the format of the file; None: a folder.
    """

    name: str
    table: Format | None

    @property
    def has_errors(self) -> bool:
        """Whether what could not be linked has a row of its own there."""
        return self.name in FORMATS

    def streams(self, target: str) -> bool:
        """Tell whether each document is printed as soon as it is done."""
        return target == "-" and self.table in _JSON


def require_form(target: str, named: str | None) -> Form:
    """Return the form of the output: the one named, else what its name tells, else JSON Lines for standard output.

    Raises:
        UsageError: where nothing tells it, or it does not go with the output.
        TableError: where its library is not installed.
    """
    if named == "brat":
        require_folder(target)
        return Form(named, None)
    if named in ("fhir", "bigbio"):
        return Form(named, "jsonl")
    try:
        known = next((form for form in FORMATS if form == named), None)
        table = format_of(target, known, default=_default(target, named))
    except TableError as error:
        raise click.UsageError(
            f"{click.format_filename(target)}: its format is not known by its name; name it with --format"
        ) from error
    require_library(target, table)
    return Form(named or table, table)


def _default(target: str, named: str | None) -> Format | None:
    return "csv" if named == "omop" else "jsonl" if target == "-" else None


def write_documents(
    linked: Iterable[LinkedDocument],
    target: str,
    form: Form,
    settings: Settings,
    tally: Tally,
    base: KnowledgeBase,
) -> None:
    """Write linked documents, whole or not at all; to standard output each as soon as it is done, where the form can.

    Args:
        linked: read one after the other.
        target: a file, ``-`` for standard output, or a folder.
        form: see `require_form`.
        settings: of the forms.
        tally: counts the documents that the form cannot hold.
        base: names the code systems.

    Raises:
        OptionError: where a setting that the form needs is missing.
        TableError: where it cannot be written.
    """
    if form.table is None:
        write_brat(linked, Path(target), settings, tally)
        return
    rows_of_one = _maker(form, settings, base)
    with _opened(target, form) as output:
        rows = _rows(linked, output, rows_of_one, tally)
        if form.has_errors:
            write_rows(output, form.table, rows, style=settings.style, named=_COLUMNS)
        else:
            order = NOTE_COLUMNS if form.name == "omop" else ()
            write_table(output, form.table, rows, order=lambda _: order, style=settings.style)


def _maker(form: Form, settings: Settings, base: KnowledgeBase) -> RowsOfOne:
    if form.name == "fhir":
        return bundles(settings, base)
    if form.name == "omop":
        return notes(settings)
    if form.name == "bigbio":
        return bigbio(settings)
    return lambda one: rows_of(one, settings.thresholds, flat=form.table not in _JSON)


@contextlib.contextmanager
def _opened(target: str, form: Form) -> Iterator[BinaryIO]:
    if form.streams(target):
        yield sys.stdout.buffer
        return
    with open_output(target) as output:
        yield output


def _rows(
    linked: Iterable[LinkedDocument], output: BinaryIO, rows_of_one: RowsOfOne, tally: Tally
) -> Iterator[dict[str, Json]]:
    for one in linked:
        try:
            yield from rows_of_one(one)
        except MentionError as error:
            tally.refuse(one.document, error.said)
        output.flush()


def rows_of(linked: LinkedDocument, thresholds: Thresholds, *, flat: bool = False) -> Iterator[dict[str, Json]]:
    """Yield a row for each span, or one for a document that could not be read.

    Args:
        linked: a document with its results.
        thresholds: of the column ``decision``.
        flat: write fragments as ``start end;start end``, as CodiEsp does, and not as a list.
    """
    document = linked.document
    if document.error is not None:
        yield {"document": document.name, "error": document.error}
    for span, found in zip(document.spans, linked.found, strict=True):
        row = _row(document, span, found, flat=flat)
        yield row if found.link is None else {**row, **link_columns(found.link, thresholds)}


def _row(document: Document, span: MarkedSpan, found: DocumentLink, *, flat: bool) -> dict[str, Json]:
    fragments = found.spans or span.fragments
    pairs: Json = [list(pair) for pair in fragments]
    row: dict[str, Json] = {
        "document": document.name,
        "id": span.name,
        "start": min((start for start, _ in fragments), default=None),
        "end": max((end for _, end in fragments), default=None),
        "fragments": ";".join(f"{start} {end}" for start, end in fragments) if flat else pairs,
        "text": span.text if found.text is None else found.text,
        "sentence": None if found.sentence is None else document.text[slice(*found.sentence)],
        "type": span.type,
    }
    return {**row, "kind": span.kind, "error": found.error} if found.link is None else row
