"""What an evaluation found, as records: what ``cielo evaluate --json`` prints, and what its page is made of.

Names. ``pli`` and ``plii`` are the model card's: the share of mentions whose first code is right when only exact
matches count, and when the nearest description answers for the rest. Parts are ``all`` mentions and, where training
mentions are given, ``unseen`` and ``seen`` (whether a mention's text occurs among them).
"""

from __future__ import annotations

from dataclasses import dataclass, field

from cielo.bundle.calibration import Reliability
from cielo.errors import TableError
from cielo.workbench.bench.system import System
from cielo.workbench.evaluation.analysis import Class, ClassCount
from cielo.workbench.evaluation.bootstrap import Comparison, Interval
from cielo.workbench.evaluation.codiesp import MeanAveragePrecision
from cielo.workbench.evaluation.gold import GoldSummary
from cielo.workbench.evaluation.records import Missed, RunSettings, Skipped
from cielo.workbench.evaluation.scores import Breakdown, Point
from cielo.workbench.records import decode, encode


@dataclass(frozen=True, slots=True)
class TrainingSource:
    """A corpus whose mentions count as seen: the name of its file, what was read of it, and how much was skipped."""

    name: str
    mentions: int
    skipped: int


@dataclass(frozen=True, slots=True)
class KnowledgeSource:
    """A table of a knowledge base: the name of its file, its rows, and those that were rejected."""

    name: str
    kind: str
    rows: int
    rejected: int


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """What was evaluated: names and hashes of files.

    Attributes:
        corpus: the name of its file or folder.
        corpus_sha256: of its mentions, codes and stored outputs.
        training: the corpora whose mentions count as seen.
        bundle: name and hash; None where outputs were stored.
        knowledge_base: the bundle's edition, or the tables that stored outputs were resolved with.
        encoder: name of the bundle whose encoder resolved stored outputs; None: there was none.
        made: when, in UTC, as ISO 8601 writes it; empty: not known.
        options: that were given, as on the command line; files and folders by their last names.
        machine: that did the work, and the versions of its libraries; None: not known.
    """

    corpus: str = ""
    corpus_sha256: str = ""
    training: tuple[TrainingSource, ...] = ()
    bundle: str | None = None
    knowledge_base: str | tuple[KnowledgeSource, ...] | None = None
    encoder: str | None = None
    made: str = ""
    options: tuple[str, ...] = ()
    machine: System | None = None


@dataclass(frozen=True, slots=True)
class CorpusSummary:
    """What a corpus holds.

    Attributes:
        mentions: that were scored.
        documents: that they stand in; those without one are not counted.
        skipped: places that could not be used; `skipped_places` are the first of them.
        uncoded: mentions left out because no table maps their annotation to a code.
        notes: what was read in another way than the files have it.
        split: ``train``, ``dev`` or ``test``, where names of files and folders say it.
    """

    mentions: int
    documents: int
    skipped: int
    uncoded: int
    skipped_places: tuple[Skipped, ...] = ()
    notes: tuple[str, ...] = ()
    split: str | None = None


@dataclass(frozen=True, slots=True)
class SplitScores:
    """The scores of a split, in percent.

    Attributes:
        count: mentions; `right`: those whose first code is right; `no_answer`: those without one; `no_exact_match`:
            those that neither a description nor the lexicon matched.
        described: mentions whose right description is named, of which the text accuracies are shares.
        pli, plii: see above; `plii` is None for a run of pipeline I.
        accuracy_3: of the first three characters.
        known: mentions with a right code that could be answered; `pli_known`, `plii_known`: the scores among them. None
            where that is not known, or where it is none.
        intervals: of ``pli``, ``plii`` and ``accuracy_3``, where they are known and there are documents enough.
        clusters: documents, and mentions without one: what intervals are resampled from.

    The others are as in `scores.Scores`.
    """

    count: int
    right: int
    no_answer: int
    no_exact_match: int
    described: int
    pli: float
    plii: float | None
    accuracy_3: float
    recall_at_3: float
    recall_at_5: float
    mrr: float
    coverage: float
    accuracy_covered: float | None
    text_accuracy: float | None
    normal_text_accuracy: float | None
    intervals: dict[str, Interval]
    known: int | None = None
    pli_known: float | None = None
    plii_known: float | None = None
    clusters: int = 0


@dataclass(frozen=True, slots=True)
class PooledScores:
    """Precision, recall and F1 in [0, 1] over pooled counts: what was predicted, what is right, and what is both."""

    predicted: int
    gold: int
    right: int
    precision: float
    recall: float
    f1: float


