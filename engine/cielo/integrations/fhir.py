"""FHIR R4 (https://hl7.org/fhir/R4/): the links of a document as conditions and procedures that nobody has confirmed.

The addresses of the code systems are those that the knowledge base names, or the caller: none is invented.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Literal
from uuid import uuid4

from cielo.errors import OptionError
from cielo.knowledge.records import CodeSystem
from cielo.link.document_links import DocumentLink
from cielo.machine import library_versions
from cielo.records import Json, Link, Provenance

ResourceType = Literal["Condition", "Procedure"]
RESOURCE_TYPES: Mapping[str, ResourceType] = {"diagnosis": "Condition", "procedure": "Procedure"}
"""Which resource the codes of a kind become."""
_VERIFICATION = "http://terminology.hl7.org/CodeSystem/condition-ver-status"
_Resource = dict[str, Json]


def bundle_of(
    found: Iterable[DocumentLink],
    code_systems: Mapping[str, CodeSystem],
    *,
    subject: str,
    source: str | None = None,
    resource_types: Mapping[str, ResourceType] = RESOURCE_TYPES,
    recorded: datetime | None = None,
) -> _Resource:
    """Return a document's links as a Bundle (`collection`) of Condition, Procedure, Provenance and Device.

    A condition's `verificationStatus` is unconfirmed; a procedure, which has none in R4, has the status unknown.
    Both have the mention as `code.text`, and each code of the description as a coding that no user selected, the
    link's own first. Of the others those are written that stand among the link's candidates as codes of its kind,
    since a code of another kind has another system. Mentions without a code are left out. For each way of linking
    there is one Device and one Provenance, which points to what it made.

    Args:
        found: as `Linker.link_document` gives it.
        code_systems: of each kind, as `Linker.knowledge_base.code_systems` or `parse_code_systems` gives them.
        subject: the reference to the patient, such as ``Patient/1``.
        source: the reference to the document, such as ``DocumentReference/7``; None: it is not said.
        resource_types: which resource the codes of a kind become.
        recorded: when, with its time zone; default: now.

    Raises:
        OptionError: where a code is of a kind whose code system or resource type is not named, the subject is empty,
            or the time has no time zone.
    """
    when = recorded or datetime.now(UTC)
    if when.tzinfo is None:
        raise OptionError("got a time without its time zone; give an aware datetime")
    if not subject.strip():
        raise OptionError("got an empty subject, expected a reference to a patient such as Patient/1")
    entries: list[Json] = []
    made: dict[Provenance, list[str]] = {}
    for entry in found:
        if entry.link is not None and entry.link.code is not None:
            resource = _clinical(entry, entry.link, code_systems, resource_types, subject)
            made.setdefault(entry.link.provenance, []).append(_add(entries, resource))
    for provenance, targets in made.items():
        device = _add(entries, _device(provenance))
        _add(entries, _provenance(targets, device, source, when))
    return {"resourceType": "Bundle", "type": "collection", "timestamp": when.isoformat(), "entry": entries}


def _add(entries: list[Json], resource: _Resource) -> str:
    """Add a resource to a bundle's entries, and return its address."""
    address = f"urn:uuid:{uuid4()}"
    entries.append({"fullUrl": address, "resource": resource})
    return address


def _clinical(
    entry: DocumentLink,
    link: Link,
    code_systems: Mapping[str, CodeSystem],
    resource_types: Mapping[str, ResourceType],
    subject: str,
) -> _Resource:
    kind = link.kind or ""
    if kind not in resource_types:
        raise OptionError(
            f"got a code of the kind {kind!r}, expected one of {', '.join(resource_types)}; name its type"
        )
    if kind not in code_systems:
        raise OptionError(
            f"the address of the code system of the kind {kind!r} is not known, and is not invented; name it when the "
            "knowledge base is built (--code-system KIND=URL), or give it here"
        )
    resource: _Resource = {
        "resourceType": resource_types[kind],
        "code": {"coding": list(_codings(link, code_systems[kind])), "text": entry.text},
        "subject": {"reference": subject},
    }
    if resource_types[kind] == "Condition":
        resource["verificationStatus"] = {"coding": [{"system": _VERIFICATION, "code": "unconfirmed"}]}
    else:
        resource["status"] = "unknown"
    return resource


def _codings(link: Link, system: CodeSystem) -> Iterator[Json]:
    titles: dict[str | None, str | None] = {link.code: link.title}
    titles |= {candidate.code: candidate.title for candidate in link.candidates if candidate.kind == link.kind}
    for code in (code for code in link.codes if code in titles):
        coding: _Resource = {"system": system.url, "code": code, "userSelected": False}
        if system.version is not None:
            coding["version"] = system.version
        if title := " ".join((titles.get(code) or "").split()):
            coding["display"] = title
        yield coding


def _device(provenance: Provenance) -> _Resource:
    bundle = provenance.bundle
    how = f"{provenance.decoding}, pipeline {provenance.pipeline}, {provenance.compute_type} on {provenance.device}"
    return {
        "resourceType": "Device",
        "deviceName": [{"name": "cielo", "type": "model-name"}],
        "modelNumber": f"{bundle.name}@{bundle.sha256}",
        "version": [{"value": library_versions().get("cielo", "unknown")}],
        "note": [{"text": f"{bundle.edition}; {provenance.backend}, {how}"}],
    }


def _provenance(targets: Iterable[str], device: str, source: str | None, when: datetime) -> _Resource:
    resource: _Resource = {
        "resourceType": "Provenance",
        "target": [{"reference": target} for target in targets],
        "recorded": when.isoformat(),
        "agent": [{"who": {"reference": device}}],
    }
    if source is not None:
        resource["entity"] = [{"role": "source", "what": {"reference": source}}]
    return resource
