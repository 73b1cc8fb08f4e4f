"""How mentions are to be linked: one frozen record, for Python, the command line, evaluation and servers alike."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final, Literal, get_args

from cielo.errors import OptionError
from cielo.knowledge.subsets import Subset
from cielo.records import Decoding, Matching, Pipeline

Neighbours = Literal["misses", "always"]

MOST_CANDIDATES = 100
MOST_PASSES = 100_000
# Squared L2 distances of unit vectors lie in [0, 4].
_FARTHEST = 4.0
# Fields that change no link as it is kept: one is judged after the cache, the other asked before it. Whatever is not
# marked is part of the cache's key.
OUTSIDE_THE_CACHE: Final[Mapping[str, bool]] = MappingProxyType({"cached": False})


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkOptions:
    """How mentions are to be linked.

    Attributes:
        top_k: the most candidates in each link, 1 to 100.
        neighbours: look for the nearest descriptions of the ``misses`` alone (generated texts without an exact match),
            or ``always``, so that exact links have neighbours among their candidates too.
        decoding: how outputs are searched for; None: as the bundle says, or ``probable`` where that is ``constrained``
            and `rerank` or matching ``published`` need free outputs.
        pipeline: ``I``: exact matches alone; ``II``: the nearest description for what has none.
        matching: ``tiered``: the literal text first, then the normal form, all codes of a description. ``published``:
            match and search as the paper does, row for row: its normal form, the first row alone, queries in lower
            case, exact search, no distance too far.
        rerank: order the candidates by the generator's own log-probability of each description given the prompt, the
            neighbours among them.
        min_confidence: answer ``none`` where the calibrated confidence is lower, in [0, 1]; None: answer always.
        max_distance: answer ``none`` where the nearest description is farther, in [0, 4]; None: the bundle's own.
        subset: the codes to answer with; None: all.
        lexicon: ask the linker's lexicon first, if it has one.
        proven: of decoding ``constrained``: how many descriptions are to be proven the most probable ones, 1 to 100;
            None: two where a confidence is known, which looks at the second one's distance, else one.
        max_passes: likewise: passes of the decoder for one mention, at least 1; where they do not suffice, the link's
            proof says what is open.

    Raises:
        OptionError: where a value is not among those allowed, or two options exclude each other.
    """

    top_k: int = 5
    neighbours: Neighbours = "misses"
    decoding: Decoding | None = None
    pipeline: Pipeline = "II"
    matching: Matching = "tiered"
    rerank: bool = False
    min_confidence: float | None = field(default=None, metadata=OUTSIDE_THE_CACHE)
    max_distance: float | None = None
    subset: Subset | None = None
    lexicon: bool = field(default=True, metadata=OUTSIDE_THE_CACHE)
    proven: int | None = None
    max_passes: int = 64

    def __post_init__(self) -> None:
        self._check_values()
        if self.rerank and (self.matching == "published" or self.pipeline == "I"):
            raise OptionError(
                "rerank chooses among neighbours too: it goes with pipeline II, and not with matching published"
            )
        if self.subset is not None and self.matching == "published":
            raise OptionError("matching published looks at every row, as the paper does: it does not go with a subset")
        if self.decoding == "constrained" and self.matching == "published":
            raise OptionError(
                "matching published looks up what was generated freely: it does not go with decoding constrained, "
                "whose outputs are descriptions; choose decoding published"
            )
        if self.decoding == "constrained" and self.rerank:
            raise OptionError(
                "decoding constrained orders all descriptions by the generator's own log-probability already: it does "
                "not go with rerank; ask for more proven descriptions"
            )

    def _check_values(self) -> None:
        _check_count("top_k", self.top_k, MOST_CANDIDATES)
        if self.proven is not None:
            _check_count("proven", self.proven, MOST_CANDIDATES)
        _check_count("max_passes", self.max_passes, MOST_PASSES)
        _check_choice("neighbours", self.neighbours, get_args(Neighbours))
        _check_choice("decoding", self.decoding, (*get_args(Decoding), None))
        _check_choice("pipeline", self.pipeline, get_args(Pipeline))
        _check_choice("matching", self.matching, get_args(Matching))
        _check_choice("rerank", self.rerank, (True, False))
        _check_choice("lexicon", self.lexicon, (True, False))
        _check_range("min_confidence", self.min_confidence, 1.0)
        _check_range("max_distance", self.max_distance, _FARTHEST)
        if self.subset is not None and not isinstance(self.subset, Subset):
            raise OptionError(f"got a subset of type {type(self.subset).__name__}, expected a Subset, or None")

    @property
    def searched(self) -> bool:
        """Whether every generated text gets neighbours, the matched ones too."""
        return self.neighbours == "always" or self.rerank


def _check_choice(name: str, value: Any, allowed: tuple[Any, ...]) -> None:
    if not any(value is known or (type(value) is type(known) and value == known) for known in allowed):
        raise OptionError(f"got {name} {value!r}, expected one of {', '.join(map(str, allowed))}")


def _check_count(name: str, value: Any, most: int) -> None:
    if type(value) is not int or not 1 <= value <= most:
        raise OptionError(f"got {name} {value!r}, expected a whole number from 1 to {most}")


def _check_range(name: str, value: Any, most: float) -> None:
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= most:
        raise OptionError(f"got {name} {value!r}, expected a number from 0 to {most:g}, or None")
