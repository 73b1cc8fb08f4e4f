"""Constrained decoding in the linker: the best description that is allowed, its codes, and its proof.

The generator is a toy with random probabilities that looks at every row of a trie, so that what is expected can be
counted from the probabilities of all descriptions.
"""

from __future__ import annotations

import dataclasses
import math
import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cielo.bundle.manifest import PromptSettings
from cielo.bundle.stages import Stages
from cielo.bundle.trie import DescriptionTrie
from cielo.cache.memory import MemoryCache
from cielo.errors import BundleError, OptionError
from cielo.generation.backends import BACKENDS
from cielo.generation.constrained import ConstrainedSearch, Found, Leaf
from cielo.generation.ctranslate2 import CTranslate2Backend
from cielo.generation.plan import ThreadPlan
from cielo.generation.trie import Trie
from cielo.knowledge.reading import KnowledgeBase
from cielo.knowledge.records import DescriptionRow
from cielo.knowledge.subsets import Subset
from cielo.knowledge.writing import write_knowledge_base
from cielo.link.linker import Linker
from cielo.link.resolver import Resolver
from cielo.options import LinkOptions
from cielo.records import BundleIdentity, Link, Mention, Proof, Provenance
from cielo.text.tokenizer import Encoded

END = 1
ROWS = [
    DescriptionRow("T68", "Hipotermia", "diagnosis"),
    DescriptionRow("6A4Z", "hipotermia", "procedure"),
    DescriptionRow("R50", "Fiebre", "diagnosis"),
    DescriptionRow("R50.9", "Fiebre, no especificada", "diagnosis"),
    DescriptionRow("R50.9", "Pirexia", "diagnosis", preferred=False),
    DescriptionRow("R05", "Tos", "diagnosis"),
    DescriptionRow("R05.1", "Tos  aguda", "diagnosis"),
    DescriptionRow("R05.2", "Tos aguda", "diagnosis"),
    DescriptionRow("A37", "Tos ferina", "diagnosis"),
    DescriptionRow("B37", "Tos ferina", "diagnosis"),
    DescriptionRow("BW20", "Tomografía", "procedure"),
    DescriptionRow("BW21", "Tomografia", "procedure"),
    DescriptionRow("0210", "Fiebre", "procedure"),
    DescriptionRow("Z99", "Otra [Code: R05]", "diagnosis"),
]
PROVENANCE = Provenance(
    BundleIdentity("de prueba", "ab" * 32, "CIE-10-ES 2024"), "ctranslate2", "int8", "cpu", "constrained"
)


class Characters:
    """A token for each character, runs of spaces being one; prompts are numbered."""

    most_characters: int | None = None
    end_id = END

    def __init__(self) -> None:
        self.texts: list[str] = []

    def encode_target(self, text: str) -> list[int]:
        return [ord(sign) for sign in " ".join(text.split())]

    def encode(self, texts: Sequence[str]) -> list[Encoded]:
        self.texts += texts
        return [Encoded([self.texts.index(text)], False) for text in texts]


def log_prob_of(prompt: str, tokens: Sequence[int], seed: int) -> float:
    """The log-probability of an output: of each token after others a share that depends on all of them.

    What follows the first few is nearly certain, so that long descriptions win as often as short ones.
    """
    log_prob = 0.0
    for place, token in enumerate(tokens):
        dice = random.Random(f"{seed} {prompt} {tokens[:place]} {token}")
        log_prob += math.log(dice.uniform(0.9, 1.0) if place >= 3 and token != END else dice.uniform(0.02, 0.9))
    return log_prob


class Exhaustive:
    """Looks at every row of every trie."""

    def __init__(self, tokenizer: Characters, seed: int = 0) -> None:
        self.tokenizer, self.seed = tokenizer, seed
        self.calls: list[tuple[list[str], list[Trie], ConstrainedSearch]] = []
        self.closed = 0

    def search_tries(self, prompts: Sequence[Encoded], tries: Sequence[Trie], search: ConstrainedSearch) -> list[Found]:
        texts = [self.tokenizer.texts[prompt.ids[0]] for prompt in prompts]
        self.calls.append((texts, list(tries), search))
        return [self._found(text, trie) for text, trie in zip(texts, tries, strict=True)]

    def _found(self, prompt: str, trie: Trie) -> Found:
        rows: dict[tuple[int, ...], list[int]] = {}
        for row in range(len(trie)):
            rows.setdefault(tuple(trie.sequence(row).tolist()), []).append(row)
        leaves = [
            Leaf(same[0], same[-1] + 1, log_prob_of(prompt, tokens, self.seed), len(tokens))
            for tokens, same in rows.items()
        ]
        leaves.sort(key=lambda leaf: -leaf.log_prob)
        free = leaves[0].log_prob if leaves else -3.0
        mass = min(1.0, math.fsum(math.exp(leaf.log_prob) for leaf in leaves))
        return Found(tuple(leaves), Proof(True, 0.0, 4, mass, free))

    def generate(self, prompts: Sequence[Encoded], search: Any) -> Any:
        raise AssertionError("a constrained search needs no beams")

    def close(self) -> None:
        self.closed += 1


