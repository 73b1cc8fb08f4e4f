"""Linking over HTTP: what is answered, and what is refused beside what is answered."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from cielo import Linker, LinkOptions, Mention
from served import TC, Served, serving

SCORES = ("log_prob", "confidence", "probability", "margin", "distance")


def links_of(answer: Any) -> list[Any]:
    return [result["link"] for result in answer.json()["results"]]


def same(found: dict[str, Any], alone: dict[str, Any]) -> bool:
    """Tell whether a link is another, scores within the tolerance of float rounding."""
    near = all(found[name] == pytest.approx(alone[name], abs=1e-3) for name in SCORES)
    return near and all(found[name] == alone[name] for name in ("code", "codes", "method", "description", "generated"))


def test_a_link_is_the_linker_s_own(served: Served) -> None:
    options = {"top_k": 3, "neighbours": "always"}
    mentions = [TC, {"text": "tos"}, {"text": "fiebre", "kind": "diagnosis", "id": "f"}]
    answer = served.link(*mentions, options=options)
    assert answer.status_code == 200
    with Linker.open() as linker:
        expected = linker.link([Mention(**mention) for mention in mentions], LinkOptions(**options))
        assert answer.json()["bundle"] == linker.bundle.to_dict()
    assert all(
        same(found, json.loads(json.dumps(link.to_dict())))
        for found, link in zip(links_of(answer), expected, strict=True)
    )
    assert set(links_of(answer)[0]) == set(expected[0].to_dict())
    assert [result["id"] for result in answer.json()["results"]] == [None, None, "f"]
    assert [link["id"] for link in links_of(answer)] == [None, None, "f"]


def test_a_bad_mention_is_named_and_its_neighbours_are_answered(served: Served) -> None:
    bad = [
        {"text": "", "id": "a"},
        {"text": 3},
        {"texto": "tos"},
        "tos",
        None,
        {"text": "tos", "kind": "drug"},
        {"text": "x" * 501},
    ]
    answer = served.link(*bad, TC)
    assert answer.status_code == 200
    assert links_of(answer)[:-1] == [None] * len(bad)
    assert links_of(answer)[-1]["code"] == "BW20"
    errors = [result["error"] for result in answer.json()["results"]][:-1]
    assert [error["field"] for error in errors] == [
        "mentions[0].text", "mentions[1].text", "mentions[2].text", "mentions[3]", "mentions[4]", "mentions[5].kind",
        "mentions[6].text",
    ]  # fmt: skip
    assert [error["code"] for error in errors] == ["invalid"] * 6 + ["too_large"]
    assert answer.json()["results"][0]["id"] == "a"


@pytest.mark.parametrize(
    ("body", "status", "code", "field"),
    [
        (b"", 400, "bad_request", None),
        (b"{", 400, "bad_request", None),
        (b"\xff\xfe", 400, "bad_request", None),
        (b"[" * 100_000, 400, "bad_request", None),
        (b'{"mentions": [], "mentions": []}', 400, "bad_request", None),
        (b"[]", 422, "invalid", None),
        (b"{}", 422, "invalid", "mentions"),
        (b'{"mentions": []}', 422, "invalid", "mentions"),
        (b'{"mentions": {"text": "tos"}}', 422, "invalid", "mentions"),
        (b'{"mentions": [{"text": "tos"}], "options": {"top_k": 0}}', 422, "invalid", "options"),
        (b'{"mentions": [{"text": "tos"}], "options": {"topk": 1}}', 422, "invalid", "options"),
        (b'{"mentions": [{"text": "tos"}], "options": {"decoding": "x"}}', 422, "invalid", "options.decoding"),
        (b'{"mentions": [{"text": "a"}], "options": {"min_confidence": 1, "rerank": true}}', 422, "invalid", "options"),
        (b'{"mentions": [{"text": "tos"}], "deadline": -1}', 422, "invalid", "deadline"),
        (b'{"mentions": [{"text": "tos"}], "deadline": NaN}', 422, "invalid", "deadline"),
        (b'{"mentions": [{"text": "tos"}], "more": 1}', 422, "invalid", None),
        (b'{"mentions": [{"text": "\\ud800"}]}', 422, "invalid", "mentions[0].text"),
        (b'{"mentions": [' + b'{"text": "tos"},' * 40 + b'{"text": "tos"}]}', 413, "too_large", "mentions"),
        (b'{"mentions": [{"text": "' + b"x" * 300_000 + b'"}]}', 413, "too_large", None),
    ],
)  # fmt: skip
def test_a_bad_request_is_refused(served: Served, body: bytes, status: int, code: str, field: str | None) -> None:
    with served.client as client:
        headers = {"content-type": "application/json", "x-request-id": "r1"}
        answer = client.post("/v1/link", content=body, headers=headers)
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["field"], error["request_id"]) == (status, code, field, "r1")


def test_half_a_surrogate_pair_is_one_mention_s_fault(served: Served) -> None:
    with served.client as client:
        body = b'{"mentions": [{"text": "\\ud800"}, {"text": "tos"}]}'
        answer = client.post("/v1/link", content=body, headers={"content-type": "application/json"}).json()["results"]
    assert (answer[0]["error"]["field"], answer[1]["link"]["code"]) == ("mentions[0].text", "R05")


def test_another_media_type_is_refused(served: Served) -> None:
    # A form or plain text is what a foreign page's script could send without asking.
    with served.client as client:
        for kind in ("text/plain", "application/x-www-form-urlencoded", ""):
            assert client.post("/v1/link", content=b"{}", headers={"content-type": kind}).status_code == 415


def test_unknown_addresses_and_methods(served: Served) -> None:
    assert served.get("/v1/nothing").json()["error"]["code"] == "not_found"
    assert served.get("/livez/").status_code == 404
    answer = served.get("/v1/link")
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")
    assert answer.json()["error"]["code"] == "method_not_allowed"


def test_a_deadline_that_passed_is_said(served: Served) -> None:
    answer = served.link(*[{"text": f"dolor número {number} del costado"} for number in range(40)], deadline=0.001)
    assert (answer.status_code, answer.json()["error"]["code"]) == (504, "deadline")


def test_timings_and_headers(served: Served) -> None:
    answer = served.link(TC)
    stages = dict(part.split(";dur=") for part in answer.headers["server-timing"].split(", "))
    assert set(stages) == {"queue", "tokenize", "generate", "match", "embed", "search", "rerank"}
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert "access-control-allow-origin" not in answer.headers
    assert "server" not in answer.headers


def test_a_stream_is_answered_line_by_line(served: Served) -> None:
    lines = [json.dumps({"text": f"tos {number}", "id": str(number)}) for number in range(150)]
    lines[3], lines[90] = "{", json.dumps({"text": ""})
    with served.client as client:
        answer = client.post("/v1/link/stream?top_k=1&lexicon=false", content="\n".join(lines) + "\n",
                             headers={"content-type": "application/x-ndjson"})  # fmt: skip
    results = [json.loads(line) for line in answer.text.splitlines()]
    assert [result["index"] for result in results] == list(range(150))
    wrong = {result["index"]: result["error"]["code"] for result in results if result["link"] is None}
    assert wrong == {3: "bad_request", 90: "invalid"}
    assert all(len(result["link"]["candidates"]) == 1 for result in results if result["link"])
    assert [result["id"] for result in results if result["link"]][:4] == ["0", "1", "2", "4"]


@pytest.mark.parametrize("query", ["top_k=x", "topk=1", "top_k=1&top_k=2", "subset=x", "decoding=best"])
def test_a_bad_query_of_a_stream_is_refused(served: Served, query: str) -> None:
    with served.client as client:
        headers = {"content-type": "application/x-ndjson"}
        assert client.post(f"/v1/link/stream?{query}", content=b'{"text": "tos"}', headers=headers).status_code == 422


def test_a_document(served: Served) -> None:
    text = "🩺 Paciente con HTA. Refiere tos."
    spans: list[dict[str, Any]] = [
        {"start": 15, "end": 18, "id": "h", "text": "HTA"},
        {"fragments": [[28, 31]], "kind": "diagnosis"},
        {"start": 0, "end": 99},
        {"start": 3},
        {"start": 15, "end": 18, "text": "otra"},
    ]
    with served.client as client:
        answer = client.post("/v1/documents", json={"text": text, "spans": spans}).json()["results"]
    assert [(row["link"] or {}).get("code") for row in answer] == ["I10", "R05", None, None, None]
    assert (answer[0]["mention"], answer[0]["sentence"], answer[0]["spans"], answer[0]["id"]) == (
        "HTA",
        [0, 19],
        [[15, 18]],
        "h",
    )
    assert [row["error"]["field"] for row in answer[2:]] == ["spans[2]", "spans[3]", "spans[4]"]


def test_what_operators_ask(served: Served) -> None:
    info = served.get("/v1/info").json()
    assert (info["bundle"]["name"], info["limits"]["mentions"], info["keys"]) == ("mini", 40, False)
    assert info["kinds"].keys() == {"diagnosis", "procedure"}
    assert served.get("/livez").text == "ok\n"
    assert served.get("/readyz").text == "ok\n"
    assert served.metric("cielo_worker_up") == 1
    assert served.metric("cielo_memory_bytes") > 50e6
    assert served.metric("cielo_queue_tokens") == 0


def test_a_foreign_name_is_refused(served: Served) -> None:
    # Else a page elsewhere, whose name was made to mean this machine, could ask with the reader's browser.
    assert served.get("/v1/info", headers={"host": "evil.example"}).status_code == 400
    port = served.url.rpartition(":")[2]
    assert served.get("/v1/info", headers={"host": f"localhost:{port}"}).status_code == 200
    assert served.get("/v1/info", headers={"host": "[::1]:80"}).status_code == 200


def test_one_mention_and_many_have_the_backend_that_is_fastest_for_them(tmp_path: Path) -> None:
    with serving(tmp_path, "--decoding", "probable") as both:
        assert both.get("/v1/info").json()["backends"] == {"single": "onnx", "bulk": "ctranslate2"}
        alone, many = links_of(both.link(TC)), links_of(both.link(TC, {"text": "tos"}, {"text": "fiebre"}))
    assert [link["provenance"]["backend"] for link in (*alone, *many)] == ["onnx", *["ctranslate2"] * 3]
    assert alone[0]["code"] == many[0]["code"] == "BW20"
    with serving(tmp_path, "--decoding", "probable", "--use", "bulk") as bulk:
        assert bulk.get("/v1/info").json()["backends"] == {"single": "ctranslate2", "bulk": "ctranslate2"}
