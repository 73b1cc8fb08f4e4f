from __future__ import annotations

import dataclasses
import json
import math
from typing import Any

import pytest
from cielo.errors import CieloError, MentionError
from cielo.records import (
    BundleIdentity,
    Candidate,
    Concept,
    Hypothesis,
    Link,
    Mention,
    Proof,
    Provenance,
    Timings,
    has_content,
)
from hypothesis import given
from hypothesis import strategies as st

MARKER = "Paciente Ximénez"
IDENTITY = Provenance(BundleIdentity("mini", "ab" * 32, "2024"), "ctranslate2", "int8", "cpu", "probable")


def make_link(**changes: Any) -> Link:
    fields: dict[str, Any] = {
        "code": "BW20", "codes": ("BW20",), "description": "TC abdominal", "kind": "procedure", "method": "exact",
        "generated": "TC abdominal", "log_prob": -0.25, "distance": None,
        "candidates": (Candidate("BW20", "TC abdominal", "procedure", ("hypothesis",), log_prob=-0.25),),
        "provenance": IDENTITY,
    }  # fmt: skip
    return Link(**{**fields, **changes})


RECORDS = [
    Mention("fiebre"),
    Hypothesis("fiebre", -0.1, -0.3),
    Concept("R50", "fiebre", "diagnosis"),
    Candidate("R50", "fiebre", "diagnosis", "neighbour", distance=0.5),
    Timings(generate=1.0, mentions=2),
    IDENTITY,
    make_link(),
]


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: type(record).__name__)
def test_records_are_frozen_slotted_and_ready_for_json(record: Any) -> None:
    name = dataclasses.fields(record)[0].name
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(record, name, None)
    assert not hasattr(record, "__dict__")
    assert json.loads(json.dumps(record.to_dict())).keys() >= {field.name for field in dataclasses.fields(record)}
    assert dataclasses.replace(record) == record


def test_a_link_becomes_plain_values_with_its_probability() -> None:
    row = make_link().to_dict()
    assert row["probability"] == pytest.approx(math.exp(-0.25))
    assert row["candidates"][0]["code"] == "BW20"
    assert row["provenance"]["compute_type"] == "int8"
    assert row["timings"]["mentions"] == 0


@pytest.mark.parametrize(("log_prob", "probability"), [(0.0, 1.0), (1e-6, 1.0), (-math.inf, 0.0), (-1.0, math.exp(-1))])
def test_a_probability_is_between_0_and_1(log_prob: float, probability: float) -> None:
    assert make_link(log_prob=log_prob).probability == probability


@pytest.mark.parametrize(
    "text", ["", " ", "\t\r\n", "\x00", "\x00\x1b\x7f", "\u200b\u200d", "\ufeff", "\u00a0\u2003", "\u00ad"]
)
def test_a_mention_needs_a_visible_character(text: str) -> None:
    assert not has_content(text)
    with pytest.raises(MentionError, match="is empty"):
        Mention(text, MARKER)


@pytest.mark.parametrize("text", ["a", " a ", "\x00a", ".", "½", "病", "🤒", "\u0301"])
def test_one_visible_character_is_enough(text: str) -> None:
    assert has_content(text)
    assert Mention(text).text == text


@pytest.mark.parametrize("value", [5, 1.5, b"fiebre", ["fiebre"], {"text": "fiebre"}, True])
@pytest.mark.parametrize("name", ["text", "sentence", "kind", "id"])
def test_only_strings_are_taken(name: str, value: object) -> None:
    fields: dict[str, Any] = {"text": MARKER, name: value}
    with pytest.raises(MentionError, match=f"{name} is of type {type(value).__name__}") as caught:
        Mention(**fields)
    assert MARKER not in str(caught.value)


def test_the_text_cannot_be_left_out() -> None:
    with pytest.raises(MentionError, match="text is of type NoneType"):
        Mention(None)  # type: ignore[arg-type]


@pytest.mark.parametrize("half", ["\ud83e", "\udd12", "\udcff"])
@pytest.mark.parametrize("name", ["text", "sentence", "kind", "id"])
def test_half_of_a_surrogate_pair_is_refused(name: str, half: str) -> None:
    fields = {"text": "fiebre", name: MARKER + half}
    with pytest.raises(MentionError, match=f"{name} holds half of a surrogate pair") as caught:
        Mention(**fields)
    assert MARKER not in str(caught.value)


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=40))
def test_any_unicode_text_with_content_is_kept_as_it_is(text: str) -> None:
    if has_content(text):
        assert Mention(text, text, text, text).to_dict() == dict.fromkeys(("text", "sentence", "kind", "id"), text)
    else:
        with pytest.raises(MentionError):
            Mention(text)


def test_every_error_can_be_caught_as_one() -> None:
    import cielo.errors

    errors = [kind for kind in vars(cielo.errors).values() if isinstance(kind, type)]
    assert len(errors) > 5
    assert all(issubclass(kind, CieloError) and kind.__doc__ for kind in errors)


def test_plain_records_are_those_of_the_standard_library() -> None:
    candidate = Candidate("A", "a", "x", ("hypothesis", "neighbour"), log_prob=-1.0, title="b")
    proof = Proof(exact=True, gap=0.0, passes=2, mass=0.5, free_log_prob=-1.0)
    provenance = Provenance(BundleIdentity("m", "ab" * 32, "1"), "onnx", "int8", "cpu", "constrained")
    link = Link("A", ("A", "B"), "a", "x", "exact", "a", -1.0, None, (candidate,), provenance, proof=proof)
    assert link.to_dict() == {**dataclasses.asdict(link), "probability": link.probability}
    assert list(link.to_dict()) == [*dataclasses.asdict(link), "probability"]
    assert candidate.to_dict() == dataclasses.asdict(candidate)
