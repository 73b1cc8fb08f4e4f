"""A knowledge base of the size of a full edition: what building, opening, matching and searching it cost.

``python -m benchmarks.knowledge_base --rows 180000 --json knowledge_base.json`` writes the synthetic tables of
`benchmarks.terminology`, builds a knowledge base from them in a fresh process (no vectors), and opens it and asks it,
with its file in the page cache. Each answer is checked: what should be found is, what should not is not. Beside the
time on the wall stands the time on the processor: they differ where the machine has other work.
"""

from __future__ import annotations

import json
import multiprocessing
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from pathlib import Path
from random import Random
from typing import Any

import click
from cielo.files import atomic_write
from cielo.knowledge.building import build_knowledge_base
from cielo.knowledge.code_tables import CodeTable
from cielo.knowledge.reading import KnowledgeBase
from cielo.machine import bytes_in
from cielo.text.normal import normal_form
from cielo.workbench.bench.system import describe_system, resident

from benchmarks.terminology import SEED, write_terminology

OPENINGS = 20
TEXTS = 1_000
SEARCHES = 200
UNKNOWN = "zzq"  # the beginning of no word of the tables

Times = tuple[float, float]


def clock() -> Times:
    """Return the time on the wall and this process's time on the processor, in seconds."""
    return time.perf_counter(), time.process_time()


def since(start: Times) -> Times:
    """Return the time that has passed on both clocks."""
    now = clock()
    return now[0] - start[0], now[1] - start[1]


def build(path: Path, tables: Sequence[tuple[Path, str]]) -> dict[str, Any]:
    """Build a knowledge base from tables of codes."""
    start = clock()
    built = build_knowledge_base(path, [CodeTable(*table) for table in tables], edition="synthetic")
    wall, processor = since(start)
    return {
        "seconds": wall, "processor_seconds": processor, "concepts": built.summary.concepts,
        "descriptions": built.summary.descriptions, "rejected": len(built.rejected), "bytes": path.stat().st_size,
        "peak_memory": bytes_in(Path("/proc/self/status"), "VmHWM"),
    }  # fmt: skip


def open_once(path: Path, text: str) -> dict[str, Any]:
    """Open a knowledge base and give its first answer, and return how long each took and what memory that added."""
    before, start = resident(), clock()
    base = KnowledgeBase(path)
    opened = since(start)
    found = base.match(text)
    answered = since(start)
    memory = (resident() or 0) - (before or 0)
    base.close()
    if not found:
        raise RuntimeError("a description of the knowledge base was not found in it; the figures mean nothing")
    return {"opened": opened, "answered": answered, "memory": memory}


def openings(path: Path, text: str, rounds: int, *, fresh: bool) -> dict[str, Any]:
    """Return the medians of `rounds` openings, each in a fresh process or all in this one."""
    found = [alone(open_once, path, text) if fresh else open_once(path, text) for _ in range(rounds)]
    return {
        "rounds": rounds,
        "open": summary([one["opened"] for one in found]),
        "open_and_first_match": summary([one["answered"] for one in found]),
        "added_memory": statistics.median(one["memory"] for one in found),
    }


def texts(descriptions: Sequence[str], count: int) -> dict[str, list[str]]:
    """Return texts to be matched: descriptions, others in normal form alone, and such as are no description."""
    chosen = Random(SEED).sample(list(descriptions), min(count, len(descriptions)))  # noqa: S311
    known = set(descriptions)
    written = [
        next(form for form in (f"{text.upper()}.", f"¡{text.upper()}!.") if form not in known) for text in chosen
    ]
    return {"exact": chosen, "normal form": written, "unknown": [f"{text} {UNKNOWN}" for text in chosen]}


def searches(descriptions: Sequence[str], count: int) -> dict[str, list[str]]:
    """Return words to search for: one word, two words of a description, and two of which one is in no description."""
    chosen = Random(SEED + 1).sample(list(descriptions), min(count, len(descriptions)))  # noqa: S311
    words = [normal_form(text).split() for text in chosen]
    return {
        "one word": [found[0] for found in words],
        "two words": [f"{found[0]} {found[-1]}" for found in words],
        "one of two words": [f"{found[0]} {UNKNOWN}" for found in words],
    }


