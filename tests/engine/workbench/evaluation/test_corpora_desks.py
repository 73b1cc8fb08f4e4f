"""Corpora and maps as desks have them: other names of columns, several codes in a cell, other formats and encodings."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cielo.errors import TableError
from cielo.tables.mentions import MentionColumns
from cielo.workbench.evaluation.corpora import RowsReading, read_code_map, read_corpus
from cielo.workbench.evaluation.corpora.lines import split_codes

openpyxl = pytest.importorskip("openpyxl")


def workbook(rows: list[list[Any]], change: Callable[[Any], None] = lambda sheet: None) -> bytes:
    book = openpyxl.Workbook()
    for row in rows:
        book.active.append(row)
    change(book.active)
    stream = io.BytesIO()
    book.save(stream)
    return stream.getvalue()


@pytest.mark.parametrize(
    ("cell", "codes"),
    [
        ("I10", ("I10",)), ("I10|E11.9", ("I10", "E11.9")), ("I10;E11.9", ("I10", "E11.9")),
        ("I10, E11.9", ("I10", "E11.9")),
        ("i10", ("i10",)), ("A17.0†", ("A17.0",)), ("A17.0† G01*", ("A17.0", "G01")), ("I10/E119", ("I10", "E119")),
        ("I10 + E11.9", ("I10", "E11.9")), ("I10 - E11.9", ("I10", "E11.9")), ("I10\nE11.9", ("I10", "E11.9")),
        ("0210;3E03", ("0210", "3E03")), ("\xa0I10;;I10 ", ("I10",)), ("código propio", ("código propio",)), (" ", ()),
    ],
)  # fmt: skip
def test_the_codes_of_a_cell(cell: str, codes: tuple[str, ...]) -> None:
    assert split_codes(cell) == codes


PAPER = [["entity", "sentence", "CODE"], ["HTA", "Paciente con HTA.", "I10;E11.9"]]
SENTENCES = [
    ["file_id", "sentence", "words", "label", "label_type", "id", "codigo", "descripcion", "block_label"],
    ["S1", "Con HTA.", "HTA", "I10", "DIAGNOSTICO", "1", "I10", "Título propio", "b"],
]


def flat(rows: list[list[str]], delimiter: str, encoding: str = "utf-8", end: str = "\r\n") -> bytes:
    stream = io.StringIO(newline="")
    csv.writer(stream, delimiter=delimiter, lineterminator=end).writerows(rows)
    return stream.getvalue().encode(encoding)


@pytest.mark.parametrize("rows", [PAPER, SENTENCES])
@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("c.tsv", lambda rows: flat(rows, "\t")), ("c.tsv", lambda rows: flat(rows, "\t", "utf-16")),
        ("c.csv", lambda rows: flat(rows, ";", "cp1252")), ("c.csv", lambda rows: flat(rows, ",", "utf-8-sig", "\r")),
        ("c.txt", lambda rows: flat(rows, "\t", "utf-16-le")), ("c.xlsx", workbook), ("c.csv", workbook),
    ],
)  # fmt: skip
def test_the_papers_layouts_in_every_form(
    tmp_path: Path, rows: list[list[str]], name: str, write: Callable[[list[list[str]]], bytes]
) -> None:
    (tmp_path / name).write_bytes(write(rows))
    corpus = read_corpus(tmp_path / name)
    (entry,) = corpus.mentions
    assert (entry.mention.text, entry.codes) == ("HTA", ("I10", "E11.9") if rows is PAPER else ("I10",))
    assert corpus.skipped == ()


@pytest.mark.parametrize("name", ["Código CIE-10", "CIE10ES", "cod_cie", "ICD10", "CODIGOS", "Código"])
def test_columns_of_codes_by_their_usual_names(tmp_path: Path, name: str) -> None:
    (tmp_path / "c.csv").write_bytes(f"Literal;{name};Tipo\r\nHTA;I10;Dx principal\r\n".encode("cp1252"))
    (entry,) = read_corpus(tmp_path / "c.csv", rows=RowsReading(columns=MentionColumns(text="literal"))).mentions
    assert (entry.codes, entry.mention.kind) == (("I10",), "diagnosis")


MAPS = {
    "m.csv": "SNOMED_ID;CIE10;Tipo\n233604007;J18.9;Dx\n", "m.tsv": "sctid\ticd10\n233604007\tJ18.9\n",
    "m.txt": "233604007;J18.9\n", "m2.csv": "origen;destino;nota\n233604007;J18.9;x\n267036007;R06;y\n",
    "m.json": json.dumps([{"conceptId": 233604007, "mapTarget": "J18.9"}]),
}  # fmt: skip


@pytest.mark.parametrize("name", MAPS)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-8-sig"])
def test_maps_whose_columns_are_called_otherwise(tmp_path: Path, name: str, encoding: str) -> None:
    (tmp_path / name).write_bytes(MAPS[name].encode(encoding))
    found = read_code_map(tmp_path / name)
    assert [code.code for code in found["233604007"]] == ["J18.9"]
    assert found["233604007"][0].kind == ("diagnosis" if name == "m.csv" else None)


def test_a_map_in_a_workbook_keeps_the_zeros_of_its_codes(tmp_path: Path) -> None:
    def change(sheet: Any) -> None:
        sheet["B4"].number_format = "0000"

    rows = [["Mapa propio"], ["SNOMED CT", "Código"], [233604007, "J18.9; J15"], [387713003, 210]]
    (tmp_path / "m.xlsx").write_bytes(workbook(rows, change))
    found = read_code_map(tmp_path / "m.xlsx")
    assert {concept: [code.code for code in codes] for concept, codes in found.items()} == {
        "233604007": ["J18.9", "J15"], "387713003": ["0210"],
    }  # fmt: skip


def test_a_map_with_two_columns_that_may_be_the_codes_is_refused(tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_text("origen;a;b\n233604007;J18.9;J15\n")
    with pytest.raises(TableError, match="no column `cui` or `snomed`"):
        read_code_map(tmp_path / "m.csv")


TASKS = {
    "distemist": [["filename", "mark", "label", "off0", "off1", "span", "code", "semantic_rel"],
                  ["d1", "T1", "ENFERMEDAD", "4", "12", "neumonía", "233604007", "EXACT"]],
    "symptemist": [["filename", "label", "start_span", "end_span", "text", "code", "sem_rel", "is_abbrev"],
                   ["d1", "SINTOMA", "4", "12", "neumonía", "233604007", "EXACT", "F"]],
    "medprocner": [["filename", "ann_id", "label", "start_span", "end_span", "text", "code", "sem_rel"],
                   ["d1", "T1", "PROCEDIMIENTO", "4", "12", "neumonía", "233604007+84229001", "EXACT"]],
}  # fmt: skip


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("header", [True, False])
def test_tables_of_shared_tasks_with_and_without_a_header(tmp_path: Path, task: str, header: bool) -> None:
    rows = TASKS[task][not header :]
    (tmp_path / "d1.txt").write_text("Con neumonía.", encoding="utf-8")
    (tmp_path / "m.csv").write_text("snomed,code\n233604007,J18.9\n")
    code_map = read_code_map(tmp_path / "m.csv")
    files = {"t.tsv": flat(rows, "\t", end="\n"), "u.tsv": flat(rows, "\t", "utf-8-sig")}
    if header:
        files |= {"t.csv": flat(rows, ";", "cp1252"), "t.xlsx": workbook(rows), "v.tsv": flat(rows, "\t", "utf-16")}
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
        (entry,) = read_corpus(tmp_path / name, code_map=code_map).mentions
        assert (entry.mention.text, entry.mention.sentence, entry.codes) == ("neumonía", "Con neumonía.", ("J18.9",))
        assert entry.mention.kind == ("procedure" if task == "medprocner" else "diagnosis")
