"""From what was generated to codes: exact match, nearest description, candidates, confidence.

The half of the pipeline that needs no generator, so that stored outputs can be resolved too; `cielo.link.linker` is the
whole of it.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from cielo.bundle.calibration import Calibration
from cielo.bundle.layout import Bundle
from cielo.errors import BundleError
from cielo.knowledge.reading import KnowledgeBase
from cielo.knowledge.subsets import Subset
from cielo.link.candidates import LinkRequest, Work, candidate_of, decide, decide_ranked, distinct, merged
from cielo.link.confidence import LEAST_PROVEN, Features, confidence, has_these_terms
from cielo.link.timing import StageTimer
from cielo.records import Candidate, Concept, Link, has_content
from cielo.retrieval.embedder import Embedder
from cielo.retrieval.index import Index, Neighbour
from cielo.text.prompt import strip_code_suffix
from cielo.text.tokenizer import Encoded

_SUBSETS_KEPT = 8


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

    def resolve(self, works: Sequence[Work], request: LinkRequest, clock: StageTimer) -> list[Link]:
        """Return the link of each work, without `timings` and `id`; `judge` is yet to come."""
        self._match(works, request, clock)
        self._search(works, request, clock)
        ranked = self._rerank(works, clock) if request.options.rerank else [merged(work) for work in works]
        return [self._link(work, candidates, request) for work, candidates in zip(works, ranked, strict=True)]

    def _match(self, works: Sequence[Work], request: LinkRequest, clock: StageTimer) -> None:
        """Look every hypothesis up; each distinct text once."""
        known: dict[tuple[str, str | None], list[Concept]] = {}
        with clock.stage("match"):
            for work in works:
                for hypothesis in work.hypotheses:
                    text = hypothesis.text if request.is_constrained else strip_code_suffix(hypothesis.text)
                    entry = (text, work.kind)
                    if entry not in known:
                        known[entry] = self._matched(*entry, request)
                    work.matches.append(known[entry])

    def _matched(self, text: str, kind: str | None, request: LinkRequest) -> list[Concept]:
        if request.is_published:
            return self.knowledge_base.match_as_published(text, kind)
        return self.knowledge_base.match(text, kind, request.options.subset)

    def _search(self, works: Sequence[Work], request: LinkRequest, clock: StageTimer) -> None:
        """Find the nearest descriptions of the misses (or of all); each distinct generated text is embedded once."""
        if request.options.pipeline == "I" or self._embedder is None:
            return
        wanted = [
            work for work in works if has_content(work.generated) and (request.options.searched or not work.exact)
        ]
        texts = list(dict.fromkeys(work.generated for work in wanted))
        if not texts:
            return
        with clock.stage("embed"):
            vectors = self._embedder.embed([text.lower() for text in texts] if request.is_published else texts)
        with clock.stage("search"):
            found = {kind: self._nearest_in(kind, vectors, request) for kind in self._indexes}
            rows = {text: row for row, text in enumerate(texts)}
            for work in wanted:
                work.neighbours = self._nearest(found, rows[work.generated], work.kind, request)

    def _nearest_in(self, kind: str, vectors: NDArray[np.float32], request: LinkRequest) -> list[list[Neighbour]]:
        index = self._indexes[kind]
        if request.is_published:
            return index.search_exactly(vectors, request.options.top_k)
        allowed = None if request.options.subset is None else self._allowed(kind, request.options.subset)
        return index.search(vectors, request.options.top_k, allowed)

    def _allowed_labels(self, kind: str, subset: Subset) -> NDArray[np.bool_]:
        """Return for each label of an index whether one of its descriptions belongs to a code of the subset."""
        texts = frozenset(self.knowledge_base.descriptions(kind, subset))
        labels: Index = self._indexes[kind]
        return np.fromiter((not texts.isdisjoint(label) for label in labels.descriptions), bool, len(labels))

    def _nearest(
        self, found: dict[str, list[list[Neighbour]]], row: int, kind: str | None, request: LinkRequest
    ) -> list[Candidate]:
        """Merge one row of the indexes' answers, nearest first, and give each description its codes."""
        near = [(of, neighbour) for of in found if kind in (None, of) for neighbour in found[of][row]]
        near.sort(key=lambda entry: entry[1].distance)
        # What ties with the nearest stays whatever `top_k` is: the link's codes come from it.
        kept = itertools.takewhile(
            lambda entry: entry[1].distance == near[0][1].distance, near[request.options.top_k :]
        )
        return [
            candidate_of(concept, "neighbour", distance=neighbour.distance)
            for of, neighbour in [*near[: request.options.top_k], *kept]
            for concept in self._codes_of(neighbour.description, of, request)
        ]

    def _codes_of(self, description: str, kind: str, request: LinkRequest) -> list[Concept]:
        if request.is_published:
            return self.knowledge_base.first_row(description, kind)
        return self.knowledge_base.match(description, kind, request.options.subset)

    def _rerank(self, works: Sequence[Work], clock: StageTimer) -> list[list[Candidate]]:
        """Order each mention's candidates by the log-probability of their description given the prompt."""
        joined = [merged(work) for work in works]
        wanted = {
            (work.prompt, candidate.description): work.encoded
            for work, candidates in zip(works, joined, strict=True)
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
            for work, candidates in zip(works, joined, strict=True)
        ]

    def _link(self, work: Work, candidates: list[Candidate], request: LinkRequest) -> Link:
        method, chosen = decide_ranked(candidates, request) if request.options.rerank else decide(work, request)
        first = chosen[0] if chosen else None
        best = work.hypotheses[0] if work.hypotheses else None
        link = Link(
            code=first.code if first else None,
            codes=tuple(candidate.code for candidate in chosen),
            description=first.description if first else None,
            kind=first.kind if first else None,
            method=method,
            generated=best.text if best else "",
            log_prob=best.log_prob if best else None,
            distance=work.neighbours[0].distance if work.neighbours else None,
            candidates=distinct([*chosen, *candidates], request.options.top_k),
            provenance=request.provenance,
            truncated=work.encoded.truncated,
            title=first.title if first else None,
            match=work.match_of(first) if first and method == "exact" else None,
            margin=work.margin,
            tokens=best.length if best else 0,
            proof=work.proof,
        )
        return replace(link, confidence=self._confidence(link, request))

    def calibration(self, request: LinkRequest) -> Calibration | None:
        """Return the calibration that holds for this way of linking; None: it was never calibrated."""
        options = request.options
        if request.is_published or options.rerank or options.subset is not None:
            return None
        if request.is_constrained and options.proven is not None and options.proven < LEAST_PROVEN:
            return None
        return self.calibrations.get(request.provenance.decoding)

    def _confidence(self, link: Link, request: LinkRequest) -> float | None:
        calibration = self.calibration(request)
        if calibration is None:
            return None
        features = features_of(link)
        return None if features is None else confidence(calibration, features)


