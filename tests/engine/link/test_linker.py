"""The linker's order of work, with a real knowledge base and real indexes between a fake generator and embedder."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cielo.bundle.calibration import Calibration
from cielo.bundle.manifest import Check, Manifest, ParityFigures, PromptSettings
from cielo.bundle.stages import Stages
from cielo.bundle.writing import write_manifest
from cielo.cache.memory import MemoryCache
from cielo.cache.protocol import CacheStats
from cielo.errors import BundleError, CalibrationError, ClosedError, MentionError, OptionError, UnverifiedError
from cielo.generation.plan import ThreadPlan
from cielo.generation.searches import SEARCHES, BeamSearch
from cielo.knowledge.codes import System
from cielo.knowledge.reading import KnowledgeBase
from cielo.knowledge.records import DescriptionRow
from cielo.knowledge.subsets import Subset
from cielo.knowledge.writing import write_knowledge_base
from cielo.link.confidence import TERMS
from cielo.link.lexicon import read_lexicon
from cielo.link.linker import Linker
from cielo.link.resolver import Resolver
from cielo.options import LinkOptions
from cielo.records import BundleIdentity, Candidate, Hypothesis, Link, Mention, Provenance, Timings
from cielo.retrieval.index import Index, IndexSettings
from cielo.text.prompt import build_prompt
from cielo.text.tokenizer import Encoded
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

MARKER = "Ximénez-secreto"
MAX_DISTANCE = 2.0
PROVENANCE = Provenance(
    BundleIdentity("de prueba", "ab" * 32, "CIE-10-ES 2024"), "ctranslate2", "int8", "cpu", "probable"
)

ROWS = [
    DescriptionRow("T68", "Hipotermia", "diagnosis"),
    DescriptionRow("R50", "Fiebre", "diagnosis"),
    DescriptionRow("R50.9", "Fiebre, no especificada", "diagnosis"),
    DescriptionRow("R50.9", "Pirexia", "diagnosis", preferred=False),
    DescriptionRow("R05", "Tos", "diagnosis"),
    DescriptionRow("6A4Z", "hipotermia", "procedure"),
    DescriptionRow("BW20", "tomografía abdominal", "procedure"),
    DescriptionRow("BW20ZZZ", "Tomografía abdominal", "procedure"),
]
# On the unit circle, so that distances are what one expects: 2 - 2 cos of the angle between.
ANGLES = {
    "Hipotermia": 0, "hipotermia": 0, "Fiebre": 90, "Fiebre, no especificada": 90, "Pirexia": 100, "Tos": 180,
    "tomografía abdominal": 270, "Tomografía abdominal": 270,
    "algo caliente": 91, "algo frío": 1, "entre todos": 0, "lejos": 135, "una imagen": 269, "al borde": 0,
}  # fmt: skip
EXACT = {0: (1, 0), 90: (0, 1), 180: (-1, 0), 270: (0, -1)}


def vector(text: str) -> tuple[float, float]:
    angle = ANGLES[text]
    return EXACT.get(angle, (float(np.cos(np.radians(angle))), float(np.sin(np.radians(angle)))))


class FakeTokenizer:
    """Numbers texts; those with more than 200 characters count as cut."""

    most_characters: int | None = None

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.targets: list[str] = []

    def encode_target(self, text: str) -> list[int]:
        self.targets.append(text)
        return [len(self.targets) - 1]

    def encode(self, texts: Sequence[str]) -> list[Encoded]:
        self.texts += texts
        first = len(self.texts) - len(texts)
        return [Encoded([first + row], len(text) > 200) for row, text in enumerate(texts)]


class FakeGenerator:
    """Answers each term with its texts, each less probable than the one before; an unknown term with itself."""

    def __init__(self, tokenizer: FakeTokenizer) -> None:
        self.tokenizer = tokenizer
        self.answers: dict[str, list[str]] = {}
        self.calls: list[tuple[list[str], BeamSearch]] = []
        self.likelihoods: dict[str, float] = {}
        self.scored: list[str] = []
        self.closed = 0

    def generate(self, prompts: Sequence[Encoded], search: BeamSearch) -> list[list[Hypothesis]]:
        texts = [self.tokenizer.texts[prompt.ids[0]] for prompt in prompts]
        self.calls.append((texts, search))
        return [self._hypotheses(text.split(" - en la frase: ")[0].split("el término: ")[1]) for text in texts]

    def _hypotheses(self, term: str) -> list[Hypothesis]:
        return [
            Hypothesis(text, -0.1 * place - 0.1, -0.5 * place - 0.5, length=3)
            for place, text in enumerate(self.answers.get(term, [term]))
        ]

    def log_probs(self, prompts: Sequence[Encoded], targets: Sequence[Sequence[int]]) -> list[NDArray[np.float32]]:
        """Score each target by `likelihoods`, in two halves, as if it had two tokens."""
        if not self.likelihoods:
            raise AssertionError("linking asks for no given targets")
        texts = [self.tokenizer.targets[target[0]] for target in targets]
        self.scored += texts
        return [np.full(2, self.likelihoods[text] / 2, dtype=np.float32) for text in texts]

    def close(self) -> None:
        self.closed += 1


class FakeEmbedder:
    def __init__(self) -> None:
        self.calls: list[list[str]] = []
        self.closed = 0

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        self.calls.append(list(texts))
        return np.array([vector(text) for text in texts], dtype=np.float32)

    def close(self) -> None:
        self.closed += 1


@dataclasses.dataclass
class Bench:
    """A linker and the fakes inside it."""

    linker: Linker
    tokenizer: FakeTokenizer
    generator: FakeGenerator
    embedder: FakeEmbedder
    stages: Stages

    def link(self, text: str, **options: Any) -> Link:
        kind = options.pop("kind", None)
        (link,) = self.linker.link([Mention(text, kind=kind)], LinkOptions(**options))
        return link

    def remade(self, *, plan: ThreadPlan | None = None, calibrations: Any = None, **given: Any) -> Bench:
        """Return a bench over the same stages whose linker is put together otherwise."""
        stages = self.stages
        resolver = Resolver(stages.knowledge_base, stages.embedder, stages.indexes, stages.score, calibrations)
        linker = Linker(stages, plan or ThreadPlan(1), PROVENANCE, resolver, max_distance=MAX_DISTANCE, **given)
        return dataclasses.replace(self, linker=linker)


def make_bench(directory: Path, rows: list[DescriptionRow] = ROWS) -> Bench:
    systems: dict[str, System] = {"diagnosis": "icd-10-cm", "procedure": "icd-10-pcs"}
    write_knowledge_base(directory / "base.sqlite", rows, systems=systems)
    base = KnowledgeBase(directory / "base.sqlite")
    indexes = {}
    for kind in base.kinds:
        texts = base.descriptions(kind)
        vectors = np.array([vector(text) for text in texts], dtype=np.float32)
        indexes[kind] = Index.build(texts, vectors, IndexSettings())
    tokenizer = FakeTokenizer()
    generator, embedder = FakeGenerator(tokenizer), FakeEmbedder()
    prompt = PromptSettings(prepare_sentence=True)
    stages = Stages(tokenizer, generator, base, embedder, indexes, prompt)  # type: ignore[arg-type]
    unlinked = Bench(None, tokenizer, generator, embedder, stages)  # type: ignore[arg-type]
    return unlinked.remade()


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = make_bench(tmp_path)
    yield bench
    bench.linker.close()


def codes(link: Link) -> list[str]:
    return [candidate.code for candidate in link.candidates]


class TestExact:
    def test_a_generated_description_gives_its_code(self, bench: Bench) -> None:
        link = bench.link("Tos")
        assert (link.code, link.codes, link.description, link.kind) == ("R05", ("R05",), "Tos", "diagnosis")
        assert (link.method, link.generated, link.log_prob, link.tokens) == ("exact", "Tos", -0.5, 3)
        assert link.candidates == (Candidate("R05", "Tos", "diagnosis", ("hypothesis",), log_prob=-0.5, title="Tos"),)
        assert link.distance is None
        assert bench.embedder.calls == []

    def test_every_code_of_a_description_is_given_the_exact_text_s_first(self, bench: Bench) -> None:
        assert bench.link("Hipotermia").codes == ("T68", "6A4Z")
        link = bench.link("hipotermia")
        assert (link.code, link.codes, link.kind) == ("6A4Z", ("6A4Z", "T68"), "procedure")
        assert codes(link) == ["6A4Z", "T68"]
        assert bench.link("HIPOTERMIA").codes == ("T68", "6A4Z")

    def test_all_codes_are_given_even_where_fewer_candidates_are_asked_for(self, bench: Bench) -> None:
        link = bench.link("Hipotermia", top_k=1)
        assert link.codes == ("T68", "6A4Z")
        assert codes(link) == ["T68"]

    def test_a_synonym_links_with_the_description_that_matched(self, bench: Bench) -> None:
        link = bench.link("pirexia")
        assert (link.code, link.description) == ("R50.9", "Pirexia")

    def test_the_card_s_code_suffix_is_tolerated_and_shown(self, bench: Bench) -> None:
        bench.generator.answers["x"] = ["Tos [Code: R05]"]
        link = bench.link("x")
        assert (link.code, link.method, link.generated) == ("R05", "exact", "Tos [Code: R05]")

    def test_later_hypotheses_are_runners_up(self, bench: Bench) -> None:
        bench.generator.answers["x"] = ["Fiebre", "Tos", "nada", "Hipotermia"]
        link = bench.link("x")
        assert codes(link) == ["R50", "R05", "T68", "6A4Z"]
        assert [candidate.log_prob for candidate in link.candidates] == [-0.5, -1.0, -2.0, -2.0]
        assert {candidate.evidence for candidate in link.candidates} == {("hypothesis",)}
        assert link.codes == ("R50",)

    def test_a_code_is_one_candidate_with_its_best_evidence(self, bench: Bench) -> None:
        bench.generator.answers["x"] = ["Pirexia", "Fiebre, no especificada", "pirexia", "Fiebre"]
        link = bench.link("x")
        assert codes(link) == ["R50.9", "R50"]
        assert link.candidates[0].description == "Pirexia"
        assert link.candidates[0].log_prob == -0.5

    def test_neighbours_are_added_where_they_are_always_wanted(self, bench: Bench) -> None:
        link = bench.link("Fiebre", neighbours="always", top_k=3)
        assert (link.method, link.distance) == ("exact", 0.0)
        assert [(entry.code, entry.evidence) for entry in link.candidates] == [
            ("R50", ("hypothesis", "neighbour")),
            ("R50.9", ("neighbour",)),
        ]
        assert link.codes == ("R50",)


class TestSemantic:
    def test_a_miss_links_to_the_nearest_description(self, bench: Bench) -> None:
        link = bench.link("una imagen", kind="procedure")
        assert (link.method, link.code, link.kind, link.generated) == ("semantic", "BW20", "procedure", "una imagen")
        assert link.distance == pytest.approx(2 - 2 * np.cos(np.radians(1)), abs=1e-6)
        assert link.candidates[0] == Candidate(
            "BW20", "tomografía abdominal", "procedure", ("neighbour",), None, link.distance, "tomografía abdominal"
        )

    def test_every_code_of_the_nearest_description_is_given_once(self, bench: Bench) -> None:
        assert bench.link("una imagen").codes == ("BW20", "BW20ZZZ")
        assert bench.link("algo frío").codes == ("T68", "6A4Z")
        assert bench.link("algo caliente").codes == ("R50", "R50.9")

    @pytest.mark.parametrize("top_k", [1, 2, 3, 100])
    @pytest.mark.parametrize("text", ["una imagen", "algo frío", "algo caliente"])
    def test_the_codes_do_not_depend_on_how_many_candidates_are_asked_for(
        self, bench: Bench, text: str, top_k: int
    ) -> None:
        link = bench.link(text, top_k=top_k)
        assert link.codes == bench.link(text).codes
        assert len(link.candidates) <= top_k
        assert link.candidates[0].code == link.code

    def test_candidates_come_nearest_first_and_each_code_once(self, bench: Bench) -> None:
        link = bench.link("algo caliente", top_k=100)
        assert sorted(codes(link)) == sorted({row.code for row in ROWS})
        distances = [candidate.distance for candidate in link.candidates]
        assert distances == sorted(distances)  # type: ignore[type-var]
        assert distances[0] == link.distance

    def test_hypotheses_that_match_go_before_neighbours_but_not_before_the_link_s_code(self, bench: Bench) -> None:
        bench.generator.answers["x"] = ["algo frío", "Tos"]
        link = bench.link("x")
        assert codes(link)[:3] == ["T68", "6A4Z", "R05"]
        assert [candidate.evidence for candidate in link.candidates][:3] == [
            ("neighbour",),
            ("neighbour",),
            ("hypothesis",),
        ]

    def test_a_code_found_by_a_neighbour_and_a_hypothesis_is_one_candidate(self, bench: Bench) -> None:
        bench.generator.answers["x"] = ["algo frío", "Hipotermia"]
        link = bench.link("x", top_k=100)
        assert len(set(codes(link))) == len(link.candidates)
        assert link.candidates[0].code == link.code == "T68"

    def test_a_kind_searches_its_own_index_alone(self, bench: Bench) -> None:
        link = bench.link("algo frío", kind="procedure", top_k=100)
        assert link.codes == ("6A4Z",)
        assert {candidate.kind for candidate in link.candidates} == {"procedure"}
        assert bench.link("algo frío", kind="diagnosis").codes == ("T68",)

    def test_a_description_of_another_kind_is_no_exact_match(self, bench: Bench) -> None:
        link = bench.link("Tos", kind="procedure")
        assert link.method != "exact"
        assert {candidate.kind for candidate in link.candidates} <= {"procedure"}


class TestEvidence:
    def test_a_neighbour_that_a_hypothesis_means_too_has_its_log_probability(self, bench: Bench) -> None:
        bench.generator.answers["x"] = ["una imagen", "tomografía abdominal"]
        first = bench.link("x", kind="procedure").candidates[0]
        assert (first.code, first.evidence, first.log_prob) == ("BW20", ("neighbour", "hypothesis"), -1.0)
        assert first.distance == pytest.approx(2 - 2 * np.cos(np.radians(1)), abs=1e-5)

    def test_an_exact_match_that_is_a_neighbour_too_has_its_distance(self, bench: Bench) -> None:
        first = bench.link("Tos", neighbours="always").candidates[0]
        assert (first.code, first.evidence, first.log_prob) == ("R05", ("hypothesis", "neighbour"), -0.5)
        assert first.distance == pytest.approx(0.0, abs=1e-6)


class TestThreshold:
    def test_a_distance_at_the_threshold_is_still_a_link(self, tmp_path: Path) -> None:
        bench = make_bench(tmp_path, [DescriptionRow("R50", "Fiebre", "diagnosis")])
        link = bench.link("al borde")
        assert (link.method, link.code, link.distance) == ("semantic", "R50", MAX_DISTANCE)

    def test_a_distance_above_it_is_none_with_the_neighbours_as_candidates(self, tmp_path: Path) -> None:
        bench = make_bench(tmp_path, [DescriptionRow("BW20", "tomografía abdominal", "procedure")])
        link = bench.link("lejos")
        assert (link.method, link.code, link.codes, link.description, link.kind) == ("none", None, (), None, None)
        assert link.distance == pytest.approx(2 - 2 * np.cos(np.radians(135)), abs=1e-5)
        assert link.distance is not None
        assert link.distance > MAX_DISTANCE
        assert [(entry.code, entry.evidence) for entry in link.candidates] == [("BW20", ("neighbour",))]
        assert link.generated == "lejos"

    def test_hypotheses_that_match_stay_candidates_of_a_link_to_none(self, tmp_path: Path) -> None:
        bench = make_bench(tmp_path, [DescriptionRow("BW20", "tomografía abdominal", "procedure")])
        bench.generator.answers["x"] = ["lejos", "tomografía abdominal"]
        link = bench.link("x")
        assert (link.method, link.code) == ("none", None)
        assert [(entry.code, entry.evidence) for entry in link.candidates] == [("BW20", ("hypothesis", "neighbour"))]

    @pytest.mark.parametrize("empty", ["", " ", "\x00", "[Code: R50]", "\u200b"])
    @pytest.mark.parametrize("neighbours", ["misses", "always"])
    def test_an_empty_output_is_none_and_is_not_embedded(self, bench: Bench, empty: str, neighbours: str) -> None:
        bench.generator.answers["x"] = [empty, "Tos"]
        link = bench.link("x", neighbours=neighbours)
        assert (link.method, link.code, link.distance) == ("none", None, None)
        assert codes(link) == ["R05"]
        assert bench.embedder.calls == []


class TestBatches:
    TEXTS = ("Tos", "Hipotermia", "una imagen", "Fiebre", "algo frío", "Pirexia")

    def test_nothing_gives_nothing(self, bench: Bench) -> None:
        assert bench.linker.link([]) == []
        assert list(bench.linker.link_iter([])) == []

    @given(st.lists(st.tuples(st.sampled_from(TEXTS), st.sampled_from([None, "diagnosis", "procedure"])), max_size=12))
    @settings(
        max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
    )  # the bench keeps nothing but its calls
    def test_a_batch_gives_what_each_mention_gives_alone_in_the_input_s_order(
        self, bench: Bench, pairs: list[tuple[str, str | None]]
    ) -> None:
        mentions = [Mention(text, kind=kind, id=str(row)) for row, (text, kind) in enumerate(pairs)]
        links = bench.linker.link(mentions)
        assert [link.id for link in links] == [mention.id for mention in mentions]
        for mention, link in zip(mentions, links, strict=True):
            (alone,) = bench.linker.link([mention])
            assert dataclasses.replace(link, timings=alone.timings) == alone

    def test_equal_prompts_are_decoded_once(self, bench: Bench) -> None:
        mentions = [Mention("Tos"), Mention("Fiebre"), Mention("Tos", id="3"), Mention(" Tos ", kind="diagnosis")]
        links = bench.linker.link(mentions)
        assert [link.code for link in links] == ["R05", "R50", "R05", "R05"]
        ((prompts, _),) = bench.generator.calls
        assert prompts == [build_prompt("Tos", None), build_prompt("Fiebre", None)]

    def test_the_same_mention_in_two_sentences_is_decoded_twice(self, bench: Bench) -> None:
        bench.linker.link([Mention("Tos", "Tiene tos."), Mention("Tos", "Sin tos.")])
        assert len(bench.generator.calls[0][0]) == 2

    def test_equal_outputs_are_embedded_once(self, bench: Bench) -> None:
        for term in ("x", "y", "z"):
            bench.generator.answers[term] = ["algo frío"]
        links = bench.linker.link([Mention(term) for term in ("x", "Tos", "y", "z")])
        assert [link.code for link in links] == ["T68", "R05", "T68", "T68"]
        assert bench.embedder.calls == [["algo frío"]]

    def test_equal_outputs_with_other_kinds_keep_their_own_codes(self, bench: Bench) -> None:
        mentions = [Mention("Hipotermia", kind=kind) for kind in (None, "procedure", "diagnosis")]
        assert [link.codes for link in bench.linker.link(mentions)] == [("T68", "6A4Z"), ("6A4Z",), ("T68",)]

    def test_prompts_are_built_as_the_bundle_says(self, bench: Bench) -> None:
        stages = dataclasses.replace(bench.stages, prompt_settings=PromptSettings(False, 3))
        dataclasses.replace(bench, stages=stages).remade().linker.link([Mention("Tos", "Paciente,con Tos,fiebre")])
        assert bench.generator.calls[0][0] == [
            "Genera una definición para el término: Tos - en la frase: on Tos,fi",
        ]

    def test_a_prompt_that_was_cut_is_told(self, bench: Bench) -> None:
        cut, whole = bench.linker.link([Mention("Tos", "Tiene tos. " * 50), Mention("Tos", "Tiene tos.")])
        assert (cut.truncated, whole.truncated) == (True, False)

    def test_all_links_of_a_batch_share_its_timings(self, bench: Bench) -> None:
        links = bench.linker.link([Mention("Tos"), Mention("algo frío")])
        assert links[0].timings == links[1].timings
        timings = links[0].timings
        assert timings.mentions == 2
        for stage in ("tokenize", "generate", "match", "embed", "search"):
            assert getattr(timings, stage) > 0.0
        quick = bench.link("Tos").timings
        assert (quick.mentions, quick.embed, quick.search) == (1, 0.0, 0.0)

    def test_a_link_names_its_origin(self, bench: Bench) -> None:
        assert bench.link("Tos").provenance == PROVENANCE
        published = bench.link("Tos", decoding="published").provenance
        assert published == dataclasses.replace(PROVENANCE, decoding="published")

    @pytest.mark.parametrize("decoding", ["published", "probable"])
    def test_the_decoding_chooses_the_search(self, bench: Bench, decoding: Any) -> None:
        bench.link("Tos")
        bench.link("Tos", decoding=decoding)
        assert [search for _, search in bench.generator.calls] == [SEARCHES["probable"], SEARCHES[decoding]]


class TestRefusals:
    def test_kinds_are_those_of_the_knowledge_base(self, bench: Bench) -> None:
        assert bench.linker.kinds == ("diagnosis", "procedure")
        for kind in (None, "diagnosis", "procedure"):
            bench.linker.check(Mention("Tos", kind=kind))

    @pytest.mark.parametrize("kind", [MARKER, "", "Diagnosys", "fármaco"])
    def test_an_unknown_kind_is_refused_before_anything_is_decoded(self, bench: Bench, kind: str) -> None:
        mentions = [Mention("Tos"), Mention(f"{MARKER} alta", f"{MARKER} alta", kind)]
        with pytest.raises(MentionError, match="expected diagnosis, procedure, or none") as caught:
            bench.linker.link(mentions)
        assert MARKER not in str(caught.value)
        assert bench.generator.calls == []

    @pytest.mark.parametrize("top_k", [0, -1])
    def test_a_link_needs_a_candidate(self, bench: Bench, top_k: int) -> None:
        with pytest.raises(OptionError, match="top_k"):
            bench.linker.link([Mention("Tos")], LinkOptions(top_k=top_k))

    def test_an_unknown_decoding_is_refused(self, bench: Bench) -> None:
        with pytest.raises(ValueError, match="decoding 'beams', expected one of published, probable, greedy"):
            bench.linker.link([Mention("Tos")], LinkOptions(decoding="beams"))  # type: ignore[arg-type]

    def test_closing_releases_every_stage(self, bench: Bench) -> None:
        with bench.linker as linker:
            assert linker is bench.linker
        assert (bench.generator.closed, bench.embedder.closed) == (1, 1)
        with pytest.raises(Exception, match="closed database"):
            bench.stages.knowledge_base.match("Tos")


class TestStream:
    def test_a_stream_is_linked_chunk_by_chunk_and_no_further_than_it_is_read(self, bench: Bench) -> None:
        taken: list[int] = []

        def endless() -> Iterator[Mention]:
            while True:
                taken.append(len(taken))
                yield Mention(TestBatches.TEXTS[len(taken) % 6], id=str(len(taken)))

        links = bench.linker.link_iter(endless(), chunk=3)
        assert taken == []
        assert next(links).id == "1"
        assert len(taken) == 3
        assert [next(links).id, next(links).id] == ["2", "3"]
        assert len(taken) == 3
        assert next(links).id == "4"
        assert len(taken) == 6

    @pytest.mark.parametrize("chunk", [1, 2, 3, 4, 5, 512])
    def test_chunks_give_what_one_batch_gives(self, bench: Bench, chunk: int) -> None:
        mentions = [Mention(text, id=str(row)) for row, text in enumerate(TestBatches.TEXTS[:4])]
        streamed = list(bench.linker.link_iter(iter(mentions), LinkOptions(top_k=2, neighbours="always"), chunk=chunk))
        whole = bench.linker.link(mentions, LinkOptions(top_k=2, neighbours="always"))
        assert [dataclasses.replace(link, timings=whole[0].timings) for link in streamed] == whole
        assert [link.timings.mentions for link in streamed] == [
            min(chunk, 4 - row // chunk * chunk) for row in range(4)
        ]

    @pytest.mark.parametrize("chunk", [0, -1])
    def test_a_chunk_holds_at_least_one(self, bench: Bench, chunk: int) -> None:
        with pytest.raises(ValueError, match="expected at least 1"):
            list(bench.linker.link_iter([Mention("Tos")], chunk=chunk))


class TestEach:
    def test_a_link_or_an_error_for_each_in_its_place(self, bench: Bench) -> None:
        unread = MentionError("the row has no text")
        entries = [Mention("Tos", id="a"), unread, Mention("Fiebre", kind=MARKER), Mention("Fiebre", id="d")]
        outcomes = list(bench.linker.link_each(entries, chunk=3))
        assert [outcome.id for outcome in outcomes if isinstance(outcome, Link)] == ["a", "d"]
        assert outcomes[1] is unread
        assert isinstance(outcomes[2], MentionError)
        assert MARKER not in str(outcomes[2])
        assert [len(texts) for texts, _ in bench.generator.calls] == [1, 1]

    @pytest.mark.parametrize("chunk", [1, 2, 512])
    def test_links_are_those_of_one_batch(self, bench: Bench, chunk: int) -> None:
        mentions = [Mention(text) for text in TestBatches.TEXTS]
        each = bench.linker.link_each(iter(mentions), LinkOptions(top_k=2), chunk=chunk)
        whole = bench.linker.link(mentions, LinkOptions(top_k=2))
        assert [dataclasses.replace(link, timings=whole[0].timings) for link in each] == whole  # type: ignore[type-var]

    def test_nothing_but_errors_needs_no_model(self, bench: Bench) -> None:
        errors = [MentionError("one"), MentionError("two")]
        assert list(bench.linker.link_each(errors)) == errors
        assert bench.generator.calls == []

    def test_what_is_no_mention_is_an_error_of_its_own(self, bench: Bench) -> None:
        found = list(bench.linker.link_each([Mention("Tos"), f"{MARKER} alta"]))  # type: ignore[list-item]
        assert isinstance(found[0], Link)
        assert "type str, expected a Mention" in str(found[1])
        assert MARKER not in str(found[1])


class TestMisuse:
    @pytest.mark.parametrize("given", [Mention("Tos"), "Tos"], ids=["a mention", "a string"])
    def test_one_in_the_place_of_a_list_is_refused(self, bench: Bench, given: Any) -> None:
        for link in (bench.linker.link, lambda one: list(bench.linker.link_each(one))):
            with pytest.raises(MentionError, match="expected an iterable of Mention"):
                link(given)

    def test_a_list_of_strings_is_refused(self, bench: Bench) -> None:
        with pytest.raises(MentionError, match="type str, expected a Mention"):
            bench.linker.link(["Tos"])  # type: ignore[list-item]

    def test_options_of_another_type_are_refused(self, bench: Bench) -> None:
        with pytest.raises(OptionError, match="type dict, expected LinkOptions"):
            bench.linker.link([Mention("Tos")], {"top_k": 1})  # type: ignore[arg-type]


class TestClosed:
    def test_every_method_says_that_it_is_closed(self, bench: Bench) -> None:
        linker = bench.linker
        linker.close()
        linker.close()
        for use in (
            lambda: linker.link([Mention("Tos")]),
            lambda: list(linker.link_iter([Mention("Tos")])),
            lambda: list(linker.link_each([Mention("Tos")])),
            lambda: linker.link_document("Tos.", [(0, 3)]),
            lambda: linker.input_lengths([Mention("Tos")]),
            lambda: linker.output_lengths([]),
        ):
            with pytest.raises(ClosedError, match="this linker is closed"):
                use()
        assert bench.generator.closed == 1

    @pytest.mark.usefixtures("every_processor")
    def test_closing_waits_for_the_call_at_work(self, bench: Bench) -> None:
        entered, go_on, closed_at_the_end = threading.Event(), threading.Event(), []
        generate = bench.generator.generate

        def slow(*given: Any) -> Any:
            entered.set()
            assert go_on.wait(30)
            closed_at_the_end.append(bench.generator.closed)
            return generate(*given)

        bench.generator.generate = slow  # type: ignore[method-assign]
        with ThreadPoolExecutor() as pool:
            linked = pool.submit(bench.linker.link, [Mention("Tos")])
            assert entered.wait(30)
            closing = pool.submit(bench.linker.close)
            go_on.set()
            assert linked.result(30)[0].code == "R05"
            closing.result(30)
        assert closed_at_the_end == [0]
        assert bench.generator.closed == 1

    @pytest.mark.usefixtures("every_processor")
    def test_daemon_threads_that_link_at_the_end_end_with_the_process(self) -> None:
        code = """
