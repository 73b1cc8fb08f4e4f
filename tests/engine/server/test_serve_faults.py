"""What goes wrong around a server: callers, worker, disk, bundle, its end. No answer is lost or mixed up."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from cielo.bundle.layout import default_bundle
from served import COMMAND, TC, Served, serving, wait_until

pytestmark = pytest.mark.slow  # a minute; CI runs them
SLOW = [{"text": f"dolor número {number} del costado izquierdo"} for number in range(200)]
KEY, OTHER = "k" * 20, "o" * 20


@pytest.fixture(scope="module")
def hardy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The mini, served with short times."""
    times = ("--header-seconds", "1", "--body-seconds", "1", "--hang-seconds", "1.5", "--max-body", "1MB")
    with serving(tmp_path_factory.mktemp("hardy"), *times) as one:
        yield one


def connect(served: Served) -> socket.socket:
    host, port = served.url.removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)), timeout=60)


def request_of(body: bytes, **headers: str) -> bytes:
    more = [f"{name}: {value}" for name, value in headers.items()]
    lines = ["POST /v1/link HTTP/1.1", "Host: localhost", "Content-Type: application/json", *more]
    return "\r\n".join([*lines, f"Content-Length: {len(body)}", "", ""]).encode() + body


def answers(served: Served) -> None:
    """Check that it is as well as ever."""
    served.until_ready()
    answer = served.link(TC)
    assert answer.status_code == 200
    assert answer.json()["results"][0]["link"]["code"] == "BW20"


def test_a_caller_who_left_costs_no_more_work(hardy: Served) -> None:
    body = json.dumps({"mentions": SLOW}).encode()
    ends = [connect(hardy) for _ in range(4)]
    for end in ends:
        end.sendall(request_of(body))
    time.sleep(0.1)
    for end in ends:
        end.close()
    wait_until(lambda: hardy.metric("cielo_queue_mentions") == 0)
    wait_until(lambda: sum(line.get("problem") == "left" for line in hardy.lines()) >= 3)
    answers(hardy)


def test_slow_headers_end_the_connection(hardy: Served) -> None:
    with connect(hardy) as end:
        began = time.monotonic()
        with contextlib.suppress(OSError):
            for _ in range(600):
                end.sendall(b"G")
                time.sleep(0.1)
        assert time.monotonic() - began < 50
    with connect(hardy) as end:  # says nothing at all
        assert end.recv(1) == b""
    answers(hardy)


def test_a_slow_body_is_given_up(hardy: Served) -> None:
    with connect(hardy) as end:
        end.sendall(request_of(b"{", **{"X": "y"}).replace(b"Content-Length: 1", b"Content-Length: 100"))
        assert b"408" in end.recv(4096)


def test_a_hundred_megabytes_are_refused_unread(hardy: Served) -> None:
    with connect(hardy) as end:
        end.sendall(request_of(b"").replace(b"Content-Length: 0", b"Content-Length: 100000000"))
        assert b"413" in end.recv(4096)
    with connect(hardy) as end:  # without saying how much comes
        head = request_of(b"").replace(b"Content-Length: 0", b"Transfer-Encoding: chunked")
        end.sendall(head)
        with contextlib.suppress(OSError):
            for _ in range(100):
                end.sendall(b"100000\r\n" + b" " * 0x100000 + b"\r\n")
        with contextlib.suppress(ConnectionError):
            assert b"413" in end.recv(4096)
    assert hardy.metric("cielo_memory_bytes") < 1e9
    answers(hardy)


def test_a_flood_of_headers_is_refused(hardy: Served) -> None:
    for flood in (b"X: " + b"y" * 200_000, b"\r\n".join(b"X%d: y" % number for number in range(20_000))):
        with connect(hardy) as end:
            with contextlib.suppress(OSError):
                end.sendall(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n" + flood + b"\r\n\r\n")
            with contextlib.suppress(ConnectionError):
                assert b"400" in end.recv(4096)
    answers(hardy)


@pytest.mark.parametrize(
    "garbage", [b"\x16\x03\x01\x00", b"GET\r\n\r\n", b"POST /v1/link HTTP/9.9\r\n\r\n", b"\0" * 100]
)
def test_what_is_no_http_is_refused(hardy: Served, garbage: bytes) -> None:
    with connect(hardy) as end:
        end.sendall(garbage)
        with contextlib.suppress(ConnectionError):
            assert b"200 OK" not in end.recv(4096)
    answers(hardy)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP, signal.SIGSEGV])
