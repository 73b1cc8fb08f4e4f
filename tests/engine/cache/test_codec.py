"""Which fields of a link are stored, and that no text is among them."""

from __future__ import annotations

import dataclasses

import pytest
from cache_fakes import MARKER, OTHER, PROVENANCE, link_to
from cielo.cache import codec as module
from cielo.cache.codec import LinkCodec
from cielo.knowledge.reading import KnowledgeBase
from cielo.records import Candidate, Link


@pytest.fixture
def codec(base: KnowledgeBase) -> LinkCodec:
    return LinkCodec(base, PROVENANCE)


def test_every_field_of_the_records_is_stored_or_belongs_to_the_call() -> None:
    stored = module._ROWS | module._OF_THE_CALL | set(module._PLAIN)
    assert {field.name for field in dataclasses.fields(Link)} == stored
    assert {field.name for field in dataclasses.fields(Candidate)} <= module._ROWS | set(module._PLAIN_OF_CANDIDATE)


@pytest.mark.parametrize("name", [*module._PLAIN, "title", "description", "generated", "code"])
def test_a_text_in_any_field_is_a_reason_not_to_keep_the_link(codec: LinkCodec, name: str) -> None:
    assert codec.encode(link_to(1)) is not None
    assert codec.encode(dataclasses.replace(link_to(1), **{name: MARKER})) is None


@pytest.mark.parametrize("name", [field.name for field in dataclasses.fields(Candidate)])
def test_or_in_any_field_of_a_candidate(codec: LinkCodec, name: str) -> None:
    first, *others = link_to(1).candidates
    for value in (MARKER, (MARKER,)) if name in module._PLAIN_OF_CANDIDATE else (MARKER,):
        changed = dataclasses.replace(first, **{name: value})
        assert codec.encode(dataclasses.replace(link_to(1), candidates=(changed, *others))) is None


def test_no_text_is_in_what_is_stored(codec: LinkCodec) -> None:
    content = codec.encode(link_to(3))
    assert content is not None
    assert not any(word in content.decode() for word in ("Pirexia", "Fiebre", "R50", "Tos", "diagnosis"))


def test_other_bundles_and_other_fields_have_another_owner(
    codec: LinkCodec, base: KnowledgeBase, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = codec.owner
    assert LinkCodec(base, OTHER).owner != before
    for name in module._VARYING:
        other = dataclasses.replace(PROVENANCE, **{name: "another"})
        assert LinkCodec(base, other).owner == before
    monkeypatch.setattr(module, "_PLAIN", (*module._PLAIN, "more"))
    assert codec.owner != before
