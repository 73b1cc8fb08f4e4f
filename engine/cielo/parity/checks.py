"""The parity gate: what a bundle computes, compared with the float32 PyTorch references that it carries.

The conversion and ``cielo verify --parity`` run the same checks, without torch. Each check has a name, a figure and
a tolerance; the tolerances depend on the compute type alone (or, of the encoder, on its precision). A check that has
nothing to compare fails.

Texts are compared by two rules. In float32 the lists of hypotheses must be the reference's, texts and scores (99 of
100 lists: outputs that loop to the longest length can part by rounding alone); two hypotheses whose scores lie within
the tolerance may change places. In a narrower type the best text must be the
reference's wherever the reference is decided, that is, where its best hypothesis leads the next in log-probability by
at least `DECIDED_MARGIN`, or by `DECIDED_DEVIATIONS` times what the type's rounding changes there (the RMS difference
of the best outputs' log-probabilities, itself bounded by `generator.output_log_probs`), if that is more: in a nearer
tie the rounding decides, and either answer is as good.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cielo.bundle.layout import Bundle
from cielo.bundle.manifest import Check, Execution, ParityFigures, Precision
from cielo.bundle.stages import Stages, open_stages, open_trie
from cielo.generation.backends import backend
from cielo.generation.searches import DECODINGS, SEARCHES
from cielo.machine import library_versions, machine_key, processor_name
from cielo.parity.bounds import Bounds
from cielo.parity.references import References
from cielo.parity.tolerances import (
    DECIDED_DEVIATIONS,
    DECIDED_MARGIN,
    RECALL,
    encoder_tolerances,
    generator_tolerances,
)
from cielo.parity.tries import constrained_checks, trie_checks
from cielo.records import Decoding, Hypothesis
from cielo.retrieval.index import Index
from cielo.retrieval.vectors import squared_distances
from cielo.text.tokenizer import Encoded

_SAMPLE = 256  # vectors of each index


@dataclass(frozen=True, slots=True)
class Report:
    """Every check of one bundle in one execution."""

    execution: Execution
    checks: tuple[Check, ...]

    @property
    def passed(self) -> bool:
        """Whether there were checks, and every one passed."""
        return bool(self.checks) and all(check.passed for check in self.checks)

    @property
    def key(self) -> str:
        """``backend/device/compute type``, by which figures are kept."""
        return self.execution.key

    def figures(self, early: Iterable[Check] = ()) -> ParityFigures:
        """Return what is kept of the report: with this machine and its libraries.

        Args:
            early: checks made before, which are kept with the others.
        """
        return ParityFigures(
            status="passed" if self.passed else "failed",
            checks=(*early, *self.checks),
            processor=processor_name(),
            machine=machine_key(),
            libraries=library_versions(),
        )


def run_checks(
    bundle: Bundle, execution: Execution, *, threads: int | None = None, overrides: Mapping[str, float] | None = None
) -> Report:
    """Run every check of a bundle.

    Args:
        bundle: the bundle; its hashes are taken as they are.
        execution: how the generator runs.
        threads: processor threads; default: the processors this process may use.
        overrides: tolerances by name of check; default: those of the bundle's recipe.

    Raises:
        BundleError: where a part cannot be opened.
        DeviceError: where the machine cannot run the compute type.
        ParityError: where no tolerances are known for the compute type.
    """
    references = References.load(bundle.references, bundle.reference_vectors)
    if overrides is None:
        overrides = bundle.manifest.tolerances
    plan = backend(execution.backend).default_plan(execution.device, threads)
    with open_stages(bundle, execution, plan) as stages:
        bounds = Bounds(overrides)
        gate = _Gate(stages, references, execution.compute_type, bundle.manifest.encoder.precision, bounds)
        found = list(gate.checks())
        if (trie := stages.trie or open_trie(bundle, stages.tokenizer)) is not None:
            found += trie_checks(trie, stages, bounds)
            if backend(execution.backend).gives_masks:
                tolerance = generator_tolerances(execution.compute_type).repeated
                found += constrained_checks(trie, stages, references, tolerance, bounds)
        return Report(execution, tuple(found))


class _Gate:
    def __init__(
        self,
        stages: Stages,
        references: References,
        compute_type: str,
        precision: Precision,
        bounds: Bounds,
    ) -> None:
        self._stages = stages
        self._references = references
        self._exact = compute_type == "float32"
        self._generator = generator_tolerances(compute_type)
        self._encoder = encoder_tolerances(precision)
        self._at_most, self._at_least = bounds.at_most, bounds.at_least
        self._prompts = [Encoded(ids, False) for ids in references.prompt_ids]

    def checks(self) -> Iterator[Check]:
        yield from self._tokenizer_checks()
        yield self._target_check()
        yield self._output_check()
        for decoding in DECODINGS:
            yield from self._search_checks(decoding)
        yield from self._encoder_checks()
        yield from self._index_checks()

    def _tokenizer_checks(self) -> Iterator[Check]:
        references, encode = self._references, self._stages.tokenizer.encode
        pairs = [
            ("tokenizer.prompt_ids", references.prompt_ids, encode(references.prompts)),
            (
                "tokenizer.generator_ids",
                references.generator_string_ids,
                self._stages.tokenizer.encode_whole(references.strings),
            ),
            (
                "tokenizer.encoder_ids",
                references.encoder_string_ids,
                self._stages.embedder.tokenizer.encode_whole(references.strings),
            ),
        ]
        for name, expected, got in pairs:
            wrong = sum(ids != entry.ids for ids, entry in zip(expected, got, strict=True))
            detail = f"texts of {len(expected)} whose ids differ from the reference's"
            yield self._at_most(name, wrong, 0, len(expected), detail)
        open_ended = sum(
            not entry.ids or entry.ids[-1:] != ids[-1:]
            for ids, entry in zip(references.prompt_ids, pairs[0][2], strict=True)
        )
        detail = "prompts that do not end in </s>"
        yield self._at_most("tokenizer.end_of_sequence", open_ended, 0, len(references.prompt_ids), detail)

    def _target_check(self) -> Check:
        """Compare the log-probabilities of given targets, mostly unlikely ones: they move with every weight."""
        wanted, found = self._scored(self._references.targets, self._references.target_log_probs)
        if self._exact:
            figure, detail = _largest(found - wanted), "largest difference of a token's log-probability"
        else:
            figure = _rms(found - wanted) / max(_rms(wanted), 1e-9)
            detail = "RMS difference of log-probabilities, relative to their RMS"
        detail = f"{detail}, {len(wanted)} tokens of given texts"
        return self._at_most("generator.log_probs", figure, self._generator.log_probs, len(wanted), detail)

    def _output_check(self) -> Check:
        """Compare the log-probabilities of the reference's best outputs, mostly likely ones."""
        name, tolerance = "generator.output_log_probs", self._generator.output_log_probs
        wanted, found = self._scored(self._references.outputs, self._references.output_log_probs)
        figure, kind = (_largest(found - wanted), "largest") if self._exact else (_rms(found - wanted), "RMS")
        detail = f"{kind} difference of a token's log-probability, {len(wanted)} tokens of the reference's best outputs"
        return self._at_most(name, figure, tolerance, len(wanted), detail)

    def _scored(
        self, targets: list[list[int]], expected: list[list[float]]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the reference's and the bundle's log-probability of every token of the targets."""
        got = self._stages.generator.log_probs(self._prompts, targets)
        if [len(row) for row in got] != [len(row) for row in expected]:
            return np.zeros(1), np.full(1, np.nan)
        return _concatenate(expected), _concatenate(got)

    def _margin(self) -> float:
        """The lead in log-probability from which on a reference counts as decided for this compute type."""
        got = self._stages.generator.log_probs(self._prompts, self._references.outputs)
        pairs = zip(self._references.output_log_probs, got, strict=True)
        deviation = _rms(np.array([float(np.sum(found)) - sum(want) for want, found in pairs]))
        return max(DECIDED_MARGIN, DECIDED_DEVIATIONS * deviation)

    def _search_checks(self, decoding: Decoding) -> Iterator[Check]:
        expected = self._references.searches[decoding]
        got = self._stages.generator.generate(self._prompts, SEARCHES[decoding])
        if self._exact:
            yield from self._exact_search(decoding, expected, got)
        else:
            yield from self._close_search(decoding, expected, got)

    def _exact_search(
        self, decoding: Decoding, expected: list[list[Hypothesis]], got: list[list[Hypothesis]]
    ) -> Iterator[Check]:
        # Only the first is comparable where the searches stop at different steps: see `SEARCHES`.
        depth = None if decoding == "published" else 1
        name, tolerance = f"generator.{decoding}", self._generator.scores
        pairs = [(want[:depth], found[:depth]) for want, found in zip(expected, got, strict=True)]
        same = [(want, found) for want, found in pairs if _same_list(want, found, tolerance)]
        what = "five-best lists" if depth is None else "best texts"
        detail = f"share of {what} equal to the reference's, of {len(pairs)}"
        yield self._at_least(f"{name}.texts", _share(len(same), len(pairs)), self._generator.texts, len(pairs), detail)
        differences = [_difference(a, b) for want, found in same for a, b in zip(want, found, strict=True)]
        detail = "largest difference of a score per token, rank by rank, in the equal ones"
        yield self._at_most(f"{name}.scores", max(differences, default=math.inf), tolerance, len(differences), detail)

    def _close_search(
        self, decoding: Decoding, expected: list[list[Hypothesis]], got: list[list[Hypothesis]]
    ) -> Iterator[Check]:
        margin = self._margin()
        pairs = list(zip(expected, got, strict=True))
        same = [bool(found) and want[0].text == found[0].text for want, found in pairs]
        decided = [equal for equal, (want, _) in zip(same, pairs, strict=True) if _lead(want) >= margin]
        name, tolerance = f"generator.{decoding}", self._generator.scores
        leads = f"the {len(decided)} prompts decided by {margin:.2g}; {sum(same)} of all {len(same)}"
        detail = f"share of equal best texts among {leads}"
        share = _share(sum(decided), len(decided))
        yield self._at_least(f"{name}.texts", share, self._generator.texts, len(decided), detail)
        differences = [_difference(want[0], found[0]) for want, found in pairs if found]
        median = float(np.median(differences)) if differences else math.inf
        detail = "median difference of the best score per token"
        yield self._at_most(f"{name}.scores", median, tolerance, len(differences), detail)

    def _encoder_checks(self) -> Iterator[Check]:
        expected, bounds = self._references.vectors, self._encoder
        got = self._stages.embedder.embed(self._references.texts)
        if expected.shape != got.shape:
            detail = f"vectors of shape {got.shape}, expected {expected.shape}"
            yield self._at_least("encoder.vectors", math.nan, bounds.vectors, 1, detail)
            return
        norms = np.linalg.norm(got, axis=1)
        detail = "largest difference of a vector's L2 norm from 1"
        yield self._at_most("encoder.norm", _largest(norms - 1), bounds.norm, len(got), detail)
        cosines = np.sum(expected * got, axis=1) / norms
        least = float(np.min(cosines, initial=math.inf))
        detail = "smallest cosine to the reference vector"
        yield self._at_least("encoder.vectors", least, bounds.vectors, len(got), detail)
        share = _neighbour_agreement(expected, got, bounds.tie) if len(got) > 1 else math.nan
        detail = f"share of {len(got)} texts with the same nearest other text"
        yield self._at_least("encoder.neighbours", share, bounds.neighbours, max(0, len(got) - 1), detail)

    def _index_checks(self) -> Iterator[Check]:
        queries = self._stages.embedder.embed(self._references.texts)
        indexes = self._stages.indexes
        descriptions = sum(len(index) for index in indexes.values())
        smallest = min((self._stored_cosine(index) for index in indexes.values()), default=math.nan)
        detail = "smallest cosine of a stored vector to what the encoder gives for its description"
        yield self._at_least("index.vectors", smallest, self._encoder.vectors, descriptions, detail)
        asked = len(queries) if descriptions else 0
        recall = min((index.recall_at_1(queries) for index in indexes.values()), default=math.nan) if asked else 0.0
        detail = f"recall@1 against exact search on {len(queries)} queries"
        yield self._at_least("index.recall", recall, RECALL, asked, detail)
        codeless = sum(
            not self._stages.knowledge_base.match(text, kind)
            for kind, index in indexes.items()
            for texts in index.descriptions
            for text in texts
        )
        detail = "descriptions of the index that have no code"
        yield self._at_most("index.descriptions", codeless, 0, descriptions, detail)

    def _stored_cosine(self, index: Index) -> float:
        rows = np.unique(np.linspace(0, len(index) - 1, min(_SAMPLE, len(index))).astype(int))
        again = self._stages.embedder.embed([index.descriptions[row][0] for row in rows])
        stored = np.asarray(index.vectors)[rows]
        return float(np.min(np.sum(stored * again, axis=1))) if stored.shape == again.shape else float("nan")


def _concatenate(rows: Sequence[Sequence[float] | NDArray[np.float32]]) -> NDArray[np.float64]:
    return np.concatenate([np.asarray(row, dtype=np.float64) for row in rows]) if rows else np.zeros(0)


def _same_list(expected: list[Hypothesis], got: list[Hypothesis], tolerance: float) -> bool:
    """Tell whether two lists of hypotheses are equal, ties of scores within `tolerance` in either order.

    A text that the reference lacks is accepted in the last rank alone, where it ties with the reference's last.
    """
    if len(expected) != len(got):
        return False
    by_text = {hypothesis.text: hypothesis for hypothesis in expected}
    last = len(expected) - 1
    for rank, (want, found) in enumerate(zip(expected, got, strict=True)):
        if want.text == found.text:
            continue
        known = found.text in by_text and _difference(by_text[found.text], found) <= tolerance
        if _difference(want, found) > tolerance or not (known or (rank == last and last > 0)):
            return False
    return True


def _difference(one: Hypothesis, other: Hypothesis) -> float:
    """Return by how much two outputs' log-probabilities per token differ (of `published`, that is the score)."""
    return abs(one.log_prob_per_token - other.log_prob_per_token)


def _lead(hypotheses: list[Hypothesis]) -> float:
    """Return by how much the best hypothesis is more probable than the next."""
    return hypotheses[0].log_prob - hypotheses[1].log_prob if len(hypotheses) > 1 else float("inf")


def _share(part: int, whole: int) -> float:
    return part / whole if whole else math.nan


def _rms(values: NDArray[np.float64]) -> float:
    return float(np.sqrt(np.mean(values**2))) if len(values) else math.nan


def _largest(values: NDArray[np.float64] | NDArray[np.float32]) -> float:
    return float(np.max(np.abs(values), initial=0.0))


def _neighbour_agreement(expected: NDArray[np.float32], got: NDArray[np.float32], tie: float) -> float:
    """Return the share of rows whose nearest other row is the reference's, or lies within `tie` of it there."""
    reference, found = squared_distances(expected, expected), squared_distances(got, got)
    np.fill_diagonal(reference, np.inf)
    np.fill_diagonal(found, np.inf)
    chosen = reference[np.arange(len(found)), np.argmin(found, axis=1)]
    return float(np.mean(chosen <= np.min(reference, axis=1) + tie))
