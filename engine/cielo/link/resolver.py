"""From what was generated to codes: exact match, nearest description, candidates, confidence.

The half of the pipeline that needs no generator, so that stored outputs can be resolved too; `cielo.link.linker` is the
whole of it.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Protocol, TypedDict, get_args

import numpy as np
from numpy.typing import NDArray

from cielo.bundle.layout import Bundle
from cielo.errors import BundleError
from cielo.generation.ctranslate2 import Decoding
from cielo.knowledge.reading import KnowledgeBase
from cielo.knowledge.subsets import Subset
from cielo.link.confidence import Calibration, Features
from cielo.records import (
    BundleIdentity,
    Candidate,
    Concept,
    Evidence,
    Hypothesis,
    Link,
    Match,
    Method,
    Pipeline,
    has_content,
)
from cielo.retrieval.embedder import Embedder
from cielo.retrieval.index import Index, Neighbour
from cielo.text.prompt import strip_code_suffix
from cielo.text.tokenizer import Encoded

Neighbours = Literal["misses", "always"]
_SUBSETS_KEPT = 8


class LinkOptions(TypedDict, total=False):
    """How mentions are to be linked; what is not given has its default.

    Attributes:
        top_k: the most candidates in each link, at least 1; default 5.
        neighbours: look for the nearest descriptions of the ``misses`` only (generated texts without an exact match;
            the default), or ``always``, so that exact links have neighbours among their candidates too.
        decoding: overrides the linker's.
        pipeline: ``I``: exact matches alone; ``II`` (the default): the nearest description for what has none.
        reference: match and search as the paper does, row for row: its normal form, the first row alone, queries in
            lower case, exact search, no distance too far. Default: False.
        rerank: order the candidates by the generator's own log-probability of each description given the prompt, the
            neighbours among them. Default: False.
        min_confidence: answer ``none`` where the calibrated confidence is lower. Default: answer always.
        max_distance: answer ``none`` where the nearest description is farther; default: the bundle's.
        subset: the codes to answer with; default: all.
        lexicon: ask the linker's lexicon first, if it has one; default: True.
    """

    top_k: int
    neighbours: Neighbours
    decoding: Decoding | None
    pipeline: Pipeline
    reference: bool
    rerank: bool
    min_confidence: float | None
    max_distance: float | None
    subset: Subset | None
    lexicon: bool


@dataclass(frozen=True, slots=True)
class Asked:
    """How a batch is to be linked, checked and complete: `LinkOptions`."""

    identity: BundleIdentity
    max_distance: float
    top_k: int = 5
    neighbours: Neighbours = "misses"
    rerank: bool = False
    min_confidence: float | None = None
    subset: Subset | None = None
    lexicon: bool = True

    def __post_init__(self) -> None:
        if self.top_k < 1:
            raise ValueError(f"got top_k {self.top_k}, expected at least 1")
        if self.identity.pipeline not in get_args(Pipeline):
            raise ValueError(f"got pipeline {self.identity.pipeline!r}, expected I or II")
        if self.rerank and (self.identity.reference or self.identity.pipeline == "I"):
            raise ValueError("rerank chooses among neighbours too: it goes with pipeline II, and not with reference")
        if self.subset is not None and self.identity.reference:
            raise ValueError("reference looks at every row, as the paper does: it does not go with a part of the codes")

    @property
    def reference(self) -> bool:
        """Whether to match and search as the paper does."""
        return self.identity.reference

    @property
    def searched(self) -> bool:
        """Whether every generated text gets neighbours, the matched ones too."""
        return self.neighbours == "always" or self.rerank

    def settings(self) -> dict[str, Any]:
        """Return what a link depends on beyond its bundle and prompt, ready for JSON; confidence is judged later."""
        subset = None
        if self.subset is not None:
            parts = (self.subset.kinds, self.subset.chapters, self.subset.codes)
            subset = [self.subset.leaf, *(None if part is None else sorted(part) for part in parts)]
        return {
            "top_k": self.top_k,
            "neighbours": self.neighbours,
            "rerank": self.rerank,
            "max_distance": self.max_distance,
            "subset": subset,
        }


@dataclass(slots=True)
class Work:
    """One distinct prompt and kind on their way through the stages."""

    kind: str | None
    prompt: str
    encoded: Encoded
    hypotheses: list[Hypothesis]
    matches: list[list[Concept]] = field(default_factory=list)
    neighbours: list[Candidate] = field(default_factory=list)

    @property
    def generated(self) -> str:
        """The first hypothesis's text, without a code after it."""
        return strip_code_suffix(self.hypotheses[0].text)

    @property
    def exact(self) -> list[Concept]:
        """The concepts whose description the first hypothesis is."""
        return self.matches[0]

    @property
    def from_hypotheses(self) -> list[Candidate]:
        """The concepts that the hypotheses match, in the hypotheses' order."""
        pairs = zip(self.hypotheses, self.matches, strict=True)
        return [_from_hypothesis(concept, hypothesis) for hypothesis, found in pairs for concept in found]

    @property
    def margin(self) -> float | None:
        """How much the first hypothesis's log-probability exceeds that of the best one that means another code."""
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


