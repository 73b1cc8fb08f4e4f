"""BRAT's standoff annotations (https://brat.nlplab.org/standoff.html), with the codes written back as references.

``N1\tReference T1 CIE10ES:I10\tHipertensión esencial``: the code of the text-bound annotation ``T1``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from cielo.errors import MentionError, OptionError
from cielo.link.document_links import DocumentLink
from cielo.link.linker import Linker
from cielo.options import LinkOptions
from cielo.workbench.evaluation.corpora.codiesp import fragments_of

RESOURCE = "CIE10ES"
_RESOURCE = re.compile(r"[^\s:]+")
_TEXT_BOUND = re.compile(r"(T\d+)\t(\S+) ([^\t]*)(?:\t(.*))?")
_REFERENCE = re.compile(r"N(\d+)\tReference (\S+) ([^\s:]+):\S*(?:\t.*)?")
_NUMBERED = re.compile(r"N(\d+)\t")


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


@dataclass(frozen=True, slots=True)
class _Marked:
    name: str
    type: str
    fragments: tuple[tuple[int, int], ...]
    text: str | None


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
    if not _RESOURCE.fullmatch(resource):
        raise OptionError(f"got the resource {resource!r}, expected a name without white space and colons")
    lines = annotations.split("\n")
    marked, problems = _read(lines, kinds)
    found = linker.link_document(
        text,
        [entry.fragments for entry in marked],
        kinds=[kinds[entry.type] if kinds else None for entry in marked],
        texts=[entry.text for entry in marked],
        options=options,
    )
    links = {entry.name: link for entry, link in zip(marked, found, strict=True) if link.link is not None}
    problems += [f"{entry.name}: {link.error}" for entry, link in zip(marked, found, strict=True) if link.error]
    return Referenced(_written(lines, links, resource), links, tuple(problems))


def _read(lines: Sequence[str], kinds: Mapping[str, str] | None) -> tuple[list[_Marked], list[str]]:
    marked: dict[str, _Marked] = {}
    problems: list[str] = []
    for number, line in enumerate(lines, start=1):
        if not line.startswith("T"):
            continue
        found = _TEXT_BOUND.fullmatch(line.removesuffix("\r"))
        if found and kinds and found[2] not in kinds:
            continue
        if found and found[1] in marked:
            problems.append(f"line {number}: {found[1]} stands there twice; the first one counts")
            continue
        try:
            fragments = fragments_of(found[3] if found else "")
        except MentionError as error:
            problems.append(f"line {number}: {error}")
            continue
        if found:
            marked[found[1]] = _Marked(found[1], found[2], fragments, found[4])
    return list(marked.values()), problems


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
