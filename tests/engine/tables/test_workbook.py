from __future__ import annotations

import datetime
import re
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import openpyxl
import pytest
from cielo.errors import TableError
from cielo.knowledge.code_tables import CodeRow, CodeTable, read_code_table
from cielo.tables import RejectedRow, read_table

MARKER = "titulo-secreto"
CHANGED = "Excel has changed it"
HEADER = ["Tabular.D", "Código", "Descripción", "Nodo_Final"]


def save(path: Path, **sheets: list[list[Any]]) -> Path:
    book = openpyxl.Workbook()
    book.remove(book.active)
    for title, rows in sheets.items():
        sheet = book.create_sheet(title)
        for row in rows:
            sheet.append(row)
    book.save(path)
    return path


def edit(path: Path, change: Callable[[Any], None]) -> Path:
    book = openpyxl.load_workbook(path)
    change(book)
    book.save(path)
    return path


def patch(path: Path, old: str, new: str, part: str = "xl/worksheets/sheet1.xml") -> Path:
    """Replace text in one part of the archive, as other programs write it."""
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    before = parts[part]
    parts[part] = re.sub(old.encode(), new.encode(), before)
    assert parts[part] != before
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    return path


def rows(path: Path, **options: Any) -> list[CodeRow | RejectedRow]:
    return list(read_code_table(CodeTable(path, "x", **options)).rows)


def one_code(tmp_path: Path, value: object, number_format: str | None = None) -> CodeRow | RejectedRow:
    path = save(tmp_path / "t.xlsx", A=[["Código", "Descripción"], [value, "Dedo"]])
    if number_format is not None:

        def change(book: Any) -> None:
            book["A"]["A2"].number_format = number_format

        edit(path, change)
    (row,) = rows(path)
    return row


class TestHeader:
    def test_it_is_found_below_titles(self, tmp_path: Path) -> None:
        titles: list[list[Any]] = [["Tabla inventada, edición de prueba"], [], [None, "Código", "de nada"]]
        path = save(
            tmp_path / "t.xlsx", A=[*titles, HEADER, ["1", "q1", "Dedo  azul", "S"], ["1", "0016", "Codo", "S"]]
        )
        edit(path, lambda book: book["A"].merge_cells("A1:D2"))
        assert rows(path) == [CodeRow(5, "q1", "Dedo azul", True), CodeRow(6, "0016", "Codo", True)]

    def test_the_first_sheet_with_both_columns_is_read(self, tmp_path: Path) -> None:
        path = save(
            tmp_path / "t.xlsx",
            Portada=[["Código", "Nota"], ["Q0", "nada"]],
            Lista=[HEADER, ["1", "Q1", "Dedo"]],
            Otra=[HEADER, ["1", "Q2", "Codo"]],
        )
        assert rows(path) == [CodeRow(2, "Q1", "Dedo", True)]
        assert rows(path, sheet="Otra") == [CodeRow(2, "Q2", "Codo", True)]

    def test_columns_may_be_named(self, tmp_path: Path) -> None:
        header = ["Código", "Descripción", "Clave", "Texto\nlargo"]
        path = save(tmp_path / "t.xlsm", A=[header, ["Q1", "Dedo", "Q2", "Codo"]])
        assert rows(path, code_column="clave") == [CodeRow(2, "Q2", "Dedo", True)]
        assert rows(path, code_column="CLAVE", description_column="texto largo") == [CodeRow(2, "Q2", "Codo", True)]

    def test_it_stands_in_the_first_fifty_rows(self, tmp_path: Path) -> None:
        row = ["1", "Q1", "Dedo"]
        assert rows(save(tmp_path / "t.xlsx", A=[["x"]] * 49 + [HEADER, row])) == [CodeRow(51, "Q1", "Dedo", True)]
        with pytest.raises(TableError, match="the first 50 rows"):
            rows(save(tmp_path / "t.xlsx", A=[["x"]] * 50 + [HEADER, row]))

    def test_an_unknown_sheet_is_named_with_those_that_are(self, tmp_path: Path) -> None:
        with pytest.raises(TableError, match="there is no sheet 'lista'; the sheets are: 'Lista', 'Otra'"):
            rows(save(tmp_path / "t.xlsx", Lista=[HEADER], Otra=[HEADER]), sheet="lista")

    @pytest.mark.parametrize(
        "options", [{}, {"sheet": "A"}, {"code_column": "clave", "sheet": "B"}, {"description_column": "texto"}]
    )
    def test_a_column_that_is_not_there_is_named_with_those_that_are(
        self, tmp_path: Path, options: dict[str, str]
    ) -> None:
        path = save(tmp_path / "t.xlsx", A=[["título de la hoja"], ["Código", "Nota"], [MARKER, MARKER]], B=[HEADER])
        if not options:
            path = save(path, A=[["título de la hoja"], ["Código", "Nota"], [MARKER, MARKER]])
        with pytest.raises(TableError) as caught:
            rows(path, **options)
        assert "'Código'" in str(caught.value)
        assert MARKER not in str(caught.value)
        assert "título de la hoja" not in str(caught.value)

    @pytest.mark.parametrize("content", [[], [[]], [["x"]]])
    def test_a_sheet_without_a_table_is_an_error(self, tmp_path: Path, content: list[list[Any]]) -> None:
        with pytest.raises(TableError, match=r"there is no column of codes .* and none of descriptions"):
            rows(save(tmp_path / "t.xlsx", A=content))

    def test_what_a_sheet_says_of_its_size_does_not_matter(self, tmp_path: Path) -> None:
        path = save(tmp_path / "t.xlsx", A=[HEADER, ["1", "Q1", "Dedo"]])
        for size in ("A1", "A1:XFD1048576"):
            patch(path, '<dimension ref="[^"]*"', f'<dimension ref="{size}"')
            assert rows(path) == [CodeRow(2, "Q1", "Dedo", True)]


