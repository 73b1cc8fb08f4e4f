"""The trie of a bundle: the descriptions of its knowledge base as sorted token rows, in three files.

- ``tokens.npy``, int32 [tokens]: the rows one after the other, each with the end token at its end.
- ``ends.npy``, int32 [rows]: where each row ends in it.
- ``rows.npy``, int32 [descriptions]: the row of each description of the knowledge base, by its number there less one;
  -1 for one that is left out, since the output vocabulary of the model cannot write it.

No text and no kind is stored twice: a row's text, its codes and their kinds are the knowledge base's. A description
that several codes have is one row; two that are written with the same tokens (they differ in what the tokenizer folds:
spaces, forms of one character) are two rows that are equal.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cielo.bundle.layout import Layout
from cielo.bundle.manifest import TrieSection
from cielo.errors import BundleError, remedy_for
from cielo.generation.trie import Trie
from cielo.knowledge.reading import KnowledgeBase
from cielo.retrieval.storage import read_header
from cielo.text.tokenizer import Tokenizer

TOKENS, ENDS, ROWS = "tokens.npy", "ends.npy", "rows.npy"
LEFT_OUT = -1
_FOREIGN = "the trie is of another knowledge base than the bundle's; build the bundle again"


# Tells for each token, by its id of the tokenizer, int32 [tokens], whether an output can hold it, bool [tokens].
Writes = Callable[[NDArray[np.int32]], NDArray[np.bool_]]


class DescriptionTrie:
    """The trie of a knowledge base's descriptions, and which of its descriptions each row is. Thread-safe.

    Attributes:
        trie: of all descriptions.
        rows: the row of each description of the knowledge base, by its number less one, int32 [descriptions];
            `LEFT_OUT` for one that is not in it.
        end: the id of the token that ends every row.
    """

    def __init__(self, trie: Trie, rows: NDArray[np.int32], end: int) -> None:
        """Hold a trie; every row of it occurs in `rows`."""
        held = np.flatnonzero(rows != LEFT_OUT)[::-1]
        self.trie = trie
        self.rows = rows
        self.end = end
        self._numbers = np.zeros(len(trie), dtype=np.int32)
        self._numbers[rows[held]] = held + 1

    @classmethod
    def build(cls, texts: Sequence[str], tokenizer: Tokenizer, writes: Writes | None = None) -> DescriptionTrie:
        """Return the trie of descriptions.

        Args:
            texts: of every description of the knowledge base, in the order of their numbers (`KnowledgeBase.texts`).
            tokenizer: the generator's.
            writes: which tokens an output can hold; a description with another one is left out. None: all.
        """
        distinct = {text: place for place, text in enumerate(dict.fromkeys(texts))}
        end = tokenizer.end_id
        sequences = [tokenizer.encode_target(text) for text in distinct]
        held = np.flatnonzero(_written(sequences, writes))
        trie, order = Trie.build([sequences[place] for place in held.tolist()], end)
        places = np.full(len(distinct), LEFT_OUT, dtype=np.int32)
        places[held[order]] = np.arange(len(order), dtype=np.int32)
        return cls(trie, places[[distinct[text] for text in texts]] if texts else places, end)

    @property
    def section(self) -> TrieSection:
        """What the manifest says of it."""
        return TrieSection(rows=len(self.trie), tokens=len(self.trie.tokens), end=self.end)

    def number_of(self, row: int) -> int:
        """Return the number of the first description of the knowledge base that is a row of the whole trie."""
        return int(self._numbers[row])

    def restricted(self, numbers: Sequence[int]) -> Trie:
        """Return the trie of the descriptions that have these numbers in the knowledge base.

        Raises:
            BundleError: where the knowledge base has a description that is not in the trie.
        """
        wanted = np.asarray(numbers, dtype=np.int64)
        if len(wanted) and not 1 <= wanted.min() <= wanted.max() <= len(self.rows):
            raise BundleError(_FOREIGN)
        allowed = np.zeros(len(self.trie), dtype=np.bool_)
        rows = self.rows[wanted - 1]
        allowed[rows[rows != LEFT_OUT]] = True
        return self.trie.restricted(allowed)

    def check(self, row: int, text: str, tokenizer: Tokenizer) -> None:
        """Refuse a row of the whole trie that is not what the tokenizer makes of a description of the knowledge base.

        Raises:
            BundleError: where it is another one, which would give another description's code.
        """
        if self.trie.sequence(row).tolist() != [*tokenizer.encode_target(text), self.end]:
            raise BundleError(_FOREIGN)

    def save(self, directory: Path) -> None:
        """Write the three files into `directory`, which is made."""
        directory.mkdir(parents=True)
        np.save(directory / TOKENS, self.trie.tokens)
        np.save(directory / ENDS, self.trie.ends.astype(np.int32))
        np.save(directory / ROWS, self.rows)

    @classmethod
    def load(cls, directory: Path, section: TrieSection, tokenizer: Tokenizer) -> DescriptionTrie:
        """Read what `save` wrote.

        Raises:
            BundleError: where the files are not a trie of the tokenizer's tokens: so a search cannot leave the arrays.
        """
        try:
            tokens, ends, rows = (_read(directory / name) for name in (TOKENS, ENDS, ROWS))
            if (len(tokens), len(ends)) != (section.tokens, section.rows):
                got = f"{len(ends)} rows of {len(tokens)} tokens"
                raise ValueError(f"got {got}, expected {section.rows} of {section.tokens}, as the manifest says")
            _check_rows(tokens, ends, section.end, tokenizer)
            _check_numbers(rows, len(ends))
        except (OSError, ValueError, MemoryError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            remedy = remedy_for(error, "build the bundle again")
            raise BundleError(f"the trie of the descriptions cannot be read ({reason}); {remedy}") from error
        stops = ends.astype(np.int64)
        starts = np.concatenate(([0], stops))[:-1]
        return cls(Trie(tokens, starts, stops), rows, section.end)


def build_trie(layout: Layout, writes: Writes | None = None) -> DescriptionTrie:
    """Write the trie of a bundle whose knowledge base and generator's tokenizer are in place, and return it.

    Args:
        layout: of the bundle.
        writes: see `DescriptionTrie.build`.
    """
    base = KnowledgeBase(layout.knowledge_base)
    try:
        trie = DescriptionTrie.build(base.texts(), Tokenizer(layout.generator_tokenizer), writes)
    finally:
        base.close()
    trie.save(layout.trie)
    return trie


def _written(sequences: Sequence[Sequence[int]], writes: Writes | None) -> NDArray[np.bool_]:
    """Return for each sequence whether an output can hold every token of it, bool [sequences]."""
    if writes is None:
        return np.ones(len(sequences), dtype=np.bool_)
    lengths = [len(sequence) for sequence in sequences]
    known = writes(np.fromiter(itertools.chain.from_iterable(sequences), np.int32, sum(lengths)))
    ends = np.cumsum(lengths, dtype=np.int64)
    return np.array(
        [bool(known[end - length : end].all()) for end, length in zip(ends, lengths, strict=True)], np.bool_
    )


def _read(path: Path) -> NDArray[np.int32]:
    """Return the whole of an ``.npy`` file of int32 numbers; its header can ask for no more than the file holds."""
    with path.open("rb") as stream:
        read_header(path, stream, np.int32, "list")
        values: NDArray[np.int32] = np.fromfile(stream, dtype=np.int32)
    return values


def _check_rows(tokens: NDArray[np.int32], ends: NDArray[np.int32], end: int, tokenizer: Tokenizer) -> None:
    if not len(ends):
        if len(tokens):
            raise ValueError(f"{TOKENS} goes on after the last row")
        return
    begins = np.concatenate(([0], ends[:-1]))
    if (ends <= begins).any() or ends[-1] != len(tokens):
        raise ValueError(f"{ENDS} does not cut {TOKENS} into rows")
    if tokens.min() < 0 or tokenizer.tokens([int(tokens.max())]) == [""]:
        raise ValueError(f"{TOKENS} holds ids that the tokenizer does not have")
    if (tokens[ends - 1] != end).any() or np.count_nonzero(tokens == end) != len(ends):
        raise ValueError(f"{TOKENS} holds rows that do not end with the end token, or go on after it")
    # Row by row with the next one, as far as they agree; no row is left, since each ends with a token of its own.
    one, other = begins[:-1], begins[1:]
    while len(one):
        first, second = tokens[one], tokens[other]
        if (first > second).any():
            raise ValueError(f"{TOKENS} holds rows that are not in order")
        alike = np.flatnonzero((first == second) & (first != end))
        one, other = one[alike] + 1, other[alike] + 1


def _check_numbers(rows: NDArray[np.int32], count: int) -> None:
    if len(rows) and not LEFT_OUT <= rows.min() <= rows.max() < count:
        raise ValueError(f"{ROWS} names rows that are not there")
    named = np.zeros(count, dtype=np.bool_)
    named[rows[rows != LEFT_OUT]] = True
    if not named.all():
        raise ValueError(f"{ROWS} leaves out {np.count_nonzero(~named)} of {count} rows")
