"""Constrained search: the most probable descriptions of a knowledge base, with proof that no other is more probable.

The descriptions are the rows of a trie. The log-probability of a prefix, among all outputs and not renormalised over
the tokens that the trie allows, bounds that of every row below it, since it only falls along a path. So the search is
best-first over prefixes (A* without a heuristic; Hart, Nilsson and Raphael 1968): it is over when no open prefix is
more probable than the worst of the rows that are wanted, and then the answer is exact. No child of a prefix is
dropped; the siblings of an expanded one stay open as one entry, sorted.

Until a first row is found, each pass also expands the best child of the last prefix: so an answer stands after the
passes that greedy search would take. Tokens that the trie forces are run in one pass with the next choice, and scored.
Beside it goes greedy search without a knowledge base, which tells a mention that is in none of the descriptions: where
its path is the trie's, it costs nothing; elsewhere a token in each pass, until it falls behind the best row.

This module knows no library: `Expansion` is what a backend is to run, and `Expansion.tokens` may be several.
"""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cielo.generation.trie import Trie
from cielo.records import Proof

ROOT = -1  # the parent of the first token


@dataclass(frozen=True, slots=True)
class ConstrainedSearch:
    """A search among the rows of a trie.

    Attributes:
        best: how many descriptions are to be proven the most probable ones.
        max_passes: of the decoder, for one prompt; where they do not suffice, the proof says what is open.
        max_tokens: that are run for one prompt, whose keys and values are all kept; likewise.
        max_new_tokens: longest output of the search without a knowledge base, ``</s>`` included.
        lead: nats behind the best one from which on runners-up are not looked for.
        at_once: prefixes that are expanded in one pass.
    """

    best: int = 2
    max_passes: int = 64
    max_tokens: int = 512
    max_new_tokens: int = 128
    lead: float = 10.0
    at_once: int = 2


@dataclass(frozen=True, slots=True)
class Leaf:
    """A token sequence of the trie: its rows, `first` up to, not with, `last`, which are equal.

    Attributes:
        log_prob: natural logarithm of its probability, ``</s>`` included, among all outputs.
        length: its tokens, ``</s>`` included.
    """

    first: int
    last: int
    log_prob: float
    length: int


@dataclass(frozen=True, slots=True)
class Found:
    """The answer of a constrained search: every leaf that was found, the most probable first, and the proof.

    Where the trie has no rows there are no leaves.
    """

    leaves: tuple[Leaf, ...]
    proof: Proof


@dataclass(frozen=True, slots=True)
class Tokens:
    """What the search knows of the model's tokens.

    Attributes:
        start: the decoder's first.
        end: ``</s>``.
        columns: the column of each id among the outputs, int64 [vocabulary]; -1 where it is none of them.
        ids: the id of each column.
    """

    start: int
    end: int
    columns: NDArray[np.int64]
    ids: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Expansion:
    """Tokens to be run, one after the other, after the token at the place `parent`.

    Attributes:
        parent: a place that `TrieSearch.take` was told, or `ROOT`.
        tokens: ids, one at least.
        prefix: what they belong to; None: the search without a knowledge base.
        dives: whether the search goes on with the best child until a row is found.
    """

    parent: int
    tokens: list[int]
    prefix: _Prefix | None
    dives: bool = False


@dataclass(frozen=True, slots=True)
class _Prefix:
    """A prefix of the rows `first` to `last` - 1, of `depth` tokens, that is yet to be run.

    Attributes:
        log_prob: of it without the `forced` tokens, which the passes score.
        ended: whether it is a whole row.
    """

    first: int
    last: int
    depth: int
    log_prob: float
    forced: list[int]
    ended: bool


@dataclass(slots=True)
class _Siblings:
    """The children of an expanded prefix, most probable first; those from `next` on are open.

    Attributes:
        place: of the prefix's last token.
        depth: of the children: tokens before theirs.
    """

    place: int
    depth: int
    log_probs: NDArray[np.float64]
    tokens: NDArray[np.int32]
    first: NDArray[np.int64]
    last: NDArray[np.int64]
    next: int = 0

    @property
    def bound(self) -> float:
        """What no open row below can exceed."""
        return float(self.log_probs[self.next]) if self.next < len(self.log_probs) else -math.inf


