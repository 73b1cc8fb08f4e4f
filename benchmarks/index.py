"""Searching a large index: a graph over the full vectors against graphs over fewer dimensions, with exact re-scoring.

``python benchmarks/index.py --rows 180000 --dimension 1024`` makes vectors as a sentence encoder would for a
terminology (seeded), builds each graph, and measures what it costs and what it finds, in one run: building, opening,
resident memory (each in a process of its own), time per query (one thread, the searches taking turns), and recall
against exact search. Beside the time on the wall stands the time on the processor: they differ where the machine has
other work, or waits for the disk. At 180,000 rows it needs 5 GB of disk and of memory.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import platform
import tempfile
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
from cielo.files import atomic_write, sha256_of
from cielo.machine import library_versions, processor_name
from cielo.retrieval.index import Index, IndexSettings
from numpy.typing import NDArray

SEED = 20240229
DIMENSIONS = (None, 128, 256, 384)
# How many are re-scored, and the breadth of the search: fewer, and the first three steps of a conversion.
STEPS = ((30, 64), (50, 64), (50, 128), (100, 128))
K = 10
ROUNDS = 5
COLD_QUERIES = 200


@dataclass(frozen=True, slots=True)
class Search:
    """A way to search: the graph's dimension (None: the full vectors), how many are re-scored, and the breadth."""

    dimension: int | None
    rescored: int
    ef: int

    @property
    def name(self) -> str:
        """Its name in the table."""
        graph = f"{self.dimension} dimensions, {self.rescored} re-scored" if self.dimension else "full vectors"
        return f"{graph}, ef {self.ef}"

    def open(self, work: Path) -> Index:
        """Open its graph."""
        return Index.load(folder(work, self.dimension), self.ef, self.rescored)


def searches(full: int) -> list[Search]:
    """Return every search that is compared."""
    fitting = [dimension for dimension in DIMENSIONS if dimension is not None and dimension < full]
    plain = [Search(None, 0, ef) for ef in dict.fromkeys(ef for _, ef in STEPS)]
    return [*plain, *(Search(dimension, *step) for dimension in fitting for step in STEPS)]


def folder(work: Path, dimension: int | None) -> Path:
    """Return where a graph is kept."""
    return work / f"graph-{dimension or 'full'}"


