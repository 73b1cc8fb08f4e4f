"""Killed commands: a target is the old one or the whole new one, and nothing is left; ``python -m tests.faults.kills``.

Each writing command is started and killed after a random time, by SIGKILL, SIGTERM, SIGHUP or SIGINT. A target that
stood there must hold what it held, or what an unbroken run writes. After a signal that can be caught nothing else may
be left; what SIGKILL leaves is removed by the next run that writes into the same folder. No process that the command
has started may outlive it, whatever the signal.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
MINI = ROOT / "models" / "mini"
COMMAND = [sys.executable, "-P", "-c", "from cielo.cli import main; main(prog_name='cielo')"]
CODES = {signal.SIGTERM: 143, signal.SIGHUP: 129, signal.SIGINT: 130}
_PATIENCE, _AFTERWARDS = 120, 10  # seconds


@dataclass(frozen=True, slots=True)
class Writing:
    """A command that writes `target`, a file or a folder, and how long an unbroken run of it takes here, in seconds."""

    name: str
    arguments: tuple[str, ...]
    target: str
    seconds: float


WRITINGS = (
    Writing("link", ("link", "--input", "rows.csv", "--output", "out/links.jsonl"), "out/links.jsonl", 2.5),
    Writing("link to a workbook", ("link", "--input", "rows.csv", "--output", "out/links.xlsx"), "out/links.xlsx", 3.0),
    Writing("kb build", ("kb", "build", "out/kb.sqlite", "--table", f"procedure={MINI}/terms/procedures.tsv"),
            "out/kb.sqlite", 0.6),
    Writing("lexicon build", ("lexicon", "build", str(MINI / "dev.tsv"), "--minimum-count", "1",
                              "--output", "out/lexicon.tsv"), "out/lexicon.tsv", 0.8),
    Writing("evaluate", ("evaluate", "corpus.tsv", "--resamples", "100", "--tsv", "out/rows.tsv"), "out/rows.tsv", 2.0),
    Writing("calibrate", ("calibrate", str(MINI / "bundle"), str(MINI / "dev.tsv"), "--output", "out/calibrated"),
            "out/calibrated", 4.0),
    Writing("bench", ("bench", "--seconds", "0.2", "--scenario", "offline", "--json", "out/bench.json"),
            "out/bench.json", 1.2),
    Writing("tune", ("tune", "--prompts", "2", "--rounds", "1"), "state/plans", 3.5),
    Writing("verify parity", ("verify", "--parity"), "state/parity", 6.0),
    Writing("convert", ("convert", "recipe/tiny.toml", "--output", "out/converted"), "out/converted", 14.0),
)  # fmt: skip


def prepare(folder: Path, writing: Writing) -> None:
    rows = "".join(f"tos {number},Paciente con tos.\n" for number in range(300))
    (folder / "rows.csv").write_text(f"text,sentence\n{rows}", encoding="utf-8")
    lines = (MINI / "dev.tsv").read_text(encoding="utf-8").splitlines(keepends=True)
    (folder / "corpus.tsv").write_text("".join(lines[:120]), encoding="utf-8")
    (folder / "out").mkdir()
    if writing.name == "convert":
        make_tiny(folder)


def make_tiny(folder: Path) -> Path:
    """Make tiny checkpoints and their recipe in `folder`, and return the recipe's path."""
    from tests.checkpoints import make_encoder_checkpoint, make_generator_checkpoint, make_recipe

    shape = {"seed": 1, "layers": 3, "decoder_layers": 1, "d_model": 32, "d_kv": 8, "heads": 4}
    generator = make_generator_checkpoint(folder / "generator", config_flag=True, **shape)
    encoder = make_encoder_checkpoint(folder / "encoder")
    return make_recipe(folder / "recipe", generator, encoder, changes={"prompts": "2"})


def start(folder: Path, writing: Writing) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "CIELO_STATE": str(folder / "state"), "TMPDIR": str(folder / "temporary")}
    (folder / "temporary").mkdir(exist_ok=True)
    replaced = writing.target.startswith("out/") and (folder / writing.target).exists()
    overwriting = ("--overwrite",) if replaced else ()
    return subprocess.Popen(
        [*COMMAND, *writing.arguments, *overwriting], cwd=folder, env=environment,
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
    )  # fmt: skip


def contents(target: Path) -> dict[str, bytes]:
    files = [target] if target.is_file() else sorted(path for path in target.rglob("*") if path.is_file())
    return {path.relative_to(target.parent).as_posix(): path.read_bytes() for path in files}


