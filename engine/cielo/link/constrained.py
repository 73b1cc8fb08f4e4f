"""Constrained decoding: the most probable descriptions that a mention may be answered with, and the proof of it."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from dataclasses import replace

from cielo.bundle.calibration import Calibration
from cielo.bundle.stages import Stages
from cielo.bundle.trie import DescriptionTrie
from cielo.errors import BundleError, OptionError
from cielo.generation.constrained import ConstrainedSearch, Leaf
from cielo.generation.trie import Trie
from cielo.knowledge.subsets import Subset
from cielo.link.candidates import LinkRequest
from cielo.link.confidence import LEAST_PROVEN
from cielo.records import Hypothesis, Proof
from cielo.text.tokenizer import Encoded

_TRIES_KEPT = 8  # restricted ones: of 180,000 descriptions each takes 4 MB at most


class ConstrainedDecoder:
    """Searches the descriptions of a bundle's knowledge base. Thread-safe.

    What a call may not answer with is left out before the search, not afterwards: so it is the best description that
    is allowed that is found. Codes are allowed and not descriptions: one that an allowed code shares with others stays.
    """

    def __init__(self, stages: Stages) -> None:
        """Search with opened stages; where they hold no trie, only `require` works."""
        self._stages = stages
        self._restricted = functools.lru_cache(_TRIES_KEPT)(self._restrict)

    def completed(self, request: LinkRequest, calibration: Calibration | None) -> LinkRequest:
        """Return a request that says how many descriptions are proven: two where there is a confidence, else one.

        Raises:
            OptionError: where there is no trie to search in, saying how there will be one.
        """
        self._trie()
        proven = request.options.proven or (1 if calibration is None else LEAST_PROVEN)
        return replace(request, options=replace(request.options, proven=proven))

    def decode(
        self, prompts: Sequence[Encoded], kinds: Sequence[str | None], request: LinkRequest
    ) -> list[tuple[list[Hypothesis], Proof]]:
        """Return for each prompt the descriptions that were found, the most probable first, and the proof.

        Args:
            prompts: with their ``</s>``.
            kinds: of each, that the answer is restricted to; None: any.
            request: with the subset, how many descriptions to prove, and how long to look.

        Raises:
            BundleError: where the trie is of another knowledge base.
        """
        options = request.options
        tries = [self._restricted(kind, options.subset) for kind in kinds]
        search = ConstrainedSearch(best=options.proven or 1, max_passes=options.max_passes)
        found = self._stages.generator.search_tries(prompts, tries, search)
        return [
            ([hypothesis for leaf in answer.leaves for hypothesis in self._hypotheses(leaf, trie)], answer.proof)
            for answer, trie in zip(found, tries, strict=True)
        ]

    def _restrict(self, kind: str | None, subset: Subset | None) -> Trie:
        whole = self._trie()
        if kind is None and subset is None:
            return whole.trie
        return whole.restricted(self._stages.knowledge_base.numbers(kind, subset))

    def _hypotheses(self, leaf: Leaf, trie: Trie) -> Iterator[Hypothesis]:
        """Yield one hypothesis for each description that is written with a leaf's tokens, as the tables order them."""
        for row in trie.numbers[leaf.first : leaf.last].tolist():
            yield Hypothesis(self._text(row), leaf.log_prob, leaf.log_prob, leaf.length)

    def _text(self, row: int) -> str:
        whole = self._trie()
        try:
            text = self._stages.knowledge_base.concept_by_number(whole.number_of(row)).description
        except KeyError:
            raise BundleError("the trie names a description that is not there; build the bundle again") from None
        whole.check(row, text, self._stages.tokenizer)
        return text

    def _trie(self) -> DescriptionTrie:
        if self._stages.trie is None:
            raise OptionError(
                "decoding constrained needs the trie of the descriptions, which this bundle does not hold: an older "
                "cielo wrote it; convert its recipe again, or choose another decoding"
            )
        return self._stages.trie
