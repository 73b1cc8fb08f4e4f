from __future__ import annotations

import csv
import errno
import io
import json
import os
import re
import stat
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cielo.errors import MentionError, TableError
from cielo.records import BundleIdentity, Candidate, Link, Mention, Proof, Provenance
from cielo.tables import Format, TableFormat, format_of
from cielo.tables import mentions as tables
from cielo.tables.links import output_row, write_rows
from cielo.tables.mentions import InputRow, read_mentions
from cielo.tables.writing import open_output
from hypothesis import example, given, settings
from hypothesis import strategies as st

MARKER = "Ximénez-secreto"
TRICKY_CODES = ["0210", "3E03", "NA", "0016", "1E5", "00.10", "3E03305", "INF", "null", "TRUE"]
CELLS = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
TRICKY_CELLS = st.text("a,;\"'\t\r\n\\|\x00\u2028\ufeff ñ{}[]#=", max_size=12)
ROWS = st.lists(
    st.fixed_dictionaries({"text": (CELLS | TRICKY_CELLS).map("t".__add__), "nota": CELLS | TRICKY_CELLS}),
    min_size=1,
    max_size=6,
)


FORMATS: tuple[Format, ...] = ("jsonl", "csv", "tsv")  # those of which a test can write the text


def read(content: bytes | str, form: Format) -> list[InputRow]:
    data = content.encode() if isinstance(content, str) else content
    return list(read_mentions(io.BytesIO(data), TableFormat(format=form)))


def write(form: Format, rows: Any) -> str:
    stream = io.BytesIO()
    write_rows(stream, form, rows)
    return stream.getvalue().decode()


def table(form: Format, rows: list[dict[str, str]]) -> str:
    """Rows as a caller would write them, by nothing of ours."""
    if form == "jsonl":
        return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    lines = [list(rows[0]), *([row[name] for name in rows[0]] for row in rows)]
    if form == "tsv":
        return "".join("\t".join(cells) + "\n" for cells in lines)
    stream = io.StringIO(newline="")
    csv.writer(stream).writerows(lines)
    return stream.getvalue()


def make_link(**changes: Any) -> Link:
    fields: dict[str, Any] = {
        "code": "0210", "codes": ("0210", "3E03"), "description": "derivación coronaria", "kind": "procedure",
        "method": "exact", "generated": "derivación coronaria", "log_prob": -0.5, "distance": None,
        "candidates": (Candidate("0210", "derivación coronaria", "procedure", "hypothesis", log_prob=-0.5),),
        "provenance": Provenance(BundleIdentity("mini", "ab" * 32, "2024"), "ctranslate2", "int8", "cpu", "probable"),
    }  # fmt: skip
    return Link(**{**fields, **changes})


