"""The description of the routes, and the routes held to it by schemathesis."""

from __future__ import annotations

import json
import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import pytest
from cielo.server import app, openapi
from cielo.server.settings import ServeSettings
from served import TC, Served


def description(served: Served) -> dict[str, Any]:
    found: dict[str, Any] = served.get("/v1/openapi.json").json()
    return found


def test_every_route_is_described(served: Served) -> None:
    found = description(served)
    answered = {path for path in found["paths"] if "{" not in path}
    assert all(served.get(path).status_code != 404 for path in answered)
    assert {
        "/v1/link",
        "/v1/link/stream",
        "/v1/documents",
        "/v1/concepts/{code}",
        "/fhir/metadata",
        "/api/process",
    } <= set(found["paths"])
    fields = set(found["components"]["schemas"]["Link"]["properties"])
    assert fields == set(served.link(TC).json()["results"][0]["link"])


def test_paths_and_methods_are_those_of_the_routes() -> None:
    base = SimpleNamespace(kinds=(), concepts={})
    service: Any = SimpleNamespace(settings=ServeSettings(), knowledge_base=base, code_systems={})
    routes = [route for part in app.PARTS for route in part.routes(service)]
    described = {
        (path, method) for path, methods in openapi.document(routes, keys=False)["paths"].items() for method in methods
    }
    served = {(route.path, method.lower()) for route in routes for method in (route.methods or set()) - {"HEAD"}}
    assert described == served | {(openapi.PATH, "get")}
    assert {path for path, _ in described} == set(openapi._operations())


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["positive", "negative"])
def test_the_routes_answer_as_described(served: Served, mode: str) -> None:
    pytest.importorskip("schemathesis")
    checks = "status_code_conformance,content_type_conformance,response_schema_conformance"
    command = [sys.executable, "-m", "schemathesis.cli", "run", f"{served.url}/v1/openapi.json", "--mode", mode]
    # Its serializers do not know NDJSON; `test_linking_routes.py` asks that address.
    command += ["--exclude-path", "/v1/link/stream"]
    command += ["--checks", checks, "--max-examples", "60", "--seed", "1", "--no-color"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    assert [line for line in served.events("request") if line["status"] == 500] == []
    assert json.dumps(served.link(TC).json()).count("BW20")
