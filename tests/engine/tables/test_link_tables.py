"""Links as tables: flat and rounded for people, whole for machines; the names of columns that mentions come in."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest
from cielo.decisions import Thresholds
from cielo.errors import MentionError, OptionError, TableError
from cielo.records import BundleIdentity, Candidate, Json, Link, Proof, Provenance
from cielo.said import Said
from cielo.tables import Format, TableFormat
from cielo.tables.formats import OutputStyle
from cielo.tables.links import (
    OutputColumns,
    joined_row,
    kept_columns,
    link_columns,
    output_row,
    restored,
    stored,
    write_rows,
)
from cielo.tables.mentions import InputRow, MentionColumns, read_mentions

SECRET = "Zutanito"
SPANISH = OutputStyle(language="es", decimal=",")


def link(**changes: Any) -> Link:
    candidates = tuple(
        Candidate(code, f"descripción de {code}", "diagnosis", evidence, log_prob, distance, f"título de {code}")
        for code, evidence, log_prob, distance in (
            ("0210", ("hypothesis",), -0.25, None),
            ("J18", ("hypothesis", "neighbour"), -2.0, 0.125),
            ("007", ("neighbour",), None, 0.5),
        )
    )
    fields: dict[str, Any] = {
        "code": "0210", "codes": ("0210",), "description": "descripción de 0210", "kind": "diagnosis",
        "method": "exact", "generated": "descripción de 0210", "log_prob": -0.25, "distance": None, "match": "normal",
        "candidates": candidates, "confidence": 0.654321, "title": "título de 0210",
        "provenance": Provenance(BundleIdentity("mini", "ab" * 32, "1"), "onnx", "int8", "cpu", "constrained"),
        "proof": Proof(exact=False, gap=0.1, passes=3, mass=0.5, free_log_prob=-0.2),
    }  # fmt: skip
    return Link(**{**fields, **changes})


def row(values: dict[str, Any] | None = None, **changes: Any) -> dict[str, Json]:
    return output_row(InputRow(2, values or {"text": "tos"}), link(**changes), Thresholds())


def written(form: Format, *rows: dict[str, Json], **options: Any) -> bytes:
    stream = io.BytesIO()
    write_rows(stream, form, rows, **options)
    return stream.getvalue()


def cells(content: bytes, delimiter: str = ",") -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(content.decode("utf-8-sig"), newline=""), delimiter=delimiter))


def test_runners_up_stand_in_columns_of_their_own() -> None:
    (found,) = cells(written("csv", row()))
    assert [found[f"alternative_{place}_code"] for place in (1, 2)] == ["J18", "007"]
    assert found["alternative_1_title"] == "título de J18"
    evidence = "written by the model, near the model's description, probability 0.135, distance 0.125"
    assert found["alternative_1_evidence"] == evidence
    assert not any("{" in cell or "[" in cell for cell in found.values())
    assert "alternative_3_code" not in found and "candidates" not in found


def test_where_nothing_was_linked_all_candidates_are_alternatives() -> None:
    (found,) = cells(written("csv", row(code=None, codes=(), description=None, title=None, method="none")))
    assert found["alternative_1_code"] == "0210" and found["alternative_3_code"] == "007"
    assert found["decision"] == "none"


def test_figures_are_rounded_for_people_and_whole_for_machines() -> None:
    (found,) = cells(written("csv", row()))
    assert (found["confidence"], found["log_prob"], found["probability"]) == ("0.654", "-0.250", "0.779")
    whole = json.loads(written("jsonl", row()))
    assert whole["confidence"] == 0.654321
    assert [entry["code"] for entry in whole["candidates"]] == ["0210", "J18", "007"]


def test_what_happened_is_said_in_words() -> None:
    (found,) = cells(written("csv", row()))
    assert found["found"] == "the model's description is in the catalogue, but for case, accents or signs"
    assert found["proof"] == "not proven: another one could be more probable"
    assert (found["decision"], found["truncated"]) == ("review", "no")


def test_a_table_for_spanish_excel() -> None:
    style = OutputStyle(delimiter=";", bom=True, decimal=",", language="es", guarded=True)
    content = written("csv", row({"Texto": "tos", "Código": "=1+1"}), style=style)
    assert content.startswith("\ufefftexto;".encode().replace(b"texto", b"Texto"))
    (found,) = cells(content, ";")
    assert (found["confianza"], found["log-probabilidad"], found["decisión"]) == ("0,654", "-0,250", "revisar")
    assert found["alternativa 1: código"] == "J18"
    assert "probabilidad 0,135, distancia 0,125" in found["alternativa 1: prueba"]
    assert found["entrada_Código"] == "'=1+1" and found["código"] == "0210"  # both are kept


def test_in_spanish_only_what_is_called_like_a_spanish_column_is_renamed() -> None:
    values = {"text": "tos", "code": "a", "found": "b", "alternative_1_code": "c", "error": "d", "Confianza": "e"}
    own = output_row(InputRow(2, values), link(), Thresholds())
    assert own["input_code"] == "a"  # for machines, as ever
    rows = [joined_row(InputRow(2, values), link_columns(link()), "es")]
    columns = OutputColumns(kept_columns(list(values), "es"), alternatives=2, proof=True)
    for content in (written("csv", *rows, style=SPANISH), written("csv", *rows, style=SPANISH, columns=columns)):
        (found,) = cells(content)
        assert [found[name] for name in ("code", "found", "alternative_1_code")] == ["a", "b", "c"]
        assert found["entrada_error"] == "d" and found["entrada_Confianza"] == "e"
        assert found["código"] == "0210" and found["alternativa 1: código"] == "J18"


@pytest.mark.parametrize("columns", [True, False])
def test_an_output_that_is_read_again_gives_each_column_a_name_of_its_own(columns: bool) -> None:
    (before,) = cells(written("csv", row(), style=SPANISH))
    again = [joined_row(InputRow(2, dict(before)), link_columns(link()), "es")]
    known = OutputColumns(kept_columns(list(before), "es"), alternatives=2) if columns else None
    content = written("csv", *again, style=SPANISH, columns=known)
    names = content.decode("utf-8-sig").splitlines()[0].split(",")
    assert len({*names}) == len(names) and "entrada_alternativa 1: código" in names
    assert "alternativa 2: prueba" in names


@pytest.mark.parametrize("form", ["csv", "xlsx", "jsonl"])
def test_an_error_is_spanish_for_people_and_english_for_machines(form: Format, tmp_path: Path) -> None:
    with pytest.raises(MentionError) as raised:
        InputRow(1, {"text": ""}).mention()
    error = {"text": "", "error": raised.value.said}
    file = tmp_path / f"out.{form}"
    file.write_bytes(written(form, error, style=SPANISH))
    (again,) = [entry.values["error"] for entry in read_mentions(file, columns=MentionColumns(text="error"))]
    spanish = "el texto de la mención está vacío; escriba al menos un carácter visible"
    assert again == (str(raised.value) if form == "jsonl" else spanish)


def test_what_is_kept_of_an_error_is_translated_later() -> None:
    kept = restored(json.loads(json.dumps(stored({"error": Said("the {name} is empty", name=Said("text"))}))))
    (found,) = cells(written("csv", kept, style=SPANISH))
    assert found["error"] == "el campo «texto» está vacío"
    assert restored(json.loads(json.dumps(stored(link_columns(link()))))) == json.loads(
        json.dumps(link_columns(link()))
    )


@pytest.mark.parametrize("form", ["csv", "tsv", "xlsx", "parquet", "jsonl", "json"])
def test_no_column_of_the_input_is_lost(form: Format, tmp_path: Path) -> None:
    values = {
        "text": "tos", "found": "a", "alternative_1_code": "b", "decision": "c", "code": "d", "otra": "e", "kind": "f",
    }  # fmt: skip
    file = tmp_path / f"out.{form}"
    file.write_bytes(written(form, row(values)))
    again = next(iter(read_mentions(file))).values
    kept = {str(cell) for name, cell in again.items() if isinstance(cell, str)}
    assert {"a", "b", "c", "d", "e"} <= kept
    assert again["code"] == "0210" and again["input_code"] == "d"


def test_known_columns_give_the_same_table() -> None:
    rows = [row(), row(candidates=link().candidates[:2]), output_row(InputRow(3, {"text": "x"}), "bad")]
    columns = OutputColumns(kept_columns(["text"]), alternatives=2, decision=True, proof=True)
    assert written("csv", *rows, columns=columns) == written("csv", *rows)
    assert written("parquet", *rows, columns=columns)


def test_with_known_columns_rows_are_written_as_they_come() -> None:
    stream, seen = io.BytesIO(), []

    def rows() -> Any:
        for _ in range(3):
            yield row()
            seen.append(stream.getvalue().count(b"\n"))

    write_rows(stream, "csv", rows(), columns=OutputColumns(["text"], 2, decision=True, proof=True))
    assert seen == [2, 3, 4]


def test_a_workbook_is_laid_out_for_reading(tmp_path: Path) -> None:
    openpyxl = pytest.importorskip("openpyxl")
    file = tmp_path / "out.xlsx"
    file.write_bytes(written("xlsx", row(), row(confidence=0.95), row(confidence=0.1)))
    sheet = openpyxl.load_workbook(file).active
    names = [cell.value for cell in sheet[1]]
    column = {name: sheet.cell(1, place + 1).column_letter for place, name in enumerate(names)}
    assert sheet.freeze_panes == "A2"
    assert sheet.auto_filter.ref == f"A1:{sheet.cell(1, len(names)).column_letter}4"
    code, sure = sheet[f"{column['code']}2"], sheet[f"{column['confidence']}2"]
    assert (code.value, code.data_type, code.number_format) == ("0210", "s", "@")
    assert (sure.value, sure.data_type, sure.number_format) == (0.654, "n", "0.000")
    assert sheet.column_dimensions[column["title"]].width > sheet.column_dimensions[column["code"]].width
    filled = [sheet[f"{column['decision']}{place}"].fill.fgColor.rgb for place in (2, 3, 4)]
    assert len(set(filled)) == 3 and filled[1] == "00000000"  # what is accepted has no colour


@pytest.mark.parametrize(
    "options", [{"delimiter": ""}, {"delimiter": '"'}, {"delimiter": ";;"}, {"decimal": ";"}, {"language": "fr"}]
)
def test_a_style_that_is_none_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(OptionError, match="expected"):
        OutputStyle(**options)


HEADERS = ["Texto Clínico;Frase completa;Tipo de código", "TEXTO CLÍNICO;frase COMPLETA;tipo de codigo"]


@pytest.mark.parametrize("header", HEADERS)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp1252", "utf-16"])
def test_columns_are_found_by_any_name(tmp_path: Path, header: str, encoding: str) -> None:
    file = tmp_path / "a.csv"
    file.write_bytes(f"{header}\r\nneumonía;Ingresa, grave.;Diagnóstico\r\n".encode(encoding))
    named = MentionColumns(text="texto clinico", sentence="Frase Completa", kind="tipo de código")
    mention = next(iter(read_mentions(file, columns=named))).mention()
    assert (mention.text, mention.sentence, mention.kind) == ("neumonía", "Ingresa, grave.", "Diagnóstico")
    with pytest.raises(TableError, match=r"no column `text`; found 'T.*--text-column"):
        read_mentions(file)


def test_a_table_without_a_header_is_read_by_places(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_text("Tiene tos.;tos\nTiene fiebre.;fiebre\n", encoding="utf-8")
    named = MentionColumns(text="2", sentence="1")
    found = [row.mention() for row in read_mentions(file, TableFormat(delimiter=";"), columns=named)]
    assert [(mention.text, mention.sentence) for mention in found] == [
        ("tos", "Tiene tos."),
        ("fiebre", "Tiene fiebre."),
    ]


@pytest.mark.parametrize("first", [f"{SECRET};tos", f"{SECRET} tiene tos.;textos;nota", SECRET, f"HTA;{SECRET};12"])
def test_a_patients_words_are_not_taken_for_a_header(tmp_path: Path, first: str) -> None:
    file = tmp_path / "a.csv"
    file.write_text(f"{first}\nfiebre;x;1\n", encoding="utf-8")
    with pytest.raises(TableError, match="--text-column") as caught:
        read_mentions(file)
    assert SECRET not in str(caught.value)


def test_an_object_without_a_text_names_its_members(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    file.write_text(f'[{{"Diagnóstico": "{SECRET}", "nota": "x"}}]', encoding="utf-8")
    (row,) = read_mentions(file)
    with pytest.raises(MentionError, match=r"found 'Diagnóstico', 'nota': .*--text-column") as caught:
        row.mention()
    assert SECRET not in str(caught.value)
    assert next(iter(read_mentions(file, columns=MentionColumns(text="diagnostico")))).mention().text == SECRET


def test_a_column_that_was_named_must_be_there(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_text("text,nota\ntos,x\n", encoding="utf-8")
    with pytest.raises(TableError, match="no column `frase`; found 'text', 'nota'"):
        read_mentions(file, columns=MentionColumns(sentence="frase"))
