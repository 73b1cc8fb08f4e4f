"""The checks of the trie and of the search in it: that it holds the knowledge base, and that its answers are the best.

The search needs no references of its own: the probability of what it found is compared with that of the same output
scored alone, and every description that the references name must be less probable than the best one found.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np

from cielo.bundle.manifest import Check
from cielo.bundle.stages import Stages
from cielo.bundle.trie import LEFT_OUT, DescriptionTrie
from cielo.generation.constrained import ConstrainedSearch, Found
from cielo.parity.bounds import Bounds
from cielo.parity.references import References
from cielo.text.tokenizer import Encoded


def trie_checks(trie: DescriptionTrie, stages: Stages, bounds: Bounds) -> Iterator[Check]:
    """Yield the checks of a trie against the knowledge base, the tokenizer and the output vocabulary.

    Args:
        trie: of the bundle.
        stages: of the bundle.
        bounds: of the checks.
    """
    texts = stages.knowledge_base.texts()
    ids = {text: _key([*stages.tokenizer.encode_target(text), trie.end]) for text in texts}
    rows = [trie.trie.sequence(row).tobytes() for row in range(len(trie.trie))]
    left = {text for row, text in zip(trie.rows.tolist(), texts, strict=False) if row == LEFT_OUT}
    wanted, found = Counter(key for text, key in ids.items() if text not in left), Counter(rows)
    # What the output vocabulary cannot write may be left out, and nothing else.
    needless = sum(bool(stages.generator.writes(np.frombuffer(ids[text], dtype=np.int32)).all()) for text in left)
    missing, strange = (wanted - found).total() + needless, (found - wanted).total()
    detail = f"descriptions without a row of the trie ({missing}), and rows that are no description ({strange})"
    yield bounds.at_most("trie.descriptions", missing + strange, 0, len(texts), detail)
    places = zip(trie.rows.tolist(), texts, strict=False)
    unlike = sum(rows[row] != ids[text] for row, text in places if row != LEFT_OUT)
    unlike += abs(len(trie.rows) - len(texts))
    detail = f"descriptions of {len(texts)} whose row has other tokens than the tokenizer gives"
    yield bounds.at_most("trie.tokens", unlike, 0, len(texts), detail)
    writable = stages.generator.writes(trie.trie.tokens)
    lost = 0 if not rows else int((~np.logical_and.reduceat(writable, trie.trie.begins)).sum())
    without = f"; {len(left)} more are left out" if left else ""
    detail = f"descriptions of {len(rows)} that the output vocabulary cannot write{without}"
    yield bounds.at_most("trie.vocabulary", lost, 0, len(rows), detail)


def constrained_checks(
    trie: DescriptionTrie, stages: Stages, references: References, tolerance: float, bounds: Bounds
) -> Iterator[Check]:
    """Yield the checks of the constrained search on the references' prompts.

    Args:
        trie: of the bundle.
        stages: of the bundle, with a backend that searches in tries.
        references: whose prompts and descriptions are taken.
        tolerance: by which a token's log-probability may differ between the search and scoring alone.
        bounds: of the checks.
    """
    prompts = [Encoded(ids, False) for ids in references.prompt_ids]
    found = stages.generator.search_tries(prompts, [trie.trie] * len(prompts), ConstrainedSearch())
    best = [row for row, answer in enumerate(found) if answer.leaves]
    targets = [trie.trie.sequence(found[row].leaves[0].first)[:-1].tolist() for row in best]
    alone = _scores(stages, [prompts[row] for row in best], targets)
    differences = [
        abs(found[row].leaves[0].log_prob - score) / found[row].leaves[0].length
        for row, score in zip(best, alone, strict=True)
    ]
    detail = "largest difference of the best description's log-probability per token, by the search and scored alone"
    largest = max(differences, default=0.0)
    yield bounds.at_most("generator.constrained.scores", largest, tolerance, len(differences), detail)
    yield _best_check(trie, stages, references, found, tolerance, bounds)


def _best_check(
    trie: DescriptionTrie,
    stages: Stages,
    references: References,
    found: Sequence[Found],
    tolerance: float,
    bounds: Bounds,
) -> Check:
    """Compare the proven answers with the descriptions among the references' targets and outputs.

    The references name descriptions of the knowledge base that they were made with. Where none of a prompt's is in the
    trie, which is that of another one then, a row of it is taken. Where no answer is proven, as may be for descriptions
    unlike those that the model was trained on, none may be more probable than the best one by more than its gap.
    """
    known = {trie.trie.sequence(row)[:-1].tobytes() for row in range(len(trie.trie))}
    proven = sum(answer.proof.exact for answer in found)
    asked: list[tuple[int, list[int]]] = []
    for row, answer in enumerate(found):
        if answer.leaves and (answer.proof.exact or (not proven and math.isfinite(answer.proof.gap))):
            texts = [hypothesis.text for found in references.searches.values() for hypothesis in found[row]]
            outputs = [references.targets[row], *map(stages.tokenizer.encode_target, texts)]
            held = [list(ids) for ids in sorted({tuple(ids) for ids in outputs}) if _key(ids) in known]
            some = trie.trie.sequence(row * len(trie.trie) // len(found))[:-1].tolist()
            asked += [(row, ids) for ids in held or [some]]
    prompts = [Encoded(references.prompt_ids[row], False) for row, _ in asked]
    scores = _scores(stages, prompts, [ids for _, ids in asked])
    better = sum(
        score > found[row].leaves[0].log_prob + found[row].proof.gap + tolerance * (len(ids) + 1)
        for (row, ids), score in zip(asked, scores, strict=True)
    )
    detail = (
        f"descriptions of {len(asked)} that were asked for and are more probable than the best one, of {proven} proven"
    )
    return bounds.at_most("generator.constrained.best", better, 0, len(asked), detail)


def _scores(stages: Stages, prompts: Sequence[Encoded], targets: Sequence[Sequence[int]]) -> list[float]:
    return [float(np.sum(row, dtype=np.float64)) for row in stages.generator.log_probs(prompts, targets)]


def _key(ids: Sequence[int]) -> bytes:
    return np.array(ids, dtype=np.int32).tobytes()
