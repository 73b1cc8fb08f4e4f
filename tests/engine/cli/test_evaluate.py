"""``cielo evaluate`` and ``cielo calibrate``, on small corpora in every format; expected scores are made by hand."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.sax.saxutils import quoteattr

import pytest
from cielo.bundle.layout import CALIBRATION, Bundle, default_bundle
from cielo.cli import calibrate as command
from cielo.cli import main
from click.testing import CliRunner, Result

DEVELOPMENT = Path(__file__).parents[3] / "models" / "mini" / "dev.tsv"
SECRET = "Zutanito"

# Four mentions. A lexicon answers them, so that the answers do not depend on a model: J18.9 (right), K35.80 (right to
# three characters: K35.8 was wanted), BW20 (right), R50.9 (wrong: R51 was wanted).
TEXT = "Varón con neumonía y apendicitis aguda. Se hace TC abdominal. Alta con fiebre.\n"
D, P = "DIAGNOSTICO", "PROCEDIMIENTO"
GOLD = [
    ("neumonía", D, "j18.9", "C0000001"), ("apendicitis aguda", D, "k35.8", "C0000002"),
    ("TC abdominal", P, "bw20", "C0000003"), ("fiebre", D, "r51", "C0000004"),
]  # fmt: skip
KINDS = {D: "diagnosis", P: "procedure"}
LEXICON = (
    "text\tcode\tkind\nneumonía\tJ18.9\tdiagnosis\napendicitis aguda\tK35.80\tdiagnosis\n"
    "TC abdominal\tBW20\tprocedure\nfiebre\tR50.9\tdiagnosis\n"
)
CODE_MAP = "cui,code,kind\n" + "".join(f"{cui},{code.upper()},{KINDS[label]}\n" for _, label, code, cui in GOLD)


@pytest.fixture(autouse=True)
def _own_state(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CIELO_STATE", str(tmp_path_factory.mktemp("state")))
    monkeypatch.delenv("CIELO_BUNDLE", raising=False)


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def evaluated(*arguments: str | Path, code: int = 0) -> dict[str, Any]:
    result = run("evaluate", *arguments, "--json", "--resamples", "100")
    assert result.exit_code == code, result.output
    told = json.loads(result.stdout)
    assert isinstance(told, dict)
    return told


def write(folder: Path, files: dict[str, str]) -> None:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content.encode())


def offsets(text: str) -> tuple[int, int]:
    return TEXT.index(text), TEXT.index(text) + len(text)


# Each corpus has one part that cannot be read.
def codiesp(folder: Path) -> Path:
    lines = [["a1", label, code, text, "{} {}".format(*offsets(text))] for text, label, code, _ in GOLD]
    write(folder, {
        "corpus/testX.tsv": "".join("\t".join(line) + "\n" for line in [*lines[:2], ["a1", D, "r05"], *lines[2:]]),
        "corpus/testD.tsv": "a1\tj18.9\na1\tk35.8\na1\tr51\n",
        "corpus/testP.tsv": "a1\tbw20\n",
        "corpus/text_files/a1.txt": TEXT,
    })  # fmt: skip
    return folder / "corpus"


def sentences(folder: Path) -> Path:
    header = ["file_id", "sentence", "words", "label", "label_type", "id", "codigo", "descripcion", "block_label"]
    lines = [["a1", f"Con {text}.", text, code, label, "1", "", "", ""] for text, label, code, _ in GOLD]
    write(folder, {"corpus.tsv": "".join("\t".join(line) + "\n" for line in [header, *lines, ["a1", "cut"]])})
    return folder / "corpus.tsv"


def e3c(folder: Path) -> Path:
    text = TEXT.replace("\n", "\r\n")
    marked = [(*offsets(text), cui) for text, *_, cui in GOLD]
    entities = "".join(
        f'<custom:CLINENTITY xmi:id="{number}" sofa="1" begin="{start}" end="{end}" entityID="{cui}"/>\n'
        for number, (start, end, cui) in enumerate([*marked, (0, 5, "nonsense"), (0, 5, "CUILESS")], start=20)
    )
    sofa = quoteattr(text, {"\r": "&#13;", "\n": "&#10;"})
    write(folder, {
        "corpus/a1.xml": '<?xml version="1.0" encoding="UTF-8"?>\n<xmi:XMI xmlns:xmi="http://www.omg.org/XMI" '
        'xmlns:cas="http:///uima/cas.ecore" xmlns:custom="http:///webanno/custom.ecore" xmi:version="2.0">\n'
        f'{entities}<cas:Sofa xmi:id="1" sofaNum="1" sofaID="_InitialView" mimeType="text" sofaString={sofa}/>\n'
        "</xmi:XMI>\n"
    })  # fmt: skip
    return folder / "corpus"


def ct_ebm(folder: Path) -> Path:
    lines = [
        f"T{number}\tDISO {offsets(text)[0]} {offsets(text)[1]}\t{text}\n#{number}\tAnnotatorNotes T{number}\t"
        f"{cui}; a name; a type | C0000099; another; a type\n"
        for number, (text, *_, cui) in enumerate(GOLD, start=1)
    ]
    broken = "T9\tDISO 0 5\tVarón\n#9\tAnnotatorNotes T9\tC0000001; a name that\nis broken; a type\n"
    write(folder, {"corpus/a1.ann": "".join(lines) + broken, "corpus/a1.txt": TEXT})
    return folder / "corpus"


def mantra(folder: Path) -> Path:
    lines = [
        f"T{number}\t{cui} {offsets(text)[0]} {offsets(text)[1]}\t{text}\n"
        f'#{number}\tAnnotatorNotes T{number}\t"{cui}", "{text}", "Disease" ,"DISO"\n'
        for number, (text, *_, cui) in enumerate(GOLD, start=1)
    ]
    write(folder, {"corpus/a1.ann": "".join(lines) + "T9\tC0000001 zero 5\tVarón\n", "corpus/a1.txt": TEXT})
    return folder / "corpus"


def shared_task(folder: Path) -> Path:
    header = "filename\tmark\tlabel\toff0\toff1\tspan\tcode\tsemantic_rel\n"
    lines = [
        f"a1\tT{number}\tENFERMEDAD\t{offsets(text)[0]}\t{offsets(text)[1]}\t{text}\t{cui}\tEXACT\n"
        for number, (text, *_, cui) in enumerate(GOLD, start=1)
    ]
    cut = "a1\tT9\tENFERMEDAD\t0\n"
    write(folder, {"corpus/linking.tsv": header + "".join(lines) + cut, "corpus/text_files/a1.txt": TEXT})
    return folder / "corpus" / "linking.tsv"


def rows(folder: Path) -> Path:
    lines = [{"text": text, "kind": KINDS[label], "code": code, "document": "a1"} for text, label, code, _ in GOLD]
    write(folder, {"corpus.jsonl": "".join(json.dumps(line) + "\n" for line in [*lines, {"text": 7, "code": "x"}])})
    return folder / "corpus.jsonl"


@pytest.mark.parametrize(
    ("make", "form", "file"),
    [
        (codiesp, "codiesp", "testX.tsv, line 3"), (sentences, "sentences", "corpus.tsv, line 6"), (e3c, "e3c", "a1"),
        (shared_task, "shared-task", "linking.tsv, line 6"), (ct_ebm, "brat", "a1.ann, line 10"),
        (mantra, "brat", "a1.ann, line 9"), (rows, "rows", "corpus.jsonl, line 5"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("named", [False, True])
def test_a_corpus_of_each_format_by_hand(
    tmp_path: Path, make: Callable[[Path], Path], form: str, file: str, named: bool
) -> None:
    corpus = make(tmp_path)
    write(tmp_path, {"lexicon.tsv": LEXICON, "map.csv": CODE_MAP})
    options: list[str | Path] = ["--format", form] if named else []
    if form in ("shared-task", "e3c", "brat"):  # annotated with concepts
        options += ["--code-map", tmp_path / "map.csv"]
    told = evaluated(corpus, *options, "--lexicon", tmp_path / "lexicon.tsv", code=3)
    assert told["corpus"]["mentions"] == 4
    assert (told["corpus"]["skipped"], told["corpus"]["documents"]) == (1, 1)
    (skipped,) = told["corpus"]["skipped_places"]
    assert skipped["place"].startswith(file)
    assert skipped["reason"]
    test = told["splits"]["all"]
    assert (test["count"], test["right"], test["no_answer"]) == (4, 2, 0)
    assert (test["pli"], test["plii"], test["accuracy_3"], test["mrr"]) == (50.0, 50.0, 75.0, 50.0)
    assert (test["recall_at_3"], test["coverage"], test["text_accuracy"]) == (50.0, 100.0, None)
    groups = told["runs"][0]["breakdown"]
    assert groups["methods"]["lexicon"]["count"] == 4
    assert groups["kinds"]["diagnosis"]["accuracy"] == pytest.approx(100 / 3)
    assert groups["kinds"]["procedure"]["accuracy"] == 100.0
    assert {name: scores["right"] for name, scores in groups["chapters"]["diagnosis"].items()} == {
        "X": 1, "XI": 0, "XVIII": 0,
    }  # fmt: skip
    # Answers in the order of the mentions: of the diagnoses the first is right, 1/1 of three; the procedure is.
    whole = told["runs"][0]["codiesp"]
    measures = whole["kinds"]
    assert measures["diagnosis"]["map"]["value"] == pytest.approx(1 / 3)
    assert measures["procedure"]["map"]["value"] == 1.0
    assert measures["diagnosis"]["micro"]["f1"] == pytest.approx(1 / 3)
    if form in ("codiesp", "e3c", "brat", "shared-task"):  # which have places in the text
        assert whole["positions"]["right"] == whole["matched_positions"]["right"] == 2
        assert whole["positions"]["precision"] == whole["positions"]["recall"] == 0.5


# Stored outputs. With the tables below, to the letter / as published:
# 1 T68 right / right; 2 6A4Z0ZZ right / 6A4Z, the first row in normal form; 3 BW20, where BW201ZZ is right and comes
# second / BW20; 4 none, since only the other kind has such a description; 5 none, since nothing was generated.
TABLES = {
    "diagnoses.tsv": "codigo\tdescripcion\nT68\tHipotermia\nI10\tHipertensión esencial (primaria)\n",
    "procedures.tsv": "codigo\tdescripcion\n6A4Z\thipotermia\n6A4Z0ZZ\tHipotermia\n"
    "BW20\ttomografía (tc) de abdomen\nBW201ZZ\tTomografía (TC) de abdomen\n",
}
STORED = [
    ("pred", "words", "sentence", "label", "label_type", "descripcion", "file_id"),
    ("Hipotermia", "frío", "Tiene frío.", "t68", D, "Hipotermia", "a"),
    ("Hipotermia", "hipotermia inducida", f"{SECRET}, con hipotermia inducida.", "6a4z0zz", P, "Hipotermia", "a"),
    ("tomografía (tc) de abdomen", "TAC", "Se hace TAC.", "bw201zz", P, "Tomografía (TC) de abdomen", "b"),
    ("tomografía (tc) de abdomen", "HTA", "Con HTA.", "i10", D, "Hipertensión esencial (primaria)", "b"),
    ("", f"{SECRET} con HTA", "Con HTA.", "i10", D, "Hipertensión esencial (primaria)", "c"),
    ("cut",),
]


@pytest.fixture
def stored(tmp_path: Path) -> list[str | Path]:
    """Write stored outputs and their tables, and return the arguments that name them."""
    write(tmp_path, {**TABLES, "stored.tsv": "".join("\t".join(line) + "\n" for line in STORED)})
    kinds = [f"--kb=diagnosis={tmp_path / 'diagnoses.tsv'}", f"--kb=procedure={tmp_path / 'procedures.tsv'}"]
    return ["--predictions", tmp_path / "stored.tsv", *kinds]


def test_stored_outputs_by_hand(stored: list[str | Path], tmp_path: Path) -> None:
    write(tmp_path, {"train.csv": 'text,code\n"frío",T68\nHTA,I10\ntac,B\n,X\n'})
    told = evaluated(*stored, "--pipeline", "I", "--train", tmp_path / "train.csv", code=3)
    splits = told["splits"]
    assert (splits["all"]["count"], splits["all"]["right"], splits["all"]["no_answer"]) == (5, 2, 2)
    assert splits["all"]["pli"] == 40.0
    assert splits["all"]["accuracy_3"] == 60.0  # BW2
    assert splits["all"]["mrr"] == 50.0  # (1 + 1 + 1/2) / 5
    assert splits["all"]["text_accuracy"] == 40.0
    assert splits["all"]["normal_text_accuracy"] == 60.0
    assert splits["all"]["plii"] is None
    # Seen in training: 1 and 4. `tac` is not `TAC`.
    assert (splits["seen"]["count"], splits["seen"]["pli"]) == (2, 50.0)
    assert splits["unseen"]["count"] == 3
    assert splits["unseen"]["pli"] == pytest.approx(100 / 3)
    assert splits["unseen"]["mrr"] == 50.0
    assert told["corpus"]["skipped_places"] == [
        {"place": "stored.tsv, line 7", "reason": "the row has 1 columns; the header has 7"}
    ]
    assert told["about"]["training"] == [{"name": "train.csv", "mentions": 3, "skipped": 1}]
    assert [entry["rows"] for entry in told["about"]["knowledge_base"]] == [2, 4]
    assert told["about"]["encoder"] is None


def test_stored_outputs_as_published_beside_the_default(stored: list[str | Path]) -> None:
    told = evaluated(*stored, "--pipeline", "I", "--beside", "published", code=3)
    default, published = told["runs"]
    assert (default["splits"]["all"]["pli"], published["splits"]["all"]["pli"]) == (40.0, 20.0)
    assert published["splits"]["all"]["accuracy_3"] == 60.0
    assert published["splits"]["all"]["mrr"] == 20.0
    (compared,) = told["comparisons"]
    assert (compared["only_first"], compared["only_second"], compared["difference"]) == (1, 0, -20.0)
    assert told["published_missed"] is None
    only = evaluated(*stored, "--pipeline", "I", "--matching", "published", code=3)
    assert only["splits"] == published["splits"]


def test_stored_outputs_with_the_nearest_description(stored: list[str | Path]) -> None:
    told = evaluated(*stored, "--pipeline", "II", "--matching", "published", "--beside", "I", "--threads", "1", code=3)
    second, first = (entry["splits"]["all"] for entry in told["runs"])
    assert first["pli"] == second["pli"] == 20.0
    assert first["plii"] is None
    # The fourth gets the nearest of the two diagnoses, however far it is; the fifth has no text.
    assert second["no_answer"] == 1
    assert second["plii"] in (20.0, 40.0)
    assert told["about"]["encoder"] == "mini"


def test_stored_outputs_for_a_reader(stored: list[str | Path]) -> None:
    result = run("evaluate", *stored, "--pipeline", "I")
    assert result.exit_code == 3
    lines = result.stdout.splitlines()
    assert lines[0] == "PLI 40.00 %: stored outputs; the knowledge base holds the right code of 100.00 %"
    place = next(place for place, line in enumerate(lines) if line.startswith("stored outputs"))
    # Text accuracy in normal form, PLI, no PLII, and CodiEsp's MAP and F1 of each kind.
    assert lines[place].split()[2:5] == ["60.00", "40.00", "-"]
    assert lines[place + 1].split()[:2] == ["all,", "5"]
    assert "No interval for these mentions: all (3)" in result.stdout
    assert "line 7" in result.stderr
    assert SECRET not in result.output


def test_no_clinical_text_leaves_but_where_it_is_asked_for(stored: list[str | Path], tmp_path: Path) -> None:
    table, page = tmp_path / "rows.tsv", tmp_path / "page.html"
    result = run("evaluate", *stored, "--pipeline", "I", "--json", "--tsv", table, "--html", page)
    assert result.exit_code == 3
    lines = [line.split("\t") for line in table.read_text(encoding="utf-8").splitlines()]
    column = lines[0].index("class")
    assert [line[column] for line in lines[1:]] == ["right", "right", "near: parent", "none", "none"]
    assert {len(line) for line in lines} == {len(lines[0])}
    for content in (result.output, table.read_text(encoding="utf-8"), page.read_text(encoding="utf-8")):
        assert SECRET not in content
        assert "inducida" not in content
    run("evaluate", *stored, "--pipeline", "I", "--tsv", table, "--overwrite", "--with-text")
    assert table.read_text(encoding="utf-8").count(SECRET) == 2


def test_tables_of_another_kind_leave_rows_out(stored: list[str | Path]) -> None:
    told = evaluated(*stored[:3], "--pipeline", "I", code=3)
    assert told["corpus"]["mentions"] == 3
    assert told["corpus"]["skipped"] == 3
    assert told["splits"]["all"]["pli"] == pytest.approx(100 / 3)


def test_what_a_lexicon_adds_to_stored_outputs(stored: list[str | Path], tmp_path: Path) -> None:
    # It knows 3, which was wrong, and 5, for which nothing was generated; its third line names no code of the tables.
    write(tmp_path, {
        "lexicon.tsv": f"text\tcode\tkind\nTAC\tBW201ZZ\tprocedure\n{SECRET} con HTA\tI10\tdiagnosis\nasma\tJ45\t\n"
    })  # fmt: skip
    lexicon = ["--pipeline", "I", "--lexicon", tmp_path / "lexicon.tsv"]
    told = evaluated(*stored, *lexicon, "--beside", "no-lexicon", "--beside", "published", code=3)
    with_it, without, published = told["runs"]
    assert [run["splits"]["all"]["pli"] for run in told["runs"]] == [80.0, 40.0, 20.0]
    assert told["best"] == with_it["name"] == "stored outputs, with the lexicon"
    assert with_it["breakdown"]["methods"]["lexicon"]["count"] == 2
    assert with_it["settings"]["lexicon"]
    assert without["settings"]["lexicon"] is published["settings"]["lexicon"] is None  # the paper has none
    # The text accuracy is the model's, with a lexicon and without one.
    assert {run["splits"]["all"]["normal_text_accuracy"] for run in told["runs"]} == {60.0}
    result = run("evaluate", *stored, *lexicon)
    assert "lexicon, line 4" in result.stderr and SECRET not in result.output


def test_each_run_is_called_by_its_search_and_by_what_is_special_of_it(tmp_path: Path) -> None:
    write(tmp_path, {"lexicon.tsv": LEXICON})
    ways = [f"--beside={way}" for way in ("no-lexicon", "I", "published", "rerank")]
    told = evaluated(rows(tmp_path), "--lexicon", tmp_path / "lexicon.tsv", *ways, code=3)
    # Constrained outputs are descriptions: what needs free ones is a run of the search that linking takes then.
    assert {run["name"]: (run["settings"]["decoding"], run["settings"]["matching"]) for run in told["runs"]} == {
        "constrained, with the lexicon": ("constrained", "tiered"),
        "constrained, without the lexicon": ("constrained", "tiered"),
        "constrained, with the lexicon, pipeline I": ("constrained", "tiered"),
        "probable, matched as in the paper": ("probable", "published"),
        "probable, with the lexicon, re-ranked": ("probable", "tiered"),
    }
    assert [run["settings"]["lexicon"] is None for run in told["runs"]] == [False, True, False, True, False]


def test_an_evaluation_in_spanish(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, {"lexicon.tsv": LEXICON})
    asked = (rows(tmp_path), "--lexicon", tmp_path / "lexicon.tsv", "--resamples", "100")
    result = run("evaluate", *asked, "--html", tmp_path / "informe.html", "--with-text", "--language", "es")
    assert result.exit_code == 3, result.output
    assert "PLII 50,00 %: constrained, con el léxico; la base de conocimiento tiene" in result.stdout
    assert "omitido: corpus.jsonl, línea 5: el campo" in result.stderr and "contiene texto clínico" in result.stderr
    page = (tmp_path / "informe.html").read_text(encoding="utf-8")
    assert '<html lang="es">' in page and "Cómo leerlo" in page and "How to read" not in page
    # What is for programs stays; the environment may say the language too.
    english = evaluated(*asked, code=3)
    monkeypatch.setenv("CIELO_LANGUAGE", "es")
    spanish = evaluated(*asked, code=3)
    for told in (english, spanish):
        told["about"].pop("made"), told["about"].pop("options")
        told["about"]["machine"].pop("load"), told["runs"][0].pop("seconds")
    assert spanish == english
    assert "la base de conocimiento tiene" in run("evaluate", *asked).stdout


def test_the_command_that_replays_the_published_predictions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run what the page on the engine says, on files of the same names and columns with rows of our own."""
    readme = (Path(__file__).parents[3] / "engine" / "README.md").read_text(encoding="utf-8")
    _, *arguments = re.search(r"^cielo evaluate --predictions .*$", readme, re.MULTILINE)[0].split()
    columns = "file_id sentence words label label_type id codigo descripcion block_label".split()
    rows = [dict(zip(STORED[0], row, strict=True)) for row in STORED[1:6]]
    predictions = [[*columns, "prompt", "pred", "semscore", "bertscore"]]
    predictions += [[row.get(name, "") for name in predictions[0]] for row in rows]
    seen = [columns, *([row.get(name, "") for name in columns] for row in rows[:1])]
    files = {
        "corpus/codiesp/train_sentences_words_icd10.tsv": seen,
        "corpus/codiesp/dev_sentences_words_icd10.tsv": seen,
    }
    files["hf_eval/ezotova_medical-mt5-clinical-el-spanish_test_predictions.tsv"] = predictions
    write(tmp_path, {name: "".join("\t".join(line) + "\n" for line in lines) for name, lines in files.items()})
    write(tmp_path, {
        "icd_10_es/ICD10_diagnosticos_2020.tsv": TABLES["diagnoses.tsv"],
        "icd_10_es/ICD10_procedimientos_2020.tsv": TABLES["procedures.tsv"],
    })  # fmt: skip
    monkeypatch.chdir(tmp_path)
    result = run(*arguments, "--json")
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    assert (told["corpus"]["split"], told["best"]) == ("test", "stored outputs")
    assert [run["splits"]["all"]["pli"] for run in told["runs"]] == [40.0, 20.0]
    assert [run["splits"]["seen"]["count"] for run in told["runs"]] == [1, 1]
    assert (tmp_path / "predictions.html").is_file()


