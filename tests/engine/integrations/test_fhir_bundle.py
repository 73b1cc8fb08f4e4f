from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from cielo import DocumentLink, Linker, OptionError
from cielo.integrations.fhir import bundle_of
from cielo.knowledge.code_systems import parse_code_systems

TEXT = "La TC abdominal es normal. Refiere tos seca."
SYSTEMS = parse_code_systems(
    ["diagnosis=https://ejemplo.es/diagnosticos|2024", "procedure=https://ejemplo.es/procedimientos"],
    ["diagnosis", "procedure"],
)


@pytest.fixture(scope="module")
def found(linker: Linker) -> list[DocumentLink]:
    return linker.link_document(TEXT, [(3, 15), (35, 38), (90, 99)], kinds=["procedure", "diagnosis", None])


def test_a_bundle_holds_to_the_published_schema(found: list[DocumentLink]) -> None:
    schema = pytest.importorskip("fhir.resources.R4B.bundle")
    made = bundle_of(found, SYSTEMS, subject="Patient/1", source="DocumentReference/7")
    read = schema.Bundle.model_validate_json(json.dumps(made))
    resources = [entry.resource for entry in read.entry]
    procedure, condition, device, provenance = resources
    assert [type(resource).__name__ for resource in resources] == ["Procedure", "Condition", "Device", "Provenance"]
    assert (procedure.status, procedure.code.text) == ("unknown", "TC abdominal")
    assert condition.verificationStatus.coding[0].code == "unconfirmed"
    coding = condition.code.coding[0]
    assert (coding.system, coding.version, coding.code) == ("https://ejemplo.es/diagnosticos", "2024", "R05")
    assert procedure.code.coding[0].version is None
    assert {target.reference for target in provenance.target} == {entry.fullUrl for entry in read.entry[:2]}
    assert provenance.agent[0].who.reference == read.entry[2].fullUrl
    assert found[0].link is not None and found[0].link.provenance.bundle.sha256 in device.modelNumber


def test_the_schema_would_find_a_fault(found: list[DocumentLink]) -> None:
    schema = pytest.importorskip("fhir.resources.R4B.bundle")
    made = json.loads(json.dumps(bundle_of(found, SYSTEMS, subject="Patient/1")))
    del made["entry"][0]["resource"]["status"]
    with pytest.raises(ValueError, match="status"):
        schema.Bundle.model_validate(made)


def test_codes_that_share_a_description_are_codings_of_one_concept(found: list[DocumentLink]) -> None:
    link = found[1].link
    assert link is not None
    same = replace(link.candidates[0], code="R05X", title="Otra tos")
    another_kind = replace(link.candidates[0], code="0XX", kind="procedure")
    shared = replace(link, codes=("R05", "R05X", "0XX", "R05Z"), candidates=(*link.candidates, same, another_kind))
    made = json.loads(json.dumps(bundle_of([replace(found[1], link=shared)], SYSTEMS, subject="Patient/1")))
    codings = made["entry"][0]["resource"]["code"]["coding"]
    assert [(coding["code"], coding["display"]) for coding in codings] == [("R05", link.title), ("R05X", "Otra tos")]
    schema = pytest.importorskip("fhir.resources.R4B.bundle")
    schema.Bundle.model_validate(made)


def test_no_address_is_invented(found: list[DocumentLink], linker: Linker) -> None:
    with pytest.raises(OptionError, match="not invented"):
        bundle_of(found, linker.knowledge_base.code_systems, subject="Patient/1")


def test_a_kind_without_a_resource_is_refused(found: list[DocumentLink]) -> None:
    with pytest.raises(OptionError, match="'procedure'"):
        bundle_of(found, SYSTEMS, subject="Patient/1", resource_types={"diagnosis": "Condition"})


def test_a_time_needs_its_zone_and_a_bundle_its_subject(found: list[DocumentLink]) -> None:
    with pytest.raises(OptionError, match="time zone"):
        bundle_of(found, SYSTEMS, subject="Patient/1", recorded=datetime(2026, 1, 1))
    with pytest.raises(OptionError, match="subject"):
        bundle_of(found, SYSTEMS, subject=" ", recorded=datetime(2026, 1, 1, tzinfo=UTC))
