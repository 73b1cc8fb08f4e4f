"""Scores of answers to annotated mentions.

Scores are in percent. A missing answer counts as wrong. Any of a mention's right codes will do; kinds are not compared,
so that a code which two systems happen to share (``B02.0``, ``B020``) counts as one.

Codes are compared by `comparison_key`: upper-case letters and digits alone, in ICD-10-CM without placeholders at the
end (``R05X`` is ``R05``). Figures that are to be the paper's or CodiEsp's own count codes as they are written, by
`code_key`, placeholders too (``R05X`` is not ``R05``), as the paper and the organisers' script do, which compare texts:
those of matching ``published``, of stored predictions, and the measures of `cielo.workbench.evaluation.codiesp`.

The accuracy of the first code is the published PLI where the links were made by pipeline I, and PLII where by II.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from cielo.knowledge.codes import System, category, chapter, code_key, comparison_key
from cielo.text.language import sentence
from cielo.text.normal import normal_form
from cielo.workbench.evaluation.records import Outcome

Systems = Mapping[str, System] | Callable[[str | None], System]

UNKNOWN = sentence("unknown")  # the group of what has no kind, no chapter, or was never compared with training mentions
_RANKS = (1, 3, 5)


def right_keys(outcome: Outcome) -> frozenset[str]:
    """Return the keys of a mention's right codes."""
    return frozenset(key for code in outcome.annotated.codes if (key := comparison_key(code, outcome.system)))


def is_right(outcome: Outcome) -> bool:
    """Tell whether the answered code is one of the right ones."""
    return outcome.code is not None and comparison_key(outcome.code, outcome.system) in right_keys(outcome)


def is_right_category(outcome: Outcome) -> bool:
    """Tell whether the answered code has the first three characters of a right one."""
    if outcome.code is None or not code_key(outcome.code):
        return False
    return category(outcome.code) in {category(key) for key in right_keys(outcome)}


def rank_of_right(outcome: Outcome) -> int | None:
    """Return the place of the first right code, from 1; the answered code stands first, each code counts once."""
    answered = [] if outcome.code is None else [outcome.code]
    keys = dict.fromkeys(key for code in [*answered, *outcome.ranked] if (key := comparison_key(code, outcome.system)))
    right = right_keys(outcome)
    return next((place for place, key in enumerate(keys, 1) if key in right), None)


def certainty(outcome: Outcome) -> float:
    """Return how sure an answer is: its confidence, else the probability of the generated text, else 0.

    Answers of the lexicon, which have neither, are as sure as can be: no threshold holds them back.
    """
    known = outcome.confidence if outcome.confidence is not None else outcome.probability
    if known is None:
        return 1.0 if outcome.method == "lexicon" else 0.0
    return known


def system_of(systems: Systems, kind: str | None) -> System:
    """Return the coding system of a kind; ``other`` where the mapping does not have it."""
    if isinstance(systems, Mapping):
        return "other" if kind is None else systems.get(kind, "other")
    return systems(kind)


@dataclass(frozen=True, slots=True)
class Scores:
    """The scores of some mentions, in percent; those without ``accuracy`` in their name over all of them.

    Attributes:
        count: mentions.
        right: of these, whose answered code is right; `right_3`: to the first three characters.
        covered: mentions that got a code.
        described: mentions whose right description is named, without those that the lexicon answered (nothing was
            generated for them); `text_right` and `normal_text_right`: how many outputs equal it.
        accuracy: of the first code.
        accuracy_3: of its first three characters.
        recall_at_1: a right code is the first of the candidates; `recall_at_3`, `recall_at_5`: among the first ones.
        mrr: mean of 1 / place of the first right candidate, 0 where there is none.
        coverage: share that got a code.
        accuracy_covered: of the first code among these; None where there are none.
        text_accuracy: the generated text equals the right description to the letter; None where none is named.
        normal_text_accuracy: it does in normal form.
    """

    count: int
    right: int
    right_3: int
    covered: int
    described: int
    text_right: int
    normal_text_right: int
    accuracy: float
    accuracy_3: float
    recall_at_1: float
    recall_at_3: float
    recall_at_5: float
    mrr: float
    coverage: float
    accuracy_covered: float | None
    text_accuracy: float | None
    normal_text_accuracy: float | None