def test_the_head_says_when_where_and_with_which_options(stored: list[str | Path], tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    about = evaluated(*stored, "--pipeline", "I", "--html", page, "--overwrite", code=3)["about"]
    assert about["options"] == [
        "--predictions stored.tsv", "--kb diagnosis=diagnoses.tsv", "--kb procedure=procedures.tsv", "--resamples 100",
        "--json", "--html page.html", "--pipeline I", "--overwrite",
    ]  # fmt: skip
    assert about["machine"]["cores"] >= 1 and "cielo" in about["machine"]["libraries"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", about["made"])
    head = page.read_text(encoding="utf-8").partition("</header>")[0]
    for words in (about["made"][:10], "options: --predictions stored.tsv", f"{about['machine']['cores']} cores"):
        assert words in head
    assert str(tmp_path) not in page.read_text(encoding="utf-8")


def test_mistakes_stand_on_the_page_with_their_texts_only_where_asked_for(
    stored: list[str | Path], tmp_path: Path
) -> None:
    page = tmp_path / "page.html"
    told = evaluated(*stored, "--pipeline", "I", "--html", page, "--with-text", code=3)
    shown = page.read_text(encoding="utf-8")
    assert "This page holds clinical text" in shown and "Clinical text: 3 mistakes" in shown
    assert f"{SECRET} con HTA" in shown and "none of the texts" not in shown
    assert [(one["name"], one["mention"], one["codes"], one["code"]) for one in told["examples"]] == [
        ("near: parent", "TAC", ["bw201zz"], "BW20"), ("none", "HTA", ["i10"], None),
        ("none", f"{SECRET} con HTA", ["i10"], None),
    ]  # fmt: skip
    result = run("evaluate", *stored, "--pipeline", "I", "--html", page, "--with-text", "--overwrite")
    assert "page.html holds clinical text" in result.stderr and SECRET not in result.output
    assert evaluated(*stored, "--pipeline", "I", code=3)["examples"] == []


CASES = {
    "train": [("neumonía", D, "j18.9")], "dev": [("fiebre", D, "r50.9")],
    "test": [("neumonía", D, "j18.9"), ("TC abdominal", P, "bw20"), ("apendicitis aguda", D, "k35.80")],
}  # fmt: skip


def splits_of_codiesp(folder: Path) -> Path:
    for split, mentions in CASES.items():
        lines = (["a1", label, code, text, "{} {}".format(*offsets(text))] for text, label, code in mentions)
        write(folder / split, {f"{split}X.tsv": "".join("\t".join(line) + "\n" for line in lines)})
        write(folder / split, {"text_files/a1.txt": TEXT})
    return folder


def test_the_card_s_figures_stand_beside_those_measured(tmp_path: Path) -> None:
    corpus = splits_of_codiesp(tmp_path / "codiesp")
    told = evaluated(corpus, "--as-published", "--threads", "1", "--html", tmp_path / "page.html")
    assert (told["corpus"]["split"], told["corpus"]["mentions"]) == ("test", 3)
    assert [source["name"] for source in told["about"]["training"]] == ["devX.tsv", "trainX.tsv"]
    settings = told["runs"][0]["settings"]
    assert (settings["decoding"], settings["matching"], settings["pipeline"]) == ("published", "published", "II")
    splits, card = told["splits"], told["card"]
    assert (splits["seen"]["count"], splits["unseen"]["count"]) == (1, 2)
    assert [(one["measure"], one["split"], one["card"], one["spread"], one["measured"]) for one in card["scores"]] == [
        ("PLI", "all", 70.46, 0.32, splits["all"]["pli"]), ("PLII", "all", 77.04, 0.35, splits["all"]["plii"]),
        ("PLI", "unseen", 42.46, 1.46, splits["unseen"]["pli"]),
        ("PLII", "unseen", 53.49, 1.34, splits["unseen"]["plii"]),
    ]  # fmt: skip
    assert card["seconds"] > 0 and card["hardware"]
    differences = " ".join(card["differences"])
    for words in ("the bundle is mini", "the edition is cielo mini 1", "3 mentions, of the split test", "compute type"):
        assert words in differences
    assert "decoding" not in differences and "matching" not in differences and "training" not in differences
    assert "77.04<small>± 0.35</small>" in (tmp_path / "page.html").read_text(encoding="utf-8")


def test_what_was_asked_for_otherwise_is_said_to_differ(tmp_path: Path) -> None:
    corpus = splits_of_codiesp(tmp_path / "codiesp") / "test" / "testX.tsv"
    result = run(
        "evaluate", corpus, "--as-published", "--decoding", "greedy", "--matching", "tiered", "--pipeline", "I",
        "--train", tmp_path / "codiesp" / "dev" / "devX.tsv", "--threads", "1",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    for name, value, card in (
        ("decoding", "greedy", "published"), ("matching", "tiered", "published"), ("pipeline", "I", "II"),
    ):  # fmt: skip
        assert f"differs: {name} is {value}; the card's is {card}" in result.stdout
    line = next(line for line in result.stdout.splitlines() if line.startswith("PLII, unseen"))
    assert line.split()[2:] == ["53.49", "±", "1.34", "-", "–"]  # of pipeline I there is none


@pytest.fixture(scope="module")
def development(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("development") / "some.tsv"
    file.write_text("".join(DEVELOPMENT.read_text(encoding="utf-8").splitlines(keepends=True)[:16]), encoding="utf-8")
    return file


def test_searches_side_by_side(development: Path, tmp_path: Path) -> None:
    table = tmp_path / "rows.tsv"
    told = evaluated(
        development, "--decoding", "published, probable,greedy,probable", "--beside", "I", "--tsv", table,
        "--threads", "1", "--top-k", "3",
    )  # fmt: skip
    names = ["published", "probable", "greedy", "published, pipeline I"]
    assert [entry["name"] for entry in told["runs"]] == names
    assert [entry["settings"]["decoding"] for entry in told["runs"]] == ["published", "probable", "greedy", "published"]
    assert [entry["run"] for entry in told["comparisons"]] == names[1:]
    assert {entry["count"] for entry in told["comparisons"]} == {15}
    missed = told["published_missed"]
    assert missed["prompts"] == 15
    assert missed["share"] == pytest.approx(100 * missed["missed"] / 15)
    # The table is of the first run: it says the same as the scores.
    lines = [line.split("\t") for line in table.read_text(encoding="utf-8").splitlines()]
    right = sum(line[lines[0].index("class")] == "right" for line in lines[1:])
    assert (len(lines) - 1, right) == (15, told["splits"]["all"]["right"])
    assert told["splits"]["all"]["plii"] == pytest.approx(100 * right / 15)
    assert all(entry["seconds"] > 0 for entry in told["runs"])


def test_searches_for_a_reader(development: Path) -> None:
    result = run("evaluate", development, "--decoding", "published,greedy", "--train", development, "--threads", "1")
    assert result.exit_code == 0, result.output
    assert "greedy against published" in result.stdout
    assert "the published decoding missed" in result.stdout
    assert "seen in training" in result.stdout and "unseen in training" not in result.stdout


def test_the_lexicon_and_without_it(development: Path, tmp_path: Path) -> None:
    text, _, kind, code, _ = development.read_text(encoding="utf-8").splitlines()[1].split("\t")
    write(tmp_path, {"lexicon.tsv": f"text\tcode\tkind\n{text}\t{code}\t{kind}\n"})
    told = evaluated(development, "--lexicon", tmp_path / "lexicon.tsv", "--beside", "no-lexicon", "--threads", "1")
    with_it, without = told["runs"]
    assert with_it["breakdown"]["methods"]["lexicon"]["count"] == 1
    assert "lexicon" not in without["breakdown"]["methods"]
    assert with_it["settings"]["lexicon"] and without["settings"]["lexicon"] is None


OTHER_EDITION = (
    "text,kind,code\nfiebre,diagnosis,R50.9\ntos,diagnosis,R05X\ncosa,diagnosis,Q99.9ZZZ\ncosa,procedure,0ZZZZZZ\n"
)
SAID = "the right code of 2 of 4 mentions (50.0 %; 2 of 4 codes) is not in the knowledge base: diagnosis 1 of 3"


def test_another_edition_is_said_and_what_follows(tmp_path: Path) -> None:
    write(tmp_path, {"other.csv": OTHER_EDITION})
    told = evaluated(tmp_path / "other.csv")
    assert told["gold"]["all"] == {"mentions": 4, "unknown": 2, "codes": 4, "unknown_codes": 2}
    assert told["gold"]["kinds"]["procedure"]["unknown"] == 1
    assert (told["gold"]["ceiling"], told["splits"]["all"]["known"]) == (50.0, 2)
    assert told["splits"]["all"]["pli_known"] == 2 * told["splits"]["all"]["pli"]
    page = tmp_path / "page.html"
    result = run("evaluate", tmp_path / "other.csv", "--html", page)
    assert SAID in result.stdout and "PLI, known" in result.stdout
    assert "No run can have more than 50.00 %" in page.read_text(encoding="utf-8")


def test_a_subset_lowers_the_ceiling(tmp_path: Path) -> None:
    write(tmp_path, {"other.csv": OTHER_EDITION, "codes.txt": "R05\n"})
    told = evaluated(tmp_path / "other.csv", "--codes", tmp_path / "codes.txt")
    assert (told["gold"]["ceiling"], told["splits"]["all"]["known"]) == (25.0, 1)


def test_stored_outputs_of_another_edition(stored: list[str | Path]) -> None:
    told = evaluated(*stored, "--pipeline", "I", code=3)
    assert (told["gold"]["all"]["unknown"], told["gold"]["ceiling"]) == (0, 100.0)
    result = run("evaluate", *stored, "--pipeline", "I")
    assert "known" not in result.output


NOWHERE = "/does/not/exist"
HEADER = "words\tsentence\tlabel\tlabel_type\tpred\n"
WRONG: list[tuple[list[str], int]] = [
    ([], 2),
    (["{c}", "--predictions", "{s}"], 2),
    (["--predictions", "{s}"], 2),
    (["{c}", "--kb", "diagnosis={d}"], 2),
    (["--predictions", "{s}", "--kb", "{d}"], 2),
    (["--predictions", "{s}", "--kb", "={d}"], 2),
    (["--predictions", "{s}", "--kb", "diagnosis={d}", "--decoding", "greedy"], 2),
    (["--predictions", "{s}", "--kb", "diagnosis={d}", "--pipeline", "I", "--chapter", "IX"], 2),
    (["--predictions", "{s}", "--kb", "diagnosis={d}", "--pipeline", "I", "--leaf"], 2),
    (["--predictions", "{s}", "--kb", "diagnosis={d}", "--pipeline", "I", "--codes", NOWHERE], 2),
    (["--predictions", "{s}", "--kb", "diagnosis={d}", "--pipeline", "I", "--min-confidence", "0"], 2),
    (["--predictions", "{s}", "--kb", "diagnosis={d}", "--rerank"], 2),
    (["--predictions", "{s}", "--kb", "diagnosis={d}", "--pipeline", "I", "--lexicon", "{s}"], 1),
    (["--predictions", "{s}", "--kb", "diagnosis={d}", "--as-published"], 2),
    (["--predictions", "{s}", "--kb", "diagnosis={d}", "--beside", "no-lexicon"], 2),
    (["--predictions", "{s}", "--kb", "diagnosis={d}", "--pipeline", "III"], 2),
    (["--predictions", "{s}", "--kb", f"diagnosis={NOWHERE}", "--pipeline", "I"], 1),
    (["--predictions", "{s}", "--kb", f"diagnosis={NOWHERE}.tsv", "--pipeline", "I"], 1),
    (["--predictions", "{s}", "--kb", "diagnosis={e}", "--pipeline", "I"], 1),
    (["--predictions", "{s}", "--kb", "another={d}", "--pipeline", "I"], 1),
    (["--predictions", "{s}", "--kb", "diagnosis={d}", "--pipeline", "II", "--bundle", NOWHERE], 1),
    (["--predictions", NOWHERE, "--kb", "diagnosis={d}", "--pipeline", "I"], 1),
    (["--predictions", "{c}", "--kb", "diagnosis={d}", "--pipeline", "I"], 1),
    ([NOWHERE], 1),
    (["{e}"], 1),
    (["{e}", "--format", "rows"], 1),
    (["{folder}"], 1),
    (["{folder}", "--format", "rows"], 1),
    (["{folder}", "--format", "codiesp", "--split", "test"], 1),
    (["{c}", "--format", "sentences"], 1),
    (["{c}", "--format", "e3c"], 1),
    (["{c}", "--format", "nonsense"], 2),
    (["{c}", "--cui-map", NOWHERE], 1),
    (["{c}", "--cui-map", "{c}"], 1),
    (["{c}", "--train", NOWHERE], 1),
    (["{c}", "--train", "{e}"], 1),
    (["{c}", "--decoding", "fast"], 2),
    (["{c}", "--decoding", ","], 2),
    (["{c}", "--beside", "nothing"], 2),
    (["{c}", "--resamples", "1"], 2),
    (["{c}", "--bundle", NOWHERE], 1),
    (["{c}", "--lexicon", NOWHERE], 1),
    (["{c}", "--lexicon", "{e}"], 1),
    (["{c}", "--codes", "{e}"], 1),
    (["{c}", "--rerank", "--matching", "published"], 2),
    (["{c}", "--tsv", "{e}/rows.tsv"], 1),
    (["{c}", "--tsv", "{folder}"], 2),
    (["{c}", "--html", "{e}/page.html"], 1),
    (["{k}"], 1),
    (["{b}"], 1),
]


@pytest.mark.parametrize(("arguments", "code"), WRONG)
def test_wrong_use_ends_with_a_line_and_a_code(tmp_path: Path, arguments: list[str], code: int) -> None:
    write(tmp_path, {
        "d.tsv": TABLES["diagnoses.tsv"], "e.tsv": "", "folder/readme.txt": SECRET,
        "c.csv": f"text,kind,code\n{SECRET},diagnosis,R52\n", "k.csv": f"text,kind,code\nfiebre,{SECRET},R50\n",
        "s.tsv": HEADER + f"{SECRET}\t{SECRET}\tR52\t{D}\t{SECRET}\n",
        "b.tsv": HEADER + f"{SECRET}\t{SECRET}\tR52\t{SECRET}\t{SECRET}\n",
    })  # fmt: skip
    before = sorted(tmp_path.rglob("*"))
    names = {path.stem: str(path) for path in tmp_path.iterdir()}
    result = run("evaluate", *(argument.format(**names) for argument in arguments))
    assert result.exit_code == code, result.output
    assert isinstance(result.exception, SystemExit)
    assert result.stderr.strip() and "Traceback" not in result.output
    assert SECRET not in result.output
    assert sorted(tmp_path.rglob("*")) == before


def test_an_old_table_of_rows_stays_where_the_new_one_cannot_be_made(
    development: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> list[tuple[str, ...]]:
        raise KeyboardInterrupt

    monkeypatch.setattr("cielo.workbench.evaluation.analysis.rows", fail)
    (tmp_path / "rows.tsv").write_text("old")
    result = run("evaluate", development, "--decoding", "greedy", "--tsv", tmp_path / "rows.tsv", "--overwrite")
    assert result.exit_code == 130
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [("rows.tsv", "old")]


def test_what_is_passed_over_in_the_other_files_is_told_too(tmp_path: Path) -> None:
    corpus = mantra(tmp_path)
    lines = (corpus / "a1.ann").read_text(encoding="utf-8").splitlines(keepends=True)[:-1]  # whole now
    unmapped = "T8\tC0000098 0 5\tVarón\n"
    write(tmp_path, {
        "corpus/a1.ann": "".join(lines) + unmapped, "map.csv": CODE_MAP + f"{SECRET},R52,diagnosis\n",
        "train.csv": f"text,code\nfiebre,R50\n{SECRET},\n", "lexicon.tsv": LEXICON,
    })  # fmt: skip
    result = run(
        "evaluate", corpus, "--cui-map", tmp_path / "map.csv", "--train", tmp_path / "train.csv",
        "--lexicon", tmp_path / "lexicon.tsv",
    )  # fmt: skip
    assert result.exit_code == 3, result.output
    for place in ("map.csv, line 6", "train.csv, line 3", "1 mentions whose concept no table maps"):
        assert place in result.stderr, place
    assert SECRET not in result.output


def test_many_places_are_counted_and_the_first_are_shown(tmp_path: Path) -> None:
    write(tmp_path, {"many.csv": "text,code\nfiebre,R50\n" + "fiebre,\n" * 30})
    result = run("evaluate", tmp_path / "many.csv", "--decoding", "greedy")
    assert result.exit_code == 3
    assert result.stderr.count("skipped: many.csv, line") == 10
    assert "skipped: 20 more" in result.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="names of files that are not UTF-8")
def test_names_that_are_not_utf8(tmp_path: Path) -> None:
    folder = os.fsencode(tmp_path)
    corpus = Path(os.fsdecode(folder + b"/caf\xe9.csv"))
    corpus.write_text("text,code\nfiebre,R50\nfiebre,\n")
    environment = {**os.environ, "PYTHONIOENCODING": "utf-8:strict"}
    command_line = [sys.executable, "-m", "cielo.cli", "evaluate", str(corpus), "--decoding", "greedy", "--json"]
    done = subprocess.run(command_line, capture_output=True, env=environment, check=False, timeout=120)
    assert done.returncode == 3, done.stderr
    told = json.loads(done.stdout.decode("utf-8"))
    assert told["about"]["corpus"] == "caf\ufffd.csv"
    assert told["corpus"]["skipped_places"][0]["place"].startswith("caf")


@pytest.fixture(scope="module")
def annotated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write enough development mentions for a calibration, and a line that is no row."""
    file = tmp_path_factory.mktemp("annotated") / "some.tsv"
    lines = DEVELOPMENT.read_text(encoding="utf-8").splitlines(keepends=True)[:121]
    file.write_text("".join([*lines, "cut\n"]), encoding="utf-8")
    return file


def test_a_bundle_is_calibrated_in_a_copy_and_then_in_place(annotated: Path, tmp_path: Path) -> None:
    output, other = tmp_path / "año" / "bundle", tmp_path / "other.tsv"
    unknown = "tos\t\tdiagnosis\tQ99.9ZZZ\t\n"  # of another edition
    other.write_text(annotated.read_text(encoding="utf-8").replace("cut\n", f"{unknown}cut\n"), encoding="utf-8")
    before = Bundle.open(default_bundle()).sha256
    result = run("calibrate", default_bundle(), annotated, "--output", output, "--decoding", "probable")
    assert result.exit_code == 3, result.output
    assert "some.tsv, line 122" in result.stderr and "knowledge base" not in result.stderr
    assert "probable: confidence of" in result.stdout and "calibration error" in result.stdout
    made = Bundle.open(output)
    assert f"{made.name}@{made.sha256[:12]}" in result.stdout
    assert Bundle.open(default_bundle()).sha256 == before
    assert sorted(path.name for path in output.parent.iterdir()) == ["bundle"]
    assert run("verify", output).exit_code == 0
    assert json.loads(run("link", "TC abdominal", "--bundle", output, "--json").stdout)["confidence"] > 0.5
    told = evaluated(
        annotated, "--bundle", output, "--decoding", "probable", "--beside", "published", "--min-confidence", "0.5",
        code=3,
    )  # fmt: skip
    assert told["calibration"]["probable"]["mentions"] == made.calibrations()["probable"].model.mentions
    assert told["runs"][0]["splits"]["all"]["coverage"] < told["runs"][1]["splits"]["all"]["coverage"]

    result = run("calibrate", output, other, "--output", output, "--overwrite", "--decoding", "published")
    assert result.exit_code == 3, result.output
    assert "the right code of 1 of 121 mentions (0.8 %;" in result.stderr
    again = Bundle.open(output).calibrations()
    assert again["probable"] == made.calibrations()["probable"]
    assert again["published"].reliability.data != again["probable"].reliability.data
    assert sorted(path.name for path in output.parent.iterdir()) == ["bundle"]


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["{bundle}", "{few}", "--output", "{out}"], 1),
        (["{bundle}", "{foreign}", "--output", "{out}"], 1),
        (["{bundle}", NOWHERE, "--output", "{out}"], 1),
        ([NOWHERE, "{few}", "--output", "{out}"], 1),
        (["{bundle}", "{few}"], 2),
        (["{bundle}", "{few}", "--output", "{out}", "--decoding", "greedily"], 2),
        (["{bundle}", "{few}", "--output", "{out}", "--cui-map", NOWHERE], 1),
        (["{bundle}", "{few}", "--output", "{out}", "--compute-type", "int3"], 1),
    ],
)
def test_a_calibration_that_cannot_be_made_leaves_nothing(tmp_path: Path, arguments: list[str], code: int) -> None:
    write(tmp_path, {
        "few.csv": f"text,kind,code\n{SECRET},diagnosis,R52\n", "foreign.csv": f"text,kind,code\nfiebre,{SECRET},R52\n",
    })  # fmt: skip
    names = {path.stem: str(path) for path in tmp_path.iterdir()}
    names |= {"bundle": str(default_bundle()), "out": str(tmp_path / "out")}
    before = sorted(tmp_path.rglob("*"))
    result = run("calibrate", *(argument.format(**names) for argument in arguments))
    assert result.exit_code == code, result.output
    assert isinstance(result.exception, SystemExit)
    assert result.stderr.strip() and SECRET not in result.output
    assert sorted(tmp_path.rglob("*")) == before


def test_an_output_that_stands_is_refused_before_the_work(
    annotated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(**_: object) -> None:
        raise AssertionError("the linker was opened")

    monkeypatch.setattr(command, "open_linker", refuse)
    result = run("calibrate", default_bundle(), annotated, "--output", tmp_path)
    assert result.exit_code == 1
    assert "exists" in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_links_of_a_bundle_that_was_never_calibrated_have_no_confidence(tmp_path: Path) -> None:
    folder = tmp_path / "bundle"
    shutil.copytree(default_bundle(), folder)
    (folder / CALIBRATION).unlink(missing_ok=True)
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    manifest["files"].pop(CALIBRATION, None)
    (folder / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    write(tmp_path, {"one.csv": "text,kind,code\nTC abdominal,procedure,BW20\n"})
    told = evaluated(tmp_path / "one.csv", "--bundle", folder, "--tsv", tmp_path / "rows.tsv")
    assert told["calibration"] == {}
    header, row = (
        (tmp_path / "rows.tsv").read_text(encoding="utf-8").splitlines()[line].split("\t") for line in (0, 1)
    )
    assert row[header.index("confidence")] == ""
    assert 0 < float(row[header.index("probability")]) <= 1


def test_formulas_of_the_table_are_guarded_where_it_is_asked_for(tmp_path: Path) -> None:
    write(tmp_path, {"rows.csv": "text,kind,code\n=1+1,diagnosis,R50.9\n"})
    for name, option in (("plain", []), ("guarded", ["--guard-formulas"])):
        table = tmp_path / f"{name}.tsv"
        assert run("evaluate", tmp_path / "rows.csv", "--tsv", table, "--with-text", *option).exit_code == 0
        cells = [cell for line in table.read_text(encoding="utf-8").splitlines() for cell in line.split("\t")]
        assert ("=1+1" in cells, "'=1+1" in cells) == (name == "plain", name == "guarded")
