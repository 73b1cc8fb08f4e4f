"""Downloads: gone on with where they broke, checked, and nothing half-fetched under its own name."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from cielo import downloads
from cielo.downloads import Download, fetch, matches, size_of
from cielo.errors import DownloadError
from cielo.origins import Origin, origin_file, read_origin, write_origin

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.convert.fake_hub import Hub, serving

CONTENT = os.urandom(300_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    monkeypatch.setattr(downloads, "_PAUSE", 0.0)
    with serving() as served:
        served.raw["a/table.tsv"] = CONTENT
        yield served


def download(hub: Hub, tmp_path: Path, **known: object) -> Download:
    return Download(f"{hub.address}/raw/a/table.tsv", tmp_path / "new" / "table.tsv", **known)  # type: ignore[arg-type]


def left(tmp_path: Path) -> list[str]:
    return sorted(file.name for file in (tmp_path / "new").iterdir())


def test_a_file_is_fetched_whole(hub: Hub, tmp_path: Path) -> None:
    told: list[tuple[int, int | None]] = []
    wanted = download(hub, tmp_path, size=len(CONTENT), sha256=SHA256)
    assert not matches(wanted)
    got = fetch(wanted, lambda done, total: told.append((done, total)))
    assert wanted.target.read_bytes() == CONTENT
    assert (got.name, got.size, got.sha256) == ("table.tsv", len(CONTENT), SHA256)
    assert told[0] == (0, len(CONTENT)) and told[-1] == (len(CONTENT), len(CONTENT))
    assert left(tmp_path) == ["table.tsv"]
    assert matches(wanted)
    assert {headers["user-agent"] for _, _, headers in hub.asked} == {"cielo"}


def test_what_is_cut_off_is_gone_on_with_at_once(hub: Hub, tmp_path: Path) -> None:
    hub.faults.cut["table.tsv"] = 70_000
    wanted = download(hub, tmp_path)
    fetch(wanted)
    assert wanted.target.read_bytes() == CONTENT
    assert hub.fetched("table.tsv") == [None, "bytes=70000-"]


@pytest.mark.parametrize("weak", [False, True])
def test_a_later_call_goes_on_where_an_earlier_one_stopped(hub: Hub, tmp_path: Path, weak: bool) -> None:
    hub.faults.cut["table.tsv"], hub.faults.weak = 70_000, weak
    hub.faults.statuses["table.tsv"] = 503
    hub.faults.always = False
    wanted = download(hub, tmp_path, sha256=SHA256 if weak else None)
    hub.faults.statuses.clear()
    stop = KeyboardInterrupt

    def interrupt(done: int, total: int | None) -> None:
        if done >= 70_000:
            raise stop

    with pytest.raises(stop):
        fetch(wanted, interrupt)
    assert left(tmp_path) == ["table.tsv.part", "table.tsv.part.json"]
    assert not wanted.target.exists()
    fetch(wanted)
    assert wanted.target.read_bytes() == CONTENT
    assert hub.fetched("table.tsv") == [None, "bytes=70000-"]
    assert left(tmp_path) == ["table.tsv"]


def interrupted(hub: Hub, tmp_path: Path) -> Download:
    hub.faults.cut["table.tsv"] = 70_000
    hub.faults.always = True
    with pytest.raises(DownloadError):
        fetch(download(hub, tmp_path), lambda done, total: hub.faults.cut.update({"table.tsv": 0}) if done else None)
    hub.faults.cut.clear()
    hub.faults.always = False
    hub.asked.clear()
    return download(hub, tmp_path)


def test_a_server_that_brings_nothing_is_given_up_and_what_came_is_kept(hub: Hub, tmp_path: Path) -> None:
    wanted = interrupted(hub, tmp_path)
    assert (tmp_path / "new" / "table.tsv.part").stat().st_size == 70_000
    fetch(wanted)
    assert hub.fetched("table.tsv") == ["bytes=70000-"]
    assert wanted.target.read_bytes() == CONTENT


def test_another_file_at_the_address_begins_anew(hub: Hub, tmp_path: Path) -> None:
    wanted = interrupted(hub, tmp_path)
    hub.raw["a/table.tsv"] = other = os.urandom(200_000)
    fetch(wanted)
    assert wanted.target.read_bytes() == other


def test_a_shorter_file_at_the_address_begins_anew(hub: Hub, tmp_path: Path) -> None:
    wanted = interrupted(hub, tmp_path)
    tag = tmp_path / "new" / "table.tsv.part.json"
    hub.raw["a/table.tsv"] = b"short"
    entry = json.loads(tag.read_text())
    entry["etag"] = f'"{hashlib.sha256(b"short").hexdigest()[:16]}"'
    tag.write_text(json.dumps(entry))
    fetch(wanted)
    assert wanted.target.read_bytes() == b"short"


@pytest.mark.parametrize("tag", [None, "{", '{"address": "http://other/", "etag": "x"}'])
def test_a_part_of_unknown_origin_is_not_gone_on_with(hub: Hub, tmp_path: Path, tag: str | None) -> None:
    wanted = interrupted(hub, tmp_path)
    file = tmp_path / "new" / "table.tsv.part.json"
    file.unlink() if tag is None else file.write_text(tag)
    fetch(wanted)
    assert hub.fetched("table.tsv") == [None]
    assert wanted.target.read_bytes() == CONTENT


def test_a_server_without_ranges_begins_anew(hub: Hub, tmp_path: Path) -> None:
    hub.faults.cut["table.tsv"], hub.faults.no_ranges = 70_000, True
    wanted = download(hub, tmp_path)
    fetch(wanted)
    assert wanted.target.read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("known", "problem"),
    [
        ({"size": 299_999}, "offers 300,000 bytes, where 299,999 were expected"),
        ({"sha256": "0" * 64}, "got SHA-256"),
        ({"blob": "0" * 40}, "got Git's hash"),
    ],
)
def test_what_is_not_what_its_source_says_is_thrown_away(
    hub: Hub, tmp_path: Path, known: dict[str, object], problem: str
) -> None:
    wanted = download(hub, tmp_path, **known)
    with pytest.raises(DownloadError, match=problem):
        fetch(wanted)
    assert left(tmp_path) == []


def test_git_s_hash_is_git_s(hub: Hub, tmp_path: Path) -> None:
    hub.raw["a/table.tsv"] = b"hello\n"
    fetch(download(hub, tmp_path, blob="ce013625030ba8dba906f756967f9e9ca394464a"))  # git hash-object


@pytest.mark.parametrize("status", [401, 403, 404, 410])
def test_a_refusal_is_told_at_once(hub: Hub, tmp_path: Path, status: int) -> None:
    hub.faults.statuses["table.tsv"] = status
    with pytest.raises(
        DownloadError, match=rf"HTTP {status}\); try again later, or .* put it at .*table\.tsv"
    ) as caught:
        fetch(download(hub, tmp_path))
    assert caught.value.status == status
    assert len(hub.asked) == 1
    assert left(tmp_path) == []


def test_a_busy_server_is_asked_again(hub: Hub, tmp_path: Path) -> None:
    hub.faults.statuses["table.tsv"] = 503
    fetch(download(hub, tmp_path))
    assert len(hub.asked) == 2


def test_without_a_network_it_says_where_to_put_the_file(tmp_path: Path) -> None:
    wanted = Download("http://127.0.0.1:9/table.tsv", tmp_path / "table.tsv")
    with pytest.raises(DownloadError, match=f"put it at {wanted.target}"):
        fetch(wanted)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(DownloadError, match="cannot be reached"):
        size_of(wanted.address)


def test_addresses_of_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match="https://"):
        fetch(Download("file:///etc/passwd", tmp_path / "x"))


def test_sizes(hub: Hub) -> None:
    assert size_of(f"{hub.address}/raw/a/table.tsv") == len(CONTENT)
    with pytest.raises(DownloadError, match="HTTP 404"):
        size_of(f"{hub.address}/raw/none")


def test_two_processes_do_not_fetch_one_file(hub: Hub, tmp_path: Path) -> None:
    (tmp_path / "new").mkdir()
    with (tmp_path / "new" / "table.tsv.part").open("ab") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(DownloadError, match="another process"):
            fetch(download(hub, tmp_path))


def test_a_folder_that_cannot_be_made(hub: Hub, tmp_path: Path) -> None:
    (tmp_path / "new").write_text("")
    with pytest.raises(DownloadError, match="cannot be written"):
        fetch(download(hub, tmp_path))


def test_a_token_goes_to_its_server_alone(hub: Hub, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "file").write_bytes(CONTENT)
    hub.models["a/b"], hub.faults.elsewhere = folder, True
    address = f"{hub.address}/a/b/resolve/0123456789abcdef0123456789abcdef01234567/file"
    hub.faults.cut["file"] = 1000
    fetch(Download(address, tmp_path / "got", token="secret"))
    assert (tmp_path / "got").read_bytes() == CONTENT
    assert [headers.get("authorization") for _, path, headers in hub.asked if not path.startswith("/cdn")] == [
        "Bearer secret", "Bearer secret",
    ]  # fmt: skip
    elsewhere = [headers for _, path, headers in hub.asked if path.startswith("/cdn")]
    assert [headers.get("range") for headers in elsewhere] == [None, "bytes=1000-"]
    assert all("authorization" not in headers for headers in elsewhere)
    assert "secret" not in repr(Download(address, tmp_path / "got", token="secret"))


def test_the_record_of_an_origin(tmp_path: Path) -> None:
    origin = Origin("a", "CC0-1.0", "somebody", "2026-01-31", (), "abc")
    write_origin(tmp_path / "table.tsv", origin)
    assert origin_file(tmp_path / "table.tsv").name == "table.tsv.origin.json"
    assert read_origin(tmp_path / "table.tsv") == origin
    origin_file(tmp_path / "table.tsv").write_text("{")
    assert read_origin(tmp_path / "table.tsv") is None
    assert read_origin(tmp_path / "other") is None


def test_a_planted_link_is_not_followed(hub: Hub, tmp_path: Path) -> None:
    (tmp_path / "new").mkdir()
    (tmp_path / "precious").write_bytes(b"kept")
    (tmp_path / "new" / "table.tsv.part").symlink_to(tmp_path / "precious")
    with pytest.raises(DownloadError, match="cannot be written"):
        fetch(download(hub, tmp_path))
    assert (tmp_path / "precious").read_bytes() == b"kept"
