"""What stopped people who tried cielo with files of their own: an option in vain, an error that misleads, English."""

from __future__ import annotations

import datetime
import json
from pathlib import Path

import pytest
from cielo.bundle.layout import default_bundle
from cielo.cli import base, main
from click.testing import CliRunner, Result


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CIELO_STATE", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments)


@pytest.mark.parametrize(
    "options",
    [("--output", "links.csv"), ("--format", "csv"), ("--resume",), ("--text-column", "x"), ("--bom",)],
)
def test_an_option_of_rows_is_refused_beside_one_text(desk: Path, options: tuple[str, ...]) -> None:
    done = run("link", "tos", *options)
    assert (done.exit_code, done.stdout) == (base.EXIT_USAGE, "")
    assert options[0] in done.stderr and "--json" in done.stderr


def test_one_text_may_be_sent_to_standard_output_in_spanish(desk: Path) -> None:
    done = run("link", "tos", "--output", "-", "--language", "es")
    assert done.exit_code == 0, done.output
    assert "exacto: la descripción" in done.stdout
    assert "diagnóstico" in done.stdout and "diagnosis" not in done.stdout


def test_an_error_names_the_columns_that_are_missing_alone(desk: Path) -> None:
    (desk / "own.csv").write_text("Mención;Oración;Tipo\nHTA;Tiene HTA;D\n", encoding="utf-8")
    done = run("link", "--input", "own.csv", "--kind-column", "clase")
    assert done.exit_code == base.EXIT_FAILED
    assert "no column `clase`;" in done.stderr and "`text`" not in done.stderr


@pytest.mark.parametrize("content", ["", "\n\n"])
def test_an_empty_file_is_called_empty(desk: Path, content: str) -> None:
    (desk / "empty.csv").write_text(content, encoding="utf-8")
    done = run("link", "--input", "empty.csv")
    assert done.exit_code == base.EXIT_FAILED
    assert "there is no row, and so no column `text`" in done.stderr


def test_rows_are_told_of_in_spanish(desk: Path) -> None:
    (desk / "own.csv").write_text("texto,frase\ntos,\n,Sin nada.\n", encoding="utf-8")
    done = run("link", "--input", "own.csv", "--output", "links.csv", "--language", "es")
    assert done.exit_code == base.EXIT_ROWS, done.output
    first, *others = done.stderr.splitlines()
    assert first.startswith("cielo: 2 filas, 1 mención distinta, 1 error; ") and first.endswith(" filas por segundo")
    assert others == [
        "  por método: 1 exacto", "  por decisión: 1 aceptar, 0 revisar, 0 codificar a mano",
        "cielo: 1 fila(s) con error; véase su columna `error`",
    ]  # fmt: skip
    written = (desk / "links.csv").read_text(encoding="utf-8")
    assert written.startswith("\ufefftexto;frase;código;") and ";diagnóstico;" in written and ";0,9" in written
    assert "el texto de la mención está vacío" in written


