"""No file holds a word of a mention."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from cache_fakes import (
    MARKER,
    PROVENANCE,
    break_tables,
    contents_of,
    digest,
    forms,
    link_to,
    links_to,
)
from cielo.cache.disk import DiskCache
from cielo.cache.key import key
from cielo.cache.opening import open_cache
from cielo.knowledge.reading import KnowledgeBase
from cielo.machine import state_directory
from cielo.options import LinkOptions
from cielo.records import Candidate

if TYPE_CHECKING:
    pass

pytestmark = pytest.mark.filterwarnings("error::RuntimeWarning")


class TestPrivacy:
    # Planted in the prompts, the ids and the generated texts; the last two are texts of the knowledge base.
    WORDS = (MARKER, "Urquizu", "esplenomegalia", "NHC-4471923", "Hipotermia", "tomografía")

    def test_no_file_holds_a_word_of_a_mention_or_of_a_text(self, tmp_path: Path, base: KnowledgeBase) -> None:
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
