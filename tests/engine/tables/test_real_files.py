"""Files as real desks have them: each kind once, with what a careful person expects of it."""

from __future__ import annotations

import codecs
import datetime
import gzip
import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cielo.cli.rows import reading_of
from cielo.errors import MentionError, TableError
from cielo.tables import TableFormat
from cielo.tables.mentions import MentionColumns, MentionTable, read_mentions

openpyxl = pytest.importorskip("openpyxl")

SENTENCE = "Ingresa por neumonía basal derecha."
ROW = ("neumonía", SENTENCE)
SECRET = "Zutanito"


def opened(path: Path, content: bytes, columns: MentionColumns | None = None, **form: Any) -> MentionTable:
    path.write_bytes(content)
    return read_mentions(path, reading_of(str(path), TableFormat(**form), "-", None), columns=columns)


def found(table: MentionTable) -> list[tuple[str, str | None] | str]:
    """The text and the sentence of each row, or its error."""
    rows: list[tuple[str, str | None] | str] = []
    for row in table:
        try:
            mention = row.mention()
            rows.append((mention.text, mention.sentence))
        except MentionError as error:
            rows.append(str(error))
    return rows


def lines(*rows: str, end: str = "\r\n", encoding: str = "cp1252") -> bytes:
    return "".join(row + end for row in rows).encode(encoding)


def workbook(rows: list[list[Any]], change: Callable[[Any], None] = lambda book: None) -> bytes:
    book = openpyxl.Workbook()
    for row in rows:
        book.active.append(row)
    change(book)
    stream = io.BytesIO()
    book.save(stream)
    return stream.getvalue()


CSV = lines("texto;frase", ";".join(ROW))
XLSX = workbook([["Texto", "Frase"], [*ROW]])
HTML = (
    '<html xmlns:x="urn:schemas-microsoft-com:office:excel"><head><meta http-equiv="Content-Type" '
    'content="text/html; charset=CHARSET"><style>td {color: red}</style></head><body><table border=1>'
    "<tr><th colspan=3>Listado</th></tr><tr><td><b>Texto</b></td><td rowspan=2>1</td><td>Frase</td></tr>\r\n"
    "<tr><td>neumon&iacute;a</td><td>Ingresa por <i>neumonía</i>\r\nbasal&nbsp;derecha.</td></tr></table></body></html>"
)
XML = (
    '<?xml version="1.0"?><?mso-application progid="Excel.Sheet"?>\n'
    '<Workbook xmlns="urn:schemas-microsoft-com:office:spreadsheet" '
    'xmlns:ss="urn:schemas-microsoft-com:office:spreadsheet"><Styles><Style ss:ID="a"><NumberFormat ss:Format="0000"/>'
    '</Style><Style ss:ID="b" ss:Parent="a"/></Styles><Worksheet ss:Name="Hoja1"><Table>'
    '<Row><Cell><Data ss:Type="String">Texto</Data></Cell><Cell ss:Index="3"><Data ss:Type="String">Frase</Data></Cell>'
    '</Row><Row ss:Index="4"><Cell><Data ss:Type="String">neumonía</Data></Cell><Cell ss:Index="3">'
    f'<Data ss:Type="String">{SENTENCE}</Data></Cell></Row>ROWS</Table></Worksheet></Workbook>'
)


@pytest.mark.parametrize("delimiter", [";", ",", "\t", "|"])
@pytest.mark.parametrize("encoding", ["cp1252", "utf-8", "utf-8-sig", "utf-16-le", "utf-16-be", "utf-16"])
@pytest.mark.parametrize("end", ["\r\n", "\n", "\r"])
def test_every_csv_of_a_spreadsheet_is_read(tmp_path: Path, delimiter: str, encoding: str, end: str) -> None:
    content = lines(delimiter.join(("texto", "frase")), delimiter.join(ROW), end=end, encoding=encoding)
    for name in ("a.csv", "a.CSV", "a.dat", "a"):
        assert found(opened(tmp_path / name, content)) == [ROW], name
    assert found(opened(tmp_path / "a.csv.gz", gzip.compress(content, mtime=0))) == [ROW]


