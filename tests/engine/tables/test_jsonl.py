from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cielo.errors import TableError
from cielo.knowledge.code_tables import CodeRow, CodeTable, read_code_table

Read = Callable[..., list[tuple[Any, ...]]]
MARKER = "titulo-secreto"


def lines(*values: object) -> str:
    return "".join(json.dumps(value, ensure_ascii=False) + "\n" for value in values)


def test_members_are_found_by_name_in_each_line(read: Read) -> None:
    text = lines(
        {"code": "0016", "description": "Dedo azul"},
        {"Descripción": "Dedo  verde", "nodo": [1, {"a": None}], "Código": " 3e03 "},
        {"descripcion": "Codo", "codigo": "null"},
    )
    rows = [(1, "0016", "Dedo azul"), (2, "3e03", "Dedo verde"), (3, "null", "Codo")]
    assert read(text, "t.jsonl") == rows
    assert read(text.encode("utf-16"), "t.ndjson") == rows


def test_members_may_be_named(read: Read) -> None:
    text = lines({"code": "Q1", "clave": "Q2", "description": "Dedo", "texto": "Codo"})
    assert read(text, "t.jsonl", code_column="Clave", description_column="texto") == [(1, "Q2", "Codo")]


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (
            300000,
            "the code is a number, expected text; as a number a code can lose zeros and letters; write it as text",
        ),
        (3.5, "the code is a number, expected text; as a number a code can lose zeros and letters; write it as text"),
        (True, "the code is a truth value, expected text; write it as text"),
        (["Q1"], "the code is a list, expected text; write it as text"),
        ({"a": MARKER}, "the code is an object, expected text; write it as text"),
        (None, "the code is empty"),
        ("", "the code is empty"),
        ("Q\ud800", "the code is not valid Unicode"),
        ("Q\t1", "the code holds a control character"),
        ("\x00", "the code holds a control character"),
    ],
)
def test_a_code_that_is_no_text_is_rejected(read: Read, value: object, reason: str) -> None:
    bad = json.dumps({"code": value, "description": MARKER})
    text = (
        lines({"code": "Q0", "description": "Pie"}) + "\n" + bad + "\n" + lines({"code": "Q2", "description": "Codo"})
    )
    assert read(text, "t.jsonl") == [(1, "Q0", "Pie"), (3, reason), (4, "Q2", "Codo")]


def test_a_description_that_is_no_text_is_rejected(read: Read) -> None:
    text = lines(
        {"code": "Q1", "description": 5}, {"code": "Q1", "description": None}, {"code": "Q1"}, {"code": "Q1", "x": 1},
        {"code": "Q1", "description": "a\x01"}, {"code": "Q1", "description": "Dedo"},
    )  # fmt: skip
    assert read(text, "t.jsonl") == [
        (1, "the description is a number, expected text; write it as text"),
        (2, "the description is empty"),
        (3, "the description is empty"),
        (4, "the description is empty"),
        (5, "the description holds a control character"),
        (6, "Q1", "Dedo"),
    ]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ('{"code": "Q1"', "the line is not JSON; expected one object on each line"),
        ('{"code": "Q1"} {}', "the line is not JSON; expected one object on each line"),
        ("[" * 100_000, "the line is not JSON; expected one object on each line"),
        ("9" * 5000, "the line is not JSON; expected one object on each line"),
        ('["Q1", "Dedo"]', "the line holds a JSON list; expected an object"),
        ('"Q1"', "the line holds a JSON string; expected an object"),
        ("1e999", "the line is not JSON; expected one object on each line"),
        ("7.5", "the line holds a JSON number; expected an object"),
        ("null", "the line holds a JSON null; expected an object"),
        ("true", "the line holds a JSON truth value; expected an object"),
        ("{}", "the code is empty"),
    ],
)
def test_a_line_that_is_no_object_is_rejected(read: Read, line: str, reason: str) -> None:
    good = lines({"code": "Q2", "description": "Codo"})
    assert read(f"{line}\n{good}", "t.jsonl") == [(1, reason), (2, "Q2", "Codo")]


def test_a_line_that_is_no_text_is_rejected(read: Read) -> None:
    text = b'{"code":"Q1","description":"O\xeddo"}\n{"code":"Q2","description":"Codo"}\n'
    assert read(text, "t.jsonl", encoding="utf-8") == [
        (1, "the row is not UTF-8; save the file as UTF-8 or name its encoding"), (2, "Q2", "Codo"),
    ]  # fmt: skip
    assert read(text, "t.jsonl") == [(1, "Q1", "Oído"), (2, "Q2", "Codo")]


@pytest.mark.parametrize(
    ("options", "lacking"),
    [({}, "of descriptions"), ({"code_column": "clave"}, "'clave'"), ({"description_column": "titulo"}, "'titulo'")],
)
def test_a_column_that_no_line_has_is_an_error(read: Read, options: dict[str, str], lacking: str) -> None:
    with pytest.raises(TableError, match="the columns are: 'code', 'texto', 'otro'") as caught:
        read(lines({"code": MARKER, "texto": MARKER}, {"otro": MARKER}), "t.jsonl", **options)
    assert lacking in str(caught.value)
    assert MARKER not in str(caught.value)


def test_one_member_cannot_be_both(read: Read) -> None:
    with pytest.raises(TableError, match="one column cannot hold both"):
        read(lines({"code": "Q1", "description": "Dedo"}), "t.jsonl", description_column="code")


def test_marks_of_preference_may_be_truth_values_numbers_or_text(tmp_path: Path) -> None:
    marks = [True, False, 1, 0, "sí", "no", None, 1.0]
    path = tmp_path / "t.jsonl"
    path.write_text(lines(*({"code": "Q1", "description": "Dedo", "preferred": mark} for mark in marks)), "utf-8")
    rows = list(read_code_table(CodeTable(path, "x")).rows)
    assert [row.preferred for row in rows if isinstance(row, CodeRow)] == [
        True, False, True, False, True, False, False, True,
    ]  # fmt: skip
    path.write_text(lines(*({"code": "Q1", "description": "Dedo", "preferred": mark} for mark in [2, [1], {}, "?"])))
    assert [
        "mark of preference" in getattr(row, "reason", "") for row in read_code_table(CodeTable(path, "x")).rows
    ] == [True] * 4


@pytest.mark.parametrize("content", ["", "\n \n", "\ufeff"])
def test_a_file_without_lines_gives_no_row(read: Read, content: str) -> None:
    assert read(content, "t.jsonl") == []
