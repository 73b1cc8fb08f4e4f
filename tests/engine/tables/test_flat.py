from __future__ import annotations

import csv
import io
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cielo.errors import TableError
from cielo.knowledge.code_tables import CodeRow, CodeTable, read_code_table
from cielo.tables import RejectedRow
from hypothesis import given, settings
from hypothesis import strategies as st

Read = Callable[..., list[tuple[Any, ...]]]
MARKER = "titulo-secreto"
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)


class TestTsv:
    def test_a_list_without_a_header_has_codes_and_descriptions_in_its_first_columns(self, read: Read) -> None:
        text = "q99.1\tDedo violeta\tViolet finger\nna\tNinguno\n0210\tPuente de nada\tBridge\textra\n"
        assert read(text) == [(1, "q99.1", "Dedo violeta"), (2, "na", "Ninguno"), (3, "0210", "Puente de nada")]

    @pytest.mark.parametrize(
        "header",
        ["codigo\tdescripcion", "Código\tDescripción", "CODE\tDescription", "Cód.\tLiteral", " CIE-10 \tTítulo",
         "code\tdescription", "\ufeffcodigo\tdescripcion", "Código CIE-10\tDesc."],
    )  # fmt: skip
    def test_a_header_is_found_by_its_names(self, read: Read, header: str) -> None:
        assert read(f"{header}\n3E03\tInfusión inventada\n") == [(2, "3E03", "Infusión inventada")]

    def test_columns_may_stand_in_any_place(self, read: Read) -> None:
        assert read("id\tdescripcion\tnodo\tcodigo\n1\tDedo azul\tS\tQ1\n") == [(2, "Q1", "Dedo azul")]

    def test_of_two_columns_of_codes_the_first_of_the_usual_names_wins(self, read: Read) -> None:
        assert read("cod\tcodigo\tdescripcion\n1\tQ1\tDedo azul\n") == [(2, "Q1", "Dedo azul")]
        assert read("codigo\tdescripcion\tcodigo\nQ1\tDedo azul\tQ2\n") == [(2, "Q1", "Dedo azul")]

    def test_columns_may_be_named(self, read: Read) -> None:
        text = "Código\tDescripción\tClave interna\tTexto\nQ1\tDedo azul\t0016\tdedo\n"
        options = {"code_column": "clave_interna", "description_column": "TEXTO"}
        assert read(text, **options) == [(2, "0016", "dedo")]
        assert read(text, code_column="Clave interna") == [(2, "0016", "Dedo azul")]
        assert read(text, description_column="texto") == [(2, "Q1", "dedo")]

    def test_an_exact_name_goes_before_a_folded_one(self, read: Read) -> None:
        text = "CLAVE\tclave\tdescripcion\nQ1\tQ2\tDedo azul\n"
        assert read(text, code_column="clave") == [(2, "Q2", "Dedo azul")]

    @pytest.mark.parametrize(
        ("header", "options", "lacking"),
        [
            ("codigo\ttexto", {}, "descripcion"),
            ("clave\tdescripcion", {}, "codigo"),
            ("codigo\tdescripcion", {"code_column": "clave"}, "'clave'"),
            ("codigo\tdescripcion", {"description_column": "texto"}, "'texto'"),
            ("codigo\tdescripcion", {"code_column": ""}, "named ''"),
            ("codigo\tdescripcion", {"code_column": "%"}, "'%'"),
        ],
    )
    def test_a_column_that_is_not_there_is_named_with_those_that_are(
        self, read: Read, header: str, options: dict[str, str], lacking: str
    ) -> None:
        with pytest.raises(TableError) as caught:
            read(f"{header}\nQ1\t{MARKER}\n", **options)
        message = str(caught.value)
        assert "tabla.tsv" in message
        assert lacking in message
        assert all(repr(name) in message for name in header.split("\t"))
        assert MARKER not in message

    def test_many_long_names_are_cut_short(self, read: Read) -> None:
        with pytest.raises(TableError, match="and 978 more") as caught:
            read("\t".join("c" * 999 for _ in range(1002)) + "\n", code_column="clave")
        assert len(str(caught.value)) < 2000

    def test_one_column_cannot_be_both(self, read: Read) -> None:
        with pytest.raises(TableError, match="one column cannot hold both"):
            read("codigo\tdescripcion\nQ1\tDedo azul\n", code_column="Descripción")

    def test_quotes_are_characters_like_any_other(self, read: Read) -> None:
        text = 'Q1\t"Dedo" azul\n"Q2\tDedo "verde\nQ3\t"\n'
        assert read(text) == [(1, "Q1", '"Dedo" azul'), (2, '"Q2', 'Dedo "verde'), (3, "Q3", '"')]

    @pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
    def test_line_ends_and_empty_lines_do_not_matter(self, read: Read, end: str) -> None:
        text = end.join(["", "codigo\tdescripcion", " ", "Q1\tDedo azul", "\t\t", "\u200b\t", "Q2\tDedo verde"])
        assert read(text) == [(4, "Q1", "Dedo azul"), (7, "Q2", "Dedo verde")]

    def test_white_space_is_stripped_from_codes_and_folded_in_descriptions(self, read: Read) -> None:
        text = "\u00a0Q1 \t Dedo \u00a0 muy\x0bazul\u2028 \n"
        assert read(text) == [(1, "Q1", "Dedo muy azul")]

    @pytest.mark.parametrize("content", ["", "\ufeff", "\n\n", "codigo\tdescripcion\n", "codigo\tdescripcion"])
    def test_a_table_without_rows_gives_none(self, read: Read, content: str) -> None:
        assert read(content) == []

    @pytest.mark.parametrize(
        ("row", "reason"),
        [
            (f"{MARKER}", "the row has 1 column(s), expected 2 or more"),
            (f"\t{MARKER}", "the code is empty"),
            (f" \u200b\t{MARKER}", "the code is empty"),
            (f"{MARKER}\t", "the description is empty"),
            (f"{MARKER}\t \u200b", "the description is empty"),
            (f"{MARKER}\x00\tDedo", "the code holds a control character"),
            (f"Q\x851\t{MARKER}", "the code holds a control character"),
            (f"Q1\t{MARKER}\x07", "the description holds a control character"),
        ],
    )
    def test_a_row_that_cannot_be_taken_is_rejected_and_its_neighbours_are_not(
        self, read: Read, row: str, reason: str
    ) -> None:
        expected = [(1, "Q0", "Dedo"), (3, reason), (4, "Q2", "Codo")]
        assert read(f"Q0\tDedo\n\n{row}\nQ2\tCodo\n") == expected

    def test_below_a_header_a_row_may_not_have_more_columns(self, read: Read) -> None:
        rows = read("codigo\tdescripcion\nQ1\tDedo\t\t \nQ2\tDedo\tazul\nQ3\tDedo\n")
        assert [row[:2] for row in rows if len(row) == 3] == [(2, "Q1"), (4, "Q3")]
        assert rows[1][0] == 3
        assert "the row has 3 columns; the header has 2 (a delimiter inside a value cuts it)" in rows[1][1]

    def test_a_row_may_lack_columns_that_are_not_read(self, read: Read) -> None:
        assert read("codigo\tdescripcion\tnodo\nQ1\tDedo\nQ2\n")[0] == (2, "Q1", "Dedo")
        assert read("codigo\tdescripcion\tnodo\nQ1\tDedo\nQ2\n")[1] == (
            3, "the row has 1 column(s), expected 2 or more",
        )  # fmt: skip