def make_vectors(work: Path, rows: int, dimension: int, queries: int, decay: float) -> dict[str, Any]:
    """Write unit vectors and queries: half of them members as somebody else would have written them, half far off.

    A member is the sum of a common direction, a chapter, a category, a subcategory, a concept and a side, each a normal
    draw of less spread than the one above it, whose variance falls over rotated axes as a power of their number:
    ``decay`` for the finer levels, 1.5 for the coarse ones. 1.2 is a little harder than the mini's encoder, where a
    quarter of the dimensions keeps 90 % of the squared distance of two nearest descriptions.
    """
    random = np.random.default_rng(SEED)

    def draw(count: int, spread: float, power: float) -> NDArray[np.float32]:
        scale = np.arange(1, dimension + 1) ** (-power / 2)
        scale *= spread / np.linalg.norm(scale)
        return random.standard_normal((count, dimension), dtype=np.float32) * scale.astype(np.float32)

    def below(parents: NDArray[np.float32], count: int, spread: float, power: float) -> NDArray[np.float32]:
        chosen = np.sort(random.integers(0, len(parents), count))
        return np.asarray(parents[chosen] + draw(count, spread, power), dtype=np.float32)

    common = draw(1, 0.8, 0.5)
    categories = below(common + draw(22, 0.45, 1.5), max(2, rows // 90), 0.55, 1.5)
    concepts = below(below(categories, max(2, rows // 8), 0.35, decay), max(2, rows // 2), 0.2, decay)
    members = below(concepts, rows, 0.12, decay)
    near = members[random.integers(0, rows, queries // 2)] + draw(queries // 2, 0.15, decay)
    far = below(categories, queries - queries // 2, 0.4, decay)
    axes = np.linalg.qr(random.normal(size=(dimension, dimension)))[0].astype(np.float32)
    for name, vectors in (("vectors", members), ("queries", np.concatenate([near, far]))):
        turned = vectors @ axes
        turned /= np.linalg.norm(turned, axis=1, keepdims=True)
        np.save(work / f"{name}.npy", turned)
    return {}


def description(row: int) -> str:
    """Return a text as long as a procedure's title."""
    return f"Descripción inventada número {row}, del largo que tiene el título de un procedimiento"


def build(work: Path, dimension: int | None) -> dict[str, Any]:
    """Build and write a graph."""
    vectors = np.load(work / "vectors.npy")
    before, start = memory("VmRSS"), (time.perf_counter(), time.process_time())
    index = Index.build([description(row) for row in range(len(vectors))], vectors, IndexSettings(dimension=dimension))
    seconds = {"build_s": time.perf_counter() - start[0], "build_cpu_s": time.process_time() - start[1]}
    index.save(folder(work, dimension))
    sizes = {file.name: file.stat().st_size for file in folder(work, dimension).iterdir()}
    return {**seconds, "build_added_mb": memory("VmHWM") - before, "files": sizes}


def exact(work: Path) -> dict[str, Any]:
    """Write the labels that exact search finds, and the distances of the nearest."""
    index = Index.load(folder(work, None), 1)
    queries = np.load(work / "queries.npy")
    before, start = memory("VmRSS"), time.perf_counter()
    found = index.search_exactly(queries, K)
    seconds, added = time.perf_counter() - start, memory("VmHWM") - before
    (work / "exact.json").write_text(
        json.dumps([[near.description for near in row] for row in found]), encoding="utf-8"
    )
    nearest = np.array([row[0].distance for row in found])
    half = len(queries) // 2
    quantiles = {
        name: np.quantile(part, [0.05, 0.5, 0.95]).round(4).tolist()
        for name, part in (("near", nearest[:half]), ("far", nearest[half:]))
    }
    return {"exact_s": seconds, "exact_added_mb": added, "nearest_distance_5_50_95": quantiles}


def resident(work: Path, search: Search) -> dict[str, Any]:
    """Open a graph and search it, one query at a time, and return what that adds to the process's memory."""
    queries = np.load(work / "queries.npy")
    np.ones((8, 8), dtype=np.float32) @ np.ones((8, 8), dtype=np.float32)  # so that BLAS has its buffers
    before, start = memory("VmRSS"), time.perf_counter()
    index = search.open(work)
    seconds, opened = time.perf_counter() - start, memory("VmRSS") - before
    for query in queries:
        index.search(query[None], K)
    searched, peak = memory("VmRSS") - before, memory("VmHWM") - before
    start = time.perf_counter()
    sha256_of(folder(work, search.dimension) / "graph.hnsw")
    hashed = time.perf_counter() - start
    return {"open_s": seconds, "hash_s": hashed, "opened_mb": opened, "searched_mb": searched, "peak_mb": peak}


def compare(work: Path, ways: list[Search]) -> list[dict[str, Any]]:
    """Return each search's recall and times: a query's is the median of rounds in which the searches take turns."""
    queries = np.load(work / "queries.npy")
    wanted = json.loads((work / "exact.json").read_text(encoding="utf-8"))
    indexes = [way.open(work) for way in ways]
    found = [[texts(index, query) for query in queries] for index in indexes]  # warms the page cache, too
    times = np.zeros((len(ways), ROUNDS, len(queries), 2))
    for turn in range(ROUNDS):
        for number, query in enumerate(queries):
            for shift in range(len(ways)):
                way = (number + shift) % len(ways)
                times[way, turn, number] = seconds_of(indexes[way], query)
    return [
        {
            **recalls(got, wanted),
            **milliseconds("", np.median(spent[:, :, 0], axis=0)),
            **milliseconds("cpu_", np.median(spent[:, :, 1], axis=0)),
            **milliseconds("cold_", cold(work, way, index, queries)),
        }
        for way, index, got, spent in zip(ways, indexes, found, times, strict=True)
    ]


def texts(index: Index, query: NDArray[np.float32]) -> list[str]:
    """Return the descriptions that a search finds."""
    return [near.description for near in index.search(query[None], K)[0]]


def seconds_of(index: Index, query: NDArray[np.float32]) -> tuple[float, float]:
    """Return how long one search takes, on the wall and on the processor."""
    start = time.perf_counter(), time.thread_time()
    index.search(query[None], K)
    return time.perf_counter() - start[0], time.thread_time() - start[1]


def cold(work: Path, way: Search, index: Index, queries: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the times of searches whose full vectors are not in the page cache at first."""
    number = os.open(folder(work, way.dimension) / "vectors.npy", os.O_RDONLY)
    os.posix_fadvise(number, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(number)
    some = queries[:: max(1, len(queries) // COLD_QUERIES)]
    return np.array([seconds_of(index, query)[0] for query in some])


def milliseconds(prefix: str, seconds: NDArray[np.float64]) -> dict[str, float]:
    """Return the median and the 99th percentile over the queries."""
    median, late = np.quantile(seconds, [0.5, 0.99]) * 1000
    return {f"{prefix}median_ms": float(median), f"{prefix}p99_ms": float(late)}


def recalls(found: list[list[str]], wanted: list[list[str]]) -> dict[str, float]:
    """Return the share of queries whose first answer is exact search's, and how much of its first ten is found."""
    first = np.array([got[0] == want[0] for got, want in zip(found, wanted, strict=True)])
    ten = np.mean([len({*got} & {*want}) / len(want) for got, want in zip(found, wanted, strict=True)])
    half = len(first) // 2
    shares = {"recall_at_1": first, "recall_at_1_near": first[:half], "recall_at_1_far": first[half:]}
    return {**{name: float(share.mean()) for name, share in shares.items()}, "recall_at_10": float(ten)}


def memory(name: str) -> float:
    """Return a figure of this process's memory from ``/proc/self/status``, in MB (of 1,000,000 bytes)."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) * 1024 / 1e6 for line in lines if line.startswith(f"{name}:"))


def alone(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call a function in a fresh process."""
    click.echo(f"{time.strftime('%H:%M:%S')} {function.__name__} {arguments[1:]}", err=True)
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(max_workers=1, mp_context=context) as pool:
        return pool.submit(function, *arguments).result()


COLUMNS: list[tuple[str, str, str]] = [
    ("search", "name", ""), ("build, processor s", "build_cpu_s", ".0f"), ("graph on disk MB", "graph_mb", ".0f"),
    ("open s", "open_s", ".2f"), ("resident MB, opened", "opened_mb", ".0f"),
    ("after searching", "searched_mb", ".0f"), ("share of float32", "share", ".0%"),
    ("median ms", "median_ms", ".2f"), ("p99 ms", "p99_ms", ".2f"), ("processor ms", "cpu_median_ms", ".2f"),
    ("p99", "cpu_p99_ms", ".2f"), ("cold median ms", "cold_median_ms", ".1f"),
    ("recall@1 near", "recall_at_1_near", ".4f"), ("recall@1 far", "recall_at_1_far", ".4f"),
    ("recall@10", "recall_at_10", ".4f"),
]  # fmt: skip


def table(rows: Iterable[dict[str, Any]]) -> str:
    """Return the comparison as a Markdown table."""
    lines = [[title for title, _, _ in COLUMNS], ["---"] * len(COLUMNS)]
    lines += [[format(row[key], form) for _, key, form in COLUMNS] for row in rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def measure(work: Path, rows: int, dimension: int, queries: int, decay: float) -> dict[str, Any]:
    """Return every figure; `work` must be an empty directory."""
    ways = searches(dimension)
    plain = rows * dimension * 4 / 1e6
    alone(make_vectors, work, rows, dimension, queries, decay)
    built = {size: alone(build, work, size) for size in dict.fromkeys(way.dimension for way in ways)}
    truth = alone(exact, work)
    held = [alone(resident, work, way) for way in ways]
    compared = alone(compare, work, ways)
    results = [
        {
            "name": way.name, "dimension": way.dimension, "rescored": way.rescored or None, "ef": way.ef,
            **built[way.dimension],
            "graph_mb": built[way.dimension]["files"]["graph.hnsw"] / 1e6, **memory_used,
            "share": memory_used["searched_mb"] / plain, **found,
        }
        for way, memory_used, found in zip(ways, held, compared, strict=True)
    ]  # fmt: skip
    return {
        "settings": {
            "rows": rows, "dimension": dimension, "queries": queries, "decay": decay, "seed": SEED, "k": K,
            "m": IndexSettings().m, "ef_construction": IndexSettings().ef_construction, "threads": 1,
            "float32_mb": plain,
        },
        "machine": {"processor": processor_name(), "cores": os.cpu_count(), "system": platform.platform()},
        "libraries": library_versions(),
        "exact_search": truth,
        "results": results,
    }  # fmt: skip


@click.command()
@click.option("--rows", default=180_000, show_default=True, help="Vectors.")
@click.option("--dimension", default=1024, show_default=True, help="Of the vectors.")
@click.option("--queries", default=2000, show_default=True, help="Half near a vector, half far from all.")
@click.option("--decay", default=1.2, show_default=True, help="Of the variance over the dimensions; less is harder.")
@click.option("--work", type=click.Path(file_okay=False, path_type=Path), help="Where the graphs are kept meanwhile.")
@click.option("--output", type=click.Path(dir_okay=False, path_type=Path), help="Every figure, as JSON.")
def main(rows: int, dimension: int, queries: int, decay: float, work: Path | None, output: Path | None) -> None:
    """Compare graphs over full and over projected vectors."""
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = "1"  # for the processes that measure
    with tempfile.TemporaryDirectory(dir=work) as temporary:
        figures = measure(Path(temporary), rows, dimension, queries, decay)
    if output:
        with atomic_write(output) as partial:
            partial.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    click.echo(table(figures["results"]))


if __name__ == "__main__":
    main()
