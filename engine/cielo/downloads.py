"""Fetching files: gone on with where they broke, checked, and whole or not at all.

Only commands that are there to fetch come here. What has come lies in `NAME.part` beside the target, and what it is
the beginning of in `NAME.part.json`: the next call goes on there, if the source still has the same file.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import http.client
import os
import re
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import urlsplit

from cielo import schema
from cielo.errors import CieloError, DownloadError, remedy_for
from cielo.files import put_in_place, sha256_of
from cielo.origins import FetchedFile

Progress = Callable[[int, int | None], None]
_CHUNK = 1 << 20
_TIMEOUT = 30.0  # seconds without a byte
_PAUSE = 1.0  # seconds before the first further try; each one waits twice as long
_TRIES = 5  # in a row that bring nothing
_BUSY = (408, 429, 500, 502, 503, 504)
_CLOSED = (401, 403)
_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+|\*)")


@dataclass(frozen=True, slots=True)
class Download:
    """A file to fetch, and what its source says of it.

    Attributes:
        address: http or https.
        target: the file that it becomes; its folder is made.
        size: in bytes; None: not known.
        sha256: in hexadecimal; None: not known.
        blob: the SHA-1 that Git has for it, in hexadecimal; None: not known.
        token: sent to the address's own server alone, and to none that it leads on to.
    """

    address: str
    target: Path
    size: int | None = None
    sha256: str | None = None
    blob: str | None = None
    token: str | None = field(default=None, repr=False)


def matches(download: Download) -> bool:
    """Tell whether the target is there, and is what the source says as far as that says anything.

    Raises:
        OSError: where it cannot be read.
    """
    return download.target.is_file() and _difference(download, download.target) is None


def size_of(address: str) -> int | None:
    """Ask for the size of a file, in bytes; None where its server does not say it.

    Raises:
        DownloadError: where nothing answers, or there is no such file that may be read.
    """
    try:
        with _open(urllib.request.Request(_checked(address), method="HEAD", headers=_HEADERS)) as answer:  # noqa: S310
            return _length(answer)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code in (404, 410, *_CLOSED):
            raise DownloadError(f"{address} cannot be read (HTTP {error.code})", error.code) from error
        return None
    except (OSError, http.client.HTTPException) as error:
        raise DownloadError(f"{address} cannot be reached ({_reason(error)})") from error


def fetch(download: Download, progress: Progress | None = None) -> FetchedFile:
    """Fetch a file, from where an earlier call was cut off.

    Args:
        download: what and where to.
        progress: is called with how many bytes have come, and of how many (None: not known).

    Raises:
        DownloadError: where it cannot be had or written, or is not what its source says. What came stays for the next
            call, unless it is wrong.
    """
    part = download.target.with_name(f"{download.target.name}.part")
    with _writing(part):
        part.parent.mkdir(parents=True, exist_ok=True)
        stream = _open_part(part)
    with stream:
        transfer = _Transfer(download, part, stream, progress)
        transfer.run()
        with _writing(part):
            stream.flush()
            difference = _difference(download, part)
            if difference is not None:
                transfer.forget()
                raise DownloadError(
                    f"what came from {download.address} is not the file that its source describes ({difference}); "
                    "it was thrown away: try again, or ask who keeps that source"
                )
            fetched = FetchedFile(download.target.name, download.address, part.stat().st_size, sha256_of(part))
            put_in_place(part, download.target)
            transfer.tag.unlink(missing_ok=True)
    return fetched


@dataclass(frozen=True, slots=True)
class _Tag:
    """What a partial file is the beginning of."""

    address: str
    etag: str | None


_HEADERS = {"User-Agent": "cielo", "Accept-Encoding": "identity"}


class _Transfer:
    """One file on its way, over as many connections as it takes."""

    def __init__(self, download: Download, part: Path, stream: BinaryIO, progress: Progress | None) -> None:
        self._download, self._part, self._stream, self._progress = download, part, stream, progress
        self.tag = part.with_name(f"{part.name}.json")
        self._total = download.size
        self._answered = False

    def run(self) -> None:
        """Fetch what is missing.

        Raises:
            DownloadError: where it cannot be had.
        """
        tries = 0
        while True:
            before = self._held()
            try:
                if self._go_on():
                    return
                reason = f"cut off after {self._held():,} bytes"
            except urllib.error.HTTPError as error:
                error.close()
                reason = f"HTTP {error.code}"
                if error.code not in _BUSY:
                    raise self._failed(reason, error.code) from error
                self._answered = True
            except (urllib.error.URLError, http.client.HTTPException, TimeoutError, ConnectionError) as error:
                reason = _reason(error)
                if not self._answered:  # there is no network, or no such server: waiting does not help
                    raise self._failed(reason) from error
            tries = 0 if self._held() > before else tries + 1
            if tries >= _TRIES:
                raise self._failed(reason)
            time.sleep(_PAUSE * 2**tries)

    def forget(self) -> None:
        """Throw away what came."""
        with _writing(self._part):
            self._stream.truncate(0)
            self._part.unlink(missing_ok=True)
            self.tag.unlink(missing_ok=True)

    def _held(self) -> int:
        return self._stream.seek(0, os.SEEK_END)

    def _go_on(self) -> bool:
        """Ask for what is missing, and take what comes; tell whether all of it is there now."""
        start = self._start()
        if start and start == self._total:
            return True
        with self._ask(start) as answer:
            self._answered = True
            self._take_over(answer, start)
            self._pour(answer)
        return self._total is None or self._held() >= self._total

    def _start(self) -> int:
        """Return how much of the file can be kept."""
        held, tag = self._held(), self._read_tag()
        known = tag is not None and tag.address == self._download.address
        sure = known and tag is not None and (tag.etag is not None or self._hashed())
        if held and (not sure or (self._total is not None and held > self._total)):
            with _writing(self._part):
                self._stream.truncate(0)
            return 0
        return held

    def _hashed(self) -> bool:
        return self._download.sha256 is not None or self._download.blob is not None

    def _read_tag(self) -> _Tag | None:
        with contextlib.suppress(OSError, CieloError):
            return schema.decode(_Tag, self.tag.read_bytes(), "the tag", error=DownloadError, remedy="fetch again")
        return None

    def _ask(self, start: int) -> Any:
        request = urllib.request.Request(_checked(self._download.address), headers=_HEADERS)  # noqa: S310
        if self._download.token:
            request.add_unredirected_header("Authorization", f"Bearer {self._download.token}")
        if start:
            request.add_header("Range", f"bytes={start}-")
            tag = self._read_tag()
            if tag is not None and tag.etag is not None:
                request.add_header("If-Range", tag.etag)
        try:
            return _open(request)
        except urllib.error.HTTPError as error:
            if error.code != http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE or not start:
                raise
            error.close()
            with _writing(self._part):  # it is shorter than what we hold: another file
                self._stream.truncate(0)
            return self._ask(0)

    def _take_over(self, answer: Any, start: int) -> None:
        """Make the partial file what the answer goes on with, and check how long the whole will be."""
        total = _length(answer)
        if answer.status == http.HTTPStatus.PARTIAL_CONTENT:
            found = _RANGE.fullmatch(answer.headers.get("Content-Range", ""))
            if found is None or int(found.group(1)) != start:
                self.forget()
                raise self._failed("the server sent another part than was asked for")
            total = int(found.group(2)) if found.group(2).isdecimal() else None
        else:
            with _writing(self._part):
                self._stream.truncate(0)
        if self._download.size is not None and total is not None and total != self._download.size:
            self.forget()
            raise self._failed(f"its server offers {total:,} bytes, where {self._download.size:,} were expected")
        self._total = total if self._total is None else self._total
        etag = answer.headers.get("ETag")
        tag = _Tag(self._download.address, None if etag is None or etag.startswith("W/") else etag)
        with _writing(self.tag):
            self.tag.write_bytes(schema.encode(tag))

    def _pour(self, answer: Any) -> None:
        self._tell()
        while True:
            try:
                block = answer.read1(_CHUNK)
            except (OSError, http.client.HTTPException):  # cut off: what came before is kept
                return
            if not block:
                return
            with _writing(self._part):
                self._stream.write(block)
                self._stream.flush()
            self._tell()

    def _tell(self) -> None:
        if self._progress is not None:
            self._progress(self._held(), self._total)

    def _failed(self, reason: str, status: int | None = None) -> DownloadError:
        with _writing(self._part):
            held = self._held()
            if not held:
                self._part.unlink(missing_ok=True)
                self.tag.unlink(missing_ok=True)
        kept = f"; the {held:,} bytes that came are kept, and the same command goes on there" if held else ""
        return DownloadError(
            f"{self._download.address} cannot be fetched ({reason}){kept}; try again later, or fetch it by other means "
            f"and put it at {self._download.target}",
            status,
        )


def _checked(address: str) -> str:
    if urlsplit(address).scheme not in ("http", "https"):
        raise DownloadError(f"got the address {address}, expected one that begins with https:// or http://")
    return address


def _open(request: urllib.request.Request) -> Any:
    return urllib.request.urlopen(request, timeout=_TIMEOUT)  # noqa: S310


def _length(answer: Any) -> int | None:
    length = answer.headers.get("Content-Length", "")
    return int(length) if length.isdecimal() else None


def _reason(error: Exception) -> str:
    inner = getattr(error, "reason", error)
    return str(getattr(inner, "strerror", None) or inner or type(error).__name__)


def _open_part(part: Path) -> BinaryIO:
    flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    stream = os.fdopen(os.open(part, flags, 0o666), "ab")
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        stream.close()
        raise DownloadError(f"{part} is being written by another process; wait for it, or end it") from error
    except OSError:  # no locks on this file system
        pass
    return stream


@contextlib.contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        remedy = remedy_for(error, "name another folder")
        raise DownloadError(f"{path} cannot be written ({error.strerror}); {remedy}") from error


def _difference(download: Download, file: Path) -> str | None:
    """Say in what a file differs from what its source says of it; None where it does not."""
    size = file.stat().st_size
    if download.size is not None and size != download.size:
        return f"got {size:,} bytes, expected {download.size:,}"
    if download.sha256 is not None and (found := sha256_of(file)) != download.sha256:
        return f"got SHA-256 {found[:12]}…, expected {download.sha256[:12]}…"
    if download.blob is not None and (found := _blob_of(file)) != download.blob:
        return f"got Git's hash {found[:12]}…, expected {download.blob[:12]}…"
    return None


def _blob_of(file: Path) -> str:
    """Return the name that Git has for a file's content."""
    digest = hashlib.sha1(f"blob {file.stat().st_size}\0".encode(), usedforsecurity=False)
    with file.open("rb") as stream:
        while block := stream.read(_CHUNK):
            digest.update(block)
    return digest.hexdigest()
