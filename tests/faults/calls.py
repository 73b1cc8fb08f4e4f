"""Many callers of one cache file: each gets the link of its mention alone; ``python -m tests.faults.calls --help``.

Several processes, each with a linker and many threads, link single mentions in random order over one cache file.
"""

from __future__ import annotations

import argparse
import dataclasses
import multiprocessing
import random
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from cielo import Link, Linker, LinkOptions, Mention, Timings

from tests.faults.rows import TEXTS, sentence

OPTIONS = (LinkOptions(), LinkOptions(top_k=1), LinkOptions(pipeline="I"), LinkOptions(neighbours="always"))
_CLOSE = 1e-4  # of a log-probability: another batch rounds otherwise


def mentions() -> list[Mention]:
    return [Mention(f"{text}{end}", sentence(text)) for text in TEXTS for end in ("", " leve", " izquierda")]


def bare(link: Link) -> Link:
    """Return what of a link does not depend on its batch."""
    return dataclasses.replace(
        link, timings=Timings(), id=None, log_prob=None, margin=None, confidence=None, distance=None, candidates=()
    )


def same(one: Link, other: Link) -> bool:
    close = abs((one.log_prob or 0.0) - (other.log_prob or 0.0)) <= _CLOSE
    codes = [{candidate.code for candidate in link.candidates} for link in (one, other)]
    return close and bare(one) == bare(other) and codes[0] == codes[1]


def call(cache: str, threads: int, calls: int, seed: int, results: Any) -> None:
    """Link `calls` single mentions in this process; put how many answers were wrong."""
    with Linker.open(device="cpu", threads=1, cache=False) as linker:
        alone = {
            (mention, number): linker.link([mention], options)[0]
            for mention in mentions()
            for number, options in enumerate(OPTIONS)
        }
    with Linker.open(device="cpu", threads=1, cache=Path(cache)) as linker:

        def work(part: int) -> int:
            dice = random.Random(f"{seed} {part}")
            wrong = 0
            for _ in range(calls // threads):
                mention, number = dice.choice(list(alone))
                wrong += not same(linker.link([mention], OPTIONS[number])[0], alone[mention, number])
            return wrong

        with ThreadPoolExecutor(threads) as pool:
            wrong = sum(pool.map(work, range(threads)))
        results.put((wrong, linker.cache_stats.hits, linker.cache_stats.misses))


def campaign(calls: int, processes: int, threads: int, seed: int) -> int:
    """Return how many of all calls got a wrong answer."""
    spawn = multiprocessing.get_context("spawn")
    results = spawn.Queue()
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        started = [
            spawn.Process(target=call, args=(f"{folder}/links.cache", threads, calls // processes, seed + one, results))
            for one in range(processes)
        ]
        for process in started:
            process.start()
        found = [results.get() for _ in started]
        for process in started:
            process.join()
    codes = [process.exitcode for process in started]
    wrong, hits, misses = (sum(column) for column in zip(*found, strict=True))
    print(
        f"seed {seed}: {calls:,} calls, {threads} threads in each of {processes} processes, one cache: {wrong} wrong, "
        f"{hits:,} hits, {misses:,} misses, exit codes {codes}, {time.monotonic() - start:.0f} s"
    )
    return wrong + sum(map(bool, codes))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=20_000)
    parser.add_argument("--processes", type=int, default=4)
    parser.add_argument("--threads", type=int, default=16)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    sys.exit(min(1, campaign(options.calls, options.processes, options.threads, options.seed)))
