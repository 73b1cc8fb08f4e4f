"""The index: the descriptions' vectors, one graph for each kind, and a search as wide as the wanted recall asks."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from cielo.bundle.layout import Layout
from cielo.bundle.manifest import IndexSection
from cielo.retrieval.embedder import Embedder
from cielo.retrieval.index import Index, IndexSettings, load_all, save_all
from cielo.retrieval.kept import KeptVectors
from cielo.retrieval.vectors import Vectors
from cielo.text.tokenizer import Tokenizer

Progress = Callable[[str, int, int], None]  # the step's name, how many of its items are done, and how many there are

# The index's search is widened until the wanted recall is reached; where that does not help, the graph is built with
# more links.
_MOST_EF = 512
_GRAPHS = (
    IndexSettings(m=16, ef_construction=200),
    IndexSettings(m=32, ef_construction=400),
    IndexSettings(m=64, ef_construction=800),
)
EMBEDDED_AT_ONCE = 1024  # descriptions: what is kept and told of together


@dataclass(frozen=True, slots=True)
class WantedIndex:
    """What is asked of an index.

    Attributes:
        recall: recall@1 against exact search that the search must reach.
        max_distance: squared L2 distance above which the answer is ``none``.
        dimension: of the graph; None: that of the vectors.
    """

    recall: float
    max_distance: float
    dimension: int | None = None


def build_index(
    layout: Layout,
    descriptions: Mapping[str, Sequence[str]],
    queries: Sequence[str],
    wanted: WantedIndex,
    *,
    max_tokens: int,
    tell: Progress,
    known: Mapping[str, Vectors] | None = None,
    kept: KeptVectors | None = None,
) -> IndexSection:
    """Embed descriptions with a bundle's encoder, and build and write one graph for each kind.

    Args:
        layout: of the bundle; its encoder is in place.
        descriptions: the distinct ones of each kind.
        queries: texts that the recall is measured with.
        wanted: what the search must reach.
        max_tokens: of a text, special ones included.
        tell: is called with the step's name, how many of its items are done, and how many there are.
        known: vectors of this encoder, float32 [dimension], by their texts; None: every description is embedded.
        kept: where vectors are kept while the work goes on, and taken from again; None: nowhere.

    Returns:
        The manifest's section.

    Raises:
        BundleError: where the encoder cannot be opened, or vectors cannot be kept.
    """
    embedder = Embedder(layout.encoder, Tokenizer(layout.encoder_tokenizer, max_tokens))
    try:
        asked = embedder.embed(queries)
        work = _Work(embedder, known or {}, tell, kept)
        vectors = {kind: work.vectors(kind, texts) for kind, texts in descriptions.items()}
    finally:
        embedder.close()
    reduced = wanted.dimension if wanted.dimension is None or wanted.dimension < embedder.dimension else None
    for graph in _GRAPHS:
        shutil.rmtree(layout.index, ignore_errors=True)
        settings = replace(graph, dimension=reduced)
        save_all(_graphs(descriptions, vectors, settings, tell), layout.index)
        settings, recall = _wide_enough(layout.index, asked, settings, wanted.recall)
        if recall >= wanted.recall:
            break
    return IndexSection(
        m=settings.m,
        ef=settings.ef,
        recall_at_1=recall,
        max_distance=wanted.max_distance,
        ef_construction=settings.ef_construction,
        dimension=settings.dimension,
        rescored=settings.rescored if settings.dimension else None,
    )


def _graphs(
    descriptions: Mapping[str, Sequence[str]], vectors: Mapping[str, Vectors], settings: IndexSettings, tell: Progress
) -> dict[str, Index]:
    indexes = {}
    for done, (kind, texts) in enumerate(descriptions.items()):
        tell("index", done, len(descriptions))
        indexes[kind] = Index.build(texts, vectors[kind], settings)
    tell("index", len(indexes), len(indexes))
    return indexes


@dataclass(frozen=True, slots=True)
class _Work:
    """The embedding of descriptions, block by block; see `build_index`."""

    embedder: Embedder
    known: Mapping[str, Vectors]
    tell: Progress
    kept: KeptVectors | None

    def vectors(self, kind: str, texts: Sequence[str]) -> Vectors:
        """Return the vectors of a kind's descriptions, and report the progress: a terminology can take an hour."""
        step, found = f"vectors ({kind})", np.empty((len(texts), self.embedder.dimension), dtype=np.float32)
        fresh = []
        for row, text in enumerate(texts):
            if text in self.known:
                found[row] = self.known[text]
            else:
                fresh.append(row)
        for start in range(0, len(fresh), EMBEDDED_AT_ONCE):
            self.tell(step, start, len(fresh))
            rows = fresh[start : start + EMBEDDED_AT_ONCE]
            found[rows] = self._block([texts[row] for row in rows])
        self.tell(step, len(fresh), len(fresh))
        return found

    def _block(self, texts: Sequence[str]) -> Vectors:
        block = self.kept.take(len(texts)) if self.kept else None
        if block is None:
            block = self.embedder.embed(texts)
            if self.kept:
                self.kept.add(block)
        return block


def _wide_enough(index: Path, queries: Vectors, settings: IndexSettings, wanted: float) -> tuple[IndexSettings, float]:
    """Return the settings of the narrowest search that reaches a recall@1, and that recall; the gate judges it."""
    while True:
        graphs = load_all(index, settings.ef, settings.rescored)
        recall = min(graph.recall_at_1(queries) for graph in graphs.values())
        wider = _wider(settings)
        if recall >= wanted or wider.ef > _MOST_EF:
            return settings, recall
        settings = wider


def _wider(settings: IndexSettings) -> IndexSettings:
    """Return the next wider search: the breadth is doubled, and in turn with it the number of re-scored, if any are."""
    if settings.dimension and settings.ef > 2 * settings.rescored:
        return replace(settings, rescored=2 * settings.rescored)
    return replace(settings, ef=2 * settings.ef)
