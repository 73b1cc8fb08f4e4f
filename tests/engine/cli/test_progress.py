"""Progress, summaries, ``--quiet`` and ``--verbose``: what is said beside the result, and where."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import click
import pytest
from cielo.bundle.layout import Bundle, default_bundle
from cielo.cli import main
from cielo.cli import progress as module
from cielo.cli.progress import Progress, Summary, waiting
from cielo.errors import MentionError
from cielo.records import BundleIdentity, Link, Mention, Provenance, Timings
from cielo_convert.run import Converted
from click.testing import CliRunner, Result

DEVELOPMENT = Path(__file__).parents[3] / "models" / "mini" / "dev.tsv"
SECRET = "Zutanito"
QUIET = {"cielo.verbosity": "quiet"}
VERBOSE = {"cielo.verbosity": "verbose"}


class FakeClock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(autouse=True)
def _own_state(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CIELO_STATE", str(tmp_path_factory.mktemp("state")))
    monkeypatch.delenv("CIELO_BUNDLE", raising=False)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> FakeClock:
    """A clock of the test's own; nothing is looked at but when something is counted."""
    monkeypatch.setattr(module, "_TICK", 3600.0)
    return FakeClock()


def at_work(progress: Progress, clock: FakeClock, *, steps: int, count: int, seconds: float) -> None:
    for _ in range(steps):
        clock.now += seconds
        progress.advance(count)


def told(capsys: pytest.CaptureFixture[str]) -> list[str]:
    captured = capsys.readouterr()
    assert captured.out == "", "nothing but results goes to standard output"
    return captured.err.splitlines()


