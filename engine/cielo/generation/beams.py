"""Beam search and greedy search, step for step as CTranslate2 runs them (its `src/decoding.cc`, release 4.8).

- Of the candidates of a step, twice as many as beams, the first `beams` count: one that ends becomes a hypothesis, and
  the best candidate that was left over and does not end takes its place.
- A search ends as soon as it has as many hypotheses as beams; without a length penalty it goes on until the first beam
  has ended too, so that the best hypothesis is the most probable one that the beams can find.
- At the longest length whatever is there becomes a hypothesis.

These are also the outcomes of transformers' `generate`: `cielo.parity` compares them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from cielo.generation.onnx_model import Integers, OnnxModel, select
from cielo.generation.searches import BeamSearch


@dataclass(frozen=True, slots=True)
class Output:
    """An output: ids of the tokenizer, ``</s>`` included where it ended, and its log-probability."""

    tokens: list[int]
    log_prob: float

    def score(self, search: BeamSearch) -> float:
        """Return what the search ranks it by."""
        length: float = max(1, len(self.tokens)) ** search.length_penalty
        return self.log_prob / length


@dataclass(slots=True)
class _Row:
    """The search for one prompt.

    Attributes:
        tokens: of each beam so far, ids of the tokenizer.
        scores: log-probabilities of the beams, float32 [beams]; of one beam before the first step.
        first_ended: whether the first beam has ended.
    """

    tokens: list[list[int]]
    scores: NDArray[np.float32]
    ended: list[Output] = field(default_factory=list)
    first_ended: bool = False

    def take(self, log_probs: NDArray[np.float32], model: OnnxModel, search: BeamSearch) -> NDArray[np.int64] | None:
        """Take the log-probabilities of the next tokens, float32 [beams, outputs], and choose the beams to go on with.

        Returns:
            Of each new beam the old one that it continues; None where the search is over.
        """
        beams, outputs = search.beams, log_probs.shape[1]
        totals = (log_probs + self.scores[:, None]).ravel()
        best = _largest(totals, 2 * beams)
        places, columns = np.divmod(best, outputs)
        tokens = model.output_ids[columns]
        ends = tokens == model.settings.end_token
        last = len(self.tokens[0]) + 1 == search.max_new_tokens
        spare = [at for at in range(beams, len(best)) if not ends[at]]
        chosen = []
        for at in range(min(beams, len(best))):
            if ends[at] or last:
                self.first_ended |= at == 0
                output = [*self.tokens[places[at]], int(tokens[at])]
                self.ended.append(Output(output, float(totals[best[at]])))
                chosen.append(spare.pop(0) if spare else at)
            else:
                chosen.append(at)
        if last or self._is_over(search):
            return None
        self.tokens = [[*self.tokens[places[at]], int(tokens[at])] for at in chosen]
        self.scores = totals[best[chosen]]
        return places[chosen]

    def _is_over(self, search: BeamSearch) -> bool:
        enough = len(self.ended) >= search.beams
        return enough and (self.first_ended or search.length_penalty != 0.0)

    def outputs(self, search: BeamSearch) -> list[Output]:
        """Return the best hypotheses, at most as many as beams, best first."""
        return sorted(self.ended, key=lambda output: -output.score(search))[: search.beams]


def search_beams(model: OnnxModel, prompts: Sequence[Sequence[int]], search: BeamSearch) -> list[list[Output]]:
    """Return the outputs of each prompt, best first: `search.beams` of them, or as many as there are."""
    source = model.encode(prompts)
    rows = [_Row([[]], np.zeros(1, dtype=np.float32)) for _ in prompts]
    at_work = list(range(len(rows)))
    past = model.empty(len(rows))
    tokens = np.full((len(rows), 1), model.settings.start_token, dtype=np.int64)
    continued: Integers = np.arange(len(rows))
    known = 0
    while at_work:
        log_probs, past = model.advance(source, past, tokens, continued, known=known)
        known += 1
        going, continued = _take_all([rows[row] for row in at_work], log_probs, model, search)
        if len(going) < len(at_work):
            at_work = [at_work[place] for place in going]
            source = select(source, np.array(going)) if going else source
        tokens = np.array([beam[-1:] for row in at_work for beam in rows[row].tokens], dtype=np.int64)
    return [row.outputs(search) for row in rows]


def _take_all(
    rows: list[_Row], log_probs: NDArray[np.float32], model: OnnxModel, search: BeamSearch
) -> tuple[list[int], Integers]:
    """Return which rows go on, and of each of their beams the row of the past that it continues."""
    beams = len(log_probs) // len(rows)
    going, continued = [], []
    for place, row in enumerate(rows):
        chosen = row.take(log_probs[place * beams : (place + 1) * beams], model, search)
        if chosen is not None:
            going.append(place)
            continued.append(chosen + place * beams)
    return going, np.concatenate(continued) if continued else np.zeros(0, dtype=np.int64)


def _largest(values: NDArray[np.float32], count: int) -> NDArray[np.int64]:
    """Return the places of the largest values, largest first; of equal ones the first comes first."""
    if count >= len(values):
        return np.argsort(-values, kind="stable")
    least = np.partition(values, len(values) - count)[len(values) - count]
    above = np.flatnonzero(values > least)
    equal = np.flatnonzero(values == least)[: count - len(above)]
    found = np.sort(np.concatenate((above, equal)))
    return found[np.argsort(-values[found], kind="stable")]
