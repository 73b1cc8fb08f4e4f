"""The candidates of one mention: from hypotheses and neighbours, merged, ranked, and the choice among them."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from cielo.options import LinkOptions
from cielo.records import Candidate, Concept, Decoding, Evidence, Hypothesis, Match, Method, Proof, Provenance
from cielo.text.prompt import strip_code_suffix
from cielo.text.tokenizer import Encoded


@dataclass(frozen=True, slots=True)
class LinkRequest:
    """Options for a batch of this bundle's: what they leave open is filled in.

    Attributes:
        options: with a decoding.
        provenance: of the links.
        max_distance: above which no description counts as near; infinite in matching published.
    """

    options: LinkOptions
    provenance: Provenance
    max_distance: float

    @property
    def is_published(self) -> bool:
        """Whether to match and search as the paper does."""
        return self.options.matching == "published"

    @property
    def is_constrained(self) -> bool:
        """Whether outputs are descriptions of the knowledge base, to the letter."""
        return self.options.decoding == "constrained"


@dataclass(slots=True)
class Work:
    """One distinct prompt and kind on their way through the stages.

    `proof` is that of a constrained search; without a description that is allowed it has no hypotheses.
    """

    kind: str | None
    prompt: str
    encoded: Encoded
    hypotheses: list[Hypothesis]
    matches: list[list[Concept]] = field(default_factory=list)
    neighbours: list[Candidate] = field(default_factory=list)
    proof: Proof | None = None

    @property
    def generated(self) -> str:
        """The first hypothesis's text, without a code after it; empty where there is none."""
        return strip_code_suffix(self.hypotheses[0].text) if self.hypotheses else ""

    @property
    def exact(self) -> list[Concept]:
        """The concepts whose description the first hypothesis is."""
        return self.matches[0] if self.matches else []

    @property
    def from_hypotheses(self) -> list[Candidate]:
        """The concepts that the hypotheses match, in the hypotheses' order."""
        pairs = zip(self.hypotheses, self.matches, strict=True)
        return [from_hypothesis(concept, hypothesis) for hypothesis, found in pairs for concept in found]

    @property
    def margin(self) -> float | None:
        """How much the first hypothesis's log-probability exceeds that of the best one that means another code."""
        if not self.hypotheses:
            return None
        first = self.hypotheses[0]
        own = {(concept.kind, concept.code) for concept in self.exact}
        for other, found in zip(self.hypotheses[1:], self.matches[1:], strict=True):
            if not own or not own & {(concept.kind, concept.code) for concept in found}:
                return first.log_prob - other.log_prob
        return None

    def match_of(self, candidate: Candidate) -> Match | None:
        """How the first hypothesis that means this code matched its description."""
        means = (concept for found in self.matches for concept in found)
        return next((one.match for one in means if (one.kind, one.code) == (candidate.kind, candidate.code)), None)


def decoding_of(options: LinkOptions, own: Decoding) -> Decoding:
    """Return the decoding that options ask for, or else a linker's own.

    Where that is ``constrained`` and the options need outputs that are free, it is ``probable``.
    """
    if options.decoding is None and own == "constrained" and (options.rerank or options.matching == "published"):
        return "probable"
    return options.decoding or own


def decide(work: Work, request: LinkRequest) -> tuple[Method, list[Candidate]]:
    """Return how the link was found, and the candidates for each code of the description it was found by."""
    if work.exact:
        return "exact", [from_hypothesis(concept, work.hypotheses[0]) for concept in work.exact]
    nearest = work.neighbours[0] if work.neighbours else None
    if nearest is None or nearest.distance is None or nearest.distance > request.max_distance:
        return "none", []
    if request.is_published:
        return "semantic", [nearest]
    ties = [near for near in work.neighbours if near.distance == nearest.distance]
    return "semantic", list(distinct(ties, len(ties)))


def decide_ranked(candidates: Sequence[Candidate], request: LinkRequest) -> tuple[Method, list[Candidate]]:
    """Return how the first of the ranked candidates was found, and those that share its description."""
    near = [found for found in candidates if "hypothesis" in found.evidence or _is_near(found, request)]
    if not near:
        return "none", []
    chosen = [found for found in near if (found.description, found.kind) == (near[0].description, near[0].kind)]
    return "exact" if "hypothesis" in near[0].evidence else "semantic", chosen


def _is_near(candidate: Candidate, request: LinkRequest) -> bool:
    return candidate.distance is not None and candidate.distance <= request.max_distance


def candidate_of(
    concept: Concept, evidence: Evidence, *, log_prob: float | None = None, distance: float | None = None
) -> Candidate:
    """Return a concept as a candidate."""
    return Candidate(concept.code, concept.description, concept.kind, (evidence,), log_prob, distance, concept.title)


def from_hypothesis(concept: Concept, hypothesis: Hypothesis) -> Candidate:
    """Return a concept that a hypothesis means as a candidate."""
    return candidate_of(concept, "hypothesis", log_prob=hypothesis.log_prob)


def merged(work: Work) -> list[Candidate]:
    """Return the codes of all hypotheses, in their order, then those of the neighbours, each with all its evidence."""
    return list(distinct([*work.from_hypotheses, *work.neighbours], None))


def distinct(candidates: Iterable[Candidate], top_k: int | None) -> tuple[Candidate, ...]:
    """Keep the first candidate of each code, with the evidence of the others, and of these the first `top_k`."""
    first: dict[tuple[str, str], Candidate] = {}
    for candidate in candidates:
        known = first.get((candidate.kind, candidate.code))
        first[candidate.kind, candidate.code] = candidate if known is None else _joined(known, candidate)
    return tuple(itertools.islice(first.values(), top_k))


def _joined(first: Candidate, second: Candidate) -> Candidate:
    return replace(
        first,
        evidence=tuple(dict.fromkeys([*first.evidence, *second.evidence])),
        log_prob=second.log_prob if first.log_prob is None else first.log_prob,
        distance=second.distance if first.distance is None else first.distance,
    )