import threading, time
from cielo import Linker, Mention
linker = Linker.open(cache=False)
def work():
    for number in range(10_000):
        linker.link([Mention(f"dolor {number}")])
for _ in range(3):
    threading.Thread(target=work, daemon=True).start()
time.sleep(0.3)
"""
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
    def test_another_process_is_refused_and_told_of_spawn(self, bench: Bench) -> None:
        reading, writing = os.pipe()
        child = os.fork()
        if not child:  # pragma: no cover
            try:
                bench.linker.link([Mention("Tos")])
            except ClosedError as error:
                os.write(writing, str(error).encode())
                bench.linker.close()
                os.write(writing, f" closed {bench.generator.closed}".encode())
            finally:
                os._exit(0)
        os.waitpid(child, 0)
        told = os.read(reading, 10_000).decode()
        assert "spawn" in told and told.endswith("closed 0")
        assert bench.link("Tos").code == "R05"


class TestOpening:
    def test_a_missing_bundle_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(BundleError, match="no bundle at"):
            Linker.open(tmp_path / "missing")

    @pytest.mark.parametrize(
        "entry",
        [
            None,
            ParityFigures("failed", (Check("some", 2.0, 1.0, "<="),)),
            ParityFigures("unverified"),
            ParityFigures("passed"),
        ],
    )
    def test_a_compute_type_without_parity_is_refused_and_the_way_out_named(
        self,
        tmp_path: Path,
        bundle_files: Path,
        manifest: Manifest,
        shown: ParityFigures,
        monkeypatch: pytest.MonkeyPatch,
        entry: ParityFigures | None,
    ) -> None:
        monkeypatch.setenv("CIELO_STATE", str(tmp_path / "state"))
        parity = {"ctranslate2/cpu/float32": shown} | ({"ctranslate2/cpu/int8": entry} if entry is not None else {})
        write_manifest(bundle_files, dataclasses.replace(manifest, parity=parity))
        way_out = r"shown: ctranslate2/cpu/float32\).*cielo verify --parity .*--compute-type int8"
        with pytest.raises(UnverifiedError, match=way_out):
            Linker.open(bundle_files, device="cpu")

    def test_an_altered_index_is_refused_before_it_is_loaded(
        self, tmp_path: Path, bundle_files: Path, manifest: Manifest, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("CIELO_STATE", str(tmp_path / "state"))
        bundle = write_manifest(bundle_files, manifest)
        file = bundle.index / "0" / "graph.hnsw"
        file.write_bytes(b"G" + file.read_bytes()[1:])
        with pytest.raises(BundleError, match=r"index/0/graph\.hnsw does not have the content"):
            Linker.open(bundle_files, device="cpu", allow_unverified=True)


class TestCache:
    @pytest.fixture
    def cached(self, bench: Bench) -> Bench:
        return bench.remade(cache=MemoryCache())

    def test_what_was_found_is_not_decoded_again(self, cached: Bench) -> None:
        first = cached.linker.link([Mention("Tos", "Tiene tos.", id="a")])
        second = cached.linker.link([Mention("Tos", "Tiene tos.", id="b"), Mention("Hipotermia")])
        assert [len(texts) for texts, _ in cached.generator.calls] == [1, 1]
        assert (first[0].id, second[0].id) == ("a", "b")
        assert dataclasses.replace(first[0], id=None, timings=Timings()) == dataclasses.replace(
            second[0], id=None, timings=Timings()
        )
        assert cached.linker.cache_stats == CacheStats(hits=1, misses=2)

    def test_another_kind_top_k_neighbours_or_search_is_another_link(self, cached: Bench) -> None:
        mention = Mention("Hipotermia")
        cached.linker.link([mention])
        cached.linker.link([Mention("Hipotermia", kind="diagnosis")])
        cached.linker.link([mention], LinkOptions(top_k=1))
        cached.linker.link([mention], LinkOptions(neighbours="always"))
        cached.linker.link([mention], LinkOptions(decoding="published"))
        assert cached.linker.cache_stats.hits == 0

    def test_equal_entries_of_a_batch_are_one(self, cached: Bench) -> None:
        links = cached.linker.link([Mention("Tos"), Mention("Hipotermia"), Mention("Tos")])
        assert [link.code for link in links] == ["R05", "T68", "R05"]
        assert cached.linker.cache_stats == CacheStats(misses=2)


class TestShorterSearch:
    def greedy(self, bench: Bench) -> Bench:
        return bench.remade(plan=ThreadPlan(1, first_search="greedy"))

    def test_one_answer_may_be_looked_for_greedily(self, bench: Bench) -> None:
        self.greedy(bench).linker.link([Mention("Tos")], LinkOptions(top_k=1))
        assert bench.generator.calls[0][1].beams == 1

    def test_runners_up_are_the_beams_(self, bench: Bench) -> None:
        self.greedy(bench).linker.link([Mention("Tos")], LinkOptions(top_k=2))
        assert [search.beams for _, search in bench.generator.calls] == [5]

    def test_the_card_s_search_is_never_shortened(self, bench: Bench) -> None:
        self.greedy(bench).linker.link([Mention("Tos")], LinkOptions(top_k=1, decoding="published"))
        assert [search.beams for _, search in bench.generator.calls] == [5]

    def test_a_calibrated_bundle_never_takes_the_shorter_way(self, bench: Bench) -> None:
        plan = ThreadPlan(1, first_search="greedy")
        bench.remade(plan=plan, calibrations={"probable": SURE}).link("Tos", top_k=1)
        bench.remade(plan=plan, calibrations={"published": SURE}).link("Tos", top_k=1)
        assert [search.beams for texts, search in bench.generator.calls if texts] == [5, 1]

    def test_what_is_ranked_again_needs_the_beams(self, bench: Bench) -> None:
        bench.generator.likelihoods = dict.fromkeys(ANGLES, -3.0)
        self.greedy(bench).link("Tos", top_k=1, rerank=True)
        assert [search.beams for _, search in bench.generator.calls] == [5]

    def test_without_the_plan_s_word_it_is_beams(self, bench: Bench) -> None:
        bench.linker.link([Mention("Tos")], LinkOptions(top_k=1))
        assert [search.beams for _, search in bench.generator.calls] == [5]


class TestPipelines:
    def test_the_first_answers_exact_matches_alone(self, bench: Bench) -> None:
        assert bench.link("Tos", pipeline="I").code == "R05"
        link = bench.link("una imagen", pipeline="I", neighbours="always")
        assert (link.method, link.code, link.candidates, link.distance) == ("none", None, (), None)
        assert link.provenance.pipeline == "I"
        assert bench.embedder.calls == []

    @pytest.mark.parametrize(
        "options", [
            {"pipeline": "III"}, {"rerank": True, "matching": "published"}, {"rerank": True, "pipeline": "I"},
            {"matching": "published", "subset": Subset(leaf=True)},
        ],
    )  # fmt: skip
    def test_what_does_not_go_together_is_refused(self, bench: Bench, options: dict[str, Any]) -> None:
        with pytest.raises(ValueError, match=r"expected one of I, II|goes with pipeline II|looks at every row"):
            bench.link("Tos", **options)

    def test_the_longest_distance_can_be_given(self, bench: Bench) -> None:
        near = bench.link("una imagen", kind="procedure")
        assert near.distance is not None
        assert bench.link("una imagen", kind="procedure", max_distance=near.distance).method == "semantic"
        assert bench.link("una imagen", kind="procedure", max_distance=near.distance / 2).method == "none"


class TestPublishedMatching:
    def test_the_first_row_wins_whatever_the_casing(self, bench: Bench) -> None:
        for text in ("hipotermia", "Hipotermia", "HIPOTERMIA"):
            link = bench.link(text, matching="published")
            assert (link.codes, link.provenance.matching) == (("T68",), "published")
        assert bench.link("hipotermia").codes == ("6A4Z", "T68")
        assert bench.link("Tomografía abdominal", matching="published").codes == ("BW20",)
        assert bench.link("Tomografía abdominal").codes == ("BW20ZZZ", "BW20")

    def test_the_table_is_chosen_by_kind(self, bench: Bench) -> None:
        assert bench.link("Hipotermia", matching="published", kind="procedure").codes == ("6A4Z",)

    def test_a_query_is_in_lower_case_and_no_distance_is_too_far(self, bench: Bench) -> None:
        bench.generator.answers["x"] = ["LEJOS"]
        link = bench.link("x", matching="published")
        assert bench.embedder.calls == [["lejos"]]
        assert (link.method, link.code) == ("semantic", "R50.9")
        assert link.distance == pytest.approx(2 - 2 * np.cos(np.radians(35)), abs=1e-6)

    def test_the_nearest_description_s_first_row_is_the_answer(self, bench: Bench) -> None:
        assert bench.link("algo caliente", matching="published").codes == ("R50",)
        assert bench.link("algo caliente").codes == ("R50", "R50.9")

    def test_the_paper_s_normal_form_folds_fewer_letters(self, tmp_path: Path) -> None:
        bench = make_bench(tmp_path, [DescriptionRow("A", "Tos", "x"), DescriptionRow("B", "lejos", "x")])
        ANGLES.setdefault("tös", 10)
        bench.generator.answers["x"] = ["tös"]
        assert bench.link("x").method == "exact"
        assert bench.link("x", matching="published").method == "semantic"

    def test_line_ends_are_deleted_as_in_the_paper_and_else_become_spaces(self, bench: Bench) -> None:
        mention = Mention("Tos", "Tiene insuficiencia\nrenal.")
        for matching in ("tiered", "published"):
            bench.linker.link([mention], LinkOptions(matching=matching))  # type: ignore[arg-type]
        sentences = [prompt.split("en la frase: ")[1] for texts, _ in bench.generator.calls for prompt in texts]
        assert sentences == ["Tiene insuficiencia renal.", "Tiene insuficienciarenal."]


class TestSubset:
    def test_matches_outside_are_no_matches(self, bench: Bench) -> None:
        subset = Subset(codes=frozenset({"6a4z", "R05"}))
        assert bench.link("Hipotermia", subset=subset).codes == ("6A4Z",)
        link = bench.link("Fiebre", subset=subset, max_distance=4)
        assert link.method == "semantic"
        assert set(codes(link)) <= {"6A4Z", "R05"}

    def test_only_leaves(self, bench: Bench) -> None:
        assert bench.link("Fiebre", subset=Subset(leaf=True)).code == "R50.9"
        assert bench.link("Fiebre").code == "R50"

    def test_the_nearest_of_the_subset_is_found_behind_nearer_ones(self, bench: Bench) -> None:
        link = bench.link("algo caliente", subset=Subset(codes=frozenset({"R05"})), max_distance=4, top_k=1)
        assert (link.method, link.code) == ("semantic", "R05")

    def test_a_subset_without_codes_answers_none(self, bench: Bench) -> None:
        link = bench.link("Tos", subset=Subset(codes=frozenset()))
        assert (link.method, link.candidates) == ("none", ())


class TestRerank:
    def test_candidates_are_ordered_by_their_likelihood(self, bench: Bench) -> None:
        bench.generator.answers["x"] = ["una imagen", "Tos"]
        bench.generator.likelihoods = dict.fromkeys(ANGLES, -3.0) | {"tomografía abdominal": -0.25}
        link = bench.link("x", rerank=True, top_k=3)
        assert (link.code, link.method) == ("BW20", "semantic")
        assert [(entry.code, entry.log_prob) for entry in link.candidates][:2] == [("BW20", -0.25), ("R05", -1.0)]
        assert "Tos" not in bench.generator.scored, "a hypothesis has its own log-probability"

    def test_a_better_hypothesis_stays_first(self, bench: Bench) -> None:
        bench.generator.likelihoods = dict.fromkeys(ANGLES, -3.0)
        link = bench.link("Tos", rerank=True)
        assert (link.code, link.method, link.match) == ("R05", "exact", "literal")

    def test_a_later_hypothesis_tells_its_own_match(self, bench: Bench) -> None:
        bench.generator.answers["x"] = ["una imagen", "TOS"]
        bench.generator.likelihoods = dict.fromkeys(ANGLES, -9.0)
        link = bench.link("x", rerank=True)
        assert (link.code, link.method, link.match, link.generated) == ("R05", "exact", "normal", "una imagen")

    def test_what_is_too_far_is_not_answered(self, bench: Bench) -> None:
        bench.generator.likelihoods = dict.fromkeys(ANGLES, -0.1)
        link = bench.link("lejos", rerank=True, max_distance=0.01)
        assert (link.code, link.method) == (None, "none")
        assert link.candidates


class TestMatch:
    def test_a_link_tells_how_it_matched_and_which_title_its_code_has(self, bench: Bench) -> None:
        assert (bench.link("Tos").match, bench.link("TOS").match, bench.link("una imagen").match) == (
            "literal", "normal", None,
        )  # fmt: skip
        link = bench.link("pirexia")
        assert (link.description, link.title, link.match) == ("Pirexia", "Fiebre, no especificada", "normal")

    def test_the_margin_is_over_the_best_output_that_means_another_code(self, bench: Bench) -> None:
        bench.generator.answers["x"] = ["Pirexia", "pirexia", "Fiebre, no especificada", "Tos"]
        assert bench.link("x").margin == pytest.approx(1.5)
        bench.generator.answers["y"] = ["Pirexia", "nada de eso"]
        assert bench.link("y").margin == pytest.approx(0.5)
        assert bench.link("Tos").margin is None


# The log-odds of the output's probability, less one where it was matched in normal form.
SURE = Calibration(
    1, TERMS, (0.0,) * len(TERMS), (1.0,) * len(TERMS),
    tuple({"log_p": 1.0, "minus_log_not_p": 1.0, "normal_form": -1.0}.get(term, 0.0) for term in TERMS),
    intercept=0.0, mentions=2, right=1, penalty=1.0,
)  # fmt: skip


class TestConfidence:
    @pytest.fixture
    def calibrated(self, bench: Bench) -> Bench:
        return bench.remade(calibrations={"probable": SURE})

    def test_it_is_absent_where_never_calibrated(self, bench: Bench) -> None:
        assert bench.link("Tos").confidence is None
        with pytest.raises(CalibrationError, match="never calibrated"):
            bench.link("Tos", min_confidence=0.5)

    def test_a_calibrated_link_has_one(self, calibrated: Bench) -> None:
        assert calibrated.link("Tos").confidence == pytest.approx(np.exp(-0.5))
        odds = np.exp(-0.5) / (1 - np.exp(-0.5)) / np.e
        assert calibrated.link("TOS").confidence == pytest.approx(odds / (1 + odds))
        assert list(calibrated.linker.calibrations) == ["probable"]

    @pytest.mark.parametrize(
        "options",
        [{"matching": "published"}, {"decoding": "published"}, {"subset": Subset(leaf=True)}],
        ids=["as in the paper", "another search", "a subset"],
    )
    def test_other_ways_of_linking_have_none(self, calibrated: Bench, options: dict[str, Any]) -> None:
        assert calibrated.link("Tos", **options).confidence is None
        with pytest.raises(CalibrationError, match="never calibrated"):
            calibrated.link("Tos", min_confidence=0.5, **options)

    def test_re_ranked_links_have_none(self, calibrated: Bench) -> None:
        calibrated.generator.likelihoods = dict.fromkeys(ANGLES, -3.0)
        assert calibrated.link("Tos", rerank=True).confidence is None
        with pytest.raises(CalibrationError, match="never calibrated"):
            calibrated.link("Tos", rerank=True, min_confidence=0.5)

    def test_an_answer_that_is_not_sure_enough_is_taken_back(self, calibrated: Bench) -> None:
        link = calibrated.link("Tos", min_confidence=0.7)
        assert (link.code, link.codes, link.description, link.title, link.method) == (None, (), None, None, "none")
        assert link.confidence == pytest.approx(np.exp(-0.5))
        assert codes(link) == ["R05"]
        assert link.confidence is not None
        assert calibrated.link("Tos", min_confidence=link.confidence).code == "R05"

    def test_what_has_no_code_has_no_confidence(self, calibrated: Bench) -> None:
        assert calibrated.link("lejos", max_distance=0.01).confidence is None

    def test_neighbours_beside_an_exact_match_do_not_change_it(self, calibrated: Bench) -> None:
        one, other = calibrated.link("Tos"), calibrated.link("Tos", neighbours="always")
        assert one.confidence == other.confidence


class TestLexicon:
    @pytest.fixture
    def listed(self, bench: Bench, tmp_path: Path) -> Bench:
        path = tmp_path / "lexicon.tsv"
        path.write_text("text\tcode\tkind\nla tisis\tR05\t\nraro\tZ99\t\nfrío\t6a4z\tprocedure\n", encoding="utf-8")
        return bench.remade(lexicon=read_lexicon(path))

    def test_a_listed_mention_is_answered_without_the_model(self, listed: Bench) -> None:
        link = listed.link("LA TISIS")
        assert (link.method, link.code, link.description, link.kind) == ("lexicon", "R05", "Tos", "diagnosis")
        assert (link.generated, link.log_prob, link.probability, link.confidence) == ("", None, None, None)
        assert link.candidates == (Candidate("R05", "Tos", "diagnosis", ("lexicon",), title="Tos"),)
        assert listed.generator.calls == []

    def test_results_stay_in_order_beside_the_model_s(self, listed: Bench) -> None:
        mentions = [Mention("Tos", id="a"), Mention("la tisis", id="b"), Mention("Fiebre", id="c")]
        links = listed.linker.link(mentions)
        assert [(link.id, link.code, link.method) for link in links] == [
            ("a", "R05", "exact"), ("b", "R05", "lexicon"), ("c", "R50", "exact"),
        ]  # fmt: skip
        assert {link.timings.mentions for link in links} == {3}

    def test_a_kind_must_agree(self, listed: Bench) -> None:
        ANGLES.setdefault("frío", 0)
        assert listed.link("frío", kind="procedure").method == "lexicon"
        assert listed.link("frío", kind="diagnosis").method == "semantic"

    def test_a_code_that_the_knowledge_base_lacks_is_passed_over(self, listed: Bench) -> None:
        ANGLES.setdefault("raro", 90)
        assert listed.link("raro").method == "semantic"

    def test_lines_that_are_not_used_are_told(self, listed: Bench, bench: Bench) -> None:
        assert [problem.line for problem in listed.linker.lexicon_problems()] == [3]
        assert bench.linker.lexicon_problems() == []

    def test_it_can_be_left_out(self, listed: Bench) -> None:
        ANGLES.setdefault("la tisis", 180)
        assert listed.link("la tisis", lexicon=False).method == "semantic"
        assert listed.link("la tisis", matching="published").method == "semantic"

    def test_a_code_that_shares_its_title_with_one_of_the_subset_is_passed_over(self, tmp_path: Path) -> None:
        rows = [DescriptionRow("R05", "Tos", "diagnosis"), DescriptionRow("R06", "Tos", "diagnosis")]
        (tmp_path / "l.tsv").write_text("text\tcode\nTos\tR05\n", encoding="utf-8")
        bench = make_bench(tmp_path, rows).remade(lexicon=read_lexicon(tmp_path / "l.tsv"))
        assert bench.link("Tos").code == "R05"
        link = bench.link("Tos", subset=Subset(codes=frozenset({"R06"})))
        assert (link.method, link.codes) == ("exact", ("R06",))

    def test_a_code_outside_of_the_subset_is_passed_over(self, listed: Bench) -> None:
        ANGLES.setdefault("la tisis", 180)
        link = listed.link("la tisis", subset=Subset(kinds=frozenset({"procedure"})), max_distance=4)
        assert (link.method, link.kind) == ("semantic", "procedure")


class TestDocuments:
    TEXT = "Paciente con Tos seca. Refiere Fiebre alta."

    def test_each_span_is_linked_in_its_sentence(self, bench: Bench) -> None:
        found = bench.linker.link_document(self.TEXT, [((31, 37),), (13, 16)], ids=["f", "t"])
        assert [entry.link and (entry.link.id, entry.link.code) for entry in found] == [("f", "R50"), ("t", "R05")]
        assert [entry.sentence for entry in found] == [(23, 43), (0, 22)]
        assert found[1].spans == ((13, 16),)
        ((prompts, _),) = bench.generator.calls
        assert prompts == [
            build_prompt("Fiebre", "Refiere Fiebre alta."),
            build_prompt("Tos", "Paciente con Tos seca."),
        ]

    def test_a_wrong_span_or_kind_is_an_error_beside_the_others(self, bench: Bench) -> None:
        spans = [(13, 16), (40, 99), (31, 37)]
        found = bench.linker.link_document(self.TEXT, spans, kinds=["diagnosis", None, "oncology"])
        assert [entry.link is not None for entry in found] == [True, False, False]
        assert found[1].error is not None
        assert found[2].error is not None
        assert "oncology" not in found[2].error
        assert "Tos" not in found[1].error + found[2].error

    def test_a_span_with_another_text_than_the_expected_one_is_not_linked(self, bench: Bench) -> None:
        crlf = self.TEXT.replace(". ", ".\r\n")
        spans = [(13, 16), (31, 37), (32, 38)]
        found = bench.linker.link_document(crlf, spans, texts=["Tos", "Fiebre", "Fiebre"])
        assert [entry.link is not None for entry in found] == [True, False, True]
        assert [entry.text for entry in found] == ["Tos", None, "Fiebre"]
        assert "is not the annotated one; were line ends or the text changed since?" in str(found[1].error)
        assert "Fiebre" not in str(found[1].error)


def test_a_linker_beside_another_has_a_generator_of_its_own_and_shares_the_rest() -> None:
    with Linker.open(decoding="probable", backend="ctranslate2") as first:
        second = Linker.open(decoding="probable", backend="onnx", beside=first)
        assert second.knowledge_base is first.knowledge_base
        codes = [linker.link([Mention("tos")])[0].code for linker in (first, second)]
        assert [linker.provenance().backend for linker in (first, second)] == ["ctranslate2", "onnx"]
        second.close()
        assert codes == [first.link([Mention("tos")], LinkOptions(top_k=1))[0].code] * 2
