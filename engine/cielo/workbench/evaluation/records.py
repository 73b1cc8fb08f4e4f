"""What passes between the readers of corpora, the linker and the scores."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from cielo.knowledge.codes import System
from cielo.records import Matching, Mention, Pipeline


@dataclass(frozen=True, slots=True)
class Annotated:
    """A mention with the codes that annotators gave it.

    Attributes:
        mention: what is to be linked; its kind is the annotators', its id names it within the corpus.
        codes: the right codes, as the corpus writes them; any of them counts as right.
        description: the right code's description, where the corpus names it.
        document: the document it stands in.
        spans: its fragments, as ``(start, end)`` in characters of the document's text, in the order of the corpus.
        generated: an output of a generator that the corpus stores for it; None where it stores none.
    """

    mention: Mention
    codes: tuple[str, ...]
    description: str | None = None
    document: str | None = None
    spans: tuple[tuple[int, int], ...] = ()
    generated: str | None = None


@dataclass(frozen=True, slots=True)
class Skipped:
    """A part of a corpus that was passed over: where it is, and why. It holds none of the corpus's text."""

    place: str
    reason: str


@dataclass(frozen=True, slots=True)
class Corpus:
    """An annotated corpus.

    Attributes:
        mentions: in the order of its files.
        skipped: what could not be read.
        document_codes: the codes of each ``(document, kind)``, where the corpus lists them apart from the mentions.
        uncoded: mentions that were left out because no code is known for them (a concept that no table maps).
        notes: what was read in another way than the files have it.
        split: ``train``, ``dev`` or ``test``, where the names of its file and folders say which; None: they do not.
    """

    mentions: tuple[Annotated, ...]
    skipped: tuple[Skipped, ...] = ()
    document_codes: Mapping[tuple[str, str], tuple[str, ...]] = field(default_factory=dict)
    uncoded: int = 0
    notes: tuple[str, ...] = ()
    split: str | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """An annotated mention and what was answered.

    Attributes:
        annotated: the mention and its right codes.
        ranked: the codes of the candidates, best first, each once. Where a code was answered it is the first.
        code: the code that was answered; None: none.
        kind: of that code.
        method: how it was found: ``exact``, ``semantic``, ``lexicon``, ``none``.
        generated: the generator's first output; empty where it was not asked.
        description: of the answered code, as it was found.
        probability: of the generated text; None where nothing was generated.
        confidence: calibrated; None where it never was.
        distance: to the nearest description; None where it was not looked for.
        seen: whether the mention's text occurs among the training mentions; None where they are not known.
        known: whether a right code is among those that could be answered; None where nobody looked.
        system: the coding system by whose rule the codes are compared; None: as the codes look. ``other`` has no
            placeholders: so codes are compared that count as they are written (`cielo.workbench.evaluation.scores`).
    """

    annotated: Annotated
    ranked: tuple[str, ...]
    code: str | None
    kind: str | None
    method: str
    generated: str = ""
    description: str | None = None
    probability: float | None = None
    confidence: float | None = None
    distance: float | None = None
    seen: bool | None = None
    known: bool | None = None
    system: System | None = None


@dataclass(frozen=True, slots=True)
class SubsetSummary:
    """The part of the codes that a run was kept to: chapters, whether to leaves, and how many codes of a list."""

    chapters: tuple[str, ...]
    leaf: bool
    codes: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSettings:
    """What a run was made with.

    Attributes:
        name, sha256: of the bundle; empty where outputs were stored and nothing was encoded.
        edition: of the knowledge base.
        decoding: the search, or ``stored``.
        backend, compute_type, device: of the generator; empty where outputs were stored.
        pipeline, matching: how outputs were resolved.
        top_k: candidates of a link.
        rerank: whether candidates were ordered by the model.
        min_confidence: below which no code was answered.
        subset: the part of the codes; None: all.
        lexicon: sha256 of the lexicon that was asked before the model; None: there was none.
    """

    name: str
    sha256: str
    edition: str
    decoding: str
    backend: str = ""
    compute_type: str = ""
    device: str = ""
    pipeline: Pipeline = "II"
    matching: Matching = "tiered"
    top_k: int = 5
    rerank: bool = False
    min_confidence: float | None = None
    subset: SubsetSummary | None = None
    lexicon: str | None = None


@dataclass(frozen=True, slots=True)
class Missed:
    """On how many prompts the published search missed an output that is better by its own score; `share` in percent."""

    prompts: int
    missed: int
    share: float
