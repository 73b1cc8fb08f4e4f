"""Outputs: never an input of the same command, and what stands there is replaced only where it is asked for."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from cielo.bundle.layout import default_bundle
from cielo.cli import main
from click.testing import CliRunner, Result

ROWS = "text,kind,code\nfiebre,diagnosis,R50.9\nHTA,diagnosis,I10\nHTA,diagnosis,I10\n"
CODES = "codigo\tdescripcion\nT68\tHipotermia\nI10\tHipertensión\nR05\tTos\n"
COMMAND = [sys.executable, "-P", "-c", "from cielo.cli import main; main(prog_name='cielo')"]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make and enter a folder with the inputs of every command."""
    monkeypatch.setenv("CIELO_STATE", str(tmp_path / "state"))
    monkeypatch.delenv("CIELO_BUNDLE", raising=False)
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    for name, content in {
        "in.csv": ROWS, "map.csv": "cui,code\nC1,I10\n", "codes.txt": "I10\n", "table.tsv": CODES,
        "lexicon.tsv": "text\tcode\ntos\tR05\n", "recipe.toml": "",
    }.items():  # fmt: skip
        (work / name).write_text(content, encoding="utf-8")
    (work / "folder").mkdir()
    (work / "folder" / "in.csv").write_text(ROWS, encoding="utf-8")
    (work / "link.csv").symlink_to("in.csv")
    (work / "hard.csv").hardlink_to(work / "in.csv")
    return work


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


LINK = ["link", "--input", "in.csv", "--lexicon", "lexicon.tsv", "--codes", "codes.txt"]
EVALUATE = ["evaluate", "in.csv", "--cui-map", "map.csv", "--train", "folder/in.csv"]
KB = ["kb", "build"]
TABLE = ["--table", "diagnosis=table.tsv"]
LEXICON = ["lexicon", "build", "in.csv", "folder/in.csv", "--cui-map", "map.csv"]
SAME = [
    [*LINK, "--output", "in.csv"],
    [*LINK, "--output", "link.csv"],
    [*LINK, "--output", "hard.csv"],
    [*LINK, "--output", "folder/../in.csv"],
    [*LINK, "--output", "lexicon.tsv"],
    [*LINK, "--output", "codes.txt"],
    [*LINK, "--output", "out.csv", "--cache", "in.csv"],
    [*LINK, "--output", "new.csv", "--cache", "new.csv"],
    [*LINK, "--output", str(default_bundle() / "manifest.json")],
    [*EVALUATE, "--html", "in.csv"],
    [*EVALUATE, "--tsv", "map.csv"],
    [*EVALUATE, "--tsv", "folder/in.csv"],
    [*EVALUATE, "--tsv", "new", "--html", "./new"],
    ["evaluate", "folder", "--tsv", "folder/in.csv"],
    ["evaluate", "--predictions", "in.csv", "--kb", "diagnosis=table.tsv", "--tsv", "table.tsv"],
    ["bench", "--workload", "in.csv", "--json", "in.csv"],
    ["bench", "--workload", "in.csv", "--html", "link.csv"],
    [*KB, "table.tsv", *TABLE],
    [*KB, "new", *TABLE, "--rejected", "table.tsv"],
    [*KB, "new", *TABLE, "--rejected", "new"],
    [*KB, "codes.txt", *TABLE, "--codes", "codes.txt"],
    [*KB, "in.csv", *TABLE, "--synonyms", "diagnosis=in.csv"],
    [*LEXICON, "--output", "map.csv"],
    [*LEXICON, "--output", "hard.csv"],
    ["calibrate", str(default_bundle()), "folder/in.csv", "--output", "folder"],
    ["convert", "recipe.toml", "--output", "."],
]


@pytest.mark.parametrize("arguments", SAME, ids=" ".join)
def test_an_output_that_is_an_input_is_refused(folder: Path, arguments: list[str]) -> None:
    before = contents(folder)
    result = run(*arguments, "--overwrite")
    assert result.exit_code == 2, result.output
    assert "name another file" in result.stderr
    assert contents(folder) == before


STANDING = [
    [*LINK, "--output", "old"],
    [*EVALUATE, "--html", "old"],
    [*EVALUATE, "--tsv", "old"],
    ["bench", "--json", "old"],
    ["bench", "--html", "old"],
    [*KB, "old", *TABLE],
    [*KB, "new", *TABLE, "--rejected", "old"],
    [*LEXICON, "--output", "old"],
    ["calibrate", str(default_bundle()), "in.csv", "--output", "old"],
    ["convert", "recipe.toml", "--output", "old"],
]


@pytest.mark.parametrize("arguments", STANDING, ids=" ".join)
def test_an_output_that_stands_is_refused_before_the_work(
    folder: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str]
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("work was begun")

    monkeypatch.setattr("cielo.link.linker.Linker.open", refuse)
    monkeypatch.setattr("cielo.workbench.evaluation.corpora.read_corpus", refuse)
    (folder / "old").write_text("old", encoding="utf-8")
    before = contents(folder)
    result = run(*arguments)
    assert result.exit_code == 1, result.output
    assert result.stderr == "cielo: old exists; name another output, or replace it with --overwrite\n"
    assert contents(folder) == before


def test_what_stands_is_replaced_where_it_is_asked_for(folder: Path) -> None:
    (folder / "old").write_text("old", encoding="utf-8")
    assert run(*KB, "old", *TABLE, "--overwrite").exit_code == 0
    assert (folder / "old").read_bytes().startswith(b"SQLite")
    assert run("lexicon", "build", "in.csv", "--output", "old", "--overwrite").exit_code == 0
    assert (folder / "old").read_text(encoding="utf-8").startswith("text\tcode")


def test_devices_pipes_and_open_streams_never_need_it(folder: Path) -> None:
    build = ["lexicon", "build", "in.csv", "--output"]
    assert run(*build, os.devnull).exit_code == 0
    for target in ("/dev/stdout", "/dev/fd/1"):
        done = subprocess.run([*COMMAND, *build, target], capture_output=True, check=False, timeout=120)
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith(b"text\tcode")
        with (folder / "kept").open("wb") as kept:  # a file behind it is the shell's business
            done = subprocess.run([*COMMAND, *build, target], stdout=kept, check=False, timeout=120)
        assert done.returncode == 0
        assert (folder / "kept").read_bytes().startswith(b"text\tcode")


def test_standard_input_and_output_are_looked_at_too(folder: Path) -> None:
    before = (folder / "in.csv").read_bytes()
    linking = [*COMMAND, "link", "--format", "csv", "--overwrite"]
    with (folder / "in.csv").open("rb") as given:
        done = subprocess.run(
            [*linking, "--input", "-", "--output", "in.csv"], stdin=given, capture_output=True, check=False, timeout=60
        )
    assert done.returncode == 2, done.stderr
    with (folder / "in.csv").open("ab") as taken:
        done = subprocess.run(
            [*linking, "--input", "in.csv"], stdout=taken, stderr=subprocess.PIPE, check=False, timeout=60
        )
    assert done.returncode == 2, done.stderr
    assert (folder / "in.csv").read_bytes() == before


def test_a_page_may_stand_beside_the_files_of_a_corpus(folder: Path) -> None:
    page = folder / "folder" / "page.html"
    page.write_text("old", encoding="utf-8")
    result = run("evaluate", "folder/in.csv", "--html", page, "--json", "--overwrite", "--resamples", "100")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["corpus"]["mentions"] == 3
    assert page.read_text(encoding="utf-8").startswith("<!doctype html>")
