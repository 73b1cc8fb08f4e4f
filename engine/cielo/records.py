"""The records that pass between the stages: frozen, slotted, and ready for JSON by `to_dict`."""

from __future__ import annotations

import math
import re
import unicodedata
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from cielo.errors import MentionError
from cielo.said import Said

Json: TypeAlias = "bool | int | float | str | list[Json] | tuple[Json, ...] | dict[str, Json] | None"
"""What JSON can hold; a tuple becomes a list."""

Method = Literal["exact", "semantic", "lexicon", "none"]
Evidence = Literal["hypothesis", "neighbour", "lexicon"]
Match = Literal["literal", "normal"]
Pipeline = Literal["I", "II"]
Decoding = Literal["published", "probable", "greedy", "constrained"]
Matching = Literal["tiered", "published"]


_SURROGATE = re.compile("[\ud800-\udfff]")

NAMES = {"text": Said("text"), "sentence": Said("sentence"), "kind": Said("kind"), "id": Said("id")}
"""The fields of a mention, as errors call them."""


def has_content(text: str) -> bool:
    """Tell whether `text` holds at least one character that is neither white space nor a control or format sign."""
    return any(not char.isspace() and unicodedata.category(char)[0] != "C" for char in text)


def _plain(record: Any) -> dict[str, Json]:
    # `dataclasses.asdict` copies every text, which takes four times as long.
    return {name: _value(getattr(record, name)) for name in record.__dataclass_fields__}


def _value(value: Any) -> Any:
    if isinstance(value, tuple):
        return tuple([_value(part) for part in value])
    return _plain(value) if hasattr(value, "__dataclass_fields__") else value


class _Record:
    __slots__ = ()

    def to_dict(self) -> dict[str, Json]:
        """Return the record as plain dictionaries and lists."""
        return _plain(self)


@dataclass(frozen=True, slots=True)
class Mention(_Record):
    """A clinical mention to be linked.

    Attributes:
        text: the mention itself, as it stands in the report.
        sentence: the sentence around it; None: the mention stands for it.
        kind: restricts the link to one kind of the knowledge base's rows (``diagnosis``, ``procedure``); None: any.
        id: a name of the caller's, handed back with the link.

    Raises:
        MentionError: where `text` is not a string with at least one visible character, or anything is not Unicode text.
    """

    text: str
    sentence: str | None = None
    kind: str | None = None
    id: str | None = None

    def __post_init__(self) -> None:
        for name, told in NAMES.items():
            value = getattr(self, name)
            if not isinstance(value, str) and (name == "text" or value is not None):
                found = type(value).__name__
                raise MentionError("the mention's {name} is of type {found}; give a string", name=told, found=found)
            if isinstance(value, str) and _SURROGATE.search(value):
                raise MentionError("the mention's {name} holds half of a surrogate pair; give valid Unicode", name=told)
        if not has_content(self.text):
            raise MentionError("the mention's text is empty; give at least one visible character")


@dataclass(frozen=True, slots=True)
class Hypothesis(_Record):
    """One output of the generator.

    Attributes:
        text: the decoded description.
        score: what the search ranked it by: `log_prob` divided by length ** length_penalty.
        log_prob: natural logarithm of the probability of the whole output, ``</s>`` included.
        length: its tokens, ``</s>`` included.
        finished: False where the output was cut at the longest length allowed, before ``</s>``.
    """

    text: str
    score: float
    log_prob: float
    length: int = 1
    finished: bool = True

    @property
    def log_prob_per_token(self) -> float:
        """The mean log-probability of its tokens: comparable between outputs of any length."""
        return self.log_prob / max(1, self.length)


@dataclass(frozen=True, slots=True)
class Proof(_Record):
    """What a constrained search shows of its answer: see `cielo.generation.constrained`.

    Attributes:
        exact: whether no description that was allowed can be more probable than those found, as many as were asked for.
        gap: by how many nats one that was not looked at could exceed them at most; 0.0 where `exact`.
        passes: of the decoder.
        mass: the sum of the probabilities of all descriptions that were found on the way, in [0, 1].
        free_log_prob: log-probability of the most probable output seen at all: what greedy search without a knowledge
            base gives, or the best description, whichever is more probable.
    """

    exact: bool
    gap: float
    passes: int
    mass: float
    free_log_prob: float


@dataclass(frozen=True, slots=True)
class Concept(_Record):
    """A code of the knowledge base with the description by which it was found.

    Attributes:
        title: the code's preferred description; `description` may be a synonym.
        match: how the description was matched: to the letter (``literal``), or in normal form (``normal``).
    """

    code: str
    description: str
    kind: str
    title: str = ""
    match: Match = "literal"


