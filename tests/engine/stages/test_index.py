from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.errors import BundleError
from engine.stages.index import Index, IndexSettings, Neighbour, load_all, save_all, squared_distances

SETTINGS = IndexSettings()


def unit(rows: object) -> np.ndarray:
    vectors = np.asarray(rows, dtype=np.float32)
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def random_vectors(count: int, dimension: int = 16, seed: int = 0) -> np.ndarray:
    return unit(np.random.default_rng(seed).normal(size=(count, dimension)))


def names(count: int) -> list[str]:
    return [f"descripción {number}" for number in range(count)]


@pytest.fixture
def index() -> Index:
    return Index.build(names(300), random_vectors(300), SETTINGS)


def test_the_nearest_comes_first_with_its_squared_distance() -> None:
    index = Index.build(["este", "norte", "oeste"], unit([[1, 0], [0, 1], [-1, 0]]), SETTINGS)
    (found,) = index.search(unit([[1, 0]]), 3)
    assert found == [Neighbour("este", 0.0), Neighbour("norte", 2.0), Neighbour("oeste", 4.0)]


def test_each_description_finds_itself(index: Index) -> None:
    found = index.search(random_vectors(300), 1)
    assert [row[0].description for row in found] == names(300)
    assert all(row[0].distance == pytest.approx(0.0, abs=1e-6) for row in found)


def test_searching_agrees_with_comparing_everything(index: Index) -> None:
    queries = random_vectors(50, seed=1)
    for found, exact in zip(index.search(queries, 5), index.search_exactly(queries, 5), strict=True):
        assert [near.description for near in found] == [near.description for near in exact]
        assert [near.distance for near in found] == pytest.approx([near.distance for near in exact], abs=1e-5)


@given(st.integers(1, 60), st.integers(1, 80), st.integers(2, 8), st.integers(0, 5))
@settings(max_examples=40, deadline=None)
def test_a_search_gives_the_k_nearest_in_order_or_all_there_are(count: int, k: int, dimension: int, seed: int) -> None:
    vectors = random_vectors(count, dimension, seed)
    index = Index.build(names(count), vectors, SETTINGS)
    (found,) = index.search(random_vectors(1, dimension, seed + 100), k)
    distances = [near.distance for near in found]
    assert len(found) == min(k, count)
    assert len({near.description for near in found}) == len(found)
    assert distances == sorted(distances)
    assert 0.0 <= distances[0] <= distances[-1] <= 4.0 + 1e-5


def test_clustered_vectors_are_all_reached() -> None:
    centres = random_vectors(3)
    vectors = unit(np.repeat(centres, 100, axis=0) + 1e-4 * random_vectors(300, seed=2))
    index = Index.build(names(300), vectors, SETTINGS)
    (found,) = index.search(centres[:1], 300)
    assert {near.description for near in found} == set(names(300))


def test_equal_vectors_become_one_label_with_every_description() -> None:
    vectors = unit([[1, 0], [0, 1], [1, 0], [1, 0]])
    index = Index.build(["a", "b", "c", "d"], vectors, SETTINGS)
    assert len(index) == 2
    assert [near.description for near in index.search(vectors[:1], 1)[0]] == ["a", "c", "d"]
    assert [near.description for near in index.search_exactly(vectors[1:2], 2)[0]] == ["b", "a", "c", "d"]


def test_thousands_of_equal_vectors_leave_the_others_reachable() -> None:
    others = random_vectors(20)
    vectors = np.concatenate([np.repeat(random_vectors(1, seed=3), 3000, axis=0), others])
    index = Index.build(names(3020), vectors, SETTINGS)
    assert len(index) == 21
    assert [row[0].description for row in index.search(others, 1)] == names(3020)[3000:]


def test_no_queries_give_no_answers(index: Index) -> None:
    assert index.search(random_vectors(1)[:0], 5) == []


def test_distances_are_never_negative(index: Index) -> None:
    queries = random_vectors(300)
    for row in index.search_exactly(queries, 1) + index.search(queries, 1):
        assert row[0].distance >= 0.0


def test_squared_distances_are_those_of_unit_vectors() -> None:
    left, right = random_vectors(4), random_vectors(6, seed=1)
    expected = ((left[:, None, :] - right[None, :, :]) ** 2).sum(axis=2)
    assert squared_distances(left, right) == pytest.approx(expected, abs=1e-5)


