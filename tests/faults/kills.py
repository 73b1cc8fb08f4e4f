"""Killed commands: a target is the old one or the whole new one, and nothing is left; ``python -m tests.faults.kills``.

Each writing command is started and killed after a random time, by SIGKILL, SIGTERM, SIGHUP or SIGINT. A target that
stood there must hold what it held, or what an unbroken run writes. After a signal that can be caught nothing else may
be left; what SIGKILL leaves is removed by the next run that writes into the same folder.
"""

from __future__ import annotations

import argparse
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
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
MINI = ROOT / "models" / "mini"
COMMAND = [sys.executable, "-P", "-c", "from cielo.cli import main; main(prog_name='cielo')"]
CODES = {signal.SIGTERM: 143, signal.SIGHUP: 129, signal.SIGINT: 130}
_PATIENCE = 120


@dataclass(frozen=True, slots=True)
class Writing:
    """A command that writes `target`, and how long an unbroken run of it takes here, in seconds."""

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
)  # fmt: skip


def prepare(folder: Path) -> None:
    rows = "".join(f"tos {number},Paciente con tos.\n" for number in range(300))
    (folder / "rows.csv").write_text(f"text,sentence\n{rows}", encoding="utf-8")
    lines = (MINI / "dev.tsv").read_text(encoding="utf-8").splitlines(keepends=True)
    (folder / "corpus.tsv").write_text("".join(lines[:120]), encoding="utf-8")
    (folder / "out").mkdir()


def start(folder: Path, writing: Writing) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "CIELO_STATE": str(folder / "state"), "TMPDIR": str(folder / "temporary")}
    (folder / "temporary").mkdir(exist_ok=True)
    overwriting = ("--overwrite",) if (folder / writing.target).exists() else ()
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
    if target.is_dir():
        checked = subprocess.run([*COMMAND, "verify", str(target)], capture_output=True, check=False)
        return checked.returncode == 0
    return target.stat().st_size > 0


def left(folder: Path, writing: Writing) -> list[str]:
    """Return what lies there beside the target."""
    names = {Path(writing.target).name}
    beside = [path.name for path in (folder / "out").iterdir() if path.name not in names]
    return [*beside, *(path.name for path in (folder / "temporary").iterdir())]


def kill(folder: Path, writing: Writing, dice: random.Random) -> list[str]:
    """Start a command, kill it, and return what is wrong afterwards."""
    target = folder / writing.target
    before = contents(target) if target.exists() else None
    number = dice.choice([signal.SIGKILL, signal.SIGKILL, *CODES])
    process = start(folder, writing)
    time.sleep(dice.uniform(0.05, writing.seconds))
    process.send_signal(number)
    complaint = process.communicate(timeout=_PATIENCE)[1].decode(errors="replace")
    wrong = []
    # A signal can come before Python handles it, or after the work is done.
    if number != signal.SIGKILL and process.returncode not in (0, 3, CODES[number], -number):
        wrong.append(f"{number.name}: exit code {process.returncode}: {complaint[-200:]}")
    if "Traceback" in complaint and process.returncode != -signal.SIGINT:
        wrong.append(f"{number.name}: a traceback")
    if target.exists() and contents(target) != before and not is_whole(target):
        wrong.append(f"{number.name}: the target is half-written")
    if before is not None and not target.exists():
        wrong.append(f"{number.name}: the target is gone")
    if number != signal.SIGKILL and process.returncode == CODES[number] and left(folder, writing):
        wrong.append(f"{number.name}: left behind: {left(folder, writing)}")
    return wrong


def campaign(kills: int, seed: int) -> int:
    """Kill so many commands; print each problem, and return how many there are."""
    dice = random.Random(seed)
    wrong: list[str] = []
    counts: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as name:
        for number in range(kills):
            writing = WRITINGS[number % len(WRITINGS)]
            folder = Path(name) / writing.name.replace(" ", "-")
            if not folder.exists():
                folder.mkdir()
                prepare(folder)
            counts[writing.name] += 1
            wrong += [f"{writing.name}: {problem}" for problem in kill(folder, writing, dice)]
        for writing in WRITINGS:  # what SIGKILL left goes with the next whole run
            folder = Path(name) / writing.name.replace(" ", "-")
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
    options = parser.parse_args()
    sys.exit(min(1, campaign(options.kills, options.seed)))