class TestRoundTrip:
    @given(ROWS)
    @example([{"text": "t\r", "nota": "\n"}])
    @example([{"text": 't"', "nota": '","'}])
    @example([{"text": "t\x00\x85\u2028", "nota": "\x1c"}])
    @settings(deadline=None)
    def test_json_lines_and_csv_give_back_every_text(self, rows: list[dict[str, str]]) -> None:
        for form in ("jsonl", "csv"):
            again = read(write(form, rows), form)
            assert [{name: row.values[name] for name in ("text", "nota")} for row in again] == rows
            assert [row.error for row in again if row.error] == []

    @given(ROWS)
    @example([{"text": "t\r\n\t", "nota": "\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029"}])
    @settings(deadline=None)
    def test_tsv_gives_back_every_text_with_spaces_for_tabs_and_line_ends(self, rows: list[dict[str, str]]) -> None:
        flat = [
            {name: re.sub("[\t\r\n\x0b\x0c\x1c-\x1e\x85\u2028\u2029]", " ", value) for name, value in row.items()}
            for row in rows
        ]
        again = read(write("tsv", rows), "tsv")
        assert [{name: row.values[name] for name in ("text", "nota")} for row in again] == flat
        assert len(write("tsv", rows).splitlines()) == len(rows) + 1

    @given(ROWS)
    @settings(deadline=None)
    def test_tables_of_other_writers_are_read_as_they_were_meant(self, rows: list[dict[str, str]]) -> None:
        for form in ("jsonl", "csv"):
            assert [row.values for row in read(table(form, rows), form)] == rows

    @pytest.mark.parametrize("code", TRICKY_CODES)
    @pytest.mark.parametrize("form", FORMATS)
    def test_codes_are_text_on_the_way_in_and_out(self, form: Format, code: str) -> None:
        (row,) = read(table(form, [{"id": code, "text": code, "sentence": code, "code": code}]), form)
        assert row.values == {"id": code, "text": code, "sentence": code, "code": code}
        assert row.mention() == Mention(code, code, id=code)
        link = make_link(code=code, codes=(code, "B"))
        (again,) = read(write(form, [output_row(row, link)]), form)
        assert again.values["input_code"] == again.values["id"] == again.values["code"] == code
        assert again.values["codes"] == ([code, "B"] if form == "jsonl" else f"{code}|B")

    @pytest.mark.parametrize("form", FORMATS)
    def test_a_row_of_a_megabyte_is_kept(self, form: Format) -> None:
        text = "fiebre alta " * 90_000
        rows = read(table(form, [{"text": text}, {"text": "b"}]), form)
        assert [row.values["text"] for row in rows] == [text, "b"]
        assert read(write(form, [row.values for row in rows]), form)[0].values["text"] == text

    @given(
        st.dictionaries(
            st.text(max_size=5),
            st.recursive(
                st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | CELLS,
                lambda inner: st.lists(inner, max_size=3) | st.dictionaries(CELLS, inner, max_size=3),
                max_leaves=8,
            ),
        )
    )
    @settings(deadline=None)
    def test_json_values_of_other_columns_come_back_as_they_were(self, values: dict[str, Any]) -> None:
        (row,) = read(json.dumps(values) + "\n", "jsonl")
        assert row.values == values
        encoded = write("jsonl", [row.values]).encode()
        assert json.loads(encoded) == values


