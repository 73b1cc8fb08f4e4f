"""``cielo kb``: building, showing and searching from the shell."""

from __future__ import annotations

import hashlib
import json
import os
import re
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from cielo.bundle.layout import default_bundle
from cielo.cli import main
from cielo.knowledge.reading import KnowledgeBase
from click.testing import CliRunner, Result
from hypothesis import given, settings
from hypothesis import strategies as st

DIAGNOSES = (
    "Código\tDescripción\n"
    "Cap.01\tCiertas enfermedades\n"
    "A00-A09\tBloque\n"
    "A00\tCólera\n"
    "A00.0\tCólera [clásico]\n"
    "b020\tEncefalitis por herpes zóster\n"
    "T68.XXXA\tHipotermia, contacto inicial\n"
    "I10\tHipertensión esencial (primaria)\n"
    "R50.9\tFiebre, no especificada\n"
    "R51\tCefalea\n"
    "O14\tPreeclampsia\n"
    "Z3A.01\tMenos de 8 semanas de gestación\n"
)
PROCEDURES = "codigo,descripcion\n0210,derivación de arteria coronaria\nb020,rayos X\nBW20,tomografía computarizada\n"
INDEX = "A000\tmorbo asiático\nR50.9\tpirexia\n"


def run(*arguments: str | Path) -> Result:
    """Run the command; it never ends with a traceback."""
    result = CliRunner().invoke(main, ["kb", *map(str, arguments)])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    assert "Traceback" not in result.output
    return result


@pytest.fixture(autouse=True)
def _no_bundle_of_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CIELO_BUNDLE", raising=False)


@pytest.fixture
def tables(tmp_path: Path) -> Path:
    for name, text in (("d.tsv", DIAGNOSES), ("p.csv", PROCEDURES), ("índice.tsv", INDEX)):
        (tmp_path / name).write_text(text, encoding="utf-8")
    return tmp_path


@pytest.fixture
def built(tables: Path) -> Path:
    """A knowledge base of both kinds."""
    result = build(tables)
    assert result.exit_code == 3, result.output
    return tables / "b"


def build(tables: Path, *options: str | Path) -> Result:
    return run(
        "build", tables / "b", "--table", f"diagnosis={tables / 'd.tsv'}", "--table", f"procedure={tables / 'p.csv'}",
        "--synonyms", f"diagnosis={tables / 'índice.tsv'}", "--edition", "CIE-10-ES 2024", *options,
    )  # fmt: skip