class Clock:
    """Adds up the seconds of each stage."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time a block."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start


class Scorer(Protocol):
    """What re-ranking needs of a generator: the log-probability of a text given a prompt."""

    def __call__(self, prompts: Sequence[Encoded], texts: Sequence[str]) -> list[float]:
        """Return the log-probability of each text, ``</s>`` included."""
        ...


class Resolver:
    """Resolves what was generated to codes. Thread-safe."""

    def __init__(
        self,
        knowledge_base: KnowledgeBase,
        embedder: Embedder | None = None,
        indexes: Mapping[str, Index] | None = None,
        scorer: Scorer | None = None,
        calibrations: Mapping[str, Calibration] | None = None,
    ) -> None:
        """Put a resolver together.

        Args:
            knowledge_base: that texts are matched in.
            embedder: for pipeline II.
            indexes: by kind, for pipeline II.
            scorer: for re-ranking.
            calibrations: by decoding; none: links get no confidence.
        """
        self.knowledge_base = knowledge_base
        self._embedder = embedder
        self._indexes = dict(indexes or {})
        self._scorer = scorer
        self.calibrations = dict(calibrations or {})
        self._allowed = functools.lru_cache(_SUBSETS_KEPT)(self._allowed_labels)

    def resolve(self, works: Sequence[Work], asked: Asked, clock: Clock) -> list[Link]:
        """Return the link of each work, without `timings` and `id`; `judge` has not been asked yet."""
        self._match(works, asked, clock)
        self._search(works, asked, clock)
        ranked = self._rerank(works, clock) if asked.rerank else [_merged(work) for work in works]
        return [self._link(work, candidates, asked) for work, candidates in zip(works, ranked, strict=True)]

    def _match(self, works: Sequence[Work], asked: Asked, clock: Clock) -> None:
        """Look every hypothesis up; each distinct text once."""
        known: dict[tuple[str, str | None], list[Concept]] = {}
        with clock.stage("match"):
            for work in works:
                for hypothesis in work.hypotheses:
                    entry = (strip_code_suffix(hypothesis.text), work.kind)
                    if entry not in known:
                        known[entry] = self._matched(*entry, asked)
                    work.matches.append(known[entry])

    def _matched(self, text: str, kind: str | None, asked: Asked) -> list[Concept]:
        if asked.reference:
            return self.knowledge_base.match_as_published(text, kind)
        return self.knowledge_base.match(text, kind, asked.subset)

    def _search(self, works: Sequence[Work], asked: Asked, clock: Clock) -> None:
        """Find the nearest descriptions of the misses (or of all); each distinct generated text is embedded once."""
        if asked.identity.pipeline == "I" or self._embedder is None:
            return
        wanted = [work for work in works if has_content(work.generated) and (asked.searched or not work.exact)]
        texts = list(dict.fromkeys(work.generated for work in wanted))
        if not texts:
            return
        with clock.stage("embed"):
            vectors = self._embedder.embed([text.lower() for text in texts] if asked.reference else texts)
        with clock.stage("search"):
            found = {kind: self._nearest_in(kind, vectors, asked) for kind in self._indexes}
            rows = {text: row for row, text in enumerate(texts)}
            for work in wanted:
                work.neighbours = self._nearest(found, rows[work.generated], work.kind, asked)

    def _nearest_in(self, kind: str, vectors: NDArray[np.float32], asked: Asked) -> list[list[Neighbour]]:
        index = self._indexes[kind]
        if asked.reference:
            return index.search_exactly(vectors, asked.top_k)
        allowed = None if asked.subset is None else self._allowed(kind, asked.subset)
        return index.search(vectors, asked.top_k, allowed)

    def _allowed_labels(self, kind: str, subset: Subset) -> NDArray[np.bool_]:
        """Tell of each label of an index whether one of its descriptions belongs to a code of the subset."""
        texts = frozenset(self.knowledge_base.descriptions(kind, subset))
        labels: Index = self._indexes[kind]
        return np.fromiter((not texts.isdisjoint(label) for label in labels.descriptions), bool, len(labels))

    def _nearest(
        self, found: dict[str, list[list[Neighbour]]], row: int, kind: str | None, asked: Asked
    ) -> list[Candidate]:
        """Merge one row of the indexes' answers, nearest first, and give each description its codes."""
        near = [(of, neighbour) for of in found if kind in (None, of) for neighbour in found[of][row]]
        near.sort(key=lambda entry: entry[1].distance)
        # What ties with the nearest stays whatever `top_k` is: the link's codes come from it.
        kept = itertools.takewhile(lambda entry: entry[1].distance == near[0][1].distance, near[asked.top_k :])
        return [
            candidate_of(concept, "neighbour", distance=neighbour.distance)
            for of, neighbour in [*near[: asked.top_k], *kept]
            for concept in self._codes_of(neighbour.description, of, asked)
        ]

    def _codes_of(self, description: str, kind: str, asked: Asked) -> list[Concept]:
        if asked.reference:
            return self.knowledge_base.first_row(description, kind)
        return self.knowledge_base.match(description, kind, asked.subset)

    def _rerank(self, works: Sequence[Work], clock: Clock) -> list[list[Candidate]]:
        """Order each mention's candidates by the log-probability of their description given the prompt."""
        merged = [_merged(work) for work in works]
        wanted = {
            (work.prompt, candidate.description): work.encoded
            for work, candidates in zip(works, merged, strict=True)
            for candidate in candidates
            if candidate.log_prob is None
        }
        with clock.stage("rerank"):
            texts = [description for _, description in wanted]
            scored = self._scorer(list(wanted.values()), texts) if self._scorer is not None else []
        log_probs = dict(zip(wanted, scored, strict=True))

        def filled(work: Work, found: Candidate) -> Candidate:
            return (
                found
                if found.log_prob is not None
                else replace(found, log_prob=log_probs[work.prompt, found.description])
            )

        return [
            sorted((filled(work, found) for found in candidates), key=lambda candidate: -(candidate.log_prob or 0.0))
            for work, candidates in zip(works, merged, strict=True)
        ]

    def _link(self, work: Work, candidates: list[Candidate], asked: Asked) -> Link:
        method, chosen = _decide_ranked(candidates, asked) if asked.rerank else _decide(work, asked)
        first = chosen[0] if chosen else None
        best = work.hypotheses[0]
        link = Link(
            code=first.code if first else None,
            codes=tuple(candidate.code for candidate in chosen),
            description=first.description if first else None,
            kind=first.kind if first else None,
            method=method,
            generated=best.text,
            log_prob=best.log_prob,
            distance=work.neighbours[0].distance if work.neighbours else None,
            candidates=_distinct([*chosen, *candidates], asked.top_k),
            bundle=asked.identity,
            truncated=work.encoded.truncated,
            title=first.title if first else None,
            match=work.match_of(first) if first and method == "exact" else None,
            margin=work.margin,
            tokens=best.length,
        )
        return replace(link, confidence=self._confidence(link, asked))

    def calibration(self, asked: Asked) -> Calibration | None:
        """Return the calibration that holds for this way of linking; None: it was never calibrated."""
        if asked.reference or asked.rerank or asked.subset is not None:
            return None
        return self.calibrations.get(asked.identity.decoding)

    def _confidence(self, link: Link, asked: Asked) -> float | None:
        calibration = self.calibration(asked)
        if calibration is None:
            return None
        features = features_of(link)
        return None if features is None else calibration.confidence(features)


