"""The client, on a real server and on one that is made up."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from cielo import Link, LinkOptions, Mention, Subset
from cielo.client import AsyncClient, Client, ConnectionFailedError, LinkError, ServerError
from cielo.client.exchanges import Patience
from cielo.wire import SpanRequest
from served import Served, serving

TC = Mention("TC abdominal", "La TC abdominal es normal.", id="a")
SPANS = [SpanRequest(13, 16), SpanRequest(fragments=((0, 99),))]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("client"), "--max-mentions", "3") as one:
        yield one


def code(outcome: Link | LinkError) -> str | None:
    assert isinstance(outcome, Link)
    return outcome.code


def test_more_mentions_than_the_server_takes_at_once(served: Served) -> None:
    mentions = [TC, Mention("tos"), Mention("tos", kind="drug", id="x"), Mention("fiebre"), Mention("tos", kind="drug")]
    with Client(served.url) as client:
        found = client.link(mentions, LinkOptions(top_k=1))
        assert client.link([]) == []
        (alone,) = client.link(mentions[2:3])
    assert [code(found[place]) for place in (0, 1, 3)] == ["BW20", "R05", "R50.9"]
    assert [(found[place].index, found[place].code) for place in (2, 4)] == [(2, "invalid"), (4, "invalid")]
    assert (found[0].id, found[2].id, found[2].field) == ("a", "x", "mentions[2].kind")
    assert isinstance(alone, LinkError)


def test_a_link_is_whole(served: Served) -> None:
    options = LinkOptions(subset=Subset(codes=frozenset({"BW20", "R05"})))
    with Client(served.url) as client:
        (link,) = client.link([TC], options)
    assert isinstance(link, Link)
    assert (link.code, link.method, link.provenance.bundle.name, link.candidates[0].code) == (
        "BW20",
        "exact",
        "mini",
        "BW20",
    )
    assert link.proof is not None
    assert link.timings.mentions == 1


def test_one_refused_request_does_not_lose_the_others(served: Served) -> None:
    long = Mention("x" * 30_000, id="long")
    with Client(served.url) as client:
        found = client.link([TC, Mention("tos"), TC, long])
        (alone,) = client.link([long])
    assert [code(one) for one in found[:3]] == ["BW20", "R05", "BW20"]
    for one, index in ((found[3], 3), (alone, 0)):
        assert isinstance(one, LinkError)
        assert (one.index, one.code, one.id) == (index, "too_large", "long")


def test_a_stream_is_cut_at_line_feeds_alone_and_where_a_body_ends(served: Served, tmp_path: Path) -> None:
    odd = "a\u2028b\x85c\x1dd"
    with Client(served.url) as client:
        (found,) = client.link_stream([Mention("tos", id=odd)])
    assert found.id == odd
    with serving(tmp_path, "--max-body", "1KB") as small, Client(small.url) as client:
        found_all = list(client.link_stream([Mention("tos", id=str(number)) for number in range(100)]))
    assert [one.id for one in found_all] == [str(number) for number in range(100)]


def test_streams_documents_and_codes(served: Served) -> None:
    with Client(served.url) as client:
        found = list(client.link_stream([TC, Mention("tos", kind="drug"), Mention("tos")], LinkOptions(top_k=1)))
        assert [one.code if isinstance(one, Link) else one.index for one in found] == ["BW20", 1, "R05"]
        with pytest.raises(ValueError, match="subset"):
            next(client.link_stream([TC], LinkOptions(subset=Subset(leaf=True))))
        first, second = client.link_document("Paciente con HTA.", SPANS)
        assert first.link is not None and second.error is not None
        assert (first.link.code, first.mention, first.sentence) == ("I10", "HTA", (0, 17))
        assert client.concept("i10").title == "Hipertensión esencial (primaria)"
        assert client.search("hipertension", limit=2).total > 2
        assert client.info().limits.mentions == 3
        assert client.ready()
        with pytest.raises(ServerError, match="404, not_found") as caught:
            client.concept("a/b?c")
        assert caught.value.request_id


def test_the_asynchronous_one_says_the_same(served: Served) -> None:
    async def ask() -> tuple[Any, ...]:
        async with AsyncClient(served.url) as client:
            links = await asyncio.gather(*(client.link([TC, Mention("tos")]) for _ in range(4)))
            stream = [one async for one in client.link_stream([TC])]
            document = await client.link_document("Paciente con HTA.", SPANS)
            return (
                links,
                stream,
                document,
                await client.concept("I10"),
                await client.search("asma"),
                await client.ready(),
            )

    links, stream, document, concept, found, ready = asyncio.run(ask())
    assert [[code(one) for one in part] for part in links] == [["BW20", "R05"]] * 4
    assert (code(stream[0]), document[0].link.code, concept.code) == ("BW20", "I10", "I10")
    assert found.total > 0
    assert ready


def made_up(answers: list[httpx.Response]) -> tuple[Client, list[httpx.Request]]:
    asked: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return answers[min(len(asked), len(answers)) - 1]

    return Client(transport=httpx.MockTransport(answer), patience=Patience(3, 10.0), key="secret"), asked


def refusal(status: int, **headers: str) -> httpx.Response:
    return httpx.Response(status, headers=headers, json={"error": {"code": "overloaded", "message": "busy"}})


def test_what_is_refused_for_the_moment_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    monkeypatch.setattr("time.sleep", pauses.append)
    details = {"found": [], "total": 0, "suggestions": []}
    refusals = [refusal(429, **{"Retry-After": "2"}), refusal(503, **{"Retry-After": "1"})]
    client, asked = made_up([*refusals, httpx.Response(200, json=details)])
    assert client.search("asma").total == 0
    assert len(asked) == 3
    assert 2 <= pauses[0] <= 2.5
    assert 1 <= pauses[1] <= 1.25
    assert asked[0].headers["authorization"] == "Bearer secret"


@pytest.mark.parametrize(
    ("answer", "times"),
    [
        (refusal(429, **{"Retry-After": "1"}), 3),  # not for ever
        (refusal(429, **{"Retry-After": "60"}), 1),  # nor for as long as that
        (refusal(429), 1),
        (refusal(429, **{"Retry-After": "Wed, 21 Oct 2026 07:28:00 GMT"}), 1),
        (refusal(504, **{"Retry-After": "1"}), 1),
        (httpx.Response(502, text="<html>HTA</html>"), 1),
        (httpx.Response(200, text="HTA"), 1),
        (httpx.Response(200, json={"found": "HTA"}), 1),
    ],
)
def test_other_refusals_are_errors(monkeypatch: pytest.MonkeyPatch, answer: httpx.Response, times: int) -> None:
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    client, asked = made_up([answer])
    with pytest.raises(ServerError) as caught:
        client.search("asma")
    assert (len(asked), caught.value.status) == (times, answer.status_code)
    assert "HTA" not in str(caught.value)


def test_a_server_that_is_not_there() -> None:
    with Client("http://127.0.0.1:9") as client:
        assert not client.ready()
        with pytest.raises(ConnectionFailedError, match="address"):
            client.info()
        with pytest.raises(ConnectionFailedError):
            list(client.link_stream([TC]))


def test_the_client_loads_no_model() -> None:
    code = "import sys, json, cielo.client; print(json.dumps(sorted(sys.modules)))"
    loaded = json.loads(subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout)
    assert {"numpy", "onnxruntime", "ctranslate2", "tokenizers", "hnswlib", "starlette"} & set(loaded) == set()


def test_without_its_library_it_says_what_to_install() -> None:
    code = "import sys; sys.modules['httpx'] = None\nimport cielo.client"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "pip install 'cielo[client]'" in done.stderr