class TestReading:
    @pytest.mark.parametrize("form", FORMATS)
    @pytest.mark.parametrize("end", ["\n", "\r\n"])
    @pytest.mark.parametrize("mark", ["", "\ufeff"])
    def test_byte_order_marks_and_line_ends_do_not_matter(self, form: Format, end: str, mark: str) -> None:
        rows = [{"text": "fiebre", "sentence": "Tiene fiebre."}, {"text": "tos", "sentence": "x"}]
        content = mark + table(form, rows).replace("\r\n", "\n").replace("\n", end)
        assert [row.values for row in read(content, form)] == rows
        assert [row.values for row in read(content.removesuffix(end), form)] == rows

    def test_a_byte_order_mark_inside_a_file_is_text(self) -> None:
        assert read("text\na\n\ufeffb\n", "csv")[1].values == {"text": "\ufeffb"}
        assert read('{"text": "a"}\n\ufeff{"text": "b"}\n', "jsonl")[1].error is not None

    @pytest.mark.parametrize("form", ["csv", "tsv"])
    @pytest.mark.parametrize("content", ["", "\ufeff", "\n", "\r\n"])
    def test_an_empty_table_has_no_column_text(self, form: Format, content: str) -> None:
        with pytest.raises(TableError, match="no column `text`"):
            read(content, form)

    def test_an_empty_file_of_json_lines_has_no_rows(self) -> None:
        assert read("", "jsonl") == read("\n \n\t\r\n", "jsonl") == []

    @pytest.mark.parametrize("form", ["csv", "tsv"])
    def test_a_header_alone_has_no_rows(self, form: Format) -> None:
        assert read("text", form) == read("text\n", form) == []

    @pytest.mark.parametrize("header", [MARKER, f"tex,{MARKER}", f"textos,{MARKER}", f"texto {MARKER}"])
    def test_without_a_column_text_the_table_is_refused(self, header: str) -> None:
        for form, mark in (("csv", ","), ("tsv", "\t")):
            with pytest.raises(TableError, match="no column `text`") as caught:
                read(header.replace(",", mark) + "\na\n", form)
            assert MARKER not in str(caught.value)

    def test_a_column_that_occurs_twice_is_refused(self) -> None:
        with pytest.raises(TableError, match=r"2 columns of the header are called like `text`") as caught:
            read(f"text,{MARKER},{MARKER}, text\n", "csv")
        assert MARKER not in str(caught.value)

    def test_names_of_columns_may_have_spaces_around_them(self) -> None:
        assert read(" text , kind\na,b\n", "csv")[0].values == {"text": "a", "kind": "b"}

    def test_empty_lines_are_passed_over(self) -> None:
        assert [row.values["text"] for row in read("text,id\n\na,1\n\r\n,\nb,2\n\n", "csv")] == ["a", "b"]
        assert [row.number for row in read('\n{"text":"a"}\n\n{"text":"b"}\n', "jsonl")] == [2, 4]

    @pytest.mark.parametrize("form", ["csv", "tsv"])
    @pytest.mark.parametrize(("cells", "count"), [([MARKER], 1), ([MARKER, "1", "2"], 3), (["", "", "", MARKER], 4)])
    def test_a_row_of_another_width_gets_an_error_and_its_neighbours_are_kept(
        self, form: Format, cells: list[str], count: int
    ) -> None:
        mark = "," if form == "csv" else "\t"
        first, bad, last = read(f"text{mark}frase\na{mark}1\n{mark.join(cells)}\nb{mark}2\n", form)
        assert (first.values, last.values) == ({"text": "a", "frase": "1"}, {"text": "b", "frase": "2"})
        assert (first.error, last.error) == (None, None)
        assert str(bad.error).startswith(f"the row has {count} columns; the header has 2")
        with pytest.raises(MentionError) as caught:
            bad.mention()
        assert MARKER not in str(caught.value)

    @pytest.mark.parametrize("form", FORMATS)
    def test_a_row_that_is_not_utf_8_gets_an_error_and_its_neighbours_are_kept(self, form: Format) -> None:
        content = table(form, [{"text": "niño"}, {"text": f"{MARKER} @"}, {"text": "ñ"}]).encode()
        first, bad, last = read(content.replace(b"@", b"\xf1\xff"), form)
        assert (first.values, last.values) == ({"text": "niño"}, {"text": "ñ"})
        assert "is not UTF-8" in str(bad.error)
        assert MARKER not in str(bad.error)
        assert write(form, [output_row(bad, str(bad.error))]).encode("utf-8")

    @pytest.mark.parametrize("form", ["csv", "tsv"])
    @pytest.mark.parametrize("encoding", ["utf-16", "utf-8-sig", "cp1252"])
    def test_a_file_of_another_encoding_is_read(self, form: Format, encoding: str) -> None:
        assert read("text\nniño\n".encode(encoding), form)[0].values == {"text": "niño"}

    @pytest.mark.parametrize("form", FORMATS)
    @pytest.mark.parametrize("sign", ["\x00", "\x01", "\x08", "\x1b[31m", "\x7f", "\x9b", "\u202e", "\ufffe"])
    def test_control_characters_are_kept_as_text(self, form: Format, sign: str) -> None:
        rows = read(table(form, [{"text": f"a{sign}b", "id": "1"}, {"text": "c", "id": "2"}]), form)
        assert [row.values["text"] for row in rows] == [f"a{sign}b", "c"]
        assert read(write(form, [row.values for row in rows]), form)[0].values["text"] == f"a{sign}b"

    @pytest.mark.parametrize(
        ("line", "message"),
        [
            (f'["{MARKER}"]', "holds a JSON list"),
            (f'"{MARKER}"', "holds a JSON str"),
            ("5", "holds a JSON number"),
            ("null", "holds a JSON null"),
            ("true", "holds a JSON truth value"),
            ("NaN", "is not JSON"),
            (f'{{"text": "{MARKER}", "n": NaN}}', "is not JSON"),
            (f'{{"text": "{MARKER}", "n": -Infinity}}', "is not JSON"),
            (f'{{"text": "{MARKER}", "n": 1e999}}', "is not JSON"),
            (f'{{"text": "{MARKER}", "n": {"9" * 5000}}}', "is not JSON"),
            (f'{{"text": "{MARKER}"', "is not JSON"),
            (f'{{"text": "{MARKER}"}} {{}}', "is not JSON"),
            (f"{{'text': '{MARKER}'}}", "is not JSON"),
            (f'{{"text": "{MARKER}\x01"}}', "is not JSON"),
            (f"text,{MARKER}", "is not JSON"),
            ("[" * 100_000, "is not JSON"),
            ('{"text":' * 100_000, "is not JSON"),
            (f'{{"text": "{MARKER}", "n": {"[" * 200}{"]" * 200}}}', "nests values more than 64 deep"),
        ],
    )
    def test_a_line_that_is_no_object_gets_an_error_and_its_neighbours_are_kept(self, line: str, message: str) -> None:
        first, bad, last = read(f'{{"text": "a"}}\n{line}\n{{"text": "b"}}\n', "jsonl")
        assert (first.values, last.values) == ({"text": "a"}, {"text": "b"})
        assert message in str(bad.error)
        assert MARKER not in str(bad.error)
        assert (first.number, bad.number, last.number) == (1, 2, 3)

    @pytest.mark.parametrize("depth", [10, 60, *range(900, 1000, 3), 5000])
    def test_whatever_nesting_is_read_can_be_written(self, depth: int) -> None:
        (row,) = read(f'{{"text": "a", "n": {"[" * depth}{"]" * depth}}}', "jsonl")
        assert (row.error is None) == (depth <= 60)
        for form in FORMATS:
            assert write(form, [output_row(row, row.error or make_link())])

    @pytest.mark.parametrize("half", ["\\ud83e", "\\udcf1", "\\udd12\\ud83e"])
    def test_half_of_a_surrogate_pair_in_json_is_refused_and_can_be_written(self, half: str) -> None:
        (row,) = read(f'{{"text": "{MARKER}{half}", "nota": "{half}"}}\n', "jsonl")
        with pytest.raises(MentionError, match="surrogate") as caught:
            row.mention()
        assert MARKER not in str(caught.value)
        for form in FORMATS:
            output = write(form, [output_row(row, str(caught.value))]).encode()
            if form == "jsonl":
                assert json.loads(output)["nota"] == json.loads(f'"{half}"')

    def test_a_whole_surrogate_pair_in_json_is_one_character(self) -> None:
        assert read('{"text": "\\ud83e\\udd12"}', "jsonl")[0].mention().text == "🤒"

    def test_a_quote_that_is_never_closed_is_a_fault_of_its_own_row(self) -> None:
        rows = read(f'id,text\n1,a\n2,"{MARKER}\n3,b\n4,c\n', "csv")
        assert [(row.number, row.values.get("text"), row.error is None) for row in rows] == [
            (2, "a", True), (3, None, False), (4, "b", True), (5, "c", True),
        ]  # fmt: skip
        assert "not well-formed CSV" in str(rows[1].error)
        assert MARKER not in str(rows[1].error)

    def test_text_behind_a_closed_quote_gives_an_error_and_its_neighbours_are_kept(self) -> None:
        first, bad, last = read(f'id,text\n1,a\n2,"b"{MARKER}\n3,c\n', "csv")
        assert (first.values["text"], last.values["text"]) == ("a", "c")
        assert "not well-formed CSV" in str(bad.error)
        assert MARKER not in str(bad.error)

    def test_a_header_that_is_no_csv_is_refused(self) -> None:
        with pytest.raises(TableError, match="no column `text`") as caught:
            read(f'text,"{MARKER}\n', "csv")
        assert MARKER not in str(caught.value)

    def test_rows_are_read_one_after_the_other(self) -> None:
        class Endless(io.RawIOBase):
            def __init__(self, line: bytes) -> None:
                self.rest = b"text\n" if line == b"fiebre\n" else b""
                self.line = line

            def readable(self) -> bool:
                return True

            def readinto(self, buffer: Any) -> int:
                self.rest += self.line
                part, self.rest = self.rest[: len(buffer)], self.rest[len(buffer) :]
                buffer[: len(part)] = part
                return len(part)

        for form, line in (("jsonl", b'{"text": "fiebre"}\n'), ("csv", b"fiebre\n"), ("tsv", b"fiebre\n")):
            rows = iter(read_mentions(io.BufferedReader(Endless(line)), TableFormat(format=form)))  # type: ignore[arg-type]
            assert [next(rows).values["text"] for _ in range(3)] == ["fiebre"] * 3


