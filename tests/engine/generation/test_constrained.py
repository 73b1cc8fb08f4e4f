"""Constrained search against the scores of every row: models made of dice, tries of all shapes."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from cielo.generation.constrained import ROOT, ConstrainedSearch, Found, Tokens, TrieSearch
from cielo.generation.trie import Trie
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

END, START, VOCABULARY = 1, 99, 7
TOKENS = Tokens(START, END, np.arange(VOCABULARY), np.arange(VOCABULARY))
EVERYTHING = ConstrainedSearch(best=3, lead=math.inf, max_passes=10_000, max_tokens=10**9)
SEQUENCES = st.lists(st.lists(st.integers(2, VOCABULARY - 1), max_size=6), min_size=1, max_size=30)


class Dice:
    """A model whose next token hangs on all tokens before, by dice; the sharper, the surer."""

    def __init__(self, seed: int, sharpness: float) -> None:
        @cache
        def log_probs(prefix: tuple[int, ...]) -> NDArray[np.float32]:
            logits = np.random.default_rng([seed, len(prefix), *prefix]).normal(size=VOCABULARY) * sharpness
            return np.asarray(logits - np.logaddexp.reduce(logits), dtype=np.float32)

        self.log_probs = log_probs

    def score(self, sequence: list[int]) -> float:
        whole = [*sequence, END]
        return sum(float(self.log_probs(tuple(whole[:at]))[token]) for at, token in enumerate(whole))

    def greedy(self, most: int) -> float | None:
        """Return the log-probability of the greedy output; None where it does not end within so many tokens."""
        prefix: tuple[int, ...] = ()
        total = 0.0
        while len(prefix) < most:
            found = self.log_probs(prefix)
            token = int(found.argmax())
            total += float(found[token])
            if token == END:
                return total
            prefix = (*prefix, token)
        return None


def run(trie: Trie, model: Dice, search: ConstrainedSearch, tokens: Tokens = TOKENS) -> Found:
    """Run a search as a backend does, every token at a place of its own."""
    one, prefixes, place = TrieSearch(trie, tokens, search), {ROOT: ()}, 0
    while asked := one.propose():
        assert len(asked) <= search.at_once + 1
        places, found = [], []
        for expansion in asked:
            assert expansion.tokens
            prefix: tuple[int, ...] = prefixes[expansion.parent]
            begin, rows = place, []
            for token in expansion.tokens:
                prefix = () if token == START else (*prefix, token)
                prefixes[place] = prefix
                rows.append(model.log_probs(prefix))
                place += 1
            places.append(range(begin, place))
            found.append(np.array(rows))
        one.take(asked, places, found)
    return one.found()


def exhaustive(sequences: list[list[int]], model: Dice) -> list[tuple[float, list[int]]]:
    distinct = [list(row) for row in sorted({tuple(sequence) for sequence in sequences})]
    return sorted(((model.score(sequence), sequence) for sequence in distinct), reverse=True)


def sequence_of(trie: Trie, row: int) -> list[int]:
    return [int(token) for token in trie.sequence(row)[:-1]]


@settings(max_examples=2000, deadline=None)
@given(
    sequences=SEQUENCES,
    seed=st.integers(0, 10_000),
    sharpness=st.sampled_from([0.0, 0.3, 1.0, 3.0, 10.0]),
    best=st.integers(1, 5),
    at_once=st.integers(1, 4),
)
def test_the_best_rows_are_those_of_exhaustive_scoring(
    sequences: list[list[int]], seed: int, sharpness: float, best: int, at_once: int
) -> None:
    trie, _ = Trie.build(sequences, END)
    model = Dice(seed, sharpness)
    found = run(trie, model, replace(EVERYTHING, best=best, at_once=at_once))
    wanted = exhaustive(sequences, model)
    assert found.proof.exact
    assert found.proof.gap == 0.0
    scores = [leaf.log_prob for leaf in found.leaves[:best]]
    assert scores == pytest.approx([score for score, _ in wanted[:best]], abs=1e-5)
    for leaf in found.leaves:
        sequence = sequence_of(trie, leaf.first)
        assert leaf.length == len(sequence) + 1
        assert leaf.log_prob == pytest.approx(model.score(sequence), abs=1e-5)
        assert [sequence_of(trie, row) for row in range(leaf.first, leaf.last)] == [sequence] * sequences.count(
            sequence
        )
    assert len({leaf.first for leaf in found.leaves}) == len(found.leaves)
    assert found.proof.mass == pytest.approx(sum(math.exp(leaf.log_prob) for leaf in found.leaves), abs=1e-6)


@settings(max_examples=300, deadline=None)
@given(sequences=SEQUENCES, seed=st.integers(0, 10_000), passes=st.integers(1, 6), best=st.integers(1, 3))
def test_a_limit_of_passes_is_never_called_a_proof(
    sequences: list[list[int]], seed: int, passes: int, best: int
) -> None:
    trie, _ = Trie.build(sequences, END)
    model = Dice(seed, 0.5)
    found = run(trie, model, replace(EVERYTHING, best=best, max_passes=passes))
    wanted = exhaustive(sequences, model)
    assert found.leaves, "there is always an answer"
    assert found.proof.passes <= max(passes, max(map(len, sequences)) + 1)
    asked = min(best, len(wanted))
    exact = [leaf.log_prob for leaf in found.leaves[:asked]]
    right = len(exact) == asked and exact == pytest.approx([score for score, _ in wanted[:asked]], abs=1e-5)
    assert right or not found.proof.exact
    missed = wanted[len(exact) - 1][0] if exact else -math.inf
    assert missed <= exact[-1] + found.proof.gap + 1e-5


@settings(max_examples=300, deadline=None)
@given(sequences=SEQUENCES, seed=st.integers(0, 10_000), sharpness=st.sampled_from([0.3, 1.0, 4.0]))
def test_the_free_output_is_the_greedy_one_or_the_best_description(
    sequences: list[list[int]], seed: int, sharpness: float
) -> None:
    trie, _ = Trie.build(sequences, END)
    model = Dice(seed, sharpness)
    found = run(trie, model, replace(EVERYTHING, max_new_tokens=12))
    greedy = model.greedy(12)
    best = found.leaves[0].log_prob
    assert found.proof.free_log_prob == pytest.approx(best if greedy is None else max(best, greedy), abs=1e-5)


@settings(max_examples=300, deadline=None)
@given(sequences=SEQUENCES, seed=st.integers(0, 10_000), kept=st.lists(st.booleans(), min_size=30, max_size=30))
def test_a_restriction_finds_the_best_of_what_is_left(sequences: list[list[int]], seed: int, kept: list[bool]) -> None:
    trie, order = Trie.build(sequences, END)
    mask = np.array(kept)[order]
    model = Dice(seed, 1.0)
    restricted = trie.restricted(mask)
    found = run(restricted, model, EVERYTHING)
    left = [sequence for sequence, stays in zip(sequences, kept, strict=False) if stays]
    wanted = exhaustive(left, model)[:3]
    assert [leaf.log_prob for leaf in found.leaves[:3]] == pytest.approx([score for score, _ in wanted], abs=1e-5)
    numbers = [restricted.numbers[row] for leaf in found.leaves for row in range(leaf.first, leaf.last)]
    assert all(mask[number] for number in numbers)


def test_an_empty_trie_has_no_answer_and_costs_no_pass() -> None:
    trie, _ = Trie.build([[3]], END)
    found = run(trie.restricted(np.zeros(1, dtype=bool)), Dice(0, 1.0), EVERYTHING)
    assert found.leaves == ()
    assert found.proof.passes == 0
    assert found.proof.exact
    assert found.proof.mass == 0.0


def test_a_row_that_cannot_be_written_is_never_answered() -> None:
    columns = TOKENS.columns.copy()
    columns[6] = -1
    sequences = [[2, 6], [6], [2, 3], [4, 6, 5]]
    trie, _ = Trie.build(sequences, END)
    model = Dice(3, 1.0)
    found = run(trie, model, EVERYTHING, replace(TOKENS, columns=columns))
    assert [sequence_of(trie, leaf.first) for leaf in found.leaves] == [[2, 3]]
    assert found.proof.exact


def test_runners_up_far_behind_are_not_looked_for() -> None:
    sequences = [[token, other] for token in range(2, 7) for other in range(2, 7)]
    trie, _ = Trie.build(sequences, END)
    model = Dice(1, 12.0)
    wanted = exhaustive(sequences, model)
    assert wanted[0][0] - wanted[1][0] > 1.0, "the rows are too near to each other to show it"
    near = run(trie, model, replace(EVERYTHING, best=2, lead=1.0, at_once=1))
    far = run(trie, model, replace(EVERYTHING, best=2, at_once=1))
    assert near.proof.passes < far.proof.passes
    assert near.proof.exact
    assert far.proof.exact


def test_tokens_have_a_limit_as_passes_have() -> None:
    sequences = [[token, other, 2, 3] for token in range(2, 7) for other in range(2, 7)]
    trie, _ = Trie.build(sequences, END)
    found = run(trie, Dice(1, 0.1), replace(EVERYTHING, best=5, max_tokens=9))
    assert found.leaves
    assert not found.proof.exact
    assert found.proof.gap > 0


def test_forced_tokens_cost_no_pass_of_their_own() -> None:
    trie, _ = Trie.build([[2, 3, 4, 5, 6], [3, 2, 2, 2]], END)
    found = run(trie, Dice(5, 1.0), replace(EVERYTHING, best=2, at_once=2, max_new_tokens=1))
    assert found.proof.passes == 2  # the start, and both rows whole


class TestTrie:
    @given(SEQUENCES)
    def test_rows_are_sorted_and_the_given_ones(self, sequences: list[list[int]]) -> None:
        trie, order = Trie.build(sequences, END)
        rows = [sequence_of(trie, row) for row in range(len(trie))]
        assert [[*row, END] for row in rows] == sorted([*row, END] for row in sequences)
        assert rows == [sequences[number] for number in order]

    @given(SEQUENCES)
    def test_children_and_runs_are_those_of_the_rows(self, sequences: list[list[int]]) -> None:
        trie, _ = Trie.build(sequences, END)

        def visit(first: int, last: int, depth: int) -> None:
            rows = [trie.sequence(row).tolist() for row in range(first, last)]
            shared = trie.run(first, last, depth)
            assert all(row[depth : depth + len(shared)] == shared for row in rows)
            if shared[-1:] == [END]:
                assert all(row == rows[0] for row in rows)
                return
            depth += len(shared)
            children = trie.children(first, last, depth)
            assert len(children.tokens) > 1
            assert children.tokens.tolist() == sorted({row[depth] for row in rows})
            assert [*children.first, last] == [first, *children.last]
            for token, begin, end in zip(children.tokens, children.first, children.last, strict=True):
                assert {row[depth] for row in rows[begin - first : end - first]} == {token}
                if token != END:
                    visit(int(begin), int(end), depth + 1)

        visit(0, len(trie), 0)

    def test_a_restriction_keeps_the_numbers_of_the_rows(self) -> None:
        trie, _ = Trie.build([[4], [2], [3]], END)
        kept = trie.restricted(np.array([True, False, True])).restricted(np.array([False, True]))
        assert kept.numbers.tolist() == [2]
        assert sequence_of(kept, 0) == [4]