def test_the_environment_names_the_language_and_options_win(desk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CIELO_LANGUAGE", "es")
    (desk / "own.csv").write_text("texto\ntos\n", encoding="utf-8")
    assert "confianza 0,9" in run("link", "tos").stdout
    assert "confidence 0.9" in run("link", "tos", "--language", "en").stdout
    options = ("--delimiter", ",", "--no-bom", "--decimal", ".")
    assert run("link", "--input", "own.csv", "--output", "own-es.csv", *options).exit_code == 0
    assert (desk / "own-es.csv").read_text(encoding="utf-8").startswith("texto,código,")
    assert run("link", "tos").stdout.count("confianza") == 1  # and nothing is left behind


def test_runs_and_documents_tell_of_their_errors_in_spanish(desk: Path) -> None:
    (desk / "own.jsonl").write_text('{"text": "tos"}\n[1]\n{"text": 5}\n', encoding="utf-8")
    done = run("bulk", "own.jsonl", "--output", "run", "--language", "es")
    assert done.exit_code == base.EXIT_ROWS and "3 filas, 1 menciones distintas" in done.stderr
    assert "  por decisión: 1 aceptar, 0 revisar, 0 codificar a mano" in done.stderr
    told = (desk / "run" / "errors.csv").read_text(encoding="utf-8-sig")
    assert told.startswith("fichero;fila;error\nown.jsonl;2;") or told.splitlines()[0] == "fichero;fila;error"
    assert "se esperaba un objeto" in told and "el campo «texto»" in told
    part = (desk / "run" / "part-000000.jsonl").read_text(encoding="utf-8")
    assert "the line holds a JSON list" in part and "lista" not in part
    (desk / "notes.jsonl").write_text('{"text": "tos", "spans": [[0, 9]]}\nnada\n', encoding="utf-8")
    done = run("documents", "notes.jsonl", "--output", "notes.csv", "--errors", "told.csv", "--language", "es")
    assert "1 documento(s) y 1 fragmento(s) no se pudieron codificar" in done.stderr
    assert "notes.jsonl, línea 1, fragmento 1;1;;" in (desk / "told.csv").read_text(encoding="utf-8")
    assert "documento;id;inicio;fin" in (desk / "notes.csv").read_text(encoding="utf-8")


def test_machines_read_the_same_words_in_every_language(desk: Path) -> None:
    (desk / "own.csv").write_text("text\ntos\n", encoding="utf-8")
    done = run("link", "--input", "own.csv", "--format", "jsonl", "--language", "es", "-q")
    row = json.loads(done.stdout)
    assert (row["kind"], row["method"], row["match"], row["decision"]) == ("diagnosis", "exact", "literal", "accept")


@pytest.mark.parametrize(
    "arguments", [("kb", "info", "nowhere"), ("kb", "diff", "mini", "nowhere"), ("link", "tos", "--kb", "nowhere")]
)
def test_a_knowledge_base_that_is_not_there_is_said_not_to_be(desk: Path, arguments: tuple[str, ...]) -> None:
    done = run(*arguments)
    assert done.exit_code == base.EXIT_FAILED
    assert "there is no such file" in done.stderr and "ulimit" not in done.stderr


def test_a_table_without_its_kind_is_known_for_one(desk: Path) -> None:
    (desk / "codes.csv").write_text("code,description\nR05,Tos de prueba\n", encoding="utf-8")
    done = run("kb", "diff", str(default_bundle()), "codes.csv")
    assert done.exit_code == base.EXIT_FAILED
    assert "say of which kind: diagnosis=codes.csv" in done.stderr


def test_a_lexicon_without_an_entry_names_what_to_ask_less_of(desk: Path) -> None:
    (desk / "annotated.csv").write_text("text,code\ntos,R05\nfiebre,R50.9\n", encoding="utf-8")
    done = run("lexicon", "build", "annotated.csv", "--output", "lexicon.tsv")
    assert done.exit_code == base.EXIT_FAILED
    assert "--minimum-count" in done.stderr
    assert run("lexicon", "build", "annotated.csv", "--output", "lexicon.tsv", "--minimum-count", "1").exit_code == 0


def test_a_folder_of_tables_is_no_corpus_and_a_file_in_it_is(desk: Path) -> None:
    (desk / "corpus").mkdir()
    (desk / "corpus" / "own.csv").write_text("text,code\ntos,R05\n", encoding="utf-8")
    done = run("evaluate", "corpus")
    assert done.exit_code == base.EXIT_FAILED
    assert "name a file in it" in done.stderr and "--text-column" not in done.stderr


def test_bulk_tells_methods_and_decisions_apart(desk: Path) -> None:
    (desk / "own.csv").write_text("text,sentence\ntos,\n,Sin nada.\n", encoding="utf-8")
    done = run("bulk", "own.csv", "--output", "run")
    assert done.exit_code == base.EXIT_ROWS, done.output
    lines = done.stderr.splitlines()
    assert lines[0].startswith("cielo: 2 rows, 1 distinct mentions, 1 linked; 2 rows here in ")
    assert lines[1:3] == ["  by method: 1 exact", "  by decision: 1 accept, 0 review, 0 none"]


def test_errors_of_documents_are_said_to_be_where_they_are(desk: Path) -> None:
    (desk / "notes.jsonl").write_text('{"id": "n", "text": "Refiere tos.", "spans": [[8, 11], [90, 91]]}\n')
    ending = ("documents", "notes.jsonl", "--format", "brat")
    assert "`--errors FILE` keeps" in run(*ending, "--output", "one").stderr
    done = run(*ending, "--output", "two", "--errors", "errors.csv")
    assert done.exit_code == base.EXIT_ROWS
    assert "are in the file of --errors" in done.stderr and (desk / "errors.csv").is_file()


def test_every_command_of_a_group_may_be_quiet(desk: Path) -> None:
    (desk / "codes.csv").write_text("code,description\nR05,Tos de prueba\n", encoding="utf-8")
    assert run("kb", "build", "kb.sqlite", "--table", "diagnosis=codes.csv", "-q").exit_code == 0


def test_no_table_is_named_compressed_that_is_not(desk: Path) -> None:
    (desk / "own.csv").write_text("text\ntos\n", encoding="utf-8")
    done = run("link", "--input", "own.csv", "--output", "links.csv.gz")
    assert (done.exit_code, [path.name for path in desk.glob("links*")]) == (base.EXIT_FAILED, [])
    assert "not written compressed" in done.stderr


def test_a_day_of_a_workbook_comes_out_as_a_day(desk: Path) -> None:
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    for row in (["Texto", "Fecha"], ["tos", datetime.datetime(2026, 1, 2)], ["HTA", datetime.datetime(2026, 1, 2, 3)]):
        book.active.append(row)
    book.save("own.xlsx")
    done = run("link", "--input", "own.xlsx", "--output", "links.csv", "-q")
    assert done.exit_code == 0, done.output
    lines = (desk / "links.csv").read_text(encoding="utf-8").splitlines()[1:]
    assert [line.split(",")[:2] for line in lines] == [["tos", "2026-01-02"], ["HTA", "2026-01-02T03:00:00"]]