class TrieSearch:
    """The search for one prompt. Ask `propose` what is to be run, and give `take` what came of it, until it is over."""

    def __init__(self, trie: Trie, tokens: Tokens, search: ConstrainedSearch) -> None:
        """Begin at the root of a trie."""
        self._trie = trie
        self._tokens = tokens
        self._search = search
        self._open: list[tuple[float, int, _Siblings]] = []
        self._count = itertools.count()
        self._leaves: list[Leaf] = []
        self._dive: _Siblings | None = None
        self._free = _FreeSearch(tokens.end, search.max_new_tokens)
        self._passes = self._ran = 0
        self._begun = False

    def propose(self) -> list[Expansion]:
        """Return what is to be run next; nothing: the search is over."""
        if not self._begun:
            self._begun = True
            return [self._root()] if len(self._trie) else []
        spent = self._passes >= self._search.max_passes or self._ran >= self._search.max_tokens
        if spent and (self._leaves or not self._open):
            return []
        chosen = self._chosen()
        free = self._free.wanted(self._best())
        if free is not None and not any(
            one.parent == free.parent and one.tokens[0] == free.tokens[0] for one in chosen
        ):
            chosen.append(free)
        return chosen

    def _root(self) -> Expansion:
        run = self._trie.run(0, len(self._trie), 0)
        ended = run[-1:] == [self._tokens.end]
        prefix = _Prefix(0, len(self._trie), len(run), 0.0, run, ended)
        return Expansion(ROOT, [self._tokens.start, *(run[:-1] if ended else run)], prefix, dives=True)

    def _chosen(self) -> list[Expansion]:
        """Take the open prefixes that are expanded next: the one that leads to a first row, and the most probable."""
        chosen = []
        if not self._leaves and self._dive is not None and self._dive.bound > -math.inf:
            chosen.append(self._expansion(self._dive, dives=True))
        while len(chosen) < self._search.at_once and self._top() > self._threshold():
            _, _, siblings = heapq.heappop(self._open)
            chosen.append(self._expansion(siblings))
        return chosen

    def _expansion(self, siblings: _Siblings, *, dives: bool = False) -> Expansion:
        """Take the most probable open child, and leave the others open."""
        at = siblings.next
        siblings.next += 1
        self._push(siblings)
        first, last = int(siblings.first[at]), int(siblings.last[at])
        forced = self._trie.run(first, last, siblings.depth + 1)
        ended = forced[-1:] == [self._tokens.end]
        depth = siblings.depth + 1 + len(forced)
        prefix = _Prefix(first, last, depth, float(siblings.log_probs[at]), forced, ended)
        run = [int(siblings.tokens[at]), *(forced[:-1] if ended else forced)]
        return Expansion(siblings.place, run, prefix, dives)

    def _push(self, siblings: _Siblings) -> None:
        if siblings.bound > -math.inf:
            heapq.heappush(self._open, (-siblings.bound, next(self._count), siblings))

    def _top(self) -> float:
        """Return what no open prefix exceeds."""
        # Where the dive took a child, the entry of before is still there.
        while self._open and -self._open[0][0] != self._open[0][2].bound:
            heapq.heappop(self._open)
        return -self._open[0][0] if self._open else -math.inf

    def _best(self) -> float:
        return max((leaf.log_prob for leaf in self._leaves), default=-math.inf)

    def _threshold(self) -> float:
        """Return the log-probability up to which no row is looked for."""
        best = self._search.best
        ranked = sorted((leaf.log_prob for leaf in self._leaves), reverse=True)
        worst = ranked[best - 1] if len(ranked) >= best else -math.inf
        return max(worst, self._best() - self._search.lead)

    def take(self, run: Sequence[Expansion], places: Sequence[range], log_probs: Sequence[NDArray[np.float32]]) -> None:
        """Take what a pass gave.

        Args:
            run: what was proposed.
            places: where the tokens of each are now, for expansions to come.
            log_probs: after each token of each, float32 [tokens, outputs].
        """
        self._passes += 1
        self._ran += sum(len(expansion.tokens) for expansion in run)
        for expansion, where, found in zip(run, places, log_probs, strict=True):
            self._free.learn(expansion, where, found, self._tokens.ids)
            if expansion.prefix is not None:
                self._expand(expansion, expansion.prefix, where[-1], found)

    def _expand(self, expansion: Expansion, prefix: _Prefix, place: int, log_probs: NDArray[np.float32]) -> None:
        total = prefix.log_prob
        if prefix.forced:
            columns = self._tokens.columns[prefix.forced]
            scored = log_probs[np.arange(len(columns)), columns].astype(np.float64)
            total += float(np.sum(np.where(columns < 0, -math.inf, scored)))
        if prefix.ended:
            self._leaf(prefix.first, prefix.last, total, prefix.depth)
            return
        children = self._trie.children(prefix.first, prefix.last, prefix.depth)
        columns = self._tokens.columns[children.tokens]
        totals = np.where(columns < 0, -math.inf, total + log_probs[-1, columns].astype(np.float64))
        order = np.argsort(-totals, kind="stable")
        tokens = children.tokens[order]
        ends = tokens == self._tokens.end
        for at in order[ends]:
            self._leaf(int(children.first[at]), int(children.last[at]), float(totals[at]), prefix.depth + 1)
        order = order[~ends]
        siblings = _Siblings(
            place, prefix.depth, totals[order], tokens[~ends], children.first[order], children.last[order]
        )
        self._push(siblings)
        if expansion.dives:
            self._dive = siblings

    def _leaf(self, first: int, last: int, log_prob: float, length: int) -> None:
        if log_prob > -math.inf:
            self._leaves.append(Leaf(first, last, log_prob, length))

    def found(self) -> Found:
        """Return the answer, once nothing more is proposed."""
        leaves = sorted(self._leaves, key=lambda leaf: (-leaf.log_prob, leaf.first))
        wanted = leaves[: self._search.best]
        left = self._top()
        exact = left <= self._threshold()
        proof = Proof(
            exact=exact,
            gap=0.0 if exact or not wanted else max(0.0, left - wanted[-1].log_prob),
            passes=self._passes,
            mass=min(1.0, math.fsum(math.exp(leaf.log_prob) for leaf in leaves)),
            free_log_prob=max(self._free.log_prob, self._best(), _LEAST),
        )
        return Found(tuple(leaves), proof)