class TestWithoutATerminal:
    def test_a_line_comes_each_half_minute(self, clock: FakeClock, capsys: pytest.CaptureFixture[str]) -> None:
        with Progress("linking", 1000, clock=clock) as progress:
            at_work(progress, clock, steps=18, count=10, seconds=5.0)
        assert told(capsys) == [
            "cielo: linking: 60 of 1,000 mentions, 2.0 a second, 8 min left",
            "cielo: linking: 120 of 1,000 mentions, 2.0 a second, 7 min left",
            "cielo: linking: 180 of 1,000 mentions, 2.0 a second, 7 min left",
        ]

    def test_steps_longer_than_that_each_have_one(self, clock: FakeClock, capsys: pytest.CaptureFixture[str]) -> None:
        with Progress("linking", 36_000, clock=clock) as progress:
            at_work(progress, clock, steps=2, count=12, seconds=120.0)
        assert told(capsys) == [
            "cielo: linking: 12 of 36,000 mentions, 0.1 a second, 99 h 58 min left",
            "cielo: linking: 24 of 36,000 mentions, 0.1 a second, 99 h 56 min left",
        ]

    def test_what_is_short_is_silent_and_counts_nothing(
        self, clock: FakeClock, capsys: pytest.CaptureFixture[str]
    ) -> None:
        with Progress("linking", lambda: pytest.fail("counted"), clock=clock) as progress:
            at_work(progress, clock, steps=19, count=100, seconds=0.1)
        assert told(capsys) == []

    def test_what_is_long_is_counted_once(self, clock: FakeClock, capsys: pytest.CaptureFixture[str]) -> None:
        asked: list[int] = []

        def count() -> int:
            asked.append(1)
            return 500

        with Progress("linking", count, clock=clock) as progress:
            at_work(progress, clock, steps=10, count=10, seconds=10.0)
        assert len(asked) == 1
        assert told(capsys)[-1] == "cielo: linking: 90 of 500 mentions, 1.0 a second, 7 min left"

    def test_where_nobody_knows_how_many_there_are_none_is_said(
        self, clock: FakeClock, capsys: pytest.CaptureFixture[str]
    ) -> None:
        with Progress("linking", lambda: None, clock=clock) as progress:
            at_work(progress, clock, steps=1, count=60, seconds=30.0)
        assert told(capsys) == ["cielo: linking: 60 mentions, 2.0 a second"]

    def test_quiet_says_nothing(self, clock: FakeClock, capsys: pytest.CaptureFixture[str]) -> None:
        with click.Context(main) as context:
            context.meta.update(QUIET)
            with Progress("linking", 100, clock=clock) as progress:
                at_work(progress, clock, steps=10, count=10, seconds=60.0)
                progress.begin("more")
            progress.show_summary()
            with waiting("reading") as show:
                show("more")
        assert told(capsys) == []

    def test_the_next_work_has_a_rate_of_its_own(self, clock: FakeClock, capsys: pytest.CaptureFixture[str]) -> None:
        with Progress(clock=clock) as progress:
            progress.begin("one", 100)
            at_work(progress, clock, steps=1, count=100, seconds=20.0)
            progress.begin("two", 100)
            at_work(progress, clock, steps=1, count=10, seconds=10.0)
        progress.show_summary()
        assert told(capsys) == [
            "cielo: two: 10 of 100 mentions, 1.0 a second, 2 min left",
            "cielo: 110 mentions in 30.0 s, 3.7 a second",
        ]

    def test_verbose_says_how_long_each_work_took(self, clock: FakeClock, capsys: pytest.CaptureFixture[str]) -> None:
        with click.Context(main) as context:
            context.meta.update(VERBOSE)
            with Progress(clock=clock) as progress:
                progress.begin("one", 1)
                clock.now += 3
                progress.begin("two", 1)
                clock.now += 4
        assert told(capsys) == ["cielo: one: 3.0 s", "cielo: two: 4.0 s"]

    def test_steps_that_count_for_themselves(self, clock: FakeClock, capsys: pytest.CaptureFixture[str]) -> None:
        with Progress(clock=clock) as progress:
            progress.step("generator", 0, 1)
            clock.now += 40
            progress.step("vectors", 0, 1000)
            for done in (100, 200, 300):
                clock.now += 20
                progress.step("vectors", done, 1000)
        assert told(capsys) == [
            "cielo: vectors: 0 of 1,000, 0 s so far",
            "cielo: vectors: 200 of 1,000, 5.0 a second, 3 min left",
        ]

    def test_a_step_of_the_same_name_that_begins_anew(self, clock: FakeClock) -> None:
        with Progress(clock=clock) as progress:
            progress.step("scores", 90, 90)
            clock.now += 40
            progress.step("scores", 0, 10)
            clock.now += 1
            progress.step("scores", 5, 10)
            assert progress.line() == "scores: 5 of 10, 5.0 a second, 1 s left"

    def test_a_line_comes_though_nothing_is_counted(
        self, clock: FakeClock, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(module, "_TICK", 0.001)
        said = ""
        with Progress("generator", 1, unit="", clock=clock):
            clock.now += 40
            while not said:
                said = capsys.readouterr().err
        assert said == "cielo: generator: 40 s so far\n"


class TestRate:
    def test_it_is_that_of_the_last_minutes(self, clock: FakeClock) -> None:
        with Progress("linking", 100_000, clock=clock) as progress:
            at_work(progress, clock, steps=100, count=10, seconds=10.0)
            assert "1.0 a second" in progress.line()
            at_work(progress, clock, steps=40, count=100, seconds=10.0)
            assert "10.0 a second" in progress.line()

    def test_the_time_left_goes_on_between_two_counts(self, clock: FakeClock) -> None:
        with Progress("linking", 70, clock=clock) as progress:
            at_work(progress, clock, steps=4, count=10, seconds=10.0)
            assert progress.line().endswith("30 s left")
            clock.now += 12
            assert progress.line().endswith("18 s left")
            clock.now += 100
            assert progress.line().endswith(" 0 s left")

    def test_what_was_done_before_says_nothing_of_it(self, clock: FakeClock) -> None:
        with Progress("linking", 2000, clock=clock) as progress:
            progress.skip(1000)
            at_work(progress, clock, steps=10, count=10, seconds=10.0)
            assert progress.line() == "linking: 1,100 of 2,000 mentions, 1.0 a second, 15 min left"

    def test_before_there_is_one_the_time_so_far_is_said(self, clock: FakeClock) -> None:
        with Progress("generator", 1, unit="", clock=clock) as progress:
            clock.now += 42
            assert progress.line() == "generator: 42 s so far"

    @pytest.mark.usefixtures("every_processor")
    def test_threads_count_together(self, clock: FakeClock) -> None:
        with Progress("linking", 8000, clock=clock) as progress, ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda _: [progress.advance() for _ in range(1000)], range(8)))
            assert progress.line().startswith("linking: 8,000 of 8,000 mentions")