@dataclass(frozen=True, slots=True)
class Candidate(_Record):
    """A code that might be meant, with its evidence.

    Attributes:
        description: the one by which it was found; `title` is the code's preferred one.
        evidence: ``hypothesis`` where one of the generated texts matched its description, ``neighbour`` where the
            description lies near the generated text, ``lexicon`` where the lexicon has it; of all that speaks for it,
            the strongest first.
        log_prob: of the best hypothesis, or, re-ranked, of the description itself given the prompt; else None.
        distance: squared L2 distance of unit vectors (2 - 2 cos), in [0, 4], to the generated text; None where it is
            none of the neighbours.
    """

    code: str
    description: str
    kind: str
    evidence: tuple[Evidence, ...]
    log_prob: float | None = None
    distance: float | None = None
    title: str = ""


@dataclass(frozen=True, slots=True)
class Timings(_Record):
    """Seconds that each stage took for the batch in which a mention was linked, and how many mentions shared it."""

    tokenize: float = 0.0
    generate: float = 0.0
    match: float = 0.0
    embed: float = 0.0
    search: float = 0.0
    rerank: float = 0.0
    mentions: int = 0


@dataclass(frozen=True, slots=True)
class BundleIdentity(_Record):
    """Which bundle it is.

    Attributes:
        name: the recipe's.
        sha256: of its manifest, which holds the hashes of all its files.
        edition: of its knowledge base.
    """

    name: str
    sha256: str
    edition: str


@dataclass(frozen=True, slots=True)
class Provenance(_Record):
    """Where a link comes from: the bundle, and how it was used.

    Attributes:
        bundle: whose models and knowledge base were used.
        backend: that ran the generator.
        compute_type: of the generator.
        device: ``cpu`` or ``cuda``.
        decoding: how outputs were searched for; ``stored`` where they were not generated here.
        pipeline: ``I`` (exact matches alone) or ``II`` (the nearest description for what has none).
        matching: ``tiered`` (the literal text first, then the normal form) or ``published`` (as the paper matches).
    """

    bundle: BundleIdentity
    backend: str
    compute_type: str
    device: str
    decoding: str
    pipeline: Pipeline = "II"
    matching: Matching = "tiered"


@dataclass(frozen=True, slots=True)
class Link(_Record):
    """What a mention was linked to.

    Attributes:
        code: the first code, None where `method` is ``none``.
        codes: every code of the matched description, in the knowledge base's order.
        description: the one by which the code was found, perhaps a synonym; `title` is the code's preferred one.
        method: ``exact`` (the generated text is a description), ``semantic`` (the nearest description), ``lexicon``
            (the mention stands in the lexicon; nothing was generated) or ``none``.
        generated: the generator's first output; empty where the lexicon answered.
        log_prob: its log-probability, None where nothing was generated; `probability` is ``exp(log_prob)``.
        distance: squared L2 distance to the nearest description; None where it was not looked for.
        candidates: the runners-up too, best first, the code of the link at the head.
        truncated: True where the prompt was longer than the model takes, and was cut.
        id: the mention's own.
        match: whether the description was matched to the letter (``literal``) or in normal form; None if not ``exact``.
        confidence: the calibrated probability, in [0, 1], that the first code is right (of the first candidate where
            it was too low to answer); None where the bundle was never calibrated for these settings.
        margin: by how much `log_prob` exceeds that of the best output that means another code; None: there is none.
        tokens: of the generated text, ``</s>`` included; 0 where nothing was generated.
        proof: that no description is more probable; None where the search was not constrained.
    """

    code: str | None
    codes: tuple[str, ...]
    description: str | None
    kind: str | None
    method: Method
    generated: str
    log_prob: float | None
    distance: float | None
    candidates: tuple[Candidate, ...]
    provenance: Provenance
    timings: Timings = field(default_factory=Timings)
    truncated: bool = False
    id: str | None = None
    title: str | None = None
    match: Match | None = None
    confidence: float | None = None
    margin: float | None = None
    tokens: int = 0
    proof: Proof | None = None

    @property
    def probability(self) -> float | None:
        """The probability of the generated text, in [0, 1]; None where nothing was generated."""
        return None if self.log_prob is None else min(1.0, math.exp(self.log_prob))

    def to_dict(self) -> dict[str, Json]:
        """Return the link as plain dictionaries and lists, `probability` included."""
        return {**_plain(self), "probability": self.probability}

    def _repr_html_(self) -> str:
        """Return the link as Jupyter shows it: the code, how it was found, and the candidates with their figures."""
        from html import escape  # few need it, and every command loads this module

        head = f"<b>{escape(self.code or 'no code')}</b> {escape(self.title or '')} ({self.method}"
        head += ")" if self.confidence is None else f", confidence {self.confidence:.2f})"
        rows = "".join(
            f"<tr><td>{escape(candidate.code)}</td><td>{escape(candidate.kind)}</td>"
            f"<td>{escape(candidate.title or candidate.description)}</td>"
            f"<td>{_figure(candidate.log_prob)}</td><td>{_figure(candidate.distance)}</td></tr>"
            for candidate in self.candidates
        )
        names = "".join(f"<th>{name}</th>" for name in ("code", "kind", "title", "log-prob.", "distance"))
        return f"<div>{head}<table><thead><tr>{names}</tr></thead><tbody>{rows}</tbody></table></div>"


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"