def read_calibrations(bundle: Bundle) -> dict[str, Calibration]:
    """Return the calibrations that a bundle holds, by decoding; none where it was never calibrated.

    Raises:
        BundleError: where the file is damaged, or of another version.
    """
    found: dict[str, Calibration] = {decoding: kept.model for decoding, kept in bundle.calibrations().items()}
    if not all(has_these_terms(model, decoding) for decoding, model in found.items()):
        raise BundleError(f"{bundle.calibration} is of another version, with other terms; calibrate the bundle again")
    return found


def features_of(link: Link) -> Features | None:
    """Return what the confidence of a link depends on; None where no code was found by the model."""
    if link.code is None or link.log_prob is None:
        return None
    distance = link.distance if link.method == "semantic" else None  # an exact link may have neighbours or not
    proof = link.proof
    return Features(
        link.log_prob,
        link.margin,
        link.method,
        link.match,
        distance,
        len(link.codes),
        mass=proof.mass if proof else None,
        behind=proof.free_log_prob - link.log_prob if proof else None,
    )


def judge(link: Link, request: LinkRequest) -> Link:
    """Take back an answer whose confidence is too low; its candidates stay."""
    if (
        request.options.min_confidence is None
        or link.confidence is None
        or link.confidence >= request.options.min_confidence
    ):
        return link
    return replace(link, code=None, codes=(), description=None, kind=None, method="none", title=None, match=None)