class TestCodes:
    @pytest.mark.parametrize(
        "text", ["0016", "3E03", "1E5", "TRUE", "NA", "null", "-1", "#N/A", "2024-01-01", "=A1", "q1"]
    )
    def test_text_stays_as_it_is(self, tmp_path: Path, text: str) -> None:
        path = save(tmp_path / "t.xlsx", A=[["Código", "Descripción"], ["dummy", "Dedo"]])

        def change(book: Any) -> None:
            book["A"]["A2"].value = f" {text}\u00a0"
            book["A"]["A2"].data_type = "s"

        assert rows(edit(path, change)) == [CodeRow(2, text, "Dedo", True)]

    @pytest.mark.parametrize(
        ("value", "number_format", "code"),
        [
            (210, None, "210"),
            (210, "0", "210"),
            (210, "@", "210"),
            (210.0, "General", "210"),
            (210, "0000", "0210"),
            (16, "0000", "0016"),
            (0, "0000", "0000"),
            (12345, "0000", "12345"),
            (99_999_999_999, None, "99999999999"),
            (999_999_999_999_999, "0", "999999999999999"),
        ],
    )
    def test_a_number_is_taken_where_its_format_shows_the_text(
        self, tmp_path: Path, value: float, number_format: str | None, code: str
    ) -> None:
        assert one_code(tmp_path, value, number_format) == CodeRow(2, code, "Dedo", True)

    @pytest.mark.parametrize(
        ("value", "number_format", "what"),
        [
            (300000, "0.00E+00", "in scientific notation"),
            (300000, "##0.0E+0", "in scientific notation"),
            (1.5, None, "with a fraction"),
            (0.1, "0000", "with a fraction"),
            (100_000_000_000, None, "whose format"),
            (1e300, "General", "whose format"),
            (1_000_000_000_000_000, "0", "whose format"),
            (-1, None, "whose format"),
            (210, "#,##0", "whose format"),
            (210, "0.00", "whose format"),
            (210, '"A"0000', "whose format"),
            (True, None, "a truth value"),
            (datetime.datetime(2024, 3, 1), None, "a date"),
            (datetime.date(2024, 3, 1), None, "a date"),
            (datetime.time(3, 1), None, "a date"),
            (45352, "d-mmm", "a date"),
            ("#N/A", None, "an error value"),
            ("#DIV/0!", None, "an error value"),
        ],
    )
    def test_what_excel_made_of_a_code_is_rejected(
        self, tmp_path: Path, value: object, number_format: str | None, what: str
    ) -> None:
        row = one_code(tmp_path, value, number_format)
        assert isinstance(row, RejectedRow)
        assert row.line == 2
        assert what in row.reason
        assert CHANGED in row.reason

    @pytest.mark.parametrize("raw", ["1E999", "-1E999", "3E5", "1E+20"])
    def test_numbers_as_other_programs_write_them(self, tmp_path: Path, raw: str) -> None:
        path = save(tmp_path / "t.xlsx", A=[["Código", "Descripción"], [77, "Dedo"]])
        (row,) = rows(patch(path, "<v>77</v>", f"<v>{raw}</v>"))
        assert row == CodeRow(2, "300000", "Dedo", True) if raw == "3E5" else CHANGED in getattr(row, "reason", "")

    def test_a_formula_counts_with_the_value_that_was_computed(self, tmp_path: Path) -> None:
        path = save(tmp_path / "t.xlsx", A=[["Código", "Descripción"], ['=TEXT(16,"0000")', "Dedo"], ["=1", "Codo"]])
        why = (
            "the code is a formula without a value: open the workbook in a spreadsheet, which computes it, and save it"
        )
        assert rows(path) == [RejectedRow(2, why), RejectedRow(3, why)]
        patch(path, r'<c r="A2"><f>([^<]*)</f><v ?/?>(</v>)?</c>', r'<c r="A2" t="str"><f>\1</f><v>0016</v></c>')
        assert rows(path) == [CodeRow(2, "0016", "Dedo", True), RejectedRow(3, why)]

    def test_shared_strings_are_read(self, tmp_path: Path) -> None:
        path = save(tmp_path / "t.xlsx", A=[["Código", "Descripción"], ["0016", "Dedo"]])
        inline = r'<c r="(A2|B2)" t="inlineStr"><is><t>([^<]*)</t></is></c>'
        patch(path, inline, r'<c r="\1" t="str"><v>\2</v></c>')
        assert rows(path) == [CodeRow(2, "0016", "Dedo", True)]


