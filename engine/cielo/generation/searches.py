"""Searches: how an output is looked for, by name, and the short way to the most probable one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from cielo.generation.progress import part_of_call
from cielo.records import Decoding, Hypothesis
from cielo.text.tokenizer import Encoded

# Those that a bundle may name, with references of PyTorch for each; `greedy` is there to compare with.
DECODINGS: tuple[Decoding, ...] = ("published", "probable")

# An output above one half is the most probable one; the rest of a thousandth is for rounding.
CERTAIN_LOG_PROB = math.log(0.5) + 1e-3


@dataclass(frozen=True, slots=True)
class BeamSearch:
    """A beam search.

    Attributes:
        beams: number of beams, and of hypotheses returned; 1: greedy.
        length_penalty: hypotheses are ranked by log-probability / length ** length_penalty.
        max_new_tokens: longest output, ``</s>`` included.
    """

    beams: int = 5
    length_penalty: float = 1.0
    max_new_tokens: int = 128


SEARCHES: dict[Decoding, BeamSearch] = {
    # The model card: five beams, early stopping, scores normalised by length.
    "published": BeamSearch(length_penalty=1.0),
    # Ranked by the plain log-probability, the search goes on until the first beam has finished, so that the best
    # hypothesis is the most probable output that the beams can find; early stopping does not promise that.
    "probable": BeamSearch(length_penalty=0.0),
    # The most probable token each time: one hypothesis, and no runners-up.
    "greedy": BeamSearch(beams=1, length_penalty=0.0),
}


class Searcher(Protocol):
    """Whatever runs beam searches: the part of a generator that `certain_first` needs."""

    def generate(self, prompts: Sequence[Encoded], search: BeamSearch) -> list[list[Hypothesis]]:
        """Return `search.beams` hypotheses of each prompt, best first; fewer where there are no more."""
        ...


def certain_first(generator: Searcher, prompts: Sequence[Encoded], search: BeamSearch) -> list[list[Hypothesis]]:
    """Return the most probable output of each prompt alone: greedily where that is certain, else by the beams.

    An output whose probability exceeds one half is the most probable one, since all others share what is left. It is
    also what beams would have found: each of its prefixes has a probability above one half, which no other prefix of
    that length can have, so greedy search takes it token by token and no beam search drops it. That holds for a
    search by plain log-probability (a `length_penalty` of 0), and for no other.

    Raises:
        ValueError: where the search ranks by anything else.
    """
    if search.length_penalty != 0.0:
        raise ValueError(f"got length_penalty {search.length_penalty}; only with 0 is a probable output the best one")
    with part_of_call(0.5):
        found = [hypotheses[:1] for hypotheses in generator.generate(prompts, replace(search, beams=1))]
    unsure = [row for row, (best, *_) in enumerate(found) if not is_certain(best)]
    with part_of_call(0.5):
        beams = generator.generate([prompts[row] for row in unsure], search)
    for row, hypotheses in zip(unsure, beams, strict=True):
        found[row] = hypotheses[:1]
    return found


def is_certain(hypothesis: Hypothesis) -> bool:
    """Tell whether no other output can be more probable than this one."""
    return hypothesis.finished and hypothesis.log_prob > CERTAIN_LOG_PROB
