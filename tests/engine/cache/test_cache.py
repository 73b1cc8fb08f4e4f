"""The result cache: what it gives back, what it never holds, and that nothing that befalls its file breaks linking."""

from __future__ import annotations

import contextlib
import dataclasses
import multiprocessing
import os
import random
import signal
import sqlite3
import stat
import subprocess
import sys
import tempfile
import threading
import warnings
from collections import OrderedDict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from cielo.bundle.layout import default_bundle
from cielo.cache import disk as module
from cielo.cache.disk import (
    CacheError,
    CacheStats,
    DiskCache,
    LayeredCache,
    MemoryCache,
    ResultCache,
    load_secret,
    open_cache,
)
from cielo.cache.key import key
from cielo.errors import BundleError
from cielo.knowledge.records import DescriptionRow
from cielo.knowledge.writing import write_knowledge_base
from cielo.machine import state_directory
from cielo.options import LinkOptions
from cielo.records import BundleIdentity, Candidate, Concept, Evidence, Link, Mention, Provenance, Timings
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

if TYPE_CHECKING:
    from cielo.link.linker import Linker

ROOT = Path(__file__).parents[3]
MARKER = "Ximénez"
SECRET = bytes(range(32))
ROWS = [
    DescriptionRow("T68", "Hipotermia", "diagnosis"),
    DescriptionRow("R50", "Fiebre", "diagnosis"),
    DescriptionRow("R50.9", "Fiebre, no especificada", "diagnosis"),
    DescriptionRow("R50.9", "Pirexia", "diagnosis", preferred=False),
    DescriptionRow("R05", "Tos", "diagnosis"),
    DescriptionRow("6A4Z", "hipotermia", "procedure"),
    DescriptionRow("BW20", "tomografía abdominal", "procedure"),
    DescriptionRow("BW20ZZZ", "tomografía abdominal", "procedure"),
    DescriptionRow("0210", "Fiebre", "procedure"),
    DescriptionRow("R05", "Tos", "procedure"),
]
TITLES = {(row.kind, row.code): row.description for row in reversed(ROWS) if row.preferred}
CONCEPTS = [Concept(row.code, row.description, row.kind, TITLES[row.kind, row.code]) for row in ROWS]
PROVENANCE = Provenance(
    BundleIdentity("de prueba", "ab" * 32, "CIE-10-ES 2024"), "ctranslate2", "int8", "cpu", "probable"
)
OTHER = dataclasses.replace(PROVENANCE, bundle=dataclasses.replace(PROVENANCE.bundle, sha256="cd" * 32))
# A fault is told once; a test that expects none must not miss one.
pytestmark = pytest.mark.filterwarnings("error::RuntimeWarning")
SPAWN = multiprocessing.get_context("spawn")
PATIENCE = 300  # seconds for another process, on a busy machine


@pytest.fixture(autouse=True)
def _state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CIELO_STATE", str(tmp_path / "state"))


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A knowledge base."""
    path = tmp_path_factory.mktemp("base") / "base.sqlite"
    write_knowledge_base(path, ROWS)
    return path


class Clock:
    """The cache's monotonic clock and its calendar, to be set forward."""

    def __init__(self) -> None:
        self.seconds = 1_000_000.0
        self.day = 20_000


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("cielo.cache.disk.time.monotonic", lambda: clock.seconds)
    monkeypatch.setattr(module, "_today", lambda: clock.day)
    return clock


@pytest.fixture
def opened(tmp_path: Path, base: Path) -> Iterator[Callable[..., DiskCache]]:
    """Open a cache on `tmp_path / "cache.sqlite"`, and close it in the end."""
    caches: list[DiskCache] = []

    def open_it(path: Path | None = None, **options: Any) -> DiskCache:
        options = {"secret": SECRET, "provenance": PROVENANCE, **options}
        cache = DiskCache(path or tmp_path / "cache.sqlite", base, **options)
        caches.append(cache)
        return cache

    yield open_it
    for cache in caches:
        cache.close()


def candidate(concept: Concept, **numbers: float) -> Candidate:
    evidence: Evidence = "neighbour" if "distance" in numbers else "hypothesis"
    return Candidate(concept.code, concept.description, concept.kind, (evidence,), **numbers, title=concept.title)


def link_to(number: int, **changes: Any) -> Link:
    """An exact link to a row of the knowledge base."""
    concept = CONCEPTS[number]
    others = [candidate(CONCEPTS[(number + 1) % len(ROWS)], distance=0.1), candidate(CONCEPTS[3], log_prob=-2.5)]
    link = Link(
        code=concept.code,
        codes=(concept.code,),
        description=concept.description,
        kind=concept.kind,
        title=concept.title,
        match="literal",
        method="exact",
        generated=concept.description,
        log_prob=-0.1 - number / 3,
        distance=None,
        candidates=(candidate(concept, log_prob=-0.1 - number / 3), *others),
        provenance=PROVENANCE,
    )
    return dataclasses.replace(link, **changes)


def digest(number: int) -> bytes:
    return number.to_bytes(4, "big") * 4


def links_to(count: int) -> dict[bytes, Link]:
    return {digest(number): link_to(number % len(ROWS)) for number in range(count)}


def secret_in(directory: str, start: Any, results: Any) -> None:
    start.wait()
    results.put(load_secret(Path(directory)))