def test_a_worker_that_dies_or_hangs_is_replaced(hardy: Served, number: int) -> None:
    answers(hardy)
    before = hardy.worker()
    found: list[httpx.Response] = []
    asking = threading.Thread(target=lambda: found.append(hardy.link(*SLOW)))
    asking.start()
    wait_until(lambda: hardy.metric("cielo_queue_mentions") > 0 or found)
    os.kill(before, number)
    asking.join()
    # What was at work is said to be lost; what waited is answered by the next worker.
    rows = found[0].json()["results"]
    assert {row["error"]["code"] for row in rows if row["error"]} <= {"not_ready"}
    assert all(row["link"] or row["error"] for row in rows)
    hardy.until_ready()
    assert hardy.worker() != before
    assert not Path(f"/proc/{before}").exists()
    answers(hardy)


def test_while_there_is_no_worker_it_says_so(hardy: Served) -> None:
    os.kill(hardy.worker(), signal.SIGKILL)
    wait_until(lambda: hardy.get("/readyz").status_code == 503 or hardy.events("worker_lost"))
    codes = set()
    for _ in range(20):
        answer = hardy.link(TC)
        codes.add(answer.status_code)
        if answer.status_code == 503:
            assert int(answer.headers["retry-after"]) >= 1
    assert codes <= {200, 503}
    answers(hardy)


@pytest.mark.usefixtures("every_processor")
def test_sigterm_under_load_answers_what_was_asked(tmp_path: Path) -> None:
    with serving(tmp_path) as served, ThreadPoolExecutor(8) as pool:
        asked = [pool.submit(served.link, *SLOW[number::20]) for number in range(16)]
        wait_until(lambda: any(one.done() for one in asked))
        served.process.send_signal(signal.SIGTERM)
        began = time.monotonic()
        codes = []
        for one in asked:
            with contextlib.suppress(httpx.TransportError):  # asked after the port was closed
                answer = one.result()
                codes.append(answer.status_code)
                if answer.status_code == 200:
                    assert all(row["link"] for row in answer.json()["results"])
        assert served.process.wait(60) == 0
        assert time.monotonic() - began < 60
        assert 200 in codes
        assert set(codes) <= {200, 503}
        assert [len(served.events(name)) for name in ("draining", "ended")] == [1, 1]


def test_the_end_does_not_wait_for_ever(tmp_path: Path) -> None:
    with serving(tmp_path, "--drain-seconds", "1") as served, connect(served) as end:
        os.kill(served.worker(), signal.SIGSTOP)
        end.sendall(request_of(json.dumps({"mentions": [TC]}).encode()))
        wait_until(lambda: served.metric("cielo_batch_mentions_count") == 1)
        began = time.monotonic()
        assert served.end() == 0
        assert time.monotonic() - began < 30