@pytest.mark.parametrize(
    ("name", "content", "rows"),
    [
        ("a.csv", lines("sep=;", "texto;frase", ";".join(ROW)), [ROW]),
        ("a.csv", codecs.BOM_UTF16_LE + lines("sep=;", "texto;frase", ";".join(ROW), encoding="utf-16-le"), [ROW]),
        ("a.csv", lines("texto;frase", '"neumonía";"uno\ndos ""tres"""'), [("neumonía", 'uno\ndos "tres"')]),
        ("a.csv", lines("texto;frase", 'dolor 5" de pie;x', "HTA;y"), [('dolor 5" de pie', "x"), ("HTA", "y")]),
        ("a.csv", lines("texto;frase;;", "tos;x;;", ";;;", ";;;"), [("tos", "x")]),
        ("a.csv", lines("texto;frase", "tos;x;;", ";;;"), [("tos", "x")]),
        ("a.csv", lines("Listado", "Enero;;", "", "texto;frase;n", "tos;x;1,5"), [("tos", "x")]),
        ("a.csv", lines("", ";;", "texto;frase;n", "tos;x;1,5"), [("tos", "x")]),
        ("a.csv", lines(" TEXTO\xa0; Frase ;", "tos;x;"), [("tos", "x")]),
        ("a.csv", lines("texto;frase;obs;obs", "tos;x;1;2"), [("tos", "x")]),
        ("a.csv", lines("texto", "tos", "dolor, tos", "fiebre; tos"), [(text, None) for text in (
            "tos", "dolor, tos", "fiebre; tos")]),
        ("a.csv", lines("texto", "tos", '"dolor, ""tos"""'), [("tos", None), ('dolor, "tos"', None)]),
        ("a.txt", lines("texto", "tos", "dolor, tos"), [("tos", None), ("dolor, tos", None)]),
        ("a.txt", CSV, [ROW]),
        ("a.tsv", CSV, [ROW]),
        ("a.txt", lines("texto\tfrase", 'tos\t"HTA, ""tos""."'), [("tos", 'HTA, "tos".')]),
        ("a.tsv", lines("texto\tfrase", '"tos\tx"y'), [('"tos', 'x"y')]),
        ("a.csv", lines("texto;frase"), []),
    ],
)  # fmt: skip
def test_text_as_it_is_found(tmp_path: Path, name: str, content: bytes, rows: list[tuple[str, str | None]]) -> None:
    assert found(opened(tmp_path / name, content)) == rows


def test_columns_by_place_where_there_is_no_header(tmp_path: Path) -> None:
    by_place = MentionColumns(text="1", sentence="2")
    for name in ("a.csv", "a.txt", "a.dat"):
        assert found(opened(tmp_path / name, lines("tos;x", "fiebre;y"), by_place)) == [("tos", "x"), ("fiebre", "y")]
    only = MentionColumns(text="1")
    for name in ("a.csv", "a.txt"):
        assert found(opened(tmp_path / name, lines("tos", "dolor, fiebre"), only)) == [
            ("tos", None), ("dolor, fiebre", None),
        ]  # fmt: skip


def test_rows_that_end_early_are_taken_where_nothing_of_the_mention_is_missing(tmp_path: Path) -> None:
    table = opened(tmp_path / "a.csv", lines("texto;frase;tipo", "tos;x;D", "fiebre;y", "HTA"))
    assert found(table) == [("tos", "x"), ("fiebre", "y"), "the row has 1 columns; the header has 3"]
    assert table.table.warnings() == (
        "1 row(s) have fewer cells than the header; the missing ones were taken as empty",
    )
    cut = opened(tmp_path / "a.csv", b"texto;frase;tipo\ntos;x;D\nfiebre;Tiene fie")
    assert found(cut)[1] == "the row has 2 columns; the header has 3 (the file may have been cut short)"


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", XLSX), ("a.xls", XLSX), ("a.txt", XLSX), ("a", XLSX), ("a.xlsm", XLSX), ("a.xlsx", CSV),
        ("a.xls", CSV), ("a.xls", HTML.replace("CHARSET", "windows-1252").encode("cp1252")),
        ("a.xls", HTML.replace("CHARSET", "iso-8859-1").encode("cp1252")), ("a.html", HTML.encode("utf-16")),
        ("a.xls", HTML.replace("CHARSET", "utf-8").encode()), ("a.csv", HTML.replace("CHARSET", "utf-8").encode()),
        ("a.xls", XML.replace("ROWS", "").encode()), ("a.xml", XML.replace("ROWS", "").encode("utf-8-sig")),
    ],
)  # fmt: skip
def test_what_is_called_otherwise_than_it_is(tmp_path: Path, name: str, content: bytes) -> None:
    assert found(opened(tmp_path / name, content)) == [ROW]


