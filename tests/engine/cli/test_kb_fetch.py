"""`cielo kb fetch`: a published table, with a record of where it is from; or where to put it."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from cielo import downloads
from cielo.cli import main
from cielo.knowledge.published import TABLES
from click.testing import CliRunner, Result

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

from tests.convert.fake_hub import Hub, serving

NAME, FILE = "cie-10-es-2020-procedure", "ICD10_procedimientos_2020.tsv"
CONTENT = "codigo\tdescripcion\nBW20\ttomografía de abdomen\n".encode()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    monkeypatch.setattr(downloads, "_PAUSE", 0.0)
    monkeypatch.setenv("CIELO_STATE", str(tmp_path / "state"))
    with serving() as served:
        served.raw[f"Vicomtech/generative-clinical-entity-linking/HEAD/icd_10_es/{FILE}"] = CONTENT
        monkeypatch.setenv("CIELO_RAW_BASE", f"{served.address}/raw")
        yield served


def run(tmp_path: Path, *more: str, name: str = NAME) -> Result:
    return CliRunner().invoke(main, ["kb", "fetch", name, "--output", str(tmp_path / "tables"), *more])


def test_a_table_and_where_it_is_from(server: Hub, tmp_path: Path) -> None:
    server.faults.cut[FILE] = 10
    done = run(tmp_path, "--accept-licence")
    assert done.exit_code == 0, done.output
    assert "You may not use it, or what is made of it, commercially" in done.stderr
    folder = tmp_path / "tables"
    assert (folder / FILE).read_bytes() == CONTENT
    record = json.loads((folder / f"{FILE}.origin.json").read_text(encoding="utf-8"))
    (file,) = record["files"]
    assert file["sha256"] == hashlib.sha256(CONTENT).hexdigest()
    assert file["address"].startswith(server.address) and file["size"] == len(CONTENT)
    assert record["licence"] == "CC BY-NC 4.0" and "Zotova" in record["attribution"]
    assert len(record["date"]) == 10
    built = CliRunner().invoke(main, ["kb", "build", str(tmp_path / "kb"), "--table", f"procedure={folder / FILE}"])
    assert built.exit_code == 0, built.output
    # Once accepted is enough; what is there is not replaced unless that is asked for.
    assert "exists" in run(tmp_path).stderr
    assert run(tmp_path, "--overwrite").exit_code == 0


def test_it_is_not_fetched_without_its_licence(server: Hub, tmp_path: Path) -> None:
    done = run(tmp_path)
    assert done.exit_code == 1 and "--accept-licence" in done.stderr
    assert server.asked == [] and not (tmp_path / "tables").exists()


def test_without_a_network_it_says_where_to_put_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CIELO_STATE", str(tmp_path / "state"))
    done = run(tmp_path, "--accept-licence", "--raw-base", "http://127.0.0.1:9")
    assert done.exit_code == 1
    assert f"put it at {tmp_path / 'tables' / FILE}" in done.stderr


@pytest.mark.parametrize("name", ["cie-10-es", "icd-10-cm"])
def test_what_is_not_fetched_says_where_to_get_it(server: Hub, tmp_path: Path, name: str) -> None:
    done = run(tmp_path, "--accept-licence", name=name)
    assert done.exit_code == 1
    assert TABLES[name].page in done.stderr and "--table diagnosis=FILE" in done.stderr
    assert server.asked == []


def test_unknown_names_and_missing_folders(server: Hub, tmp_path: Path) -> None:
    assert f"cielo knows {NAME.replace('procedure', 'diagnosis')}" in run(tmp_path, name="nothing").stderr
    assert CliRunner().invoke(main, ["kb", "fetch", NAME]).exit_code == 2
    listed = CliRunner().invoke(main, ["kb", "fetch"])
    assert all(name in listed.stdout for name in TABLES)


def test_a_fetch_that_was_killed_is_gone_on_with(server: Hub, tmp_path: Path) -> None:
    content = os.urandom(20_000_000)
    server.raw[f"Vicomtech/generative-clinical-entity-linking/HEAD/icd_10_es/{FILE}"] = content
    code = "from cielo.cli import main; main(prog_name='cielo')"
    command = [sys.executable, "-c", code, "kb", "fetch", NAME, "--output", str(tmp_path / "t"), "--accept-licence"]
    part, held = tmp_path / "t" / f"{FILE}.part", 0
    for number, said in ((signal.SIGKILL, ""), (signal.SIGTERM, f"what came stays in {tmp_path / 't'}")):
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
            while process.poll() is None and not (part.exists() and part.stat().st_size > held):
                time.sleep(0.0005)
            process.send_signal(number)
            assert said in process.communicate()[1]
        if not part.exists():  # it was faster than the signal
            pytest.skip("fetched before it could be killed")
        held = part.stat().st_size
        assert not (tmp_path / "t" / FILE).exists()
    subprocess.run(command, check=True, capture_output=True)
    assert (tmp_path / "t" / FILE).read_bytes() == content
    assert server.fetched(FILE)[-1] == f"bytes={held}-"
    assert not part.exists()
