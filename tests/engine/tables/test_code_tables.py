"""What holds in every format: codes survive, no bytes crash a reader, formats are known by their names."""

from __future__ import annotations

import csv
import io
import json
import random
import re
import string
import tempfile
import zipfile
from collections.abc import Callable
from functools import cache
from pathlib import Path

import openpyxl
import pyarrow as pa
import pytest
from cielo.errors import TableError
from cielo.knowledge.code_tables import CodeRow, CodeTable, read_code_table
from cielo.tables import FORMATS, RejectedRow
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet

Pairs = list[tuple[str, str]]
HEADER = ("Código", "Descripción")
FIXED = [
    "0210", "0016", "3E03", "3E05305", "NA", "1E5", "TRUE", "null", "None", "nan", "inf", "-1", "+1", "1_000", "0x1F",
    "00.10", "1.50", "2024-03-01", "3-4", "1/2", "12:30", "MAR1", "SEP1", "FALSO", "verdadero", "#N/A", "=1+1", "@a",
    "'0016", "q99.1", "T68.XXXA", "1e-5", "1E+300", "(5)", "5%", "€5", "ñ1", "Q٣", "true", "N/A", "0", "00", ".5", "5.",
]  # fmt: skip


def look_alikes(chance: random.Random) -> str:
    """A code that some reader would take for a number, a date, a truth value or nothing."""
    digits = "".join(chance.choices(string.digits, k=chance.randint(1, 7)))
    letters = "".join(chance.choices(string.ascii_letters, k=chance.randint(1, 3)))
    return chance.choice([
        digits, digits.zfill(8), f"{digits}E{digits[:2]}", f"{digits}e-{digits[:1]}", f"{digits[:3]}.{digits}0",
        f"{digits[:2]}-{digits[:1]}-{digits[:4]}", f"{digits[:2]}/{digits[:2]}", f"{letters}{digits}",
        f"{letters.lower()}{digits[:2]}.{digits}", f"{digits[:1]}{letters}{digits}", f"{chance.choice(FIXED)}{digits}",
        f"-{digits}", f"{digits}.", f"{digits},{digits[:2]}", f"{letters} {digits}", f'{digits}"{letters}',
        f"{digits};",
    ])  # fmt: skip


def random_codes(count: int = 2000) -> list[str]:
    chance = random.Random(20240301)
    return FIXED + [look_alikes(chance) for _ in range(count - len(FIXED))]


def as_tsv(rows: Pairs) -> bytes:
    return "".join("\t".join(row) + "\n" for row in [HEADER, *rows]).encode()


def as_csv(rows: Pairs, separator: str = ",") -> bytes:
    stream = io.StringIO()
    csv.writer(stream, delimiter=separator).writerows([HEADER, *rows])
    return stream.getvalue().encode()


def as_jsonl(rows: Pairs) -> bytes:
    return "".join(json.dumps(dict(zip(HEADER, row, strict=True)), ensure_ascii=False) + "\n" for row in rows).encode()


def as_array(rows: Pairs) -> bytes:
    return json.dumps([dict(zip(HEADER, row, strict=True)) for row in rows]).encode()


def as_workbook(rows: Pairs) -> bytes:
    book = openpyxl.Workbook()
    for line, row in enumerate([HEADER, *rows], start=1):
        for column, value in enumerate(row, start=1):
            cell = book.active.cell(line, column)
            cell.value = value
            cell.data_type = "s"  # openpyxl would make formulas and errors of some
    stream = io.BytesIO()
    book.save(stream)
    return stream.getvalue()


def as_parquet(rows: Pairs) -> bytes:
    stream = io.BytesIO()
    parquet.write_table(pa.table(dict(zip(HEADER, map(list, zip(*rows, strict=True)), strict=True))), stream)
    return stream.getvalue()


