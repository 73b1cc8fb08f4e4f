"""Searches: the one that stops where the answer is certain."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import pytest
from cielo.generation.searches import CERTAIN_LOG_PROB, SEARCHES, BeamSearch, certain_first, is_certain
from cielo.records import Hypothesis
from cielo.text.tokenizer import Encoded
from hypothesis import given
from hypothesis import strategies as st

PROBABLE = SEARCHES["probable"]
END = "."


@dataclass
class TreeGenerator:
    """A language model over the tokens a, b and the end, given by the probabilities of each prefix."""

    weights: dict[str, tuple[float, float, float]]
    longest: int
    calls: int = 0

    def step(self, prefix: str) -> list[tuple[str, float]]:
        if len(prefix) == self.longest:
            return [(prefix + END, 0.0)]
        weights = self.weights.get(prefix, (1.0, 1.0, 1.0))
        total = sum(weights)
        return [(prefix + token, math.log(weight / total)) for token, weight in zip(f"ab{END}", weights, strict=True)]

    def every_output(self, prefix: str = "", log_prob: float = 0.0) -> list[tuple[float, str]]:
        found = []
        for longer, step in self.step(prefix):
            if longer.endswith(END):
                found.append((log_prob + step, longer))
            else:
                found += self.every_output(longer, log_prob + step)
        return sorted(found, key=lambda entry: (-entry[0], entry[1]))

    def greedy(self) -> tuple[float, str]:
        prefix, log_prob = "", 0.0
        while not prefix.endswith(END):
            prefix, step = max(self.step(prefix), key=lambda entry: entry[1])
            log_prob += step
        return log_prob, prefix

    def generate(self, prompts: Sequence[Encoded], search: BeamSearch) -> list[list[Hypothesis]]:
        self.calls += 1
        found = [self.greedy()] if search.beams == 1 else self.every_output()[: search.beams]
        return [[Hypothesis(text, log_prob, log_prob, len(text)) for log_prob, text in found] for _ in prompts]


probabilities = st.tuples(*[st.floats(0.001, 1.0)] * 3)
prefixes = st.text("ab", max_size=3)
trees = st.builds(TreeGenerator, st.dictionaries(prefixes, probabilities, max_size=15), st.integers(1, 4))
PROMPT = Encoded([1], False)


class TestCertainFirst:
    @given(trees)
    def test_the_answer_is_the_most_probable_of_all_outputs(self, generator: TreeGenerator) -> None:
        ((best,),) = certain_first(generator, [PROMPT], PROBABLE)
        assert best.log_prob == pytest.approx(generator.every_output()[0][0], abs=1e-9)

    @given(trees)
    def test_a_certain_output_has_no_equal(self, generator: TreeGenerator) -> None:
        log_prob, text = generator.greedy()
        if is_certain(Hypothesis(text, log_prob, log_prob, len(text))):
            assert generator.every_output()[0] == (pytest.approx(log_prob), text)
            others = [other for other, found in generator.every_output() if found != text]
            assert all(other < log_prob for other in others)

    @given(trees)
    def test_beams_are_asked_only_where_it_is_not_certain(self, generator: TreeGenerator) -> None:
        certain_first(generator, [PROMPT], PROBABLE)
        beams_asked = generator.greedy()[0] <= CERTAIN_LOG_PROB
        assert generator.calls == 2
        assert beams_asked or generator.every_output()[0][0] == pytest.approx(generator.greedy()[0])

    def test_an_output_that_was_cut_is_never_certain(self) -> None:
        assert not is_certain(Hypothesis("a", -0.1, -0.1, 128, finished=False))
        assert is_certain(Hypothesis("a", -0.1, -0.1, 128, finished=True))

    def test_one_half_is_not_enough(self) -> None:
        assert not is_certain(Hypothesis("a", math.log(0.5), math.log(0.5)))

    def test_scores_divided_by_length_prove_nothing(self) -> None:
        with pytest.raises(ValueError, match="length_penalty"):
            certain_first(TreeGenerator({}, 1), [PROMPT], SEARCHES["published"])
