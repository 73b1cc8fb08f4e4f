"""`cielo bulk` at length: rows of the mini's held-out mentions, its speed, and its memory over time.

    python -m benchmarks.bulk million --rows 1000000 --distinct 20000 --results benchmarks/results
    python -m benchmarks.bulk scaling --rows 20000 --distinct 4000 --results benchmarks/results

The lexicon is off and there is no cache: every distinct mention is linked by the model, once.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

from cielo import CieloError, Link, Linker
from cielo.workbench.bench.system import describe_system

ROOT = Path(__file__).parents[1]
DEV = ROOT / "models" / "mini" / "dev.tsv"
COMMAND = [sys.executable, "-P", "-m", "cielo.cli", "bulk"]
EVERY = 0.5  # seconds between two looks at the memory


def write_input(path: Path, rows: int, distinct: int, seed: int = 1) -> None:
    """Write rows that hold `distinct` different mentions: held-out ones, in sentences that differ by an age."""
    drawn = random.Random(seed)  # noqa: S311
    with DEV.open(encoding="utf-8", newline="") as file:
        texts = [row["text"] for row in csv.DictReader(file, delimiter="\t")]
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "text", "sentence"])
        for number in range(rows):
            which = number if number < distinct else drawn.randrange(distinct)
            text = texts[which % len(texts)]
            writer.writerow([number, text, f"Paciente de {18 + which // len(texts)} años: {text}."])


def memory_of(process: int) -> tuple[int, int]:
    """Return the resident bytes of a process, all of them and those that are no file's."""
    fields = dict(line.split(":", 1) for line in Path(f"/proc/{process}/status").read_text().splitlines())
    return tuple(1024 * int(fields[name].split()[0]) for name in ("VmRSS", "RssAnon"))  # type: ignore[return-value]


def run(source: Path, output: Path, processes: int, *options: str) -> tuple[float, list[list[float]]]:
    """Run the command in some processes at once; return seconds, and (seconds, resident, anonymous) of the first."""
    started = time.perf_counter()
    children = [
        subprocess.Popen([*COMMAND, str(source), "--output", str(output), *options], stderr=subprocess.DEVNULL)
        for _ in range(processes)
    ]
    curve = []
    while any(child.poll() is None for child in children):
        with contextlib.suppress(OSError, KeyError):
            curve.append([time.perf_counter() - started, *memory_of(children[0].pid)])
        time.sleep(EVERY)
    if any(child.returncode for child in children):
        raise SystemExit("a run failed")
    return time.perf_counter() - started, curve


