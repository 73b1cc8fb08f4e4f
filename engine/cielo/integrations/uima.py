"""A UIMA CAS (https://www.omg.org/spec/XMI/) by dkpro-cassis: annotations get their codes as a feature."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from cielo.errors import MentionError, OptionError
from cielo.extras import require
from cielo.link.document_links import DocumentLink
from cielo.link.linker import Linker
from cielo.options import LinkOptions

_STRING = "uima.cas.String"
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
# Without its declaration an XML text is UTF-8, which it becomes here, whatever it was before.
_DECLARATION = re.compile(r"\A\ufeff?\s*<\?xml\s.*?\?>", re.DOTALL)
_DOCUMENT_TYPE = "<!DOCTYPE"


@dataclass(frozen=True, slots=True)
class CodedCas:
    """A CAS with codes.

    Attributes:
        xmi: as XMI.
        typesystem: of it, as XML: the one that was given, with the feature.
        links: of each annotation that was linked, by its ``xmi:id``; a link has all codes that share its description.
        problems: which annotations could not be linked, by their ``xmi:id``, and why.
    """

    xmi: str
    typesystem: str
    links: Mapping[int, DocumentLink]
    problems: tuple[str, ...] = ()


def add_codes(
    xmi: str,
    typesystem: str,
    linker: Linker,
    options: LinkOptions | None = None,
    *,
    types: Mapping[str, str | None],
    feature: str = "code",
) -> CodedCas:
    """Link the annotations of some types in every view that has a text, and write the first code of each as a feature.

    The feature is added to the types that lack it, a string; what it held is replaced where the annotation was linked,
    and emptied where no code was found. Offsets are UTF-16 units, as in UIMA; one that splits a character is moved to
    its end by dkpro-cassis.

    Args:
        xmi: the CAS.
        typesystem: of it, as XML.
        linker: that finds the codes.
        options: how; default: `LinkOptions()`.
        types: the annotations' types with their full names, and the kind of codes for each; None: of any kind. The
            types below one of them are taken too, with its kind unless they are named.
        feature: that gets the code.

    Raises:
        CieloError: where dkpro-cassis is not installed.
        OptionError: where a type is not there or has the feature as something else than a string, the feature's name
            is none, or an option does not fit.
        MentionError: where the CAS or its type system cannot be read.
    """
    cassis = require("cassis", "uima", "a UIMA CAS")
    if not _NAME.fullmatch(feature):
        raise OptionError(f"got the feature {feature!r}, expected letters, digits and underscores")
    known = _read(cassis.load_typesystem, typesystem, "type system")
    for name in types:
        _add_feature(known, name, feature)
    cas = _read(lambda text: cassis.load_cas_from_xmi(text, typesystem=known), xmi, "CAS")
    links: dict[int, DocumentLink] = {}
    problems: list[str] = []
    for view in (cas.get_view(sofa.sofaID) for sofa in cas.sofas if sofa.sofaString):
        for annotation, found in _linked(view, linker, options, types):
            if found.link is None:
                problems.append(f"{annotation.xmiID}: {found.error}")
            else:
                links[annotation.xmiID] = found
                setattr(annotation, feature, found.link.code)
    return CodedCas(cas.to_xmi(), known.to_xml(), links, tuple(problems))


def _read(load: Any, text: str, what: str) -> Any:
    plain = _DECLARATION.sub("", text)
    if _DOCUMENT_TYPE in plain:
        raise MentionError(f"the {what} has a document type, whose entities are not read; leave it out")
    try:
        return load(plain)
    except Exception as error:  # whatever the library stumbles over; its words can hold the document's
        raise MentionError(f"the {what} cannot be read ({type(error).__name__}); give UIMA's XML") from error


def _add_feature(known: Any, name: str, feature: str) -> None:
    if not known.contains_type(name):
        raise OptionError(f"got the type {name!r}, which the type system does not have; give a full name")
    there = known.get_type(name).get_feature(feature)
    if there is None:
        known.create_feature(name, feature, _STRING)
    elif there.rangeType.name != _STRING:
        raise OptionError(f"the feature {feature!r} of {name!r} is a {there.rangeType.name}, expected {_STRING}")


def _linked(
    view: Any, linker: Linker, options: LinkOptions | None, types: Mapping[str, str | None]
) -> Iterator[tuple[Any, DocumentLink]]:
    chosen = {
        annotation.xmiID: (annotation, types.get(annotation.type.name, kind))
        for name, kind in types.items()
        for annotation in view.select(name)
    }
    marked = [annotation for annotation, _ in chosen.values()]
    found = linker.link_document(
        view.sofa_string,
        [(annotation.begin, annotation.end) for annotation in marked],
        kinds=[kind for _, kind in chosen.values()],
        options=options,
    )
    return zip(marked, found, strict=True)
