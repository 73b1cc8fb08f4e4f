"""From tables to a knowledge base: what is taken, what is refused, and that no code changes on the way."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import random
import sqlite3
import string
from collections.abc import Sequence
from pathlib import Path

import openpyxl
import pyarrow
import pytest
from cielo.errors import TableError
from cielo.files import atomic_write
from cielo.knowledge import building as module
from cielo.knowledge.building import RejectedCode, build_knowledge_base, read_terminology
from cielo.knowledge.code_tables import CodeTable
from cielo.knowledge.codes import System, code_key
from cielo.knowledge.reading import KnowledgeBase
from cielo.knowledge.records import DescriptionRow, KnowledgeSummary, TableSource
from cielo.knowledge.subsets import Subset
from cielo.knowledge.writing import write_knowledge_base
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet

FORMATS = ("tsv", "csv", "jsonl", "xlsx", "parquet")
# What spreadsheets and readers of tables are known to change, and the letters of every code.
# fmt: off
KNOWN = ["0210", "0016", "3E03", "3E05305", "NA", "1E5", "00.10", "007", "TRUE", "FALSE", "NULL", "NAN", "1.0",
         "1-2", "MAR-1", "=1+1", "+1", "-1A",
         "'A", '"A"', "A,B", "A;B", "INF", "1/2", "T68.XXX", "8000/3", "Ñ1", "#N/A"]
# fmt: on
ALNUM = string.digits + string.ascii_uppercase


def table(path: Path, text: str, name: str = "diag.tsv", kind: str = "diagnosis", **options: bool) -> CodeTable:
    """Write a table of codes."""
    (path / name).write_text(text, encoding="utf-8")
    return CodeTable(path / name, kind, **options)


def write(path: Path, rows: Sequence[tuple[str, str]]) -> Path:
    """Write codes and descriptions in the format that the name says."""
    header = ("codigo", "descripcion")
    if path.suffix in (".tsv", ".csv"):
        with path.open("w", encoding="utf-8", newline="") as stream:
            if path.suffix == ".csv":
                csv.writer(stream).writerows([header, *rows])
            else:
                stream.writelines("\t".join(row) + "\n" for row in [header, *rows])
    elif path.suffix == ".jsonl":
        lines = [json.dumps(dict(zip(header, row, strict=True)), ensure_ascii=False) + "\n" for row in rows]
        path.write_text("".join(lines), encoding="utf-8")
    elif path.suffix == ".xlsx":
        book = openpyxl.Workbook()
        for number, row in enumerate([header, *rows], start=1):
            for column, value in enumerate(row, start=1):
                cell = book.active.cell(number, column, value)
                cell.data_type, cell.number_format = "s", "@"  # text, whatever it looks like
        book.save(path)
    else:
        columns = {name: [row[place] for row in rows] for place, name in enumerate(header)}
        parquet.write_table(pyarrow.table(columns), path)
    return path


def random_codes(count: int) -> list[str]:
    """Upper-case code strings with signs and letters of other alphabets, no two of them alike by key."""
    source = random.Random(20240229)
    found: dict[str, str] = {code_key(code): code for code in KNOWN}
    alphabet = ALNUM * 6 + ".-/+_'\"#=,;:*()ÑÇÜΩЖ漢"
    while len(found) < count:
        code = "".join(source.choices(alphabet, k=source.randint(1, 12)))
        if code_key(code):
            found.setdefault(code_key(code), code)
    return list(found.values())


class TestCodesSurvive:
    CODES = random_codes(2_000)

    @pytest.mark.parametrize("form", FORMATS)
    def test_two_thousand_codes_through_each_format(self, tmp_path: Path, form: str) -> None:
        rows = [(code, f"descripción {number}") for number, code in enumerate(self.CODES)]
        source = write(tmp_path / f"tabla.{form}", rows)
        built = build_knowledge_base(tmp_path / "b", [CodeTable(source, "x")], edition="", systems={"x": "other"})
        assert built.rejected == ()
        assert built.summary == KnowledgeSummary({"x": 2_000}, 2_000)
        base = KnowledgeBase(tmp_path / "b")
        assert base.codes("x") == self.CODES
        for code, description in rows:
            found = base.find(code)
            assert found is not None and (found.code, found.description) == (code, description)
            assert base.find(code.lower()) == found
            assert [one.code for one in base.match(description)] == [code]
        base.close()

    @pytest.mark.parametrize("form", FORMATS)
    def test_codes_of_both_systems_are_told_from_each_other_in_each_format(self, tmp_path: Path, form: str) -> None:
        diagnoses = [("a00", "Cólera"), ("R509", "Fiebre"), ("T68.xxxa", "Hipotermia"), ("E10", "Diabetes")]
        procedures = [("0210", "a"), ("0016", "b"), ("3E03", "c"), ("1E05305", "d"), ("b020", "e")]
        tables = [
            CodeTable(write(tmp_path / f"d.{form}", diagnoses), "diagnosis"),
            CodeTable(write(tmp_path / f"p.{form}", procedures), "procedure"),
        ]
        read = read_terminology(tables)
        assert read.systems == {"diagnosis": "icd-10-cm", "procedure": "icd-10-pcs"}
        assert [row.code for row in read.rows] == [
            "A00", "R50.9", "T68.XXXA", "E10", "0210", "0016", "3E03", "1E05305", "B020",
        ]  # fmt: skip
        assert read.rejected == ()

    @given(st.lists(st.text(ALNUM + string.ascii_lowercase + ".-/ ", min_size=1, max_size=9), min_size=1, max_size=20))
    @settings(max_examples=30, deadline=None)
    def test_each_row_is_taken_with_its_letters_or_rejected_with_its_line(
        self, tmp_path_factory: pytest.TempPathFactory, codes: list[str]
    ) -> None:
        path = tmp_path_factory.mktemp("tables")
        source = table(path, "codigo\tdescripcion\nA00\tprimera\n" + "".join(f"{code}\tx\n" for code in codes))
        systems: tuple[System, ...] = ("icd-10-cm", "icd-10-pcs", "other")
        for system in systems:
            read = read_terminology([source], {"diagnosis": system})
            lines = {row.line for row in read.rejected}
            taken = [code for line, code in enumerate(codes, start=3) if line not in lines]
            assert [code_key(row.code) for row in read.rows[1:]] == [code_key(code) for code in taken]
            assert lines <= set(range(3, 3 + len(codes)))
            assert read.sources[0].rows + read.sources[0].rejected == len(codes) + 1


class TestTerminology:
    def test_chapter_rows_are_rejected_with_their_line_and_the_reason(self, tmp_path: Path) -> None:
        text = (
            "Código\tDescripción\n"
            "Cap.01\tCiertas enfermedades infecciosas\n"
            "A00-B99\tBloque mayor\n"
            "A00-A09\tEnfermedades infecciosas intestinales\n"
            "\n"
            "A00\tCólera\n"
            "A00.0\t\n"
            "A00.1\tCólera por el tor\n"
            "\tSin código\n"
            "A01\tFiebres tifoidea y paratifoidea\n"
            "A02\tOtras\n"
            + "".join(f"A{number}\tuna\n" for number in range(10, 30))
        )  # fmt: skip
        read = read_terminology([table(tmp_path, text)])
        assert read.systems == {"diagnosis": "icd-10-cm"}
        assert [row.code for row in read.rows[:4]] == ["A00", "A00.1", "A01", "A02"]
        assert [(row.table, row.line) for row in read.rejected] == [("diag.tsv", line) for line in (2, 3, 4, 7, 9)]
        reasons = [row.reason for row in read.rejected]
        assert all("no ICD-10-CM code" in reason for reason in reasons[:3])
        assert reasons[3:] == ["the description is empty", "the code is empty"]
        assert (read.sources[0].rows, read.sources[0].rejected) == (24, 5)
        assert not any("Bloque" in reason or "A00-" in reason for reason in reasons)

    def test_the_sources_have_name_kind_hash_and_counts(self, tmp_path: Path) -> None:
        text = "A00\tCólera\nR50.9\tFiebre\nzzz\tno\n"
        tables = [table(tmp_path, text), table(tmp_path, "A00\tmorbo\n", "índice.tsv", synonyms=True)]
        built = build_knowledge_base(
            tmp_path / "b", tables, edition="CIE-10-ES 2024", systems={"diagnosis": "icd-10-cm"}
        )
        base = KnowledgeBase(tmp_path / "b")
        assert base.edition == "CIE-10-ES 2024"
        assert base.sources == built.sources == (
            TableSource("diag.tsv", "diagnosis", hashlib.sha256(text.encode()).hexdigest(), 2, 1),
            TableSource("índice.tsv", "diagnosis", hashlib.sha256(b"A00\tmorbo\n").hexdigest(), 1, 0),
        )  # fmt: skip
        assert built.rejected == (RejectedCode("diag.tsv", 3, built.rejected[0].reason),)

    def test_synonyms_match_and_the_result_says_which(self, tmp_path: Path) -> None:
        tables = [
            table(tmp_path, "A00\tíndice previo\n", "antes.tsv", synonyms=True),
            table(tmp_path, "A00\tCólera\nA00.0\tClásico\n"),
            table(tmp_path, "a000\tmorbo\n", "índice.tsv", synonyms=True),
        ]
        build_knowledge_base(tmp_path / "b", tables, edition="")
        base = KnowledgeBase(tmp_path / "b")
        for asked, code, title in (
            ("Morbo.", "A00.0", "Clásico"),
            ("INDICE PREVIO", "A00", "Cólera"),
            ("cólera", "A00", "Cólera"),
        ):
            (found,) = base.match(asked)
            assert (found.code, found.title, found.match) == (code, title, "normal")
        assert base.match("morbo")[0].description == "morbo"

    def test_a_column_of_preference_says_which_description_is_the_title(self, tmp_path: Path) -> None:
        text = "codigo\tdescripcion\tpreferente\nA00\tmorbo\tno\nA00\tCólera\tsí\n"
        read = read_terminology([table(tmp_path, text)])
        assert [row.preferred for row in read.rows] == [False, True]

    def test_one_code_of_two_tables_has_the_descriptions_of_both_in_their_order(self, tmp_path: Path) -> None:
        tables = [table(tmp_path, "A00\tCólera\n", "1.tsv"), table(tmp_path, "a00.\tMorbo\nA00\tCólera\n", "2.tsv")]
        built = build_knowledge_base(tmp_path / "b", tables, edition="")
        assert built.summary == KnowledgeSummary({"diagnosis": 1}, 2)
        assert [source.rows for source in built.sources] == [1, 2]
        entry = KnowledgeBase(tmp_path / "b").show("A00")
        assert entry is not None and (entry.title, entry.descriptions) == ("Cólera", ("Morbo",))

    def test_the_tables_of_a_kind_decide_its_system_together(self, tmp_path: Path) -> None:
        tables = [table(tmp_path, "R50.9\ta\nI10\tb\nO14.9\tc\nA00\td\n"), table(tmp_path, "0210\te\n", "2.tsv")]
        read = read_terminology(tables)
        assert read.systems == {"diagnosis": "icd-10-cm"}
        assert [(row.table, row.line) for row in read.rejected] == [("2.tsv", 1)]

    def test_a_named_system_goes_before_the_guess(self, tmp_path: Path) -> None:
        source = table(tmp_path, "B020\ta\nB02.1\tb\n")
        assert [row.code for row in read_terminology([source]).rows] == ["B02.0", "B02.1"]
        read = read_terminology([source], {"diagnosis": "icd-10-pcs"})
        assert (read.rows, [row.line for row in read.rejected]) == ([DescriptionRow("B020", "a", "diagnosis")], [2])
        other = read_terminology([source], {"diagnosis": "other"})
        assert [row.code for row in other.rows] == ["B020", "B02.1"]

    @pytest.mark.parametrize(
        ("systems", "message"),
        [
            ({"diagnosis": "icd-11"}, r"got code system 'icd-11' for diagnosis, expected one of icd-10-cm"),
            ({"diagnossis": "icd-10-cm"}, "got a code system for 'diagnossis', expected one of the tables' kinds"),
        ],
    )
    def test_a_system_or_kind_that_is_not_known_is_refused(
        self, tmp_path: Path, systems: dict[str, System], message: str
    ) -> None:
        with pytest.raises(TableError, match=message):
            read_terminology([table(tmp_path, "A00\ta\n")], systems)

    def test_without_a_row_that_can_be_read_the_first_reason_is_told(self, tmp_path: Path) -> None:
        tables = [table(tmp_path, "A00\t\n"), table(tmp_path, "codigo\tdescripcion\n", "2.tsv")]
        with pytest.raises(
            TableError, match=r"no row that can be read \(1 rejected; the first in diag.tsv, line 1: the"
        ):
            build_knowledge_base(tmp_path / "b", tables, edition="")
        assert not (tmp_path / "b").exists()


class TestWriting:
    def old(self, path: Path) -> bytes:
        path.write_bytes(b"what stood there before")
        return path.read_bytes()

    def test_what_stands_there_is_replaced_by_a_whole_one(self, tmp_path: Path) -> None:
        path, source = tmp_path / "b", table(tmp_path, "A00\tCólera\n")
        self.old(path)
        build_knowledge_base(path, [source], edition="1")
        opened = KnowledgeBase(path)
        build_knowledge_base(path, [table(tmp_path, "A01\tTifus\n", "2.tsv")], edition="2")
        assert [opened.edition, KnowledgeBase(path).edition] == ["1", "2"]
        assert [one.code for one in opened.match("cólera")] == ["A00"]
        assert sorted(entry.name for entry in tmp_path.iterdir()) == ["2.tsv", "b", "diag.tsv"]

    @pytest.mark.parametrize(
        ("text", "options"),
        [
            ("A00\t\n", {}),
            ("A00\tCólera\n", {"systems": {"diagnosis": "nonsense"}}),
            ("A00\tCólera\n", {"subset": Subset(chapters=frozenset({"XX"}))}),
            ("A00\tCólera\n", {"edition": "\udcff"}),
        ],
    )
    def test_where_it_fails_what_stands_there_stays(
        self, tmp_path: Path, text: str, options: dict[str, object]
    ) -> None:
        before, source = self.old(tmp_path / "b"), table(tmp_path, text)
        with pytest.raises(TableError):
            build_knowledge_base(tmp_path / "b", [source], **{"edition": "", **options})  # type: ignore[arg-type]
        assert (tmp_path / "b").read_bytes() == before
        assert sorted(entry.name for entry in tmp_path.iterdir()) == ["b", "diag.tsv"]

    @pytest.mark.parametrize("error", [KeyboardInterrupt(), sqlite3.OperationalError("database or disk is full")])
    def test_broken_off_halfway_it_leaves_nothing(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
    ) -> None:
        before, source = self.old(tmp_path / "b"), table(tmp_path, "A00\tCólera\n")

        def broken(path: Path, *_: object, **__: object) -> None:
            path.write_bytes(b"half")
            raise error

        monkeypatch.setattr(module, "write_knowledge_base", broken)
        expected = pytest.raises(KeyboardInterrupt)
        if isinstance(error, sqlite3.Error):
            expected = pytest.raises(TableError, match=r"b: cannot be written \(database or disk is full\)")
        with expected:
            build_knowledge_base(tmp_path / "b", [source], edition="")
        assert (tmp_path / "b").read_bytes() == before
        assert sorted(entry.name for entry in tmp_path.iterdir()) == ["b", "diag.tsv"]

    def test_what_a_killed_process_of_the_same_number_left_is_no_hindrance(self, tmp_path: Path) -> None:
        source = table(tmp_path, "A00\tCólera\n")
        with atomic_write(tmp_path / "b") as temporary:
            temporary.write_bytes(b"")
        write_knowledge_base(temporary, [DescriptionRow("B00", "otro", "x")])
        build_knowledge_base(tmp_path / "b", [source], edition="")
        assert KnowledgeBase(tmp_path / "b").codes("diagnosis") == ["A00"]
        assert sorted(entry.name for entry in tmp_path.iterdir()) == ["b", "diag.tsv"]

    def test_folders_are_made_and_what_cannot_be_one_is_told(self, tmp_path: Path) -> None:
        source = table(tmp_path, "A00\tCólera\n")
        build_knowledge_base(tmp_path / "new" / "ñ" / "b", [source], edition="")
        assert KnowledgeBase(tmp_path / "new" / "ñ" / "b").kinds == ("diagnosis",)
        for output in (source.path / "b", tmp_path / "new"):
            with pytest.raises(TableError, match="cannot be written"):
                build_knowledge_base(output, [source], edition="")
        assert (tmp_path / "new").is_dir() and source.path.read_text(encoding="utf-8") == "A00\tCólera\n"

    def test_a_table_is_never_the_output(self, tmp_path: Path) -> None:
        source = table(tmp_path, "A00\tCólera\n")
        (tmp_path / "link").symlink_to(source.path)
        for output in (source.path, tmp_path / "link", tmp_path / "x" / ".." / "diag.tsv"):
            with pytest.raises(TableError, match="is one of the tables"):
                build_knowledge_base(output, [source], edition="")
        assert source.path.read_text(encoding="utf-8") == "A00\tCólera\n"

    def test_a_table_whose_name_is_no_text_is_read_like_another(self, tmp_path: Path) -> None:
        path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/c\xf3digos.tsv"))
        try:
            path.write_text("A00\tCólera\nA01\t\n", encoding="utf-8")
        except OSError:
            pytest.skip("the file system takes no such name")
        built = build_knowledge_base(tmp_path / "b", [CodeTable(path, "diagnosis")], edition="")
        assert built.sources[0].name == built.rejected[0].table == "c\ufffddigos.tsv"
        assert KnowledgeBase(tmp_path / "b").sources == built.sources

    def test_a_subset_at_build_leaves_the_counts_of_the_tables(self, tmp_path: Path) -> None:
        source = table(tmp_path, "A00\tCólera\nA00.0\tClásico\nR50\tFiebre\n")
        built = build_knowledge_base(tmp_path / "b", [source], edition="", subset=Subset(leaf=True))
        assert built.summary == KnowledgeSummary({"diagnosis": 2}, 2)
        assert built.sources[0].rows == 3
        assert KnowledgeBase(tmp_path / "b").codes("diagnosis") == ["A00.0", "R50"]
