"""The records that pass between the stages: frozen, slotted, and ready for JSON by `to_dict`."""

from __future__ import annotations

import math
import re
import unicodedata
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from engine.errors import MentionError

Method = Literal["exact", "semantic", "none"]
Evidence = Literal["hypothesis", "neighbour"]


_SURROGATE = re.compile("[\ud800-\udfff]")


def has_content(text: str) -> bool:
    """Tell whether `text` holds at least one character that is neither white space nor a control or format sign."""
    return any(not char.isspace() and unicodedata.category(char)[0] != "C" for char in text)


class _Record:
    __slots__ = ()

    def to_dict(self) -> dict[str, Any]:
        """Return the record as plain dictionaries and lists."""
        return asdict(self)  # type: ignore[call-overload, no-any-return]


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
        for name in ("text", "sentence", "kind", "id"):
            value = getattr(self, name)
            if not isinstance(value, str) and (name == "text" or value is not None):
                raise MentionError(f"the mention's {name} is of type {type(value).__name__}; give a string")
            if isinstance(value, str) and _SURROGATE.search(value):
                raise MentionError(f"the mention's {name} holds half of a surrogate pair; give valid Unicode")
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
class Concept(_Record):
    """A code of the knowledge base with the description by which it was found."""

    code: str
    description: str
    kind: str


@dataclass(frozen=True, slots=True)
class Candidate(_Record):
    """A code that might be meant, with its evidence.

    Attributes:
        evidence: ``hypothesis`` where one of the generated texts matched its description, ``neighbour`` where the
            description lies near the generated text.
        log_prob: of the hypothesis, None for a neighbour.
        distance: squared L2 distance of unit vectors (2 - 2 cos), in [0, 4]; None for a hypothesis.
    """

    code: str
    description: str
    kind: str
    evidence: Evidence
    log_prob: float | None = None
    distance: float | None = None


@dataclass(frozen=True, slots=True)
class Timings(_Record):
    """Seconds that each stage took for the batch in which a mention was linked, and how many mentions shared it."""

    tokenize: float = 0.0
    generate: float = 0.0
    match: float = 0.0
    embed: float = 0.0
    search: float = 0.0
    mentions: int = 0


@dataclass(frozen=True, slots=True)
class BundleIdentity(_Record):
    """Which bundle, knowledge base and settings a link came from."""

    name: str
    sha256: str
    knowledge_base: str
    decoding: str
    compute_type: str
    device: str


@dataclass(frozen=True, slots=True)
class Link(_Record):
    """What a mention was linked to.

    Attributes:
        code: the first code, None where `method` is ``none``.
        codes: every code of the matched description, in the knowledge base's order.
        method: ``exact`` (the generated text is a description), ``semantic`` (the nearest description) or ``none``.
        generated: the generator's first output.
        log_prob: its log-probability; `probability` is ``exp(log_prob)``.
        distance: squared L2 distance to the nearest description; None where it was not looked for.
        candidates: the runners-up too, best first, the code of the link at the head.
        truncated: True where the prompt was longer than the model takes, and was cut.
        id: the mention's own.
    """

    code: str | None
    codes: tuple[str, ...]
    description: str | None
    kind: str | None
    method: Method
    generated: str
    log_prob: float
    distance: float | None
    candidates: tuple[Candidate, ...]
    bundle: BundleIdentity
    timings: Timings = field(default_factory=Timings)
    truncated: bool = False
    id: str | None = None

    @property
    def probability(self) -> float:
        """The probability of the generated text, in [0, 1]."""
        return min(1.0, math.exp(self.log_prob))

    def to_dict(self) -> dict[str, Any]:
        """Return the link as plain dictionaries and lists, `probability` included."""
        row = asdict(self)
        row["probability"] = self.probability
        return row
