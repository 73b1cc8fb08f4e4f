"""Which columns of a table are read: by their names, and by what they hold."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import openpyxl
import pytest
from cielo.errors import TableError
from cielo.knowledge.building import read_terminology
from cielo.knowledge.code_tables import CodeRow, CodeTable, read_code_table

ILLNESSES = ["Mal de la Puebla", "Mal del Puerto", "Mal sin especificar"]
CODES = ["Q000", "Q001", "Q009"]


def read(tmp_path: Path, content: str, name: str = "t.csv", **options: Any) -> tuple[list[Any], tuple[str, ...]]:
    (tmp_path / name).write_text(content, encoding="utf-8")
    found = read_code_table(CodeTable(tmp_path / name, "diagnosis", **options))
    rows = [(row.code, row.description) if isinstance(row, CodeRow) else row.reason for row in found.rows]
    return rows, found.warnings


def lines(*columns: list[str], mark: str = ",") -> str:
    return "".join(mark.join(cells) + "\n" for cells in zip(*columns, strict=True))


EXPECTED = list(zip(CODES, ILLNESSES, strict=True))


def test_a_category_s_name_is_not_taken_for_a_code_s(tmp_path: Path) -> None:
    content = lines(["Codigo", *CODES], ["Nombre", *ILLNESSES], ["Descripcion", *["MAL"] * 3])
    rows, (warning,) = read(tmp_path, content)
    assert rows == EXPECTED
    assert "taken from the column 'Nombre' and not from 'Descripcion', which gives many codes the same text" in warning
    assert "--description-column" in warning
    rows, (warning,) = read(tmp_path, content, description_column="descripción")
    assert rows == [(code, "MAL") for code in CODES]
    assert "3 of 3 codes share their description" in warning


def test_where_there_is_no_other_column_a_shared_description_is_warned_of(tmp_path: Path) -> None:
    rows, (warning,) = read(tmp_path, lines(["codigo", *CODES], ["descripcion", "Mal", "Mal", "Otro"]))
    assert rows == [(CODES[0], "Mal"), (CODES[1], "Mal"), (CODES[2], "Otro")]
    assert "2 of 3 codes share their description in the column 'descripcion'" in warning
    rows, warnings = read(tmp_path, lines(["codigo", *CODES], ["descripcion", *["Mal"] * 3]), synonyms=True)
    assert warnings == ()


@pytest.mark.parametrize(
    ("columns", "taken"),
    [
        ([["LETRA", "Q", "Q", "Q"], ["CATALOG_KEY", *CODES], ["NOMBRE", *ILLNESSES], ["LSEX", "NO", "NO", "NO"]],
         ("CATALOG_KEY", "NOMBRE")),
        ([["category", "Q00", "Q00", "Q00"], ["subcategory", *CODES], ["disease", *ILLNESSES],
          ["term", *["Canonical"] * 3]], ("subcategory", "disease")),
        ([["icd_code", *CODES], ["icd_version", "10", "10", "10"], ["long_title", *ILLNESSES]],
         ("icd_code", "long_title")),
        ([["id", *CODES], ["name", *ILLNESSES]], ("id", "name")),
        ([["n", "1", "2", "3"], ["clave", *CODES], ["texto", *ILLNESSES]], ("clave", "texto")),
    ],
)  # fmt: skip
@pytest.mark.parametrize("name", ["t.csv", "t.tsv", "t.xlsx"])
def test_columns_are_known_by_what_they_hold(
    tmp_path: Path, columns: list[list[str]], taken: tuple[str, str], name: str
) -> None:
    if name.endswith("xlsx"):
        book = openpyxl.Workbook()
        for cells in zip(*columns, strict=True):
            book.active.append(cells)
        book.save(tmp_path / name)
        found = read_code_table(CodeTable(tmp_path / name, "diagnosis"))
        rows = [(row.code, row.description) for row in found.rows if isinstance(row, CodeRow)]
        warnings = found.warnings
    else:
        rows, warnings = read(tmp_path, lines(*columns, mark="," if name == "t.csv" else "\t"), name)
    assert rows == EXPECTED  # the header is no code
    assert any(f"{taken[0]!r} as the codes and {taken[1]!r} as the descriptions" in text for text in warnings)


def test_running_numbers_are_no_codes(tmp_path: Path) -> None:
    with pytest.raises(TableError, match=r"no column of codes .* the columns are: 'id', 'name'"):
        read(tmp_path, lines(["id", "1", "2", "3"], ["name", *ILLNESSES]))
    with pytest.raises(TableError, match="no column of codes"):
        read(tmp_path, lines(["1", "2", "3"], ILLNESSES))
    rows, (warning,) = read(tmp_path, lines(["code", "1", "2", "3"], ["icd", *CODES], ["description", *ILLNESSES]))
    assert rows == EXPECTED
    assert "codes are taken from the column 'icd' and not from 'code'" in warning


@pytest.mark.parametrize(
    ("columns", "option"),
    [
        ([["clave", *CODES], ["largo", *ILLNESSES], ["corto", "Puebla", "Puerto", "Ninguno"]], "--description-column"),
        ([["a", *CODES], ["b", "R101", "R102", "R103"], ["texto", *ILLNESSES]], "--code-column"),
    ],
)
def test_what_is_not_clear_is_refused_with_the_reasons(tmp_path: Path, columns: list[list[str]], option: str) -> None:
    with pytest.raises(TableError, match=r"it is not clear which column holds .*% text.*; name it with") as caught:
        read(tmp_path, lines(*columns))
    assert option in str(caught.value)
    assert not any(text in str(caught.value) for text in ILLNESSES)
    rows, _ = read(tmp_path, lines(*columns), code_column=columns[0][0], description_column=columns[1][0])
    assert rows == list(zip(columns[0][1:], columns[1][1:], strict=True))


@pytest.mark.parametrize(
    "above", ["sep=,\n", "Tabla de prueba\nExportada el 1/2/2024\n\n", '"Tabla, de prueba",,\n,,\n', "\n\n"]
)
def test_lines_above_the_header_are_read_past(tmp_path: Path, above: str) -> None:
    rows, warnings = read(tmp_path, above + lines(["Código", *CODES], ["Descripción", *ILLNESSES]))
    assert (rows, warnings) == (EXPECTED, ())


def test_warnings_reach_who_builds(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("code,description\nQ00,Mal de MÃ©niÃ¨re\n", encoding="utf-8")
    read_back = read_terminology([CodeTable(tmp_path / "t.csv", "diagnosis")])
    assert [row.description for row in read_back.rows] == ["Mal de MÃ©niÃ¨re"]
    assert "UTF-8 that was read as Windows-1252" in read_back.warnings[0]