class TestCsv:
    @pytest.mark.parametrize("mark", [",", ";", "\t"])
    @pytest.mark.parametrize("header", [True, False])
    def test_the_separator_is_found(self, read: Read, mark: str, header: bool) -> None:
        others = ",;\t".replace(mark, "")
        rows = [("Q1", f"Dedo{others}azul"), ("Q2", "Dedo; verde, o\tno")]
        stream = io.StringIO()
        csv.writer(stream, delimiter=mark).writerows([("Código", "Descripción")] * header + rows)
        expected = [
            (number + header, code, " ".join(text.split())) for number, (code, text) in enumerate(rows, start=1)
        ]
        assert read(stream.getvalue(), "tabla.CSV") == expected

    def test_a_header_decides_before_the_first_separator(self, read: Read) -> None:
        assert read("a,b;codigo;descripcion\n1;Q1;Dedo, azul\n", "t.csv") == [(2, "Q1", "Dedo, azul")]

    def test_a_separator_inside_quotes_is_none(self, read: Read) -> None:
        assert read('"Q,1";"Dedo; azul"\nQ2;Codo\n', "t.csv") == [(1, "Q,1", "Dedo; azul"), (2, "Q2", "Codo")]

    def test_quoted_values_are_read_as_in_rfc_4180(self, read: Read) -> None:
        text = 'codigo,descripcion\r\n"Q1","Dedo ""azul"",\r\nmuy azul"\r\nQ2,5" de dedo\r\n'
        assert read(text, "t.csv") == [(2, "Q1", 'Dedo "azul", muy azul'), (4, "Q2", '5" de dedo')]

    @pytest.mark.parametrize("bad", ['Q1,"Dedo', 'Q1,"Dedo"azul', '"Q1,Dedo', 'Q1,"De"do"', 'Q1,"Dedo""'])
    def test_a_malformed_row_is_reported_and_the_rows_after_it_are_read(self, read: Read, bad: str) -> None:
        rows = read(f'codigo,descripcion\n{bad}\nQ2,Codo\n"Q3","Codo ""verde"""\n', "t.csv")
        assert rows[0][0] == 2
        assert "not well-formed CSV" in rows[0][1]
        assert rows[1:] == [(3, "Q2", "Codo"), (4, "Q3", 'Codo "verde"')]

    def test_an_open_quote_at_the_end_loses_nothing(self, read: Read) -> None:
        rows = read('Q1,Dedo\nQ2,"Codo\nQ3,Mano\nQ4,Pie\n', "t.csv")
        assert [row[:2] for row in rows[:1] + rows[2:]] == [(1, "Q1"), (3, "Q3"), (4, "Q4")]
        assert rows[1][0] == 2

    def test_a_quote_reaches_no_further_than_a_hundred_lines(self, read: Read) -> None:
        within = 'Q1,"' + "\n" * 99 + 'dedo"\nQ2,Codo\n'
        assert read(within, "t.csv") == [(1, "Q1", "dedo"), (101, "Q2", "Codo")]
        beyond = read('Q1,"' + "\n" * 100 + 'dedo"\nQ2,Codo\n', "t.csv")
        assert [row[0] for row in beyond] == [1, 101, 102]
        assert beyond[-1] == (102, "Q2", "Codo")

    def test_a_row_that_an_unquoted_separator_cut_is_rejected(self, read: Read) -> None:
        for first in ("codigo,descripcion", "Q0,Pie"):
            rows = read(f"{first}\nQ1,Dedo, azul\nQ2,Codo\n", "t.csv")
            assert rows[-1] == (3, "Q2", "Codo")
            assert rows[-2][0] == 2
            assert "a delimiter inside a value cuts it" in rows[-2][1]

    def test_a_first_row_that_cannot_be_read_is_reported(self, read: Read) -> None:
        rows = read('Q1,"Dedo\nQ2,Codo\n', "t.csv")
        assert [rows[0][0], rows[1]] == [1, (2, "Q2", "Codo")]

    @given(st.lists(st.tuples(TEXTS, TEXTS), max_size=8), st.sampled_from(",;\t"))
    @settings(max_examples=60, deadline=None)
    def test_a_csv_gives_back_the_text_that_was_written(self, rows: list[tuple[str, str]], mark: str) -> None:
        # What no code or description may hold is taken out before; it is rejected elsewhere.
        clean = [tuple("".join(c for c in text if c.isprintable()) for text in row) for row in rows]
        written = [(f"A{code}", f"b {text}") for code, text in clean]
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "t.csv")
            with path.open("w", encoding="utf-8", newline="") as stream:
                csv.writer(stream, delimiter=mark).writerows([("code", "description"), *written])
            found = list(read_code_table(CodeTable(path, "x")).rows)
        expected = [(code.strip(), " ".join(text.split())) for code, text in written]
        assert [(row.code, row.description) for row in found if isinstance(row, CodeRow)] == expected