@dataclass(frozen=True, slots=True)
class KindScores:
    """CodiEsp's measures of one kind, over the distinct codes of each document."""

    map: MeanAveragePrecision
    micro: PooledScores


@dataclass(frozen=True, slots=True)
class CodiEspScores:
    """CodiEsp's own measures.

    Attributes:
        kinds: by kind.
        positions: over positions, as the task's script counts; None where the corpus names none.
        matched_positions: the same, mention by mention.
    """

    kinds: dict[str, KindScores]
    positions: PooledScores | None = None
    matched_positions: PooledScores | None = None


@dataclass(frozen=True, slots=True)
class RunScores:
    """What a run came to.

    Attributes:
        name: of the run.
        settings: what it was made with.
        seconds: that linking took; None where outputs were stored.
        splits: by name, ``all`` first.
        breakdown: scores by kind, chapter, method, and seen in training.
        coverage_curve: accuracy over coverage, at most some 200 points.
        risk_coverage_area: in [0, 1], less is better.
        errors: how often each class of mistakes came up.
        codiesp: None where a mention's document or kind is not known.
    """

    name: str
    settings: RunSettings
    seconds: float | None
    splits: dict[str, SplitScores]
    breakdown: Breakdown
    coverage_curve: tuple[Point, ...]
    risk_coverage_area: float
    errors: tuple[ClassCount, ...]
    codiesp: CodiEspScores | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunComparison(Comparison):
    """A run and the one that it is compared with, by name: the second and the first of `Comparison`."""

    run: str
    against: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PaperScores:
    """What the paper shows of a run, and what bounds it.

    Attributes:
        run: its name.
        split: ``all``, ``unseen`` or ``seen``.
        mentions: how many.
        text_accuracy: in the normal form, in percent; None where the corpus names no descriptions.
        pli, plii: in percent; `plii` is None for a run of pipeline I.
        map, f1: CodiEsp's, by kind, in [0, 1]; empty where they are not known, and of a part of the mentions.
        ceiling: the share of mentions whose right code the knowledge base holds, in percent: no run can have more
            right. None where that is not known.
    """

    run: str
    split: str
    mentions: int
    text_accuracy: float | None
    pli: float
    plii: float | None
    map: dict[str, float] = field(default_factory=dict)
    f1: dict[str, float] = field(default_factory=dict)
    ceiling: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """A mistake, with the user's texts: of its class, what was marked and answered."""

    name: Class
    mention: str
    sentence: str | None
    kind: str | None
    codes: tuple[str, ...]
    right_description: str | None
    code: str | None
    description: str | None
    generated: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CardScore:
    """A figure of the model card with its spread, and the one measured, in percent; None: it was not measured."""

    measure: str
    split: str
    card: float
    spread: float
    measured: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CardComparison:
    """The model card's figures beside those of a run.

    Attributes:
        run: its name.
        model: whose card it is.
        scores: the card's, and those measured.
        seconds: that linking took.
        hardware: that did it.
        differences: in what the run is not what the card describes, a sentence each.
    """

    run: str
    model: str
    scores: tuple[CardScore, ...]
    seconds: float | None
    hardware: str
    differences: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """A whole evaluation; it holds scores, counts, names and hashes, and clinical text in its `examples` alone.

    Attributes:
        about: what was evaluated.
        best: the name of the run with the most right first codes, of all mentions.
        paper: what the paper shows, of each run and part of the mentions.
        card: beside the model card's figures; None: that was not asked for.
        corpus: what it holds.
        splits: those of the first run.
        runs: on the same mentions.
        comparisons: of every other run with the first.
        published_missed: None where there is no published search, or no other, to compare.
        calibration: what the bundle's calibrations are worth, by search.
        gold: how many right codes could not be answered; None where that is not known.
        examples: of the best run's mistakes, where they were asked for.
    """

    about: About
    best: str = ""
    paper: tuple[PaperScores, ...] = ()
    card: CardComparison | None = None
    corpus: CorpusSummary
    splits: dict[str, SplitScores]
    runs: tuple[RunScores, ...]
    comparisons: tuple[RunComparison, ...] = ()
    published_missed: Missed | None = None
    calibration: dict[str, Reliability] = field(default_factory=dict)
    gold: GoldSummary | None = None
    examples: tuple[Example, ...] = ()


def to_json(evaluation: Evaluation) -> bytes:
    """Return an evaluation as JSON."""
    return encode(evaluation)


def from_json(content: bytes) -> Evaluation:
    """Return the evaluation that was kept as JSON.

    Raises:
        TableError: where `content` is not one; it names the field.
    """
    return decode(Evaluation, content, "the evaluation", TableError)