# Draws on its terminal by a clock of its own; the result goes to standard output.
DRAWING = """
from cielo.cli.progress import Progress
now = 0.0
with Progress("linking", 1000, clock=lambda: now) as progress:
    for _ in range(5):
        now += 1.0
        progress.advance(10)
        print("row")
"""


@pytest.mark.skipif(sys.platform == "win32", reason="there are no pseudo-terminals")
class TestOnATerminal:
    def drawn(self, source: str, **environment: str) -> tuple[str, str]:
        """Run a program whose standard error is a terminal of 80 columns; return its output, and what it drew."""
        import fcntl
        import pty
        import struct
        import termios

        controller, terminal = pty.openpty()
        fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        surroundings = {"TERM": "xterm", **{k: v for k, v in os.environ.items() if k != "TERM"}, **environment}
        process = subprocess.Popen(
            [sys.executable, "-c", source], stdout=subprocess.PIPE, stderr=terminal, text=True, env=surroundings
        )
        os.close(terminal)
        drawn = b""
        while chunk := _read(controller):
            drawn += chunk
        output, _ = process.communicate(timeout=60)
        os.close(controller)
        assert process.returncode == 0, drawn
        return output, drawn.decode()

    def test_one_line_is_drawn_and_removed(self) -> None:
        output, drawn = self.drawn(DRAWING)
        assert output == "row\n" * 5
        assert "linking: 50 of 1,000 mentions, 10.0 a second, 2 min left" in drawn
        last = drawn.rpartition("mentions")[2]
        assert "\x1b[2K" in last, "the line is erased at the end"
        assert "cielo: " not in drawn, "no plain lines beside it"

    def test_a_terminal_that_cannot_draw_gets_plain_lines(self) -> None:
        output, drawn = self.drawn(DRAWING.replace("1.0\n", "10.0\n"), TERM="dumb")
        assert output == "row\n" * 5
        assert drawn.splitlines() == ["cielo: linking: 30 of 1,000 mentions, 1.0 a second, 16 min left"]

    def test_nothing_is_drawn_where_the_rows_go_or_for_a_few_seconds(self) -> None:
        assert self.drawn(DRAWING.replace("clock=", "drawn=False, clock="))[1] == ""
        assert self.drawn(DRAWING.replace("1.0\n", "0.1\n"))[1] == ""


def _read(controller: int) -> bytes:
    try:
        return os.read(controller, 65536)
    except OSError:  # the other end is closed
        return b""


def link_of(method: str, **changes: object) -> Link:
    return Link(
        code=None, codes=(), description=None, kind=None, method=method, generated="", log_prob=None, distance=None,  # type: ignore[arg-type]
        candidates=(), provenance=Provenance(BundleIdentity("b", "0", "e"), "", "", "", "probable", "II", "tiered"),
        **changes,
    )  # fmt: skip