def is_whole(target: Path) -> bool:
    """Tell whether a target can be read to its end."""
    if target.suffix == ".jsonl":
        return all(json.loads(line) for line in target.read_text(encoding="utf-8").splitlines())
    if target.parent.name == "state":
        return all(json.loads(path.read_bytes()) for path in target.iterdir())
    if target.is_dir():
        checked = subprocess.run([*COMMAND, "verify", str(target)], capture_output=True, check=False)
        return checked.returncode == 0
    return target.stat().st_size > 0


def left(folder: Path, writing: Writing) -> list[str]:
    """Return what lies there beside the target; the machine's state keeps more than one thing."""
    names = {Path(writing.target).name}
    beside = [path.name for path in (folder / "out").iterdir() if path.name not in names]
    half = [path.name for path in (folder / "state").rglob("*.partial*")]
    return [*beside, *half, *(path.name for path in (folder / "temporary").iterdir())]


def descendants(pid: int) -> list[int]:
    """Return the processes that a process has started, and those that these have started; Linux alone tells."""
    found: list[int] = []
    for tasks in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            found += [int(word) for word in tasks.read_text(encoding="ascii").split()]
    return [*found, *(further for child in found for further in descendants(child))]


def outlive(pids: Iterable[int]) -> list[int]:
    """Return the processes that still run after a few seconds, a dead one that nobody has waited for not counted."""
    alive = list(pids)
    end = time.monotonic() + _AFTERWARDS
    while (alive := [pid for pid in alive if _runs(pid)]) and time.monotonic() < end:
        time.sleep(0.05)
    return alive


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def kill(folder: Path, writing: Writing, dice: random.Random) -> list[str]:
    """Start a command, kill it, and return what is wrong afterwards."""
    target = folder / writing.target
    before = contents(target) if target.exists() else None
    number = dice.choice([signal.SIGKILL, signal.SIGKILL, *CODES])
    # Of an earlier SIGKILL, which this run may be too short to remove; their names are never used again.
    (folder / "temporary").mkdir(exist_ok=True)
    known = set(left(folder, writing))
    process = start(folder, writing)
    time.sleep(dice.uniform(0.05, writing.seconds))
    children = descendants(process.pid)
    process.send_signal(number)
    complaint = process.communicate(timeout=_PATIENCE)[1].decode(errors="replace")
    wrong = [f"{number.name}: a child outlives it"] if outlive(children) else []
    # A signal can come before Python handles it, or after the work is done.
    if number != signal.SIGKILL and process.returncode not in (0, 3, CODES[number], -number):
        wrong.append(f"{number.name}: exit code {process.returncode}: {complaint[-200:]}")
    if "Traceback" in complaint and process.returncode != -signal.SIGINT:
        wrong.append(f"{number.name}: a traceback")
    if target.exists() and contents(target) != before and not is_whole(target):
        wrong.append(f"{number.name}: the target is half-written")
    if before is not None and not target.exists():
        wrong.append(f"{number.name}: the target is gone")
    fresh = set(left(folder, writing)) - known
    if number != signal.SIGKILL and process.returncode == CODES[number] and fresh:
        wrong.append(f"{number.name}: left behind: {sorted(fresh)}")
    return wrong


def campaign(kills: int, seed: int, writings: Sequence[Writing] = WRITINGS) -> int:
    """Kill so many commands, by turns; print each problem, and return how many there are."""
    dice = random.Random(seed)
    wrong: list[str] = []
    counts: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as name:
        for number in range(kills):
            writing = writings[number % len(writings)]
            folder = Path(name) / writing.name.replace(" ", "-")
            if not folder.exists():
                folder.mkdir()
                prepare(folder, writing)
            counts[writing.name] += 1
            wrong += [f"{writing.name}: {problem}" for problem in kill(folder, writing, dice)]
        for writing in writings:  # what SIGKILL left goes with the next whole run
            folder = Path(name) / writing.name.replace(" ", "-")
            if not folder.exists():
                continue
            shutil.rmtree(folder / "temporary")
            start(folder, writing).communicate(timeout=_PATIENCE)
            if not (folder / writing.target).exists() or left(folder, writing):
                wrong.append(f"{writing.name}: after a whole run: {left(folder, writing) or 'no target'}")
    for problem in wrong:
        print(problem)
    done = ", ".join(f"{count} {name}" for name, count in counts.items())
    print(f"seed {seed}: {kills} kills ({done}): {len(wrong)} wrong")
    return len(wrong)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=120)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="+", choices=[writing.name for writing in WRITINGS], help="these commands")
    options = parser.parse_args()
    chosen = [writing for writing in WRITINGS if not options.only or writing.name in options.only]
    sys.exit(min(1, campaign(options.kills, options.seed, chosen)))
