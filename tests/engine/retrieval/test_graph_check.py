"""Graph files in which numbers were changed never crash the process: they are refused, or give answers within range."""

from __future__ import annotations

import random
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from cielo.bundle.layout import Layout, default_bundle
from cielo.errors import BundleError
from cielo.retrieval.graph_check import GraphShape, check_graph
from cielo.retrieval.index import Index, IndexSettings

COUNT, DIMENSION, M = 300, 6, 4
HEADER = 96
ELEMENT = 4 * (1 + 2 * M) + 4 * DIMENSION + 8
UPPER = HEADER + COUNT * ELEMENT
WORDS = (0, 1, 2, M, 2 * M, 2 * M + 1, COUNT - 1, COUNT, 255, 65535, 65536, 2**31 - 1, 2**31, 2**32 - 1)

# Run in a process of its own, with the folder of an index and files to take the place of its graph.
SEARCH = """
import shutil, sys
from pathlib import Path
import numpy as np
from cielo.errors import BundleError
from cielo.retrieval.index import Index
folder, queries = Path(sys.argv[1]), np.load(sys.argv[2])
for file in sys.argv[3:]:
    print(Path(file).name, end=" ", flush=True)
    shutil.copy(file, folder / "graph.hnsw")
    try:
        found = Index.load(folder, 64).search(queries, 10)
    except BundleError:
        print("refused", flush=True)
        continue
    right = all(near.description in %r and 0 <= near.distance < 100 for row in found for near in row)
    print("answered" if right else "wrong", flush=True)
"""


