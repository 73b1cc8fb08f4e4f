from __future__ import annotations

import sys

import pytest
from cielo import Linker, OptionError, TableError
from cielo.errors import CieloError
from cielo.integrations.dataframes import link_frame
from cielo.link.columns import RESULTS

ROWS = {"text": ["TC abdominal", "", "tos", None], "n": [1, 2, 3, 4]}
CODES = ["BW20", None, "R05", None]


def test_pyarrow_comes_back_as_pyarrow(linker: Linker) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    table = pyarrow.table(ROWS)
    found = link_frame(table, linker)
    assert found.column_names == ["text", "n", *RESULTS]
    assert found.column("code").to_pylist() == CODES
    assert [error is None for error in found.column("error").to_pylist()] == [True, False, True, False]
    assert table.column_names == ["text", "n"]
    assert type(link_frame(table.to_reader(), linker)) is pyarrow.RecordBatchReader
    assert link_frame(table.slice(0, 0), linker).column("confidence").type == pyarrow.float64()


@pytest.mark.integrations
def test_polars_comes_back_as_polars(linker: Linker) -> None:
    polars = pytest.importorskip("polars")
    found = link_frame(polars.DataFrame(ROWS), linker)
    assert isinstance(found, polars.DataFrame) and found["code"].to_list() == CODES
    assert found["n"].to_list() == ROWS["n"]


@pytest.mark.integrations
def test_duckdb_comes_back_as_duckdb(linker: Linker) -> None:
    duckdb = pytest.importorskip("duckdb")
    relation = duckdb.sql("SELECT 'tos' AS text UNION ALL SELECT NULL ORDER BY text")
    found = link_frame(relation, linker)
    assert type(found) is type(relation)
    assert found.project("code").fetchall() == [("R05",), (None,)]


@pytest.mark.integrations
def test_pandas_keeps_its_index(linker: Linker) -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(ROWS, index=[9, 7, 7, 5])
    found = link_frame(frame, linker)
    assert isinstance(found, pandas.DataFrame) and list(found.index) == [9, 7, 7, 5]
    assert [code if isinstance(code, str) else None for code in found["code"]] == CODES
    assert list(frame.columns) == ["text", "n"]


def test_columns_can_be_named_and_results_prefixed(linker: Linker) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    table = pyarrow.table({"frase": ["Refiere tos."], "m": ["tos"], "code": ["x"]})
    found = link_frame(table, linker, columns={"text": "m", "sentence": "frase"}, prefix="cielo_")
    assert found.column("cielo_code").to_pylist() == ["R05"]


def test_what_does_not_fit_is_refused(linker: Linker) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    with pytest.raises(TableError, match="data frame"):
        link_frame([{"text": "tos"}], linker)  # type: ignore[type-var]
    with pytest.raises(TableError, match="'text'"):
        link_frame(pyarrow.table({"a": ["tos"]}), linker)
    with pytest.raises(TableError, match="prefix"):
        link_frame(pyarrow.table({"text": ["tos"], "code": [""]}), linker)
    with pytest.raises(OptionError, match="mention"):
        link_frame(pyarrow.table({"text": ["tos"]}), linker, columns={"mention": "text"})


def test_without_the_library_the_extra_is_named(linker: Linker, monkeypatch: pytest.MonkeyPatch) -> None:
    table = pytest.importorskip("pyarrow").table({"text": ["tos"]})
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(CieloError, match=r"cielo\[dataframes\]"):
        link_frame(table, linker)