class TestBuild:
    def test_it_tells_what_was_taken_and_each_rejected_row(self, tables: Path) -> None:
        result = build(tables)
        assert result.exit_code == 3
        assert "9 of kind diagnosis (icd-10-cm), 3 of kind procedure (icd-10-pcs); 14 descriptions" in result.stdout
        assert "d.tsv (diagnosis): 9 rows, 2 rejected" in result.stdout
        assert "índice.tsv (diagnosis): 2 rows, 0 rejected" in result.stdout
        assert re.findall(r"rejected: (.*), line (\d+): no ICD-10-CM code", result.stderr) == [
            ("d.tsv", "2"),
            ("d.tsv", "3"),
        ]
        base = KnowledgeBase(tables / "b")
        assert base.edition == "CIE-10-ES 2024"
        assert base.codes("procedure") == ["0210", "B020", "BW20"]

    def test_without_a_rejected_row_it_ends_well(self, tables: Path) -> None:
        result = run("build", tables / "b", "--table", f"procedure={tables / 'p.csv'}")
        assert (result.exit_code, result.stderr) == (0, "")
        assert sorted(entry.name for entry in tables.iterdir()) == ["b", "d.tsv", "p.csv", "índice.tsv"]

    def test_rejected_rows_go_to_a_file(self, tables: Path) -> None:
        assert build(tables, "--rejected", tables / "no.tsv").exit_code == 3
        header, *lines = (tables / "no.tsv").read_text(encoding="utf-8").splitlines()
        assert header == "table\tline\treason"
        assert [line.split("\t")[:2] for line in lines] == [["d.tsv", "2"], ["d.tsv", "3"]]

    def test_many_rejected_rows_are_counted_and_all_of_them_written(self, tables: Path) -> None:
        rows = "".join(f"Cap.{number:02}\tcapítulo\n" for number in range(50))
        (tables / "d.tsv").write_text(DIAGNOSES + rows, encoding="utf-8")
        system = "diagnosis=icd-10-cm"
        result = build(tables, "--system", system, "--rejected", tables / "no.tsv")
        assert result.exit_code == 3
        assert result.stderr.count(", line ") == 20
        assert "32 more; --rejected FILE writes all" in result.stderr
        assert len((tables / "no.tsv").read_text(encoding="utf-8").splitlines()) == 53

    def test_a_system_can_be_named(self, tables: Path) -> None:
        result = build(tables, "--system", "procedure=other")
        assert "3 of kind procedure (other)" in result.stdout

    @pytest.mark.parametrize(
        ("options", "codes"),
        [
            (
                ["--leaf"],
                ["A00.0", "B02.0", "T68.XXXA", "I10", "R50.9", "R51", "O14", "Z3A.01", "0210", "B020", "BW20"],
            ),
            (["--chapter", "I"], ["A00", "A00.0", "B02.0"]),
            (["--chapter", "XVIII", "--chapter", "B"], ["R50.9", "R51", "B020", "BW20"]),
            (["--chapter", "diagnosis:XV"], ["O14"]),
            (["--codes", "codes.txt"], ["A00", "R50.9", "BW20"]),
            (["--codes", "codes.txt", "--chapter", "I"], ["A00"]),
        ],
    )
    def test_a_part_can_be_asked_for(
        self, tables: Path, monkeypatch: pytest.MonkeyPatch, options: list[str], codes: list[str]
    ) -> None:
        monkeypatch.chdir(tables)
        (tables / "codes.txt").write_text("a00 Cólera\nR509\n\nbw20\nQ99\n", encoding="utf-8")
        result = build(tables, *options)
        assert result.exit_code == 3
        listed = "--codes" in options  # which has one code that no table has
        assert ("codes, line 5: the knowledge base does not know the code" in result.stderr) == listed
        assert ("codes: 1 of 4 lines name no code that is known" in result.stderr) == listed
        base = KnowledgeBase(tables / "b")
        assert [code for kind in base.kinds for code in base.codes(kind)] == codes

    def test_what_stands_there_is_replaced_only_by_a_whole_one(self, tables: Path, built: Path) -> None:
        before = built.read_bytes()
        (tables / "bad.xlsx").write_bytes(b"PK")
        assert run("build", built, "--overwrite", "--table", f"diagnosis={tables / 'bad.xlsx'}").exit_code == 1
        assert build(tables, "--chapter", "XX", "--overwrite").exit_code == 1
        assert built.read_bytes() == before
        assert run("build", built, "--overwrite", "--table", f"procedure={tables / 'p.csv'}").exit_code == 0
        assert KnowledgeBase(built).kinds == ("procedure",)
        assert sorted(entry.name for entry in tables.iterdir()) == ["b", "bad.xlsx", "d.tsv", "p.csv", "índice.tsv"]

    @pytest.mark.parametrize(
        ("arguments", "code", "told"),
        [
            (["b"], 2, "--table KIND=FILE"),
            (["b", "--synonyms", "diagnosis=d.tsv"], 2, "--table KIND=FILE"),
            (["b", "--table", "d.tsv"], 2, "expected NAME=VALUE"),
            (["b", "--table", "=d.tsv"], 2, "expected NAME=VALUE"),
            (["b", "--table", "diagnosis="], 2, "expected NAME=VALUE"),
            ([".", "--table", "diagnosis=d.tsv"], 2, "directory"),
            (["b", "--table", "diagnosis=missing.tsv"], 1, "cannot be read"),
            (["b", "--table", "diagnosis=."], 1, "name a file"),
            (["b", "--table", "diagnosis=d.doc"], 1, "name a file"),
            (["b", "--table", "diagnosis=d.tsv", "--code-column", "nada"], 1, "nada"),
            (["b", "--table", "diagnosis=d.tsv", "--encoding", "nada"], 1, "nada"),
            (["b", "--table", "diagnosis=d.tsv", "--system", "diagnosis=icd-9"], 1, "icd-9"),
            (["b", "--table", "diagnosis=d.tsv", "--system", "other=icd-10-cm"], 1, "'other'"),
            (["b", "--table", "diagnosis=d.tsv", "--chapter", "XXX"], 1, "within what was asked for"),
            (["b", "--table", "diagnosis=d.tsv", "--codes", "missing.txt"], 1, "cannot be read"),
            (["b", "--table", "diagnosis=d.tsv", "--rejected", "b"], 2, "--rejected"),
            (["b", "--table", "diagnosis=d.tsv", "--rejected", "d.tsv"], 2, "--rejected"),
            (["d.tsv", "--table", "diagnosis=d.tsv"], 2, "which --table names"),
            (["d.tsv/b", "--table", "diagnosis=d.tsv"], 1, "cannot be written"),
            (["b", "--table", "diag\udcff=d.tsv"], 1, "not valid Unicode"),
            (["b", "--table", "diagnosis=d.tsv", "--edition", "\udcff"], 1, "not valid Unicode"),
        ],
    )
    def test_what_cannot_be_done_is_told_and_leaves_nothing(
        self, tables: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], code: int, told: str
    ) -> None:
        monkeypatch.chdir(tables)
        result = run("build", *arguments)
        assert result.exit_code == code, result.output
        assert told in result.stderr
        assert sorted(entry.name for entry in tables.iterdir()) == ["d.tsv", "p.csv", "índice.tsv"]
        assert (tables / "d.tsv").read_text(encoding="utf-8") == DIAGNOSES

    def test_what_a_workbook_needs_is_told_before_another_table_is_read(
        self, tables: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tables / "p.xlsx").write_bytes(b"PK")
        (tables / "d.tsv").write_text("nothing that could be read", encoding="utf-8")
        monkeypatch.setitem(sys.modules, "openpyxl", None)
        table = f"diagnosis={tables / 'd.tsv'}"
        result = run("build", tables / "b", "--table", table, "--table", f"procedure={tables / 'p.xlsx'}")
        assert result.exit_code == 1
        assert "pip install 'cielo[tables]'" in result.stderr

    def test_rejected_rows_that_cannot_be_written_are_told(self, tables: Path) -> None:
        result = build(tables, "--rejected", tables / "missing" / "no.tsv")
        assert result.exit_code == 1
        assert "no.tsv: cannot be written" in result.stderr

    def test_a_table_of_text_with_other_columns_and_encoding(self, tables: Path) -> None:
        (tables / "x.csv").write_bytes("grupo;clave;nombre\n1;A00;Cólera\n".encode("windows-1252"))
        result = run(
            "build", tables / "b", "--table", f"diagnosis={tables / 'x.csv'}", "--code-column", "clave",
            "--description-column", "Nombre", "--encoding", "windows-1252",
        )  # fmt: skip
        assert result.exit_code == 0, result.output
        assert KnowledgeBase(tables / "b").descriptions("diagnosis") == ["Cólera"]

    def test_names_that_are_no_text_pass_through_the_process(self, tables: Path) -> None:
        source, output = (os.fsencode(tables) + name for name in (b"/c\xf3digos.tsv", b"/salida\xf3"))
        try:
            Path(os.fsdecode(source)).write_text(DIAGNOSES, encoding="utf-8")
        except OSError:
            pytest.skip("the file system takes no such name")
        command = [
            os.fsencode(sys.executable),
            b"-m",
            b"cielo.cli",
            b"kb",
            b"build",
            output,
            b"--table",
            b"d=" + source,
        ]
        environment = {**os.environ, "PYTHONUTF8": "0", "PYTHONIOENCODING": "utf-8", "LC_ALL": "C.UTF-8"}
        ended = subprocess.run(
            [*command, b"--rejected", output + b".tsv"], check=False, capture_output=True, env=environment
        )
        assert ended.returncode == 3, ended.stderr
        assert b"Traceback" not in ended.stderr
        assert "c\ufffddigos.tsv".encode() in ended.stdout
        assert len(Path(os.fsdecode(output + b".tsv")).read_text(encoding="utf-8").splitlines()) == 3


