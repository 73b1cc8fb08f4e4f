"""Options that can have no effect on what is read and written are refused, and those that can are taken."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from cielo.cli import main
from cielo.tables.writing import write_table
from click.testing import CliRunner, Result

MINI = Path(__file__).parents[3] / "models" / "mini"
ROWS = [{"text": "tos", "kind": "diagnosis", "code": "R05"}, {"text": "fiebre", "kind": "diagnosis", "code": "R50.9"}]
FORMS = ("csv", "tsv", "jsonl", "json", "xlsx", "parquet")
SEPARATED = {"csv", "tsv"}
# An option, of which inputs it is, and of which outputs.
OPTIONS: list[tuple[tuple[str, ...], set[str], set[str]]] = [
    (("--sheet", "Sheet"), {"xlsx"}, set()),
    (("--encoding", "utf-8"), {"csv", "tsv", "jsonl", "json"}, set()),
    (("--delimiter", ";"), SEPARATED, {"csv"}),
    (("--bom",), set(), SEPARATED),
    (("--decimal", "."), set(), SEPARATED),
    (("--guard-formulas",), set(), SEPARATED),
]


@pytest.fixture(autouse=True)
def _desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CIELO_STATE", str(tmp_path / "state"))
    monkeypatch.delenv("CIELO_BUNDLE", raising=False)
    monkeypatch.chdir(tmp_path)
    for form in FORMS:
        with Path(f"in.{form}").open("w+b") as stream:
            write_table(stream, form, ROWS)
    Path("notes.jsonl").write_text(json.dumps({"text": "Refiere tos.", "spans": [[8, 11]]}) + "\n", encoding="utf-8")
    Path("map.csv").write_text("cui,code\nC0010200,R05\n", encoding="utf-8")
    Path("brat").mkdir()
    Path("brat/n.txt").write_text("Refiere tos.", encoding="utf-8")
    Path("brat/n.ann").write_text("T1\tDIAG 8 11\ttos\n", encoding="utf-8")


def run(*arguments: str) -> Result:
    result = CliRunner().invoke(main, arguments)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def assert_refused(result: Result, option: str) -> None:
    assert result.exit_code == 2, result.output
    line = result.stderr.splitlines()[-1]
    assert line.startswith(f"Error: {option} is of ") and line.endswith(": it has no effect here; leave it out")


@pytest.mark.parametrize("written", FORMS)
@pytest.mark.parametrize("read", FORMS)
@pytest.mark.parametrize(("option", "inputs", "outputs"), OPTIONS, ids=[option[0][0] for option in OPTIONS])
def test_rows_take_the_options_of_their_formats_alone(
    monkeypatch: pytest.MonkeyPatch, read: str, written: str, option: tuple[str, ...],
    inputs: set[str], outputs: set[str],
) -> None:  # fmt: skip
    monkeypatch.setattr("cielo.cli.rows.link_rows", lambda *_, **__: None)
    result = run("link", "--input", f"in.{read}", "--output", f"out.{written}", *option)
    if read in inputs or written in outputs:
        assert result.exit_code == 0, result.output
    else:
        assert_refused(result, option[0])


@pytest.mark.parametrize(
    ("arguments", "option"),
    [
        (("bulk", "in.csv", "--output", "out", "--bom"), "--bom"),
        (("bulk", "in.csv", "--output", "out", "--sheet", "x"), "--sheet"),
        (("bulk", "brat", "--output", "out", "--encoding", "utf-8"), "--encoding"),
        (("bulk", "in.csv", "--output", "out", "--only-errors", "--accept", "0.9"), "--accept"),
        (("bulk", "in.csv", "--output", "out", "--only-errors", "--top-k", "3"), "--top-k"),
        (("bulk", "in.csv", "--output", "out", "--dry-run", "--takeover", "9"), "--takeover"),
        (("documents", "notes.jsonl", "--decimal", ","), "--decimal"),
        (("documents", "notes.jsonl", "--output", "out.xlsx", "--delimiter", ";"), "--delimiter"),
        (("documents", "brat", "--encoding", "utf-8"), "--encoding"),
        (("documents", "brat", "--split", "test"), "--split"),
        (("documents", "notes.jsonl", "--terminology", "X"), "--terminology"),
        (("documents", "notes.jsonl", "--format", "bigbio", "--subject", "Patient/1"), "--subject"),
        (("documents", "notes.jsonl", "--number-notes"), "--number-notes"),
        (("documents", "notes.jsonl", "--format", "brat", "--output", "out", "--bom"), "--bom"),
        (("evaluate", "in.csv", "--sheet", "x"), "--sheet"),
        (("evaluate", "in.xlsx", "--encoding", "utf-8"), "--encoding"),
        (("evaluate", "in.csv", "--split", "test"), "--split"),
        (("evaluate", "in.csv", "--code-map", "map.csv"), "--code-map"),
        (("evaluate", "in.csv", "--guard-formulas"), "--guard-formulas"),
        (("evaluate", "in.csv", "--with-text"), "--with-text"),
        (("evaluate", "brat", "--delimiter", ";"), "--delimiter"),
        (("calibrate", str(MINI / "bundle"), "in.csv", "--output", "out", "--sheet", "x"), "--sheet"),
        (("lexicon", "build", "in.xlsx", "--output", "out.tsv", "--delimiter", ";"), "--delimiter"),
        (("kb", "build", "out", "--table", "diagnosis=in.csv", "--sheet", "x"), "--sheet"),
        (("kb", "build", "out", "--table", "diagnosis=in.xlsx", "--encoding", "utf-8"), "--encoding"),
    ],
)
def test_what_can_have_no_effect_is_refused_before_anything_is_written(arguments: tuple[str, ...], option: str) -> None:
    before = {path.name for path in Path().iterdir()}
    assert_refused(run(*arguments), option)
    assert {path.name for path in Path().iterdir()} - before <= {"state"}


def test_an_option_of_one_of_several_inputs_is_taken() -> None:
    both = run("lexicon", "build", "in.xlsx", "in.csv", "--output", "out.tsv", "--delimiter", ",")
    assert both.exit_code == 0, both.output
    tables = ("--table", "diagnosis=table.csv", "--synonyms", "diagnosis=in.xlsx")
    with Path("table.csv").open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream).writerows([("code", "description"), ("R05", "tos"), ("R50.9", "fiebre")])
    result = run("kb", "build", "out", *tables, "--sheet", "Sheet", "--description-column", "text")
    assert "has no effect" not in result.output
    shown = run("documents", "notes.jsonl", "--format", "bigbio", "--terminology", "MIA")
    assert shown.exit_code == 0, shown.output


def test_an_option_counts_by_what_a_file_holds_too(tmp_path: Path) -> None:
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    book.active.append(["text"])
    second = book.create_sheet("dos")
    second.append(["text"])
    second.append(["HTA"])
    book.save(tmp_path / "b.xlsx")
    (tmp_path / "b.xlsx").rename(tmp_path / "book.csv")
    (tmp_path / "page.xls").write_bytes(
        "<table><tr><td>text</td></tr><tr><td>ictus de ñu</td></tr></table>".encode("cp1252")
    )
    for name, *option in (("book.csv", "--sheet", "dos"), ("page.xls", "--encoding", "cp1252")):
        asked = ["link", "--input", str(tmp_path / name), "--output", "-", "--format", "jsonl", *option]
        result = CliRunner().invoke(main, asked)
        assert result.exit_code == 0, result.output
