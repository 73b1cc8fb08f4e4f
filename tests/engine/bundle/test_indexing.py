"""Building the index of a bundle: how wide it is searched, and over how many dimensions."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from cielo.bundle import indexing
from cielo.bundle.layout import Layout
from cielo.bundle.manifest import IndexSection
from cielo.retrieval.index import IndexSettings, load_all


@pytest.mark.parametrize("dimension", [None, 24, 1000])
def test_a_graph_over_the_full_vectors_says_nothing_of_dimensions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dimension: int | None
) -> None:
    entry, _ = _build_index(tmp_path, monkeypatch, dimension)
    assert (entry.dimension, entry.rescored) == (None, None)
    assert not list(tmp_path.rglob("projection.npy"))


def test_the_search_is_widened_until_the_recall_is_reached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entry, queries = _build_index(tmp_path, monkeypatch, 14)
    assert entry.dimension == 14
    assert (entry.ef, entry.rescored) == (128, 100)
    (index,) = load_all(tmp_path / "index", 128, 100).values()
    assert index.recall_at_1(queries) == entry.recall_at_1 >= 0.9
    (narrower,) = load_all(tmp_path / "index", 128, 50).values()
    assert narrower.recall_at_1(queries) < 0.9


@pytest.mark.parametrize(
    ("dimension", "steps"),
    [
        (None, [(64, 50), (128, 50), (256, 50), (512, 50)]),
        (8, [(64, 50), (128, 50), (128, 100), (256, 100), (256, 200), (512, 200), (512, 400)]),
    ],
)
def test_breadth_and_rescored_are_doubled_in_turn(
    tmp_path: Path, dimension: int | None, steps: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = []

    def load(index: Path, ef: int, rescored: int) -> dict[str, Any]:
        tried.append((ef, rescored))
        return {"diagnosis": SimpleNamespace(recall_at_1=lambda queries: 0.5)}

    monkeypatch.setattr(indexing, "load_all", load)
    settings, recall = indexing._wide_enough(tmp_path, np.zeros((1, 2)), IndexSettings(dimension=dimension), 0.9)
    assert tried == steps
    assert ((settings.ef, settings.rescored), recall) == (steps[-1], 0.5)


def _build_index(
    directory: Path, monkeypatch: pytest.MonkeyPatch, dimension: int | None
) -> tuple[IndexSection, np.ndarray]:
    """Build the index of random vectors of 24 dimensions, 0.9 of whose nearest must be found."""
    vectors = np.random.default_rng(0).normal(size=(2200, 24)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    texts = [f"descripción {row}" for row in range(2000)]
    asked = [f"pregunta {row}" for row in range(200)]
    rows = {text: vectors[row] for row, text in enumerate([*texts, *asked])}

    class Embedder:
        dimension = 24

        def __init__(self, *arguments: Any) -> None: ...
        def close(self) -> None: ...
        def embed(self, texts: list[str]) -> np.ndarray:
            return np.array([rows[text] for text in texts])

    monkeypatch.setattr(indexing, "Embedder", Embedder)
    monkeypatch.setattr(indexing, "Tokenizer", lambda *arguments: None)
    wanted = indexing.WantedIndex(recall=0.9, max_distance=1.0, dimension=dimension)
    entry = indexing.build_index(
        Layout(directory), {"diagnosis": texts}, asked, wanted, max_tokens=8, tell=lambda *step: None
    )
    return entry, vectors[2000:]