class TestShow:
    @pytest.mark.parametrize(
        ("asked", "code", "kind"),
        [
            ("a00.0", "A00.0", "diagnosis"),
            ("A000", "A00.0", "diagnosis"),
            ("I10.XXX", "I10", "diagnosis"),
            ("b020", "B020", "procedure"),
            ("B02.0", "B02.0", "diagnosis"),
            ("bw20", "BW20", "procedure"),
            ("z3a.01", "Z3A.01", "diagnosis"),
        ],
    )
    def test_a_code_is_shown_as_json(self, built: Path, asked: str, code: str, kind: str) -> None:
        result = run("show", asked, "--kb", built, "--json")
        assert result.exit_code == 0, result.output
        entry = json.loads(result.stdout)
        assert (entry["code"], entry["kind"]) == (code, kind)
        assert set(entry) == {"code", "kind", "title", "descriptions", "chapter", "leaf", "ancestors", "children"}

    def test_its_place_is_shown_to_a_reader(self, built: Path) -> None:
        top, below = run("show", "a00", "--kb", built).stdout, run("show", "a00.0", "--kb", built).stdout
        assert top.splitlines()[0].split() == ["A00", "Cólera"]
        assert "diagnosis, chapter I, 1 below it" in top
        assert "has:   A00.0  Cólera [clásico]" in top
        assert "diagnosis, chapter I, a leaf" in below
        assert "under: A00  Cólera" in below and "also:  morbo asiático" in below

    def test_a_kind_decides_between_two_codes(self, built: Path) -> None:
        shown = run("show", "B020", "--kb", built, "--kind", "diagnosis", "--json")
        assert json.loads(shown.stdout)["code"] == "B02.0"

    def test_where_a_code_is_missing_those_that_begin_like_it_are_named(self, built: Path) -> None:
        result = run("show", "T68.XXX", "--kb", built)
        assert (result.exit_code, result.stdout) == (1, "")
        assert "has no code T68.XXX; codes that begin like it: T68.XXXA" in result.stderr

    def test_codes_of_another_kind_are_not_named(self, built: Path) -> None:
        result = run("show", "BW20", "--kb", built, "--kind", "diagnosis", "--json")
        assert (result.exit_code, result.stdout) == (1, "")
        assert "begin like it" not in result.stderr

    @pytest.mark.parametrize("code", ["", ".", "Q99", "%", "[bold]", "' OR 1=1 --", "\udcff", "病", "-"])
    def test_what_is_no_code_is_not_found(self, built: Path, code: str) -> None:
        result = run("show", "--kb", built, "--", code)
        assert (result.exit_code, result.stdout) == (1, "")
        assert "has no code" in result.stderr

    def test_the_shipped_bundle_is_shown_where_none_is_named(self) -> None:
        entry = json.loads(run("show", "bw20", "--json").stdout)
        assert (entry["code"], entry["kind"], entry["chapter"]) == ("BW20", "procedure", "B")


