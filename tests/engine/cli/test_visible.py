"""What is shown: nothing in a name or a text of a file is obeyed by the terminal."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from cielo.bundle.layout import MANIFEST, default_bundle
from cielo.cli import main
from cielo.text.visible import visible, visible_json, visible_lines
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st

ESCAPE, LEFT = "\x1b[31m", "\u202e"  # to red, and to the other direction
OBEYED = ("\x1b", "\u202e", "\x9b", "\x07")
NAME = f"{ESCAPE}a{LEFT}b\x9bc\x07"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make and enter a folder in which every name and text is hostile."""
    monkeypatch.setenv("CIELO_STATE", str(tmp_path / "state"))
    monkeypatch.delenv("CIELO_BUNDLE", raising=False)
    work = tmp_path / NAME
    work.mkdir()
    monkeypatch.chdir(work)
    Path(f"{NAME}.tsv").write_text(f"codigo\tdescripcion\nT68\tHipotermia {LEFT}\nI10\tfrío {LEFT}\n", encoding="utf-8")
    Path(f"{NAME}.csv").write_text(f"text,kind,code\n{NAME} tos,diagnosis,R05\nx,diagnosis,\n", encoding="utf-8")
    return work


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def require_shown(result: Result, code: int) -> None:
    assert result.exit_code == code, result.output
    assert isinstance(result.exception, SystemExit | None)
    assert [one for one in OBEYED if one in result.output] == []


def test_commands_on_hostile_names_and_texts(folder: Path) -> None:
    base = Path(f"{NAME}.sqlite")
    require_shown(run("kb", "build", base, "--table", f"{NAME}={NAME}.tsv", "--system", f"{NAME}=icd-10-cm",
                      "--edition", NAME), 0)  # fmt: skip
    for command in (["info"], ["show", "I10"], ["search", "frio"], ["search", "frio", "--limit", "1"]):
        require_shown(run("kb", *command, "--kb", base), 0)
        found = run("kb", *command, "--kb", base, "--json")
        require_shown(found, 0)
        json.loads(found.stdout)
    require_shown(run("kb", "show", NAME, "--kb", base), 1)
    require_shown(run("kb", "show", "I10", "--kind", f"{NAME}x", "--kb", base), 2)
    require_shown(run("kb", "build", base, "--table", f"d={NAME}.tsv"), 1)
    require_shown(run("link", NAME), 0)
    require_shown(run("link", "--input", f"{NAME}.csv", "--output", f"{NAME}.csv"), 2)
    require_shown(run("link", "--input", f"{NAME}absent.csv"), 1)
    require_shown(run("evaluate", f"{NAME}.csv", "--resamples", "100"), 3)
    require_shown(run("lexicon", "build", f"{NAME}.csv", "--minimum-count", "1", "--output", f"{NAME}.lex"), 3)
    require_shown(run("verify", NAME), 1)
    require_shown(run(NAME), 2)


def test_a_bundle_with_a_hostile_name(folder: Path) -> None:
    copy = folder / NAME
    shutil.copytree(default_bundle(), copy)
    manifest = json.loads((copy / MANIFEST).read_text(encoding="utf-8"))
    (copy / MANIFEST).write_text(json.dumps({**manifest, "name": NAME, "licence": NAME}), encoding="utf-8")
    for command in (["info", copy], ["info", copy, "--json"], ["verify", copy], ["link", "tos", "--bundle", copy]):
        result = run(*command)
        require_shown(result, result.exit_code)


@given(st.text())
def test_json_says_the_same(text: str) -> None:
    written = json.dumps(text, ensure_ascii=False)
    shown = visible_json(written)
    assert json.loads(shown) == text
    assert all(one == "\n" or visible(one) in (one, " ") for one in shown)


def test_lines_stay() -> None:
    assert visible_lines("a\x1b\nb\tc\u202e") == "a␛\nb c\\u202e"