def ask(function: Callable[[str], Sequence[Any]], asked: Sequence[str]) -> dict[str, Any]:
    """Ask for each text once to warm up and once to be timed; return the times and how many were answered."""
    answered = sum(bool(function(text)) for text in asked)
    times = []
    for text in asked:
        start = clock()
        function(text)
        times.append(since(start))
    return {"texts": len(asked), "answered": answered, **summary(times)}


def summary(times: Sequence[Times]) -> dict[str, float]:
    """Return the median and the 95th percentile, in milliseconds."""
    wall = sorted(1000 * wall for wall, _ in times)
    return {
        "median_ms": statistics.median(wall),
        "p95_ms": wall[min(len(wall) - 1, int(0.95 * len(wall)))],
        "processor_median_ms": 1000 * statistics.median(processor for _, processor in times),
    }


def alone(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call a function in a fresh process."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(max_workers=1, mp_context=context) as pool:
        return pool.submit(function, *arguments).result()


def measure(work: Path, rows: int) -> dict[str, Any]:
    """Return every figure; the tables and the knowledge base are written into `work`."""
    path = work / "knowledge_base.sqlite"
    built = alone(build, path, write_terminology(work / "tables", rows))
    base = KnowledgeBase(path)
    descriptions = list(dict.fromkeys(text for kind in base.kinds for text in base.descriptions(kind)))
    matched = {name: ask(base.match, asked) for name, asked in texts(descriptions, TEXTS).items()}
    words = {
        name: ask(lambda text: base.search(text).found, asked)
        for name, asked in searches(descriptions, SEARCHES).items()
    }
    base.close()
    require(matched, words)
    return {
        "settings": {"rows": rows, "seed": SEED, "distinct_descriptions": len(descriptions)},
        "system": asdict(describe_system()),
        "sqlite": sqlite3.sqlite_version,
        "build": built,
        "open_in_a_fresh_process": openings(path, descriptions[0], OPENINGS, fresh=True),
        "open_in_the_same_process": openings(path, descriptions[0], OPENINGS, fresh=False),
        "match": matched,
        "search": words,
    }


def require(matched: dict[str, dict[str, Any]], words: dict[str, dict[str, Any]]) -> None:
    """Raise where an answer is not as it must be: times of wrong answers mean nothing."""
    for name, row in {**matched, **words}.items():
        wanted = 0 if name == "unknown" else row["texts"]
        if row["answered"] != wanted:
            raise RuntimeError(f"{name}: {row['answered']} of {row['texts']} texts were answered, expected {wanted}")


def table(found: dict[str, Any]) -> str:
    """Return the figures as a Markdown table."""
    built = found["build"]
    rows = [
        ("build, seconds", built["seconds"], None, built["processor_seconds"]),
        *((f"{name.replace('_', ' ')}, ms", *_columns(found[name]["open"])) for name in found if name[:5] == "open_"),
        *((f"match, {name}, ms", *_columns(row)) for name, row in found["match"].items()),
        *((f"search, {name}, ms", *_columns(row)) for name, row in found["search"].items()),
    ]
    lines = ["| | median | 95th percentile | on the processor, median |", "|---|---|---|---|"]
    for name, *values in rows:
        lines.append(f"| {name} | {' | '.join('' if value is None else f'{value:.3g}' for value in values)} |")
    return "\n".join(lines)


def _columns(row: dict[str, float]) -> tuple[float, float, float]:
    return row["median_ms"], row["p95_ms"], row["processor_median_ms"]


@click.command()
@click.option("--rows", default=180_000, show_default=True, help="Of both tables.")
@click.option("--work", type=click.Path(file_okay=False, exists=True, path_type=Path), help="Where the files are kept.")
@click.option("--json", "output", type=click.Path(dir_okay=False, path_type=Path), help="Every figure, as JSON.")
def main(rows: int, work: Path | None, output: Path | None) -> None:
    """Measure a knowledge base of the size of a full edition."""
    with tempfile.TemporaryDirectory(dir=work) as temporary:
        found = measure(Path(temporary), rows)
    if output:
        with atomic_write(output) as partial:
            partial.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    click.echo(table(found))


if __name__ == "__main__":
    main()
