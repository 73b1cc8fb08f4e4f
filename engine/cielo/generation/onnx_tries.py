"""Constrained search in ONNX Runtime: several prompts together, each with a tree of tokens in its row of the past.

Every token that a prompt's search ran keeps its place in the row, whatever prefix it belongs to; a new token sees those
before it in its own prefix, by the mask, at their distances in it. So nothing is copied when the search goes back to
an earlier prefix, and several prefixes are expanded in one pass.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from cielo.generation.constrained import ConstrainedSearch, Expansion, Found, Tokens, TrieSearch
from cielo.generation.onnx_model import Cells, Integers, OnnxModel, Source, Step
from cielo.generation.trie import Trie

MOST_PLACES = 512  # of a row, where several prompts are searched together


@dataclass(slots=True)
class _Row:
    """The tree of one prompt.

    Attributes:
        before: of each place, the places of the tokens before it in its prefix, and itself.
    """

    search: TrieSearch
    before: dict[int, list[int]] = field(default_factory=dict)


def search_tries(
    model: OnnxModel, prompts: Sequence[Sequence[int]], tries: Sequence[Trie], search: ConstrainedSearch
) -> list[Found]:
    """Return the most probable rows of each prompt's trie.

    Rows grow together: where they have taken `MOST_PLACES`, those that are not done begin again, each alone, so that
    the memory of a batch has a bound. A search alone has one of its own (`ConstrainedSearch.max_tokens`).
    """
    settings = model.settings
    tokens = Tokens(settings.start_token, settings.end_token, model.columns, model.output_ids)
    rows = [_Row(TrieSearch(trie, tokens, search)) for trie in tries]
    source = model.encode(prompts)
    past, known = model.empty(len(rows)), 0
    depths = np.zeros((len(rows), 0), dtype=np.int64)
    while any(run := [row.search.propose() for row in rows]):
        if known > MOST_PLACES and len(rows) > 1:
            return _finish_alone(model, prompts, tries, search, rows, run)
        past, depths = _pass(model, source, past, rows, run, depths, known)
        known = depths.shape[1]
    return [row.search.found() for row in rows]


def _finish_alone(
    model: OnnxModel,
    prompts: Sequence[Sequence[int]],
    tries: Sequence[Trie],
    search: ConstrainedSearch,
    rows: list[_Row],
    run: list[list[Expansion]],
) -> list[Found]:
    return [
        search_tries(model, [prompts[at]], [tries[at]], search)[0] if asked else row.search.found()
        for at, (row, asked) in enumerate(zip(rows, run, strict=True))
    ]


def _pass(
    model: OnnxModel,
    source: Source,
    past: list[Any],
    rows: list[_Row],
    run: list[list[Expansion]],
    depths: Integers,
    known: int,
) -> tuple[list[Any], Integers]:
    """Run one pass, and give each search what it asked for; return the past and the depths of all its places."""
    lengths = np.array([sum(len(one.tokens) for one in asked) for asked in run])
    own = Cells.of_lengths(lengths)
    new = own.cells.shape[1]
    depths = np.concatenate((depths, np.zeros((len(rows), new), dtype=np.int64)), axis=1)
    seen = np.zeros((len(rows), new, known + new), dtype=bool)
    seen[:, :, known] = True  # an empty cell must see something
    places = [
        _lay_out(row, asked, known, depths[at], seen[at]) for at, (row, asked) in enumerate(zip(rows, run, strict=True))
    ]
    step = Step(
        tokens=np.array([token for asked in run for one in asked for token in one.tokens], dtype=np.int64),
        continued=np.arange(len(rows)),
        own=own,
        cross=own,
        bias=model.bias_of(depths[:, None, :] - depths[:, known:, None], seen),
        wanted=np.arange(int(lengths.sum())),
    )
    log_probs, past = model.step(source, past, step)
    begins = np.cumsum(lengths) - lengths
    for row, asked, where, begin in zip(rows, run, places, begins, strict=True):
        if asked:
            parts = [log_probs[begin + one.start - known : begin + one.stop - known] for one in where]
            row.search.take(asked, where, parts)
    return past, depths


def _lay_out(row: _Row, asked: list[Expansion], known: int, depths: Integers, seen: Any) -> list[range]:
    """Give each token a place, its depth, and what it sees; return the places of each expansion."""
    places, at = [], known
    for one in asked:
        before = row.before.get(one.parent, [])
        places.append(range(at, at + len(one.tokens)))
        for place in places[-1]:
            before = [*before, place]
            row.before[place] = before
            depths[place] = len(before)
            seen[place - known] = False
            seen[place - known, before] = True
        at += len(one.tokens)
    return places
