"""Codes looked up over HTTP: our own routes, FHIR's and MedCAT's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from cielo import Linker
from fhir.resources.R4B import get_fhir_model_class
from served import SYSTEM, Served, serving

SETS = f"{SYSTEM}?fhir_vs"


def test_a_code_has_its_place(served: Served) -> None:
    with Linker.open() as linker:
        details = linker.knowledge_base.show("E87.0")
        assert details is not None
    found = served.get("/v1/concepts/E870").json()
    assert (found["code"], found["title"], found["chapter"]) == (details.code, details.title, details.chapter)
    assert found["ancestors"] == [list(ancestor) for ancestor in details.ancestors]


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/v1/concepts/ZZZ", 404),
        ("/v1/concepts/I10?kind=procedure", 404),
        ("/v1/concepts/I10?kind=drug", 422),
        ("/v1/concepts/%00", 404),
        ("/v1/concepts/" + "I" * 5000, 404),
        ("/v1/concepts", 422),
        ("/v1/concepts?query=%20", 422),
        ("/v1/concepts?query=asma&limit=0", 422),
        ("/v1/concepts?query=asma&limit=²", 422),
        ("/v1/concepts?query=%22%27*(", 200),
    ],
)
def test_what_is_not_there(served: Served, path: str, status: int) -> None:
    assert served.get(path).status_code == status


def test_a_search(served: Served) -> None:
    found = served.get("/v1/concepts", params={"query": "hipertension", "limit": 3}).json()
    assert (len(found["found"]), found["total"] > 3) == (3, True)
    assert all("ipertensi" in row["title"] for row in found["found"])


def resource(served: Served, path: str, status: int = 200, **query: Any) -> dict[str, Any]:
    """Return a resource of FHIR, checked against its published structure."""
    answer = served.get(path, params=query)
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/fhir+json")
    content: dict[str, Any] = answer.json()
    get_fhir_model_class(content["resourceType"]).model_validate(content)
    return content


def values(parameters: dict[str, Any]) -> dict[str, Any]:
    return {
        one["name"]: next((v for k, v in one.items() if k.startswith("value")), None) for one in parameters["parameter"]
    }


def test_fhir_says_what_it_can_do(served: Served) -> None:
    assert resource(served, "/fhir/metadata")["fhirVersion"] == "4.0.1"
    systems = resource(served, "/fhir/metadata", mode="terminology")["codeSystem"]
    assert systems == [{"uri": SYSTEM, "version": [{"code": "2024"}]}]
    listed = resource(served, "/fhir/CodeSystem", url=SYSTEM)
    assert (listed["total"], listed["entry"][0]["resource"]["valueSet"]) == (1, SETS)
    assert resource(served, "/fhir/CodeSystem", url="urn:x:y")["total"] == 0


def test_fhir_looks_codes_up(served: Served) -> None:
    found = values(resource(served, "/fhir/CodeSystem/$lookup", system=SYSTEM, code="E87.0"))
    assert found["version"] == "2024"
    assert found["display"] == served.get("/v1/concepts/E87.0").json()["title"]
    right = values(
        resource(served, "/fhir/CodeSystem/$validate-code", url=SYSTEM, code="E870", display=found["display"].upper())
    )
    assert right["result"] is True
    for query in ({"code": "E87.0", "display": "asma"}, {"code": "E87.00000"}, {"code": "BW20"}):
        assert values(resource(served, "/fhir/CodeSystem/$validate-code", url=SYSTEM, **query))["result"] is False
    assert values(resource(served, "/fhir/ValueSet/$validate-code", url=SETS, code="J45"))["result"] is True


def test_fhir_expands_page_by_page(served: Served) -> None:
    whole = resource(served, "/fhir/ValueSet/$expand", url=SETS, filter="asma")["expansion"]
    assert whole["total"] == len(whole["contains"]) > 1
    second = resource(served, "/fhir/ValueSet/$expand", url=SETS, filter="asma", count=1, offset=1)["expansion"]
    assert second["contains"] == whole["contains"][1:2]
    every = resource(served, "/fhir/ValueSet/$expand", url=SETS, count=2)["expansion"]
    assert every["total"] == served.get("/v1/info").json()["kinds"]["diagnosis"]
    assert "contains" not in resource(served, "/fhir/ValueSet/$expand", url=SETS, count=0)["expansion"]


def test_fhir_takes_parameters_as_a_resource(served: Served) -> None:
    coding = {"name": "coding", "valueCoding": {"system": SYSTEM, "code": "J45"}}
    with served.client as client:
        answer = client.post("/fhir/CodeSystem/$lookup", json={"resourceType": "Parameters", "parameter": [coding]})
        assert values(answer.json())["display"]
        concept = {"name": "codeableConcept", "valueCodeableConcept": {"coding": [coding["valueCoding"]]}}
        body = {"resourceType": "Parameters", "parameter": [concept]}
        assert values(client.post("/fhir/CodeSystem/$validate-code", json=body).json())["result"] is True
        assert client.delete("/fhir/metadata").json()["resourceType"] == "OperationOutcome"
        for wrong in ("[]", "{", '{"resourceType": "Patient"}', '{"resourceType": "Parameters", "parameter": 3}'):
            bad = client.post("/fhir/CodeSystem/$lookup", content=wrong)
            assert (bad.status_code in (400, 422), bad.json()["resourceType"]) == (True, "OperationOutcome")


@pytest.mark.parametrize(
    ("path", "query", "status"),
    [
        ("/fhir/CodeSystem/$lookup", {"system": SYSTEM}, 422),
        ("/fhir/CodeSystem/$lookup", {"code": "J45"}, 422),
        ("/fhir/CodeSystem/$lookup", {"system": SYSTEM, "code": "ZZZ"}, 404),
        ("/fhir/CodeSystem/$lookup", {"system": f"{SYSTEM}|1999", "code": "J45"}, 404),
        ("/fhir/CodeSystem/$lookup", {"system": "urn:x:y", "code": "J45"}, 404),
        ("/fhir/CodeSystem/$lookup", {"system": SYSTEM, "code": "J45", "version": "1999"}, 404),
        ("/fhir/CodeSystem/$validate-code", {"url": SYSTEM, "code": "J45", "version": "1999"}, 404),
        ("/fhir/ValueSet/$validate-code", {"system": SYSTEM, "code": "J45", "systemVersion": "1999"}, 404),
        ("/fhir/ValueSet/$validate-code", {"url": "urn:x:y", "system": SYSTEM, "code": "J45"}, 404),
        ("/fhir/ValueSet/$validate-code", {"url": SETS, "system": "urn:x:y", "code": "J45"}, 404),
        ("/fhir/Patient", {}, 404),
        ("/fhir", {}, 404),
        ("/fhir/ValueSet/$expand", {"url": SYSTEM}, 404),
        ("/fhir/ValueSet/$expand", {"url": SETS, "count": "-1"}, 422),
        ("/fhir/ValueSet/$expand", {"url": SETS, "filter": "x" * 999}, 422),
    ],
)
def test_fhir_s_errors_are_outcomes(served: Served, path: str, query: dict[str, str], status: int) -> None:
    assert resource(served, path, status, **query)["resourceType"] == "OperationOutcome"


def test_without_an_address_none_is_invented(tmp_path: Path) -> None:
    with serving(tmp_path) as plain:
        found = resource(plain, "/fhir/CodeSystem/$lookup", 404, system=SYSTEM, code="J45")
        assert "--code-system" in found["issue"][0]["diagnostics"]
        assert "codeSystem" not in resource(plain, "/fhir/metadata", mode="terminology")


def process(served: Served, content: Any, path: str = "/api/process") -> Any:
    with served.client as client:
        return client.post(path, json={"content": content})


def test_medcat_s_shape(served: Served) -> None:
    text = "Paciente con HTA y tos."
    entities = [{"start": 13, "end": 16, "cui": "x"}, {"start": 19, "end": 22}, {"start": 0, "end": 99}]
    answer = process(served, {"text": text, "entities": entities, "footer": {"doc": 7}}).json()
    result = answer["result"]
    assert (result["text"], result["success"], result["footer"]) == (text, True, {"doc": 7})
    assert {number: row["cui"] for number, row in result["annotations"].items()} == {"0": "I10", "1": "R05"}
    first = result["annotations"]["0"]
    assert (first["start"], first["end"], first["source_value"], first["icd10"]) == (13, 16, "HTA", ["I10"])
    assert len(result["errors"]) == 1
    assert answer["medcat_info"] == served.get("/api/info").json()


def test_medcat_s_bulk_and_what_it_refuses(served: Served) -> None:
    documents = [{"text": "HTA"}, {"text": ""}, {"x": 1}, {"text": "x " * 200}, 3]
    rows = process(served, documents, "/api/process_bulk").json()["result"]
    assert [row["success"] for row in rows] == [True, True, False, False, False]
    assert (rows[0]["annotations"]["0"]["cui"], rows[1]["annotations"]) == ("I10", [])
    assert process(served, None).status_code == 400
    assert process(served, {"text": "HTA"}, "/api/process_bulk").status_code == 422
    with served.client as client:
        body = b'{"content": {"text": "\\ud800", "footer": "\\ud800"}}'
        assert (
            client.post("/api/process", content=body, headers={"content-type": "application/json"}).status_code == 400
        )
