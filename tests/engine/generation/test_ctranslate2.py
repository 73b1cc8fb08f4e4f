"""Batches, memory, and the search that stops where the answer is certain."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from cielo.generation.ctranslate2 import (
    CERTAIN_LOG_PROB,
    SEARCHES,
    CTranslate2Generator,
    Search,
    Shape,
    certain_first,
    is_certain,
    make_batches,
)
from cielo.records import Hypothesis
from cielo.text.tokenizer import Encoded, Tokenizer
from cielo_convert.checkpoint import load_tokenizer
from cielo_convert.generator import convert_generator, output_ids
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.checkpoints import make_generator_checkpoint

lengths = st.lists(st.integers(0, 700), max_size=80)
budgets = st.integers(1, 3000)
PROBABLE = SEARCHES["probable"]
END = "."


class TestBatches:
    @given(lengths, budgets, st.integers(1, 5))
    def test_every_row_is_in_one_batch_and_within_the_budget(self, rows: list[int], budget: int, parts: int) -> None:
        batches = make_batches(rows, budget, parts)
        assert sorted(row for batch in batches for row in batch) == list(range(len(rows)))
        for batch in batches:
            assert len(batch) == 1 or len(batch) * max(rows[row] for row in batch) <= budget

    @given(lengths, budgets)
    def test_lengths_fall_from_batch_to_batch(self, rows: list[int], budget: int) -> None:
        flat = [rows[row] for batch in make_batches(rows, budget, 2) for row in batch]
        assert flat == sorted(rows, reverse=True)

    @given(lengths, st.integers(1, 700), st.integers(1, 4))
    def test_the_most_rows_hold(self, rows: list[int], budget: int, most: int) -> None:
        assert all(len(batch) <= most for batch in make_batches(rows, budget, 1, lambda longest: most))

    @given(lengths)
    def test_a_limit_below_one_row_still_gives_every_row_a_batch(self, rows: list[int]) -> None:
        assert [len(batch) for batch in make_batches(rows, 10_000, 1, lambda longest: 0)] == [1] * len(rows)

    @pytest.mark.parametrize("parts", [2, 3, 4])
    def test_every_replica_gets_a_like_share(self, parts: int) -> None:
        batches = make_batches([50] * 48, 2048, parts)
        assert len(batches) % parts == 0
        assert {len(batch) for batch in batches} == {48 // len(batches)}

    def test_sorting_saves_padding(self) -> None:
        rows = [20, 200] * 32
        padded = sum(len(batch) * max(rows[row] for row in batch) for batch in make_batches(rows, 2048))
        assert padded < 1.25 * sum(rows)  # in the order they came in it is 1.8


class TestShape:
    def test_the_published_shape_by_hand(self) -> None:
        shape = Shape(decoder_layers=24, width=1024, inner=2816, outputs=16_000)
        search = Search(beams=5, max_new_tokens=128)
        cached = 2 * 24 * 1024 * (85 + 5 * 128)
        assert shape.row_bytes(85, search) == 4 * (cached + 85 * (4 * 1024 + 3 * 2816) + 3 * 5 * 16_000)

    @given(st.integers(1, 512), st.integers(1, 512))
    def test_longer_needs_more(self, one: int, other: int) -> None:
        shape = Shape(2, 64, 128, 100)
        assert (shape.row_bytes(one, PROBABLE) < shape.row_bytes(other, PROBABLE)) == (one < other)


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

    def generate(self, prompts: Sequence[Encoded], search: Search) -> list[list[Hypothesis]]:
        self.calls += 1
        found = [self.greedy()] if search.beams == 1 else self.every_output()[: search.beams]
        return [[Hypothesis(text, log_prob, log_prob, len(text)) for log_prob, text in found] for _ in prompts]

    def log_probs(self, prompts: Sequence[Encoded], targets: Sequence[Sequence[int]]) -> list[NDArray[np.float32]]:
        raise NotImplementedError

    def limit_memory(self, working_bytes: int, shape: Shape) -> None:
        raise NotImplementedError

    def close(self) -> None:
        raise NotImplementedError


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


TEXTS = ["asma", "tos"]
LONGEST = 4


@pytest.fixture(scope="module")
def decided(tmp_path_factory: pytest.TempPathFactory) -> tuple[CTranslate2Generator, list[Encoded], list[int]]:
    """A real model whose outputs are made of a handful of tokens, and sharp enough to be certain now and then."""
    directory = tmp_path_factory.mktemp("tiny")
    checkpoint = make_generator_checkpoint(directory / "checkpoint")
    convert_generator(checkpoint, directory / "model", "float32", TEXTS)
    tokenizer = Tokenizer(directory / "model" / "tokenizer.json", 64)
    kept = output_ids(load_tokenizer(checkpoint), TEXTS)
    generator = CTranslate2Generator(directory / "model", tokenizer, replicas=2, batch_tokens=64)
    prompts = tokenizer.encode([f"mención número {number} de una frase" for number in range(30)])
    return generator, prompts, [token for token in kept if token != 1]


def test_exhaustive_search_on_a_tiny_vocabulary_agrees(
    decided: tuple[CTranslate2Generator, list[Encoded], list[int]],
) -> None:
    generator, prompts, tokens = decided
    search = Search(length_penalty=0.0, max_new_tokens=LONGEST)
    found = certain_first(generator, prompts, search)
    beams = generator.generate(prompts, search)
    outputs = [list(ids) for length in range(LONGEST) for ids in itertools.product(tokens, repeat=length)]
    certain = 0
    for prompt, (best,), listed in zip(prompts, found, beams, strict=True):
        if not is_certain(best):
            continue
        certain += 1
        scores = generator.log_probs([prompt] * len(outputs), outputs)
        assert best.log_prob == pytest.approx(max(float(np.sum(row)) for row in scores), abs=1e-4)
        assert listed[0].text == best.text
    assert certain, "no prompt is certain: the test shows nothing"


def test_batches_change_no_answer(decided: tuple[CTranslate2Generator, list[Encoded], list[int]]) -> None:
    generator, prompts, _ = decided
    search = Search(length_penalty=0.0, max_new_tokens=LONGEST)
    together = generator.generate(prompts, search)
    alone = [generator.generate([prompt], search)[0] for prompt in prompts]
    for one, other in zip(together, alone, strict=True):
        assert one[0].log_prob == pytest.approx(other[0].log_prob, abs=1e-4)


def test_a_limit_of_memory_changes_no_answer(
    decided: tuple[CTranslate2Generator, list[Encoded], list[int]], tmp_path: Path
) -> None:
    generator, prompts, _ = decided
    search = Search(length_penalty=0.0, max_new_tokens=LONGEST)
    free = generator.generate(prompts, search)
    generator.limit_memory(1, Shape(2, 64, 128, 10))  # so little that every prompt is decoded alone
    try:
        limited = generator.generate(prompts, search)
    finally:
        generator.limit_memory(10**9, Shape(2, 64, 128, 10))
    for one, other in zip(free, limited, strict=True):
        assert one[0].log_prob == pytest.approx(other[0].log_prob, abs=1e-4)