class TestSummary:
    def filled(self, clock: FakeClock) -> Summary:
        summary = Summary(clock=clock)
        mentions = [Mention(SECRET), Mention(SECRET, id="2"), Mention(SECRET, "Una frase."), Mention("tos")]
        for mention in mentions:
            summary.read(mention)
        spent = Timings(generate=6.0, search=1.0, mentions=4)
        for method in ("semantic", "exact", "exact", "none"):
            summary.add(link_of(method, timings=spent))
        summary.read(MentionError("no text"))
        summary.add(MentionError("no text"))
        clock.now += 10
        return summary

    def test_its_lines(self, clock: FakeClock) -> None:
        lines = self.filled(clock).lines()
        assert lines == [
            "cielo: 5 rows, 3 distinct mentions, 1 error; 10.0 s, 0.5 rows a second",
            "  by method: 2 exact, 1 semantic, 1 none",
        ]

    def test_decisions_are_said_where_there_are_any(self, clock: FakeClock) -> None:
        summary = self.filled(clock)
        summary.decisions.update({"accept": 3, "review": 1})
        assert summary.lines()[-1] == "  by decision: 3 accept, 1 review"

    def test_verbose_says_what_the_stages_took(self, clock: FakeClock) -> None:
        with click.Context(main) as context:
            context.meta.update(VERBOSE)
            assert self.filled(clock).lines()[-1] == "  seconds of each stage: generate 6.00, search 1.00"


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    source = tmp_path / "rows.csv"
    source.write_text(f"text,kind\ntos,\nTC abdominal,\ntos,\nfiebre,{SECRET}\n", encoding="utf-8")
    return source


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a line for each batch."""
    monkeypatch.setattr(module, "_SILENT", 0.0)
    monkeypatch.setattr(module, "_EVERY", 0.0)


def commands(group: click.Group, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    with click.Context(group) as context:
        for name in group.list_commands(context):
            command = group.get_command(context, name)
            if isinstance(command, click.Group):
                yield from commands(command, (*path, name))
            yield (*path, name)


class TestCommands:
    def test_rows_end_with_a_summary(self, rows: Path, tmp_path: Path) -> None:
        done = run("link", "--input", rows, "--output", tmp_path / "out.csv")
        assert (done.exit_code, done.stdout) == (3, "")
        first, second, *rest = done.stderr.splitlines()
        assert first.startswith("cielo: 4 rows, 3 distinct mentions, 1 error; ")
        assert second.startswith("  by method: ") and rest == [
            "  by decision: 3 accept, 0 review, 0 none",
            "cielo: 1 row(s) hold an error; see their column `error`",
        ]
        assert SECRET not in done.stderr

    @pytest.mark.usefixtures("at_once")
    def test_rows_are_told_of_inside_a_chunk(self, tmp_path: Path) -> None:
        lines = DEVELOPMENT.read_text(encoding="utf-8").splitlines(keepends=True)[:101]
        source = tmp_path / "rows.tsv"
        source.write_text("".join(lines), encoding="utf-8")
        done = run("link", "--input", source, "--output", tmp_path / "out.csv")
        assert done.exit_code == 0, done.output
        counts = [line for line in done.stderr.splitlines() if line.startswith("cielo: linking: ")]
        assert len(counts) > 2
        assert counts[-1].startswith("cielo: linking: 100 of 100 mentions, ")

    @pytest.mark.usefixtures("at_once")
    def test_standard_input_is_not_read_twice(self) -> None:
        done = CliRunner().invoke(main, ["link", "--input", "-", "--format", "csv"], input="text\ntos\n")
        assert done.exit_code == 0, done.output
        assert "cielo: linking: 1 mentions" in done.stderr
        assert done.stdout.startswith("text,code,")

    @pytest.mark.parametrize("arguments", [("link", "-q"), ("-q", "link"), ("link", "--quiet")])
    @pytest.mark.usefixtures("at_once")
    def test_quiet_leaves_what_is_wrong(self, rows: Path, tmp_path: Path, arguments: tuple[str, ...]) -> None:
        done = run(*arguments, "--input", rows, "--output", tmp_path / "out.csv")
        assert done.exit_code == 3
        assert done.stderr == "cielo: 1 row(s) hold an error; see their column `error`\n"

    def test_verbose_says_what_was_opened(self, rows: Path, tmp_path: Path) -> None:
        done = run("link", "-v", "--input", rows, "--output", tmp_path / "out.csv")
        assert "cielo: bundle mini@" in done.stderr
        for words in ("backend onnx", "decoding constrained", "thread(s) each", "seconds of each stage: "):
            assert words in done.stderr
        alone = run("-v", "link", "tos", "--json").stderr
        assert alone.startswith("cielo: bundle mini@") and "seconds of each stage: tokenize " in alone
        assert run("link", "tos", "--json").stderr == ""

    def test_both_are_wrong_usage(self) -> None:
        for arguments in (("-q", "link", "tos", "-v"), ("link", "-q", "-v", "tos")):
            done = run(*arguments)
            assert (done.exit_code, "exclude each other" in done.stderr) == (2, True)

    @pytest.mark.parametrize("path", sorted(commands(main)), ids=" ".join)
    def test_every_command_takes_them(self, path: tuple[str, ...]) -> None:
        shown = run(*path, "--help").output
        assert "-q, --quiet" in shown and "-v, --verbose" in shown

    @pytest.mark.usefixtures("at_once")
    def test_evaluating_tells_of_each_run(self, tmp_path: Path) -> None:
        corpus = tmp_path / "corpus.tsv"
        corpus.write_text("".join(DEVELOPMENT.read_text(encoding="utf-8").splitlines(keepends=True)[:31]))
        command = ("evaluate", corpus, "--json", "--resamples", "100", "--beside", "I")
        done = run(*command)
        assert done.exit_code == 0, done.output
        json.loads(done.stdout)
        assert "cielo: linking, constrained: 30 of 30 mentions" in done.stderr
        assert "cielo: linking, constrained, pipeline I: 30 of 30 mentions" in done.stderr
        assert "cielo: 60 mentions in " in done.stderr
        quiet = run(*command, "-q")
        assert (quiet.exit_code, quiet.stderr) == (0, "")

    @pytest.mark.usefixtures("at_once")
    def test_calibrating_tells_of_all_mentions(self, tmp_path: Path) -> None:
        corpus = tmp_path / "corpus.tsv"
        corpus.write_text("".join(DEVELOPMENT.read_text(encoding="utf-8").splitlines(keepends=True)[:201]))
        bundle = Path(__file__).parents[3] / "models" / "mini" / "bundle"
        done = run("calibrate", bundle, corpus, "--output", tmp_path / "calibrated")
        assert done.exit_code == 0, done.output
        assert "cielo: linking: 200 of 200 mentions" in done.stderr
        assert "cielo: 200 mentions in " in done.stderr

    @pytest.mark.usefixtures("at_once")
    def test_a_conversion_tells_of_its_steps(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def convert(*_: object, progress: Callable[[str, int, int], None], **__: object) -> Converted:
            progress("generator", 0, 1)
            for done in (0, 256, 512):
                progress("vectors", done, 600)
            return Converted(Bundle.open(default_bundle()), 0)

        monkeypatch.setattr("cielo_convert.run.run_with_progress", convert)
        done = run("convert", "mini", "--output", tmp_path / "out", "--skip-checks")
        assert done.exit_code == 0, done.output
        assert "cielo: generator: 0 s so far" in done.stderr
        assert "cielo: vectors: 512 of 600, " in done.stderr
        assert "vectors: " not in done.stdout

    @pytest.mark.usefixtures("at_once")
    def test_a_bulk_run_tells_of_mentions(self, tmp_path: Path) -> None:
        source = tmp_path / "rows.tsv"
        lines = DEVELOPMENT.read_text(encoding="utf-8").splitlines(keepends=True)
        source.write_text("".join(lines[:41] + lines[1:41]), encoding="utf-8")
        done = run("bulk", source, "--output", tmp_path / "out", "--rows", "16")
        assert done.exit_code == 0, done.output
        counts = [line for line in done.stderr.splitlines() if line.startswith("cielo: linking: ")]
        assert counts[-1].startswith("cielo: linking: 40 of 40 mentions")
        assert "cielo: 80 rows, 40 distinct mentions" in done.stderr
        quiet = run("bulk", source, "--output", tmp_path / "quiet", "-q")
        assert (quiet.exit_code, quiet.stderr) == (0, "")
