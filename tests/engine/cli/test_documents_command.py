"""``cielo documents``: each input, each output, and documents as nobody wants them."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from cielo import Linker, LinkOptions
from cielo.cli import main, progress
from cielo.documents.linking import link_documents
from cielo.documents.records import Document, MarkedSpan
from cielo.tables import TableRow, read_table
from click.testing import CliRunner, Result

TEXT = "La TC abdominal es normal. Refiere tos seca."
OTHER = "Paciente con HTA."
ANN = "T1\tPROC 3 15\tTC abdominal\nT2\tDIAG 35 38\ttos\n#1\tAnnotatorNotes T1\tvisto\nN7\tReference T1 UMLS:C1\tx\n"
SECRET = "Zutanito"
CODES = ["BW20", "R05", "I10"]
SYSTEMS = ("--code-system", "diagnosis=https://ejemplo.es/d|2024", "--code-system", "procedure=https://ejemplo.es/p")
COMMAND = [sys.executable, "-P", "-c", "from cielo.cli import main; main(prog_name='cielo')"]


@pytest.fixture(autouse=True)
def _own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CIELO_STATE", str(tmp_path / "state"))
    monkeypatch.delenv("CIELO_BUNDLE", raising=False)


def run(*arguments: str | Path, stdin: bytes | None = None) -> Result:
    return CliRunner().invoke(main, ["documents", *map(str, arguments)], input=stdin)


def documents() -> list[dict[str, Any]]:
    return [
        {"id": "n1", "text": TEXT, "spans": [[3, 15], {"start": 35, "end": 38, "id": "x", "kind": "diagnosis"}]},
        {"id": 7, "text": OTHER, "spans": [[[13, 16]]], "subject": "Patient/9"},
    ]


def bigbio() -> list[dict[str, Any]]:
    return [
        {
            "id": "b", "document_id": "n1",
            "passages": [{"id": "p", "type": "", "text": [TEXT], "offsets": [[0, len(TEXT)]]}],
            "entities": [
                {"id": "1", "type": "PROC", "text": ["TC abdominal"], "offsets": [[3, 15]],
                 "normalized": [{"db_name": "UMLS", "db_id": "C1"}]},
                {"id": "2", "type": "DIAG", "text": ["tos"], "offsets": [[35, 38]], "normalized": []},
            ],
        }
    ]  # fmt: skip


def brat(folder: Path, texts: dict[str, tuple[str, str]] | None = None) -> Path:
    folder.mkdir(parents=True)
    for name, (text, marks) in (texts or {"n1": (TEXT, ANN), "n2": (OTHER, "T1\tDIAG 13 16\tHTA\n")}).items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / f"{name}.txt").write_bytes(text.encode())
        (folder / f"{name}.ann").write_bytes(marks.encode("utf-8", "surrogateescape"))
    return folder


def codiesp(folder: Path) -> Path:
    (folder / "text_files").mkdir(parents=True)
    (folder / "text_files" / "n1.txt").write_bytes(TEXT.encode())
    (folder / "text_files" / "n2.txt").write_bytes(OTHER.encode())
    lines = (
        "n1\tPROCEDIMIENTO\tbw20\tTC abdominal\t3 15\n"
        "n2\tDIAGNOSTICO\ti10\tHTA\t13 16\n"
        "n1\tDIAGNOSTICO\tr05\ttos\t35 38\n"
    )
    (folder / "devX.tsv").write_text(lines, encoding="utf-8")
    return folder


def lines_of(entries: list[dict[str, Any]]) -> str:
    return "".join(json.dumps(entry) + "\n" for entry in entries)


def rows_in(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def written(path: Path) -> list[dict[str, Any]]:
    return [row.values for row in read_table(path) if isinstance(row, TableRow)]


def inputs(tmp_path: Path, form: str) -> Path:
    if form == "brat":
        return brat(tmp_path / "in")
    if form == "codiesp":
        return codiesp(tmp_path / "in")
    entries = bigbio() if form == "bigbio" else documents()
    source = tmp_path / ("in.json" if form == "json" else "in.jsonl")
    source.write_text(json.dumps(entries, indent=1) if form == "json" else lines_of(entries), encoding="utf-8")
    return source


@pytest.mark.parametrize("form", ["jsonl", "json", "bigbio", "brat", "codiesp"])
def test_each_input_gives_a_row_for_each_span(tmp_path: Path, form: str) -> None:
    result = run(inputs(tmp_path, form), "--output", tmp_path / "out.jsonl")
    assert result.exit_code == 0, result.output
    rows = written(tmp_path / "out.jsonl")
    assert [row["code"] for row in rows] == CODES[: len(rows)]
    assert len(rows) == (2 if form == "bigbio" else 3)
    assert (rows[0]["start"], rows[0]["end"], rows[0]["fragments"]) == (3, 15, [[3, 15]])
    assert (rows[1]["text"], rows[1]["sentence"]) == ("tos", "Refiere tos seca.")
    assert rows[0]["provenance"]["bundle"]["name"] == "mini"
    names = {"jsonl": ["n1", "7"], "json": ["n1", "7"], "bigbio": ["b"]}.get(form, ["n1", "n2"])
    assert list(dict.fromkeys(row["document"] for row in rows)) == names


def test_rows_are_what_python_gives(tmp_path: Path) -> None:
    spans = [((0, 2), (27, 34)), (3, 15), (35, 38)]
    entry = {"text": TEXT, "spans": [{"fragments": spans[0]}, *spans[1:]]}
    result = run("-", "--cache", tmp_path / "cache", stdin=lines_of([entry]).encode())
    with Linker.open() as linker:
        expected = linker.link_document(TEXT, spans)
    rows = rows_in(result.stdout)
    assert [(row["document"], row["text"]) for row in rows] == [
        ("1", "La Refiere"),
        ("1", "TC abdominal"),
        ("1", "tos"),
    ]
    for row, found in zip(rows, expected, strict=True):
        assert found.link is not None and found.sentence is not None
        assert row["code"] == found.link.code
        assert row["sentence"] == TEXT[slice(*found.sentence)]
        assert row["log_prob"] == pytest.approx(found.link.log_prob, abs=1e-4)


@pytest.mark.parametrize("form", ["csv", "tsv", "xlsx", "parquet", "jsonl", "json"])
def test_each_table_has_the_same_codes(tmp_path: Path, form: str) -> None:
    entries = [*documents(), {"id": "bad", "text": 3}]
    target = tmp_path / f"out.{form}"
    result = run("-", "--output", target, stdin=lines_of(entries).encode())
    assert result.exit_code == 3, result.output
    rows = written(target)
    assert [row.get("code") or None for row in rows] == [*CODES, None]
    assert rows[-1]["document"] == "bad"
    assert "no text" in rows[-1]["error"]
    if form not in ("jsonl", "json"):
        assert [row["fragments"] for row in rows[:2]] == ["3 15", "35 38"]


@pytest.mark.parametrize("form", ["jsonl", "bigbio", "brat", "codiesp"])
def test_a_folder_of_brat_comes_out_of_each_input(tmp_path: Path, form: str) -> None:
    result = run(inputs(tmp_path, form), "--format", "brat", "--output", tmp_path / "out")
    assert result.exit_code == 0, result.output
    name = "b" if form == "bigbio" else "n1"
    assert (tmp_path / "out" / f"{name}.txt").read_bytes() == TEXT.encode()
    annotations = (tmp_path / "out" / f"{name}.ann").read_text(encoding="utf-8")
    for code, name in (("BW20", "1"), ("R05", "2")):
        assert f"\tReference T{name} CIE10ES:{code}\t" in annotations
    again = run(tmp_path / "out", "--output", tmp_path / "again.jsonl")
    assert again.exit_code == 0, again.output
    assert {row["code"] for row in written(tmp_path / "again.jsonl")} - {"I10"} == {"BW20", "R05"}


def test_brat_keeps_every_line_and_byte_and_a_second_run_changes_nothing(tmp_path: Path) -> None:
    crlf = TEXT.replace(". ", ".\r\n")
    texts = {
        "a/n1": (crlf, "T1\tPROC 3 15\tTC abdominal\r\nT2\tDIAG 36 39\ttos\r\n"),  # offsets count both line ends
        "a/n2": (crlf, "T1\tDIAG 35 38\ttos\n"),  # these count one
        "marked": ("\ufeff" + OTHER, "T1\tDIAG 13 16\tHTA\nR1\tx Arg1:T1 Arg2:T1\n* Equiv T1 T1\n"),
        "bad": (OTHER, "T1\tDIAG 13 16\tHTA\n#1\tAnnotatorNotes T1\t\udcff\nT2\tDIAG 0 3\totro\nT3\tDIAG x y\tz\n"),
    }  # fmt: skip
    result = run(
        brat(tmp_path / "in", texts), "--format", "brat", "--output", tmp_path / "out", "--errors", tmp_path / "e.csv"
    )
    assert result.exit_code == 3, result.output
    assert {row["place"].rpartition("/")[2] for row in written(tmp_path / "e.csv")} == {
        "bad.ann, span 2", "bad.ann, span 3", "bad.ann, span 4",
    }  # fmt: skip
    for name, (text, marks) in texts.items():
        assert (tmp_path / "out" / f"{name}.txt").read_bytes() == text.encode()
        made = (tmp_path / "out" / f"{name}.ann").read_bytes()
        assert made.startswith(marks.encode("utf-8", "surrogateescape"))
        assert made.count(b"\tReference T") == (2 if name == "a/n1" else 1), name
    assert run(tmp_path / "out", "--format", "brat", "--output", tmp_path / "twice").exit_code == 3
    for name in texts:
        assert (tmp_path / "twice" / f"{name}.ann").read_bytes() == (tmp_path / "out" / f"{name}.ann").read_bytes()


def test_other_files_are_not_lost_to_an_output_of_brat(tmp_path: Path) -> None:
    source = inputs(tmp_path, "jsonl")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.doc").write_text("years of work")
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "old.ann").write_text("")
    for target, more, code in (("out", ["--overwrite"], 1), ("old", [], 1), ("old", ["--overwrite"], 0), ("-", [], 2)):
        result = run(source, "--format", "brat", "--output", "-" if target == "-" else tmp_path / target, *more)
        assert result.exit_code == code, result.output
    assert (tmp_path / "out" / "thesis.doc").exists()
    assert sorted(file.name for file in (tmp_path / "old").iterdir()) == ["7.ann", "7.txt", "n1.ann", "n1.txt"]
    brat(tmp_path / "notes")
    assert run(tmp_path / "notes", "--format", "brat", "--output", tmp_path / "notes", "--overwrite").exit_code == 2


@pytest.mark.parametrize("name", ["../up", "/abs", "a/../../up", "x" * 300, "a\0b", "..", "."])
def test_an_id_that_is_no_file_s_name_leaves_the_folder_nowhere(tmp_path: Path, name: str) -> None:
    entries = [{"id": name, "text": OTHER, "spans": [[13, 16]]}, *documents(), documents()[0]]
    before = set(tmp_path.parent.iterdir())
    result = run("-", "--format", "brat", "--output", tmp_path / "out", stdin=lines_of(entries).encode())
    assert result.exit_code == 3, result.output
    assert "no name of a file" in result.stderr
    assert "another document has the same id" in result.stderr
    assert sorted(file.name for file in (tmp_path / "out").rglob("*")) == ["7.ann", "7.txt", "n1.ann", "n1.txt"]
    assert set(tmp_path.parent.iterdir()) == before


def test_fhir_gives_a_valid_bundle_for_each_document() -> None:
    resources = pytest.importorskip("fhir.resources.R4B.bundle")
    entries = [*documents(), {"id": "none", "text": OTHER, "spans": []}, {"id": "bad", "text": OTHER}]
    options = ("--format", "fhir", *SYSTEMS, "--subject", "Patient/{document}")
    result = run("-", *options, stdin=lines_of(entries).encode())
    assert result.exit_code == 3, result.output
    made = [resources.Bundle.model_validate_json(line) for line in result.stdout.splitlines()]
    assert [one.identifier.value for one in made] == ["n1", "7", "none"]
    assert [one.entry[0].resource.subject.reference for one in made[:2]] == ["Patient/n1", "Patient/9"]
    assert made[0].entry[0].resource.code.coding[0].code == "BW20"
    assert "standard input, line 4: the document has no spans" in result.stderr


def test_fhir_refuses_what_it_would_have_to_invent(tmp_path: Path) -> None:
    source = inputs(tmp_path, "jsonl")
    result = run(source, "--format", "fhir", "--subject", "Patient/1", "--output", tmp_path / "out")
    assert (result.exit_code, (tmp_path / "out").exists()) == (2, False)
    assert "--code-system" in result.stderr
    result = run(source, "--format", "fhir", *SYSTEMS)
    assert result.exit_code == 3
    assert "names no patient" in result.stderr
    assert len(result.stdout.splitlines()) == 1


def test_omop_gives_rows_whose_notes_are_numbers(tmp_path: Path) -> None:
    source = inputs(tmp_path, "jsonl")
    result = run(source, "--format", "omop")
    assert result.exit_code == 3
    (row,) = csv.DictReader(result.stdout.splitlines())
    assert (row["note_nlp_id"], row["note_id"], row["offset"], row["snippet"]) == ("1", "7", "13", OTHER)
    assert "note_id is a whole number" in result.stderr
    (tmp_path / "CONCEPT.csv").write_text(
        "concept_id\tvocabulary_id\tconcept_code\tstandard_concept\n45\tICD10CM\tR05\t\n", encoding="utf-8"
    )
    options = ["--number-notes", "--concepts", tmp_path / "CONCEPT.csv", "--vocabulary", "diagnosis=ICD10CM"]
    result = run(source, "--format", "omop", *options, "--output", tmp_path / "out.parquet")
    assert result.exit_code == 0, result.output
    rows = written(tmp_path / "out.parquet")
    assert [(row["note_nlp_id"], row["note_id"]) for row in rows] == [("1", "1"), ("2", "1"), ("3", "2")]
    assert [row["note_nlp_source_concept_id"] for row in rows] == ["0", "45", "0"]
    assert run(source, "--format", "omop", "--vocabulary", "diagnosis=ICD10CM").exit_code == 2


@pytest.mark.parametrize("form", ["jsonl", "bigbio", "brat"])
def test_bigbio_comes_out_of_each_input(tmp_path: Path, form: str) -> None:
    result = run(inputs(tmp_path, form), "--format", "bigbio", "--terminology", "MIA")
    assert result.exit_code == 0, result.output
    first = rows_in(result.stdout)[0]
    assert first["passages"][0]["text"] == [TEXT]
    assert [entity["text"] for entity in first["entities"]] == [["TC abdominal"], ["tos"]]
    assert [entity["normalized"][-1] for entity in first["entities"]] == [
        {"db_name": "MIA", "db_id": "BW20"}, {"db_name": "MIA", "db_id": "R05"},
    ]  # fmt: skip
    assert len(first["entities"][0]["normalized"]) == (2 if form == "bigbio" else 1)


def test_kinds_go_by_span_by_type_and_by_option(tmp_path: Path) -> None:
    source = brat(tmp_path / "in")
    (row, other, _) = rows_in(run(source, "--type", "PROC=diagnosis").stdout)
    assert (row["kind"], other["kind"], row["type"]) == ("diagnosis", "diagnosis", "PROC")
    (row, other, _) = rows_in(run(source, "--kind", "procedure", "--type", "DIAG=diagnosis").stdout)
    assert (row["code"], other["code"]) == ("BW20", "R05")
    for wrong in (["--kind", "x"], ["--type", "DIAG=x"], ["--type", "DIAG"]):
        assert run(source, *wrong).exit_code == 2


def test_a_kind_is_no_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = brat(tmp_path / "in")
    monkeypatch.chdir(tmp_path)
    result = run(source, "--type", "DIAG=diagnosis", "--format", "brat", "--output", "diagnosis")
    assert result.exit_code == 0, result.output


def test_the_options_of_linking_are_those_of_rows(tmp_path: Path) -> None:
    source = inputs(tmp_path, "jsonl")
    (tmp_path / "lexicon.tsv").write_text("text\tcode\ntos\tI10\n", encoding="utf-8")
    rows = rows_in(run(source, "--lexicon", tmp_path / "lexicon.tsv", "--memory", "4GB", "--top-k", "1").stdout)
    assert [(row["code"], row["method"]) for row in rows] == [("BW20", "exact"), ("I10", "lexicon"), ("I10", "exact")]
    rows = rows_in(run(source, "--decoding", "probable", "--chapter", "IX").stdout)
    assert [row["code"] in (None, "I10") or row["code"].startswith("I") for row in rows] == [True] * 3
    assert {row["provenance"]["decoding"] for row in rows} == {"probable"}
    assert {row["code"] for row in rows_in(run(source, "--min-confidence", "1").stdout)} == {None}


SPANS: list[Any] = [
    [3, 9999], [-1, 3], [15, 3], [3, 3], [], [[]], "3 15", None, 7, True, {}, {"start": 3}, {"start": "3", "end": 15},
    {"fragments": []}, {"fragments": [[3, 15], [3]]}, {"start": 3, "end": 15, "fragments": [[3, 15]]}, [3.0, 15.0],
    [True, 15], [3, 15, 20], {"start": 3, "end": 15, "text": SECRET}, {"start": 3, "end": 15, "kind": SECRET},
    {"start": 3, "end": 15, "id": []}, [2, 3], {"start": 10**30, "end": 10**31},
    {"start": 3, "end": 15, "id": "\ud800"},
]  # fmt: skip


def test_a_span_that_does_not_fit_is_an_error_in_its_place() -> None:
    good = [[35, 38]]
    entry = {"id": "n", "text": TEXT, "spans": [*good, *SPANS, [3, 15], [3, 15], [0, 26], [6, 38]]}
    result = run("-", stdin=lines_of([entry]).encode())
    assert result.exit_code == 3, result.output
    rows = rows_in(result.stdout)
    assert [bool(row.get("error")) for row in rows] == [False, *[True] * len(SPANS), *[False] * 4]
    assert (rows[0]["code"], rows[-3]["code"], rows[-4]["code"]) == ("R05", "BW20", "BW20")  # overlapping ones too
    assert SECRET not in result.stderr
    assert all(SECRET not in row.get("error", "") for row in rows)


DOCUMENTS: list[bytes] = [
    b"{", b"3", b"[1]", b"{}", b'{"text": "tos"}', b'{"spans": []}', b'{"text": null, "spans": []}',
    b'{"text": "tos", "spans": {}}', b'{"text": "tos", "spans": [[0, 3]], "id": []}',
    b'{"text": "t\xffs", "spans": []}',
    b'{"text": "tos", "spans": [], "subject": 3}', b'{"passages": 3, "entities": []}', b'{"text": "a", "text": "b"}',
]  # fmt: skip


@pytest.mark.parametrize("array", [False, True])
def test_a_document_that_cannot_be_read_is_an_error_in_its_place(tmp_path: Path, array: bool) -> None:
    good = [json.dumps(entry).encode() for entry in documents()]
    entries = [good[0], *(entry for entry in DOCUMENTS if not array or entry != b"{"), good[1]]
    source = tmp_path / ("in.json" if array else "in.jsonl")
    source.write_bytes(b"[" + b",\n".join(entries) + b"]" if array else b"\n".join(entries))
    result = run(source, "--encoding", "utf-8")
    assert result.exit_code == 3, result.output
    rows = rows_in(result.stdout)
    assert [row.get("code") for row in rows] == [*CODES[:2], *[None] * (len(entries) - 2), CODES[2]]
    assert all(row["error"] and row["document"] for row in rows[2:-1])


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "windows-1252"])
def test_texts_in_other_encodings_and_with_other_line_ends(tmp_path: Path, encoding: str) -> None:
    text = "Niña de 3 años.\r\nRefiere tos seca.\r\n"
    start = text.index("tos")
    entry = {"id": "ñ", "text": text, "spans": [[start, start + 3]]}
    source = tmp_path / "in.jsonl"
    source.write_bytes((json.dumps(entry, ensure_ascii=False) + "\r\n").encode(encoding))
    result = run(source)
    assert result.exit_code == 0, result.output
    (row,) = rows_in(result.stdout)
    assert (row["document"], row["code"], row["sentence"].strip()) == ("ñ", "R05", "Refiere tos seca.")


def test_a_folder_with_parts_missing_keeps_the_rest(tmp_path: Path) -> None:
    folder = brat(tmp_path / "in")
    (folder / "alone.txt").write_text("Sin anotar.", encoding="utf-8")
    (folder / "lost.ann").write_text("T1\tDIAG 0 3\ttos\n", encoding="utf-8")
    (folder / "empty.txt").write_bytes(b"")
    (folder / "empty.ann").write_bytes(b"")
    (folder / "void.txt").write_bytes(b"")
    (folder / "void.ann").write_bytes(b"T1\tDIAG 0 3\ttos\n")
    (folder / "wide.txt").write_bytes(OTHER.encode("utf-16"))
    (folder / "wide.ann").write_bytes("T1\tDIAG 13 16\tHTA\n".encode("utf-16"))
    result = run(folder)
    assert result.exit_code == 3, result.output
    rows = rows_in(result.stdout)
    failed = [row["document"] for row in rows if "error" in row]
    assert failed == ["alone", "lost", "void", "wide"]
    assert [row["code"] for row in rows if "code" in row] == CODES


def test_lines_of_codiesp_that_fit_nowhere_keep_the_rest(tmp_path: Path) -> None:
    folder = codiesp(tmp_path / "in")
    with (folder / "devX.tsv").open("ab") as file:
        file.write(b"n1\tDIAGNOSTICO\tx\totro\t0 2\nn9\tDIAGNOSTICO\tx\ttos\t0 3\nn1\tx\nn1\tDIAGNOSTICO\tx\ttos\tno\n")
    result = run(folder / "devX.tsv")
    assert result.exit_code == 3, result.output
    rows = rows_in(result.stdout)
    assert sorted(row["code"] for row in rows if "code" in row) == sorted(CODES)
    assert [row["document"] for row in rows if "error" in row] == ["devX.tsv, line 6", "n1", "n1", "n9"]
    assert run(folder, "--split", "test").exit_code == 1


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ([], 2),
        (["/does/not/exist"], 1),
        (["{empty}"], 1),
        (["{table}"], 1),
        (["{good}", "--output", "{out}/links"], 2),
        (["{good}", "--output", "{out}/links.doc"], 2),
        (["{good}", "--output", "{good}"], 2),
        (["{good}", "--output", "{out}/absent/links.csv"], 1),
        (["{good}", "--output", "{out}/absent/brat", "--format", "brat"], 1),
        (["{good}", "--format", "brat", "--output", "{out}/b", "--terminology", "a b"], 2),
        (["{good}", "--format", "fhir", "--code-system", "x=y"], 2),
        (["{good}", "--concepts", "{good}", "--vocabulary", "diagnosis=X", "--format", "omop"], 1),
        (["{good}", "--encoding", "none"], 1),
        (["{good}", "--top-k", "0"], 2),
        (["{good}", "--chapter", "IXX"], 2),
    ],
)
def test_wrong_use_ends_with_a_line_and_a_code(tmp_path: Path, arguments: list[str], code: int) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "table.csv").write_text("text\ntos\n")
    places = {
        "empty": tmp_path / "empty",
        "table": tmp_path / "table.csv",
        "good": inputs(tmp_path, "jsonl"),
        "out": tmp_path,
    }
    before = set(tmp_path.iterdir())
    result = run(*(argument.format(**places) for argument in arguments))
    assert result.exit_code == code, result.output
    assert isinstance(result.exception, SystemExit)
    assert result.stderr.strip()
    assert "Traceback" not in result.output
    assert set(tmp_path.iterdir()) - before <= {tmp_path / "state"}


def test_nothing_in_gives_nothing_out(tmp_path: Path) -> None:
    for name in ("in.jsonl", "in.json"):
        (tmp_path / name).write_bytes(b"")
        result = run(tmp_path / name)
        assert (result.exit_code, result.stdout.strip()) == (0, ""), result.output


def test_the_mentions_of_several_documents_are_linked_together() -> None:
    calls: list[int] = []

    class Counting:
        def link_each(self, entries: list[Any], options: object, progress: object) -> Any:
            calls.append(len(entries))
            with_links = iter(linker.link_each(entries, LinkOptions()))
            return with_links

    given = 600
    read = 0

    def many() -> Any:
        nonlocal read
        for number in range(given):
            read += 1
            yield Document(str(number), "", OTHER, (MarkedSpan([13, 16]), MarkedSpan([99, 100])) if number % 2 else ())

    with Linker.open() as linker:
        found = link_documents(many(), Counting())  # type: ignore[arg-type]
        first = next(found)
        assert read < given / 2
        rest = list(found)
    assert [one.document.name for one in (first, *rest)] == [str(number) for number in range(given)]
    assert [len(one.found) for one in rest[:3]] == [2, 0, 2]
    assert rest[0].found[0].link is not None and rest[0].found[1].error is not None
    assert len(calls) < 8 and sum(calls) == given


def start(folder: Path, *arguments: str) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "CIELO_STATE": str(folder / "state"), "TMPDIR": str(folder / "temporary")}
    (folder / "temporary").mkdir()
    return subprocess.Popen(
        [*COMMAND, "documents", *arguments], cwd=folder, env=environment, stdin=subprocess.PIPE,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


@pytest.mark.parametrize(("target", "more"), [("out.csv", []), ("out", ["--format", "brat"])])
def test_an_interrupted_output_leaves_nothing(tmp_path: Path, target: str, more: list[str]) -> None:
    entries = [{"text": f"Refiere tos {number}.", "spans": [[8, 14]]} for number in range(20_000)]
    (tmp_path / "in.jsonl").write_text(lines_of(entries), encoding="utf-8")
    process = start(tmp_path, "in.jsonl", "--output", target, *more)
    for _ in range(1200):
        if any("partial" in path.name for path in tmp_path.iterdir()):
            break
        time.sleep(0.05)
    else:
        pytest.fail("it did not begin to write")
    process.send_signal(signal.SIGTERM)
    _, complaint = process.communicate(timeout=60)
    assert process.returncode == 143, complaint
    assert complaint.rstrip().endswith(b"; nothing was written")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.jsonl", "state", "temporary"]
    assert list((tmp_path / "temporary").iterdir()) == []


@pytest.mark.parametrize("form", ["jsonl", "csv", "tsv", "omop"])
def test_a_document_is_printed_as_soon_as_it_is_done(tmp_path: Path, form: str) -> None:
    process = start(tmp_path, "-", "--format", form, *(["--number-notes"] if form == "omop" else []))
    assert process.stdin is not None and process.stdout is not None
    process.stdin.write(lines_of([{"text": OTHER, "spans": [[13, 16]]}]).encode())
    process.stdin.flush()
    line = process.stdout.readline()  # although more may come
    if form != "jsonl":
        assert line.startswith(b"document" if form != "omop" else b"note_nlp_id")
        line = process.stdout.readline()
    assert (b"13" if form == "omop" else b"I10") in line
    process.send_signal(signal.SIGINT)
    _, complaint = process.communicate(timeout=60)
    assert process.returncode == 130
    assert complaint.rstrip().endswith(b"; what was printed stays")


@pytest.mark.parametrize("form", ["csv", "tsv", "json"])
def test_what_is_printed_is_what_a_file_holds(tmp_path: Path, form: str) -> None:
    entries = [*documents(), {"id": "bad", "text": 3}]
    printed = run("-", "--format", form, "--top-k", "1", stdin=lines_of(entries).encode())
    assert printed.exit_code == 3, printed.output
    (tmp_path / f"printed.{form}").write_bytes(printed.stdout_bytes)
    filed = run("-", "--output", tmp_path / f"out.{form}", "--top-k", "1", stdin=lines_of(entries).encode())
    assert filed.stdout == ""
    first, second = (written(tmp_path / name) for name in (f"printed.{form}", f"out.{form}"))
    figures = ("confidence", "log_prob", "probability", "distance", "proof", "candidates")  # of other batches
    for row, other in zip(first, second, strict=True):
        shared = {name: value for name, value in row.items() if name not in figures and name in other}
        assert shared == {name: other[name] for name in shared}
        assert not any(value for name, value in row.items() if name not in other)


class TestTold:
    """What is said beside the result."""

    @pytest.fixture
    def at_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(progress, "_SILENT", 0.0)
        monkeypatch.setattr(progress, "_EVERY", 0.0)

    def test_a_summary_ends_it(self, tmp_path: Path) -> None:
        again = {"id": "n2", "text": TEXT, "spans": [[3, 15]]}
        result = run("-", "--output", tmp_path / "out.csv", stdin=lines_of([*documents(), again]).encode())
        assert (result.exit_code, result.stdout) == (0, "")
        first, *rest = result.stderr.splitlines()
        assert first.startswith("cielo: 3 documents, 4 spans, 3 distinct mentions; ")
        assert first.endswith(" spans a second")
        assert rest == ["  by method: 4 exact", "  by decision: 4 accept, 0 review, 0 none"]

    def test_it_counts_what_failed(self, tmp_path: Path) -> None:
        entries = [*documents(), {"id": "bad", "text": 3}, {"id": "n3", "text": OTHER, "spans": [[13, 16], [99, 100]]}]
        result = run("-", "--format", "omop", "--errors", tmp_path / "e.csv", stdin=lines_of(entries).encode())
        assert result.exit_code == 3
        # One that cannot be read, two whose ids are no numbers, and a span.
        assert "cielo: 4 documents, 5 spans, 3 distinct mentions, 4 errors; " in result.stderr
        assert "cielo: 3 document(s) and 1 span(s) could not be linked or written" in result.stderr
        assert SECRET not in result.stderr

    def test_it_speaks_spanish(self, tmp_path: Path) -> None:
        result = run(inputs(tmp_path, "jsonl"), "--output", tmp_path / "out.csv", "--language", "es")
        assert "2 documentos, 3 tramos, 3 menciones distintas" in result.stderr
        assert "aceptar" in result.stderr

    @pytest.mark.usefixtures("at_once")
    @pytest.mark.parametrize("form", ["jsonl", "brat", "codiesp"])
    def test_it_tells_how_far_it_is(self, tmp_path: Path, form: str) -> None:
        result = run(inputs(tmp_path, form), "--output", tmp_path / "out.csv")
        assert result.exit_code == 0
        assert "cielo: linking: 3 of 3 mentions" in result.stderr

    @pytest.mark.usefixtures("at_once")
    def test_quiet_leaves_what_is_wrong_and_verbose_says_more(self, tmp_path: Path) -> None:
        source = inputs(tmp_path, "jsonl")
        assert run(source, "--output", tmp_path / "quiet.csv", "-q").stderr == ""
        told = run(source, "--output", tmp_path / "verbose.csv", "-v").stderr
        assert "cielo: bundle mini@" in told and "seconds of each stage: " in told
        failed = run("-", "-q", "--output", tmp_path / "out.csv", stdin=lines_of([{"text": 3}]).encode())
        assert failed.exit_code == 3
        (line,) = failed.stderr.splitlines()
        assert line.startswith("cielo: 1 document(s) and 0 span(s) could not be linked")