class TestMentions:
    def test_a_row_becomes_a_mention(self) -> None:
        row = InputRow(2, {"text": "fiebre", "sentence": "Tiene fiebre.", "kind": "diagnosis", "id": "7", "otro": "x"})
        assert row.mention() == Mention("fiebre", "Tiene fiebre.", "diagnosis", "7")

    def test_empty_cells_are_no_sentence_and_no_kind(self) -> None:
        assert InputRow(2, {"text": "fiebre", "sentence": "", "kind": "", "id": ""}).mention() == Mention(
            "fiebre", None, None, ""
        )

    @pytest.mark.parametrize("given_id", [7, 7.5, "007"])
    def test_an_id_may_be_a_number(self, given_id: object) -> None:
        assert InputRow(1, {"text": "fiebre", "id": given_id}).mention().id == str(given_id)

    @pytest.mark.parametrize(
        ("values", "message"),
        [
            ({}, "has no text"),
            ({"text": None, "sentence": MARKER}, "text is empty"),
            ({"text": "", "sentence": MARKER}, "is empty"),
            ({"text": 5, "sentence": MARKER}, "text is of type int"),
            ({"text": [MARKER]}, "text is of type list"),
            ({"text": MARKER, "sentence": 5}, "sentence is of type int"),
            ({"text": MARKER, "kind": {"a": MARKER}}, "kind is of type dict"),
        ],
    )
    def test_a_row_without_a_mention_says_what_is_wrong(self, values: dict[str, Any], message: str) -> None:
        with pytest.raises(MentionError, match=message) as caught:
            InputRow(1, values).mention()
        assert MARKER not in str(caught.value)