WRITERS: dict[str, Callable[[Pairs], bytes]] = {
    "t.tsv": as_tsv, "t.csv": as_csv, "t.jsonl": as_jsonl, "t.json": as_array,
    "t.xlsx": as_workbook, "t.parquet": as_parquet,
}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "write"),
    [*WRITERS.items(), ("t.csv", lambda rows: as_csv(rows, ";")), ("t.csv", lambda rows: as_csv(rows, "\t"))],
)
def test_two_thousand_codes_survive(tmp_path: Path, name: str, write: Callable[[Pairs], bytes]) -> None:
    codes = random_codes()
    (tmp_path / name).write_bytes(write([(code, f"título {i}") for i, code in enumerate(codes)]))
    rows = [row for row in read_code_table(CodeTable(tmp_path / name, "x")).rows if isinstance(row, CodeRow)]
    assert len(codes) == 2000
    assert [row.code for row in rows] == codes
    assert [row.description for row in rows] == [f"título {i}" for i in range(2000)]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "cp1252"])
@pytest.mark.parametrize("name", ["t.tsv", "t.csv", "t.jsonl"])
def test_they_survive_in_every_encoding(tmp_path: Path, name: str, encoding: str) -> None:
    codes = [code for code in random_codes() if "٣" not in code]
    text = WRITERS[name]([(code, "título") for code in codes]).decode()
    (tmp_path / name).write_bytes(text.encode(encoding))
    assert [getattr(row, "code", None) for row in read_code_table(CodeTable(tmp_path / name, "x")).rows] == codes


class TestFormat:
    @pytest.mark.parametrize(
        ("name", "form"),
        [("t.TSV", "tsv"), ("t.tab", "tsv"), ("t.txt", "tsv"), ("t.CSV", "csv"), ("t.ndjson", "jsonl"),
         ("t.XLSX", "xlsx"), ("t.xlsm", "xlsx"), ("t.pq", "parquet")],
    )  # fmt: skip
    def test_it_is_known_by_the_name(self, tmp_path: Path, name: str, form: str) -> None:
        (tmp_path / name).write_bytes(WRITERS[f"t.{form}"]([("0016", "Dedo")]))
        (row,) = read_code_table(CodeTable(tmp_path / name, "x")).rows
        assert isinstance(row, CodeRow)
        assert row.code == "0016"

    @pytest.mark.parametrize("form", FORMATS)
    def test_it_may_be_named(self, tmp_path: Path, form: str) -> None:
        (tmp_path / "t.dat").write_bytes(WRITERS[f"t.{form}"]([("0016", "Dedo")]))
        (row,) = read_code_table(CodeTable(tmp_path / "t.dat", "x", format=form)).rows  # type: ignore[arg-type]
        assert isinstance(row, CodeRow)
        assert row.code == "0016"

    @pytest.mark.parametrize("name", ["t", "t.ods", "t.dat"])
    @pytest.mark.parametrize("form", ["csv", "tsv", "json", "jsonl", "xlsx", "parquet"])
    def test_where_the_name_does_not_tell_it_what_is_in_it_does(self, tmp_path: Path, name: str, form: str) -> None:
        (tmp_path / name).write_bytes(WRITERS[f"t.{form}"]([("0016", "Dedo")]))
        (row,) = read_code_table(CodeTable(tmp_path / name, "x")).rows
        assert isinstance(row, CodeRow)
        assert row.code == "0016"

    @pytest.mark.parametrize("name", ["t", "t.dat"])
    def test_an_unknown_ending_of_an_empty_file_is_an_error(self, tmp_path: Path, name: str) -> None:
        (tmp_path / name).touch()
        with pytest.raises(TableError, match="name it: csv, tsv, jsonl, json, xlsx, parquet"):
            list(read_code_table(CodeTable(tmp_path / name, "x")).rows)

    def test_an_unknown_format_is_an_error(self, tmp_path: Path) -> None:
        with pytest.raises(TableError, match="format 'ods' is not known"):
            list(read_code_table(CodeTable(tmp_path / "t.tsv", "x", format="ods")).rows)  # type: ignore[arg-type]


SECRET = "titulo-secreto"
SAMPLE = [(code, f'{SECRET} {i}, con «ñ» y "comillas"') for i, code in enumerate(FIXED)]
TEXT_NAMES = ["t.tsv", "t.csv", "t.jsonl", "t.json"]
OPTIONS = st.fixed_dictionaries(
    {},
    optional={
        "encoding": st.sampled_from(["utf-8", "utf-16", "utf-7", "ascii", "cp037", "shift_jis", "nada"]),
        "sheet": st.sampled_from(["Sheet", "nada"]),
        "code_column": st.sampled_from(["código", "clave", "descripcion", ""]),
        "description_column": st.sampled_from(["descripción", "texto"]),
        "synonyms": st.booleans(),
    },
)


