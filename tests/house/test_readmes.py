"""Every command and every snippet of every page is run, and gives what the page shows.

A block of the kind `console` is run line by line in a scratch folder that holds the repository's files; what follows a
command is its output, in which `...` stands for anything. `python` is a doctest. `console install` is run by `.ci/run`
in an environment of its own. What cannot be run here is `text`, with a word on why before or after it.
"""

from __future__ import annotations

import doctest
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from graph import ROOT
from minis import mini_of_few_references
from test_papers import PAPERS

# Commands in a `text` block: what would be missed if nobody said why it is not run.
_COMMAND = re.compile(r"^(?:cielo|python3?|pip|pytest|mypy|ruff) ", flags=re.MULTILINE)
_REASON = re.compile(r"^\(.+\)$")


@dataclass(frozen=True)
class Block:
    """A fenced block of a page: the line it begins at, what it is said to be, its lines, and the line after it."""

    line: int
    kind: str
    lines: tuple[str, ...]
    after: str


def blocks(text: str) -> Iterator[Block]:
    lines = text.splitlines()
    start: int | None = None
    for number, line in enumerate(lines):
        if line.startswith("```"):
            if start is None:
                start = number
            else:
                after = lines[number + 1] if number + 1 < len(lines) else ""
                yield Block(start + 1, lines[start][3:].strip(), tuple(lines[start + 1 : number]), after)
                start = None
    assert start is None, f"the block of line {start} does not end"


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def commands(block: Block) -> list[tuple[str, str]]:
    """Return the commands of a block, each with the output that is shown."""
    found: list[tuple[str, list[str]]] = []
    for line in block.lines:
        if line.startswith("$ "):
            found.append((line[2:], []))
        else:
            assert found, f"line {block.line}: a block of commands begins with one: `$ …`"
            found[-1][1].append(line.rstrip())
    return [(command, "\n".join(shown)) for command, shown in found]


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scratch")
    link_to(ROOT, folder, but="models")
    link_to(ROOT / "models", folder / "models", but="mini")
    link_to(ROOT / "models" / "mini", folder / "models" / "mini", but="bundle")
    # A command that runs the gate takes half a minute with all references; the tests of parity run it with all.
    mini_of_few_references(folder / "models" / "mini" / "bundle")
    return folder


def link_to(source: Path, folder: Path, but: str) -> None:
    """Fill a folder with links to what is in another, one entry left out."""
    folder.mkdir(exist_ok=True)
    for entry in source.iterdir():
        if entry.name != but and not entry.name.startswith("."):
            (folder / entry.name).symlink_to(entry)


@pytest.fixture(autouse=True)
def surroundings(scratch: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))
    monkeypatch.setenv("CIELO_STATE", str(scratch / ".state"))
    monkeypatch.delenv("CIELO_BUNDLE", raising=False)
    monkeypatch.chdir(scratch)


@pytest.mark.parametrize("name", PAPERS)
def test_every_block_says_what_it_is(name: str) -> None:
    for block in blocks(read(name)):
        assert block.kind in ("console", "console install", "python", "text"), f"{name}, line {block.line}"
        if block.kind == "text" and _COMMAND.search("\n".join(block.lines)):
            assert _REASON.fullmatch(block.after), (
                f"{name}, line {block.line + len(block.lines)}: say why it is not run"
            )


RUN = [
    pytest.param(command, shown, id=f"{name}:{block.line}:{command[:40]}")
    for name in PAPERS
    if (ROOT / name).is_file()
    for block in blocks(read(name))
    if block.kind == "console"
    for command, shown in commands(block)
]


@pytest.mark.parametrize(("command", "shown"), RUN)
def test_a_command_gives_what_is_shown(command: str, shown: str, scratch: Path) -> None:
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", command],
        cwd=scratch, capture_output=True, encoding="utf-8", check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    if shown:
        told = "\n".join(line.rstrip() for line in done.stdout.splitlines())
        assert doctest.OutputChecker().check_output(f"{shown}\n", f"{told}\n", doctest.ELLIPSIS), done.stdout


@pytest.mark.parametrize("name", PAPERS)
def test_the_snippets_of_a_page_give_what_is_shown(name: str) -> None:
    snippets = [block for block in blocks(read(name)) if block.kind == "python"]
    source = "\n".join("\n".join(block.lines) + "\n" for block in snippets)
    test = doctest.DocTestParser().get_doctest(source, {}, name, name, 0)
    assert not snippets or test.examples, f"{name}: a snippet is written as a session (>>>)"
    told: list[str] = []
    assert doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(test, out=told.append).failed == 0, "".join(told)


def installing(name: str) -> list[str]:
    """Return the commands of a page that install, in order, one by one where a line joins several."""
    marked = [block for block in blocks(read(name)) if block.kind == "console install"]
    return [part for block in marked for command, _ in commands(block) for part in command.split(" && ")]


def test_what_the_first_page_installs_is_run_by_ci() -> None:
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    marked = [block for block in blocks(read("README.md")) if block.kind == "console install"]
    assert "commands < <(installing README.md)" in script
    run = [number for number in range(9) if re.search(rf'(?:eval|bash -c) "\${{commands\[{number}\]}}"', script)]
    assert run == list(range(sum(len(commands(block)) for block in marked)))


@pytest.mark.parametrize("name", PAPERS[1:])
def test_other_pages_install_as_the_first_one_does(name: str) -> None:
    assert set(installing(name)) <= set(installing("README.md"))


def test_a_wrong_output_would_be_seen() -> None:
    (block,) = blocks("```console\n$ echo yes\nno\n```\n")
    assert commands(block) == [("echo yes", "no")]
    assert not doctest.OutputChecker().check_output("no\n", "yes\n", doctest.ELLIPSIS)