class TestOutputRows:
    def test_the_input_comes_first_and_then_the_link(self) -> None:
        row = output_row(InputRow(1, {"id": "1", "text": "fiebre"}), make_link())
        assert list(row) == [
            "id", "text", "code", "codes", "description", "title", "kind", "method", "match", "confidence", "generated",
            "log_prob", "probability", "distance", "candidates", "truncated", "provenance",
        ]  # fmt: skip
        assert row["codes"] == ("0210", "3E03")

    def test_a_proof_is_shown_where_there_is_one(self) -> None:
        proof = Proof(exact=True, gap=0.0, passes=4, mass=0.75, free_log_prob=-0.25)
        row = output_row(InputRow(1, {"text": "a", "proof": "mine"}), make_link(proof=proof))
        assert row["proof"] == {"exact": True, "gap": 0.0, "passes": 4, "mass": 0.75, "free_log_prob": -0.25}
        assert row["input_proof"] == "mine"
        plain = output_row(InputRow(2, {"text": "b"}), make_link())
        assert "proof" not in plain
        assert json.loads(write("jsonl", [row]))["proof"] == row["proof"]
        first, second = read(write("csv", [row, plain]), "csv")
        assert (first.values["proof"], second.values["proof"]) == ("proven: no description is more probable", "")
        assert "proof" not in write("csv", [plain])

    def test_an_error_stands_beside_the_input(self) -> None:
        assert output_row(InputRow(1, {"text": "a", "kind": "b"}, "bad"), "bad") == {
            "text": "a", "kind": "b", "error": "bad",
        }  # fmt: skip

    def test_input_columns_with_a_result_s_name_are_kept_under_another(self) -> None:
        values = {"text": "a", "code": "X", "error": "e", "candidates": "c", "kind": "diagnosis"}
        row = output_row(InputRow(1, values), make_link())
        assert (row["input_code"], row["input_error"], row["input_candidates"]) == ("X", "e", "c")
        assert (row["code"], row["kind"]) == ("0210", "procedure")
        assert "input_kind" not in row

    def test_no_input_column_is_lost_when_results_are_linked_again_and_again(self) -> None:
        row = output_row(InputRow(1, {"text": "a", "code": "first"}), make_link(code="second"))
        row = output_row(InputRow(1, row), make_link(code="third"))
        row = output_row(InputRow(1, row), make_link(code="fourth"))
        seen = [value for name, value in row.items() if name.endswith("code")]
        assert sorted(seen) == ["first", "fourth", "second", "third"]
        assert row["code"] == "fourth"

    def test_the_input_s_kind_stays_where_nothing_was_linked(self) -> None:
        nothing = make_link(code=None, codes=(), kind=None, method="none")
        assert output_row(InputRow(1, {"text": "a", "kind": "diagnosis"}), nothing)["kind"] == "diagnosis"
        assert output_row(InputRow(1, {"text": "a", "kind": ""}), nothing)["kind"] is None

    def test_json_lines_hold_the_link_s_values(self) -> None:
        (line,) = write("jsonl", [output_row(InputRow(1, {"text": "a"}), make_link())]).splitlines()
        row = json.loads(line)
        assert row["codes"] == ["0210", "3E03"]
        assert row["candidates"][0]["evidence"] == "hypothesis"
        assert row["provenance"]["bundle"]["name"] == "mini"

    @pytest.mark.parametrize("form", ["csv", "tsv"])
    def test_cells_show_lists_and_numbers_as_text(self, form: Format) -> None:
        (row,) = read(write(form, [output_row(InputRow(1, {"text": "a"}), make_link())]), form)
        assert row.values["codes"] == "0210|3E03"
        assert row.values["provenance"] == "mini@abababababab probable II"
        assert row.values["truncated"] == "no"
        assert (row.values["log_prob"], row.values["distance"], row.values["error"]) == ("-0.500", "", "")
        assert "candidates" not in row.values

    @pytest.mark.parametrize("form", ["csv", "tsv"])
    def test_a_flat_table_has_the_columns_of_all_its_rows(self, form: Format) -> None:
        rows = [{"text": "a", "error": "bad"}, {"text": "b", "later": "x", "code": "R50"}]
        first, second = read(write(form, rows), form)
        assert list(first.values)[:2] == ["text", "later"]
        assert list(first.values)[2:] == list(second.values)[2:]
        assert (first.values["later"], first.values["error"], second.values["code"]) == ("", "bad", "R50")

    @pytest.mark.parametrize("form", ["csv", "tsv"])
    def test_without_rows_a_flat_table_has_its_header(self, form: Format) -> None:
        assert "error" in write(form, [])
        assert len(write(form, []).splitlines()) == 1
        assert write("jsonl", []) == ""


