"""What kind of mistakes were made: every wrong answer gets a class, by how near its code lies to a right one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from cielo.knowledge.codes import System, chapter, comparison_key
from cielo.text.normal import fold_spaces
from cielo.workbench.evaluation.records import Outcome
from cielo.workbench.evaluation.scores import Systems, is_right, right_keys, system_of

Class = Literal[
    "right", "none", "wrong kind", "near: parent", "near: child", "near: sibling", "same chapter", "other"
]  # fmt: skip
# The nearest first: what a wrong answer is to the right code that it lies nearest to.
CLASSES: tuple[Class, ...] = (
    "right", "near: parent", "near: child", "near: sibling", "same chapter", "other", "wrong kind", "none",
)  # fmt: skip

# The characters that siblings have in common: the category of ICD-10-CM; section, body system, operation and body part
# of ICD-10-PCS, of which CIE-10-ES makes codes of their own.
_SHARED: dict[System, int] = {"icd-10-cm": 3, "icd-10-pcs": 4, "other": 3}

_COLUMNS = (
    "id", "document", "kind", "gold", "answer", "class", "method", "probability", "confidence", "distance", "seen",
)  # fmt: skip
_TEXT_COLUMNS = ("mention", "sentence", "gold_description", "generated", "description")


def classify(outcome: Outcome, systems: Systems) -> Class:
    """Return the class of an answer; `systems` says which coding system a kind uses.

    - ``right``: a right code.
    - ``none``: no code.
    - ``wrong kind``: of another kind than the mention's.
    - ``near: parent``: the beginning of a right code; ``near: child``: a right code is its beginning.
    - ``near: sibling``: it begins as a right code does: with three characters in common, in ICD-10-PCS with four.
    - ``same chapter``: of ICD-10-CM; section of ICD-10-PCS.
    - ``other``: anything else.

    Where there are several right codes, the nearest one counts.
    """
    if is_right(outcome):
        return "right"
    answer = comparison_key(outcome.code or "", outcome.system)
    if not answer:
        return "none"
    kind = outcome.annotated.mention.kind
    if kind is not None and outcome.kind is not None and kind != outcome.kind:
        return "wrong kind"
    system = system_of(systems, kind if kind is not None else outcome.kind)
    found = {_relation(answer, key, system) for key in right_keys(outcome)}
    return next((name for name in CLASSES if name in found), "other")


def _relation(answer: str, right: str, system: System) -> Class:
    if right.startswith(answer):
        return "near: parent"
    if answer.startswith(right):
        return "near: child"
    if answer[: _SHARED[system]] == right[: _SHARED[system]]:
        return "near: sibling"
    return "same chapter" if chapter(answer, system) == chapter(right, system) is not None else "other"


@dataclass(frozen=True, slots=True)
class Quartiles:
    """The middle of some values: the median, and the quartiles beside it, interpolated."""

    count: int
    low: float
    median: float
    high: float


@dataclass(frozen=True, slots=True)
class ClassCount:
    """How often a class came up.

    Attributes:
        name: of the class.
        count: mentions; `share`: of all, in percent.
        probability, confidence, distance: of its mentions that have one; None where none has.
    """

    name: Class
    count: int
    share: float
    probability: Quartiles | None
    confidence: Quartiles | None
    distance: Quartiles | None


def count_classes(outcomes: Sequence[Outcome], systems: Systems) -> list[ClassCount]:
    """Return the counts of every class, those that never came up included, in the order of `CLASSES`."""
    groups: dict[Class, list[Outcome]] = {name: [] for name in CLASSES}
    for outcome in outcomes:
        groups[classify(outcome, systems)].append(outcome)
    return [
        ClassCount(
            name=name,
            count=len(group),
            share=100.0 * len(group) / max(1, len(outcomes)),
            probability=_quartiles(outcome.probability for outcome in group),
            confidence=_quartiles(outcome.confidence for outcome in group),
            distance=_quartiles(outcome.distance for outcome in group),
        )
        for name, group in groups.items()
    ]


def _quartiles(values: Iterable[float | None]) -> Quartiles | None:
    known = [value for value in values if value is not None]
    if not known:
        return None
    low, median, high = np.quantile(known, [0.25, 0.5, 0.75]).tolist()
    return Quartiles(len(known), low, median, high)


def columns(with_text: bool = False) -> tuple[str, ...]:
    """Return the names of the columns of `rows`."""
    return _COLUMNS + _TEXT_COLUMNS * with_text


def rows(outcomes: Iterable[Outcome], systems: Systems, *, with_text: bool = False) -> list[tuple[str, ...]]:
    """Return a row for each mention, for a table whose fields are separated by tabs.

    What is not known is empty; several right codes are separated by ``|``. No field holds a tab or a line break.

    Args:
        outcomes: right and wrong ones.
        systems: which coding system a kind uses.
        with_text: whether to add the mention, its sentence, and the descriptions: clinical text of the user's.
    """
    found = []
    for outcome in outcomes:
        row = _row(outcome, classify(outcome, systems))
        found.append(tuple(map(_field, row + _texts(outcome) * with_text)))
    return found


def _row(outcome: Outcome, name: Class) -> tuple[object, ...]:
    annotated = outcome.annotated
    return (
        annotated.mention.id,
        annotated.document,
        annotated.mention.kind,
        "|".join(annotated.codes),
        outcome.code,
        name,
        outcome.method,
        outcome.probability,
        outcome.confidence,
        outcome.distance,
        outcome.seen,
    )


def _texts(outcome: Outcome) -> tuple[object, ...]:
    annotated = outcome.annotated
    return (
        annotated.mention.text,
        annotated.mention.sentence,
        annotated.description,
        outcome.generated,
        outcome.description,
    )


def _field(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}"
    return fold_spaces(str(value))
