"""Who waits for a batch is told of its mentions while it is at work, and the links are the same."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from cielo import Linker, LinkOptions, Mention
from cielo.errors import CieloError, MentionError
from cielo.generation.plan import ThreadPlan
from cielo.generation.progress import listening, part_of_call, report
from cielo.link.progress import BatchProgress
from cielo.records import Link, Timings
from hypothesis import given
from hypothesis import strategies as st

DEVELOPMENT = Path(__file__).parents[3] / "models" / "mini" / "dev.tsv"
MANY = 48


def mentions_of(count: int) -> list[Mention]:
    with DEVELOPMENT.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream, delimiter="\t"))
    return [Mention(text) for text in list(dict.fromkeys(row["text"] for row in rows))[:count]]


def untimed(links: list[Link]) -> list[Link]:
    return [replace(link, timings=Timings()) for link in links]


@pytest.fixture(scope="module", params=["onnx", "ctranslate2"])
def linker(request: pytest.FixtureRequest) -> Iterator[Linker]:
    """A linker whose batches are so small that a few dozen mentions fill several, two of them at a time."""
    plan = ThreadPlan(2, batch_tokens=256)
    decoding = "constrained" if request.param == "onnx" else "probable"
    with Linker.open(backend=request.param, plan=plan, decoding=decoding, cache=False) as opened:
        yield opened


class TestLinker:
    def test_it_tells_of_each_batch_and_of_every_mention_once(self, linker: Linker) -> None:
        mentions = mentions_of(MANY)
        told: list[int] = []
        linker.link([*mentions, *mentions[:5]], progress=told.append)
        assert sum(told) == MANY + 5
        assert len(told) > 3 and min(told) >= 1

    def test_the_links_are_those_that_nobody_waited_for(self, linker: Linker) -> None:
        mentions = mentions_of(MANY)
        assert untimed(linker.link(mentions, progress=lambda _: None)) == untimed(linker.link(mentions))

    def test_a_stream_tells_of_its_errors_too(self, linker: Linker) -> None:
        told: list[int] = []
        entries: list[Mention | CieloError] = [*mentions_of(7), MentionError("no text"), Mention("tos", kind="none")]
        assert len(list(linker.link_each(entries, chunk=4, progress=told.append))) == sum(told) == 9
        told.clear()
        assert len(list(linker.link_iter(mentions_of(7), chunk=3, progress=told.append))) == sum(told) == 7

    @pytest.mark.parametrize(
        "options", [LinkOptions(decoding="probable", rerank=True), LinkOptions(decoding="greedy", pipeline="I")]
    )
    def test_every_way_of_linking_tells_of_all(self, linker: Linker, options: LinkOptions) -> None:
        told: list[int] = []
        linker.link(mentions_of(20), options, progress=told.append)
        assert sum(told) == 20 and len(told) > 1

    def test_what_it_raises_ends_the_call_alone(self, linker: Linker) -> None:
        def stop(_: int) -> None:
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            linker.link(mentions_of(MANY), progress=stop)
        assert len(linker.link(mentions_of(3))) == 3

    @pytest.mark.usefixtures("every_processor")
    def test_threads_hear_of_their_own_mentions(self, linker: Linker) -> None:
        def told_of(count: int) -> int:
            told: list[int] = []
            linker.link(mentions_of(count), progress=told.append)
            return sum(told)

        with ThreadPoolExecutor(3) as pool:
            assert list(pool.map(told_of, (5, 17, 30))) == [5, 17, 30]

    def test_with_no_mention_there_is_nothing_to_tell(self, linker: Linker) -> None:
        told: list[int] = []
        linker.link([], progress=told.append)
        assert told == []


def test_what_needs_no_model_is_told_at_once(tmp_path: Path) -> None:
    lexicon = tmp_path / "lexicon.tsv"
    lexicon.write_text("text\tcode\ntos\tR05\n", encoding="utf-8")
    others = [entry for entry in mentions_of(6) if entry.text.lower() != "tos"]
    with Linker.open(lexicon=lexicon, plan=ThreadPlan(1, batch_tokens=64)) as linker:
        told: list[int] = []
        linker.link([Mention("tos"), Mention("tos"), *others], progress=told.append)
        assert told[0] == 2 and sum(told) == 2 + len(others)
        told.clear()
        linker.link([*others, others[0]], progress=told.append)  # from the cache
        assert told == [1 + len(others)]


def test_a_budget_of_memory_tells_of_all_parts() -> None:
    told: list[int] = []
    with Linker.open(memory=2_000_000_000, cache=False) as linker:
        linker.link(mentions_of(20), progress=told.append)
    assert sum(told) == 20


class TestShares:
    @given(st.integers(1, 600), st.lists(st.floats(0.001, 1.0), max_size=30))
    def test_parts_become_whole_mentions_and_all_of_them(self, mentions: int, parts: list[float]) -> None:
        told: list[int] = []
        progress = BatchProgress(told.append, mentions)
        rest = progress.rest()
        assert rest is not None
        for part in parts:
            rest(part / sum(parts))
        if parts:
            assert sum(told) == mentions, "all that the stage reported is told before the end"
        progress.finish()
        assert sum(told) == mentions and all(count >= 1 for count in told)

    def test_nobody_is_told_where_nobody_listens(self) -> None:
        progress = BatchProgress(None, 3)
        assert progress.rest() is None
        progress.done(3)
        progress.finish()

    def test_half_a_call_counts_half(self) -> None:
        heard: list[float] = []
        with listening(heard.append):
            with part_of_call(0.5):
                report(0.5)
            with part_of_call(0.5), part_of_call(0.5):
                report(1.0)
            report(0.5)
        report(1.0)
        assert heard == [0.25, 0.25, 0.5]

    def test_nothing_is_heard_in_a_part_of_a_call_that_nobody_listens_to(self) -> None:
        with part_of_call(0.5):
            report(1.0)
