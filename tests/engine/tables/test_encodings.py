from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cielo.errors import TableError
from cielo.knowledge.code_tables import CodeTable, read_code_table
from cielo.tables.encodings import encoding_of

Read = Callable[..., list[tuple[Any, ...]]]
TEXT = "código\tdescripción\n0016\tÑame en el oído\n3E03\tDedo azul\n"
ROWS = [(2, "0016", "Ñame en el oído"), (3, "3E03", "Dedo azul")]


@pytest.mark.parametrize(
    ("content", "encoding"),
    [
        (TEXT.encode(), "utf-8"),
        (b"\xef\xbb\xbf" + TEXT.encode(), "utf-8"),
        (TEXT.encode("utf-16"), "utf-16-le"),
        (b"\xfe\xff" + TEXT.encode("utf-16-be"), "utf-16-be"),
        (TEXT.encode("cp1252"), "windows-1252"),
        (b"", "utf-8"),
        (b"abc", "utf-8"),
        (("a" * ((1 << 20) - 1) + "ñ").encode(), "utf-8"),
        (b"a" * (1 << 20) + b"\xf1", "windows-1252"),
        ("dedo pequeño".encode()[:-2], "windows-1252"),
    ],
)
def test_the_encoding_is_detected(tmp_path: Path, content: bytes, encoding: str) -> None:
    path = tmp_path / "t.tsv"
    path.write_bytes(content)
    with path.open("rb") as stream:
        found, again = encoding_of(stream)
        assert found == encoding
        assert again.read() == content


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
@pytest.mark.parametrize("name", ["t.tsv", "t.csv"])
def test_a_table_is_read_in_the_encoding_detected(read: Read, encoding: str, name: str) -> None:
    assert read(TEXT.encode(encoding), name) == ROWS


@pytest.mark.parametrize(
    "encoding", ["utf-8", "UTF8", "utf-16", "utf-16-le", "latin-1", "cp850", "mac-roman", "utf-32"]
)
def test_a_table_is_read_in_the_encoding_named(read: Read, encoding: str) -> None:
    assert read(TEXT.encode(encoding), encoding=encoding) == ROWS


def test_a_mark_goes_whatever_encoding_is_named(read: Read) -> None:
    assert read(b"\xef\xbb\xbf" + TEXT.encode(), encoding="utf-8") == ROWS
    assert read(b"\xff\xfe" + TEXT.encode("utf-16-le"), encoding="utf-16-le") == ROWS


@pytest.mark.parametrize(
    ("head", "bad", "encoding", "named"),
    [
        (b"", b"Q1\tDedo \x81\n", "Windows-1252", None),
        (b"", b"Q1\tO\xeddo\n", "UTF-8", "utf-8"),
        (b"\xef\xbb\xbf", b"Q1\tO\xeddo\n", "UTF-8", None),
        (b"", b"Q1\tOi\xc3do\n", "ascii", "ascii"),
    ],
)
def test_a_line_that_is_no_text_is_rejected_alone(
    read: Read, head: bytes, bad: bytes, encoding: str, named: str | None
) -> None:
    reason = f"the row is not {encoding}; save the file as UTF-8 or name its encoding"
    for name in ("t.tsv", "t.csv"):
        content = (head + b"Q0\tPie\n" + bad + b"Q2\tCodo\n").replace(
            b"Codo", b"C\xf3do" if not named and not head else b"Codo"
        )
        rows = read(content, name, encoding=named)
        assert rows[0] == (1, "Q0", "Pie")
        assert rows[1] == (2, reason)
        assert rows[2][:2] == (3, "Q2")


def test_half_a_pair_and_half_a_character_in_utf_16_are_rejected_alone(read: Read) -> None:
    half = "Q1\tDedo ".encode("utf-16-le") + b"\x00\xd8" + " azul\nQ2\tCodo\n".encode("utf-16-le")
    rows = read(b"\xff\xfe" + half + b"\x51")
    assert [row[0] for row in rows] == [1, 2, 3]
    assert rows[1] == (2, "Q2", "Codo")
    assert "is not UTF-16" in rows[0][1]
    assert "is not UTF-16" in rows[2][1]


@pytest.mark.parametrize("encoding", ["klingon", "hex", "", "a\x00b", "ñ", "\ud800", "../utf-8"])
def test_an_unknown_encoding_is_named(read: Read, encoding: str) -> None:
    with pytest.raises(TableError, match=r"encoding .* is not known"):
        read(TEXT, encoding=encoding)


@pytest.mark.parametrize("encoding", ["undefined", "idna", "punycode"])
def test_an_encoding_that_cannot_skip_what_is_no_text_is_an_error(read: Read, encoding: str) -> None:
    with pytest.raises(TableError, match="cannot be decoded as"):
        read(TEXT, encoding=encoding)


@pytest.mark.parametrize("name", ["falta.tsv", "falta.xlsx", "falta.parquet", "falta.csv", "falta.jsonl", "a\x00b.tsv"])
def test_a_file_that_is_missing_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(TableError, match="cannot be read"):
        list(read_code_table(CodeTable(tmp_path / name, "x")).rows)


@pytest.mark.parametrize("name", ["d.tsv", "d.xlsx", "d.parquet", "d.csv", "d.jsonl"])
def test_a_directory_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    with pytest.raises(TableError, match="Is a directory"):
        list(read_code_table(CodeTable(tmp_path / name, "x")).rows)


def test_what_can_be_read_only_once_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "f.tsv")
    with pytest.raises(TableError, match="no regular file"):
        list(read_code_table(CodeTable(tmp_path / "f.tsv", "x")).rows)


def test_a_file_that_may_not_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> object:
        raise PermissionError(13, "Permission denied")

    for name, encoding in (("t.tsv", None), ("t.tsv", "utf-8"), ("t.xlsx", None), ("t.parquet", None)):
        (tmp_path / name).write_text(TEXT, "utf-8")
        with monkeypatch.context() as patch, pytest.raises(TableError, match="Permission denied"):
            patch.setattr(Path, "open", refuse)
            list(read_code_table(CodeTable(tmp_path / name, "x", encoding=encoding)).rows)
