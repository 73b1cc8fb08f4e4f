"""The one reader: what is written in any format comes back, no row is lost to its neighbours, oddities are reported."""

from __future__ import annotations

import csv
import gzip
import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cielo.errors import TableError
from cielo.tables import FORMATS, Format, RejectedRow, Role, TableFormat, TableRow, read_table
from cielo.tables.mentions import TEXT, read_mentions
from cielo.tables.writing import write_table
from hypothesis import given, settings
from hypothesis import strategies as st

NAMES = ("text", "sentence", "nota")
ROLES = (Role("text", ("text",)),)
# Half of a surrogate pair is no text in any format; TSV writes line ends as spaces, and is tried apart.
CELLS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20) | st.text(
    "a,;|\"'\t \r\n\\=+-@0#\x00\x1f\x85\u2028\ufeffñÑé{}[]_x000D_", max_size=10
)
ROWS = st.lists(st.tuples(CELLS.map("t".__add__), CELLS, CELLS), min_size=1, max_size=5)


def read(content: bytes, **form: Any) -> list[TableRow | RejectedRow]:
    return list(read_table(io.BytesIO(content), TableFormat(**form), ROLES))


def values(rows: list[TableRow | RejectedRow]) -> list[tuple[Any, ...]]:
    return [tuple(row.values.values()) if isinstance(row, TableRow) else (row.reason,) for row in rows]


def written(rows: list[tuple[str, ...]], form: Format) -> bytes:
    stream = io.BytesIO()
    write_table(stream, form, [dict(zip(NAMES, row, strict=True)) for row in rows])
    return stream.getvalue()


@pytest.mark.parametrize("form", [form for form in FORMATS if form != "tsv"])
@given(rows=ROWS)
@settings(deadline=None, max_examples=60)
def test_what_is_written_is_read_back(form: Format, rows: list[tuple[str, ...]]) -> None:
    found = values(read(written(rows, form), format=form))
    # A workbook does not tell an empty cell from none.
    assert [tuple(cell or "" for cell in row) for row in found] == rows


@given(rows=ROWS, delimiter=st.sampled_from(",;\t|"), encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]))
@settings(deadline=None, max_examples=150)
def test_every_dialect_of_csv_is_read_back(rows: list[tuple[str, ...]], delimiter: str, encoding: str) -> None:
    stream = io.StringIO(newline="")
    csv.writer(stream, delimiter=delimiter).writerows([NAMES, *rows])
    assert values(read(stream.getvalue().encode(encoding), format="csv")) == rows


@given(rows=ROWS, quote=st.sampled_from(['x,"y', '"x,y', 'x,"y"z', '"x"y,z']), place=st.integers(0, 4))
@settings(deadline=None, max_examples=150)
def test_a_stray_quote_costs_its_own_row_alone(rows: list[tuple[str, ...]], quote: str, place: int) -> None:
    plain = [tuple("".join(char for char in cell if char.isalnum()) for cell in row) for row in rows]
    lines = [",".join(row) for row in plain]
    lines.insert(min(place, len(lines)), quote)
    found = values(read(("text,sentence,nota\n" + "\n".join(lines) + "\n").encode(), format="csv"))
    assert len(found) == len(lines)
    assert [row for row in found if len(row) == 3] == plain


def test_a_stray_quote_in_a_long_file_costs_one_row() -> None:
    lines = [f"tos {number},Tiene tos {number}." for number in range(250)]
    lines[4] = 'fiebre,"Paciente con fiebre'
    table = read_table(io.BytesIO(("text,sentence\n" + "\n".join(lines)).encode()), TableFormat(format="csv"), ROLES)
    rows = list(table)
    assert [row.line for row in rows if isinstance(row, RejectedRow)] == [6]
    assert (len(rows), table.rows, table.rejected, table.lines) == (250, 250, 1, 251)


@pytest.mark.parametrize("last", ['x,y"', 'x,"y"', '"x",y', 'x,y ""'])
@pytest.mark.parametrize("between", [3, 20, 98])
def test_a_quote_that_is_closed_behind_whole_rows_is_a_fault_of_its_own_row(last: str, between: int) -> None:
    lines = ["a,b", 'c,"d', *(f"e{number},f" for number in range(between)), last, "g,h"]
    found = values(read(("text,sentence\n" + "\n".join(lines) + "\n").encode(), format="csv"))
    assert len(found) == len(lines)
    assert [row[0] for row in found if len(row) == 2][:2] == ["a", "e0"]
    assert found[-1] == ("g", "h")