class TestRecall:
    def test_it_is_one_where_every_nearest_is_found(self, index: Index) -> None:
        assert index.recall_at_1(random_vectors(100, seed=1)) == 1.0

    def test_it_counts_what_is_not_found(self, index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
        queries = random_vectors(4, seed=1)
        found = index.search(queries, 1)
        found[0] = [Neighbour("otra", found[0][0].distance + 0.1)]
        monkeypatch.setattr(index, "search", lambda vectors, k: found)
        assert index.recall_at_1(queries) == 0.75


class TestFiles:
    def test_what_is_saved_answers_the_same_when_loaded(self, index: Index, tmp_path: Path) -> None:
        index.save(tmp_path / "índice con espacio")
        loaded = Index.load(tmp_path / "índice con espacio", 64)
        queries = random_vectors(20, seed=1)
        assert loaded.search(queries, 5) == index.search(queries, 5)
        assert loaded.search_exactly(queries, 5) == index.search_exactly(queries, 5)
        assert len(loaded) == len(index)

    def test_building_twice_gives_the_same_bytes(self, tmp_path: Path) -> None:
        for name in ("a", "b"):
            Index.build(names(300), random_vectors(300), SETTINGS).save(tmp_path / name)
        for file in ("graph.hnsw", "vectors.npy", "descriptions.json"):
            assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()

    def test_ef_is_set_when_loading(self, tmp_path: Path) -> None:
        index = Index.build(names(2000), random_vectors(2000, 64), IndexSettings(m=4, ef_construction=10))
        index.save(tmp_path / "index")
        queries = random_vectors(200, 64, seed=1)
        narrow, wide = (Index.load(tmp_path / "index", ef).recall_at_1(queries) for ef in (1, 2000))
        assert narrow < wide
        assert wide >= 0.99

    @pytest.mark.parametrize("missing", ["graph.hnsw", "vectors.npy", "descriptions.json"])
    def test_a_missing_part_is_refused(self, index: Index, tmp_path: Path, missing: str) -> None:
        index.save(tmp_path / "index")
        (tmp_path / "index" / missing).unlink()
        with pytest.raises(BundleError, match="cannot be loaded"):
            Index.load(tmp_path / "index", 64)

    @pytest.mark.parametrize(
        ("name", "content"),
        [
            ("vectors.npy", b""),
            ("vectors.npy", b"\x93NUMPY"),
            ("vectors.npy", b"no numpy file"),
            ("descriptions.json", b""),
            ("descriptions.json", b"[["),
            ("descriptions.json", b"\xff"),
            ("graph.hnsw", b""),
        ],
    )
    def test_a_damaged_part_is_refused(self, index: Index, tmp_path: Path, name: str, content: bytes) -> None:
        index.save(tmp_path / "index")
        (tmp_path / "index" / name).write_bytes(content)
        with pytest.raises(BundleError, match="build the bundle anew"):
            Index.load(tmp_path / "index", 64)

    def test_vectors_of_another_shape_are_refused(self, index: Index, tmp_path: Path) -> None:
        index.save(tmp_path / "index")
        np.save(tmp_path / "index" / "vectors.npy", np.zeros(7, dtype=np.float32))
        with pytest.raises(BundleError, match="cannot be loaded"):
            Index.load(tmp_path / "index", 64)

    @pytest.mark.parametrize(("dimension", "seed"), [(8, 0), (32, 0), (16, 1)])
    def test_a_graph_of_other_vectors_is_refused(self, index: Index, tmp_path: Path, dimension: int, seed: int) -> None:
        index.save(tmp_path / "index")
        np.save(tmp_path / "index" / "vectors.npy", random_vectors(300, dimension, seed))
        with pytest.raises(BundleError, match="graph of other vectors"):
            Index.load(tmp_path / "index", 64)

    @pytest.mark.parametrize("part", ["graph.hnsw", "vectors.npy", "descriptions.json"])
    def test_parts_of_different_lengths_are_refused(self, index: Index, tmp_path: Path, part: str) -> None:
        index.save(tmp_path / "index")
        Index.build(names(299), random_vectors(299), SETTINGS).save(tmp_path / "other")
        shutil.copy(tmp_path / "other" / part, tmp_path / "index" / part)
        with pytest.raises(BundleError, match="different lengths"):
            Index.load(tmp_path / "index", 64)

    def test_every_kind_has_its_index(self, tmp_path: Path) -> None:
        built = {
            kind: Index.build([kind], random_vectors(1, seed=seed), SETTINGS)
            for seed, kind in enumerate(["procedure", "diagnóstico", "../etc"])
        }
        save_all(built, tmp_path / "index")
        loaded = load_all(tmp_path / "index", 64)
        assert list(loaded) == list(built)
        assert all(loaded[kind].descriptions == [[kind]] for kind in built)
        assert json.loads((tmp_path / "index" / "kinds.json").read_text(encoding="utf-8")) == list(built)
        assert [entry.name for entry in tmp_path.iterdir()] == ["index"]

    @pytest.mark.parametrize("content", [None, b"", b"\xff", b"["])
    def test_a_list_of_kinds_that_cannot_be_read_is_refused(self, tmp_path: Path, content: bytes | None) -> None:
        if content is not None:
            (tmp_path / "kinds.json").write_bytes(content)
        with pytest.raises(BundleError, match="list of kinds"):
            load_all(tmp_path, 64)
