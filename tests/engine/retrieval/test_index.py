from __future__ import annotations

import gc
import json
import os
import shutil
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from cielo.errors import BundleError
from cielo.retrieval import index as module
from cielo.retrieval import vectors as arithmetic
from cielo.retrieval.index import Index, IndexSettings, Neighbour, load_all, save_all
from cielo.retrieval.vectors import principal_directions, squared_distances
from hypothesis import given, settings
from hypothesis import strategies as st

SETTINGS = IndexSettings()
REDUCED = IndexSettings(dimension=8, rescored=40)
MINI = Path(__file__).parents[3] / "models" / "mini" / "bundle" / "index"
PARTS = ["graph.hnsw", "vectors.npy", "descriptions.jsonl"]


def unit(rows: object) -> np.ndarray:
    vectors = np.asarray(rows, dtype=np.float32)
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def random_vectors(count: int, dimension: int = 16, seed: int = 0) -> np.ndarray:
    return unit(np.random.default_rng(seed).normal(size=(count, dimension)))


def names(count: int) -> list[str]:
    return [f"descripción {number}" for number in range(count)]


def brute_force(queries: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """The squared L2 distances in double precision, from the differences."""
    return ((queries[:, None, :].astype(np.float64) - vectors[None, :, :]) ** 2).sum(axis=2)


@pytest.fixture
def index() -> Index:
    return Index.build(names(300), random_vectors(300), SETTINGS)


@pytest.fixture
def reduced() -> Index:
    return Index.build(names(300), random_vectors(300, 32), REDUCED)


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


def test_where_the_graph_does_not_reach_enough_every_vector_is_compared() -> None:
    centres = random_vectors(3)
    vectors = unit(np.repeat(centres, 100, axis=0) + 1e-5 * random_vectors(300, seed=2))
    index = Index.build(names(300), vectors, IndexSettings(m=2, ef_construction=2, ef=1))
    (found,) = index.search(centres[:1], 300)
    assert {near.description for near in found} == set(names(300))
    assert found == index.search_exactly(centres[:1], 300)[0]


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


@pytest.mark.parametrize("working_bytes", [0, 1000, 100_000, 10**9])
def test_a_limit_of_memory_changes_no_neighbour(index: Index, working_bytes: int) -> None:
    queries = random_vectors(50, seed=1)
    free = index.search_exactly(queries, 5)
    index.limit_memory(working_bytes)
    assert index.search_exactly(queries, 5) == free


def test_an_exact_search_stays_within_its_limit_of_memory() -> None:
    index = Index.build(names(3000), random_vectors(3000, 64), IndexSettings(m=2, ef_construction=2))
    queries = random_vectors(500, 64, seed=1)

    def peak() -> int:
        tracemalloc.start()
        try:
            index.search_exactly(queries, 5)
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    free = peak()
    index.limit_memory(4_000_000)
    assert peak() < 5_000_000 < free  # the neighbours themselves are counted here too


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
        for file in PARTS:
            assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()

    def test_ef_is_set_when_loading(self, tmp_path: Path) -> None:
        index = Index.build(names(2000), random_vectors(2000, 64), IndexSettings(m=4, ef_construction=10))
        index.save(tmp_path / "index")
        queries = random_vectors(200, 64, seed=1)
        narrow, wide = (Index.load(tmp_path / "index", ef).recall_at_1(queries) for ef in (1, 2000))
        assert narrow < wide
        assert wide >= 0.99

    @pytest.mark.parametrize("missing", PARTS)
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
            ("descriptions.jsonl", b""),
            ("descriptions.jsonl", b"[["),
            ("descriptions.jsonl", b"\xff"),
            ("graph.hnsw", b""),
            ("graph.hnsw", b"\0" * 47),
            ("graph.hnsw", b"\xff" * 1000),
        ],
    )
    def test_a_damaged_part_is_refused(self, index: Index, tmp_path: Path, name: str, content: bytes) -> None:
        index.save(tmp_path / "index")
        (tmp_path / "index" / name).write_bytes(content)
        with pytest.raises(BundleError, match="build the bundle again"):
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

    @pytest.mark.parametrize("part", PARTS)
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
        assert all(list(loaded[kind].descriptions) == [[kind]] for kind in built)
        assert json.loads((tmp_path / "index" / "kinds.json").read_text(encoding="utf-8")) == list(built)
        assert [entry.name for entry in tmp_path.iterdir()] == ["index"]

    @pytest.mark.parametrize("content", [None, b"", b"\xff", b"["])
    def test_a_list_of_kinds_that_cannot_be_read_is_refused(self, tmp_path: Path, content: bytes | None) -> None:
        if content is not None:
            (tmp_path / "kinds.json").write_bytes(content)
        with pytest.raises(BundleError, match="list of kinds"):
            load_all(tmp_path, 64)

    @pytest.mark.parametrize("content", ["5", "{}", "[1]", "[[]]"])
    def test_a_list_of_kinds_that_is_none_is_refused(self, tmp_path: Path, content: str) -> None:
        (tmp_path / "kinds.json").write_text(content, encoding="utf-8")
        with pytest.raises(BundleError, match="list of kinds"):
            load_all(tmp_path, 64)