class NoEmbedder:
    def embed(self, texts: Sequence[str]) -> Any:
        raise AssertionError(f"a description needs no neighbour: {texts}")

    def close(self) -> None:
        pass


@dataclasses.dataclass
class Bench:
    """A linker over a knowledge base, and the toy inside it."""

    linker: Linker
    generator: Exhaustive
    base: KnowledgeBase
    stages: Stages

    def link(self, text: str, kind: str | None = None, **options: Any) -> Link:
        (link,) = self.linker.link([Mention(text, kind=kind)], LinkOptions(**options))
        return link

    def expected(self, text: str, kind: str | None = None, subset: Subset | None = None) -> list[str]:
        """The descriptions of allowed codes, the most probable first, those of the same tokens by their numbers."""
        prompt = self.stages.prompt(text, None)
        kinds = self.base.kinds if kind is None else (kind,)
        texts = [description for of in kinds for description in self.base.descriptions(of, subset)]
        order = self.base.texts()

        def key(description: str) -> tuple[float, int]:
            tokens = (*self.generator.tokenizer.encode_target(description), END)
            return -log_prob_of(prompt, tokens, self.generator.seed), order.index(description)

        return sorted(dict.fromkeys(texts), key=key)

    def hypotheses(self, text: str, kind: str | None = None, **options: Any) -> list[str]:
        """What the decoder gives for a mention."""
        request = self.linker._request(LinkOptions(**options))
        (encoded,) = self.stages.tokenizer.encode([self.stages.prompt(text, None)])
        ((found, _),) = self.linker._steps.constrained.decode([encoded], [kind], request)
        return [hypothesis.text for hypothesis in found]


@dataclasses.dataclass(frozen=True)
class _Constrained(CTranslate2Backend):
    decodings = (*CTranslate2Backend.decodings, "constrained")
    gives_masks = True


def make_bench(directory: Path, rows: list[DescriptionRow] = ROWS, seed: int = 0) -> Bench:
    write_knowledge_base(directory / "base.sqlite", rows, systems={"diagnosis": "icd-10-cm", "procedure": "icd-10-pcs"})
    base = KnowledgeBase(directory / "base.sqlite")
    tokenizer = Characters()
    generator = Exhaustive(tokenizer, seed)
    trie = DescriptionTrie.build(base.texts(), tokenizer)  # type: ignore[arg-type]
    stages = Stages(
        tokenizer, generator, base, NoEmbedder(), {}, PromptSettings(prepare_sentence=True), trie=trie,  # type: ignore[arg-type]
    )  # fmt: skip
    linker = Linker(stages, ThreadPlan(1), PROVENANCE, Resolver(base, stages.embedder, {}), decoding="constrained")
    return Bench(linker, generator, base, stages)


