"""The command, on the bundle that the project ships."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from cielo.bundle.layout import MANIFEST, default_bundle
from cielo.cli import main
from cielo.tables import TableRow, format_of, read_table
from cielo.tables.writing import write_table
from click.testing import CliRunner, Result

SECRET = "Zutanito"
CODES = ["0210", "3E03", "NA", "0016", "1E5", "00.10", "007", "TRUE"]


@pytest.fixture(autouse=True)
def _own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CIELO_STATE", str(tmp_path / "state"))
    monkeypatch.delenv("CIELO_BUNDLE", raising=False)


def run(*arguments: str | Path, stdin: bytes | None = None) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments], input=stdin)


def rows_of(path: Path) -> list[dict[str, Any]]:
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".jsonl":
        return [json.loads(line) for line in text.splitlines()]
    if path.suffix == ".csv":
        return list(csv.DictReader(io.StringIO(text, newline="")))
    return list(csv.DictReader(io.StringIO(text, newline=""), delimiter="\t", quoting=csv.QUOTE_NONE))


def test_one_mention_as_json() -> None:
    result = run("link", "TC abdominal", "--sentence", "La TC abdominal es normal.", "--json")
    assert result.exit_code == 0, result.output
    row = json.loads(result.stdout)
    assert row["code"] == "BW20"
    assert row["kind"] == "procedure"
    assert row["method"] == "exact"
    assert row["candidates"][0]["code"] == "BW20"
    assert len(row["candidates"]) == 5
    assert 0 < row["probability"] <= 1
    assert row["log_prob"] <= 0
    assert row["provenance"]["bundle"]["name"] == "mini"
    for name in ("codes", "description", "generated", "distance"):
        assert name in row


def test_one_mention_for_a_reader() -> None:
    result = run("link", "TC abdominal", "--sentence", "La TC abdominal es normal.")
    assert result.exit_code == 0
    assert result.stdout.startswith("BW20")
    for word in ("found by", "generated", "runners-up", "mini@"):
        assert word in result.stdout


def test_kind_restricts() -> None:
    row = json.loads(run("link", "TC abdominal", "--kind", "diagnosis", "--json").stdout)
    assert row["kind"] in ("diagnosis", None)
    assert all(candidate["kind"] == "diagnosis" for candidate in row["candidates"])


def test_text_far_from_every_description_gives_no_code_by_a_neighbour() -> None:
    row = json.loads(run("link", "xqzw kjhg", "--json").stdout)
    assert row["method"] in ("none", "semantic", "exact")
    assert (row["code"] is None) == (row["method"] == "none")
    assert row["codes"] == [] if row["code"] is None else row["codes"][0] == row["code"]


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["link"], 2),
        (["link", "fiebre", "--input", "x.csv"], 2),
        (["link", "fiebre", "--top-k", "0"], 2),
        (["link", "fiebre", "--device", "tpu"], 2),
        (["link", "--input", "x.csv", "--json"], 2),
        (["link", " "], 1),
        (["link", "fiebre", "--kind", "nonsense"], 1),
        (["link", "fiebre", "--compute-type", "int3"], 1),
        (["link", "fiebre", "--bundle", "/does/not/exist"], 1),
        (["link", "--input", "/does/not/exist.csv"], 1),
        (["link", "--input", "/does/not/exist"], 1),
        (["verify", "/does/not/exist"], 1),
        (["info", "/does/not/exist"], 1),
        (["convert", "/does/not/exist.toml", "--output", "/does/not/exist"], 1),
    ],
)
def test_wrong_use_ends_with_a_line_and_a_code(arguments: list[str], code: int) -> None:
    result = run(*arguments)
    assert result.exit_code == code, result.output
    assert isinstance(result.exception, SystemExit)
    assert result.stderr.strip()
    assert "Traceback" not in result.output


@pytest.mark.parametrize("read", ["jsonl", "csv", "tsv"])
@pytest.mark.parametrize("write", ["jsonl", "csv", "tsv"])
def test_rows_through_every_pair_of_formats(tmp_path: Path, read: str, write: str) -> None:
    source, target = tmp_path / f"in.{read}", tmp_path / f"out.{write}"
    rows = [{"id": code, "text": "fiebre", "sentence": "", "ward": code, "code": code} for code in CODES]
    if read == "jsonl":
        source.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    else:
        separator = "," if read == "csv" else "\t"
        lines = [separator.join(rows[0]), *(separator.join(row.values()) for row in rows)]
        source.write_text("\n".join(lines) + "\n", encoding="utf-8")
    result = run("link", "--input", source, "--output", target)
    assert result.exit_code == 0, result.output
    written = rows_of(target)
    assert [row["id"] for row in written] == CODES
    assert [row["ward"] for row in written] == CODES
    assert [row["input_code"] for row in written] == CODES
    assert len({row["code"] for row in written}) == 1
    assert all(isinstance(row["code"], str) for row in written)


def test_bad_rows_keep_their_place_and_their_neighbours(tmp_path: Path) -> None:
    source, target = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    lines = [
        json.dumps({"text": "fiebre", "id": "a"}).encode(),
        b'{"text": "' + SECRET.encode() + b'\xff"}',
        b"{" + SECRET.encode(),
        json.dumps({"text": ""}).encode(),
        json.dumps({"sentence": SECRET}).encode(),
        json.dumps({"text": 7}).encode(),
        json.dumps({"text": "fiebre", "kind": SECRET}).encode(),
        json.dumps({"text": "\ud800"}).encode(),
        b'["a list"]',
        json.dumps({"text": "tos\u0000\u0007", "id": "b"}).encode(),
        json.dumps({"text": "fiebre " * 2000, "id": "c"}).encode(),
        json.dumps({"text": "fiebre", "id": "d"}).encode(),
    ]
    source.write_bytes(b"\n".join(lines) + b"\n")
    result = run("link", "--input", source, "--output", target)
    assert result.exit_code == 3, result.output
    assert SECRET not in result.stderr
    rows = rows_of(target)
    assert len(rows) == len(lines)
    assert [("error" in row) for row in rows] == [False] + [True] * 8 + [False] * 3
    assert all(SECRET not in row.get("error", "") for row in rows)
    assert rows[0]["code"] == rows[-1]["code"]
    assert rows[-2]["truncated"] is True


def test_csv_with_a_row_that_is_not_utf8(tmp_path: Path) -> None:
    source, target = tmp_path / "in.csv", tmp_path / "out.csv"
    source.write_bytes(b"text,id\nfiebre,1\nfi\xffbre,2\nfiebre,3\n")
    assert run("link", "--input", source, "--output", target).exit_code == 3
    rows = rows_of(target)
    assert [row["id"] for row in rows] == ["1", "2", "3"]
    assert [bool(row["error"]) for row in rows] == [False, True, False]


@pytest.mark.parametrize("content", [b"", b"words,id\nfiebre,1\n", b"text,text\na,b\n", b"\xff\xfe\x00"])
def test_a_table_without_its_columns_is_refused_whole(tmp_path: Path, content: bytes) -> None:
    source, target = tmp_path / "in.csv", tmp_path / "out.csv"
    source.write_bytes(content)
    result = run("link", "--input", source, "--output", target)
    assert result.exit_code == 1
    assert list(tmp_path.glob("*out*")) == []
    assert list(tmp_path.glob(".*")) == []


def test_standard_input_to_standard_output() -> None:
    result = run("link", "--input", "-", "--format", "jsonl", stdin='{"text": "TC abdominal", "ñ": "á"}\n'.encode())
    assert result.exit_code == 0
    assert json.loads(result.stdout)["code"] == "BW20"
    assert json.loads(result.stdout)["ñ"] == "á"


def test_output_into_a_missing_directory(tmp_path: Path) -> None:
    source = tmp_path / "in.jsonl"
    source.write_text('{"text": "fiebre"}\n')
    result = run("link", "--input", source, "--output", tmp_path / "absent" / "out.jsonl")
    assert result.exit_code == 1
    assert "cannot be written" in result.stderr


def test_verify_and_info() -> None:
    result = run("verify")
    assert result.exit_code == 0
    assert "every hash" in result.stdout
    result = run("info")
    assert result.exit_code == 0
    assert "knowledge base" in result.stdout
    assert json.loads(run("info", "--json").stdout)["name"] == "mini"


def test_an_altered_bundle_is_found(tmp_path: Path) -> None:
    copy = tmp_path / "año nuevo"
    shutil.copytree(default_bundle(), copy)
    assert run("link", "fiebre", "--bundle", copy).exit_code == 0
    content = bytearray((copy / "generator" / "ctranslate2" / "model.bin").read_bytes())
    content[-1] ^= 1
    (copy / "generator" / "ctranslate2" / "model.bin").write_bytes(content)
    result = run("verify", copy)
    assert result.exit_code == 1
    assert "generator/ctranslate2/model.bin" in result.stderr


@pytest.mark.slow
def test_a_read_only_bundle_is_used_and_never_changed(tmp_path: Path) -> None:
    copy = tmp_path / "bundle"
    shutil.copytree(default_bundle(), copy)
    for path in [*copy.rglob("*"), copy]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    before = {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in [*copy.rglob("*"), copy]}
    assert run("link", "fiebre", "--bundle", copy).exit_code == 0
    assert run("verify", copy, "--parity", "--device", "cpu").exit_code == 0
    assert {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in [*copy.rglob("*"), copy]} == before
    for path in [copy, *copy.rglob("*")]:  # so that the test's folder can be removed
        path.chmod(0o755)


def test_a_damaged_index_is_never_loaded(tmp_path: Path) -> None:
    copy = tmp_path / "bundle"
    shutil.copytree(default_bundle(), copy)
    graph = next(copy.glob("index/*/graph.hnsw"))
    content = bytearray(graph.read_bytes())
    content[len(content) // 2] ^= 255
    graph.write_bytes(content)
    result = run("link", "fiebre", "--bundle", copy)
    assert result.exit_code == 1
    assert graph.name in result.stderr


def test_a_bundle_of_a_newer_schema_is_refused(tmp_path: Path) -> None:
    copy = tmp_path / "bundle"
    shutil.copytree(default_bundle(), copy)
    manifest = json.loads((copy / MANIFEST).read_text(encoding="utf-8"))
    (copy / MANIFEST).write_text(json.dumps({**manifest, "schema": 99}), encoding="utf-8")
    result = run("link", "fiebre", "--bundle", copy)
    assert result.exit_code == 1
    assert "schema 99" in result.stderr


@pytest.mark.usefixtures("with_one_backend")
def test_a_compute_type_without_parity_is_refused() -> None:
    result = run("link", "fiebre", "--compute-type", "int8_float32", "--device", "cpu")
    assert result.exit_code == 1
    assert "cielo verify --parity" in result.stderr
    allowed = run("link", "fiebre", "--compute-type", "int8_float32", "--device", "cpu", "--allow-unverified")
    assert allowed.exit_code == 0


@pytest.mark.usefixtures("with_one_backend")
def test_parity_shown_here_opens_a_compute_type(monkeypatch: pytest.MonkeyPatch) -> None:
    result = run("verify", "--parity", "--device", "cpu", "--compute-type", "int8_float32")
    assert result.exit_code == 0, result.output
    assert "generator.published.texts" in result.stdout
    assert run("link", "fiebre", "--compute-type", "int8_float32", "--device", "cpu").exit_code == 0


def test_the_process_as_a_user_starts_it(tmp_path: Path) -> None:
    environment = {**os.environ, "CIELO_STATE": str(tmp_path)}
    command = [sys.executable, "-m", "cielo.cli", "link", "TC abdominal", "--json"]
    done = subprocess.run(command, capture_output=True, env=environment, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["code"] == "BW20"
    version = subprocess.run([sys.executable, "-m", "cielo.cli", "--version"], capture_output=True, check=True)
    assert b"cielo" in version.stdout


@pytest.mark.parametrize("chapter", ["IXX", "procedure:IX", "diagnosis:B"])
def test_a_part_without_a_single_code_is_refused(chapter: str) -> None:
    result = CliRunner().invoke(main, ["link", "TC abdominal", "--chapter", chapter, "--json"])
    assert (result.exit_code, result.stdout) == (2, "")
    assert "no code of the knowledge base" in result.stderr


@pytest.mark.parametrize("source", ["in.xlsx", "in.parquet", "in.csv"])
@pytest.mark.parametrize("target", ["out.xlsx", "out.parquet", "out.json", "out.csv"])
def test_each_file_has_the_format_of_its_own_name(tmp_path: Path, source: str, target: str) -> None:
    rows = [{"texto": "fiebre", "ward": code} for code in CODES]
    with (tmp_path / source).open("wb") as stream:
        write_table(stream, format_of(source), rows)
    result = run("link", "--input", tmp_path / source, "--output", tmp_path / target)
    assert result.exit_code == 0, result.output
    written = [row.values for row in read_table(tmp_path / target) if isinstance(row, TableRow)]
    assert [row["ward"] for row in written] == CODES
    assert {type(row["code"]) for row in written} == {str}


def test_a_spanish_spreadsheet_s_rows_are_linked_and_counted(tmp_path: Path) -> None:
    source, target = tmp_path / "in.csv", tmp_path / "out.csv"
    source.write_bytes('sep=;\r\nText;Sentence\r\nfiebre;"Ingresó\r\ntos;Niña con tos\r\n'.encode("cp1252"))
    result = run("link", "--input", source, "--output", target)
    assert result.exit_code == 3
    assert "4 lines were read, 2 rows given" in result.stderr
    assert [bool(row["error"]) for row in rows_of(target)] == [True, False]


def test_a_part_of_the_codes_that_leaves_most_rows_without_one_is_said(tmp_path: Path) -> None:
    source = tmp_path / "in.csv"
    source.write_text("text,kind\nfiebre,diagnosis\ntos,diagnosis\nTC abdominal,procedure\n", encoding="utf-8")
    result = run(
        "link", "--input", source, "--decoding", "probable", "--chapter", "XXII", "--output", tmp_path / "out.csv"
    )
    assert "3 of 3 mentions got no code; --chapter, --leaf and --codes left 1 of 1,886 codes" in result.stderr
    assert "1 of 1 mentions got no code" in run("link", "fiebre", "--decoding", "probable", "--chapter", "XXII").stderr
    for few in ([], ["--chapter", "XVIII"]):  # two of three rows have a code
        result = run("link", "--input", source, *few, "--output", tmp_path / f"out{len(few)}.csv")
        assert "got no code" not in result.stderr


@pytest.mark.parametrize(("option", "id"), [([], "=1+1"), (["--guard-formulas"], "'=1+1")])
def test_formulas_are_guarded_where_it_is_asked_for(tmp_path: Path, option: list[str], id: str) -> None:
    (tmp_path / "in.csv").write_text("text,id\nfiebre,=1+1\n", encoding="utf-8")
    assert run("link", "--input", tmp_path / "in.csv", "--output", tmp_path / "out.csv", *option).exit_code == 0
    (row,) = rows_of(tmp_path / "out.csv")
    assert (row["id"], row["log_prob"][0]) == (id, "-")


@pytest.mark.parametrize(("language", "said"), [("en", "(no confidence: review)"), ("es", "(sin confianza: revisar)")])
def test_a_code_without_a_confidence_is_to_be_reviewed(language: str, said: str) -> None:
    shown = run("link", "fiebre", "--chapter", "X", "--language", language).stdout
    assert shown.splitlines()[0].endswith(said)  # a subset has no calibration
