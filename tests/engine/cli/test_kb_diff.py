"""``cielo kb diff``: what differs between two knowledge bases, and what a file of codes loses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cielo.bundle.layout import default_bundle
from cielo.cli import main
from click.testing import CliRunner, Result

OLD = "code\tdescription\nR05\ttos\nR50.9\tfiebre\nR51.X\tdolor de cabeza\nI10\tpresión alta\nA00\tcólera\n"
NEW = "code\tdescription\nR05.1\ttos de días\nR50.9\tfiebre sin más\nR51\tdolor  de cabeza\nI10X\tpresión alta\n"
NEW_PROCEDURES = "code\tdescription\nBW20\ttomografía\n"
LEXICON = (
    "# by hand\ntext\tcode\tkind\ntosecilla\tR05\t\npeste\ta00\tdiagnosis\ncalentura\tR509\tdiagnosis\n"
    "x\tQ99\t\ny\t\t\n"
)


def run(*arguments: str | Path) -> Result:
    result = CliRunner().invoke(main, ["kb", *map(str, arguments)])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name, text in (("old.tsv", OLD), ("new.tsv", NEW), ("p.tsv", NEW_PROCEDURES), ("lexicon.tsv", LEXICON)):
        (tmp_path / name).write_text(text, encoding="utf-8")
    assert run("build", "old", "--table", "diagnosis=old.tsv", "--edition", "2026").exit_code == 0
    both = ["--table", "diagnosis=new.tsv", "--table", "procedure=p.tsv"]
    assert run("build", "new", *both, "--edition", "2027").exit_code == 0
    return tmp_path


def test_each_code_that_came_went_or_has_another_title(folder: Path) -> None:
    result = run("diff", "old", "new", "--json")
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    assert (told["old"], told["new"], told["lexicon"]) == ("2026", "2027", None)
    assert told["kinds"] == {
        "diagnosis": {
            "added": [{"code": "R05.1", "title": "tos de días"}],
            "gone": [{"code": "R05", "title": "tos"}, {"code": "A00", "title": "cólera"}],
            "retitled": [{"code": "R50.9", "old": "fiebre", "new": "fiebre sin más"}],
            "same": 2,
        },
        "procedure": {"added": [{"code": "BW20", "title": "tomografía"}], "gone": [], "retitled": [], "same": 0},
    }


def test_a_reader_sees_counts_and_the_first(folder: Path) -> None:
    lines = run("diff", "old", "new").stdout.splitlines()
    assert lines[0] == "diagnosis: 1 codes added, 2 gone, 1 with another title, 2 as they were"
    assert "  gone: A00  cólera" in lines and "  retitled: R50.9  fiebre -> fiebre sin más" in lines


def test_beside_a_table_its_kind_alone_is_compared(folder: Path) -> None:
    kinds = json.loads(run("diff", "old", "diagnosis=new.tsv", "--json").stdout)["kinds"]
    assert kinds == {"diagnosis": json.loads(run("diff", "old", "new", "--json").stdout)["kinds"]["diagnosis"]}
    assert list(json.loads(run("diff", default_bundle(), "procedure=p.tsv", "--json").stdout)["kinds"]) == ["procedure"]


def test_a_knowledge_base_does_not_differ_from_itself(folder: Path) -> None:
    for entry in json.loads(run("diff", "new", "new", "--json").stdout)["kinds"].values():
        assert (entry["added"], entry["gone"], entry["retitled"]) == ([], [], [])


def test_what_a_lexicon_loses_is_told_with_its_lines(folder: Path) -> None:
    lost = json.loads(run("diff", "old", "new", "--lexicon", "lexicon.tsv", "--json").stdout)["lexicon"]
    assert lost == {
        "codes": 4,
        "lost": [{"line": 3, "code": "R05"}, {"line": 4, "code": "a00"}],
        "unknown": 1,
        "unreadable": 1,
    }
    shown = run("diff", "old", "new", "--lexicon", "lexicon.tsv")
    assert "lexicon.tsv: 2 of 4 codes are lost; 1 are in neither" in shown.stdout
    assert "  lost: line 4, a00" in shown.stdout
    assert "calentura" not in shown.output and "peste" not in shown.output


def test_annotated_mentions_with_several_codes_of_a_row(folder: Path) -> None:
    (folder / "rows.csv").write_text('text,codes\nuna,"A00|I10"\notra,R05\n', encoding="utf-8")
    lost = json.loads(run("diff", "old", "new", "--lexicon", "rows.csv", "--json").stdout)["lexicon"]
    assert (lost["codes"], [entry["code"] for entry in lost["lost"]]) == (3, ["A00", "R05"])


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["old", "missing"], 1, "cannot be opened"),
        (["old", "."], 1, "is not a bundle"),
        (["old", "diagnosis=missing.tsv"], 1, "cannot be read"),
        (["old", "new.tsv"], 1, "cannot be opened"),
        (["old"], 2, "NEW"),
        (["old", "new", "--lexicon", "missing.tsv"], 1, "cannot be read"),
        (["old", "new", "--lexicon", "plain.tsv"], 1, "column of codes"),
    ],
)
def test_what_cannot_be_compared_is_told(folder: Path, arguments: list[str], code: int, told: str) -> None:
    (folder / "plain.tsv").write_text("una cosa\n", encoding="utf-8")
    result = run("diff", *arguments)
    assert (result.exit_code, result.stdout) == (code, "")
    assert told in result.stderr