def unit(count: int, seed: int) -> np.ndarray:
    vectors = np.random.default_rng(seed).normal(size=(count, DIMENSION)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


TEXTS = {f"texto {number}" for number in range(COUNT)}


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("index") / "0"
    Index.build([f"texto {number}" for number in range(COUNT)], unit(COUNT, 0), IndexSettings(m=M)).save(folder)
    return folder


@pytest.fixture(scope="module")
def graph(saved: Path) -> bytes:
    return (saved / "graph.hnsw").read_bytes()


def put(content: bytes, place: int, form: str, *values: float) -> bytes:
    packed = struct.pack("<" + form, *values)
    return content[:place] + packed + content[place + len(packed) :]


def test_the_shape_of_a_sound_graph(saved: Path) -> None:
    shape = check_graph(saved / "graph.hnsw")
    assert (shape.count, shape.dimension, shape.links) == (COUNT, DIMENSION, M)
    assert shape.levels >= 2
    assert shape.element.itemsize == ELEMENT


def test_the_graphs_of_the_mini_are_sound() -> None:
    for file in Layout(default_bundle()).index.rglob("graph.hnsw"):
        assert isinstance(check_graph(file), GraphShape)


@pytest.mark.parametrize("count", [1, 2, 9])
def test_a_small_graph_is_sound(tmp_path: Path, count: int) -> None:
    vectors = unit(count, 1)
    Index.build([str(number) for number in range(count)], vectors, IndexSettings()).save(tmp_path / "0")
    assert Index.load(tmp_path / "0", 64).search(vectors, 1)[0][0].description == "0"


FAULTS: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "nothing": (lambda content: b"", "no whole header"),
    "a header alone": (lambda content: content[:HEADER], "fewer elements"),
    "half": (lambda content: content[: len(content) // 2], "fewer elements|end beyond|more or fewer"),
    "one word more": (lambda content: content + bytes(4), "more or fewer elements|impossible size"),
    "one byte more": (lambda content: content + b"x", "no whole number"),
    "one word less": (lambda content: content[:-4], "more or fewer elements|end beyond"),
    "elements without end": (lambda content: put(content, 16, "Q", 2**63), "fewer elements"),
    "one element more": (lambda content: put(content, 8, "QQ", COUNT + 1, COUNT + 1), "the graph has"),
    "no element": (lambda content: put(content, 16, "Q", 0), "fewer elements"),
    "elements of no size": (lambda content: put(content, 24, "Q", 0), "no room for its vectors"),
    "a label elsewhere": (lambda content: put(content, 32, "Q", 2**40), "no room for its vectors"),
    "a vector elsewhere": (lambda content: put(content, 40, "Q", 2**40), "no room for its neighbours"),
    "an entry that is none": (lambda content: put(content, 52, "I", COUNT), "begins with"),
    "a level below none": (lambda content: put(content, 48, "i", -1), "begins with"),
    "a level that no element has": (lambda content: put(content, 48, "i", 40), "another highest level"),
    "no neighbours": (lambda content: put(content, 56, "QQQ", 0, 0, 0), "numbers of neighbours"),
    "neighbours without end": (lambda content: put(content, 56, "QQQ", 2**62, 2**63, 2**62), "numbers of neighbours"),
    "a factor that is no number": (lambda content: put(content, 80, "d", float("nan")), "factor"),
    "too many neighbours": (lambda content: put(content, HEADER, "I", 2 * M + 1), "more neighbours than"),
    "a deleted element": (lambda content: put(content, HEADER + 2, "B", 1), "more neighbours than"),
    "a neighbour that is none": (lambda content: put(content, HEADER + 4, "I", COUNT), "none of its elements"),
    "a vector of no numbers": (lambda content: put(content, HEADER + 4 * (1 + 2 * M), "f", float("nan")), "finite"),
    "a vector without end": (lambda content: put(content, HEADER + 4 * (1 + 2 * M), "f", 1e38), "finite"),
    "a label that is none": (lambda content: put(content, HEADER + ELEMENT - 8, "Q", COUNT), "labels that are none"),
    "a label twice": (lambda content: put(content, HEADER + ELEMENT - 8, "Q", 7), "a label twice"),
    "lists of an odd size": (lambda content: put(content, UPPER, "I", 3), "impossible size|more or fewer"),
    "lists without end": (lambda content: put(content, UPPER, "I", 4 * (M + 1) * 10**6), "impossible size"),
}


@pytest.mark.parametrize(("change", "message"), FAULTS.values(), ids=FAULTS)
def test_each_fault_is_named(
    saved: Path, tmp_path: Path, graph: bytes, change: Callable[[bytes], bytes], message: str
) -> None:
    file = tmp_path / "graph.hnsw"
    file.write_bytes(change(graph))
    with pytest.raises(ValueError, match=message):
        check_graph(file)


def test_a_neighbour_of_a_lower_level_is_named(tmp_path: Path, saved: Path, graph: bytes) -> None:
    """hnswlib would read the list that such an element does not have."""
    place = UPPER
    while not struct.unpack_from("<I", graph, place)[0]:
        place += 4
    first = struct.unpack_from("<II", graph, place + 4)
    assert first[0] >= 1
    low = next(number for number in range(COUNT) if number != first[1] and _level(graph, number) == 0)
    (tmp_path / "graph.hnsw").write_bytes(put(graph, place + 8, "I", low))
    with pytest.raises(ValueError, match="not of its level"):
        check_graph(tmp_path / "graph.hnsw")


def _level(graph: bytes, element: int) -> int:
    place = UPPER
    for _ in range(element):
        place += 4 + struct.unpack_from("<I", graph, place)[0]
    return int(struct.unpack_from("<I", graph, place)[0]) // (4 * (M + 1))


def mutated(graph: bytes, dice: random.Random) -> bytes:
    content = bytearray(graph)
    for _ in range(dice.choice((1, 1, 1, 2, 8))):
        low, high = dice.choice([(0, HEADER), (HEADER, UPPER), (UPPER, len(content)), (0, len(content))])
        place = min(dice.randrange(low, high), len(content) - 9)
        way = dice.randrange(6)
        if way == 0:
            content[place] ^= 1 << dice.randrange(8)
        elif way in (1, 2):
            struct.pack_into("<I", content, place - place % 4, dice.choice(WORDS))
        elif way == 3:
            struct.pack_into("<Q", content, place - place % 8, dice.choice((*WORDS, 2**40, 2**63, 2**64 - 1)))
        elif way == 4:
            other = dice.randrange(len(content) - 64)
            content[place : place + 32] = content[other : other + 32]
        elif dice.random() < 0.2:
            del content[max(place, 200) :]
            content += bytes(dice.choice((0, 4, 64)))
            break
    return bytes(content)


@pytest.mark.parametrize("seed", range(2))
def test_mutated_graphs_never_crash(tmp_path: Path, saved: Path, graph: bytes, seed: int) -> None:
    dice = random.Random(seed)
    files = []
    for number in range(300):
        files.append(tmp_path / str(number))
        files[-1].write_bytes(mutated(graph, dice))
    np.save(tmp_path / "queries.npy", unit(20, 2))
    done = subprocess.run(
        [sys.executable, "-c", SEARCH % TEXTS, str(saved), str(tmp_path / "queries.npy"), *map(str, files)],
        capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip
    (saved / "graph.hnsw").write_bytes(graph)
    assert done.returncode == 0, f"{done.stdout.splitlines()[-1:]} {done.stderr}"
    outcomes = [line.split()[1] for line in done.stdout.splitlines()]
    assert len(outcomes) == len(files)
    assert set(outcomes) == {"refused", "answered"}
    assert outcomes.count("refused") > 100


def test_an_index_with_such_a_graph_is_one_error(tmp_path: Path, saved: Path, graph: bytes) -> None:
    (saved / "graph.hnsw").write_bytes(put(graph, 52, "I", COUNT))
    try:
        with pytest.raises(
            BundleError, match=r"cannot be loaded \(the graph has no element that a search begins with\)"
        ):
            Index.load(saved, 64)
    finally:
        (saved / "graph.hnsw").write_bytes(graph)