def test_a_value_over_several_lines_is_one() -> None:
    note = "uno\ndos, tres\n\ncuatro"
    content = f'text,sentence\na,"{note}"\nb,c\n'.encode()
    assert values(read(content, format="csv")) == [("a", note), ("b", "c")]


@given(content=st.binary(max_size=200), form=st.sampled_from(FORMATS))
@settings(deadline=None, max_examples=300)
def test_no_bytes_raise_anything_but_a_table_error(content: bytes, form: Format) -> None:
    for beginning in (b"", b"text,nota\n", b'[{"text": "a"},'):
        try:
            rows = read(beginning + content, format=form)
        except TableError as error:
            assert str(error)
            continue
        assert all(row.reason for row in rows if isinstance(row, RejectedRow))


@given(bad=st.binary(max_size=30).filter(lambda data: b"\n" not in data and b"\r" not in data))
@settings(deadline=None, max_examples=200)
@pytest.mark.parametrize("form", ["csv", "tsv", "jsonl"])
def test_no_row_of_any_bytes_loses_a_neighbour(form: Format, bad: bytes) -> None:
    row: Callable[[str], bytes] = (
        (lambda name: json.dumps({"text": name, "nota": "x"}).encode()) if form == "jsonl" else
        (lambda name: f"{name}{',' if form == 'csv' else chr(9)}x".encode())
    )  # fmt: skip
    header = b"" if form == "jsonl" else row("text").replace(b"x", b"nota").replace(b"tenotat", b"text") + b"\n"
    content = header + b"\n".join([row("antes"), row("antes2"), bad, row("luego"), row("luego2")]) + b"\n"
    found = read(content, format=form, encoding="utf-8")
    texts = [entry.values.get("text") for entry in found if isinstance(entry, TableRow)]
    assert texts[:2] == ["antes", "antes2"]
    assert texts[-2:] == ["luego", "luego2"]
    assert len(found) in (4, 5)


class TestSpreadsheets:
    """Tables as Spanish Excel and other programs save them."""

    @pytest.mark.parametrize(
        "content",
        [
            "text;sentence\r\nneumonía;Con neumonía, leve.\r\n".encode("cp1252"),
            "text;sentence\r\nneumonía;Con neumonía, leve.\r\n".encode("utf-8-sig"),
            "sep=;\r\ntext;sentence\r\nneumonía;Con neumonía, leve.\r\n".encode("cp1252"),
            "Exportado el 1/2/2024;\r\n\r\nTEXT ; Séntence\r\nneumonía;Con neumonía, leve.\r\n".encode("cp1252"),
            "text\tsentence\r\nneumonía\tCon neumonía, leve.\r\n".encode("utf-16"),
            'text|sentence\nneumonía|"Con neumonía, leve."\n'.encode(),
            "text;sentence\rneumonía;Con neumonía, leve.\r".encode("cp1252"),
        ],
    )
    def test_they_are_read(self, tmp_path: Path, content: bytes) -> None:
        for name, data in (("a.csv", content), ("a.csv.gz", gzip.compress(content))):
            (tmp_path / name).write_bytes(data)
            (row,) = read_mentions(tmp_path / name)
            mention = row.mention()
            assert (mention.text, mention.sentence) == ("neumonía", "Con neumonía, leve.")

    def test_a_stream_that_is_read_once_is_detected_too(self) -> None:
        class Pipe(io.RawIOBase):
            def __init__(self, content: bytes) -> None:
                self.content = io.BytesIO(content)

            def readable(self) -> bool:
                return True

            def readinto(self, buffer: Any) -> int:
                return self.content.readinto(buffer)

        content = "text;nota\r\nfiebre;ñ\r\n".encode("cp1252") + b"tos;x\r\n" * 50_000
        stream = io.BufferedReader(Pipe(content))
        rows = list(read_table(stream, TableFormat(format="csv"), (TEXT,)))
        assert len(rows) == 50_001
        assert rows[0] == TableRow(2, {"text": "fiebre", "nota": "ñ"})

    def test_signs_of_a_wrong_encoding_are_reported_and_nothing_is_repaired(self) -> None:
        text = "text,sentence\nneumonÃ­a,x\nniÃ±o,x\nrespiraci¢n,x\nÃOS,x\n"
        table = read_table(io.BytesIO(text.encode()), TableFormat(format="csv"), ROLES)
        assert [row.values["text"] for row in table] == ["neumonÃ­a", "niÃ±o", "respiraci¢n", "ÃOS"]
        mojibake, dos = table.warnings()
        assert mojibake.startswith("2 row(s) show signs of UTF-8 that was read as Windows-1252")
        assert dos.startswith("1 row(s) show signs of a code page of DOS")
        clean = read_table(io.BytesIO("text\n¡Ay! «niño» 5 £ de Â\n".encode()), TableFormat(format="csv"), ROLES)
        assert (len(list(clean)), clean.warnings()) == (1, ())

    def test_bytes_that_are_not_text_are_an_error_of_their_row(self) -> None:
        content = "text,id\nniño,1\n".encode() + b"fiebre,\xff\n\xff,3\n" + "ñ,4\n".encode()
        first, second, third, last = read(content, format="csv")
        assert (first, last) == (TableRow(2, {"text": "niño", "id": "1"}), TableRow(5, {"text": "ñ", "id": "4"}))
        assert isinstance(second, RejectedRow) and isinstance(third, RejectedRow)
        assert second.values == {"text": "fiebre"}
        assert third.values == {"id": "3"}
        assert second.reason == "the row is not UTF-8; save the file as UTF-8 or name its encoding"

    def test_a_file_of_dos_is_not_read_as_something_else(self) -> None:
        content = "text,id\nniño,1\nrespiración,2\nmejoró,3\n".encode("cp850")
        with pytest.raises(TableError, match=r"its encoding is not known.*name the encoding \(--encoding cp850"):
            read(content, format="csv")
        named = read(content, format="csv", encoding="cp850")
        assert [row[0] for row in values(named)] == ["niño", "respiración", "mejoró"]