class TestPreferred:
    @pytest.mark.parametrize("name", ["preferred", "Preferente", "PREFERIDO"])
    def test_a_column_marks_the_preferred_descriptions(self, read: Read, tmp_path: Path, name: str) -> None:
        true, false = ["1", "true", "s", "SI", "Sí", "x", "Yes", "VERDADERO"], ["0", "false", "no", "", "N", "FALSO"]
        path = tmp_path / "t.tsv"
        marks = [*true, *false]
        path.write_text(f"codigo\tdescripcion\t{name}\n" + "".join(f"Q1\tDedo {m}\t{m}\n" for m in marks), "utf-8")
        rows = list(read_code_table(CodeTable(path, "x")).rows)
        assert [row.preferred for row in rows if isinstance(row, CodeRow)] == [True] * len(true) + [False] * len(false)
        assert not any(isinstance(row, RejectedRow) for row in rows)

    def test_an_unknown_mark_is_rejected(self, read: Read) -> None:
        rows = read("codigo\tdescripcion\tpreferido\nQ1\tDedo\tquizá\nQ2\tCodo\tx\n")
        assert rows[0][0] == 2
        assert "mark of preference is not known" in rows[0][1]
        assert "quiz" not in rows[0][1]
        assert rows[1] == (3, "Q2", "Codo")

    def test_a_row_that_ends_before_its_mark_is_not_preferred(self, tmp_path: Path) -> None:
        path = tmp_path / "t.tsv"
        path.write_text("codigo\tdescripcion\tpreferido\nQ1\tDedo\nQ1\tFalange\tx\n", "utf-8")
        assert [row.preferred for row in read_code_table(CodeTable(path, "x")).rows if isinstance(row, CodeRow)] == [
            False,
            True,
        ]

    @pytest.mark.parametrize("text", ["Q1\tDedo\n", "codigo\tdescripcion\tpreferido\nQ1\tDedo\tx\n"])
    @pytest.mark.parametrize("synonyms", [False, True])
    def test_synonyms_are_never_preferred(self, tmp_path: Path, text: str, synonyms: bool) -> None:
        path = tmp_path / "t.tsv"
        path.write_text(text, "utf-8")
        (row,) = read_code_table(CodeTable(path, "x", synonyms=synonyms)).rows
        assert isinstance(row, CodeRow)
        assert row.preferred is not synonyms
