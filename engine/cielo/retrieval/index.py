"""The nearest descriptions of a vector: one HNSW graph (hnswlib) for each kind of the knowledge base.

Distances are squared L2 distances of unit vectors, 2 - 2 cos, in [0, 4] (hnswlib's ``l2`` space is squared).

A graph is over the vectors themselves, or over their first principal components, which takes a fraction of the memory:
then the graph proposes more neighbours than are asked for, and the full vectors of those, read from disk, decide. The
distances of both are of the full vectors. Only the graph is held in memory: vectors and descriptions are read where
they lie (see `cielo.retrieval.storage`).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import hnswlib
import numpy as np
from numpy.typing import NDArray

from cielo.errors import BundleError, remedy_for
from cielo.files import read_bounded
from cielo.retrieval.graph_check import check_graph
from cielo.retrieval.storage import Descriptions, Rows, VectorFile, read_descriptions, read_projection
from cielo.retrieval.vectors import Vectors, blocks, principal_directions, project, squared_distances

Mask = NDArray[np.bool_]
# One fixed seed and one thread: the same vectors give the same graph.
_SEED = 20240229
RESCORED = 50  # neighbours that the full vectors decide between, where a bundle does not say how many
# Distances that are worked on at once: with the blocks of vectors, what bounds the memory of exact search.
_CELLS = 1 << 21
# What a distance takes: itself, twice in between, and its place in the order; and how often a vector is held.
_CELL_BYTES, _COPIES = 32, 2
# Exact search keeps so many more than it is asked for: matrix products round otherwise than differences.
_SPARE = 8
# Neighbours that the graph is asked for at most, where few of them are allowed.
_WIDEST = 2048
# Vectors of a graph that are compared with the file of vectors at opening.
_SAMPLE = 16


@dataclass(frozen=True, slots=True)
class IndexSettings:
    """Parameters of an HNSW graph (Malkov and Yashunin, https://arxiv.org/abs/1603.09320).

    Attributes:
        m: links of a vector in the graph.
        ef_construction: breadth of the search for them.
        ef: breadth of a search.
        dimension: how many principal components the graph is over; None: it is over the vectors themselves.
        rescored: how many neighbours the full vectors decide between; without a `dimension` it means nothing.
    """

    m: int = 16
    ef_construction: int = 200
    ef: int = 64
    dimension: int | None = None
    rescored: int = RESCORED


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A description near a vector, and its squared L2 distance."""

    description: str
    distance: float


class Index:
    """Descriptions of one kind and the graph over their vectors. Searching is thread-safe."""

    def __init__(
        self,
        graph: hnswlib.Index,
        rows: Rows,
        descriptions: Descriptions,
        projection: Vectors | None = None,
        rescored: int = RESCORED,
    ) -> None:
        """Hold a graph whose label `i` stands for the vector `rows[i]` and for each of `descriptions[i]`.

        Args:
            graph: over the vectors, or over their images under `projection`.
            rows: the full vectors, by label.
            descriptions: by label.
            projection: [dimension of the vectors, dimension of the graph]; None: the graph is over the vectors.
            rescored: how many neighbours the graph proposes, where it is over images.
        """
        self._graph = graph
        self._rows = rows
        self._projection = projection
        self._rescored = rescored
        self._most_bytes: int | None = None
        self.descriptions = descriptions

    @classmethod
    def build(cls, descriptions: Sequence[str], vectors: Vectors, settings: IndexSettings) -> Self:
        """Build the graph over the unit vectors [n, dimension] of n descriptions.

        Equal vectors would break the graph's connectivity: they become one label with several descriptions.
        """
        groups: dict[bytes, list[int]] = {}
        for row, vector in enumerate(vectors):
            groups.setdefault(hashlib.blake2b(vector.tobytes(), digest_size=16).digest(), []).append(row)
        distinct = vectors if len(groups) == len(vectors) else vectors[[rows[0] for rows in groups.values()]]
        distinct = np.ascontiguousarray(distinct, dtype=np.float32)
        projection = principal_directions(distinct, settings.dimension)
        graph = hnswlib.Index(space="l2", dim=distinct.shape[1] if projection is None else projection.shape[1])
        graph.init_index(len(distinct), M=settings.m, ef_construction=settings.ef_construction, random_seed=_SEED)
        for block in blocks(len(distinct)):
            graph.add_items(project(distinct[block], projection), block, num_threads=1)
        graph.set_ef(settings.ef)
        texts = [[descriptions[row] for row in rows] for rows in groups.values()]
        return cls(graph, distinct, texts, projection, settings.rescored)

    def save(self, directory: Path) -> None:
        """Write the graph, its vectors, their projection and its descriptions into `directory`, which is made."""
        directory.mkdir(parents=True)
        self._graph.save_index(str(directory / "graph.hnsw"))
        np.save(directory / "vectors.npy", self.vectors)
        if self._projection is not None:
            np.save(directory / "projection.npy", self._projection)
        with (directory / "descriptions.jsonl").open("w", encoding="utf-8", newline="\n") as file:
            file.writelines(json.dumps(texts, ensure_ascii=False) + "\n" for texts in self.descriptions)

    @classmethod
    def load(cls, directory: Path, ef: int, rescored: int = RESCORED) -> Self:
        """Open what `save` wrote.

        Args:
            directory: the index.
            ef: breadth of a search; hnswlib does not save it.
            rescored: see `IndexSettings`.

        Raises:
            BundleError: where the files do not fit together.
        """
        try:
            rows = VectorFile(directory / "vectors.npy")
            descriptions = read_descriptions(directory)
            projection = read_projection(directory / "projection.npy")
            shape = check_graph(directory / "graph.hnsw")
            count, dimension = shape.count, shape.dimension
            if not len(descriptions) == rows.shape[0] == count:
                raise BundleError(
                    f"the index {directory.name} holds parts of different lengths; build the bundle again"
                )
            if (rows.shape[1], dimension) != (projection.shape if projection is not None else (dimension, dimension)):
                raise BundleError(f"the index {directory.name} has a graph of other vectors; build the bundle again")
            graph = hnswlib.Index(space="l2", dim=dimension)
            graph.load_index(str(directory / "graph.hnsw"), max_elements=count)
            # Without `np.unique`, which loads half of numpy more at every start.
            some = np.array(sorted(set(np.linspace(0, count - 1, _SAMPLE).astype(np.int64).tolist())))
            if not np.allclose(np.asarray(graph.get_items(some)), project(rows[some], projection), rtol=0, atol=1e-5):
                raise BundleError(f"the index {directory.name} has a graph of other vectors; build the bundle again")
        except (OSError, EOFError, ValueError, TypeError, IndexError, RuntimeError, MemoryError) as error:
            raise BundleError(
                f"the index {directory.name} cannot be loaded ({error}); {remedy_for(error, 'build the bundle again')}"
            ) from error
        graph.set_ef(ef)
        return cls(graph, rows, descriptions, projection, rescored)

    def __len__(self) -> int:
        return len(self.descriptions)

    @property
    def vectors(self) -> Vectors:
        """The distinct vectors, by label. Of an opened index a view of the file, resident as long as it is held."""
        return self._rows.mapped() if isinstance(self._rows, VectorFile) else np.asarray(self._rows)

    def limit_memory(self, working_bytes: int) -> None:
        """Make the blocks of an exact search so small that it stays within `working_bytes`, at one call at a time."""
        self._most_bytes = working_bytes

    def _block_of(self, queries: int) -> int:
        """Return how many vectors an exact search compares with its queries at once."""
        if self._most_bytes is None:
            return max(1, _CELLS // max(1, queries))
        row = _COPIES * self._rows.shape[1] * 4 + _CELL_BYTES * queries
        return max(1, min(_CELLS // max(1, queries), self._most_bytes // row))

    def search(self, vectors: Vectors, k: int, allowed: Mask | None = None) -> list[list[Neighbour]]:
        """Return the descriptions of the (up to) `k` nearest labels of each vector [n, dimension], nearest first.

        Args:
            vectors: unit vectors.
            k: how many labels.
            allowed: which labels may be found, [labels]; None: all. The graph is asked for more and more neighbours
                until enough of them are allowed; where that takes too many, every allowed vector is compared.

        Raises:
            BundleError: where the bundle's files were altered since they were opened.
        """
        if not len(vectors):
            return []
        asked = min(k if self._projection is None else max(k, self._rescored), len(self))
        try:
            near = self._propose(vectors, asked, allowed)
        except RuntimeError:  # fewer than asked can be reached, among very many that are almost equal
            near = None
        if near is None:
            return self.search_exactly(vectors, k, allowed)
        if self._projection is not None:
            return [self._nearest(vector, labels, k) for vector, (labels, _) in zip(vectors, near, strict=True)]
        return [list(self._neighbours(labels[:k], distances[:k])) for labels, distances in near]

    def _propose(
        self, vectors: Vectors, asked: int, allowed: Mask | None
    ) -> list[tuple[NDArray[Any], NDArray[Any]]] | None:
        """Return the `asked` nearest labels of the graph that are allowed; None where the graph finds too few."""
        projected = project(vectors, self._projection)
        if allowed is None:
            return list(zip(*self._graph.knn_query(projected, k=asked, num_threads=1), strict=True))
        wanted, width = min(asked, int(allowed.sum())), asked
        while width <= _WIDEST:
            found = zip(*self._graph.knn_query(projected, k=min(width, len(self)), num_threads=1), strict=True)
            kept = [(labels[mask], distances[mask]) for labels, distances in found for mask in (allowed[labels],)]
            if all(len(labels) >= wanted for labels, _ in kept):
                return kept
            width *= 4
        return None

    def search_exactly(self, vectors: Vectors, k: int, allowed: Mask | None = None) -> list[list[Neighbour]]:
        """Return what `search` approximates, by comparing with every vector that is allowed."""
        among = np.arange(len(self)) if allowed is None else np.flatnonzero(allowed)
        if not len(among):
            return [[] for _ in vectors]
        kept = min(k + _SPARE, len(among))
        near: list[tuple[NDArray[Any], NDArray[Any]]] = []
        for part in blocks(len(among), self._block_of(len(vectors))):
            block = among[part]
            found = squared_distances(vectors, self._rows[block])
            best = np.argpartition(found, min(kept, len(block)) - 1, axis=1)[:, :kept]
            near.append((block[best], np.take_along_axis(found, best, axis=1)))
        labels, distances = (np.concatenate(parts, axis=1) for parts in zip(*near, strict=True))
        best = np.argpartition(distances, kept - 1, axis=1)[:, :kept]
        labels = np.take_along_axis(labels, best, axis=1)
        return [self._nearest(vector, row, k) for vector, row in zip(vectors, labels, strict=True)]

    def recall_at_1(self, vectors: Vectors) -> float:
        """Return the share of vectors whose nearest label `search` finds (an equally near one counts)."""
        found = np.array([row[0].distance for row in self.search(vectors, 1)])
        exact = np.array([row[0].distance for row in self.search_exactly(vectors, 1)])
        return float(np.mean(found <= exact + 1e-5))

    def _nearest(self, vector: Vectors, labels: NDArray[Any], k: int) -> list[Neighbour]:
        """Return the descriptions of the `k` of `labels` whose full vectors are nearest; the lower label wins a tie.

        The squared differences are summed row by row: an answer's distance depends on its two vectors alone, whatever
        is compared beside it.
        """
        ordered = np.sort(labels.astype(np.int64))  # as they lie in the file
        distances = np.empty(len(ordered), dtype=np.float32)
        for part in blocks(len(ordered)):
            differences = self._rows[ordered[part]]
            differences -= vector
            distances[part] = np.einsum("ij,ij->i", differences, differences)
        first = np.argsort(distances, kind="stable")[:k]
        return list(self._neighbours(ordered[first], distances[first]))

    def _neighbours(self, labels: NDArray[Any], distances: NDArray[Any]) -> Iterator[Neighbour]:
        if not np.isfinite(distances).all():
            raise BundleError("the index holds vectors that are not finite; build the bundle again")
        for label, distance in zip(labels, distances, strict=True):
            for description in self.descriptions[int(label)]:
                yield Neighbour(description, float(distance))


def save_all(indexes: dict[str, Index], directory: Path) -> None:
    """Write one index for each kind into `directory`: folders named by number, and their kinds in a list."""
    directory.mkdir(parents=True)
    for number, index in enumerate(indexes.values()):
        index.save(directory / str(number))
    (directory / "kinds.json").write_text(json.dumps(list(indexes), ensure_ascii=False), encoding="utf-8")


def load_all(directory: Path, ef: int, rescored: int = RESCORED) -> dict[str, Index]:
    """Open what `save_all` wrote."""
    try:
        kinds = json.loads(read_bounded(directory / "kinds.json", 1_000_000).decode("utf-8"))
        if not isinstance(kinds, list) or not all(isinstance(kind, str) for kind in kinds):
            raise ValueError("expected a list of texts")
    except (OSError, ValueError, RecursionError) as error:
        remedy = remedy_for(error, "build the bundle again")
        raise BundleError(f"the index's list of kinds cannot be read; {remedy}") from error
    return {kind: Index.load(directory / str(number), ef, rescored) for number, kind in enumerate(kinds)}