class TestJson:
    def test_a_member_twice_is_an_error_of_its_row(self) -> None:
        lines = ['{"text": "a"}', '{"text": "b", "text": "c"}', '{"n": {"x": 1, "x": 2}}', '{"text": "d"}']
        found = values(read("\n".join(lines).encode(), format="jsonl"))
        assert found == [("a",), *[("the line names a member twice; name each once",)] * 2, ("d",)]
        found = values(read(f"[{','.join(lines)}]".encode(), format="json"))
        assert found == [("a",), *[("the element names a member twice; name each once",)] * 2, ("d",)]

    @pytest.mark.parametrize("form", ["json", "jsonl"])
    @pytest.mark.parametrize("space", ["", "\n  "])
    def test_an_array_is_read(self, form: Format, space: str) -> None:
        content = f'[{space}{{"text": "a"}},{space}{{"text": "b", "n": [1, {{"x": 2}}]}}{space}]\n'
        assert [row.values["text"] for row in read(content.encode(), format=form)] == ["a", "b"]

    def test_a_malformed_element_costs_itself_alone(self) -> None:
        found = read(b'[{"text": "a"}, {"text": nada}, 5, {"text": "b"}, {"text": "c"', format="json")
        assert [row.values.get("text") for row in found if isinstance(row, TableRow)][:1] == ["a"]
        assert {"text": "b"} in [row.values for row in found]
        assert isinstance(found[-1], RejectedRow)
        (whole, cut) = read(b'[{"text": "a"}', format="json")
        assert isinstance(whole, TableRow) and isinstance(cut, RejectedRow)


@pytest.mark.parametrize(("form", "library"), [("xlsx", "openpyxl"), ("parquet", "pyarrow")])
def test_without_its_library_a_format_is_refused_before_any_work(
    monkeypatch: pytest.MonkeyPatch, form: Format, library: str
) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(TableError, match=rf"need {library}; pip install 'cielo\[tables\]'"):
        read(b"", format=form)
    with pytest.raises(TableError, match=rf"need {library}; pip install 'cielo\[tables\]'"):
        write_table(io.BytesIO(), form, [])


def test_a_workbook_types_every_cell_as_text(tmp_path: Path) -> None:
    import openpyxl

    cells = ["0210", "NA", "3E05305", "=1+1", "+x", "-1", "@a", "1e5", "TRUE"]
    (tmp_path / "a.xlsx").write_bytes(written([(cell, cell, cell) for cell in cells], "xlsx"))
    sheet = openpyxl.load_workbook(tmp_path / "a.xlsx").active
    assert [cell.value for cell in sheet["A"]] == ["text", *cells]
    assert {cell.data_type for cell in sheet["A"]} == {"s"}
    with pytest.raises(TableError, match="more than 32,767 characters"):
        written([("a" * 32_768, "", "")], "xlsx")
