"""Cells that a spreadsheet would take for formulas: guarded in CSV and TSV where it is asked for, text in workbooks."""

from __future__ import annotations

import csv
import io
import re
import zipfile
from typing import Any

import pytest
from cielo.tables.formats import OutputStyle
from cielo.tables.writing import guard_formula, write_table

FORMULAS = ["=1+1", "+cmd|' /C calc'!A0", "-2+3", "@SUM(A1)", "\t=1", "\r=1", '=HYPERLINK("http://x")']
PLAIN = ["tos", "-1", "+2.5", "-1e-05", "1-2", "a=b", "'=1"]


def written(form: Any, rows: list[dict[str, Any]], *, guarded: bool) -> bytes:
    stream = io.BytesIO()
    write_table(stream, form, rows, style=OutputStyle(guarded=guarded))
    return stream.getvalue()


@pytest.mark.parametrize("text", FORMULAS)
def test_what_looks_like_a_formula_is_guarded(text: str) -> None:
    assert guard_formula(text) == f"'{text}"


@pytest.mark.parametrize("text", PLAIN)
def test_numbers_and_other_texts_stay(text: str) -> None:
    assert guard_formula(text) == text


@pytest.mark.parametrize("form", ["csv", "tsv"])
def test_tables_guard_cells_and_names_where_it_is_asked_for(form: str) -> None:
    rows = [{"=name": text, "n": -0.5} for text in [*FORMULAS, *PLAIN, None]]
    between = {"csv": ",", "tsv": "\t"}[form]
    for guarded in (False, True):
        content = written(form, rows, guarded=guarded).decode()
        quoting = csv.QUOTE_MINIMAL if form == "csv" else csv.QUOTE_NONE
        cells = list(csv.reader(io.StringIO(content, newline=""), delimiter=between, quoting=quoting))
        taken = [cell for line in cells for cell in line if cell.startswith(("=", "+", "-", "@", "\t", "\r"))]
        if guarded:
            assert all(re.fullmatch(r"[+-][0-9.e-]+", cell) for cell in taken)
            assert cells[0][0] == "'=name"
        else:
            assert "=1+1" in taken
        assert {line[1] for line in cells[1:]} == {"-0.5"}


@pytest.mark.parametrize("form", ["json", "jsonl"])
def test_json_is_never_guarded(form: str) -> None:
    assert b'"=1+1"' in written(form, [{"a": "=1+1"}], guarded=True)


@pytest.mark.parametrize("guarded", [False, True])
def test_a_workbook_holds_text_and_no_formula(guarded: bool) -> None:
    openpyxl = pytest.importorskip("openpyxl")
    content = written("xlsx", [{"=name": text} for text in FORMULAS], guarded=guarded)
    with zipfile.ZipFile(io.BytesIO(content)) as parts:
        sheet = parts.read("xl/worksheets/sheet1.xml").decode()
    assert "<f>" not in sheet and "<f " not in sheet
    assert re.findall(r'<c [^>]*t="(\w+)"', sheet) == ["inlineStr"] * (len(FORMULAS) + 1)
    cells = [row[0] for row in openpyxl.load_workbook(io.BytesIO(content)).active.iter_rows()]
    assert {(cell.data_type, cell.number_format) for cell in cells} == {("s", "@")}
    assert [cell.value for cell in cells][1] == "=1+1"
