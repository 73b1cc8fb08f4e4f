"""Workbooks of Excel 97 to 2003: their numbers are codes only where nothing was lost."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import pytest
from cielo.errors import TableError
from cielo.knowledge.code_tables import CodeRow, CodeTable, read_code_table
from cielo.tables import RejectedRow, read_table
from cielo.tables.formats import require_library
from cielo.tables.mentions import read_mentions
from cielo.tables.writing import write_table

xlwt = pytest.importorskip("xlwt")
pytest.importorskip("xlrd")


def save(path: Path, rows: list[list[Any]], formats: dict[tuple[int, int], str] | None = None) -> Path:
    book = xlwt.Workbook()
    book.add_sheet("portada").write(0, 0, "Listado")
    sheet = book.add_sheet("datos")
    for row, cells in enumerate(rows):
        for column, cell in enumerate(cells):
            style = xlwt.easyxf(num_format_str=(formats or {}).get((row, column), "General"))
            if cell is not None:
                sheet.write(row, column, cell, style)
    book.save(str(path))
    return path


def test_mentions_are_read_from_the_sheet_that_has_them(tmp_path: Path) -> None:
    rows = [["Informe de enero"], ["Texto", "Frase", "Edad", "Fecha"], ["neumonía", "Ingresa.", 71, None]]
    file = save(tmp_path / "a.xls", rows)
    table = read_mentions(file)
    (row,) = table
    assert (row.mention().text, row.mention().sentence) == ("neumonía", "Ingresa.")
    assert table.table.header == 2 and row.number == 3


def test_codes_keep_their_zeros_or_are_refused(tmp_path: Path) -> None:
    rows = [["codigo", "descripcion"], ["0210", "a"], [16, "b"], [16, "c"], [1e15, "d"], [True, "e"]]
    file = save(tmp_path / "a.xls", rows, {(3, 0): "0000"})
    found = list(read_code_table(CodeTable(file, "x")).rows)
    assert [row.code for row in found if isinstance(row, CodeRow)] == ["0210", "16", "0016"]
    assert sum(not isinstance(row, CodeRow) for row in found) == 2


def test_dates_are_no_codes(tmp_path: Path) -> None:
    file = save(tmp_path / "a.xls", [["text"], [datetime.date(2026, 3, 1)]], {(1, 0): "dd/mm/yyyy"})
    (row,) = read_mentions(file)
    with pytest.raises(Exception, match="date"):
        row.mention()


def test_a_workbook_that_is_called_xls_and_is_none(tmp_path: Path) -> None:
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    book.active.append(["text"])
    book.active.append(["tos"])
    book.save(tmp_path / "new.xlsx")
    renamed = (tmp_path / "new.xlsx").rename(tmp_path / "new.xls")
    assert [row.values["text"] for row in read_mentions(renamed)] == ["tos"]
    (tmp_path / "text.xls").write_bytes(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"text" * 400)
    with pytest.raises(TableError, match="is no XLS workbook, or is damaged"):
        read_mentions(tmp_path / "text.xls")


@pytest.mark.parametrize("cut", [1, 100, 2000, 4000])
def test_a_damaged_one_is_an_error_and_no_crash(tmp_path: Path, cut: int) -> None:
    content = save(tmp_path / "a.xls", [["text"], ["tos"]]).read_bytes()
    (tmp_path / "b.xls").write_bytes(content[:-cut])
    try:
        rows = list(read_table(tmp_path / "b.xls"))
    except TableError as error:
        assert "XLS" in str(error)
    else:
        assert not any(isinstance(row, RejectedRow) for row in rows)


def test_it_is_read_and_not_written(tmp_path: Path) -> None:
    require_library("a.xls", "xls")
    with (tmp_path / "a.xls").open("wb") as stream, pytest.raises(TableError, match="write XLSX"):
        write_table(stream, "xls", [{"a": "b"}])