def read_calibrations(bundle: Bundle) -> dict[str, Calibration]:
    """Return the calibrations that a bundle holds, by decoding; none where it was never calibrated.

    Raises:
        BundleError: where the file is damaged.
    """
    try:
        return {decoding: Calibration.from_dict(entry["model"]) for decoding, entry in bundle.calibrations().items()}
    except ValueError as error:
        raise BundleError(
            f"{bundle.calibration.name} cannot be read ({error}); copy or build the bundle anew"
        ) from error


def features_of(link: Link) -> Features | None:
    """Return what the confidence of a link depends on; None where no code was found by the model."""
    if link.code is None or link.log_prob is None:
        return None
    distance = link.distance if link.method == "semantic" else None  # an exact link may have neighbours or not
    return Features(link.log_prob, link.margin, link.method, link.match, distance, len(link.codes))


def judge(link: Link, asked: Asked) -> Link:
    """Take back an answer whose confidence is too low; its candidates stay."""
    if asked.min_confidence is None or link.confidence is None or link.confidence >= asked.min_confidence:
        return link
    return replace(link, code=None, codes=(), description=None, kind=None, method="none", title=None, match=None)


def _decide(work: Work, asked: Asked) -> tuple[Method, list[Candidate]]:
    """Return how the link was found, and the candidates for each code of the description it was found by."""
    if work.exact:
        return "exact", [_from_hypothesis(concept, work.hypotheses[0]) for concept in work.exact]
    nearest = work.neighbours[0] if work.neighbours else None
    if nearest is None or nearest.distance is None or nearest.distance > asked.max_distance:
        return "none", []
    if asked.reference:
        return "semantic", [nearest]
    ties = [near for near in work.neighbours if near.distance == nearest.distance]
    return "semantic", list(_distinct(ties, len(ties)))