class TestSecret:
    def test_it_is_made_once_for_its_owner_alone(self, tmp_path: Path) -> None:
        secret = load_secret()
        assert len(secret) == 32
        assert load_secret() == secret
        assert load_secret(tmp_path / "another") != secret
        (file,) = state_directory().iterdir()
        assert file.read_bytes() == secret
        assert stat.S_IMODE(file.stat().st_mode) == 0o600

    def test_a_deleted_one_is_not_made_again_the_same(self) -> None:
        secret = load_secret()
        (state_directory() / "cache.key").unlink()
        assert load_secret() != secret

    @pytest.mark.parametrize("content", [b"", b"x", bytes(31), bytes(33), bytes(100_000)])
    def test_a_damaged_one_is_replaced(self, content: bytes) -> None:
        state_directory().mkdir()
        (state_directory() / "cache.key").write_bytes(content)
        secret = load_secret()
        assert len(secret) == 32
        assert load_secret() == secret
        assert [file.name for file in state_directory().iterdir()] == ["cache.key"]

    def test_a_mode_that_lets_others_read_is_taken_back(self) -> None:
        load_secret()
        (state_directory() / "cache.key").chmod(0o644)
        load_secret()
        assert stat.S_IMODE((state_directory() / "cache.key").stat().st_mode) == 0o600

    def test_it_is_made_where_there_are_no_hard_links(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(path: Path, target: Path) -> None:
            raise OSError(1, "Operation not permitted")

        monkeypatch.setattr(Path, "hardlink_to", refuse)
        secret = load_secret()
        assert load_secret() == secret
        assert stat.S_IMODE((state_directory() / "cache.key").stat().st_mode) == 0o600
        assert [file.name for file in state_directory().iterdir()] == ["cache.key"]

    def test_an_error_leaves_no_half_of_one(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def fail(descriptor: int) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr("cielo.cache.disk.os.fsync", fail)
        with pytest.raises(OSError, match="No space left"):
            load_secret()
        assert list(state_directory().iterdir()) == []

    def test_a_file_in_the_place_of_its_directory_is_an_error(self) -> None:
        state_directory().touch()
        with pytest.raises(OSError):
            load_secret()

    def test_threads_that_make_it_at_once_have_the_same(self, tmp_path: Path) -> None:
        for round_ in range(20):
            secrets: list[bytes] = []
            barrier = threading.Barrier(8)

            def make(directory: Path, barrier: threading.Barrier, secrets: list[bytes]) -> None:
                barrier.wait()
                secrets.append(load_secret(directory))

            run_threads(8, make, tmp_path / str(round_), barrier, secrets)
            assert len(secrets) == 8
            assert len(set(secrets)) == 1
            assert [file.name for file in (tmp_path / str(round_)).iterdir()] == ["cache.key"]

    def test_processes_that_make_it_at_once_have_the_same(self, tmp_path: Path) -> None:
        start, results = SPAWN.Event(), SPAWN.Queue()
        with processes(3, secret_in, str(tmp_path / "new"), start, results):
            start.set()
            secrets = {results.get(timeout=PATIENCE) for _ in range(3)}
        assert secrets == {load_secret(tmp_path / "new")}


def run_threads(count: int, target: Callable[..., None], *arguments: Any) -> None:
    """Run threads to their end; an error in one of them is an error of the test."""
    errors: list[BaseException] = []

    def guarded() -> None:
        try:
            target(*arguments)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=guarded) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []


@contextlib.contextmanager
def processes(count: int, target: Callable[..., None], *arguments: Any) -> Iterator[list[Any]]:
    """Run processes, each with its number where the first argument is None; they must end well."""
    started = [
        SPAWN.Process(target=target, args=[number if entry is None else entry for entry in arguments])
        for number in range(count)
    ]
    for process in started:
        process.start()
    yield started
    for process in started:
        process.join(PATIENCE)
    assert [process.exitcode for process in started] == [0] * count


class TestMemory:
    def test_what_was_put_is_found_without_what_belongs_to_the_call(self) -> None:
        cache = MemoryCache()
        cache.put_many({digest(1): link_to(1, id=MARKER, timings=Timings(generate=2.0, mentions=3))})
        assert cache.get_many([digest(1), digest(2)]) == {digest(1): link_to(1)}
        assert cache.stats == CacheStats(hits=1, misses=1)

    def test_a_key_asked_for_twice_counts_once(self) -> None:
        cache = MemoryCache()
        cache.put_many(links_to(1))
        cache.get_many([digest(0), digest(0), digest(1), digest(1)])
        assert cache.stats == CacheStats(hits=1, misses=1)

    def test_the_least_recently_used_goes_first(self) -> None:
        cache = MemoryCache(3)
        cache.put_many(links_to(3))
        cache.get_many([digest(0)])
        cache.put_many({digest(1): link_to(1)})
        cache.put_many({digest(3): link_to(3)})
        assert list(cache.get_many(map(digest, range(4)))) == [digest(0), digest(1), digest(3)]

    @given(
        st.integers(1, 4),
        st.lists(st.tuples(st.booleans(), st.lists(st.integers(0, 6), max_size=5)), max_size=20),
    )
    @settings(deadline=None)
    def test_it_does_as_a_list_of_last_uses(self, entries: int, calls: list[tuple[bool, list[int]]]) -> None:
        cache, model = MemoryCache(entries), OrderedDict[bytes, None]()
        for is_put, numbers in calls:
            keys = [digest(number) for number in dict.fromkeys(numbers)]
            if is_put:
                cache.put_many({entry: link_to(0) for entry in keys})
                model.update(dict.fromkeys(keys))
            else:
                assert list(cache.get_many(keys)) == [entry for entry in keys if entry in model]
            for entry in keys:
                if entry in model:
                    model.move_to_end(entry)
            while len(model) > entries:
                model.popitem(last=False)
        assert set(cache.get_many(map(digest, range(7)))) == set(model)

    def test_each_has_a_secret_of_its_own_unless_one_is_given(self) -> None:
        assert len({MemoryCache().secret for _ in range(10)}) == 10
        assert MemoryCache(secret=SECRET).secret == SECRET

    @pytest.mark.parametrize("entries", [0, -1])
    def test_it_holds_at_least_one(self, entries: int) -> None:
        with pytest.raises(ValueError, match="expected at least 1"):
            MemoryCache(entries)

    def test_a_closed_one_has_forgotten(self) -> None:
        cache = MemoryCache()
        cache.put_many(links_to(2))
        cache.close()
        assert cache.get_many([digest(0)]) == {}

    def test_threads_get_what_belongs_to_their_keys(self) -> None:
        cache = MemoryCache(20)
        run_threads(6, hammer, cache, 300)
        assert cache.stats.hits > 0
        assert cache.stats.hits + cache.stats.misses == 6 * 300 * 5


def hammer(cache: ResultCache, rounds: int) -> None:
    """Put and get, and check that each key has its own link."""
    chance = random.Random()
    for _ in range(rounds):
        numbers = chance.sample(range(40), 5)
        cache.put_many({digest(number): link_to(number % len(ROWS)) for number in numbers[:2]})
        for entry, link in cache.get_many(map(digest, numbers)).items():
            assert link == link_to(int.from_bytes(entry[:4], "big") % len(ROWS))


NUMBERS = st.floats(allow_nan=False)
ANY_CONCEPT = st.sampled_from(CONCEPTS)
ANY_CANDIDATE = st.builds(
    lambda concept, evidence, log_prob, distance: Candidate(
        concept.code, concept.description, concept.kind, evidence, log_prob, distance, concept.title
    ),
    ANY_CONCEPT, st.sampled_from([("hypothesis",), ("neighbour",), ("hypothesis", "neighbour")]),
    st.none() | NUMBERS, st.none() | NUMBERS,
)  # fmt: skip
ANY_LINK = st.builds(
    lambda first, **fields: Link(
        code=first and first.code, description=first and first.description, kind=first and first.kind,
        title=first and first.title,
        provenance=dataclasses.replace(PROVENANCE, **fields.pop("asked")), **fields,
    ),
    first=st.none() | ANY_CONCEPT,
    codes=st.lists(st.sampled_from([row.code for row in ROWS]), max_size=5).map(tuple),
    method=st.sampled_from(["exact", "semantic", "none"]),
    generated=st.sampled_from([row.description for row in ROWS]),
    log_prob=NUMBERS,
    distance=st.none() | NUMBERS,
    candidates=st.lists(ANY_CANDIDATE, max_size=8).map(tuple),
    truncated=st.booleans(),
    match=st.sampled_from([None, "literal", "normal"]),
    confidence=st.none() | st.floats(0, 1),
    margin=st.none() | NUMBERS,
    tokens=st.integers(0, 128),
    asked=st.fixed_dictionaries({
        "decoding": st.sampled_from(["probable", "published", "another ñ"]),
        "pipeline": st.sampled_from(["I", "II"]),
        "matching": st.sampled_from(["tiered", "published"]),
    }),
)  # fmt: skip


class TestDisk:
    @pytest.fixture
    def cache(self, opened: Callable[..., DiskCache]) -> DiskCache:
        return opened()

    def test_what_was_put_is_found_by_the_next_process_too(self, opened: Callable[..., DiskCache]) -> None:
        links = links_to(10)
        first = opened()
        first.put_many(links)
        assert first.get_many([*links, digest(10)]) == links
        assert first.stats == CacheStats(hits=10, misses=1)
        first.close()
        again = opened()
        assert again.get_many(links) == links
        assert again.stats == CacheStats(hits=10, misses=0)

    @given(link=ANY_LINK)
    @settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    def test_a_link_of_the_knowledge_base_s_texts_comes_back_as_it_was(self, cache: DiskCache, link: Link) -> None:
        cache.put_many({digest(0): link})
        found = cache.get_many([digest(0)])
        assert found == {digest(0): link}
        assert repr(found[digest(0)]) == repr(link)  # -0.0 and 0.0 are equal, and not the same

    def test_numbers_keep_every_bit(self, opened: Callable[..., DiskCache]) -> None:
        numbers = [-0.1 - 0.2, -5e-324, -1.7976931348623157e308, 0.0, -0.0, float("-inf"), 1 / 3]
        links = {digest(row): link_to(1, log_prob=number, distance=number) for row, number in enumerate(numbers)}
        cache = opened()
        cache.put_many(links)
        found = cache.get_many(links)
        assert [str(link.log_prob) for link in found.values()] == [str(number) for number in numbers]
        assert [str(link.distance) for link in found.values()] == [str(number) for number in numbers]

    def test_more_codes_than_candidates_and_codes_of_two_kinds_come_back(
        self, opened: Callable[..., DiskCache]
    ) -> None:
        link = link_to(0, codes=("T68", "6A4Z", "R05"), candidates=link_to(0).candidates[:1])
        cache = opened()
        cache.put_many({digest(0): link})
        assert cache.get_many([digest(0)]) == {digest(0): link}

    def test_a_semantic_link_and_one_to_none_are_kept_where_the_text_is_a_row_s(
        self, opened: Callable[..., DiskCache]
    ) -> None:
        none = {"code": None, "codes": (), "description": None, "kind": None, "title": None}
        links = {
            digest(0): link_to(7, method="semantic", generated="Tos", distance=0.25),
            digest(1): link_to(7, method="none", generated="Tos", distance=3.5, **none),
            digest(2): link_to(7, method="none", generated="Tos", candidates=(), **none),
        }
        cache = opened()
        cache.put_many(links)
        assert cache.get_many(links) == links

    @pytest.mark.parametrize(
        "changes",
        [
            {"generated": "tos"}, {"generated": "Tos."}, {"generated": "Tos "}, {"generated": ""},
            {"generated": "Tos\x00"}, {"generated": "Tos [Code: R05]"}, {"generated": f"Tos de {MARKER}"},
            {"generated": "tomografi\u0301a abdominal"}, {"generated": "\ud83d"},
            {"description": f"Tos de {MARKER}"}, {"code": "R06"}, {"kind": "procedure", "description": "Pirexia"},
            {"codes": ("R05", MARKER)}, {"code": None}, {"description": None}, {"title": MARKER},
            {"candidates": (Candidate("R05", MARKER, "diagnosis", ("hypothesis",)),)},
            {"candidates": (Candidate(MARKER, "Tos", "diagnosis", ("hypothesis",)),)},
            {"candidates": (Candidate("R05", "Tos", MARKER, ("hypothesis",)),)},
            {"candidates": (Candidate("R05", "Tos", "diagnosis", (MARKER,)),)},  # type: ignore[arg-type]
            {"candidates": (Candidate("R05", "Tos", "diagnosis", ("hypothesis",), log_prob=float("nan")),)},
            {"method": MARKER}, {"log_prob": float("nan")}, {"distance": float("nan")},
            {"provenance": OTHER},
            {"provenance": dataclasses.replace(PROVENANCE, compute_type="float32")},
            {"provenance": dataclasses.replace(PROVENANCE, device="cuda")},
        ],
    )  # fmt: skip
    def test_whatever_would_not_come_back_as_it_was_is_not_kept(
        self, opened: Callable[..., DiskCache], changes: dict[str, Any]
    ) -> None:
        cache = opened()
        cache.put_many({digest(0): link_to(4, **changes), digest(1): link_to(4)})
        assert cache.get_many([digest(0), digest(1)]) == {digest(1): link_to(4)}
        assert entries_of(cache) == 1

    def test_ids_and_timings_are_not_kept(self, opened: Callable[..., DiskCache]) -> None:
        cache = opened()
        cache.put_many({digest(1): link_to(1, id=MARKER, timings=Timings(generate=2.0, mentions=3))})
        assert cache.get_many([digest(1)]) == {digest(1): link_to(1)}

    def test_a_later_link_takes_the_place_of_an_earlier_one(self, opened: Callable[..., DiskCache]) -> None:
        cache = opened()
        for number in (1, 2):
            cache.put_many({digest(0): link_to(number)})
        assert cache.get_many([digest(0)]) == {digest(0): link_to(2)}
        assert entries_of(cache) == counted(cache) == 1

    def test_thousands_of_keys_at_once(self, opened: Callable[..., DiskCache]) -> None:
        links = links_to(1_700)
        cache = opened()
        cache.put_many(links)
        assert cache.get_many([*map(digest, range(5_000)), *links]) == links
        assert cache.stats == CacheStats(hits=1_700, misses=3_300)
        assert cache.get_many([]) == {}
        cache.put_many({})
        assert entries_of(cache) == counted(cache) == 1_700

    def test_bundles_share_a_file_and_not_its_entries(self, opened: Callable[..., DiskCache]) -> None:
        other = OTHER
        ours, theirs = opened(), opened(provenance=other)
        ours.put_many({digest(0): link_to(0)})
        theirs.put_many({digest(1): link_to(1, provenance=other)})
        # Even the same key, which another bundle never has, does not give another bundle's rows.
        assert theirs.get_many([digest(0), digest(1)]) == {digest(1): link_to(1, provenance=other)}
        assert ours.get_many([digest(0), digest(1)]) == {digest(0): link_to(0)}

    def test_a_row_that_the_knowledge_base_lacks_is_a_miss(self, tmp_path: Path) -> None:
        base, path = tmp_path / "base.sqlite", tmp_path / "cache.sqlite"
        write_knowledge_base(base, ROWS)
        with contextlib.closing(DiskCache(path, base, PROVENANCE)) as cache:
            cache.put_many(links_to(10))
        base.unlink()
        write_knowledge_base(base, ROWS[:1])
        with contextlib.closing(DiskCache(path, base, PROVENANCE)) as cache:
            assert cache.get_many(links_to(10)) == {}
            assert cache.stats == CacheStats(misses=10)

    def test_another_secret_finds_nothing_and_is_no_error(self, opened: Callable[..., DiskCache]) -> None:
        opened().put_many(links_to(3))
        cache = opened(secret=bytes(32))
        assert cache.get_many(links_to(3)) == {}
        cache.put_many(links_to(2))
        assert cache.get_many(links_to(3)) == links_to(2)

    def test_the_user_s_secret_is_the_default(self, opened: Callable[..., DiskCache]) -> None:
        assert opened(secret=None).secret == load_secret() == (state_directory() / "cache.key").read_bytes()

    def test_a_closed_one_knows_nothing_and_keeps_nothing(self, opened: Callable[..., DiskCache]) -> None:
        cache = opened()
        cache.put_many(links_to(3))
        cache.close()
        cache.close()
        assert cache.get_many(links_to(3)) == {}
        cache.put_many(links_to(5))
        assert len(opened().get_many(links_to(5))) == 3

    def test_it_needs_a_knowledge_base(self, tmp_path: Path) -> None:
        (tmp_path / "base.sqlite").write_text("no")
        with pytest.raises(BundleError, match=r"base\.sqlite cannot be opened as a knowledge base"):
            DiskCache(tmp_path / "cache.sqlite", tmp_path / "base.sqlite", PROVENANCE)

    @pytest.mark.parametrize("entries", [0, -1])
    def test_it_holds_at_least_one(self, opened: Callable[..., DiskCache], entries: int) -> None:
        with pytest.raises(ValueError, match="expected at least 1"):
            opened(entries=entries)

    @pytest.mark.parametrize("name", ["con espacio", "camión-ñ", "a%20b#c?d=e&mode=memory", "-x", ":memory:", "file:x"])
    def test_its_path_may_hold_any_character(
        self, tmp_path: Path, opened: Callable[..., DiskCache], monkeypatch: pytest.MonkeyPatch, name: str
    ) -> None:
        monkeypatch.chdir(tmp_path)
        opened(Path(name)).put_many(links_to(2))
        assert (tmp_path / name).is_file()
        assert opened(tmp_path / name).get_many(links_to(2)) == links_to(2)

    def test_missing_directories_are_made(self, tmp_path: Path, opened: Callable[..., DiskCache]) -> None:
        opened(tmp_path / "a" / "b" / "cache.sqlite").put_many(links_to(1))
        assert (tmp_path / "a" / "b" / "cache.sqlite").is_file()

    @pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
    def test_its_files_are_for_their_owner_alone(
        self, tmp_path: Path, opened: Callable[..., DiskCache], umask: int
    ) -> None:
        before = os.umask(umask)
        try:
            opened().put_many(links_to(100))
        finally:
            os.umask(before)
        files = list(tmp_path.glob("cache.sqlite*"))
        assert {file.name for file in files} == {"cache.sqlite", "cache.sqlite-wal", "cache.sqlite-shm"}
        assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}

    def test_a_mode_that_lets_others_read_is_taken_back(self, tmp_path: Path, opened: Callable[..., DiskCache]) -> None:
        opened().close()
        (tmp_path / "cache.sqlite").chmod(0o644)
        opened()
        assert stat.S_IMODE((tmp_path / "cache.sqlite").stat().st_mode) == 0o600