def test_an_old_workbook_by_any_name(tmp_path: Path) -> None:
    xlwt = pytest.importorskip("xlwt")
    book = xlwt.Workbook()
    sheet = book.add_sheet("Hoja1")
    for row, cells in enumerate([["Texto", "Frase"], ROW, ["tos", "x"]]):
        for column, cell in enumerate(cells):
            sheet.write(row, column, cell)
    sheet.row(2).hidden = True
    stream = io.BytesIO()
    book.save(stream)
    for name in ("a.xls", "a.xlsx", "a.csv", "a"):
        table = opened(tmp_path / name, stream.getvalue())
        assert found(table) == [ROW, ("tos", "x")]
        assert table.table.warnings() == ("1 hidden row(s) of the sheet 'Hoja1' were read like the others",)


def test_numbers_of_an_xml_spreadsheet_are_shown_as_their_formats_say(tmp_path: Path) -> None:
    cells = [("a", "Number", "210"), ("b", "Number", "16"), ("c", "Number", "7"), ("a", "Number", "1.5"),
             ("a", "Boolean", "1"), ("a", "Error", "#N/A"), ("a", "DateTime", "2026-01-02T00:00:00.000")]  # fmt: skip
    rows = "".join(
        f'<Row><Cell ss:StyleID="{style}"><Data ss:Type="{kind}">{value}</Data></Cell></Row>'
        for style, kind, value in cells
    )
    texts = found(opened(tmp_path / "a.xls", XML.replace("ROWS", rows).encode()))[1:]
    assert texts[:3] == [("0210", None), ("0016", None), ("7", None)]
    assert all(isinstance(text, str) for text in texts[3:])
    bomb = '<!DOCTYPE a [<!ENTITY b "tos">]>'
    with pytest.raises(TableError, match="declares a document type"):
        opened(tmp_path / "a.xls", XML.replace("<Workbook", f"{bomb}<Workbook", 1).encode())


def archive(**parts: str) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as written:
        for name, content in parts.items():
            written.writestr(name.replace("__", "/"), content)
    return stream.getvalue()


OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("a.csv", b"", "there is no row"),
        ("a.csv", codecs.BOM_UTF8, "there is no row"),
        ("a.csv", bytes(range(256)) * 10, "is no text"),
        ("a.csv", b"%PDF-1.4\n" + bytes(range(256)) * 10, "is a PDF, no table; save it as XLSX or CSV"),
        ("a.xlsx", OLE + bytes(2000) + "EncryptedPackage".encode("utf-16-le"), "is encrypted; save it without"),
        ("a.ods", archive(mimetype="application/vnd.oasis.opendocument.spreadsheet"), r"\(ODS\), which is not read"),
        ("a.xlsx", archive(mimetype="application/vnd.oasis.opendocument.spreadsheet"), r"\(ODS\), which is not read"),
        ("a.csv", archive(word__document="x"), "is a Word document"),
        ("a.csv", archive(a="x"), "is a ZIP archive"),
        ("a.csv", gzip.compress(CSV, mtime=0), r"let its name end in \.gz"),
        ("a.xls", b"MIME-Version: 1.0\r\n\r\n" + HTML.encode(), "is a web archive"),
        ("a.xml", b'<?xml version="1.0"?><lista/>', "is XML, and no spreadsheet"),
        ("a.csv", lines("texto;frase", ";".join(ROW), encoding="cp850"), r"name the encoding \(--encoding cp850"),
        ("a.csv", lines("texto;TEXTO", "tos;x"), "2 columns of the header are called like `text`"),
        ("a.csv", lines(f"{SECRET} ingresa;y", "tos;x"), "by place"),
        ("a.csv", lines("NHC;Literal", "1;tos"), "found 'NHC', 'Literal'"),
    ],
)
def test_what_cannot_be_read_is_refused_with_what_to_do(tmp_path: Path, name: str, content: bytes, says: str) -> None:
    with pytest.raises(TableError, match=says) as caught:
        opened(tmp_path / name, content)
    assert SECRET not in str(caught.value)
    assert str(caught.value).startswith(str(tmp_path / name))