class TestFormats:
    @pytest.mark.parametrize(
        ("path", "expected"),
        [
            ("a.xlsx", "xlsx"), ("a.parquet", "parquet"), ("a.json", "json"), ("a.csv.gz", "csv"),
            ("a.jsonl", "jsonl"), ("a.NDJSON", "jsonl"), ("dir.tsv/a.csv", "csv"), ("a.tab", "tsv"), ("a.b.TSV", "tsv"),
        ],
    )  # fmt: skip
    def test_the_name_tells_the_format(self, path: str, expected: str) -> None:
        assert format_of(path, None) == expected

    def test_a_named_format_wins_and_another_file_s_fills_in(self) -> None:
        assert format_of("a.csv", "tsv", default="jsonl") == "tsv"
        assert format_of("-", default="jsonl") == "jsonl"

    @pytest.mark.parametrize("path", ["-", "a", "a.ods", "csv", ".csv"])
    def test_an_unknown_format_is_refused(self, path: str) -> None:
        with pytest.raises(TableError, match="csv, tsv, jsonl, json, xlsx, parquet"):
            format_of(path, None)


class BrokenRowError(Exception):
    pass


def rows_that_fail() -> Iterator[dict[str, Any]]:
    yield {"text": "a"}
    raise BrokenRowError


