"""Links of the bundle that comes with cielo, through a cache."""

from __future__ import annotations

import contextlib
import csv
import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from cache_fakes import (
    MARKER,
    PATIENCE,
    ROOT,
    SPAWN,
    contents_of,
    digest,
    forms,
    processes,
)
from cielo.bundle.layout import default_bundle
from cielo.cache.disk import DiskCache
from cielo.cache.key import key
from cielo.cache.memory import MemoryCache
from cielo.cache.opening import open_cache
from cielo.cache.protocol import ResultCache
from cielo.knowledge.reading import KnowledgeBase
from cielo.options import LinkOptions
from cielo.records import Link, Mention, Provenance, Timings

if TYPE_CHECKING:
    from cielo.link.linker import Linker

pytestmark = pytest.mark.filterwarnings("error::RuntimeWarning")


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
    cache = DiskCache(Path(path), KnowledgeBase(Path(base)), provenance)
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
        path, base = tmp_path / "cache.sqlite", linker.knowledge_base
        with contextlib.closing(open_cache(path, knowledge_base=base, provenance=linker.provenance())) as cache:
            assert mini_links(linker, cache, mentions, **options) == (fresh, [])
            assert mini_links(linker, cache, mentions, **options) == (fresh, list(range(len(mentions))))
        with contextlib.closing(DiskCache(path, base, linker.provenance())) as cache:
            links, hits = mini_links(linker, cache, mentions, **options)
            assert len(hits) >= 24  # all that were generated as a description
            assert [links[row] for row in hits] == [fresh[row] for row in hits]

    @pytest.mark.usefixtures("every_processor")
    def test_a_hit_in_another_process_equals_a_fresh_link(
        self, linker: Linker, mentions: list[Mention], tmp_path: Path
    ) -> None:
        path, base = tmp_path / "cache.sqlite", linker.knowledge_base
        links = linker.link(mentions)
        with contextlib.closing(DiskCache(path, base, linker.provenance())) as cache:
            cache.put_many({digest(row): link for row, link in enumerate(links)})
            here = cache.get_many(map(digest, range(len(links))))
        results = SPAWN.Queue()
        keys = list(map(digest, range(len(links))))
        with processes(
            1,
            read_in_another_process,
            str(path),
            str(default_bundle() / "knowledge_base.sqlite"),
            linker.provenance(),
            keys,
            results,
        ):
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
        cache = open_cache(path, knowledge_base=linker.knowledge_base, provenance=linker.provenance())
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