def test_an_encoding_that_is_named_is_taken(tmp_path: Path) -> None:
    content = lines("texto;frase", ";".join(ROW), encoding="cp850")
    assert found(opened(tmp_path / "a.csv", content, encoding="cp850")) == [ROW]


@pytest.mark.parametrize("named", ["TEXTO", "texto"])
def test_of_two_columns_that_are_called_alike_one_may_be_named_to_the_letter(tmp_path: Path, named: str) -> None:
    rows = found(opened(tmp_path / "a.csv", lines("texto;TEXTO", "tos;x"), MentionColumns(text=named)))
    assert rows == [("tos" if named == "texto" else "x", None)]


@pytest.mark.parametrize(
    "name", ["Literal", "DIAGNÓSTICO PRINCIPAL", "Descripción\xa0 clínica", "diagnostico_alta", "Término (texto)"]
)
def test_a_column_is_named_without_regard_to_case_and_accents(tmp_path: Path, name: str) -> None:
    plain = name.lower().translate(str.maketrans("áéíóú", "aeiou", "\xa0_()"))
    assert found(opened(tmp_path / "a.csv", lines(f"NHC;{name}", "1;tos"), MentionColumns(text=plain)))[0][0] == "tos"


class TestWorkbooks:
    def test_sheets_that_a_person_sees_come_first(self, tmp_path: Path) -> None:
        def change(book: Any) -> None:
            book.create_sheet("vacía", 0)
            book.create_sheet("portada", 0)["A1"] = "Informe"
            hidden = book.create_sheet("oculta", 0)
            hidden.sheet_state = "hidden"
            hidden.append(["Texto"])
            hidden.append([SECRET])
            book.create_sheet("febrero").append(["Texto", "Frase"])

        table = opened(tmp_path / "a.xlsx", workbook([["Texto", "Frase"], [*ROW]], change))
        assert found(table) == [ROW]
        assert table.table.warnings() == (
            "the sheet 'Sheet' is read; 'febrero' with the same columns not: name one with --sheet",
        )
        named = opened(tmp_path / "a.xlsx", workbook([["Texto"], ["tos"]], change), sheet="oculta")
        assert found(named) == [(SECRET, None)]

    def test_a_table_that_begins_further_right_and_down(self, tmp_path: Path) -> None:
        def change(book: Any) -> None:
            sheet = book.active
            sheet["C2"], sheet["C5"], sheet["D5"], sheet["C6"], sheet["D6"] = "Listado", "Texto", "Frase", *ROW
            sheet.merge_cells("C2:F2")
            sheet.auto_filter.ref = "C5:D6"

        table = opened(tmp_path / "a.xlsx", workbook([], change))
        (row,) = table
        assert row.values == {"Texto": ROW[0], "Frase": ROW[1]}
        assert (row.mention().text, row.number) == (ROW[0], 6)

    def test_hidden_rows_are_read_and_said(self, tmp_path: Path) -> None:
        def change(book: Any) -> None:
            book.active.row_dimensions[2].hidden = True

        table = opened(tmp_path / "a.xlsx", workbook([["Texto", "Frase"], [*ROW], ["tos", "x"]], change))
        assert found(table) == [ROW, ("tos", "x")]
        assert table.table.warnings() == ("1 hidden row(s) of the sheet 'Sheet' were read like the others",)

    def test_formulas_that_nothing_computed_are_errors_of_their_rows(self, tmp_path: Path) -> None:
        table = opened(tmp_path / "a.xlsx", workbook([["Texto", "Frase"], [*ROW], ["=A2", "x"], ["=A2", None]]))
        rows = found(table)
        assert rows[0] == ROW and len(rows) == 3
        assert all("a formula without a value: open the workbook in a spreadsheet" in str(row) for row in rows[1:])
        assert table.table.warnings()[0].startswith("2 formula(s) of the sheet 'Sheet' have no value")

    def test_cells_of_other_kinds(self, tmp_path: Path) -> None:
        def change(book: Any) -> None:
            book.active["A2"].number_format = "0000"
            book.active["A3"].data_type = "e"

        cells = [[210], ["#N/A"], [datetime.date(2026, 1, 2)], [1.5], [7], [True]]
        rows = found(opened(tmp_path / "a.xlsx", workbook([["Texto"], *cells], change)))
        assert [row for row in rows if isinstance(row, tuple)] == [("0210", None), ("7", None)]

    def test_cells_that_are_only_formatted_cost_little(self, tmp_path: Path) -> None:
        path = tmp_path / "a.xlsx"
        opened(path, XLSX)
        with zipfile.ZipFile(path) as read:
            parts = {name: read.read(name) for name in read.namelist()}
        empty = "".join(
            f'<row r="{row}" s="1"><c r="A{row}" s="1"/><c r="B{row}" s="1"/></row>' for row in range(3, 50_003)
        )
        sheet = "xl/worksheets/sheet1.xml"
        parts[sheet] = parts[sheet].replace(b"</sheetData>", empty.encode() + b"</sheetData>")
        with zipfile.ZipFile(path, "w") as written:
            for name, content in parts.items():
                written.writestr(name, content)
        table = read_mentions(path)
        assert found(table) == [ROW]
        assert table.table.lines == 2


