"""A server that plays the hub and the server for raw files, with the faults that downloads meet."""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class Faults:
    """What goes wrong.

    Attributes:
        cut: bytes of an answer after which the connection breaks, by the file's name; once, unless `always`.
        offered: a size that the hub's list names in place of the true one.
        statuses: answers instead of a file; each once, unless `always`.
        spoilt: files of which other bytes of the same number come.
    """

    cut: dict[str, int] = field(default_factory=dict)
    offered: dict[str, int] = field(default_factory=dict)
    statuses: dict[str, int] = field(default_factory=dict)
    spoilt: set[str] = field(default_factory=set)
    always: bool = False
    no_ranges: bool = False
    weak: bool = False
    elsewhere: bool = False
    sizeless: bool = False


@dataclass
class Hub:
    """The server: its models' folders by name, its raw files by path, and what was asked."""

    address: str = ""
    models: dict[str, Path] = field(default_factory=dict)
    raw: dict[str, bytes] = field(default_factory=dict)
    licences: dict[str, str] = field(default_factory=dict)
    faults: Faults = field(default_factory=Faults)
    asked: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)

    def fetched(self, name: str) -> list[str | None]:
        """Return the ranges in which a file was asked for; None: from its beginning."""
        found = [
            headers.get("range") for method, path, headers in self.asked if method == "GET" and path.endswith(name)
        ]
        return found

    def content(self, path: str) -> bytes | None:
        """Return what lies at a path."""
        match = re.fullmatch(rf"/(?:cdn/)?([^/]+/[^/]+)/resolve/{COMMIT}/(.+)", path)
        if match and match.group(1) in self.models:
            file = self.models[match.group(1)] / match.group(2)
            return file.read_bytes() if file.is_file() else None
        return self.raw.get(path.removeprefix("/raw/"))

    def listing(self, name: str) -> dict[str, Any]:
        """Return what the hub says of a model."""
        siblings = []
        for file in sorted(self.models[name].iterdir()):
            content = file.read_bytes()
            entry: dict[str, Any] = {"rfilename": file.name}
            if not self.faults.sizeless:
                entry["size"] = self.faults.offered.get(file.name, len(content))
            if file.suffix in (".safetensors", ".bin"):
                sha256 = hashlib.sha256(content).hexdigest()
                entry["lfs"] = {"sha256": sha256, "size": len(content), "pointerSize": 134}
            entry["blobId"] = hashlib.sha1(f"blob {len(content)}\0".encode() + content).hexdigest()
            siblings.append(entry)
        siblings += [{"rfilename": name, "size": 1, "blobId": "0" * 40} for name in ("README.md", "onnx/model.onnx")]
        return {
            "id": name, "modelId": name, "sha": COMMIT, "siblings": siblings, "tags": [],
            "cardData": {"license": self.licences[name]} if name in self.licences else {},
        }  # fmt: skip


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: Hub

    def log_message(self, format: str, *arguments: object) -> None:
        """Say nothing."""

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, *, body: bool) -> None:
        path = unquote(urlsplit(self.path).path)
        self.hub.asked.append((self.command, path, {name.lower(): value for name, value in self.headers.items()}))
        model = re.fullmatch(r"/api/models/([^/]+/[^/]+)(?:/revision/(.+))?", path)
        if model:
            known = model.group(1) in self.hub.models
            self._send(
                200 if known else 404, json.dumps(self.hub.listing(model.group(1)) if known else {}).encode(), body
            )
            return
        faults, name = self.hub.faults, path.rpartition("/")[2]
        if name in faults.statuses and body:
            self._send(faults.statuses[name] if faults.always else faults.statuses.pop(name), b"", body)
            return
        if faults.elsewhere and "/resolve/" in path and not path.startswith("/cdn/"):
            self.send_response(302)
            self.send_header("Location", self.hub.address.replace("127.0.0.1", "localhost") + "/cdn" + path)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        content = self.hub.content(path)
        if content is None:
            self._send(404, b"", body)
            return
        if name in faults.spoilt:
            content = bytes(255 - byte for byte in content)
        self._send_file(name, content, body)

    def _send_file(self, name: str, content: bytes, body: bool) -> None:
        faults = self.hub.faults
        etag = f'"{hashlib.sha256(content).hexdigest()[:16]}"'
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        same = self.headers.get("If-Range") in (None, etag)
        start = int(asked.group(1)) if asked and same and not faults.no_ranges else 0
        if start >= len(content) > 0:
            self._send(416, b"", body)
            return
        part = content[start:]
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.send_header("ETag", f"W/{etag}" if faults.weak else etag)
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("Content-Length", str(len(part)))
        self.end_headers()
        if not body:
            return
        if name in faults.cut:
            part = part[: faults.cut[name] if faults.always else faults.cut.pop(name)]
            self.wfile.write(part)
            self.close_connection = True
            return
        self.wfile.write(part)

    def _send(self, status: int, content: bytes, body: bool) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if body:
            self.wfile.write(content)


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: Any, address: Any) -> None:
        """Say nothing of callers that were killed."""


@contextlib.contextmanager
def serving() -> Iterator[Hub]:
    """Give a server on this machine, which ends with the block."""
    hub = Hub()
    handler = type("Handler", (_Handler,), {"hub": hub})
    server = _Server(("127.0.0.1", 0), handler)
    hub.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
