"""The parity gate: what a bundle computes, compared with the float32 PyTorch references that it carries.

The conversion and ``cielo verify --parity`` run the same checks, without torch. Each check has a name, a figure and
a tolerance; the tolerances depend on the compute type alone (or, of the encoder, on its precision).

Texts are compared by two rules. In float32 the lists of hypotheses must be the reference's, texts and scores (99 of
100 lists: outputs that loop to the longest length can part by rounding alone); two hypotheses whose scores lie within
the tolerance may change places. In a narrower type the best text must be the
reference's wherever the reference is decided, that is, where its best hypothesis leads the next in log-probability by
at least `DECIDED_MARGIN`, or by `DECIDED_DEVIATIONS` times what the type's rounding changes there (the RMS difference
of the best outputs' log-probabilities, itself bounded by `generator.output_log_probs`), if that is more: in a nearer
tie the rounding decides, and either answer is as good.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from cielo.bundle.layout import Bundle
from cielo.bundle.stages import Stages, open_stages
from cielo.errors import BundleError
from cielo.generation.plan import default_plan
from cielo.generation.searches import DECODINGS, SEARCHES
from cielo.machine import library_versions, machine_key, processor_name
from cielo.records import Decoding, Hypothesis
from cielo.retrieval.index import Index
from cielo.retrieval.vectors import squared_distances
from cielo.text.tokenizer import Encoded

DECIDED_MARGIN = 0.5
DECIDED_DEVIATIONS = 4.0
_SAMPLE = 256


@dataclass(frozen=True, slots=True)
class Check:
    """One comparison: its figure, and the bound that the figure must keep."""

    name: str
    figure: float
    tolerance: float
    comparison: Literal["<=", ">="]
    detail: str = ""

    @property
    def passed(self) -> bool:
        """Whether the figure keeps its bound; a figure that is not a number never does."""
        return self.figure <= self.tolerance if self.comparison == "<=" else self.figure >= self.tolerance

    def to_dict(self) -> dict[str, Any]:
        """Return the check as a dictionary, `passed` included."""
        return {**asdict(self), "passed": self.passed}


@dataclass(frozen=True, slots=True)
class Report:
    """Every check of one bundle on one device with one compute type."""

    device: str
    compute_type: str
    checks: tuple[Check, ...]

    @property
    def passed(self) -> bool:
        """Whether every check passed."""
        return all(check.passed for check in self.checks)

    @property
    def key(self) -> str:
        """``device/compute type``, by which figures are kept."""
        return f"{self.device}/{self.compute_type}"

    def to_dict(self) -> dict[str, Any]:
        """Return the report with the machine and the libraries it was made on."""
        return {
            "status": "passed" if self.passed else "failed",
            "processor": processor_name(),
            "machine": machine_key(),
            "libraries": library_versions(),
            "checks": [check.to_dict() for check in self.checks],
        }


@dataclass(frozen=True, slots=True)
class References:
    """The float32 PyTorch outputs: for each of N prompts its ids, hypotheses by search, and a scored target."""

    prompts: list[str]
    prompt_ids: list[list[int]]
    strings: list[str]
    generator_string_ids: list[list[int]]
    encoder_string_ids: list[list[int]]
    searches: dict[Decoding, list[list[Hypothesis]]]
    targets: list[list[int]]
    target_log_probs: list[list[float]]
    outputs: list[list[int]]
    output_log_probs: list[list[float]]
    texts: list[str]
    vectors: NDArray[np.float32]

    @classmethod
    def load(cls, references: Path, vectors: Path) -> References:
        """Read the two files.

        Raises:
            BundleError: where they cannot be read as references.
        """
        try:
            data = json.loads(references.read_text(encoding="utf-8"))
            searches: dict[Decoding, list[list[Hypothesis]]] = {
                decoding: [[Hypothesis(**entry) for entry in row] for row in data["searches"][decoding]]
                for decoding in DECODINGS
            }
            names = (
                "prompts",
                "prompt_ids",
                "strings",
                "generator_string_ids",
                "encoder_string_ids",
                "targets",
                "outputs",
            )
            with np.load(vectors) as arrays:
                return cls(
                    **{name: data[name] for name in names},
                    searches=searches,
                    target_log_probs=data["target_log_probs"],
                    output_log_probs=data["output_log_probs"],
                    texts=data["texts"],
                    vectors=arrays["vectors"],
                )
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise BundleError(
                f"the parity references cannot be read ({type(error).__name__}); build the bundle anew"
            ) from error


def _tolerances(compute_type: str, precision: str) -> dict[str, float]:
    """Return the tolerance of each check. README and manifest show them; a recipe can override them by name."""
    return {**_GENERATOR_TOLERANCES[_family(compute_type)], **_ENCODER_TOLERANCES[precision]}


def _family(compute_type: str) -> str:
    return "int8" if compute_type.startswith("int8") else "half" if compute_type.endswith("float16") else compute_type


# What any sound conversion keeps, whatever the model; a fault of conversion overshoots it many times. How far rounding
# moves a model depends on the model: a recipe bounds more closely what is known of its own.
_GENERATOR_TOLERANCES: dict[str, dict[str, float]] = {
    # Exact arithmetic in another order: 1e-4 in a score is what the references themselves are stable to.
    "float32": {"log_probs": 1e-3, "output_log_probs": 1e-3, "texts": 0.99, "scores": 1e-4},
    "int16": {"log_probs": 0.02, "output_log_probs": 0.10, "texts": 0.98, "scores": 0.05},
    "half": {"log_probs": 0.05, "output_log_probs": 0.30, "texts": 0.97, "scores": 0.15},
    "int8": {"log_probs": 0.25, "output_log_probs": 1.00, "texts": 0.95, "scores": 0.50},
}
_ENCODER_TOLERANCES: dict[str, dict[str, float]] = {
    "float32": {"vectors": 0.99999, "norm": 1e-4, "neighbours": 0.999, "tie": 1e-4},
    "float16": {"vectors": 0.9995, "norm": 1e-3, "neighbours": 0.99, "tie": 1e-3},
    "int8": {"vectors": 0.95, "norm": 1e-4, "neighbours": 0.99, "tie": 1e-2},
}
DEFAULT_RECALL = 0.999


def run_checks(
    bundle: Bundle,
    *,
    device: str,
    compute_type: str,
    threads: int | None = None,
    overrides: Mapping[str, float] | None = None,
) -> Report:
    """Run every check of a bundle.

    Args:
        bundle: the bundle; its hashes are taken as they are.
        device: ``cpu`` or ``cuda``.
        compute_type: of the generator.
        threads: processor threads; default: the processors this process may use.
        overrides: tolerances by name of check; default: those of the bundle's recipe.

    Raises:
        BundleError: where a part cannot be opened.
        DeviceError: where the machine cannot run the compute type.
    """
    references = References.load(bundle.references, bundle.reference_vectors)
    if overrides is None:
        overrides = bundle.manifest.get("tolerances", {})
    plan = default_plan(device, threads)
    with open_stages(bundle, device=device, compute_type=compute_type, plan=plan) as stages:
        gate = _Gate(stages, references, compute_type, bundle.manifest["encoder"]["precision"], overrides)
        return Report(device, compute_type, tuple(gate.checks()))


class _Gate:
    def __init__(
        self, stages: Stages, references: References, compute_type: str, precision: str, overrides: Mapping[str, float]
    ) -> None:
        self._stages = stages
        self._references = references
        self._exact = compute_type == "float32"
        self._tolerances = _tolerances(compute_type, precision)
        self._overrides = overrides
        self._prompts = [Encoded(ids, False) for ids in references.prompt_ids]

    def checks(self) -> Iterator[Check]:
        yield from self._tokenizer_checks()
        yield self._target_check()
        yield self._output_check()
        for decoding in DECODINGS:
            yield from self._search_checks(decoding)
        yield from self._encoder_checks()
        yield from self._index_checks()

    def _check(self, name: str, figure: float, tolerance: float, comparison: Literal["<=", ">="], detail: str) -> Check:
        return Check(name, float(figure), float(self._overrides.get(name, tolerance)), comparison, detail)

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
            yield self._check(name, wrong, 0, "<=", f"texts of {len(expected)} whose ids differ from the reference's")
        open_ended = sum(
            not entry.ids or entry.ids[-1:] != ids[-1:]
            for ids, entry in zip(references.prompt_ids, pairs[0][2], strict=True)
        )
        yield self._check("tokenizer.end_of_sequence", open_ended, 0, "<=", "prompts that do not end in </s>")

    def _target_check(self) -> Check:
        """Compare the log-probabilities of given targets, mostly unlikely ones: they move with every weight."""
        name, tolerance = "generator.log_probs", self._tolerances["log_probs"]
        wanted, found = self._scored(self._references.targets, self._references.target_log_probs)
        if self._exact:
            figure, detail = _largest(found - wanted), "largest difference of a token's log-probability"
        else:
            figure = _rms(found - wanted) / max(_rms(wanted), 1e-9)
            detail = "RMS difference of log-probabilities, relative to their RMS"
        return self._check(name, figure, tolerance, "<=", f"{detail}, {len(wanted)} tokens of given texts")

    def _output_check(self) -> Check:
        """Compare the log-probabilities of the reference's best outputs, mostly likely ones."""
        name, tolerance = "generator.output_log_probs", self._tolerances["output_log_probs"]
        wanted, found = self._scored(self._references.outputs, self._references.output_log_probs)
        figure, kind = (_largest(found - wanted), "largest") if self._exact else (_rms(found - wanted), "RMS")
        detail = f"{kind} difference of a token's log-probability, {len(wanted)} tokens of the reference's best outputs"
        return self._check(name, figure, tolerance, "<=", detail)

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
        name, tolerance = f"generator.{decoding}", self._tolerances["scores"]
        pairs = [(want[:depth], found[:depth]) for want, found in zip(expected, got, strict=True)]
        same = [(want, found) for want, found in pairs if _same_list(want, found, tolerance)]
        what = "five-best lists" if depth is None else "best texts"
        share, detail = len(same) / len(pairs), f"share of {what} equal to the reference's, of {len(pairs)}"
        yield self._check(f"{name}.texts", share, self._tolerances["texts"], ">=", detail)
        differences = [_difference(a, b) for want, found in same for a, b in zip(want, found, strict=True)]
        detail = "largest difference of a score per token, rank by rank, in the equal ones"
        yield self._check(f"{name}.scores", max(differences, default=float("inf")), tolerance, "<=", detail)

    def _close_search(
        self, decoding: Decoding, expected: list[list[Hypothesis]], got: list[list[Hypothesis]]
    ) -> Iterator[Check]:
        margin = self._margin()
        pairs = list(zip(expected, got, strict=True))
        same = [want[0].text == found[0].text for want, found in pairs]
        decided = [equal for equal, (want, _) in zip(same, pairs, strict=True) if _lead(want) >= margin]
        name, tolerance = f"generator.{decoding}", self._tolerances["scores"]
        share = float(np.mean(decided)) if decided else 1.0
        leads = f"the {len(decided)} prompts decided by {margin:.2g}; {sum(same)} of all {len(same)}"
        detail = f"share of equal best texts among {leads}"
        yield self._check(f"{name}.texts", share, self._tolerances["texts"], ">=", detail)
        median = float(np.median([_difference(want[0], found[0]) for want, found in pairs]))
        yield self._check(f"{name}.scores", median, tolerance, "<=", "median difference of the best score per token")

    def _encoder_checks(self) -> Iterator[Check]:
        expected = self._references.vectors
        got = self._stages.embedder.embed(self._references.texts)
        if expected.shape != got.shape:
            yield self._check(
                "encoder.vectors", float("nan"), 1.0, ">=", f"vectors of shape {got.shape}, expected {expected.shape}"
            )
            return
        norms = np.linalg.norm(got, axis=1)
        detail = "largest difference of a vector's L2 norm from 1"
        yield self._check("encoder.norm", np.max(np.abs(norms - 1)), self._tolerances["norm"], "<=", detail)
        cosines = np.sum(expected * got, axis=1) / norms
        yield self._check(
            "encoder.vectors",
            np.min(cosines),
            self._tolerances["vectors"],
            ">=",
            "smallest cosine to the reference vector",
        )
        share = _neighbour_agreement(expected, got, self._tolerances["tie"])
        detail = f"share of {len(got)} texts with the same nearest other text"
        yield self._check("encoder.neighbours", share, self._tolerances["neighbours"], ">=", detail)

    def _index_checks(self) -> Iterator[Check]:
        queries = self._stages.embedder.embed(self._references.texts)
        indexes = self._stages.indexes
        smallest = min((self._stored_cosine(index) for index in indexes.values()), default=1.0)
        detail = "smallest cosine of a stored vector to what the encoder gives for its description"
        yield self._check("index.vectors", smallest, self._tolerances["vectors"], ">=", detail)
        recall = min((index.recall_at_1(queries) for index in indexes.values()), default=1.0)
        yield self._check(
            "index.recall", recall, DEFAULT_RECALL, ">=", f"recall@1 against exact search on {len(queries)} queries"
        )
        codeless = sum(
            not self._stages.knowledge_base.match(text, kind)
            for kind, index in indexes.items()
            for texts in index.descriptions
            for text in texts
        )
        yield self._check("index.descriptions", codeless, 0, "<=", "descriptions of the index that have no code")

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
    """Return by how much two outputs' log-probabilities per token differ (of `reference`, that is the score)."""
    return abs(one.log_prob_per_token - other.log_prob_per_token)


def _lead(hypotheses: list[Hypothesis]) -> float:
    """Return by how much the best hypothesis is more probable than the next."""
    return hypotheses[0].log_prob - hypotheses[1].log_prob if len(hypotheses) > 1 else float("inf")


def _rms(values: NDArray[np.float64]) -> float:
    return float(np.sqrt(np.mean(values**2)))


def _largest(values: NDArray[np.float64]) -> float:
    return float(np.max(np.abs(values)))


def _neighbour_agreement(expected: NDArray[np.float32], got: NDArray[np.float32], tie: float) -> float:
    """Return the share of rows whose nearest other row is the reference's, or lies within `tie` of it there."""
    reference, found = squared_distances(expected, expected), squared_distances(got, got)
    np.fill_diagonal(reference, np.inf)
    np.fill_diagonal(found, np.inf)
    chosen = reference[np.arange(len(found)), np.argmin(found, axis=1)]
    return float(np.mean(chosen <= np.min(reference, axis=1) + tie))