def test_keys_are_read_again_under_load(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text(f"ward {KEY}\n")
    with serving(tmp_path, "--keys", str(file)) as served:

        def status(key: str) -> int:
            return served.get("/v1/info", headers={"Authorization": f"Bearer {key}"}).status_code

        assert [status(KEY), status(OTHER)] == [200, 401]
        assert [served.get(path).status_code for path in ("/v1/info", "/livez", "/readyz")] == [401, 200, 200]
        assert served.get("/metrics").headers["www-authenticate"] == "Bearer"
        with ThreadPoolExecutor(4) as pool:
            asked = [pool.submit(status, KEY) for _ in range(40)]
            file.write_text("ward\n")
            served.process.send_signal(signal.SIGHUP)
            assert {one.result() for one in asked} == {200}
        wait_until(lambda: served.events("keys_kept"))
        file.write_text(f"lab {OTHER}\n")
        served.process.send_signal(signal.SIGHUP)
        wait_until(lambda: served.events("keys_read"))
        assert [status(KEY), status(OTHER)] == [401, 200]
        wait_until(lambda: served.events("request")[-1].get("key") == "lab")
        assert KEY not in served.log.read_text() and OTHER not in served.log.read_text()


def test_a_bundle_that_changes_underneath_is_never_mixed(tmp_path: Path) -> None:
    bundle = tmp_path / "bundle"
    shutil.copytree(default_bundle(), bundle)
    with serving(tmp_path, "--bundle", str(bundle), environment={"CIELO_STATE": str(tmp_path / "state")}) as served:
        answers(served)
        manifest = next(bundle.glob("*.json"))
        content = manifest.read_bytes().replace(b'"mini"', b'"maxi"')
        manifest.unlink()
        manifest.write_bytes(content)
        answers(served)  # what is open stays open
        os.kill(served.worker(), signal.SIGKILL)
        wait_until(lambda: served.events("worker_not_started"))
        assert served.get("/readyz").status_code == 503
        assert served.get("/livez").status_code == 200
        assert served.link(TC).json()["error"]["code"] == "not_ready"


@pytest.mark.parametrize(
    "arguments",
    [
        ("--bundle", "nowhere"),
        ("--decoding", "constrained", "--backend", "ctranslate2"),
        ("--lexicon", "nowhere"),
        ("--keys", "nowhere"),
        ("--host", "0.0.0.0"),
        ("--host", "not.a.host.example", "--allow-without-key"),
    ],
)
def test_what_cannot_be_served_is_refused_before_the_port_opens(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    command = [*COMMAND, *arguments]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode in (1, 2)
    assert "Traceback" not in done.stderr
    assert "serving" not in done.stderr


def test_a_port_that_is_taken_is_said(hardy: Served) -> None:
    port = hardy.url.rpartition(":")[2]
    done = subprocess.run([*COMMAND[:-1], port], capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, "Traceback" in done.stderr) == (2, False)
    assert f"port {port}" in done.stderr


def test_a_full_disk_costs_no_answer(tmp_path: Path) -> None:
    def allow_no_file() -> None:  # the system then refuses every write to a file, as a full disk does
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))

    cache = tmp_path / "cache"
    subprocess.run(["true"], check=True)
    with serving(tmp_path, "--cache", str(cache)) as served:  # makes the file
        answers(served)
        assert served.end() == 0
    log = subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=(tmp_path / "piped.log").open("wb"))
    process = subprocess.Popen(
        [*COMMAND, "--cache", str(cache)], stderr=log.stdin, preexec_fn=allow_no_file,
    )  # fmt: skip
    served = Served("", process, tmp_path / "piped.log")
    try:
        wait_until(lambda: process.poll() is not None or served.events("serving"))
        served.url = served.events("serving")[0]["address"]
        for number in range(5):
            assert served.link({"text": f"tos {number}"}).status_code == 200
        answers(served)
        assert served.end() == 0
    finally:
        process.kill()
        log.kill()


def test_no_text_of_a_caller_is_logged(tmp_path: Path) -> None:
    secret = "Rarísimo-apellido"
    with serving(tmp_path) as served:
        served.link({"text": secret}, {"text": "", "sentence": secret}, {"text": secret, "kind": secret}, {secret: 1})
        served.link({"text": secret}, options={"decoding": secret, secret: 1})
        served.get(f"/{secret}?query={secret}", headers={"x-request-id": "Rarisimo apellido"})
        served.get("/v1/info", headers={"host": "rarisimo-apellido"})
        with served.client as client:
            client.request("RARISIMO", "/v1/link", content=secret.encode())
            client.post("/v1/tables/read?name=apellido.csv", content=f"{secret};{secret}".encode())
        metrics = served.get("/metrics").text
        assert served.end() == 0
        shown = (served.log.read_text() + metrics).casefold()
        assert "apellido" not in shown
        assert "rarisimo" not in shown


def stream(served: Served, count: int) -> list[dict[str, Any]]:
    lines = "".join(json.dumps({"text": f"dolor {number} del costado"}) + "\n" for number in range(count))
    with served.client as client:
        answer = client.post("/v1/link/stream", content=lines, headers={"content-type": "application/x-ndjson"})
    assert answer.status_code == 200
    return [json.loads(line) for line in answer.text.splitlines()]


def test_a_stream_outlives_its_worker(hardy: Served) -> None:
    answers(hardy)
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(stream, hardy, 1500)
        before = hardy.metric("cielo_batch_mentions_count")
        wait_until(lambda: hardy.metric("cielo_batch_mentions_count") > before + 2)
        os.kill(hardy.worker(), signal.SIGKILL)
        results = asked.result()
    assert [result["index"] for result in results] == list(range(1500))
    lost = [result for result in results if result["error"]]
    assert {result["error"]["code"] for result in lost} <= {"not_ready"}
    assert len(lost) < 300  # what was at work; the rest waited for the next worker


def test_a_stream_that_was_begun_is_finished_before_the_end(tmp_path: Path) -> None:
    with serving(tmp_path) as served, ThreadPoolExecutor(1) as pool:
        asked = pool.submit(stream, served, 600)
        wait_until(lambda: served.metric("cielo_batch_mentions_count") > 2)
        assert served.end() == 0
        assert [result["error"] for result in asked.result()] == [None] * 600
