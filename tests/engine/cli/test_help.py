"""Help: options in groups, whole summaries, examples that run; and what shells complete."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from cielo.bundle.layout import default_bundle
from cielo.cli import base, main
from cielo.cli.converting import shipped_recipes
from cielo.cli.helping import EXAMPLES, GROUPS, OTHER, group_of
from click.shell_completion import ShellComplete
from click.testing import CliRunner

ROOT = Path(__file__).resolve().parents[3]
WIDTH = 80
# They take long, or run until they are ended.
NOT_RUN = {"bench", "calibrate", "convert", "kb replace", "serve", "tune", "verify"}


def commands(group: click.Command = main, words: str = "") -> Iterator[tuple[str, click.Command]]:
    yield words, group
    if isinstance(group, click.Group):
        context = click.Context(group)
        for name in group.list_commands(context):
            command = group.get_command(context, name)
            assert command is not None
            yield from commands(command, f"{words} {name}".strip())


COMMANDS = dict(commands())


def shown(words: str) -> str:
    done = CliRunner().invoke(main, [*words.split(), "--help"], prog_name="cielo", terminal_width=WIDTH)
    assert done.exit_code == 0, done.output
    return done.output


@pytest.mark.parametrize("words", COMMANDS)
def test_every_option_has_a_group_and_a_word_of_help(words: str) -> None:
    for parameter in COMMANDS[words].params:
        if isinstance(parameter, click.Option):
            assert group_of(parameter) != OTHER, f"{parameter.opts}: enter it in `GROUPS` of cielo.cli.helping"
            assert parameter.help, f"{words} {parameter.opts}"


def test_no_option_is_in_two_groups() -> None:
    listed = [option for options in GROUPS.values() for option in options.split()]
    assert sorted(listed) == sorted(set(listed))


def test_the_groups_of_a_command_come_in_their_order_and_hold_all_options() -> None:
    text = shown("link").partition("\nExample")[0]
    heads = [line.removesuffix(":") for line in text.splitlines() if re.fullmatch(r"[A-Z][^:]*:", line)]
    assert heads[:5] == [
        "Input and output", "Tables", "Which codes", "How it is searched", "What is answered",
    ]  # fmt: skip
    for parameter in COMMANDS["link"].params:
        if isinstance(parameter, click.Option):
            assert len(re.findall(rf"^  {parameter.opts[0]}(?![\w-])", text, flags=re.MULTILINE)) == 1, parameter.opts


def test_the_options_of_a_group_come_in_its_order() -> None:
    text = shown("link").partition("Model and machine:")[2]
    named = re.findall(r"^  (--[a-z-]+)", text, flags=re.MULTILINE)
    assert named[:3] == ["--bundle", "--backend", "--device"]


@pytest.mark.parametrize("words", COMMANDS)
def test_help_is_whole_and_as_wide_as_a_terminal(words: str) -> None:
    text = shown(words)
    assert max(len(line) for line in text.splitlines()) <= WIDTH
    command = COMMANDS[words]
    if isinstance(command, click.Group):
        flat = " ".join(text.partition("Commands:")[2].split())
        assert "..." not in flat
        for name in command.list_commands(click.Context(command)):
            below = COMMANDS[f"{words} {name}".strip()]
            assert below.help
            sentence = re.split(r"\.(?:\s|$)", " ".join(below.help.split("\n\n")[0].split()))[0]
            assert f"{name} {sentence}" in flat


def test_every_command_has_an_example_and_every_example_a_command() -> None:
    assert set(EXAMPLES) == set(COMMANDS), "an example for each command, in `EXAMPLES` of cielo.cli.helping"


@pytest.mark.parametrize("words", EXAMPLES)
def test_the_help_ends_with_the_examples(words: str) -> None:
    ending = "".join(f"  {example}\n" for example in EXAMPLES[words])
    assert shown(words).endswith(ending)


def arguments_of(example: str) -> list[str]:
    """Return what an example gives to the command; where its output goes is the shell's."""
    name, *arguments = shlex.split(example.partition(" > ")[0])
    assert name == "cielo"
    return arguments


EACH = [(words, example) for words, examples in EXAMPLES.items() for example in examples]


