"""The cache in a file: what it gives back, and what it does not keep."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from cache_fakes import (
    CONCEPTS,
    MARKER,
    OTHER,
    PROVENANCE,
    ROWS,
    counted,
    digest,
    entries_of,
    link_to,
    links_to,
)
from cielo.cache.disk import DiskCache
from cielo.cache.key import bound
from cielo.cache.protocol import CacheStats
from cielo.cache.secret import load_secret
from cielo.errors import BundleError
from cielo.knowledge.reading import KnowledgeBase
from cielo.knowledge.writing import write_knowledge_base
from cielo.machine import state_directory
from cielo.records import Candidate, Link, Proof, Timings
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

if TYPE_CHECKING:
    pass

pytestmark = pytest.mark.filterwarnings("error::RuntimeWarning")


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
    proof=st.none() | st.builds(Proof, st.booleans(), NUMBERS, st.integers(0, 1000), st.floats(0, 1), NUMBERS),
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
        with contextlib.closing(DiskCache(path, KnowledgeBase(base), PROVENANCE)) as cache:
            cache.put_many(links_to(10))
        base.unlink()
        write_knowledge_base(base, ROWS[:1])
        with contextlib.closing(DiskCache(path, KnowledgeBase(base), PROVENANCE)) as cache:
            assert cache.get_many(links_to(10)) == {}
            assert cache.stats == CacheStats(misses=10)

    def test_another_secret_finds_nothing_and_is_no_error(self, opened: Callable[..., DiskCache]) -> None:
        opened().put_many(links_to(3))
        cache = opened(secret=bytes(32))
        assert cache.get_many(links_to(3)) == {}
        cache.put_many(links_to(2))
        assert cache.get_many(links_to(3)) == links_to(2)

    def test_the_user_s_secret_is_the_default(self, opened: Callable[..., DiskCache]) -> None:
        # Its keys are bound to the processor and the libraries.
        assert opened(secret=None).secret == bound(load_secret()) != load_secret()
        assert load_secret() == (state_directory() / "cache.key").read_bytes()

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
            DiskCache(tmp_path / "cache.sqlite", KnowledgeBase(tmp_path / "base.sqlite"), PROVENANCE)

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
