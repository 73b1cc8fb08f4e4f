"""``cielo lexicon build`` and ``cielo lexicon check``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cielo.cli import main
from cielo.link.lexicon import read_lexicon
from click.testing import CliRunner, Result

SECRET = "Zutanito"
NOWHERE = "/does/not/exist"


@pytest.fixture(autouse=True)
def _own_state(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CIELO_STATE", str(tmp_path_factory.mktemp("state")))
    monkeypatch.delenv("CIELO_BUNDLE", raising=False)


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def rows(file: Path, *lines: str) -> Path:
    file.write_text("text,kind,code\n" + "".join(f"{line}\n" for line in lines), encoding="utf-8")
    return file


def entries(file: Path) -> list[tuple[str, str, str | None, int | None, float | None]]:
    return [(entry.text, entry.code, entry.kind, entry.count, entry.purity) for entry in read_lexicon(file).entries]


@pytest.fixture
def corpora(tmp_path: Path) -> list[Path]:
    """Write two corpora: `HTA` three times, `fiebre` with codes that disagree, `tos` once."""
    return [
        rows(
            tmp_path / "a.csv", "HTA,diagnosis,I10", "hta,diagnosis,i10", "fiebre,diagnosis,R50.9", "tos,diagnosis,R05"
        ),
        rows(tmp_path / "b.csv", "HTA,diagnosis,I10", "HTA,procedure,BW20", "fiebre,diagnosis,R51"),
    ]


def test_a_lexicon_is_built_of_several_corpora(corpora: list[Path], tmp_path: Path) -> None:
    output = tmp_path / "lexicon.tsv"
    result = run("lexicon", "build", *corpora, "--output", output)
    assert result.exit_code == 0, result.output
    assert entries(output) == [("HTA", "I10", "diagnosis", 3, 1.0)]
    # `tos` and the procedure were seen once; the codes of `fiebre` are an even split.
    assert "1 texts from 7 annotations" in result.stdout
    assert "2 too rare, 1 with codes that disagree, 0 unusable" in result.stdout
    assert "1 entries, 0 problems" in result.stdout


def test_the_thresholds_and_any_kind(corpora: list[Path], tmp_path: Path) -> None:
    output = tmp_path / "lexicon.csv"
    assert run("lexicon", "build", *corpora, "--output", output, "--minimum-count", "1").exit_code == 0
    assert {entry[:3] for entry in entries(output)} == {
        ("HTA", "I10", "diagnosis"), ("HTA", "BW20", "procedure"), ("tos", "R05", "diagnosis"),
    }  # fmt: skip
    before = output.read_bytes()
    again = ["--output", output, "--overwrite", "--any-kind"]
    result = run("lexicon", "build", *corpora, *again)
    assert result.exit_code == 1  # three of four are less than nine tenths: no text is left
    assert "there is no text for it" in result.stderr
    assert output.read_bytes() == before
    result = run("lexicon", "build", *corpora, *again, "--minimum-purity", "0.75")
    assert result.exit_code == 0
    assert entries(output) == [("HTA", "I10", None, 3, 0.75)]


def test_what_was_built_answers(corpora: list[Path], tmp_path: Path) -> None:
    output = tmp_path / "lexicon.tsv"
    run("lexicon", "build", *corpora, "--output", output)
    told = json.loads(run("link", "hta", "--kind", "diagnosis", "--lexicon", output, "--json").stdout)
    assert (told["code"], told["method"]) == ("I10", "lexicon")


def test_lines_of_a_corpus_that_were_passed_over_are_told(corpora: list[Path], tmp_path: Path) -> None:
    broken = rows(tmp_path / "c.csv", "HTA,diagnosis,I10", f"{SECRET},diagnosis,")
    result = run("lexicon", "build", *corpora, broken, "--output", tmp_path / "lexicon.tsv")
    assert result.exit_code == 3
    assert "c.csv, line 3" in result.stderr
    assert SECRET not in result.output
    assert entries(tmp_path / "lexicon.tsv") == [("HTA", "I10", "diagnosis", 4, 1.0)]


def test_codes_that_the_knowledge_base_lacks_are_told_when_it_is_built(tmp_path: Path) -> None:
    corpus = rows(tmp_path / "a.csv", *[f"{SECRET},diagnosis,X99ZZ"] * 2, *["HTA,diagnosis,I10"] * 2)
    result = run("lexicon", "build", corpus, "--output", tmp_path / "lexicon.tsv")
    assert result.exit_code == 0
    assert "1 entries, 1 problems" in result.stdout
    assert "line 3: the knowledge base does not know the code" in result.stderr
    assert "2 of 4 mentions (50.0 %; 1 of 2 codes) is not in the knowledge base: diagnosis 2 of 4" in result.stderr
    assert SECRET not in result.output


def test_a_lexicon_of_an_annotated_corpus_with_cuis(tmp_path: Path) -> None:
    folder = tmp_path / "corpus"
    folder.mkdir()
    (folder / "d.txt").write_text("HTA. Con HTA.", encoding="utf-8")
    (folder / "d.ann").write_text("T1\tC0000001 0 3\tHTA\nT2\tC0000001 9 12\tHTA\n", encoding="utf-8")
    (tmp_path / "map.csv").write_text("cui,code,kind\nC0000001,I10,diagnosis\n", encoding="utf-8")
    output = tmp_path / "lexicon.tsv"
    result = run("lexicon", "build", folder, "--format", "brat", "--cui-map", tmp_path / "map.csv", "--output", output)
    assert result.exit_code == 0, result.output
    assert entries(output) == [("HTA", "I10", "diagnosis", 2, 1.0)]


def test_check_names_the_lines_and_nothing_of_what_they_say(tmp_path: Path) -> None:
    lexicon = tmp_path / "lexicon.tsv"
    lexicon.write_text(
        "text\tcode\tkind\n"
        "HTA\tI10\tdiagnosis\n"
        f"{SECRET}\tX99ZZ\tdiagnosis\n"  # a code that is not there
        f"{SECRET} dos\tI10\tprocedure\n"  # another kind's
        f"{SECRET} tres\t\tdiagnosis\n"  # no code
        "hta\tI15\tdiagnosis\n"  # disagrees with the first
        "# a comment\n"
        "TC abdominal\tbw20\t\n",
        encoding="utf-8",
    )
    result = run("lexicon", "check", lexicon)
    assert result.exit_code == 3
    assert "2 entries, 4 problems, sha256 " in result.stdout
    assert [line.split(":")[0].strip() for line in result.stderr.splitlines()] == [
        "lexicon, line 3", "lexicon, line 4", "lexicon, line 5", "lexicon, line 6",
    ]  # fmt: skip
    assert SECRET not in result.output


def test_check_is_content_with_a_sound_one_and_shows_ten_problems_at_most(tmp_path: Path) -> None:
    lexicon = tmp_path / "lexicon.csv"
    lexicon.write_text("text,code\nHTA,I10\n", encoding="utf-8")
    result = run("lexicon", "check", lexicon)
    assert (result.exit_code, result.stderr) == (0, "")
    lexicon.write_text("text,code\nHTA,I10\n" + "".join(f"t{number},X99ZZ\n" for number in range(13)), encoding="utf-8")
    result = run("lexicon", "check", lexicon)
    assert result.exit_code == 3
    assert result.stderr.count("line ") == 10
    assert "3 more" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["build"], 2),
        (["build", "{a}"], 2),
        (["build", "--output", "{out}"], 2),
        (["build", NOWHERE, "--output", "{out}"], 1),
        (["build", "{e}", "--output", "{out}"], 1),
        (["build", "{a}", NOWHERE, "--output", "{out}"], 1),
        (["build", "{a}", "--output", "{out}", "--bundle", NOWHERE], 1),
        (["build", "{a}", "--output", "{out}", "--cui-map", NOWHERE], 1),
        (["build", "{a}", "--output", "{out}", "--minimum-count", "0"], 2),
        (["build", "{a}", "--output", "{out}", "--minimum-purity", "2"], 2),
        (["build", "{a}", "--output", "{e}/out.tsv"], 1),
        (["build", "{a}", "--output", "{folder}"], 2),
        (["check"], 2),
        (["check", NOWHERE], 1),
        (["check", "{folder}"], 2),
        (["check", "{e}"], 1),
        (["check", "{bytes}"], 1),
        (["check", "{l}", "--bundle", NOWHERE], 1),
    ],
)
def test_wrong_use_ends_with_a_line_and_a_code(tmp_path: Path, arguments: list[str], code: int) -> None:
    rows(tmp_path / "a.csv", *[f"{SECRET},diagnosis,I10"] * 2)
    (tmp_path / "e.tsv").write_text("")
    (tmp_path / "l.tsv").write_text(f"text\tcode\n{SECRET}\tI10\n")
    (tmp_path / "bytes.tsv").write_bytes(b"\xff\x00\xfe" + SECRET.encode())
    (tmp_path / "folder").mkdir()
    names = {path.stem: str(path) for path in tmp_path.iterdir()} | {"out": str(tmp_path / "out.tsv")}
    before = sorted(tmp_path.rglob("*"))
    result = run("lexicon", *(argument.format(**names) for argument in arguments))
    assert result.exit_code == code, result.output
    assert isinstance(result.exception, SystemExit)
    assert result.stderr.strip() and SECRET not in result.output
    assert sorted(tmp_path.rglob("*")) == before