@pytest.mark.parametrize(("words", "example"), EACH)
def test_an_example_is_a_line_of_its_command(words: str, example: str) -> None:
    command: click.Command = main
    context, rest = click.Context(main), arguments_of(example)
    while isinstance(command, click.Group):
        name, found, rest = command.resolve_command(context, rest)
        assert found is not None
        command, context = found, click.Context(found, context, info_name=name)
    command.make_context(context.info_name, rest)
    assert example.startswith(f"cielo {words}")


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the files that the examples name."""
    (tmp_path / "mentions.csv").write_text("text,sentence\ntos,Refiere tos seca.\n", encoding="utf-8")
    (tmp_path / "annotated.tsv").write_text(
        "text\tsentence\tkind\tcode\ntos\tRefiere tos.\tdiagnosis\tR05\ntos\tCon tos.\tdiagnosis\tR05\n",
        encoding="utf-8",
    )
    (tmp_path / "lexicon.tsv").write_text("text\tcode\tkind\ntos\tR05\tdiagnosis\n", encoding="utf-8")
    (tmp_path / "codes.tsv").write_text("code\tdescription\nR05\tTos de prueba\n", encoding="utf-8")
    (tmp_path / "procedures.tsv").write_text("code\tdescription\nBW20\tretrato del abdomen\n", encoding="utf-8")
    notes = '{"id": "1", "text": "Refiere tos seca.", "spans": [[8, 11]]}\n'
    (tmp_path / "notes.jsonl").write_text(notes, encoding="utf-8")
    (tmp_path / "bundle").symlink_to(default_bundle())
    monkeypatch.setenv("CIELO_STATE", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    "example", dict.fromkeys(example for words, example in EACH if not {words, words.partition(" ")[0]} & NOT_RUN)
)
def test_an_example_runs(desk: Path, example: str) -> None:
    arguments = arguments_of(example)
    extra = ["--overwrite"] if arguments[:2] == ["lexicon", "build"] else []  # the folder holds one already
    done = CliRunner().invoke(main, [*arguments, *extra])
    assert done.exit_code == 0, done.output


class TestExitCodes:
    CODES = frozenset(
        {0, base.EXIT_FAILED, base.EXIT_USAGE, base.EXIT_ROWS, base.EXIT_PARITY, base.EXIT_INTERRUPTED, 143, 129}
    )

    def test_the_help_names_each(self) -> None:
        listed = shown("").partition("Exit codes:")[2].partition("Messages")[0]
        codes = re.findall(r"^ +(\d+) ", listed, flags=re.MULTILINE) + re.findall(r"\d{3}", listed)
        assert {int(code) for code in codes} == self.CODES

    def test_the_page_names_each(self) -> None:
        page = (ROOT / "engine" / "README.md").read_text(encoding="utf-8")
        table = page.partition("## Exit codes of the command")[2].partition("\n## ")[0]
        first = [line.split("|")[1] for line in table.splitlines() if line.startswith("|")]
        assert {int(code) for cell in first for code in re.findall(r"\d+", cell)} == self.CODES

    @pytest.mark.parametrize(
        ("line", "code"),
        [
            ("info", 0),
            ("info nowhere", base.EXIT_FAILED),
            ("kb show ZZ99", base.EXIT_FAILED),
            ("kb search qwertyuiop", base.EXIT_FAILED),
            ("doctor --bundle nowhere", base.EXIT_FAILED),
            ("convert nowhere.toml --output out", base.EXIT_FAILED),
            ("link", base.EXIT_USAGE),
            ("link tos --nonsense", base.EXIT_USAGE),
            ("link tos --decoding constrained --matching published", base.EXIT_USAGE),
            ("link --input faulty.csv", base.EXIT_ROWS),
            ("lexicon check faulty.csv", base.EXIT_ROWS),
        ],
    )
    def test_a_command_ends_with_its_own(self, desk: Path, line: str, code: int) -> None:
        (desk / "faulty.csv").write_text("text,code,kind\n,R05,diagnosis\ntos,R05,diagnosis\n", encoding="utf-8")
        done = CliRunner().invoke(main, line.split())
        assert done.exit_code == code, done.output


def completed(arguments: list[str], incomplete: str) -> list[tuple[str, str]]:
    found = ShellComplete(main, {}, "cielo", "_CIELO_COMPLETE").get_completions(arguments, incomplete)
    return [(item.type, item.value) for item in found]


class TestCompletion:
    def test_commands_and_options(self) -> None:
        assert completed([], "do") == [("plain", "doctor"), ("plain", "documents")]
        assert ("plain", "search") in completed(["kb"], "")
        assert ("plain", "--top-k") in completed(["link"], "--to")

    @pytest.mark.parametrize(
        "arguments",
        [["link", "--bundle"], ["info"], ["tune"], ["kb", "show", "T68", "--bundle"], ["doctor", "--bundle"]],
    )
    def test_a_bundle_is_a_directory(self, arguments: list[str]) -> None:
        assert completed(arguments, "mo") == [("dir", "mo")]

    def test_recipes_by_name_or_by_file(self) -> None:
        assert {"mini", "medical-mt5-large"} <= set(shipped_recipes())
        assert completed(["convert"], "mi") == [("file", "mi"), ("plain", "mini")]

    def test_without_the_package_of_conversion_there_is_no_recipe(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "cielo_convert.recipes", None)
        assert shipped_recipes() == []

    @pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
    def test_the_script_asks_cielo(self, shell: str) -> None:
        done = CliRunner().invoke(main, ["completion", shell])
        assert done.exit_code == 0
        assert f"_CIELO_COMPLETE={shell}_complete" in done.output

    def test_bash_completes_by_it(self, tmp_path: Path) -> None:
        bash = shutil.which("bash")
        if bash is None:
            pytest.skip("needs bash")
        command = tmp_path / "cielo"
        command.write_text(
            f"#!{sys.executable} -P\nfrom cielo.cli import main\nmain(prog_name='cielo')\n", encoding="utf-8"
        )
        command.chmod(0o755)
        script = CliRunner().invoke(main, ["completion", "bash"]).output
        asked = (
            f'{script}\nCOMP_WORDS=(cielo kb se); COMP_CWORD=2\n_cielo_completion {command}; echo "${{COMPREPLY[@]}}"'
        )
        done = subprocess.run([bash, "-c", asked], capture_output=True, text=True, check=False, timeout=60)
        assert (done.stdout.strip(), done.returncode) == ("search", 0), done.stderr

    def test_zsh_and_fish_get_their_answers(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for shell in ("zsh", "fish"):
            environment = {"_CIELO_COMPLETE": f"{shell}_complete", "COMP_WORDS": "cielo kb se", "COMP_CWORD": "2"}
            if shell == "fish":
                environment["COMP_CWORD"] = "se"
            done = CliRunner().invoke(main, [], env=environment, prog_name="cielo")
            assert "search" in done.output, done.output


def test_the_start_of_a_command_does_not_load_what_help_needs() -> None:
    code = (
        "import sys; from cielo.cli import main; import click; main.get_command(click.Context(main), 'link');"
        "print([name for name in ('cielo.cli.helping', 'cielo.workbench', 'click.shell_completion') "
        "if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "[]\n"
