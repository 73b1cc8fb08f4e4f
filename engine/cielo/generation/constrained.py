"""Constrained search: the most probable descriptions of a knowledge base, with proof that no other is more probable."""

from __future__ import annotations

from dataclasses import dataclass

from cielo.records import Proof


@dataclass(frozen=True, slots=True)
class ConstrainedSearch:
    """A search among the rows of a trie.

    Attributes:
        best: how many descriptions are to be proven the most probable ones.
        max_passes: of the decoder, for one prompt; where they do not suffice, the proof says what is open.
        max_new_tokens: longest output of the search without a knowledge base, ``</s>`` included.
    """

    best: int = 2
    max_passes: int = 64
    max_new_tokens: int = 128


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