class TestSearch:
    def test_words_are_found_with_the_description_that_holds_them(self, built: Path) -> None:
        result = run("search", "PIREXIA", "--kb", built, "--json")
        assert result.exit_code == 0
        told = json.loads(result.stdout)
        assert (told["total"], told["suggestions"]) == (1, [])
        (found,) = told["found"]
        assert (found["code"], found["description"], found["title"]) == ("R50.9", "pirexia", "Fiebre, no especificada")

    def test_a_reader_sees_the_code_as_it_is(self, built: Path) -> None:
        result = run("search", "clasico", "--kb", built)
        assert result.exit_code == 0
        assert "A00.0" in result.stdout and "Cólera [clásico]" in result.stdout
        assert "morbo asiático  (Cólera [clásico])" in run("search", "asiatico morbo", "--kb", built).stdout

    def test_kind_and_limit(self, built: Path) -> None:
        told = json.loads(run("search", "e", "--kb", built, "--json", "--limit", "2").stdout)
        assert len(told["found"]) == 2 < told["total"]
        found = json.loads(run("search", "c", "--kb", built, "--json", "--kind", "procedure").stdout)["found"]
        assert {one["kind"] for one in found} == {"procedure"}

    def test_where_nothing_is_found_it_says_so(self, built: Path) -> None:
        result = run("search", "zzz", "--kb", built)
        assert (result.exit_code, result.stdout) == (1, "")
        assert "no description holds any of these words" in result.stderr
        told = json.loads(run("search", "zzz", "--kb", built, "--json").stdout)
        assert told == {"found": [], "total": 0, "suggestions": []}

    def test_how_many_there_are_is_said_where_not_all_are_shown(self, built: Path) -> None:
        result = run("search", "e", "--kb", built, "--limit", "2")
        assert re.search(r"^2 of \d+ shown", result.stderr, re.MULTILINE)
        assert "shown" not in run("search", "pirexia", "--kb", built).stderr

    def test_a_mistyped_word_is_answered_with_what_may_be_meant(self, built: Path) -> None:
        result = run("search", "pirexai", "--kb", built)
        assert (result.exit_code, result.stdout) == (1, "")
        assert "did you mean: pirexia?" in result.stderr

    def test_a_code_is_found_with_those_below_it(self, built: Path) -> None:
        told = json.loads(run("search", "a00", "--kb", built, "--json").stdout)
        assert [one["code"] for one in told["found"]] == ["A00", "A00.0"]
        assert [one["code"] for one in json.loads(run("search", "a000", "--kb", built, "--json").stdout)["found"]] == [
            "A00.0"
        ]

    @given(
        text=st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
        | st.text("\"'*()^:+-{}ANDORcólera ", max_size=30)
    )
    @settings(max_examples=60, deadline=None)
    def test_no_text_ends_in_a_traceback(self, shared: Path, text: str) -> None:
        assert run("search", "--kb", shared, "--", text).exit_code in (0, 1)
        assert run("show", "--kb", shared, "--", text).exit_code in (0, 1)

    @pytest.fixture(scope="class")
    def shared(self, tmp_path_factory: pytest.TempPathFactory) -> Path:
        path = tmp_path_factory.mktemp("kb")
        (path / "d.tsv").write_text(DIAGNOSES, encoding="utf-8")
        run("build", path / "b", "--table", f"diagnosis={path / 'd.tsv'}")
        return path / "b"