def _decide_ranked(candidates: Sequence[Candidate], asked: Asked) -> tuple[Method, list[Candidate]]:
    """Return how the first of the ranked candidates was found, and those that share its description."""
    near = [found for found in candidates if "hypothesis" in found.evidence or _is_near(found, asked)]
    if not near:
        return "none", []
    chosen = [found for found in near if (found.description, found.kind) == (near[0].description, near[0].kind)]
    return "exact" if "hypothesis" in near[0].evidence else "semantic", chosen


def _is_near(candidate: Candidate, asked: Asked) -> bool:
    return candidate.distance is not None and candidate.distance <= asked.max_distance


def candidate_of(
    concept: Concept, evidence: Evidence, *, log_prob: float | None = None, distance: float | None = None
) -> Candidate:
    """Return a concept as a candidate."""
    return Candidate(concept.code, concept.description, concept.kind, (evidence,), log_prob, distance, concept.title)


def _from_hypothesis(concept: Concept, hypothesis: Hypothesis) -> Candidate:
    return candidate_of(concept, "hypothesis", log_prob=hypothesis.log_prob)


def _merged(work: Work) -> list[Candidate]:
    """Return the codes of all hypotheses, in their order, then those of the neighbours, each with all its evidence."""
    return list(_distinct([*work.from_hypotheses, *work.neighbours], None))


def _distinct(candidates: Iterable[Candidate], top_k: int | None) -> tuple[Candidate, ...]:
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