def _percent(part: float, whole: int) -> float:
    return 100.0 * part / whole


def _percent_of_some(part: int, whole: int) -> float | None:
    return _percent(part, whole) if whole else None


def _text_matches(outcomes: Iterable[Outcome]) -> list[tuple[bool, bool]]:
    """Return, of each mention with a named description, whether the output equals it, and in normal form."""
    matches = []
    for outcome in outcomes:
        description = outcome.annotated.description
        nothing = not outcome.generated and outcome.annotated.generated is None
        if description is None or (outcome.method == "lexicon" and nothing):
            continue
        form = normal_form(outcome.generated)
        matches.append((outcome.generated == description, bool(form) and form == normal_form(description)))
    return matches


def score(outcomes: Sequence[Outcome]) -> Scores:
    """Return the scores of some outcomes.

    Raises:
        ValueError: where there are none.
    """
    count = len(outcomes)
    if not count:
        raise ValueError("got no outcomes, expected at least one")
    right = sum(map(is_right, outcomes))
    right_3 = sum(map(is_right_category, outcomes))
    covered = sum(outcome.code is not None for outcome in outcomes)
    ranks = [rank for outcome in outcomes if (rank := rank_of_right(outcome)) is not None]
    recalls = [_percent(sum(rank <= most for rank in ranks), count) for most in _RANKS]
    matches = _text_matches(outcomes)
    text_right, normal_text_right = (sum(match[form] for match in matches) for form in (0, 1))
    return Scores(
        count=count,
        right=right,
        right_3=right_3,
        covered=covered,
        described=len(matches),
        text_right=text_right,
        normal_text_right=normal_text_right,
        accuracy=_percent(right, count),
        accuracy_3=_percent(right_3, count),
        recall_at_1=recalls[0],
        recall_at_3=recalls[1],
        recall_at_5=recalls[2],
        # By places: the sum does not depend on the order of the mentions.
        mrr=_percent(sum(ranks.count(place) / place for place in sorted(set(ranks))), count),
        coverage=_percent(covered, count),
        accuracy_covered=_percent_of_some(right, covered),
        text_accuracy=_percent_of_some(text_right, len(matches)),
        normal_text_accuracy=_percent_of_some(normal_text_right, len(matches)),
    )


def score_by(outcomes: Iterable[Outcome], name: Callable[[Outcome], str]) -> dict[str, Scores]:
    """Return the scores of each group that `name` puts outcomes in, by name."""
    groups: dict[str, list[Outcome]] = {}
    for outcome in outcomes:
        groups.setdefault(name(outcome), []).append(outcome)
    return {found: score(groups[found]) for found in sorted(groups)}


def kind_name(outcome: Outcome) -> str:
    """Return the annotated kind."""
    return outcome.annotated.mention.kind or UNKNOWN


def seen_name(outcome: Outcome) -> str:
    """Return whether the mention was among the training mentions: ``seen``, ``unseen`` or ``unknown``."""
    return UNKNOWN if outcome.seen is None else "seen" if outcome.seen else "unseen"


def score_chapters(outcomes: Sequence[Outcome], systems: Systems) -> dict[str, dict[str, Scores]]:
    """Return the scores by kind and by the chapter of the first right code, chapters in the order of their codes.

    Kinds are kept apart since chapter ``X`` of ICD-10-CM is another thing than section ``X`` of ICD-10-PCS.
    """

    def chapter_name(outcome: Outcome) -> str:
        codes = outcome.annotated.codes
        return (codes and chapter(codes[0], system_of(systems, outcome.annotated.mention.kind))) or UNKNOWN

    def place(outcome: Outcome) -> tuple[str, bool, str]:
        codes = outcome.annotated.codes
        return kind_name(outcome), chapter_name(outcome) == UNKNOWN, code_key(codes[0]) if codes else ""

    found: dict[str, dict[str, Scores]] = {}
    for kind, group in groupby(sorted(outcomes, key=place), key=kind_name):
        members: dict[str, list[Outcome]] = {}
        for outcome in group:
            members.setdefault(chapter_name(outcome), []).append(outcome)
        found[kind] = {name: score(chosen) for name, chosen in members.items()}
    return found


