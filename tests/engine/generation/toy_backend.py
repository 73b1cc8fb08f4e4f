"""A backend of a few lines: what a new one must have, and what the rest of the package may ask of it.

Its model is a list of texts in a file. Given a prompt, each text has a probability that grows with the tokens that it
shares with the prompt's term; the probability of a token after others is the share of the texts that go on with it.
Its constrained search looks at every row of a trie, which takes it two passes.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import numpy as np
from cielo.bundle.layout import Bundle, Layout
from cielo.bundle.manifest import Check, GeneratorModel, ParityFigures
from cielo.bundle.trie import DescriptionTrie
from cielo.bundle.writing import write_manifest
from cielo.errors import BundleError, OptionError
from cielo.generation.batching import make_batches
from cielo.generation.capabilities import require_runnable
from cielo.generation.constrained import ConstrainedSearch, Found, Leaf
from cielo.generation.memory import MemoryLimit, Shape
from cielo.generation.plan import ThreadPlan, Use, batch_on_each_core
from cielo.generation.progress import report
from cielo.generation.searches import SEARCHES, BeamSearch
from cielo.generation.trie import Trie
from cielo.knowledge.reading import KnowledgeBase
from cielo.records import Decoding, Hypothesis, Proof
from cielo.text.tokenizer import Encoded, Tokenizer
from minis import mini_of_one_backend
from numpy.typing import NDArray

MODEL = "toy.json"
_END = -1
_SHARED = 6.0  # how much a shared token is worth
_PASSES = 2
_UNKNOWN = -30.0  # log-probability of a token that no text goes on with
_TERM = ("Genera una definición para el término:", " - en la frase:")


def write_model(directory: Path, texts: Sequence[str]) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    (directory / MODEL).write_text(json.dumps(list(texts)), encoding="utf-8")


@dataclass(frozen=True)
class ToyBackend:
    """The toy's capabilities, which a test may narrow."""

    name: str = "toy"
    decodings: tuple[Decoding, ...] = tuple(SEARCHES)
    gives_log_probs: bool = True
    gives_masks: bool = False
    compute_types: tuple[str, ...] = ("float32", "float16")
    model: Path | None = None  # where it lies; None: in the directory to be opened

    def devices(self) -> tuple[str, ...]:
        return ("cpu",)

    def runnable_compute_types(self, device: str) -> frozenset[str]:
        return frozenset({"float32"})

    def default_plan(self, device: str, threads: int | None = None, *, use: Use = "bulk") -> ThreadPlan:
        return batch_on_each_core(device, threads)

    def environment(self, plan: ThreadPlan) -> Mapping[str, str]:
        return {}

    def prepare(self, plan: ThreadPlan, *, sparing: bool = False) -> None:
        pass

    def open(
        self, directory: Path, tokenizer: Tokenizer, *, device: str, compute_type: str, plan: ThreadPlan
    ) -> ToyGenerator:
        require_runnable(self, device, compute_type)
        try:
            texts = json.loads(((self.model or directory) / MODEL).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise BundleError("the generator's model cannot be loaded; build the bundle again") from error
        return ToyGenerator(texts, tokenizer, plan, self.gives_log_probs, self.gives_masks)


def constrained_mini(directory: Path, texts: Sequence[str] | None = None) -> Bundle:
    """Write a copy of the mini that holds the toy's model and a trie too; parity counts as shown for the toy.

    Args:
        directory: of the copy.
        texts: of the toy; None: every description.
    """
    mini = mini_of_one_backend(directory)
    (directory / "calibration.json").unlink()
    base = KnowledgeBase(mini.knowledge_base)
    described = base.texts()
    base.close()
    trie = DescriptionTrie.build(described, Tokenizer(mini.generator_tokenizer))
    trie.save(directory / "trie")
    write_model(Layout(directory).generator_model("toy"), texts or described)
    generator = mini.manifest.generator
    backends = {**generator.backends, "toy": GeneratorModel("float32")}
    shown = ParityFigures(status="passed", checks=(Check("generator.log_probs", 0.0, 0.25, "<="),))
    manifest = replace(
        mini.manifest,
        generator=replace(generator, backends=backends),
        parity={**mini.manifest.parity, "toy/cpu/float32": shown},
        trie=trie.section,
    )
    return write_manifest(directory, manifest)


def constrained_toy(name: str = "toy") -> ToyBackend:
    """Return the toy that searches in tries too."""
    return ToyBackend(name, decodings=(*SEARCHES, "constrained"), gives_masks=True)


class ToyGenerator:
    def __init__(
        self,
        texts: Sequence[str],
        tokenizer: Tokenizer,
        plan: ThreadPlan,
        gives_log_probs: bool,
        gives_masks: bool = False,
    ) -> None:
        self._texts = {(*tokenizer.encode_target(text), _END): text for text in texts}
        self._tokenizer, self._plan, self._gives_log_probs = tokenizer, plan, gives_log_probs
        self._gives_masks = gives_masks
        self._limit: MemoryLimit | None = None
        self.batches: list[int] = []
        self.closed = False

    def generate(self, prompts: Sequence[Encoded], search: BeamSearch) -> list[list[Hypothesis]]:
        found: list[list[Hypothesis]] = [[] for _ in prompts]
        for row in self._rows([len(prompt.ids) for prompt in prompts], search):
            found[row] = self._search(self._weights(prompts[row]), search)
        return found

    def log_probs(self, prompts: Sequence[Encoded], targets: Sequence[Sequence[int]]) -> list[NDArray[np.float32]]:
        if not self._gives_log_probs:
            raise OptionError("the toy gives no log-probabilities")
        return [self._chain(prompt, (*target, _END)) for prompt, target in zip(prompts, targets, strict=True)]

    def writes(self, tokens: NDArray[np.int32]) -> NDArray[np.bool_]:
        return np.isin(tokens, [self._tokenizer.end_id, *(token for output in self._texts for token in output)])

    def search_tries(self, prompts: Sequence[Encoded], tries: Sequence[Trie], search: ConstrainedSearch) -> list[Found]:
        if not self._gives_masks:
            raise OptionError("the toy has no constrained search")
        return [self._found(prompt, trie, search) for prompt, trie in zip(prompts, tries, strict=True)]

    def _found(self, prompt: Encoded, trie: Trie, search: ConstrainedSearch) -> Found:
        weights = self._weights(prompt)
        total = sum(weights.values())
        log_probs = {output: math.log(weight / total) for output, weight in weights.items()}
        rows: dict[tuple[int, ...], list[int]] = {}
        for row in range(len(trie)):
            rows.setdefault((*trie.sequence(row)[:-1].tolist(), _END), []).append(row)
        leaves = [
            Leaf(found[0], found[-1] + 1, log_probs.get(output, _UNKNOWN * len(output)), len(output))
            for output, found in rows.items()
        ]
        leaves.sort(key=lambda leaf: -leaf.log_prob)
        exact = search.max_passes >= _PASSES
        free = max([*log_probs.values(), *(leaf.log_prob for leaf in leaves[:1])])
        mass = sum(math.exp(leaf.log_prob) for leaf in leaves)
        proof = Proof(exact, 0.0 if exact else 0.5, min(_PASSES, search.max_passes), min(1.0, mass), free)
        return Found(tuple(leaves[: max(search.best, 5)]), proof)

    def limit_memory(self, working_bytes: int, shape: Shape) -> None:
        self._limit = MemoryLimit(working_bytes, shape)

    def close(self) -> None:
        self.closed = True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _rows(self, lengths: list[int], search: BeamSearch) -> Iterator[int]:
        if self.closed:
            raise RuntimeError("the toy was closed")
        limit, together = self._limit, self._plan.replicas
        most = None if limit is None else lambda longest: limit.rows(longest, search, together)
        for batch in make_batches(lengths, self._plan.batch_tokens, together, most):
            self.batches.append(len(batch))
            yield from batch
            report(len(batch) / len(lengths))

    def _weights(self, prompt: Encoded) -> dict[tuple[int, ...], float]:
        term = self._tokenizer.decode(self._tokenizer.tokens(prompt.ids))
        term = term.partition(_TERM[0])[2].partition(_TERM[1])[0].strip().lower()
        return {output: math.exp(_SHARED * _likeness(term, text.lower())) for output, text in self._texts.items()}

    def _search(self, weights: dict[tuple[int, ...], float], search: BeamSearch) -> list[Hypothesis]:
        beams: list[tuple[tuple[int, ...], float]] = [((), 0.0)]
        done: list[Hypothesis] = []
        for _ in range(search.max_new_tokens):
            longer = [
                ((*prefix, token), log_prob + math.log(share))
                for prefix, log_prob in beams
                for token, share in _next(weights, prefix).items()
            ]
            beams = sorted(longer, key=lambda beam: (-beam[1], beam[0]))[: search.beams]
            done += [self._hypothesis(*beam, search) for beam in beams if beam[0][-1] == _END]
            beams = [beam for beam in beams if beam[0][-1] != _END]
            if not beams or (search.beams == 1 and done):
                break
        done += [self._hypothesis(*beam, search) for beam in beams]
        return sorted(done, key=lambda entry: -entry.score)[: search.beams]

    def _hypothesis(self, output: tuple[int, ...], log_prob: float, search: BeamSearch) -> Hypothesis:
        text = self._tokenizer.decode(self._tokenizer.tokens(token for token in output if token != _END))
        finished = output[-1] == _END
        return Hypothesis(text, log_prob / len(output) ** search.length_penalty, log_prob, len(output), finished)

    def _chain(self, prompt: Encoded, output: tuple[int, ...]) -> NDArray[np.float32]:
        weights = self._weights(prompt)
        shares = (_next(weights, output[:place]).get(token) for place, token in enumerate(output))
        return np.array([_UNKNOWN if share is None else math.log(share) for share in shares], dtype=np.float32)


def _next(weights: Mapping[tuple[int, ...], float], prefix: tuple[int, ...]) -> dict[int, float]:
    """The probability of each token that goes on from a prefix."""
    found: dict[int, float] = {}
    for output, weight in weights.items():
        if len(output) > len(prefix) and output[: len(prefix)] == prefix:
            found[output[len(prefix)]] = found.get(output[len(prefix)], 0.0) + weight
    return {token: weight / sum(found.values()) for token, weight in found.items()}


def _likeness(term: str, text: str) -> float:
    one, other = set(term.split()), set(text.split())
    return len(one & other) / max(1, len(one | other))