def encoded(value: Any, **how: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, **how).encode()


OBJECTS = [{"texto": "neumonía", "frase": SENTENCE}, {"texto": "tos", "más": {"a": [{"b": 1}]}}]
TEXTS = [ROW, ("tos", None)]


class TestJson:
    @pytest.mark.parametrize(
        "content",
        [
            encoded(OBJECTS), encoded(OBJECTS, indent=2), b"\n \n" + encoded(OBJECTS),
            codecs.BOM_UTF8 + encoded(OBJECTS),
            encoded({"total": 2, "páginas": [1, 2], "menciones": OBJECTS, "otro": {"a": [{}]}}),
            encoded({"menciones": OBJECTS}, indent=1), b"\n".join(map(encoded, OBJECTS)),
            json.dumps(OBJECTS).encode("utf-16"), json.dumps(OBJECTS).encode("utf-16-be"),
        ],
    )  # fmt: skip
    @pytest.mark.parametrize("name", ["a.json", "a.jsonl", "a.dat"])
    def test_every_layout_is_read_by_any_name(self, tmp_path: Path, content: bytes, name: str) -> None:
        if name == "a.jsonl" and content.startswith(b'{"total"'):
            return  # on one line it is a row
        if name == "a.dat" and content.startswith(b"[\x00"):
            return
        assert found(opened(tmp_path / name, content)) == TEXTS

    def test_an_array_of_strings_is_one_of_texts(self, tmp_path: Path) -> None:
        for name in ("a.json", "a.jsonl"):
            assert found(opened(tmp_path / name, encoded(["neumonía", "tos"]))) == [("neumonía", None), ("tos", None)]

    def test_one_object_is_one_row(self, tmp_path: Path) -> None:
        for content in (encoded(OBJECTS[0]), encoded(OBJECTS[0], indent=1)):
            for name in ("a.json", "a.jsonl"):
                assert found(opened(tmp_path / name, content)) == [ROW]

    def test_what_is_malformed_is_an_error_of_its_element_that_says_where(self, tmp_path: Path) -> None:
        content = b'[\n{"texto": "a"},\n{"texto": "b",},\n{"texto": "c"}\n]'
        assert found(opened(tmp_path / "a.json", content)) == [
            ("a", None), "the element is not JSON (line 3, column 15); expected one object", ("c", None),
        ]  # fmt: skip
        content = b'{"menciones": [\n{"texto": "a"},\n{"texto": NaN},\n{"texto": "c"}]'
        assert "not JSON" in str(found(opened(tmp_path / "a.json", content))[0])
        assert found(opened(tmp_path / "a.json", b'[{"texto": "a"}] [{"texto": "b"}]'))[1:] == [
            "something follows the array; give one array, or an object on each line"
        ]

    def test_long_texts_and_texts_that_are_none(self, tmp_path: Path) -> None:
        long = "x" * 10_000_000
        rows = found(opened(tmp_path / "a.json", encoded([{"texto": "tos", "frase": long}, {"texto": None}])))
        assert rows[0] == ("tos", long)
        assert "text is empty" in str(rows[1])
