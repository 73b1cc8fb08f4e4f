"""Tables over HTTP: read as the command line reads them, written as it writes them."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import openpyxl
import pytest
from served import TC, Served, serving

EXCEL = "Texto;Frase;Nº historia\nTC abdominal;La TC abdominal es normal.;007\n;;8\n".encode("cp1252")


def read(
    served: Served, content: bytes, name: str, kind: str = "application/octet-stream"
) -> tuple[int, dict[str, object]]:
    with served.client as client:
        answer = client.post("/v1/tables/read", params={"name": name}, content=content, headers={"content-type": kind})
    return answer.status_code, answer.json()


def test_a_spreadsheet_s_file_is_read(served: Served) -> None:
    status, table = read(served, EXCEL, "de la planta.CSV")
    assert (status, table["columns"]) == (200, ["Texto", "Frase", "Nº historia"])
    first, second = table["rows"]
    assert (first["text"], first["sentence"]) == ("TC abdominal", "La TC abdominal es normal.")
    assert first["values"]["Nº historia"] == "007"
    assert second["text"] is None
    assert "empty" in second["error"]


def test_a_workbook_is_written_and_read(served: Served) -> None:
    link = served.link(TC).json()["results"][0]["link"]
    review = {"decision": "accepted", "code": "BW20", "title": "t"}
    rows = [
        {"values": {"text": "TC abdominal", "n": "007"}, "link": link, "review": review},
        {"values": {"text": "=1+1"}, "error": "no"},
    ]
    with served.client as client:
        answer = client.post("/v1/tables/write?format=xlsx", json={"rows": rows})
        assert (answer.status_code, "attachment" in answer.headers["content-disposition"]) == (200, True)
        cells = list(openpyxl.load_workbook(io.BytesIO(answer.content)).active.iter_rows(values_only=True))
        csv = client.post("/v1/tables/write?format=csv", json={"rows": rows}).text
    first = dict(zip(cells[0], cells[1], strict=True))
    names = ("n", "code", "method", "decision", "final_code")
    assert [first[name] for name in names] == ["007", "BW20", "exact", "accepted", "BW20"]
    assert dict(zip(cells[0], cells[2], strict=True))["error"] == "no"
    assert "'=1+1" in csv  # no formula
    assert read(served, answer.content, "x.xlsx")[1]["rows"][0]["text"] == "TC abdominal"


def test_a_table_that_is_called_a_workbook_is_read(served: Served) -> None:
    status, table = read(served, EXCEL, "x.xlsx")
    assert (status, table["columns"]) == (200, ["Texto", "Frase", "Nº historia"])


def bomb() -> bytes:
    stream = io.BytesIO()
    with (
        zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        archive.open("xl/a.xml", "w") as entry,
    ):
        for _ in range(300):
            entry.write(bytes(1 << 20))
    return stream.getvalue()


@pytest.mark.parametrize(
    ("content", "name", "status"),
    [
        (b"", "x.csv", 422),
        (b"a,b\n1,2\n", "x.csv", 422),
        (EXCEL, "x", 422),
        (EXCEL, "x.doc", 422),
        (b"<html><table><tr><td>text</td></tr><tr><td>tos</td></tr></table></html>", "x.xls", 422),
        (EXCEL, "../../etc/x.gz", 422),
        (b"text\n" + b"a\n" * 20_001, "x.csv", 413),
        (b"text\n" + b"a" * 300_000, "x.csv", 413),
    ],
)
def test_what_is_no_table_is_refused(served: Served, content: bytes, name: str, status: int) -> None:
    found, body = read(served, content, name)
    assert (found, sorted(body)) == (status, ["error"])


def test_a_workbook_that_unpacks_to_too_much_is_refused(tmp_path: Path) -> None:
    for name in ("x.xlsx", "x.csv"):
        with serving(tmp_path) as served:  # its limit of bytes lets it through
            status, body = read(served, bomb(), name)
        assert (status, "unpacked" in body["error"]["message"]) == (422, True)


@pytest.mark.parametrize(
    "body",
    ["[]", "{}", '{"rows": []}', '{"rows": [{}]}', '{"rows": [{"values": {}, "link": {"code": 1}}]}',
     '{"rows": [{"values": {"text": "a"}, "review": {"decision": "perhaps"}}]}'],
)  # fmt: skip
def test_what_cannot_be_written_is_refused(served: Served, body: str) -> None:
    with served.client as client:
        answer = client.post("/v1/tables/write", content=body, headers={"content-type": "application/json"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (422, "invalid")