@cache
def sample(name: str) -> bytes:
    return WRITERS[name](SAMPLE)


def check(name: str, content: bytes, options: dict[str, object]) -> None:
    """Read whatever it is: rows with a code and a description, rejected ones in their order, or a `TableError`."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, name)
        path.write_bytes(content)
        rows: list[CodeRow | RejectedRow] = []
        try:
            for row in read_code_table(CodeTable(path, "x", **options)).rows:  # type: ignore[arg-type]
                rows.append(row)
        except TableError as error:
            assert str(error)
    lines = [row.line for row in rows]
    assert lines == sorted(set(lines))
    for row in rows:
        if isinstance(row, CodeRow):
            assert row.code.strip() == row.code != ""
            assert " ".join(row.description.split()) == row.description != ""
        else:
            assert row.reason
            assert SECRET not in row.reason


def mutated(data: bytes, edits: list[tuple[int, int, bytes]]) -> bytes:
    for place, cut, new in edits:
        at = place % (len(data) + 1)
        data = data[:at] + new + data[at + cut :]
    return data


NEW = st.one_of(st.binary(max_size=6), st.sampled_from([b'"', b"\t", b"\n", b"\r", b";", b"\x00", b"\xff", b"9" * 30]))
EDITS = st.lists(st.tuples(st.integers(0, 1 << 20), st.integers(0, 40), NEW), min_size=1, max_size=6)


@pytest.mark.parametrize("name", list(WRITERS))
@given(content=st.binary(max_size=300), options=OPTIONS)
@settings(max_examples=120, deadline=None)
def test_no_bytes_crash_a_reader(name: str, content: bytes, options: dict[str, object]) -> None:
    check(name, content, options)


@pytest.mark.parametrize("name", list(WRITERS))
@given(edits=EDITS, options=OPTIONS)
@settings(max_examples=120, deadline=None)
def test_no_damage_crashes_a_reader(name: str, edits: list[tuple[int, int, bytes]], options: dict[str, object]) -> None:
    check(name, mutated(sample(name), edits), options)


@pytest.mark.parametrize("name", TEXT_NAMES)
@given(
    content=st.text(st.sampled_from('"",;\t\n\r aQ1ñ{}[]:\\\ufeff\x00\u200b\x85') | st.characters(), max_size=200),
    options=OPTIONS,
    header=st.booleans(),
    encoding=st.sampled_from(["utf-8", "utf-16"]),
)
@settings(max_examples=120, deadline=None)
def test_no_text_crashes_a_reader(
    name: str, content: str, options: dict[str, object], header: bool, encoding: str
) -> None:
    text = "codigo,descripcion\n" * header + content
    check(name, text.encode(encoding, "surrogatepass"), options)


PARTS = st.sampled_from(["xl/worksheets/sheet1.xml", "xl/workbook.xml", "xl/styles.xml", "[Content_Types].xml"])
# Attributes and values of the XML: what is inside quotes, and what is between tags.
VALUES = re.compile(rb'"[^"]*"|>[^<>]+<')
TOKENS = st.sampled_from(
    [b"", b"-1", b"0", b"1e9", b"999999999999", b"XFD1", b"A0", b"ZZZZ9", b"nan", b"b", b"d", b"e", b"s", b"\xc3"]
)


@given(part=PARTS, edits=EDITS, tokens=st.lists(st.tuples(st.integers(0, 1 << 20), TOKENS), max_size=4))
@settings(max_examples=150, deadline=None)
def test_no_damage_inside_a_workbook_crashes_its_reader(
    part: str, edits: list[tuple[int, int, bytes]], tokens: list[tuple[int, bytes]]
) -> None:
    with zipfile.ZipFile(io.BytesIO(sample("t.xlsx"))) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    content = parts[part]
    for place, token in tokens:
        spans = [found.span() for found in VALUES.finditer(content)]
        start, end = spans[place % len(spans)]
        content = content[: start + 1] + token + content[end - 1 :]
    parts[part] = content if tokens else mutated(content, edits)
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, data in parts.items():
            archive.writestr(name, data)
    check("t.xlsx", stream.getvalue(), {})