class TestExactSearch:
    @pytest.mark.parametrize(("block", "cells"), [(4096, 1 << 21), (7, 1 << 21), (4096, 100), (1, 1)])
    def test_it_gives_what_double_precision_gives_in_blocks_of_any_size(
        self, index: Index, monkeypatch: pytest.MonkeyPatch, block: int, cells: int
    ) -> None:
        monkeypatch.setattr(arithmetic, "_BLOCK", block)
        monkeypatch.setattr(module, "_CELLS", cells)
        queries = random_vectors(20, seed=1)
        distances = brute_force(queries, random_vectors(300))
        for row, expected in zip(index.search_exactly(queries, 12), distances, strict=True):
            assert [near.description for near in row] == [names(300)[label] for label in np.argsort(expected)[:12]]
            assert [near.distance for near in row] == pytest.approx(np.sort(expected)[:12], abs=1e-6)

    def test_it_gives_all_there_are_where_more_are_wanted(self, index: Index) -> None:
        (found,) = index.search_exactly(random_vectors(1, seed=1), 1000)
        assert sorted(near.description for near in found) == sorted(names(300))

    def test_of_equal_distances_the_lower_label_comes_first(self) -> None:
        index = Index.build(["norte", "sur", "este", "oeste"], unit([[0, 1], [0, -1], [1, 0], [-1, 0]]), SETTINGS)
        (found,) = index.search_exactly(unit([[1, 0]]), 4)
        assert [near.description for near in found] == ["este", "norte", "sur", "oeste"]