def million(rows: int, distinct: int, results: Path, folder: Path) -> None:
    """Measure one long run and its memory."""
    source = folder / "rows.csv"
    write_input(source, rows, distinct)
    seconds, curve = run(source, folder / "out", 1)
    summary = json.loads((folder / "out" / "summary.json").read_bytes())
    thinned = curve[:: max(1, len(curve) // 200)]
    record = {
        "rows": rows, "distinct": summary["distinct"], "linked": summary["linked"], "errors": summary["errors"],
        "lexicon": None, "cache": None, "input_bytes": source.stat().st_size, "seconds": round(seconds, 1),
        "rows_per_second": round(rows / seconds, 1), "peak_resident_mb": round(max(r for _, r, _ in curve) / 1e6, 1),
        "peak_anonymous_mb": round(max(a for _, _, a in curve) / 1e6, 1), "load_average": os.getloadavg(),
        "curve_seconds_resident_mb_anonymous_mb": [
            [round(t, 1), round(r / 1e6, 1), round(a / 1e6, 1)] for t, r, a in thinned
        ],
    }  # fmt: skip
    (results / "bulk-million.json").write_text(json.dumps(record) + "\n", encoding="utf-8")
    plot(thinned, results / "bulk-million.svg")


def plot(curve: list[list[float]], path: Path) -> None:
    """Draw the memory over time."""
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(6, 3))
    seconds, resident, anonymous = zip(*curve, strict=True)
    axes.plot(seconds, [value / 1e6 for value in resident], label="resident")
    axes.plot(seconds, [value / 1e6 for value in anonymous], label="of no file")
    axes.set_xlabel("seconds")
    axes.set_ylabel("MB")
    axes.set_ylim(bottom=0)
    axes.legend()
    figure.tight_layout()
    figure.savefig(path, metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")))


ARRANGEMENTS = {"one process, two threads": (1, 2), "one process": (1, 1), "two processes": (2, 1)}


def scaling(rows: int, distinct: int, results: Path, folder: Path, rounds: int) -> None:
    """Measure one process with two threads, one with one, two with one each, in turns; and `Linker.link` alone."""
    source = folder / "rows.csv"
    write_input(source, rows, distinct)
    seconds: dict[str, list[float]] = {name: [] for name in ARRANGEMENTS}
    for turn in range(rounds):
        for place, (name, (processes, threads)) in enumerate(ARRANGEMENTS.items()):
            output = folder / f"out-{turn}-{place}"
            taken, _ = run(source, output, processes, "--threads", str(threads), "--rows", "1024")
            seconds[name].append(taken)
    record = {
        "rows": rows, "distinct": distinct, "system": asdict(describe_system()), "load_average": os.getloadavg(),
        "runs": {name: figures(taken, rows) for name, taken in seconds.items()}, "overhead": overhead(source, folder),
    }  # fmt: skip
    (results / "bulk-scaling.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def figures(seconds: list[float], rows: int) -> dict[str, float | list[float]]:
    """Return the median and the spread of some runs."""
    median = statistics.median(seconds)
    return {
        "seconds": round(median, 2), "spread": [round(min(seconds), 2), round(max(seconds), 2)],
        "rows_per_second": round(rows / median, 1),
    }  # fmt: skip


def overhead(source: Path, folder: Path, rounds: int = 5) -> dict[str, float | list[float]]:
    """Measure what a run takes besides linking: the rest of its time, and its ratio to the same mentions linked alone.

    The rest is measured inside each run, around the linker: what disturbs the machine disturbs both parts of it.
    """
    from cielo import LinkOptions, Mention
    from cielo.bulk.records import BulkOptions
    from cielo.bulk.running import Run

    with source.open(encoding="utf-8", newline="") as file:
        mentions = list(dict.fromkeys(Mention(row["text"], row["sentence"]) for row in csv.DictReader(file)))
    distinct_only = folder / "distinct.csv"
    with distinct_only.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "sentence"])
        writer.writerows([mention.text, mention.sentence] for mention in mentions)
    rest, ratios = [], []
    with Linker.open(cache=False) as linker:
        list(linker.link_iter(mentions[:512], LinkOptions()))
        for turn in range(rounds):
            started = time.perf_counter()
            list(linker.link_iter(mentions, LinkOptions()))
            alone = time.perf_counter() - started
            timed = Timed(linker)
            started = time.perf_counter()
            bulk = Run(
                [str(distinct_only)], folder / f"overhead-{turn}", cast(Linker, timed), LinkOptions(), BulkOptions()
            )
            bulk.work(bulk.prepare())
            taken = time.perf_counter() - started
            rest.append(100 * (taken - timed.seconds) / timed.seconds)
            ratios.append(100 * (taken / alone - 1))
    return {
        "mentions": len(mentions), "rounds": rounds,
        "besides_linking_percent": round(statistics.median(rest), 1),
        "besides_linking_spread": [round(min(rest), 1), round(max(rest), 1)],
        "more_than_linking_alone_percent": round(statistics.median(ratios), 1),
        "more_than_linking_alone_spread": [round(min(ratios), 1), round(max(ratios), 1)],
    }  # fmt: skip


class Timed:
    """A linker whose calls are timed."""

    def __init__(self, linker: Linker) -> None:
        self._linker = linker
        self.seconds = 0.0

    def __getattr__(self, name: str) -> object:
        return getattr(self._linker, name)

    def link_each(self, *arguments: Any, **options: Any) -> Iterator[Link | CieloError]:
        """Link as the linker does; what it takes to come to the next link counts."""
        outcomes = self._linker.link_each(*arguments, **options)
        while True:
            started = time.perf_counter()
            outcome = next(outcomes, None)
            self.seconds += time.perf_counter() - started
            if outcome is None:
                return
            yield outcome


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("million", "scaling"))
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--distinct", type=int, default=20_000)
    parser.add_argument("--results", type=Path, default=ROOT / "benchmarks" / "results")
    parser.add_argument("--rounds", type=int, default=3, help="Of scaling.")
    given = parser.parse_args()
    given.results.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        if given.what == "million":
            million(given.rows, given.distinct, given.results, Path(folder))
        else:
            scaling(given.rows, given.distinct, given.results, Path(folder), given.rounds)


if __name__ == "__main__":
    main()
