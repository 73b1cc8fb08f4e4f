from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from cielo.errors import TableError
from cielo.knowledge.code_tables import CodeRow, CodeTable, read_code_table
from cielo.tables import RejectedRow
from pyarrow import parquet

MARKER = "titulo-secreto"
CODES = ["0210", "0016", "3E03", "NA", "1E5", "TRUE", "null", " q1 "]
TEXTS = [f"Dedo  {number}" for number in range(len(CODES))]


def write(path: Path, **columns: Any) -> Path:
    parquet.write_table(pa.table(columns), path, row_group_size=3)
    return path


def rows(path: Path, **options: Any) -> list[CodeRow | RejectedRow]:
    return list(read_code_table(CodeTable(path, "x", **options)).rows)


@pytest.mark.parametrize(
    "kind", [pa.string(), pa.large_string(), pa.dictionary(pa.int32(), pa.string()), pa.string_view()], ids=str
)
def test_columns_of_text_are_read_whichever_type_they_have(tmp_path: Path, kind: pa.DataType) -> None:
    path = tmp_path / "t.parquet"
    path = write(path, nodo=[1] * 8, Descripción=pa.array(TEXTS).cast(kind), Código=pa.array(CODES).cast(kind))
    found = rows(path)
    assert [(row.line, row.code, row.description, row.preferred) for row in found if isinstance(row, CodeRow)] == [
        (number, code.strip(), f"Dedo {number - 1}", True) for number, code in enumerate(CODES, start=1)
    ]
    assert len(found) == len(CODES)


@pytest.mark.parametrize(
    "values", [pa.array([210, 16]), pa.array([1.0, 2.0]), pa.array([b"Q1", b"Q2"]), pa.array([["Q1"], []])], ids=str
)
@pytest.mark.parametrize("name", ["code", "description"])
def test_a_column_of_another_type_is_an_error(tmp_path: Path, values: pa.Array, name: str) -> None:
    columns = {"code": pa.array(["Q1", "Q2"]), "description": pa.array([MARKER, "Dedo"])} | {name: values}
    with pytest.raises(TableError, match=f"the column '{name}' is of type .*, expected strings") as caught:
        rows(write(tmp_path / "t.parquet", **columns))
    assert MARKER not in str(caught.value)


def test_a_row_that_cannot_be_taken_is_rejected(tmp_path: Path) -> None:
    path = write(
        tmp_path / "t.pq", code=["Q1", None, "", "Q4", "Q\x00", "Q6"], description=["a", "b", "c", None, "d", "e"]
    )
    assert [(row.line, getattr(row, "reason", "")) for row in rows(path)] == [
        (1, ""), (2, "the code is empty"), (3, "the code is empty"), (4, "the description is empty"),
        (5, "the code holds a control character"), (6, ""),
    ]  # fmt: skip


def test_a_column_of_nothing_is_rejected_row_by_row(tmp_path: Path) -> None:
    path = write(tmp_path / "t.parquet", code=pa.nulls(2), description=["a", "b"])
    assert rows(path) == [RejectedRow(1, "the code is empty"), RejectedRow(2, "the code is empty")]


def test_a_value_that_is_no_text_is_rejected_alone(tmp_path: Path) -> None:
    codes = pa.array([b"Q1", b"Q\xff", b"Q3"]).view(pa.string())
    path = write(tmp_path / "t.parquet", code=codes, description=["a", "b", "c"])
    assert rows(path) == [
        CodeRow(1, "Q1", "a", True), RejectedRow(2, "the code is not valid Unicode"), CodeRow(3, "Q3", "c", True),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "marks", [[True, False, None], [1, 0, None], ["sí", "no", ""], pa.array(["x", "", "n"]).dictionary_encode()]
)
def test_a_column_marks_the_preferred_descriptions(tmp_path: Path, marks: Any) -> None:
    path = write(tmp_path / "t.parquet", code=["Q1"] * 3, description=["a", "b", "c"], preferente=marks)
    assert [row.preferred for row in rows(path) if isinstance(row, CodeRow)] == [True, False, False]


def test_columns_may_be_named_and_may_have_dots(tmp_path: Path) -> None:
    columns = {"a.b": ["Q1"], "a": ["Q2"], "c d": ["Dedo"]}
    path = write(tmp_path / "t.parquet", **columns)
    assert rows(path, code_column="a.b", description_column="c d") == [CodeRow(1, "Q1", "Dedo", True)]
    assert rows(path, code_column="a", description_column="C.D.") == [CodeRow(1, "Q2", "Dedo", True)]


def test_of_two_columns_of_one_name_the_first_is_read(tmp_path: Path) -> None:
    table = pa.Table.from_arrays([pa.array([v]) for v in ("Q1", "Q2", "Dedo")], names=["code", "code", "description"])
    parquet.write_table(table, tmp_path / "t.parquet")
    assert rows(tmp_path / "t.parquet") == [CodeRow(1, "Q1", "Dedo", True)]


@pytest.mark.parametrize("options", [{}, {"code_column": "clave"}])
def test_a_column_that_is_not_there_is_an_error(tmp_path: Path, options: dict[str, str]) -> None:
    with pytest.raises(TableError, match="the columns are: 'a', 'b'"):
        rows(write(tmp_path / "t.parquet", a=["Q1"], b=["Dedo"]), **options)


@pytest.mark.parametrize("content", [b"", b"PAR1", b"not Parquet at all, but some other file" * 20])
def test_what_is_no_parquet_is_an_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "t.parquet").write_bytes(content)
    with pytest.raises(TableError, match=r"t\.parquet: (is no Parquet file|cannot be read)"):
        rows(tmp_path / "t.parquet")


def test_a_page_that_was_altered_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    table = pa.table({"code": CODES, "description": TEXTS})
    parquet.write_table(table, path, write_page_checksum=True, compression="none", use_dictionary=False)
    data = path.read_bytes()
    assert data.count(b"3E03") == 1
    path.write_bytes(data.replace(b"3E03", b"3E04"))
    with pytest.raises(TableError, match="damaged"):
        rows(path)


def test_without_the_library_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "t.parquet", code=["Q1"], description=["Dedo"])
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(TableError, match=r"pip install 'cielo\[tables\]'"):
        rows(path)