class TestFiles:
    @pytest.mark.parametrize("form", FORMATS)
    def test_output_appears_whole(self, tmp_path: Path, form: Format) -> None:
        path = tmp_path / f"salida con ñ.{form}"
        with open_output(str(path)) as stream:
            write_rows(stream, form, [{"text": "niño\r\n"}])
            assert not path.exists()
        assert [entry.name for entry in tmp_path.iterdir()] == [path.name]
        with tables.open_input(str(path)) as source:
            (row,) = read_mentions(source, TableFormat(format=form))
        assert row.values["text"] == ("niño  " if form == "tsv" else "niño\r\n")

    @pytest.mark.parametrize("form", FORMATS)
    def test_output_disappears_where_a_row_fails(self, tmp_path: Path, form: Format) -> None:
        with pytest.raises(BrokenRowError), open_output(str(tmp_path / "out")) as stream:
            write_rows(stream, form, rows_that_fail())
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize("form", FORMATS)
    def test_an_older_file_stays_where_a_row_fails(self, tmp_path: Path, form: Format) -> None:
        path = tmp_path / "out"
        path.write_text("older")
        with pytest.raises(BrokenRowError), open_output(str(path)) as stream:
            write_rows(stream, form, rows_that_fail())
        assert path.read_text() == "older"
        with open_output(str(path)) as stream:
            stream.write(b"newer")
        assert path.read_text() == "newer"
        assert list(tmp_path.iterdir()) == [path]

    @pytest.mark.parametrize("where", ["missing/out.csv", "file/out.csv", "directory", "x" * 300])
    def test_a_place_that_cannot_be_written_is_named(self, tmp_path: Path, where: str) -> None:
        (tmp_path / "file").touch()
        (tmp_path / "directory").mkdir()
        with (
            pytest.raises(TableError, match="cannot be written") as caught,
            open_output(str(tmp_path / where)) as stream,
        ):
            stream.write(MARKER.encode())
        assert where in str(caught.value)
        assert MARKER not in str(caught.value)
        assert {entry.name for entry in tmp_path.rglob("*")} == {"file", "directory"}

    def test_a_full_disk_is_an_error_of_the_table(self, tmp_path: Path) -> None:
        with pytest.raises(TableError, match="No space left"), open_output(str(tmp_path / "out")) as stream:
            stream.write(b"a")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        assert list(tmp_path.iterdir()) == []

    def test_a_pipe_is_written_to_and_not_replaced(self, tmp_path: Path) -> None:
        path = tmp_path / "pipe"
        os.mkfifo(path)
        reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        try:
            with open_output(str(path)) as stream:
                stream.write("niño\n".encode())
            assert os.read(reader, 100) == "niño\n".encode()
        finally:
            os.close(reader)
        assert stat.S_ISFIFO(path.stat().st_mode)
        assert list(tmp_path.iterdir()) == [path]

    @pytest.mark.parametrize("where", ["missing.csv", "file/in.csv", "."])
    def test_an_input_that_cannot_be_read_is_named(self, tmp_path: Path, where: str) -> None:
        (tmp_path / "file").touch()
        path = str(tmp_path / where)
        with pytest.raises(TableError, match="cannot be read") as caught, tables.open_input(path):
            pass
        assert path in str(caught.value)


class Output:
    """Stands for `sys.stdout`, which has a binary `buffer`."""

    def __init__(self, buffer: Any) -> None:
        self.buffer = buffer


class TestStandardStreams:
    def test_standard_output_gets_everything_at_the_end(self, monkeypatch: pytest.MonkeyPatch) -> None:
        buffer = io.BytesIO()
        monkeypatch.setattr(sys, "stdout", Output(buffer))
        with open_output("-") as stream:
            write_rows(stream, "csv", [{"text": "niño\r\n\ud83e"}])
            assert buffer.getvalue() == b""
        assert '"niño\r\n\\ud83e"'.encode() in buffer.getvalue()

    @pytest.mark.parametrize("form", FORMATS)
    def test_standard_output_gets_nothing_where_a_row_fails(
        self, monkeypatch: pytest.MonkeyPatch, form: Format
    ) -> None:
        buffer = io.BytesIO()
        monkeypatch.setattr(sys, "stdout", Output(buffer))
        with pytest.raises(BrokenRowError), open_output("-") as stream:
            write_rows(stream, form, rows_that_fail())
        assert buffer.getvalue() == b""

    def test_large_output_is_copied_whole(self, monkeypatch: pytest.MonkeyPatch) -> None:
        buffer = io.BytesIO()
        monkeypatch.setattr(sys, "stdout", Output(buffer))
        text = ("ñ€🤒" * 500_000).encode()
        with open_output("-") as stream:
            stream.write(text)
        assert buffer.getvalue() == text

    def test_a_reader_that_has_gone_is_no_error_of_the_table(self, monkeypatch: pytest.MonkeyPatch) -> None:
        reading, writing = os.pipe()
        os.close(reading)
        with open(writing, "wb", buffering=0) as closed:  # noqa: PTH123  a file descriptor
            monkeypatch.setattr(sys, "stdout", Output(closed))
            with pytest.raises(BrokenPipeError), open_output("-") as stream:
                stream.write(b"a")

    def test_standard_input_is_read(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(sys, "stdin", Output(io.BytesIO(b"text\nfiebre\n")))
        with tables.open_input("-") as stream:
            assert [row.values for row in read_mentions(stream, TableFormat(format="csv"))] == [{"text": "fiebre"}]