class TestAllowed:
    @given(
        st.integers(1, 200), st.integers(1, 40), st.sampled_from([None, 4]), st.integers(0, 5), st.floats(0, 1),
        st.booleans(),
    )  # fmt: skip
    @settings(max_examples=60, deadline=None)
    def test_it_gives_the_nearest_of_those_that_are_allowed(
        self, count: int, k: int, dimension: int | None, seed: int, share: float, twice: bool
    ) -> None:
        vectors = random_vectors(count, 12, seed)
        vectors = np.concatenate([vectors, vectors[::3]]) if twice else vectors
        texts = names(len(vectors))
        # Broad enough for the graph to be exact: what is tested is who is allowed, not recall.
        settings = IndexSettings(ef=300, dimension=dimension, rescored=count)
        index = Index.build(texts, vectors, settings)
        allowed = np.random.default_rng(seed).random(len(index)) < share
        queries = np.concatenate([random_vectors(3, 12, seed + 100), vectors[:2]])
        distances = brute_force(queries, index.vectors)
        found, exact = index.search(queries, k, allowed), index.search_exactly(queries, k, allowed)
        for row, (one, other) in enumerate(zip(found, exact, strict=True)):
            nearest = [label for label in np.argsort(distances[row], kind="stable") if allowed[label]][:k]
            wanted = [text for label in nearest for text in index.descriptions[label]]
            assert [near.description for near in one] == [near.description for near in other] == wanted
            assert [near.distance for near in one] == pytest.approx([near.distance for near in other], abs=1e-5)

    @pytest.mark.parametrize("kept", [[], [0], [299], [7, 100, 250]])
    @pytest.mark.parametrize("options", [SETTINGS, REDUCED])
    def test_few_or_none_may_be_allowed(self, kept: list[int], options: IndexSettings) -> None:
        index = Index.build(names(300), random_vectors(300, 32), options)
        allowed = np.zeros(300, dtype=bool)
        allowed[kept] = True
        for method in (index.search, index.search_exactly):
            found = method(random_vectors(5, 32, seed=1), 4, allowed)
            assert [{near.description for near in row} for row in found] == [{names(300)[k] for k in kept}] * 5

    @pytest.mark.parametrize("options", [SETTINGS, REDUCED])
    def test_where_all_are_allowed_nothing_changes(self, options: IndexSettings) -> None:
        index = Index.build(names(300), random_vectors(300, 32), options)
        queries, everything = random_vectors(20, 32, seed=1), np.ones(300, dtype=bool)
        assert index.search(queries, 6, everything) == index.search(queries, 6)
        assert index.search_exactly(queries, 6, everything) == index.search_exactly(queries, 6)

    @pytest.mark.parametrize("options", [SETTINGS, REDUCED])
    def test_the_farthest_are_found_where_they_alone_are_allowed(self, options: IndexSettings) -> None:
        vectors = random_vectors(3000, 32)
        index = Index.build(names(3000), vectors, options)
        (query,) = random_vectors(1, 32, seed=1)[None]
        farthest = np.argsort(brute_force(query, vectors)[0])[-20:]
        allowed = np.zeros(3000, dtype=bool)
        allowed[farthest] = True
        (found,) = index.search(query, 5, allowed)
        assert [near.description for near in found] == [names(3000)[label] for label in farthest[:5]]

    def test_the_graph_answers_where_enough_of_its_nearest_are_allowed(
        self, index: Index, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delattr(Index, "search_exactly")
        allowed = np.arange(300) % 3 == 0
        for row in index.search(random_vectors(20, seed=1), 5, allowed):
            assert len(row) == 5
            assert {names(300).index(near.description) % 3 for near in row} == {0}

    def test_every_vector_is_compared_where_the_graph_would_have_to_be_asked_for_too_many(
        self, index: Index, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(module, "_WIDEST", 10)
        monkeypatch.setattr(index, "search_exactly", lambda vectors, k, allowed: [["exact"]] * len(vectors))
        assert index.search(random_vectors(2, seed=1), 5, np.arange(300) == 7) == [["exact"]] * 2

    def test_a_label_with_several_descriptions_is_allowed_as_one(self) -> None:
        index = Index.build(["a", "b", "c"], unit([[1, 0], [0, 1], [1, 0]]), SETTINGS)
        (found,) = index.search(unit([[0, 1]]), 2, np.array([True, False]))
        assert [near.description for near in found] == ["a", "c"]

    def test_no_queries_give_no_answers(self, index: Index) -> None:
        allowed = np.ones(300, dtype=bool)
        assert index.search(random_vectors(1)[:0], 5, allowed) == []
        assert index.search_exactly(random_vectors(1)[:0], 5, allowed) == []

    @pytest.mark.usefixtures("every_processor")
    @pytest.mark.parametrize("options", [SETTINGS, REDUCED])
    def test_an_opened_index_answers_the_same_in_many_threads(self, tmp_path: Path, options: IndexSettings) -> None:
        built = Index.build(names(300), random_vectors(300, 32), options)
        built.save(tmp_path / "index")
        index = Index.load(tmp_path / "index", 64, 40)
        queries = random_vectors(8, 32, seed=1)
        masks = [np.arange(300) % modulus == 0 for modulus in (1, 2, 50, 299)]
        expected = [built.search(queries, 5, mask) for mask in masks]
        with ThreadPoolExecutor(4) as pool:
            found = list(pool.map(lambda number: index.search(queries, 5, masks[number % 4]), range(80)))
        assert all(row == expected[number % 4] for number, row in enumerate(found))


class TestReducedDimension:
    @given(
        st.integers(1, 60), st.integers(1, 70), st.integers(2, 24), st.integers(1, 30), st.integers(0, 5), st.booleans()
    )
    @settings(max_examples=60, deadline=None)
    def test_with_enough_rescored_a_search_is_exact(
        self, count: int, k: int, full: int, dimension: int, seed: int, twice: bool
    ) -> None:
        vectors = random_vectors(count, full, seed)
        vectors = np.concatenate([vectors, vectors[::2]]) if twice else vectors
        texts = names(len(vectors))
        index = Index.build(texts, vectors, IndexSettings(dimension=dimension, rescored=count))
        assert len(index) == count
        queries = np.concatenate([random_vectors(5, full, seed + 100), vectors[-2:]])
        found, exact = index.search(queries, k), index.search_exactly(queries, k)
        distances = brute_force(queries, vectors)
        for row, (one, other) in enumerate(zip(found, exact, strict=True)):
            if dimension < full:  # else the graph's own distances, which hnswlib rounds otherwise
                assert one == other
            assert [near.description for near in one] == [near.description for near in other]
            wanted = [distances[row, texts.index(near.description)] for near in one]
            assert [near.distance for near in one] == pytest.approx(wanted, abs=1e-6)
            assert len({near.distance for near in one}) <= min(k, count)

    def test_a_description_finds_itself_at_distance_zero(self, reduced: Index) -> None:
        found = reduced.search(random_vectors(300, 32), 1)
        assert [row[0] for row in found] == [Neighbour(name, 0.0) for name in names(300)]

    def test_equal_vectors_become_one_label_with_every_description(self) -> None:
        vectors = random_vectors(3, 32)[[0, 1, 0, 2, 0]]
        index = Index.build(["a", "b", "c", "d", "e"], vectors, IndexSettings(dimension=2))
        assert len(index) == 3
        assert [near.description for near in index.search(vectors[:1], 1)[0]] == ["a", "c", "e"]

    def test_too_few_rescored_cost_recall_and_more_restore_it(self) -> None:
        vectors, queries = random_vectors(2000, 64), random_vectors(200, 64, seed=1)
        recalls = [
            Index.build(names(2000), vectors, IndexSettings(dimension=8, rescored=rescored)).recall_at_1(queries)
            for rescored in (1, 50, 2000)
        ]
        assert recalls[0] < recalls[1] < recalls[2] == 1.0

    def test_of_equal_distances_the_lower_label_comes_first(self) -> None:
        axes = np.eye(101, dtype=np.float32)
        index = Index.build(names(100), axes[:100], IndexSettings(dimension=8, rescored=100))
        (found,), (exact,) = index.search(axes[100:], 100), index.search_exactly(axes[100:], 100)
        assert found == exact == [Neighbour(name, 2.0) for name in names(100)]

    def test_more_than_are_rescored_can_be_asked_for(self, reduced: Index) -> None:
        (found,) = reduced.search(random_vectors(1, 32, seed=1), 120)
        assert len(found) == 120
        assert [near.distance for near in found] == sorted(near.distance for near in found)

    def test_a_distance_does_not_depend_on_what_is_asked_beside_it(self, reduced: Index) -> None:
        queries = random_vectors(30, 32, seed=1)
        together = reduced.search(queries, 7)
        assert [reduced.search(query[None], 7)[0] for query in queries] == together
        exact = reduced.search_exactly(queries, 300)
        known = [{near.description: near.distance for near in row} for row in exact]
        assert all(
            row[near.description] == near.distance for row, got in zip(known, together, strict=True) for near in got
        )

    def test_the_directions_are_orthonormal_and_keep_the_most_variance(self) -> None:
        vectors = unit(random_vectors(500, 12) * np.linspace(2, 0.1, 12) + 3)
        projection = principal_directions(vectors, 5)
        assert projection is not None and projection.dtype == np.float32
        assert projection.T @ projection == pytest.approx(np.eye(5), abs=1e-5)
        centred = (vectors - vectors.mean(axis=0)).astype(np.float64)
        best = np.linalg.svd(centred, compute_uv=False)[:5] ** 2
        assert ((centred @ projection) ** 2).sum(axis=0) == pytest.approx(best, rel=1e-4)
        largest = projection[np.argmax(np.abs(projection), axis=0), np.arange(5)]
        assert (largest > 0).all()

    def test_the_directions_do_not_depend_on_the_size_of_the_blocks(self, monkeypatch: pytest.MonkeyPatch) -> None:
        vectors = random_vectors(100, 12)
        whole = principal_directions(vectors, 5)
        monkeypatch.setattr(arithmetic, "_BLOCK", 7)
        assert principal_directions(vectors, 5) == pytest.approx(whole, abs=1e-5)

    @pytest.mark.parametrize(("dimension", "used"), [(None, None), (31, 31), (32, None), (1000, None)])
    def test_a_dimension_that_reduces_nothing_leaves_the_vectors_as_they_are(
        self, tmp_path: Path, dimension: int | None, used: int | None
    ) -> None:
        Index.build(names(50), random_vectors(50, 32), IndexSettings(dimension=dimension)).save(tmp_path / "index")
        file = tmp_path / "index" / "projection.npy"
        assert (np.load(file).shape[1] if file.exists() else None) == used

    @pytest.mark.parametrize("count", [1, 2, 7])
    def test_fewer_descriptions_than_dimensions_lose_nothing(self, tmp_path: Path, count: int) -> None:
        vectors, queries = random_vectors(count, 32), random_vectors(20, 32, seed=1)
        index = Index.build(names(count), vectors, IndexSettings(dimension=16, rescored=1))
        assert index.recall_at_1(queries) == 1.0
        index.save(tmp_path / "index")
        assert np.load(tmp_path / "index" / "projection.npy").shape == (32, count)
        assert Index.load(tmp_path / "index", 64).search(queries, 3) == index.search(queries, 3)


class TestReducedFiles:
    def test_what_is_saved_answers_the_same_when_loaded(self, reduced: Index, tmp_path: Path) -> None:
        reduced.save(tmp_path / "index")
        loaded = Index.load(tmp_path / "index", 64, 40)
        queries = random_vectors(30, 32, seed=1)
        assert loaded.search(queries, 5) == reduced.search(queries, 5)
        assert loaded.search_exactly(queries, 5) == reduced.search_exactly(queries, 5)
        assert np.array_equal(loaded.vectors, random_vectors(300, 32))

    def test_building_twice_gives_the_same_bytes(self, tmp_path: Path) -> None:
        for name in ("a", "b"):
            Index.build(names(300), random_vectors(300, 32), REDUCED).save(tmp_path / name)
        for file in [*PARTS, "projection.npy"]:
            assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()

    def test_the_number_of_rescored_is_set_when_loading(self, tmp_path: Path) -> None:
        Index.build(names(2000), random_vectors(2000, 64), IndexSettings(dimension=8)).save(tmp_path / "0")
        (tmp_path / "kinds.json").write_text('["diagnosis"]', encoding="utf-8")
        queries = random_vectors(200, 64, seed=1)
        few, many = (load_all(tmp_path, 1, rescored)["diagnosis"].recall_at_1(queries) for rescored in (1, 2000))
        assert few < many == 1.0

    def test_a_missing_projection_is_refused(self, reduced: Index, tmp_path: Path) -> None:
        reduced.save(tmp_path / "index")
        (tmp_path / "index" / "projection.npy").unlink()
        with pytest.raises(BundleError, match="graph of other vectors"):
            Index.load(tmp_path / "index", 64)

    def test_a_projection_where_there_should_be_none_is_refused(
        self, index: Index, reduced: Index, tmp_path: Path
    ) -> None:
        index.save(tmp_path / "index")
        reduced.save(tmp_path / "reduced")
        shutil.copy(tmp_path / "reduced" / "projection.npy", tmp_path / "index")
        with pytest.raises(BundleError, match="graph of other vectors"):
            Index.load(tmp_path / "index", 64)

    @pytest.mark.parametrize(
        ("part", "seed", "full", "dimension"),
        [
            ("graph.hnsw", 1, 32, 8),
            ("graph.hnsw", 0, 32, 7),
            ("graph.hnsw", 0, 32, None),
            ("graph.hnsw", 0, 64, 16),
            ("vectors.npy", 1, 32, 8),
            ("vectors.npy", 0, 16, 8),
            ("vectors.npy", 0, 64, 8),
            ("projection.npy", 1, 32, 8),
            ("projection.npy", 0, 32, 7),
            ("projection.npy", 0, 16, 8),
        ],
    )
    def test_a_part_of_another_index_is_refused(
        self, reduced: Index, tmp_path: Path, part: str, seed: int, full: int, dimension: int | None
    ) -> None:
        reduced.save(tmp_path / "index")
        other = Index.build(names(300), random_vectors(300, full, seed), IndexSettings(dimension=dimension))
        other.save(tmp_path / "other")
        shutil.copy(tmp_path / "other" / part, tmp_path / "index" / part)
        with pytest.raises(BundleError, match="graph of other vectors"):
            Index.load(tmp_path / "index", 64)

    @pytest.mark.parametrize(
        "projection",
        [
            np.zeros(32, np.float32),
            np.zeros((32, 8)),
            np.zeros((32, 8), np.float32),
            np.full((32, 8), np.nan, np.float32),
        ],
    )
    def test_a_projection_of_another_form_is_refused(
        self, reduced: Index, tmp_path: Path, projection: np.ndarray
    ) -> None:
        reduced.save(tmp_path / "index")
        np.save(tmp_path / "index" / "projection.npy", projection)
        with pytest.raises(BundleError, match="build the bundle again"):
            Index.load(tmp_path / "index", 64)

    @pytest.mark.parametrize(
        "vectors",
        [
            random_vectors(300, 32).astype(np.float64),
            np.asfortranarray(random_vectors(300, 32)),
            random_vectors(300, 32)[None],
            random_vectors(300, 32).astype(">f4"),
            np.array([{}]),
        ],
    )
    def test_vectors_of_another_form_are_refused(self, reduced: Index, tmp_path: Path, vectors: np.ndarray) -> None:
        reduced.save(tmp_path / "index")
        np.save(tmp_path / "index" / "vectors.npy", vectors)
        with pytest.raises(BundleError, match="cannot be loaded"):
            Index.load(tmp_path / "index", 64)

    @pytest.mark.parametrize("change", [-1, 1, -4 * 32])
    def test_a_file_of_vectors_of_another_length_is_refused(self, reduced: Index, tmp_path: Path, change: int) -> None:
        reduced.save(tmp_path / "index")
        file = tmp_path / "index" / "vectors.npy"
        os.truncate(file, file.stat().st_size + change)
        with pytest.raises(BundleError, match="not a whole matrix"):
            Index.load(tmp_path / "index", 64)


class TestReadingInPlace:
    def test_only_a_reduced_graph_reads_vectors_when_searching(
        self, index: Index, reduced: Index, tmp_path: Path
    ) -> None:
        queries = random_vectors(5, 16, seed=1), random_vectors(5, 32, seed=1)
        for saved in (index, reduced):
            saved.save(tmp_path / str(saved is reduced))
        full, small = (Index.load(tmp_path / name, 64) for name in ("False", "True"))
        for name in ("False", "True"):
            os.truncate(tmp_path / name / "vectors.npy", 200)
        assert full.search(queries[0], 3) == index.search(queries[0], 3)
        with pytest.raises(BundleError, match=r"vectors\.npy is shorter than when it was opened"):
            small.search(queries[1], 3)

    @pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="needs /proc")
    def test_nothing_stays_mapped(self, reduced: Index, tmp_path: Path) -> None:
        reduced.save(tmp_path / "index")
        loaded = Index.load(tmp_path / "index", 64)
        loaded.search(random_vectors(5, 32, seed=1), 3)
        loaded.search_exactly(random_vectors(5, 32, seed=1), 3)
        assert str(tmp_path) not in Path("/proc/self/maps").read_text(encoding="utf-8")
        held = loaded.vectors
        assert str(tmp_path) in Path("/proc/self/maps").read_text(encoding="utf-8")
        del held
        gc.collect()
        assert str(tmp_path) not in Path("/proc/self/maps").read_text(encoding="utf-8")

    @pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs /proc")
    def test_the_files_are_closed_with_the_index(self, reduced: Index, tmp_path: Path) -> None:
        def open_here() -> int:
            links = [entry for entry in Path("/proc/self/fd").iterdir() if entry.is_file()]
            return sum(str(tmp_path) in str(link.readlink()) for link in links)

        reduced.save(tmp_path / "index")
        loaded = Index.load(tmp_path / "index", 64)
        assert open_here() == 2
        del loaded
        gc.collect()
        assert open_here() == 0

    @pytest.mark.usefixtures("every_processor")
    def test_many_threads_get_the_answers_of_one(self, reduced: Index, tmp_path: Path) -> None:
        reduced.save(tmp_path / "index")
        loaded, queries = Index.load(tmp_path / "index", 64, 40), random_vectors(200, 32, seed=1)
        with ThreadPoolExecutor(8) as pool:
            found = list(pool.map(lambda query: loaded.search(query[None], 5)[0], queries))
        assert found == reduced.search(queries, 5)

    @given(st.lists(st.lists(st.text(st.characters(codec="utf-8")), min_size=1, max_size=3), min_size=1, max_size=9))
    @settings(max_examples=50, deadline=None)
    def test_descriptions_of_any_text_survive(
        self, tmp_path_factory: pytest.TempPathFactory, texts: list[list[str]]
    ) -> None:
        directory = tmp_path_factory.mktemp("texts") / "index"
        vectors = random_vectors(len(texts))
        rows = [row for row, group in enumerate(texts) for _ in group]
        Index.build([text for group in texts for text in group], vectors[rows], SETTINGS).save(directory)
        loaded = Index.load(directory, 64)
        assert list(loaded.descriptions) == texts
        assert [loaded.descriptions[row] for row in range(len(texts))] == texts

    @pytest.mark.parametrize("line", [b"[", b"5", b"[]", b"[1]", b'"a"', b'["\xff"]', b""])
    def test_a_damaged_line_of_descriptions_is_refused_when_it_is_read(
        self, index: Index, tmp_path: Path, line: bytes
    ) -> None:
        index.save(tmp_path / "index")
        file = tmp_path / "index" / "descriptions.jsonl"
        lines = file.read_bytes().splitlines()
        file.write_bytes(b"\n".join([line, *lines[1:], b""]))
        loaded = Index.load(tmp_path / "index", 64)
        assert loaded.descriptions[1] == ["descripción 1"]
        with pytest.raises(BundleError, match="descriptions cannot be read"):
            loaded.search(random_vectors(1), 1)

    def test_descriptions_that_go_on_after_the_last_line_are_refused(self, index: Index, tmp_path: Path) -> None:
        index.save(tmp_path / "index")
        with (tmp_path / "index" / "descriptions.jsonl").open("ab") as file:
            file.write(b'["des')
        with pytest.raises(BundleError, match="whole line"):
            Index.load(tmp_path / "index", 64)

    def test_a_label_beyond_the_descriptions_is_an_index_error(self, index: Index, tmp_path: Path) -> None:
        index.save(tmp_path / "index")
        for label in (-1, 300):
            with pytest.raises(IndexError):
                Index.load(tmp_path / "index", 64).descriptions[label]


class TestOldForm:
    """Bundles from before the reduced graph: all descriptions in one JSON array."""

    @pytest.fixture
    def old(self, index: Index, tmp_path: Path) -> Path:
        index.save(tmp_path / "index")
        (tmp_path / "index" / "descriptions.jsonl").unlink()
        text = json.dumps(list(index.descriptions), ensure_ascii=False, indent=0)
        (tmp_path / "index" / "descriptions.json").write_text(text, encoding="utf-8")
        return tmp_path / "index"

    def test_it_answers_the_same(self, index: Index, old: Path, tmp_path: Path) -> None:
        queries = random_vectors(20, seed=1)
        loaded = Index.load(old, 64)
        assert loaded.search(queries, 5) == index.search(queries, 5)
        loaded.save(tmp_path / "new")
        assert sorted(file.name for file in (tmp_path / "new").iterdir()) == sorted(PARTS)
        assert Index.load(tmp_path / "new", 64).search(queries, 5) == index.search(queries, 5)

    @pytest.mark.parametrize("content", [b"", b"[[", b"\xff", b"5", b"[5]", b"[[5]]", b"{}", b'[["a"]]'])
    def test_a_damaged_one_is_refused(self, old: Path, content: bytes) -> None:
        (old / "descriptions.json").write_bytes(content)
        with pytest.raises(BundleError, match="build the bundle again"):
            Index.load(old, 64)

    def test_the_mini_opens_and_each_description_finds_itself(self) -> None:
        for index in load_all(MINI, 64).values():
            found = index.search(np.asarray(index.vectors), 1)
            assert [row[0].description for row in found] == [texts[0] for texts in index.descriptions]