@pytest.fixture(autouse=True)
def _backend(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(BACKENDS, "ctranslate2", _Constrained())


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = make_bench(tmp_path)
    yield bench
    bench.linker.close()


WORDS = ["fiebre", "tos", "una cosa", "frío", "imagen", "x", "y", "z"]
RESTRICTIONS = [
    {},
    {"kind": "diagnosis"},
    {"kind": "procedure"},
    {"subset": Subset(leaf=True)},
    {"subset": Subset(codes=frozenset({"R05", "A37", "BW20"}))},
    {"subset": Subset(codes=frozenset({"B37"}))},
    {"kind": "procedure", "subset": Subset(codes=frozenset({"0210", "R50", "6A4Z"}))},
]


class TestBest:
    @pytest.mark.parametrize("given", RESTRICTIONS)
    @pytest.mark.parametrize("text", WORDS)
    def test_the_link_is_the_best_description_that_is_allowed(
        self, bench: Bench, text: str, given: dict[str, Any]
    ) -> None:
        link = bench.link(text, **given, top_k=100)
        best = bench.expected(text, **given)
        assert bench.hypotheses(text, **given) == best
        assert (link.method, link.match, link.description, link.generated) == ("exact", "literal", best[0], best[0])
        allowed = bench.base.match(best[0], given.get("kind"), given.get("subset"))
        assert link.codes == tuple(concept.code for concept in allowed)
        assert link.log_prob is not None and link.proof is not None and link.proof.exact
        assert link.tokens == len(bench.generator.tokenizer.encode_target(best[0])) + 1
        assert link.truncated is False and link.distance is None

    @pytest.mark.parametrize("seed", range(20))
    def test_other_probabilities_give_other_answers_by_the_same_rule(self, tmp_path: Path, seed: int) -> None:
        bench = make_bench(tmp_path, seed=seed)
        for given in RESTRICTIONS:
            assert bench.link("algo", **given).description == bench.expected("algo", **given)[0]
        bench.linker.close()

    def test_every_description_of_a_leaf_is_a_hypothesis(self, bench: Bench) -> None:
        texts = bench.hypotheses("tos")
        place = texts.index("Tos  aguda")
        assert texts[place + 1] == "Tos aguda"
        assert len(texts) == len({row.description for row in ROWS})

    def test_of_a_leaf_s_descriptions_only_those_of_allowed_codes_are(self, bench: Bench) -> None:
        assert bench.hypotheses("tos", subset=Subset(codes=frozenset({"R05.2"}))) == ["Tos aguda"]
        assert bench.hypotheses("tos", subset=Subset(codes=frozenset({"R05.1"}))) == ["Tos  aguda"]

    def test_descriptions_that_differ_in_case_or_accents_are_rows_of_their_own(self, bench: Bench) -> None:
        texts = bench.hypotheses("x")
        assert {"Hipotermia", "hipotermia", "Tomografía", "Tomografia"} <= set(texts)
        assert bench.hypotheses("x", kind="procedure", subset=Subset(codes=frozenset({"BW21"}))) == ["Tomografia"]
        assert bench.link("x", subset=Subset(codes=frozenset({"6A4Z"}))).codes == ("6A4Z",)

    def test_one_description_of_many_codes_gives_them_all_or_those_allowed(self, bench: Bench) -> None:
        only = Subset(codes=frozenset({"A37", "B37"}))
        assert bench.link("x", subset=only).codes == ("A37", "B37")
        assert bench.link("x", subset=Subset(codes=frozenset({"B37"}))).codes == ("B37",)
        assert bench.link("x", subset=Subset(codes=frozenset({"0210", "R50"}))).codes == ("R50", "0210")

    def test_a_description_that_begins_another_can_win_and_lose(self, bench: Bench) -> None:
        winners = {bench.link(f"mención {number}", subset=Subset(codes=frozenset({"R05", "A37"}))).description
                   for number in range(40)}  # fmt: skip
        assert winners == {"Tos", "Tos ferina"}

    def test_a_description_that_looks_like_the_card_s_output_is_taken_whole(self, bench: Bench) -> None:
        link = bench.link("x", subset=Subset(codes=frozenset({"Z99"})))
        assert (link.code, link.generated) == ("Z99", "Otra [Code: R05]")

    def test_candidates_and_margin_come_from_what_was_found(self, bench: Bench) -> None:
        link = bench.link("fiebre", top_k=3)
        texts = bench.expected("fiebre")
        assert len(link.candidates) == 3
        assert link.candidates[0].code == link.code
        own = {concept.code for concept in bench.base.match(texts[0])}
        other = next(text for text in texts if not own & {concept.code for concept in bench.base.match(text)})
        prompt = bench.stages.prompt("fiebre", None)
        scores = [log_prob_of(prompt, (*bench.generator.tokenizer.encode_target(text), END), 0)
                  for text in (texts[0], other)]  # fmt: skip
        assert link.margin == pytest.approx(scores[0] - scores[1])


class TestWork:
    def test_a_mention_is_searched_once_for_each_kind(self, bench: Bench) -> None:
        kinds = [None, "diagnosis", None, "procedure", "diagnosis"]
        links = bench.linker.link([Mention("tos", kind=kind) for kind in kinds])
        ((texts, tries, _),) = bench.generator.calls
        assert len(texts) == 3 and len(set(texts)) == 1
        assert len({len(trie) for trie in tries}) == 3
        assert links[0].code == links[2].code
        assert links[3].kind == "procedure"

    def test_restricted_tries_are_kept(self, bench: Bench) -> None:
        subset = Subset(codes=frozenset({"R05", "A37"}))
        for _ in range(3):
            bench.link("tos", subset=subset)
            bench.link("fiebre", kind="diagnosis")
            bench.link("fiebre")
        by_size: dict[int, set[int]] = {}
        for _, tries, _ in bench.generator.calls:
            by_size.setdefault(len(tries[0]), set()).add(id(tries[0]))
        assert sorted(map(len, by_size.values())) == [1, 1, 1]

    def test_what_is_asked_for_reaches_the_search(self, bench: Bench) -> None:
        bench.link("tos")
        bench.link("tos", proven=5, max_passes=7)
        searches = [search for _, _, search in bench.generator.calls]
        assert [(search.best, search.max_passes) for search in searches] == [(1, 64), (5, 7)]

    @pytest.mark.parametrize("neighbours", ["misses", "always"])
    @pytest.mark.parametrize("pipeline", ["I", "II"])
    def test_an_empty_restriction_answers_none(self, bench: Bench, neighbours: Any, pipeline: Any) -> None:
        for options in ({"subset": Subset(codes=frozenset())}, {"subset": Subset(chapters=frozenset({"no such"}))}):
            link = bench.link("tos", neighbours=neighbours if pipeline == "I" else "misses", pipeline=pipeline,
                              **options)  # fmt: skip
            assert (link.code, link.codes, link.method, link.generated, link.log_prob) == (None, (), "none", "", None)
            assert (link.candidates, link.margin, link.tokens, link.confidence) == ((), None, 0, None)
            assert link.proof is not None

    def test_links_are_cached_with_their_proof(self, bench: Bench) -> None:
        cache = MemoryCache()
        linker = Linker(bench.stages, ThreadPlan(1), PROVENANCE, bench.linker._resolver, decoding="constrained",
                        cache=cache)  # fmt: skip
        first, again = (linker.link([Mention("tos")])[0] for _ in range(2))
        assert dataclasses.replace(again, timings=first.timings) == first
        assert len(bench.generator.calls) == 1
        assert again.proof is not None and again.proof.passes == 4
        linker.link([Mention("tos")], LinkOptions(proven=3))
        assert len(bench.generator.calls) == 2


class TestRefusals:
    @pytest.mark.parametrize(
        "options", [{"matching": "published"}, {"rerank": True}, {"proven": 0}, {"proven": 101}, {"proven": True},
                    {"max_passes": 0}, {"max_passes": 1.5}, {"max_passes": 100_001}]
    )  # fmt: skip
    def test_what_does_not_go_with_it_is_refused(self, bench: Bench, options: dict[str, Any]) -> None:
        with pytest.raises(OptionError, match=r"constrained|whole number"):
            LinkOptions(decoding="constrained", **options)

    @pytest.mark.parametrize("options", [{"matching": "published"}, {"rerank": True}])
    def test_what_needs_free_outputs_gets_them_where_nobody_named_a_decoding(
        self, bench: Bench, options: dict[str, Any]
    ) -> None:
        assert bench.linker.provenance().decoding == "constrained"
        assert bench.linker.provenance(LinkOptions(**options)).decoding == "probable"

    def test_a_bundle_without_a_trie_says_what_to_do(self, bench: Bench) -> None:
        stages = dataclasses.replace(bench.stages, trie=None)
        linker = Linker(stages, ThreadPlan(1), PROVENANCE, bench.linker._resolver)
        with pytest.raises(OptionError, match="convert its recipe again"):
            linker.link([Mention("tos")], LinkOptions(decoding="constrained"))

    def test_a_backend_that_cannot_is_refused(self, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(BACKENDS, "ctranslate2", CTranslate2Backend())
        with pytest.raises(OptionError, match="open the bundle with the decoding"):
            bench.link("tos")

    @pytest.mark.parametrize("change", ["other texts", "fewer"])
    def test_a_trie_of_another_knowledge_base_gives_no_code(self, bench: Bench, change: str) -> None:
        rows = [row.description.upper() for row in ROWS] if change == "other texts" else ["Tos"]
        trie = DescriptionTrie.build(rows, bench.stages.tokenizer)
        stages = dataclasses.replace(bench.stages, trie=trie)
        linker = Linker(stages, ThreadPlan(1), PROVENANCE, bench.linker._resolver, decoding="constrained")
        with pytest.raises(BundleError, match="another knowledge base"):
            linker.link([Mention("tos", kind="diagnosis")])


def test_the_names_of_tries_and_numbers_agree(bench: Bench) -> None:
    trie = bench.stages.trie
    assert trie is not None
    assert np.array_equal(np.unique(trie.rows), np.arange(len(trie.trie)))