class TestRows:
    def test_a_row_that_cannot_be_taken_is_rejected_with_its_row_of_the_sheet(self, tmp_path: Path) -> None:
        table: list[list[Any]] = [
            ["título"], HEADER, [None, "Q1", "Dedo"], [], ["x"], [None, "Q2"], [None, None, MARKER], [None, " ", "\n"],
            [None, "Q\n3", MARKER], [None, "Q4", 5], [None, "Q5", datetime.datetime(2024, 3, 1)], [None, "Q6", True],
            [None, "Q7", "#REF!"], [None, "Q8", "Codo\nverde_x000D_"],
        ]  # fmt: skip
        assert rows(save(tmp_path / "t.xlsx", A=table)) == [
            CodeRow(3, "Q1", "Dedo", True),
            RejectedRow(5, "the code is empty"),
            RejectedRow(6, "the description is empty"),
            RejectedRow(7, "the code is empty"),
            RejectedRow(9, "the code holds a control character"),
            RejectedRow(10, "the description is a number, expected text; write it as text"),
            RejectedRow(11, "the description is of another type, expected text; write it as text"),
            RejectedRow(12, "the description is a truth value, expected text; write it as text"),
            RejectedRow(13, "the description is an error value"),
            CodeRow(14, "Q8", "Codo verde", True),
        ]

    def test_a_column_marks_the_preferred_descriptions(self, tmp_path: Path) -> None:
        marks = [True, False, 1, 0, "Sí", "no", None, "x", 2]
        table = [["Código", "Descripción", "Preferente"], *(["Q1", f"Dedo {m}", m] for m in marks)]
        found = rows(save(tmp_path / "t.xlsx", A=table))
        assert [getattr(row, "preferred", None) for row in found] == [
            True, False, True, False, True, False, False, True, None,
        ]  # fmt: skip
        assert not any(getattr(row, "preferred", False) for row in rows(tmp_path / "t.xlsx", synonyms=True))

    @pytest.mark.parametrize("place", [1, 3, 9])
    def test_a_row_with_anything_in_any_column_is_reported(self, tmp_path: Path, place: int) -> None:
        table = [["Código", "Descripción"], [None] * place + ["capítulo"], [None] * place + [" "]]
        (row,) = rows(save(tmp_path / "t.xlsx", A=table))
        assert row == RejectedRow(2, "the code is empty")

    def test_rows_that_are_not_there_count(self, tmp_path: Path) -> None:
        path = save(tmp_path / "t.xlsx", A=[["Código", "Descripción"]])

        def change(book: Any) -> None:
            book["A"]["A9"], book["A"]["B9"] = "Q1", "Dedo"

        assert rows(edit(path, change)) == [CodeRow(9, "Q1", "Dedo", True)]

    def test_a_row_number_beyond_every_sheet_does_not_hang(self, tmp_path: Path) -> None:
        path = save(tmp_path / "t.xlsx", A=[["Código", "Descripción"], ["Q1", "Dedo"], ["Q2", "Codo"]])
        patch(path, '<row r="3"', '<row r="99999999999999"')
        assert rows(path) == [CodeRow(2, "Q1", "Dedo", True)]


class TestFile:
    @pytest.mark.parametrize(
        "content", [b"", b"PK\x03\x04", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" * 100, bytes(range(256)) * 8]
    )
    def test_what_is_no_workbook_is_an_error(self, tmp_path: Path, content: bytes) -> None:
        (tmp_path / "t.xlsx").write_bytes(content)
        with pytest.raises(TableError, match=r"t\.xlsx: is no XLSX workbook"):
            rows(tmp_path / "t.xlsx")

    def test_an_archive_of_something_else_is_an_error(self, tmp_path: Path) -> None:
        with zipfile.ZipFile(tmp_path / "t.xlsx", "w") as archive:
            archive.writestr("a.txt", "a")
        with pytest.raises(TableError, match="is no XLSX workbook"):
            rows(tmp_path / "t.xlsx")

    def test_damage_further_on_is_an_error_after_the_rows_before_it(self, tmp_path: Path) -> None:
        path = save(tmp_path / "t.xlsx", A=[["Código", "Descripción"], *([f"Q{i}", "Dedo"] for i in range(5000))])
        patch(path, '<row r="4000"', "<row r=4000")
        found = []
        with pytest.raises(TableError, match="damaged"):
            for row in read_table(path):
                found.append(row)
        assert 0 < len(found) < 4000
        with pytest.raises(TableError, match="damaged"):
            read_code_table(CodeTable(path, "x"))

    def test_without_the_library_the_extra_is_named(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        path = save(tmp_path / "t.xlsx", A=[HEADER])
        monkeypatch.setitem(sys.modules, "openpyxl", None)
        with pytest.raises(TableError, match=r"pip install 'cielo\[tables\]'"):
            rows(path)