def entries_of(cache: DiskCache) -> int:
    with contextlib.closing(sqlite3.connect(cache._path)) as connection:
        return int(connection.execute("SELECT count(*) FROM entry").fetchone()[0])


def counted(cache: DiskCache) -> int:
    """What the file itself says how many entries it holds."""
    with contextlib.closing(sqlite3.connect(cache._path)) as connection:
        return int(connection.execute("SELECT entries FROM size").fetchone()[0])


class TestBounds:
    def test_the_file_holds_no_more_than_it_may(self, opened: Callable[..., DiskCache]) -> None:
        cache = opened(entries=20)
        for number in range(50):
            cache.put_many({digest(number): link_to(0)})
            assert entries_of(cache) == counted(cache) <= 20
        assert counted(cache) >= 19
        cache.put_many(links_to(500))
        assert entries_of(cache) == counted(cache) <= 20

    def test_it_takes_an_entry_even_where_it_may_hold_one_alone(self, opened: Callable[..., DiskCache]) -> None:
        cache = opened(entries=1)
        for number in range(5):
            cache.put_many({digest(number): link_to(number)})
            assert cache.get_many(links_to(5)) == {digest(number): link_to(number)}

    def test_where_it_may_hold_less_than_before_the_next_writing_makes_room(
        self, opened: Callable[..., DiskCache]
    ) -> None:
        opened().put_many(links_to(100))
        cache = opened(entries=10)
        assert len(cache.get_many(links_to(100))) == 100
        cache.put_many({digest(200): link_to(0)})
        assert entries_of(cache) == counted(cache) == 10
        assert cache.get_many([digest(200)]) == {digest(200): link_to(0)}

    def test_the_least_recently_used_go_first(self, opened: Callable[..., DiskCache], clock: Clock) -> None:
        cache = opened(entries=10)
        for number in range(10):
            clock.day += 1
            cache.put_many({digest(number): link_to(number)})
        clock.day += 1
        cache.get_many([digest(0), digest(3)])
        cache.put_many({digest(number): link_to(0) for number in range(10, 14)})
        assert list(cache.get_many(map(digest, range(14)))) == [
            digest(number) for number in (0, 3, 6, 7, 8, 9, 10, 11, 12, 13)
        ]

    def test_within_a_day_the_oldest_go_first(self, opened: Callable[..., DiskCache], clock: Clock) -> None:
        cache = opened(entries=5)
        for number in range(8):
            cache.put_many({digest(number): link_to(number)})
        assert list(cache.get_many(links_to(8))) == [digest(number) for number in range(3, 8)]

    def test_reading_writes_nothing(self, tmp_path: Path, opened: Callable[..., DiskCache], clock: Clock) -> None:
        cache = opened()
        cache.put_many(links_to(10))
        before = contents_of(tmp_path)
        clock.day += 1
        for _ in range(20):
            assert len(cache.get_many(links_to(10))) == 10
        assert contents_of(tmp_path) == before
        assert days_of(cache) == {clock.day - 1}

    def test_the_day_of_use_is_written_with_the_next_links(
        self, opened: Callable[..., DiskCache], clock: Clock
    ) -> None:
        cache = opened()
        cache.put_many(links_to(10))
        clock.day += 1
        cache.get_many([digest(0)])
        cache.put_many({digest(20): link_to(0)})
        assert days_of(cache, digest(0), digest(20)) == {clock.day}
        assert days_of(cache, digest(1), digest(2)) == {clock.day - 1}

    def test_or_when_the_cache_is_closed(self, opened: Callable[..., DiskCache], clock: Clock) -> None:
        opened().put_many(links_to(10))
        clock.day += 1
        cache = opened()
        cache.get_many([digest(0)])
        cache.close()
        assert days_of(cache, digest(0)) == {clock.day}
        assert days_of(cache, digest(1)) == {clock.day - 1}

    def test_or_when_many_wait_for_it(
        self, opened: Callable[..., DiskCache], clock: Clock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(module, "_STAMPS_AT_ONCE", 4)
        cache = opened()
        cache.put_many(links_to(10))
        clock.day += 1
        cache.get_many([digest(0), digest(1), digest(2)])
        assert days_of(cache) == {clock.day - 1}
        cache.get_many([digest(3)])
        assert days_of(cache, *map(digest, range(4))) == {clock.day}

    def test_each_entry_s_day_is_written_once_a_day(self, opened: Callable[..., DiskCache], clock: Clock) -> None:
        cache = opened()
        cache.put_many(links_to(10))
        assert cache._connection is not None
        statements: list[str] = []
        cache._connection.set_trace_callback(statements.append)
        for day in (0, 1):
            clock.day += day
            for number in range(20, 23):
                cache.get_many(links_to(4))
                cache.put_many({digest(number): link_to(0)})
            stamps = [statement for statement in statements if statement.startswith("UPDATE entry SET used")]
            assert len(stamps) == 4 * day

    def test_a_day_in_the_future_is_put_right(self, opened: Callable[..., DiskCache], clock: Clock) -> None:
        clock.day += 1_000
        cache = opened()
        cache.put_many(links_to(1))
        clock.day -= 1_000
        cache.get_many([digest(0)])
        cache.close()
        assert days_of(cache) == {clock.day}

    def test_a_million_entries_are_not_counted_at_each_writing(self, opened: Callable[..., DiskCache]) -> None:
        cache = opened()
        cache.put_many(links_to(10))
        assert cache._connection is not None
        statements: list[str] = []
        cache._connection.set_trace_callback(statements.append)
        cache.put_many({digest(20): link_to(0)})
        assert any("INSERT INTO entry" in statement for statement in statements)
        assert not any("count(" in statement for statement in statements)


def contents_of(directory: Path) -> dict[str, bytes]:
    """The files of a cache, but for the locks that readers share."""
    return {file.name: file.read_bytes() for file in directory.iterdir() if file.is_file() and not file.match("*-shm")}


def days_of(cache: DiskCache, *keys: bytes) -> set[int]:
    with contextlib.closing(sqlite3.connect(cache._path)) as connection:
        found = connection.execute("SELECT digest, used FROM entry").fetchall()
    return {used for entry, used in found if not keys or entry in keys}


class TestLayers:
    def test_without_a_file_the_cache_is_memory(self, tmp_path: Path, base: Path) -> None:
        cache = open_cache(knowledge_base=base, provenance=PROVENANCE, entries=2)
        cache.put_many(links_to(3))
        assert cache.get_many(links_to(3)) == {digest(1): link_to(1), digest(2): link_to(2)}
        cache.close()
        assert list(tmp_path.iterdir()) == []

    def test_what_the_file_does_not_take_is_in_memory(self, tmp_path: Path, base: Path) -> None:
        links = {digest(0): link_to(0), digest(1): link_to(1, generated=MARKER)}
        path = tmp_path / "cache.sqlite"
        with contextlib.closing(open_cache(path, knowledge_base=base, provenance=PROVENANCE)) as cache:
            assert cache.secret == load_secret()
            cache.put_many(links)
            assert cache.get_many([*links, digest(2)]) == links
            assert cache.stats == CacheStats(hits=2, misses=1)
        with contextlib.closing(open_cache(path, knowledge_base=base, provenance=PROVENANCE)) as cache:
            assert cache.get_many(links) == {digest(0): link_to(0)}
            assert cache.stats == CacheStats(hits=1, misses=1)

    def test_what_the_file_gave_is_in_memory(self, opened: Callable[..., DiskCache]) -> None:
        opened().put_many(links_to(5))
        disk = opened()
        cache = LayeredCache(disk, entries=3)
        for _ in range(2):
            assert cache.get_many(links_to(3)) == links_to(3)
        assert disk.stats == CacheStats(hits=3, misses=0)
        assert cache.stats == CacheStats(hits=6, misses=0)
        assert cache.get_many(links_to(5)) == links_to(5)

    def test_a_file_that_cannot_be_used_leaves_the_memory(self, tmp_path: Path, base: Path) -> None:
        (tmp_path / "file").touch()
        with pytest.warns(RuntimeWarning, match="cannot be read"):
            cache = open_cache(tmp_path / "file" / "cache", knowledge_base=base, provenance=PROVENANCE)
        cache.put_many(links_to(3))
        assert cache.get_many(links_to(3)) == links_to(3)
        cache.close()


class TestPrivacy:
    # Planted in the prompts, the ids and the generated texts; the last two are texts of the knowledge base.
    WORDS = (MARKER, "Urquizu", "esplenomegalia", "NHC-4471923", "Hipotermia", "tomografía")

    def test_no_file_holds_a_word_of_a_mention_or_of_a_text(self, tmp_path: Path, base: Path) -> None:
        path = tmp_path / "cache.sqlite"
        prompts = [f"Genera: {MARKER} - en la frase: {word} con Hipotermia y tomografía" for word in self.WORDS]
        links = [
            link_to(0, id="NHC-4471923"),
            link_to(6, id=MARKER),
            link_to(1, generated=f"Fiebre de {MARKER}"),
            link_to(2, generated="esplenomegalia", description="esplenomegalia"),
            link_to(7, method="semantic", generated="Urquizu"),
            link_to(4, candidates=(Candidate("R05", "esplenomegalia", "diagnosis", ("hypothesis",)),)),
        ]
        cache = open_cache(path, knowledge_base=base, provenance=PROVENANCE)
        keys = [key(cache.secret, PROVENANCE, LinkOptions(), prompt=prompt, kind=None) for prompt in prompts]
        cache.put_many(dict(zip(keys, links, strict=True)))
        assert len(cache.get_many(keys)) == 6
        while_open = contents_of(tmp_path)
        assert {"cache.sqlite", "cache.sqlite-wal"} <= set(while_open)
        cache.close()
        after = contents_of(tmp_path)
        assert set(after) == {"cache.sqlite"}
        assert keys[0] in while_open["cache.sqlite-wal"]  # the entries are there: this is where the words would be
        assert keys[0] in after["cache.sqlite"]
        state = contents_of(state_directory())
        for content in (*while_open.values(), *after.values(), *state.values()):
            for word in self.WORDS:
                assert not any(form in content for form in forms(word)), word

    def test_the_file_does_not_hold_the_secret(self, tmp_path: Path, opened: Callable[..., DiskCache]) -> None:
        cache = opened(secret=None)
        cache.put_many(links_to(10))
        assert not any(cache.secret in content for content in contents_of(tmp_path).values())

    def test_no_warning_or_error_holds_a_text(self, tmp_path: Path, opened: Callable[..., DiskCache]) -> None:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            cache = opened()
            cache.put_many({digest(0): link_to(0, generated=MARKER, id=MARKER)})
            cache.put_many(links_to(3))
            break_tables(tmp_path / "cache.sqlite")
            cache.get_many(links_to(3))
            cache.put_many({digest(1): link_to(0), digest(0): link_to(0, generated=MARKER)})
        assert caught
        assert not any(MARKER in str(entry.message) or "Hipotermia" in str(entry.message) for entry in caught)


def forms(word: str) -> Iterator[bytes]:
    for text in {word, word.lower(), word.upper(), word.casefold(), word[:6]}:
        for encoding in ("utf-8", "latin-1", "utf-16-le", "utf-16-be"):
            yield text.encode(encoding)


def break_tables(path: Path) -> None:
    """Drop a table under an open cache: every statement after that is an error."""
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("DROP TABLE entry")


def mini_links(
    linker: Linker, cache: ResultCache, mentions: list[Mention], **options: Any
) -> tuple[list[Link], list[int]]:
    """Link as the linker does with a cache; return the rows that were found in it, too."""
    given = LinkOptions(**options)
    provenance = linker.provenance(given)
    prompts = [linker._stages.prompt(mention.text, mention.sentence) for mention in mentions]
    keys = [
        key(cache.secret, provenance, given, prompt=prompt, kind=mention.kind)
        for prompt, mention in zip(prompts, mentions, strict=True)
    ]
    known = cache.get_many(keys)
    missing = [mention for entry, mention in zip(keys, mentions, strict=True) if entry not in known]
    fresh = linker.link(missing, given)
    new = dict(zip((entry for entry in keys if entry not in known), fresh, strict=True))
    cache.put_many(new)
    links = [dataclasses.replace({**known, **new}[entry], id=None, timings=Timings()) for entry in keys]
    return links, [row for row, entry in enumerate(keys) if entry in known]


def read_in_another_process(path: str, base: str, provenance: Provenance, keys: list[bytes], results: Any) -> None:
    cache = DiskCache(Path(path), Path(base), provenance)
    results.put(cache.get_many(keys))
    cache.close()


OPTIONS: list[dict[str, Any]] = [
    {}, {"top_k": 1}, {"top_k": 40, "neighbours": "always"}, {"decoding": "published", "neighbours": "always"},
]  # fmt: skip


class TestMini:
    """Real links of the bundle that comes with cielo."""

    @pytest.fixture(scope="class")
    def linker(self) -> Iterator[Linker]:
        from cielo.link.linker import Linker

        with Linker.open(device="cpu", cache=False) as linker:
            yield linker

    @pytest.fixture(scope="class")
    def mentions(self) -> list[Mention]:
        import csv

        with (ROOT / "models" / "mini" / "heldout.tsv").open(encoding="utf-8", newline="") as lines:
            rows = list(csv.DictReader(lines, delimiter="\t"))[:: 1286 // 30]
        kinds = [None, "diagnosis", "procedure"]
        texts = [Mention(row["text"], row["sentence"] or None, kinds[place % 3]) for place, row in enumerate(rows)]
        strange = [Mention(text) for text in (f"{MARKER} xyzzy", "qqqq wwww", "0", "A" * 400)]
        return [*texts, *strange]

    @pytest.mark.parametrize("options", OPTIONS, ids=str)
    def test_a_hit_equals_a_fresh_link(
        self, linker: Linker, mentions: list[Mention], tmp_path: Path, options: dict[str, Any]
    ) -> None:
        fresh = [
            dataclasses.replace(link, id=None, timings=Timings())
            for link in linker.link(mentions, LinkOptions(**options))
        ]
        path, base = tmp_path / "cache.sqlite", default_bundle() / "knowledge_base.sqlite"
        with contextlib.closing(open_cache(path, knowledge_base=base, provenance=linker.provenance())) as cache:
            assert mini_links(linker, cache, mentions, **options) == (fresh, [])
            assert mini_links(linker, cache, mentions, **options) == (fresh, list(range(len(mentions))))
        with contextlib.closing(DiskCache(path, base, linker.provenance())) as cache:
            links, hits = mini_links(linker, cache, mentions, **options)
            assert len(hits) >= 24  # all that were generated as a description
            assert [links[row] for row in hits] == [fresh[row] for row in hits]

    def test_a_hit_in_another_process_equals_a_fresh_link(
        self, linker: Linker, mentions: list[Mention], tmp_path: Path
    ) -> None:
        path, base = tmp_path / "cache.sqlite", default_bundle() / "knowledge_base.sqlite"
        links = linker.link(mentions)
        with contextlib.closing(DiskCache(path, base, linker.provenance())) as cache:
            cache.put_many({digest(row): link for row, link in enumerate(links)})
            here = cache.get_many(map(digest, range(len(links))))
        results = SPAWN.Queue()
        keys = list(map(digest, range(len(links))))
        with processes(1, read_in_another_process, str(path), str(base), linker.provenance(), keys, results):
            there = results.get(timeout=PATIENCE)
        assert len(there) >= 24
        assert there == here
        for entry, link in there.items():
            assert link == dataclasses.replace(links[keys.index(entry)], timings=Timings())

    def test_other_options_do_not_share_their_links(self, linker: Linker, mentions: list[Mention]) -> None:
        cache = MemoryCache()
        some = mentions[:4]
        for options in OPTIONS:
            assert mini_links(linker, cache, some, **options)[1] == []
        other_kind = [dataclasses.replace(mention, kind="procedure", id=None) for mention in some if not mention.kind]
        assert mini_links(linker, cache, other_kind)[1] == []

    def test_no_word_of_a_mention_is_in_the_file(self, linker: Linker, mentions: list[Mention], tmp_path: Path) -> None:
        path = tmp_path / "cache.sqlite"
        cache = open_cache(
            path, knowledge_base=default_bundle() / "knowledge_base.sqlite", provenance=linker.provenance()
        )
        links, _ = mini_links(linker, cache, mentions)
        words = {
            word
            for mention, link in zip(mentions, links, strict=True)
            for text in (mention.text, mention.sentence or "", link.generated)
            for word in text.split()
            if len(word) > 5
        }
        assert len(words) > 50
        contents = [*contents_of(tmp_path).values()]
        cache.close()
        for content in (*contents, *contents_of(tmp_path).values()):
            assert [word for word in words if any(form in content for form in forms(word))] == []


def damage(file: Path, start: int, content: bytes) -> None:
    with file.open("r+b") as stream:
        stream.seek(start)
        stream.write(content)


def changed(path: Path, *statements: str) -> None:
    """Change a cache as another version, or somebody else, would have."""
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        for statement in statements:
            connection.execute(statement)


def works(cache: DiskCache) -> bool:
    cache.put_many(links_to(5))
    return cache.get_many(links_to(5)) == links_to(5)


@pytest.fixture
def full(tmp_path: Path, opened: Callable[..., DiskCache]) -> Path:
    """A closed cache with a few hundred entries."""
    cache = opened()
    cache.put_many(links_to(400))
    cache.close()
    path = tmp_path / "cache.sqlite"
    assert path.stat().st_size > 40_000
    return path


class TestDamage:
    @pytest.mark.parametrize(
        ("start", "length"),
        [(100, 3_996), (4_096, 100_000), (16, 2), (96, 4_000), (40, 60), (5_000, 60_000)],
    )
    def test_a_damaged_file_is_told_and_replaced(
        self, full: Path, opened: Callable[..., DiskCache], start: int, length: int
    ) -> None:
        size = full.stat().st_size
        application = full.read_bytes()[68:72]
        damage(full, start, b"\xa5" * min(length, size - start))
        damage(full, 68, application)
        with pytest.warns(RuntimeWarning, match="was damaged or outdated") as caught:
            cache = opened()
            cache.get_many(links_to(400))
            cache.put_many(links_to(400))
            cache.get_many(links_to(400))
        assert len(caught) == 1
        assert str(full) in str(caught[0].message)
        assert works(cache)
        cache.close()
        assert [file.name for file in full.parent.glob("*cache*")] == [full.name]
        assert works(opened())

    @pytest.mark.parametrize("size", [100, 4_095, 4_096, 8_192, 20_000])
    def test_a_file_that_was_cut_is_told_and_replaced(
        self, full: Path, opened: Callable[..., DiskCache], size: int
    ) -> None:
        os.truncate(full, size)
        with pytest.warns(RuntimeWarning, match="was damaged or outdated"):
            cache = opened()
            cache.get_many(links_to(400))
            cache.put_many(links_to(400))
        assert cache.get_many(links_to(400)) == links_to(400)

    def test_damage_under_an_open_cache_is_told_and_repaired(
        self, full: Path, opened: Callable[..., DiskCache]
    ) -> None:
        cache = opened()
        size = full.stat().st_size
        damage(full, 4_096, b"\xa5" * (size - 4_096))
        with pytest.warns(RuntimeWarning, match="was damaged or outdated") as caught:
            assert cache.get_many(links_to(400)) == {}
        assert len(caught) == 1
        assert works(cache)

    def test_a_flipped_bit_in_an_entry_is_a_miss_and_no_other_code(
        self, full: Path, opened: Callable[..., DiskCache]
    ) -> None:
        with contextlib.closing(sqlite3.connect(full)) as connection:
            ((entry, content),) = connection.execute("SELECT id, content FROM entry WHERE id = 7").fetchall()
        cache = opened()
        with contextlib.closing(sqlite3.connect(full, isolation_level=None)) as connection:
            for place in range(len(content)):
                flipped = bytearray(content)
                flipped[place] ^= 1 << place % 8
                connection.execute("UPDATE entry SET content = ? WHERE id = ?", (bytes(flipped), entry))
                assert set(cache.get_many([digest(5), digest(6)])) == {digest(5)}
        cache.put_many({digest(6): link_to(6)})
        assert cache.get_many([digest(6)]) == {digest(6): link_to(6)}

    @pytest.mark.parametrize("value", ["NULL", "'text'", "5", "x''", "x'00'", "zeroblob(1000)", "1.5"])
    def test_a_content_of_another_form_is_a_miss(
        self, full: Path, opened: Callable[..., DiskCache], value: str
    ) -> None:
        with contextlib.closing(sqlite3.connect(full)) as connection, connection:
            connection.execute("PRAGMA ignore_check_constraints = ON")
            connection.execute(f"UPDATE OR IGNORE entry SET content = {value} WHERE id = 1 AND {value} IS NOT NULL")
            connection.execute(f"UPDATE entry SET used = coalesce({value}, 'x') WHERE id = 2")
        cache = opened()
        found = cache.get_many(links_to(10))
        assert {digest(row): link_to(row % 10) for row in range(2, 10)}.items() <= found.items()
        assert (digest(0) in found) == (value == "NULL")
        assert works(cache)

    def test_an_entry_under_another_s_key_is_a_miss(self, full: Path, opened: Callable[..., DiskCache]) -> None:
        changed(
            full,
            "CREATE TEMP TABLE two AS SELECT id, content FROM entry WHERE id IN (1, 2)",
            "UPDATE entry SET content = (SELECT content FROM two WHERE two.id = 3 - entry.id) WHERE id IN (1, 2)",
        )
        assert set(opened().get_many(links_to(4))) == {digest(2), digest(3)}

    @pytest.mark.parametrize(
        "statement",
        [
            "DROP TABLE entry", "DROP TABLE size", "DROP TRIGGER entry_added", "DROP INDEX entry_used",
            "ALTER TABLE entry RENAME COLUMN content TO more", "CREATE TABLE more (x)", "PRAGMA user_version = 0",
            "CREATE TRIGGER more AFTER INSERT ON entry BEGIN DELETE FROM entry; END",
        ],
    )  # fmt: skip
    def test_a_cache_of_an_older_or_altered_schema_is_told_and_replaced(
        self, full: Path, opened: Callable[..., DiskCache], statement: str
    ) -> None:
        changed(full, statement)
        with pytest.warns(RuntimeWarning, match="was damaged or outdated"):
            cache = opened()
        assert cache.get_many(links_to(10)) == {}
        assert works(cache)
        assert entries_of(cache) == counted(cache) == 5

    def test_a_cache_of_a_newer_cielo_is_told_and_left_as_it_is(
        self, full: Path, opened: Callable[..., DiskCache]
    ) -> None:
        changed(full, f"PRAGMA user_version = {module._VERSION + 1}")
        before = full.read_bytes()
        with pytest.warns(RuntimeWarning, match=r"cannot be read \(it is of a newer cielo's schema") as caught:
            cache = opened()
            cache.put_many(links_to(3))
            assert cache.get_many(links_to(3)) == {}
        assert len(caught) == 1
        cache.close()
        assert full.read_bytes() == before

    def test_an_empty_log_and_one_of_nonsense_do_no_harm(self, full: Path, opened: Callable[..., DiskCache]) -> None:
        for content in (b"", b"nonsense" * 1_000):
            for suffix in ("-wal", "-shm", "-journal"):
                full.with_name(full.name + suffix).write_bytes(content)
            cache = opened()
            assert cache.get_many(links_to(10)) == links_to(10)
            assert works(cache)
            cache.close()

    @pytest.fixture(scope="class")
    def left_behind(self, base: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
        """The files of a cache whose process was killed: half of the entries in the file, half in the log."""
        path = tmp_path_factory.mktemp("killed") / "cache.sqlite"
        links = list(links_to(300).items())
        for half in (links[:150], links[150:]):
            cache = DiskCache(path, base, PROVENANCE, secret=SECRET)
            cache.put_many(dict(half))
            files = contents_of(path.parent)
            cache.close()
        assert {name: len(content) > 20_000 for name, content in files.items()} == {
            "cache.sqlite": True, "cache.sqlite-wal": True,
        }  # fmt: skip
        return files

    def test_what_a_killed_process_left_is_all_there(
        self, tmp_path: Path, opened: Callable[..., DiskCache], left_behind: dict[str, bytes]
    ) -> None:
        for name, content in left_behind.items():
            (tmp_path / name).write_bytes(content)
        assert opened().get_many(links_to(300)) == links_to(300)

    @given(
        damages=st.lists(st.tuples(st.integers(0, 200_000), st.binary(min_size=1, max_size=400)), max_size=12),
        cut=st.none() | st.integers(0, 100_000),
        where=st.sampled_from(["cache.sqlite", "cache.sqlite-wal"]),
    )
    @settings(max_examples=40, deadline=None)
    def test_no_damage_whatever_gives_another_link_or_an_error(
        self, base: Path, left_behind: dict[str, bytes], damages: list[tuple[int, bytes]], cut: int | None, where: str
    ) -> None:
        with tempfile.TemporaryDirectory() as directory, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for name, content in left_behind.items():
                Path(directory, name).write_bytes(content)
            size = len(left_behind[where])
            for start, garbage in damages:
                damage(Path(directory, where), start % size, garbage)
            if cut is not None:
                os.truncate(Path(directory, where), cut % (size + 1))
            path = Path(directory, "cache.sqlite")
            before = path.read_bytes()
            try:
                cache = DiskCache(path, base, PROVENANCE, secret=SECRET)
            except CacheError:  # no longer to be told from somebody else's file
                assert path.read_bytes() == before
                return
            for _ in range(2):
                assert cache.get_many(links_to(300)).items() <= links_to(300).items()
                cache.put_many(links_to(300))
            cache.close()


def sqlite_file(path: Path, *statements: str) -> None:
    changed(path, "CREATE TABLE notas (texto TEXT)", "INSERT INTO notas VALUES ('suyo')", *statements)


FOREIGN: dict[str, Callable[[Path], object]] = {
    "text": lambda path: path.write_text("Paciente con fiebre."),
    "one byte": lambda path: path.write_bytes(b"\0"),
    "zeros": lambda path: path.write_bytes(bytes(8_192)),
    "a cut header": lambda path: path.write_bytes(b"SQLite format 3\0" + bytes(20)),
    "a database": sqlite_file,
    "a database of another application": lambda path: sqlite_file(path, "PRAGMA application_id = 252006674"),
    "a database with a write-ahead log": lambda path: sqlite_file(path, "PRAGMA journal_mode = WAL"),
    "a knowledge base": lambda path: write_knowledge_base(path, ROWS),
}


class TestForeign:
    @pytest.mark.parametrize("kind", FOREIGN)
    def test_somebody_else_s_file_is_refused_and_not_touched(
        self, tmp_path: Path, opened: Callable[..., DiskCache], kind: str
    ) -> None:
        directory = tmp_path / "theirs"
        directory.mkdir()
        path = directory / "file"
        FOREIGN[kind](path)
        path.chmod(0o640)
        before, information = contents_of(directory), path.stat()
        with pytest.raises(CacheError, match="is not a result cache of cielo: expected an SQLite file with") as caught:
            opened(path)
        assert str(path) in str(caught.value)
        assert "fiebre" not in str(caught.value)
        assert contents_of(directory) == before
        assert (path.stat().st_mtime_ns, path.stat().st_mode) == (information.st_mtime_ns, information.st_mode)

    def test_a_log_that_was_not_written_back_stays(self, tmp_path: Path, opened: Callable[..., DiskCache]) -> None:
        path = tmp_path / "theirs.sqlite"
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as theirs:
            theirs.execute("PRAGMA journal_mode = WAL")
            theirs.execute("CREATE TABLE notas (texto TEXT)")
            before = contents_of(tmp_path)
            assert len(before["theirs.sqlite-wal"]) > 0
            with pytest.raises(CacheError):
                opened(path)
            assert contents_of(tmp_path) == before

    @pytest.mark.parametrize("path", ["directory", "/dev/null", "pipe"])
    def test_what_is_no_file_is_refused(self, tmp_path: Path, opened: Callable[..., DiskCache], path: str) -> None:
        (tmp_path / "directory").mkdir()
        os.mkfifo(tmp_path / "pipe")
        with pytest.raises(CacheError, match="is not a result cache"):
            opened(tmp_path / path)

    def test_looking_at_a_file_does_not_give_up_this_process_s_locks_on_it(
        self, tmp_path: Path, opened: Callable[..., DiskCache]
    ) -> None:
        opened().close()
        path = tmp_path / "cache.sqlite"
        code = f"import sqlite3; sqlite3.connect({str(path)!r}, timeout=0).execute('BEGIN IMMEDIATE')"
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
            connection.execute("PRAGMA journal_mode = DELETE")  # its locks are on the file itself
            connection.execute("BEGIN IMMEDIATE")
            module._refuse_foreign(path)
            done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
        assert "database is locked" in done.stderr

    def test_a_loop_of_links_is_told(self, tmp_path: Path, opened: Callable[..., DiskCache]) -> None:
        (tmp_path / "loop").symlink_to(tmp_path / "loop")
        with pytest.warns(RuntimeWarning, match="cannot be read"):
            assert not works(opened(tmp_path / "loop"))

    def test_an_empty_file_becomes_a_cache(self, tmp_path: Path, opened: Callable[..., DiskCache]) -> None:
        (tmp_path / "cache.sqlite").touch()
        assert works(opened())

    def test_a_link_to_a_cache_is_that_cache(self, tmp_path: Path, opened: Callable[..., DiskCache]) -> None:
        opened(tmp_path / "real.sqlite").put_many(links_to(3))
        (tmp_path / "link").symlink_to(tmp_path / "real.sqlite")
        assert opened(tmp_path / "link").get_many(links_to(3)) == links_to(3)
        assert not (tmp_path / "link-wal").exists()

    def test_a_file_that_is_exchanged_under_an_open_cache_is_not_touched(
        self, full: Path, opened: Callable[..., DiskCache]
    ) -> None:
        cache = opened()
        full.write_text("Paciente con fiebre.")
        with pytest.warns(RuntimeWarning, match="links are found without it"):
            for _ in range(3):
                cache.get_many(links_to(400))
                cache.put_many(links_to(400))
        cache.close()
        assert full.read_text() == "Paciente con fiebre."


@pytest.fixture
def powerless() -> Iterator[Path]:
    """A directory for tests of permissions, which bind everybody but root; the test runs as somebody else."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        directory.chmod(0o755)
        is_root = os.geteuid() == 0
        if is_root:
            os.chown(directory, 65_534, -1)
            os.seteuid(65_534)
        try:
            yield directory
        finally:
            if is_root:
                os.seteuid(0)
            directory.chmod(0o755)


class TestFailing:
    """A file that cannot be used is told of once, and linking goes on."""

    @pytest.fixture
    def base(self, powerless: Path) -> Path:
        path = powerless / "base.sqlite"
        write_knowledge_base(path, ROWS)
        return path

    def test_a_read_only_directory(self, powerless: Path, opened: Callable[..., DiskCache]) -> None:
        powerless.chmod(0o555)
        with pytest.warns(RuntimeWarning, match="Permission denied") as caught:
            cache = opened(powerless / "cache.sqlite")
            for _ in range(3):
                cache.put_many(links_to(5))
                assert cache.get_many(links_to(5)) == {}
        assert len(caught) == 1
        assert cache.stats == CacheStats(hits=0, misses=15)

    @pytest.mark.parametrize("directory_mode", [0o555, 0o755])
    def test_a_read_only_file_is_never_changed(
        self, powerless: Path, opened: Callable[..., DiskCache], directory_mode: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = powerless / "cache.sqlite"
        cache = opened(path)
        cache.put_many(links_to(5))
        cache.close()
        path.chmod(0o444)
        powerless.chmod(directory_mode)
        monkeypatch.setattr(Path, "chmod", refuse_chmod)
        before = path.read_bytes()
        with pytest.warns(RuntimeWarning, match="links are found without it") as caught:
            cache = opened(path)
            for _ in range(3):
                cache.put_many({digest(9): link_to(9)})
                assert cache.get_many(links_to(10)).items() <= links_to(5).items()
            cache.close()
        monkeypatch.undo()
        assert len(caught) == 1
        assert path.read_bytes() == before

    def test_a_file_that_others_alone_may_read(
        self, powerless: Path, opened: Callable[..., DiskCache], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = powerless / "cache.sqlite"
        path.write_bytes(b"")
        path.chmod(0)
        monkeypatch.setattr(Path, "chmod", refuse_chmod)
        with pytest.warns(RuntimeWarning, match="cannot be read"):
            cache = opened(path)
        assert cache.get_many(links_to(1)) == {}
        monkeypatch.undo()

    def test_a_secret_that_cannot_be_kept(
        self, powerless: Path, opened: Callable[..., DiskCache], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (powerless / "state").mkdir(mode=0o555)
        monkeypatch.setenv("CIELO_STATE", str(powerless / "state"))
        with pytest.warns(RuntimeWarning, match=r"its secret cannot be kept in .*state \(Permission.*CIELO_STATE"):
            cache = opened(powerless / "cache.sqlite", secret=None)
        assert len(cache.secret) == 32
        assert not works(cache)  # nobody could ever find what it writes
        assert not (powerless / "cache.sqlite").exists()

    def test_a_secret_that_is_there_serves_though_its_directory_is_read_only(
        self, powerless: Path, opened: Callable[..., DiskCache], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("CIELO_STATE", str(powerless / "state"))
        secret = load_secret()
        (powerless / "state").chmod(0o555)
        try:
            assert opened(powerless / "cache.sqlite", secret=None).secret == secret
        finally:
            (powerless / "state").chmod(0o755)


def refuse_chmod(path: Path, mode: int, **options: Any) -> None:
    raise PermissionError(1, "Operation not permitted")


class TestErrors:
    """Errors of the disk and of locks, in an open cache."""

    def test_a_full_disk_stops_the_writing_alone(self, opened: Callable[..., DiskCache], clock: Clock) -> None:
        cache = opened()
        cache.put_many(links_to(20))
        assert cache._connection is not None
        pages = cache._connection.execute("PRAGMA page_count").fetchone()[0]
        cache._connection.execute(f"PRAGMA max_page_count = {pages}")
        with pytest.warns(RuntimeWarning, match=r"cannot be written \(database or disk is full\)") as caught:
            for _ in range(3):
                cache.put_many(links_to(2_000))
                assert cache.get_many(links_to(2_000)) == links_to(20)
        assert len(caught) == 1
        assert entries_of(cache) == counted(cache) == 20
        cache._connection.execute("PRAGMA max_page_count = 100000")
        cache.put_many(links_to(2_000))
        assert entries_of(cache) == 20  # it is left alone for a minute
        clock.seconds += module._PAUSE_SECONDS
        cache.put_many(links_to(2_000))
        assert cache.get_many(links_to(2_000)) == links_to(2_000)

    def test_a_disk_on_which_no_file_can_grow(self, tmp_path: Path, base: Path) -> None:
        """The limit of the operating system on the size of files, in a process of its own."""
        code = f"""
import resource, sys, warnings
from pathlib import Path
sys.path.insert(0, {str(Path(__file__).parent)!r})
from test_cache import *
resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000))
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    cache = DiskCache(Path({str(tmp_path / "cache.sqlite")!r}), Path({str(base)!r}), PROVENANCE, secret=SECRET)
    cache.put_many(links_to(10))
    for _ in range(3):
        cache.put_many(links_to(3_000))
        assert cache.get_many(links_to(3_000)).items() <= links_to(3_000).items()
    cache.close()
print(len(caught), caught[0].message)
"""
        done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith("1 the result cache")
        assert "links are found without it" in done.stdout
        with contextlib.closing(DiskCache(tmp_path / "cache.sqlite", base, PROVENANCE, secret=SECRET)) as cache:
            assert cache.get_many(links_to(3_000)) == links_to(10)
            assert works(cache)

    @pytest.mark.parametrize(
        "error",
        [OSError(28, "No space left on device"), PermissionError(13, "Permission denied"), OSError(5, "I/O error")],
    )
    def test_a_file_that_cannot_be_made(
        self, opened: Callable[..., DiskCache], clock: Clock, monkeypatch: pytest.MonkeyPatch, error: OSError
    ) -> None:
        def fail(*_: Any) -> int:
            raise error

        monkeypatch.setattr("cielo.cache.disk.os.open", fail)
        with pytest.warns(RuntimeWarning, match=str(error.strerror)) as caught:
            cache = opened()
            assert not works(cache)
        assert len(caught) == 1
        monkeypatch.undo()
        monkeypatch.setattr("cielo.cache.disk.time.monotonic", lambda: clock.seconds)
        assert not works(cache)
        clock.seconds += module._PAUSE_SECONDS
        assert works(cache)

    def test_a_locked_file_is_still_read(
        self, opened: Callable[..., DiskCache], clock: Clock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(module, "_BUSY_SECONDS", 0.01)
        cache = opened()
        cache.put_many(links_to(5))
        with contextlib.closing(sqlite3.connect(cache._path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.warns(RuntimeWarning, match=r"cannot be written \(database is locked\)") as caught:
                for _ in range(3):
                    cache.put_many(links_to(8))
                    assert cache.get_many(links_to(8)) == links_to(5)
            assert len(caught) == 1
            other.execute("ROLLBACK")
        clock.seconds += module._PAUSE_SECONDS
        cache.put_many(links_to(8))
        assert cache.get_many(links_to(8)) == links_to(8)

    def test_a_file_that_is_locked_when_it_is_opened(
        self, tmp_path: Path, opened: Callable[..., DiskCache], clock: Clock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(module, "_BUSY_SECONDS", 0.01)
        path = tmp_path / "cache.sqlite"
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN EXCLUSIVE")
            with pytest.warns(RuntimeWarning, match=r"cannot be read \(database is locked\)") as caught:
                cache = opened()
                assert not works(cache)
            assert len(caught) == 1
        clock.seconds += module._PAUSE_SECONDS
        assert works(cache)

    def test_a_table_that_vanishes_is_told_and_made_again_at_the_next_opening(
        self, opened: Callable[..., DiskCache]
    ) -> None:
        cache = opened()
        cache.put_many(links_to(5))
        break_tables(cache._path)
        with pytest.warns(RuntimeWarning, match="no such table"):
            assert cache.get_many(links_to(5)) == {}
        cache.close()
        with pytest.warns(RuntimeWarning, match="was damaged or outdated"):
            assert works(opened())

    def test_a_deleted_file_breaks_nothing_and_is_made_again(
        self, tmp_path: Path, opened: Callable[..., DiskCache]
    ) -> None:
        cache = opened()
        cache.put_many(links_to(5))
        for file in tmp_path.glob("cache.sqlite*"):
            file.unlink()
        assert works(cache)
        assert works(opened())
        cache.close()
        assert opened().get_many(links_to(5)) == links_to(5)

    def test_where_another_process_has_replaced_a_damaged_file_its_new_one_stays(
        self, full: Path, opened: Callable[..., DiskCache]
    ) -> None:
        one, other = opened(), opened()
        damage(full, 4_096, b"\xa5" * (full.stat().st_size - 4_096))
        with pytest.warns(RuntimeWarning, match="was damaged or outdated") as caught:
            assert works(one)
            new = full.stat().st_ino
            assert other.get_many(links_to(400)) == links_to(5)
        assert len(caught) == 2
        assert full.stat().st_ino == new
        other.put_many({digest(6): link_to(6)})
        assert one.get_many([digest(6)]) == {digest(6): link_to(6)}

    def test_a_write_ahead_log_is_used_where_there_can_be_one(self, opened: Callable[..., DiskCache]) -> None:
        cache = opened()
        assert cache._connection is not None
        assert cache._connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)

    def test_without_a_write_ahead_log_it_works_too(
        self, opened: Callable[..., DiskCache], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        connect = sqlite3.connect

        def connect_without(*arguments: Any, **options: Any) -> sqlite3.Connection:
            class Refusing(sqlite3.Connection):
                def execute(self, sql: str, *parameters: Any) -> sqlite3.Cursor:
                    if sql == "PRAGMA journal_mode = WAL":
                        raise sqlite3.OperationalError("database is locked")
                    return super().execute(sql, *parameters)

            return connect(*arguments, **options, factory=Refusing)

        monkeypatch.setattr("cielo.cache.disk.sqlite3.connect", connect_without)
        cache = opened()
        assert works(cache)
        assert cache._connection is not None
        assert cache._connection.execute("PRAGMA journal_mode").fetchone() == ("delete",)


def hammer_file(path: str, base: str, number: int, start: Any) -> None:
    """Several processes on one file: each has two threads, reads what all write, and sees its own writes."""
    warnings.simplefilter("error")
    module._BUSY_SECONDS = 60.0  # on a busy machine
    start.wait()
    cache = DiskCache(Path(path), Path(base), PROVENANCE, secret=SECRET, entries=30)
    run_threads(2, hammer, cache, 25)
    mine = {digest(1_000 + number): link_to(number)}
    cache.put_many(mine)
    assert cache.get_many(mine).items() <= mine.items()
    cache.close()


def write_for_ever(path: str, base: str, begun: Any) -> None:
    cache = DiskCache(Path(path), Path(base), PROVENANCE, secret=SECRET, entries=200)
    for start in range(0, 1_000_000, 50):
        cache.put_many({digest(number): link_to(number % len(ROWS)) for number in range(start, start + 50)})
        if start == 500:
            begun.set()


class TestConcurrency:
    def test_threads_share_a_cache(self, opened: Callable[..., DiskCache]) -> None:
        cache = opened(entries=30)
        run_threads(6, hammer, cache, 40)
        assert cache.stats.hits > 0
        assert cache.stats.hits + cache.stats.misses == 6 * 40 * 5
        assert entries_of(cache) == counted(cache) <= 30

    def test_threads_share_a_layered_cache(self, opened: Callable[..., DiskCache]) -> None:
        cache = LayeredCache(opened(entries=30), entries=5)
        run_threads(6, hammer, cache, 40)
        assert cache.stats.hits + cache.stats.misses == 6 * 40 * 5

    def test_threads_that_open_one_file_at_once_make_one_cache(
        self, tmp_path: Path, base: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(module, "_BUSY_SECONDS", 60.0)  # on a busy machine
        for round_ in range(10):
            path = tmp_path / f"{round_}.sqlite"
            barrier = threading.Barrier(6)

            def open_and_use(path: Path, barrier: threading.Barrier) -> None:
                barrier.wait()
                with contextlib.closing(DiskCache(path, base, PROVENANCE, secret=SECRET)) as cache:
                    cache.put_many(links_to(5))
                    assert cache.get_many(links_to(5)) == links_to(5)

            run_threads(6, open_and_use, path, barrier)

    def test_processes_share_a_file(self, tmp_path: Path, base: Path, opened: Callable[..., DiskCache]) -> None:
        path, start = tmp_path / "cache.sqlite", SPAWN.Event()
        with processes(3, hammer_file, str(path), str(base), None, start):
            start.set()
        cache = opened()
        assert entries_of(cache) == counted(cache) <= 30
        with contextlib.closing(sqlite3.connect(path)) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]

    def test_a_process_that_is_killed_while_it_writes_leaves_a_sound_file(
        self, tmp_path: Path, base: Path, opened: Callable[..., DiskCache]
    ) -> None:
        path, begun = tmp_path / "cache.sqlite", SPAWN.Event()
        process = SPAWN.Process(target=write_for_ever, args=(str(path), str(base), begun))
        process.start()
        assert begun.wait(PATIENCE)
        assert process.pid is not None
        os.kill(process.pid, signal.SIGKILL)
        process.join(PATIENCE)
        cache = opened()
        assert 0 < entries_of(cache) == counted(cache) <= 200
        with contextlib.closing(sqlite3.connect(path)) as connection:
            keys = [entry for (entry,) in connection.execute("SELECT digest FROM entry")]
        found = cache.get_many(keys)
        assert len(found) == len(keys) > 0
        assert all(link == link_to(int.from_bytes(entry[:4], "big") % len(ROWS)) for entry, link in found.items())
        assert works(cache)