_LEAST = -1e9  # of a log-probability that is reported


class _FreeSearch:
    """Greedy search without a knowledge base, over what the other search runs, and tokens of its own.

    Attributes:
        log_prob: of its output, once that is whole; minus infinity before, or where it fell behind.
    """

    def __init__(self, end: int, max_new_tokens: int) -> None:
        self.log_prob = -math.inf
        self._end = end
        self._most = max_new_tokens
        self._likeliest: dict[int, tuple[int, float]] = {}
        self._children: dict[tuple[int, int], int] = {}
        self._place: int | None = None
        self._so_far = 0.0
        self._length = 0
        self._over = False

    def learn(
        self, expansion: Expansion, places: range, log_probs: NDArray[np.float32], ids: NDArray[np.int64]
    ) -> None:
        """Note the most probable token after each token that was run."""
        parent = expansion.parent
        for at, (place, token) in enumerate(zip(places, expansion.tokens, strict=True)):
            column = int(log_probs[at].argmax())
            self._likeliest[place] = int(ids[column]), float(log_probs[at, column])
            self._children[parent, token] = place
            parent = place
        if self._place is None:
            self._place = places[0]

    def wanted(self, best: float) -> Expansion | None:
        """Return the token that is to be run next; None where that is over, or behind `best`."""
        while not self._over and self._place is not None:
            token, log_prob = self._likeliest[self._place]
            if self._so_far + log_prob <= best:
                self._over = True
            elif token == self._end:
                self.log_prob, self._over = self._so_far + log_prob, True
            elif self._length + 1 >= self._most:
                self._over = True
            elif (self._place, token) not in self._children:
                return Expansion(self._place, [token], None)
            else:
                self._so_far, self._length = self._so_far + log_prob, self._length + 1
                self._place = self._children[self._place, token]
        return None
