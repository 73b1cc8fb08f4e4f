"""What a link depends on is in its key: each field of the options and of the provenance, found by reflection."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from typing import Any

import pytest
from cielo.cache import key as module
from cielo.cache.key import bound, key
from cielo.knowledge.subsets import Subset
from cielo.options import LinkOptions
from cielo.records import BundleIdentity, Provenance
from hypothesis import given, settings
from hypothesis import strategies as st

MARKER = "Ximénez-secreto"
SECRET = bytes(range(32))
PROVENANCE = Provenance(
    BundleIdentity("de prueba", "ab" * 32, "CIE-10-ES 2024"), "ctranslate2", "int8", "cpu", "probable"
)
# Two values of each option that give different links. A new option fails the tests until it has an entry here, and,
# if it changes no link as it is kept, a reason in OUTSIDE.
OPTIONS: dict[str, tuple[Any, Any]] = {
    "top_k": (5, 6),
    "neighbours": ("misses", "always"),
    "decoding": ("probable", "published"),
    "pipeline": ("I", "II"),
    "matching": ("tiered", "published"),
    "rerank": (False, True),
    "min_confidence": (None, 0.9),
    "max_distance": (None, 0.25),
    "subset": (None, Subset(chapters=frozenset({"IX"}))),
    "lexicon": (True, False),
    "proven": (None, 3),
    "max_passes": (64, 65),
}
OUTSIDE = {
    "min_confidence": "an answer is judged after it was taken from the cache",
    "lexicon": "the lexicon is asked before the cache",
}
SUBSETS: dict[str, tuple[Any, Any]] = {
    "kinds": (None, frozenset({"diagnosis"})),
    "chapters": (None, frozenset({"IX"})),
    "leaf": (False, True),
    "codes": (None, frozenset()),
}
ORIGINS: dict[str, tuple[Any, Any]] = {
    "bundle": (PROVENANCE.bundle, BundleIdentity("de prueba", "ba" * 32, "CIE-10-ES 2024")),
    "backend": ("ctranslate2", "onnx"),
    "compute_type": ("int8", "float32"),
    "device": ("cpu", "cuda"),
    "decoding": ("probable", "published"),
    "pipeline": ("I", "II"),
    "matching": ("tiered", "published"),
}


def make_key(
    *,
    secret: bytes = SECRET,
    provenance: Provenance = PROVENANCE,
    options: LinkOptions | None = None,
    prompt: str = "Genera",
    kind: str | None = None,
) -> bytes:
    return key(secret, provenance, options or LinkOptions(decoding="probable"), prompt=prompt, kind=kind)


@pytest.mark.parametrize(("record", "table"), [(LinkOptions, OPTIONS), (Subset, SUBSETS), (Provenance, ORIGINS)])
def test_every_field_is_classified(record: type, table: dict[str, Any]) -> None:
    assert {field.name for field in dataclasses.fields(record)} == set(table)


def test_what_is_outside_of_the_key_is_so_for_a_reason() -> None:
    marked = {field.name for field in dataclasses.fields(LinkOptions) if not field.metadata.get("cached", True)}
    assert marked == set(OUTSIDE)
    for record in (Provenance, BundleIdentity, Subset):
        assert all(field.metadata.get("cached", True) for field in dataclasses.fields(record))


@pytest.mark.parametrize("name", OPTIONS)
def test_two_values_of_an_option_never_share_an_entry(name: str) -> None:
    one, other = (make_key(options=LinkOptions(**{name: value})) for value in OPTIONS[name])
    assert (one == other) == (name in OUTSIDE)


@pytest.mark.parametrize("name", SUBSETS)
def test_two_subsets_never_share_an_entry(name: str) -> None:
    one, other = (make_key(options=LinkOptions(subset=Subset(**{name: value}))) for value in SUBSETS[name])
    assert one != other


def test_the_order_of_a_subset_s_codes_does_not_matter() -> None:
    codes = [f"A{number:02}" for number in range(40)]
    one, other = (LinkOptions(subset=Subset(codes=frozenset(order))) for order in (codes, codes[::-1]))
    assert make_key(options=one) == make_key(options=other)


@pytest.mark.parametrize("name", ORIGINS)
def test_two_origins_never_share_an_entry(name: str) -> None:
    one, other = (make_key(provenance=dataclasses.replace(PROVENANCE, **{name: value})) for value in ORIGINS[name])
    assert one != other


def test_prompt_kind_and_secret_are_in_the_key() -> None:
    changes: list[dict[str, Any]] = [{"prompt": "genera"}, {"prompt": "Genera "}, {"kind": "x"}, {"secret": bytes(32)}]
    assert len({make_key(), *(make_key(**change) for change in changes)}) == 5


def test_no_kind_is_not_a_kind_of_that_name() -> None:
    assert len({make_key(kind=kind) for kind in (None, "null", "None", "")}) == 4


def test_a_key_is_short_and_the_same_each_time() -> None:
    made = make_key(prompt=f"{MARKER} alta")
    assert len(made) == 16
    assert made == make_key(prompt=f"{MARKER} alta")


def test_a_type_without_a_form_is_refused() -> None:
    with pytest.raises(TypeError, match=r"name one in cielo\.cache\.key"):
        make_key(provenance=dataclasses.replace(PROVENANCE, device={"cpu"}))  # type: ignore[arg-type]


TEXTS = st.text(st.sampled_from('a",[]\\\x00 \u0301') | st.characters(), max_size=4)
FIELDS = st.tuples(TEXTS, TEXTS, TEXTS, st.none() | st.sampled_from(["null", "a", '"', ""]), st.integers(1, 12))


@given(FIELDS, FIELDS)
@settings(max_examples=300, deadline=None)
def test_two_keys_are_equal_where_all_fields_are(one: tuple[Any, ...], other: tuple[Any, ...]) -> None:
    keys = []
    for prompt, device, sha256, kind, top_k in (one, other):
        bundle = dataclasses.replace(PROVENANCE.bundle, sha256=sha256)
        provenance = dataclasses.replace(PROVENANCE, bundle=bundle, device=device)
        keys.append(make_key(provenance=provenance, options=LinkOptions(top_k=top_k), prompt=prompt, kind=kind))
    assert (keys[0] == keys[1]) == (one == other)


@given(st.text(min_size=1), st.text(), st.text())
@settings(max_examples=200, deadline=None)
def test_a_border_between_fields_cannot_be_moved(moved: str, left: str, right: str) -> None:
    assert make_key(kind=left + moved, prompt=right) != make_key(kind=left, prompt=moved + right)


def test_two_halves_of_a_surrogate_pair_are_not_the_character() -> None:
    assert make_key(prompt="\ud83d\ude00") != make_key(prompt="😀")


@pytest.mark.parametrize(
    "changed", ["cielo.cache.key.machine_key", "platform.python_version", "importlib.metadata.version"]
)
def test_another_processor_or_library_gives_another_key(monkeypatch: pytest.MonkeyPatch, changed: str) -> None:
    before = bound(SECRET)
    monkeypatch.setattr(changed, lambda *_: "another")
    module._surroundings.cache_clear()
    try:
        assert make_key(secret=bound(SECRET)) != make_key(secret=before)
    finally:
        monkeypatch.undo()
        module._surroundings.cache_clear()
    assert bound(SECRET) == before


def test_another_process_makes_the_same_key() -> None:
    code = (
        "from cielo.cache.key import key\nfrom cielo.options import LinkOptions\n"
        "from cielo.records import BundleIdentity, Provenance\n"
        f"options = LinkOptions(decoding='probable')\n"
        f"print(key({SECRET!r}, {PROVENANCE!r}, options, prompt='ñ', kind='diagnosis').hex())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == make_key(prompt="ñ", kind="diagnosis").hex()
