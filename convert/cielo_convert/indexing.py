"""The index: the descriptions' vectors, one graph for each kind, and a search as wide as the recipe's recall asks."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from cielo.bundle.layout import Layout
from cielo.bundle.manifest import IndexSection
from cielo.retrieval.embedder import Embedder
from cielo.retrieval.index import Index, IndexSettings, load_all, save_all
from cielo.text.tokenizer import Tokenizer

from cielo_convert.recipe import Recipe
from cielo_convert.reference import Progress

if TYPE_CHECKING:
    from numpy.typing import NDArray

# The index's search is widened until the recipe's recall is reached; where that does not help, the graph is built with
# more links.
_MOST_EF = 512
_GRAPHS = (
    IndexSettings(m=16, ef_construction=200),
    IndexSettings(m=32, ef_construction=400),
    IndexSettings(m=64, ef_construction=800),
)
_EMBEDDED_AT_ONCE = 1024


def build_index(
    recipe: Recipe, layout: Layout, descriptions: Mapping[str, Sequence[str]], queries: list[str], tell: Progress
) -> IndexSection:
    """Embed the descriptions with the bundle's encoder, and build and write one graph for each kind.

    Args:
        recipe: whose recall the search must reach.
        layout: of the bundle; its encoder is in place.
        descriptions: the distinct ones of each kind.
        queries: texts that the recall is measured with.
        tell: is called with the step's name, how many of its items are done, and how many there are.

    Returns:
        The manifest's section.
    """
    embedder = Embedder(layout.encoder, Tokenizer(layout.encoder_tokenizer, recipe.encoder.max_tokens))
    try:
        asked = embedder.embed(queries)
        vectors = {kind: _embed(embedder, texts, f"vectors ({kind})", tell) for kind, texts in descriptions.items()}
    finally:
        embedder.close()
    dimension = recipe.index.dimension
    reduced = dimension if dimension is None or dimension < embedder.dimension else None
    for graph in _GRAPHS:
        shutil.rmtree(layout.index, ignore_errors=True)
        settings = replace(graph, dimension=reduced)
        save_all(_graphs(descriptions, vectors, settings, tell), layout.index)
        settings, recall = _wide_enough(layout.index, asked, settings, recipe.index.recall)
        if recall >= recipe.index.recall:
            break
    return IndexSection(
        m=settings.m,
        ef=settings.ef,
        recall_at_1=recall,
        max_distance=recipe.index.max_distance,
        ef_construction=settings.ef_construction,
        dimension=settings.dimension,
        rescored=settings.rescored if settings.dimension else None,
    )


def _graphs(
    descriptions: Mapping[str, Sequence[str]],
    vectors: dict[str, NDArray[np.float32]],
    settings: IndexSettings,
    tell: Progress,
) -> dict[str, Index]:
    indexes = {}
    for done, (kind, texts) in enumerate(descriptions.items()):
        tell("index", done, len(descriptions))
        indexes[kind] = Index.build(texts, vectors[kind], settings)
    tell("index", len(indexes), len(indexes))
    return indexes


def _embed(embedder: Embedder, texts: Sequence[str], step: str, tell: Progress) -> NDArray[np.float32]:
    """Return the vectors of texts, and report the progress: a whole terminology can take an hour."""
    vectors = np.empty((len(texts), embedder.dimension), dtype=np.float32)
    for start in range(0, len(texts), _EMBEDDED_AT_ONCE):
        tell(step, start, len(texts))
        part = slice(start, start + _EMBEDDED_AT_ONCE)
        vectors[part] = embedder.embed(texts[part])
    tell(step, len(texts), len(texts))
    return vectors


def _wide_enough(
    index: Path, queries: NDArray[np.float32], settings: IndexSettings, wanted: float
) -> tuple[IndexSettings, float]:
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