@dataclass(frozen=True, slots=True)
class Breakdown:
    """The scores of all mentions, and of their groups.

    Attributes:
        all: of every mention.
        kinds: by annotated kind.
        chapters: by annotated kind, then by the chapter of the right code.
        methods: by the way the answer was found.
        seen: ``seen`` and ``unseen`` in training, or ``unknown``.
    """

    all: Scores
    kinds: dict[str, Scores]
    chapters: dict[str, dict[str, Scores]]
    methods: dict[str, Scores]
    seen: dict[str, Scores]


def break_down(outcomes: Sequence[Outcome], systems: Systems) -> Breakdown:
    """Return the scores of all outcomes and of their groups; `systems` says which coding system a kind uses.

    Raises:
        ValueError: where there are no outcomes.
    """
    return Breakdown(
        all=score(outcomes),
        kinds=score_by(outcomes, kind_name),
        chapters=score_chapters(outcomes, systems),
        methods=score_by(outcomes, lambda outcome: outcome.method),
        seen=score_by(outcomes, seen_name),
    )


@dataclass(frozen=True, slots=True)
class Point:
    """What is left where answers less sure than `threshold` are withheld, in percent.

    Attributes:
        coverage: share of all mentions that still get a code.
        accuracy: of these.
    """

    coverage: float
    accuracy: float
    threshold: float


def coverage_curve(outcomes: Sequence[Outcome], sure: Callable[[Outcome], float] = certainty) -> list[Point]:
    """Return the curve of accuracy over coverage, from every answer to the surest alone.

    Answers are withheld by rising `sure`; those of one value go together. Mentions without an answer count in the
    coverage. There are no points where nothing was answered.
    """
    steps = _steps([(sure(outcome), is_right(outcome)) for outcome in outcomes if outcome.code is not None])
    points, kept, right = [], 0, 0
    for value, answered, good in steps:
        kept, right = kept + answered, right + good
        points.append(Point(_percent(kept, len(outcomes)), _percent(right, kept), value))
    return points[::-1]


def _steps(answers: Iterable[tuple[float, bool]]) -> list[tuple[float, int, int]]:
    """Return each value of certainty, falling, with the answers of this value and how many of them are right."""
    counts: dict[float, tuple[int, int]] = {}
    for value, good in answers:
        answered, right = counts.get(value, (0, 0))
        counts[value] = (answered + 1, right + good)
    return [(value, *counts[value]) for value in sorted(counts, reverse=True)]


def risk_coverage_area(outcomes: Sequence[Outcome], sure: Callable[[Outcome], float] = certainty) -> float:
    """Return the area under the curve of risk over coverage, in [0, 1]; less is better.

    It is the mean, for every n from 1 to all mentions, of the share of wrong answers among the n surest (AURC: Geifman
    and El-Yaniv, "Selective classification for deep neural networks", 2017). Mentions without an answer come last and
    are wrong. Among equally sure answers the mean over all their orders is taken, so that none is preferred.

    Raises:
        ValueError: where there are no outcomes.
    """
    if not outcomes:
        raise ValueError("got no outcomes, expected at least one")
    answered = [(sure(outcome), is_right(outcome)) for outcome in outcomes if outcome.code is not None]
    steps = [(size, size - good) for _, size, good in _steps(answered)]
    missing = len(outcomes) - len(answered)
    area, kept, wrong = 0.0, 0, 0.0
    for size, bad in [*steps, (missing, missing)]:
        # Over all orders of a group, each of its places is wrong as often as any other.
        area += sum((wrong + bad * place / size) / (kept + place) for place in range(1, size + 1))
        kept, wrong = kept + size, wrong + bad
    return area / len(outcomes)