@pytest.mark.parametrize("command", ["show", "search"])
class TestFiles:
    @pytest.mark.parametrize(
        ("arguments", "code"),
        [
            (["--kb", "missing"], 1),
            (["--kb", "d.tsv"], 1),
            (["--kb", "other.sqlite"], 1),
            (["--kb", "."], 2),
            (["--bundle", "missing"], 1),
            (["--kb", "b", "--kind", "oncology"], 2),
            (["--kb", "b", "--kind", "\udcff"], 2),
            (["--kb", "b", "--nonsense"], 2),
        ],
    )
    def test_what_cannot_be_opened_is_told(
        self, built: Path, monkeypatch: pytest.MonkeyPatch, command: str, arguments: list[str], code: int
    ) -> None:
        monkeypatch.chdir(built.parent)
        with sqlite3.connect("other.sqlite") as connection:
            connection.execute("CREATE TABLE other (a)")
        before = sorted(entry.name for entry in built.parent.iterdir())
        result = run(command, "A00", *arguments)
        assert (result.exit_code, result.stdout) == (code, "")
        assert result.stderr.strip()
        assert sorted(entry.name for entry in built.parent.iterdir()) == before

    @pytest.mark.parametrize("share", [0.1, 0.3, 0.5, 0.7, 0.9])
    def test_a_file_without_its_end_is_told(self, built: Path, command: str, share: float) -> None:
        content = built.read_bytes()
        built.write_bytes(content[: int(share * len(content))])
        result = run(command, "A00", "--kb", built, "--json")
        assert result.exit_code == 1
        assert "cannot be" in result.stderr or "no code" in result.stderr


class TestInfo:
    def test_edition_systems_and_sources_are_told(self, tmp_path: Path) -> None:
        (tmp_path / "d.tsv").write_text(DIAGNOSES, encoding="utf-8")
        table, system = f"diagnosis={tmp_path / 'd.tsv'}", "diagnosis=icd-10-cm"
        run("build", tmp_path / "b", "--table", table, "--system", system, "--edition", "Prueba 1")
        result = run("info", "--kb", tmp_path / "b", "--json")
        told = json.loads(result.stdout)
        assert (result.exit_code, told["edition"]) == (0, "Prueba 1")
        assert told["kinds"]["diagnosis"]["system"] == "icd-10-cm"
        (source,) = told["sources"]
        assert (source["name"], source["rejected"]) == ("d.tsv", 2)
        assert source["sha256"] == hashlib.sha256((tmp_path / "d.tsv").read_bytes()).hexdigest()
        shown = run("info", "--kb", tmp_path / "b").stdout
        assert "Prueba 1" in shown and source["sha256"][:12] in shown and "2 rejected" in shown
        assert run("info", tmp_path / "b").stdout == shown

    def test_a_bundle_is_taken_like_a_file(self) -> None:
        assert run("info", default_bundle()).stdout == run("info").stdout

    def test_two_of_them_are_refused(self, built: Path) -> None:
        result = run("info", built, "--kb", built)
        assert result.exit_code == 2
        assert "give the knowledge base once" in result.stderr
