"""The nearest descriptions of a vector: one HNSW graph (hnswlib) for each kind of the knowledge base.

Distances are squared L2 distances of unit vectors, 2 - 2 cos, in [0, 4] (hnswlib's ``l2`` space is squared).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

import hnswlib
import numpy as np
from numpy.typing import NDArray

from engine.errors import BundleError

Vectors = NDArray[np.float32]
# One fixed seed and one thread: the same vectors give the same graph.
_SEED = 20240229


@dataclass(frozen=True, slots=True)
class IndexSettings:
    """Parameters of an HNSW graph (Malkov and Yashunin, https://arxiv.org/abs/1603.09320)."""

    m: int = 16
    ef_construction: int = 200
    ef: int = 64

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as a dictionary."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A description near a vector, and its squared L2 distance."""

    description: str
    distance: float


class Index:
    """Descriptions of one kind and the graph over their vectors. Searching is thread-safe."""

    def __init__(self, graph: hnswlib.Index, vectors: Vectors, descriptions: list[list[str]]) -> None:
        """Hold a graph whose label `i` stands for `vectors[i]` and for each of `descriptions[i]`."""
        self._graph = graph
        self.vectors = vectors
        self.descriptions = descriptions

    @classmethod
    def build(cls, descriptions: Sequence[str], vectors: Vectors, settings: IndexSettings) -> Self:
        """Build the graph over the unit vectors [n, dimension] of n descriptions.

        Equal vectors would break the graph's connectivity: they become one label with several descriptions.
        """
        groups: dict[bytes, list[int]] = {}
        for row, vector in enumerate(vectors):
            groups.setdefault(vector.tobytes(), []).append(row)
        distinct = np.ascontiguousarray(vectors[[rows[0] for rows in groups.values()]], dtype=np.float32)
        graph = hnswlib.Index(space="l2", dim=vectors.shape[1])
        graph.init_index(len(distinct), M=settings.m, ef_construction=settings.ef_construction, random_seed=_SEED)
        for chunk in np.array_split(np.arange(len(distinct)), max(1, len(distinct) // 4096)):
            graph.add_items(distinct[chunk], chunk, num_threads=1)
        graph.set_ef(settings.ef)
        return cls(graph, distinct, [[descriptions[row] for row in rows] for rows in groups.values()])

    def save(self, directory: Path) -> None:
        """Write the graph, its vectors and its descriptions into `directory`, which is made."""
        directory.mkdir(parents=True)
        self._graph.save_index(str(directory / "graph.hnsw"))
        np.save(directory / "vectors.npy", self.vectors)
        text = json.dumps(self.descriptions, ensure_ascii=False, indent=0)
        (directory / "descriptions.json").write_text(text, encoding="utf-8")

    @classmethod
    def load(cls, directory: Path, ef: int) -> Self:
        """Open what `save` wrote. A damaged graph can crash the process: check its hash before.

        Raises:
            BundleError: where the files do not fit together.
        """
        try:
            descriptions = json.loads((directory / "descriptions.json").read_text(encoding="utf-8"))
            vectors: Vectors = np.load(directory / "vectors.npy", mmap_mode="r")
            graph = hnswlib.Index(space="l2", dim=vectors.shape[1])
            graph.load_index(str(directory / "graph.hnsw"), max_elements=len(vectors))
        except (OSError, EOFError, ValueError, IndexError, RuntimeError) as error:
            raise BundleError(
                f"the index {directory.name} cannot be loaded ({error}); build the bundle anew"
            ) from error
        if not len(descriptions) == len(vectors) == graph.get_current_count():
            raise BundleError(f"the index {directory.name} holds parts of different lengths; build the bundle anew")
        ends = [0, len(vectors) - 1]  # hnswlib reads a graph of any dimension as if it were of the one it is told
        if not np.array_equal(np.asarray(graph.get_items(ends)), vectors[ends]):
            raise BundleError(f"the index {directory.name} has a graph of other vectors; build the bundle anew")
        graph.set_ef(ef)  # hnswlib does not save it
        return cls(graph, vectors, descriptions)

    def __len__(self) -> int:
        return len(self.descriptions)

    def search(self, vectors: Vectors, k: int) -> list[list[Neighbour]]:
        """Return the descriptions of the (up to) `k` nearest labels of each vector [n, dimension], nearest first."""
        if not len(vectors):
            return []
        labels, distances = self._graph.knn_query(vectors, k=min(k, len(self)), num_threads=1)
        return [list(self._neighbours(*row)) for row in zip(labels, distances, strict=True)]

    def search_exactly(self, vectors: Vectors, k: int) -> list[list[Neighbour]]:
        """Return what `search` approximates, by comparing with every vector."""
        distances = squared_distances(vectors, np.asarray(self.vectors))
        order = np.argsort(distances, axis=1, kind="stable")[:, :k]
        return [list(self._neighbours(row, distances[number, row])) for number, row in enumerate(order)]

    def recall_at_1(self, vectors: Vectors) -> float:
        """Return the share of vectors whose nearest label `search` finds (an equally near one counts)."""
        found = np.array([row[0].distance for row in self.search(vectors, 1)])
        exact = np.array([row[0].distance for row in self.search_exactly(vectors, 1)])
        return float(np.mean(found <= exact + 1e-5))

    def _neighbours(self, labels: NDArray[Any], distances: NDArray[Any]) -> Iterator[Neighbour]:
        for label, distance in zip(labels, distances, strict=True):
            for description in self.descriptions[int(label)]:
                yield Neighbour(description, max(0.0, float(distance)))


def squared_distances(left: Vectors, right: Vectors) -> NDArray[np.float32]:
    """Return the squared L2 distances [n, m] of the rows of two matrices of unit vectors, 2 - 2 cos."""
    return np.asarray(2.0 - 2.0 * (left @ right.T), dtype=np.float32)


def save_all(indexes: dict[str, Index], directory: Path) -> None:
    """Write one index for each kind into `directory`: folders named by number, and their kinds in a list."""
    directory.mkdir(parents=True)
    for number, index in enumerate(indexes.values()):
        index.save(directory / str(number))
    (directory / "kinds.json").write_text(json.dumps(list(indexes), ensure_ascii=False), encoding="utf-8")


def load_all(directory: Path, ef: int) -> dict[str, Index]:
    """Open what `save_all` wrote."""
    try:
        kinds = json.loads((directory / "kinds.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BundleError("the index's list of kinds cannot be read; build the bundle anew") from error
    return {kind: Index.load(directory / str(number), ef) for number, kind in enumerate(kinds)}
