"""BRAT's standoff annotations (https://brat.nlplab.org/standoff.html), with the codes written back as references.

``N1\tReference T1 CIE10ES:I10\tHipertensión esencial``: the code of the text-bound annotation ``T1``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from cielo.documents.brat import marks_of
from cielo.documents.records import Document, MarkedSpan
from cielo.errors import OptionError
from cielo.link.document_links import DocumentLink
from cielo.link.linker import Linker
from cielo.options import LinkOptions

RESOURCE = "CIE10ES"
_RESOURCE = re.compile(r"[^\s:]+")
_REFERENCE = re.compile(r"N(\d+)\tReference (\S+) ([^\s:]+):\S*(?:\t.*)?")
_NUMBERED = re.compile(r"N(\d+)\t")
_NAME = re.compile(r"T\d+")
_TYPE = "Mencion"  # of a span that has neither a type nor a kind


@dataclass(frozen=True, slots=True)
class Referenced:
    """An ``.ann`` file with references.

    Attributes:
        annotations: its text.
        links: of each annotation that was linked, by its name (``T1``).
        problems: what became of the annotations that could not be linked, each with its line or name.
    """

    annotations: str
    links: Mapping[str, DocumentLink]
    problems: tuple[str, ...] = ()


def add_references(
    annotations: str,
    text: str,
    linker: Linker,
    options: LinkOptions | None = None,
    *,
    kinds: Mapping[str, str] | None = None,
    resource: str = RESOURCE,
) -> Referenced:
    """Link the text-bound annotations of a document, and write their codes back as references.

    All other lines stay as they are. References of the same resource to an annotation that is linked here are
    replaced, so that a second run changes nothing. An annotation whose description has several codes gets a reference
    for each, the link's own first; one that has no code gets none.

    Args:
        annotations: what the ``.ann`` file holds.
        text: what the ``.txt`` file holds, with its own line ends.
        linker: that finds the codes.
        options: how; default: `LinkOptions()`.
        kinds: of an annotation's type (``{"PROCEDIMIENTO": "procedure"}``); where given, other types are passed over.
        resource: the name of the terminology in BRAT's configuration (``[normalization]`` of ``tools.conf``).

    Raises:
        OptionError: where `resource` holds white space or a colon, or an option does not fit.
        MentionError: where `text` is no string.
    """
    require_resource(resource)
    marked = [mark for mark in marks_of(annotations) if mark.error or not kinds or mark.type in kinds]
    problems = [f"line {mark.line}: {mark.error}" for mark in marked if mark.error]
    marked = [mark for mark in marked if not mark.error]
    found = linker.link_document(
        text,
        [mark.span for mark in marked],
        kinds=[kinds[mark.type or ""] if kinds else None for mark in marked],
        texts=[mark.text for mark in marked],
        options=options,
    )
    links = {mark.name or "": link for mark, link in zip(marked, found, strict=True) if link.link is not None}
    problems += [f"{mark.name}: {link.error}" for mark, link in zip(marked, found, strict=True) if link.error]
    return Referenced(_written(annotations.split("\n"), links, resource), links, tuple(problems))


def require_resource(resource: str) -> None:
    """Refuse the name of a terminology that BRAT could not read.

    Raises:
        OptionError: where it holds white space or a colon, or nothing.
    """
    if not _RESOURCE.fullmatch(resource):
        raise OptionError(f"got the resource {resource!r}, expected a name without white space and colons")


def referenced(document: Document, found: Sequence[DocumentLink], *, resource: str = RESOURCE) -> str:
    """Return a document's annotations with the codes that were found for its spans, as `add_references` writes them.

    Args:
        document: of any form; where it is not BRAT's, annotations are made of its spans, but those that hold an error.
        found: the result for each span, in their order.
        resource: the name of the terminology.

    Raises:
        OptionError: see `require_resource`.
    """
    require_resource(resource)
    named = [span.name or "" for span in document.spans]
    annotations = document.annotations
    if annotations is None:
        named = _names(named)
        annotations = "".join(_annotation(*one) for one in zip(named, document.spans, found, strict=True))
    links = {name: link for name, link in zip(named, found, strict=True) if link.link is not None}
    return _written(annotations.split("\n"), links, resource)


def _names(given: Sequence[str]) -> list[str]:
    """Return the spans' own names where all are as BRAT's and differ, else T1, T2, …"""
    if len(set(given)) == len(given) and all(map(_NAME.fullmatch, given)):
        return list(given)
    return [f"T{number}" for number in range(1, len(given) + 1)]


def _annotation(name: str, span: MarkedSpan, found: DocumentLink) -> str:
    if found.link is None:
        return ""
    type = "_".join((span.type or span.kind or _TYPE).split())
    offsets = ";".join(f"{start} {end}" for start, end in found.spans)
    return f"{name}\t{type} {offsets}\t{' '.join((found.text or '').split())}\n"


def _written(lines: Sequence[str], links: Mapping[str, DocumentLink], resource: str) -> str:
    kept = [line for line in lines if not _replaced(line, links, resource)]
    end = "\r\n" if any(line.endswith("\r") for line in lines) else "\n"
    text = "\n".join(kept)
    if not any(_codes(found) for found in links.values()):
        return text
    if text and not text.endswith("\n"):
        text += end
    first = 1 + max((int(found[1]) for line in kept if (found := _NUMBERED.match(line))), default=0)
    return text + "".join(f"{line}{end}" for line in _references(links, resource, first))


def _replaced(line: str, links: Mapping[str, DocumentLink], resource: str) -> bool:
    found = _REFERENCE.fullmatch(line.removesuffix("\r"))
    return found is not None and found[2] in links and found[3] == resource


def _references(links: Mapping[str, DocumentLink], resource: str, first: int) -> Iterator[str]:
    coded = ((name, code, found.link) for name, found in links.items() if found.link for code in _codes(found))
    for number, (name, code, link) in enumerate(coded, start=first):
        titles = {candidate.code: candidate.title for candidate in link.candidates} | {link.code: link.title}
        title = " ".join((titles.get(code) or link.description or "").split())
        yield f"N{number}\tReference {name} {resource}:{code}\t{title}"


def _codes(found: DocumentLink) -> tuple[str, ...]:
    return found.link.codes if found.link is not None else ()
