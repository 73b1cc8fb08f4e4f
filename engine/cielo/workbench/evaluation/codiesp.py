"""The measures of CodiEsp (CLEF eHealth 2020), in [0, 1] as its organisers print them.

What is said about "the script" was read in the organisers' https://github.com/TeMU-BSC/codiesp-evaluation-script
(``codiespD_P_evaluation.py``, ``comp_f1_diag_proc.py``, ``codiespX_evaluation.py``), which takes mean average precision
from trectools (Palotti et al., SIGIR 2019; ``TrecEval.get_map(trec_eval=False)``):

- D and P are scored apart, over the distinct codes of each document. A code that a system names again counts where it
  stood first; codes outside the organisers' list are taken out, and what follows moves up (`rank_codes` does so where
  it is given the list). The first thousand codes count; the script has no MAP at 30.
- Average precision divides by all of the document's right codes. The script divides the sum of average precisions by
  the documents for which something was predicted: one that a system gives no code for is left out and so does not lower
  the mean, one that has no right code counts as 0. `MeanAveragePrecision.script` is this figure; `value` is the
  mean over the documents that have right codes, whatever was predicted.
- This is so in trectools 0.0.42, which the script requires; later releases put equally scored codes in the order of
  their letters, and the script gives all of them one score.
- X counts distinct codes of documents, not mentions, and does not look at the kind. Of a discontinuous mention it takes
  the start of the fragment that is listed first and the end of the one listed last, and a prediction is right where it
  covers this stretch and exceeds it by at most ten characters on each side (`positions`). `matched_positions` is the
  plainer measure of mentions that the task's description suggests.

Codes are compared by `code_key`, together with the kind: placeholders at the end count (``R05X`` is not ``R05``), as in
the script, which compares texts. The other scores pass over them (`cielo.workbench.evaluation.scores`).
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from cielo.knowledge.codes import code_key
from cielo.workbench.evaluation.records import Annotated, Outcome
from cielo.workbench.evaluation.scores import certainty

DEPTH = 1_000
TOLERANCE = 10

Place = tuple[str, str]  # a document and a kind
Ranking = Mapping[Place, Sequence[str]]
Spans = tuple[tuple[int, int], ...]


def rank_codes(
    outcomes: Iterable[Outcome],
    valid: Collection[str] | None = None,
    sure: Callable[[Outcome], float] = certainty,
) -> dict[Place, tuple[str, ...]]:
    """Return the answered codes of each document and kind, each once, the surest first.

    Of equally sure answers the earlier outcome comes first. The kind is that of the answer, or else of the mention.

    Args:
        outcomes: of mentions whose document and kind are known.
        valid: the codes that count; None: all.
        sure: how sure an answer is; default: its confidence, else its probability.

    Raises:
        ValueError: where a document or a kind is not known.
    """
    allowed = None if valid is None else {code_key(code) for code in valid}
    ranking: defaultdict[Place, dict[str, str]] = defaultdict(dict)
    answered = [(outcome, outcome.code) for outcome in outcomes if outcome.code is not None]
    for outcome, code in sorted(answered, key=lambda pair: sure(pair[0]), reverse=True):  # stable, reversed or not
        key = code_key(code)
        if allowed is None or key in allowed:
            ranking[_place(outcome.annotated, outcome.kind)].setdefault(key, code)
    return {place: tuple(codes.values()) for place, codes in ranking.items()}


def gold_codes(annotated: Iterable[Annotated]) -> dict[Place, tuple[str, ...]]:
    """Return the distinct right codes of each document and kind, for corpora that do not list them apart.

    Every code of a mention counts, as each has a line of its own in CodiEsp.

    Raises:
        ValueError: where a document or a kind is not known.
    """
    found: defaultdict[Place, dict[str, str]] = defaultdict(dict)
    for mention in annotated:
        place = _place(mention)
        for code in mention.codes:
            found[place].setdefault(code_key(code), code)
    return {place: tuple(codes.values()) for place, codes in found.items()}


def _place(annotated: Annotated, kind: str | None = None) -> Place:
    kind = kind or annotated.mention.kind
    if annotated.document is None or kind is None:
        raise ValueError("a mention's document or kind is not known; these measures are of documents and kinds")
    return annotated.document, kind


def _keys(codes: Iterable[str]) -> list[str]:
    """Return the distinct keys, in order."""
    return list(dict.fromkeys(code_key(code) for code in codes))


def average_precision(ranked: Sequence[str], gold: Collection[str], depth: int = DEPTH) -> float:
    """Return the sum of the precisions at the places of right codes, divided by the number of right codes.

    Raises:
        ValueError: where there are no right codes.
    """
    right = set(_keys(gold))
    if not right:
        raise ValueError("got no right codes, expected at least one")
    found, total = 0, 0.0
    for place, key in enumerate(_keys(ranked)[:depth], 1):
        if key in right:
            found += 1
            total += found / place
    return total / len(right)


@dataclass(frozen=True, slots=True)
class MeanAveragePrecision:
    """Mean average precision over the documents of one kind.

    Attributes:
        value: over the documents that have right codes; None where there are none.
        script: the same sum over the number of documents that have predictions; 0 where there are none.
        documents: how many have right codes.
        predicted_documents: how many have predictions.
    """

    value: float | None
    script: float
    documents: int
    predicted_documents: int


def mean_average_precision(ranking: Ranking, gold: Ranking, kind: str, depth: int = DEPTH) -> MeanAveragePrecision:
    """Return the mean average precision of one kind."""
    places = sorted(place for place, codes in gold.items() if place[1] == kind and codes)
    total = math.fsum(average_precision(ranking.get(place, ()), gold[place], depth) for place in places)
    predicted = sum(bool(codes) for place, codes in ranking.items() if place[1] == kind)
    return MeanAveragePrecision(
        value=total / len(places) if places else None,
        script=total / predicted if predicted else 0.0,
        documents=len(places),
        predicted_documents=predicted,
    )


@dataclass(frozen=True, slots=True)
class Micro:
    """Precision, recall and their harmonic mean over pooled counts.

    Attributes:
        predicted: how many were predicted.
        gold: how many are right.
        right: how many predictions are right.
    """

    predicted: int
    gold: int
    right: int

    @property
    def precision(self) -> float:
        """The share of predictions that are right; 0 where there are none."""
        return self.right / self.predicted if self.predicted else 0.0

    @property
    def recall(self) -> float:
        """The share of what is right that was predicted; 0 where there is none."""
        return self.right / self.gold if self.gold else 0.0

    @property
    def f1(self) -> float:
        """The harmonic mean of precision and recall; 0 where both are."""
        both = self.predicted + self.gold
        return 2 * self.right / both if both else 0.0


def micro(ranking: Ranking, gold: Ranking, kind: str | None = None) -> Micro:
    """Return the micro-averaged measures over distinct (document, code) pairs of one kind, or of all.

    The script also counts the predictions for documents that have no right code, and so does this.
    """
    predicted, right = _pairs(ranking, kind), _pairs(gold, kind)
    return Micro(len(predicted), len(right), len(predicted & right))


def _pairs(ranking: Ranking, kind: str | None) -> set[tuple[Place, str]]:
    chosen = (place for place in ranking if kind is None or place[1] == kind)
    return {(place, key) for place in chosen for key in _keys(ranking[place])}


@dataclass(frozen=True, slots=True)
class PositionedCode:
    """A code with the fragments that it stands for, as ``(start, end)``, in the order of the corpus."""

    document: str
    kind: str
    code: str
    spans: Spans


def located_gold(annotated: Iterable[Annotated]) -> list[PositionedCode]:
    """Return the right codes with their positions; mentions whose position is not known are left out.

    Raises:
        ValueError: where a document or a kind is not known.
    """
    return [
        PositionedCode(*_place(mention), code, mention.spans)
        for mention in annotated
        if mention.spans
        for code in mention.codes
    ]


def located_answers(outcomes: Iterable[Outcome]) -> list[PositionedCode]:
    """Return the answered codes with the positions of their mentions; those without a position are left out.

    The mentions are the annotators': what is scored is the codes, as if every mention had been found where it stands.

    Raises:
        ValueError: where a document or a kind is not known.
    """
    return [
        PositionedCode(*_place(outcome.annotated, outcome.kind), outcome.code, outcome.annotated.spans)
        for outcome in outcomes
        if outcome.code is not None and outcome.annotated.spans
    ]


def listed_extent(spans: Spans) -> tuple[int, int]:
    """Return the start of the fragment listed first and the end of the one listed last, as the script reads them.

    Where fragments are out of text order this is no stretch of the text: the end may lie before the start.
    """
    return spans[0][0], spans[-1][1]


def extent(spans: Spans) -> tuple[int, int]:
    """Return the first start and the last end of the fragments, wherever they are listed."""
    return min(start for start, _ in spans), max(end for _, end in spans)


def positions(predicted: Iterable[PositionedCode], gold: Iterable[PositionedCode], tolerance: int = TOLERANCE) -> Micro:
    """Return the measures of CodiEsp-X as the script has them.

    A distinct (document, code) is right where one of its predictions covers one of its right mentions and exceeds it by
    at most `tolerance` characters on each side. The script compares codes with their dots and without the kind; here
    the kind is compared, which keeps codes of the two systems apart.
    """

    def covers(found: tuple[int, int], right: tuple[int, int]) -> bool:
        return 0 <= right[0] - found[0] <= tolerance and 0 <= found[1] - right[1] <= tolerance

    answers, rights = _by_code(predicted, listed_extent), _by_code(gold, listed_extent)
    good = sum(any(covers(one, other) for one in answers.get(name, ()) for other in rights[name]) for name in rights)
    return Micro(len(answers), len(rights), good)


def matched_positions(
    predicted: Iterable[PositionedCode], gold: Iterable[PositionedCode], tolerance: int = TOLERANCE
) -> Micro:
    """Return the measures over mentions, each matched at most once.

    A prediction is right where document, kind and code agree and its start and its end, over all fragments, lie within
    `tolerance` characters of those of a right mention. As many pairs are made as can be (Kuhn, "The Hungarian method
    for the assignment problem", 1955), so that the order of the predictions makes no difference.
    """

    def near(found: tuple[int, int], right: tuple[int, int]) -> bool:
        return abs(found[0] - right[0]) <= tolerance and abs(found[1] - right[1]) <= tolerance

    answers, rights = _by_code(predicted, extent), _by_code(gold, extent)
    good = 0
    for name in answers.keys() & rights.keys():
        edges = [[number for number, right in enumerate(rights[name]) if near(one, right)] for one in answers[name]]
        good += _pairings(edges)
    return Micro(sum(map(len, answers.values())), sum(map(len, rights.values())), good)


def _by_code(
    located: Iterable[PositionedCode], reading: Callable[[Spans], tuple[int, int]]
) -> dict[tuple[str, str, str], list[tuple[int, int]]]:
    """Return the extents of each document, kind and code."""
    found: defaultdict[tuple[str, str, str], list[tuple[int, int]]] = defaultdict(list)
    for one in located:
        found[one.document, one.kind, code_key(one.code)].append(reading(one.spans))
    return dict(found)


def _pairings(edges: Sequence[Sequence[int]]) -> int:
    """Return the most pairs that can be made, where the i-th may be paired with any of ``edges[i]``."""
    taken: dict[int, int] = {}

    def pair(one: int, tried: set[int]) -> bool:
        for other in edges[one]:
            if other not in tried:
                tried.add(other)
                if other not in taken or pair(taken[other], tried):
                    taken[other] = one
                    return True
        return False

    return sum(pair(one, set()) for one in range(len(edges)))
