"""Outcomes for the tests of the evaluation, by hand and from hypothesis."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cielo.knowledge.codes import System
from cielo.records import Mention
from cielo.workbench.evaluation.records import Annotated, Outcome
from hypothesis import strategies as st

SYSTEMS: dict[str, System] = {"diagnosis": "icd-10-cm", "procedure": "icd-10-pcs"}


def outcome(
    code: str | None = None,
    gold: str | Sequence[str] = "T68",
    *,
    ranked: Sequence[str] | None = None,
    kind: str | None = "diagnosis",
    text: str = "hipotermia",
    annotated: dict[str, Any] | None = None,
    **known: Any,
) -> Outcome:
    """Return an outcome: `code` was answered where `gold` was right."""
    mention = Mention(text, kind=kind, id=known.pop("id", None))
    codes = (gold,) if isinstance(gold, str) else tuple(gold)
    ranked = ([] if code is None else [code]) if ranked is None else ranked
    known.setdefault("method", "none" if code is None else "exact")
    answered_kind = known.pop("answered_kind", None if code is None else kind)
    return Outcome(Annotated(mention, codes, **(annotated or {})), tuple(ranked), code, answered_kind, **known)


CODES = ["T68", "T68.XXXA", "T69.0", "I10", "I15.0", "E11.9"]
SURE = st.none() | st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0])


@st.composite
def outcomes(draw: st.DrawFn) -> Outcome:
    """Draw an outcome with few codes and few degrees of certainty, so that all that can be equal is."""
    ranked = draw(st.lists(st.sampled_from(CODES), max_size=6, unique=True))
    answered = bool(ranked) and draw(st.booleans())
    return outcome(
        ranked[0] if answered else None,
        draw(st.lists(st.sampled_from(CODES), min_size=1, max_size=2, unique=True)),
        ranked=ranked,
        probability=draw(SURE),
        confidence=draw(SURE),
        generated=draw(st.sampled_from(["", "Hipotermia", "hipotermia"])),
        seen=draw(st.none() | st.booleans()),
        annotated={
            "description": draw(st.sampled_from([None, "Hipotermia"])),
            "document": draw(st.sampled_from([None, "a", "b", "c"])),
        },
    )
