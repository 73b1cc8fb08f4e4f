"""The ONNX Runtime backend: the contract, CTranslate2's searches, PyTorch's constrained ones, and every description."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from backend_contract import BackendContract, Subject
from cielo.bundle.layout import Bundle, default_bundle
from cielo.errors import BundleError, DeviceError
from cielo.generation.backends import backend
from cielo.generation.constrained import ConstrainedSearch, Found
from cielo.generation.memory import Scoring
from cielo.generation.onnx import OnnxBackend, OnnxGenerator
from cielo.generation.onnx_files import DECODER, EMBEDDINGS, ENCODER, ENCODER_BIAS, OUTPUT_IDS, SETTINGS
from cielo.generation.onnx_model import _set_waiting
from cielo.generation.plan import ThreadPlan
from cielo.generation.protocol import Generator
from cielo.generation.searches import SEARCHES
from cielo.generation.trie import Trie
from cielo.parity.references import References
from cielo.records import Decoding
from cielo.text.tokenizer import Encoded, Tokenizer
from cielo_convert.checkpoint import load_generator, load_tokenizer
from cielo_convert.generator import output_ids
from cielo_convert.onnx_generator import convert_onnx
from transformers import PrefixConstrainedLogitsProcessor

from tests.checkpoints import descriptions, make_generator_checkpoint

MINI = Path(__file__).parents[3] / "models" / "mini" / "checkpoint" / "generator"
END, UNKNOWN = 1, 2
EVERYTHING = ConstrainedSearch(best=5, lead=math.inf, max_passes=100_000, max_tokens=10**9)
SHAPES = (
    {},
    {"d_model": 32, "d_kv": 8, "heads": 2, "decoder_layers": 1},
    {"d_model": 40, "heads": 5, "d_kv": 16, "layers": 1, "decoder_layers": 3},
    {"tied": True},
)


@pytest.fixture(scope="module")
def mini_tokenizer() -> Tokenizer:
    mini = Bundle.open(default_bundle())
    return Tokenizer(mini.generator_tokenizer, mini.manifest.generator.max_source_tokens)


@pytest.fixture(scope="module")
def mini_models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The mini, converted to each compute type."""
    folder, model = tmp_path_factory.mktemp("mini"), load_generator(MINI)
    for compute_type in ("float32", "int8"):
        (folder / compute_type).mkdir()
        convert_onnx(model, folder / compute_type, compute_type, None, unknown=UNKNOWN)
    return {name: folder / name for name in ("float32", "int8")}


class TestFloat32(BackendContract):
    @pytest.fixture(scope="class")
    def subject(self, mini_tokenizer: Tokenizer, mini_models: dict[str, Path]) -> Subject:
        return Subject(OnnxBackend(), mini_models["float32"], mini_tokenizer, "float32", 1e-4)


class TestInt8(BackendContract):
    @pytest.fixture(scope="class")
    def subject(self, mini_tokenizer: Tokenizer, mini_models: dict[str, Path]) -> Subject:
        # Each row has its own scale: int8 hangs on its batch no more than float32 does, but for a level that rounds.
        return Subject(OnnxBackend(), mini_models["int8"], mini_tokenizer, "int8", 2e-2)


class TestAsCTranslate2:
    """The same searches, step for step: hypotheses, scores, and where the search stops."""

    @pytest.fixture(scope="class")
    def pair(self, mini_tokenizer: Tokenizer, mini_models: dict[str, Path]) -> Iterator[tuple[Generator, Generator]]:
        mini, plan = Bundle.open(default_bundle()), ThreadPlan(1)
        other = backend("ctranslate2").open(
            mini.generator_model("ctranslate2"), mini_tokenizer, device="cpu", compute_type="float32", plan=plan
        )
        with other, OnnxGenerator(mini_models["float32"], mini_tokenizer) as own:
            yield own, other

    @pytest.fixture(scope="class")
    def prompts(self) -> list[Encoded]:
        mini = Bundle.open(default_bundle())
        references = References.load(mini.references, mini.reference_vectors)
        return [Encoded(ids, False) for ids in references.prompt_ids[:120]]

    @pytest.mark.parametrize("decoding", list(SEARCHES))
    @pytest.mark.parametrize("longest", [128, 5, 2])
    def test_it_finds_the_same(
        self, pair: tuple[Generator, Generator], prompts: list[Encoded], decoding: Decoding, longest: int
    ) -> None:
        search = replace(SEARCHES[decoding], max_new_tokens=longest)
        found, wanted = (generator.generate(prompts, search) for generator in pair)
        assert [len(rows) for rows in found] == [len(rows) for rows in wanted]
        for got, expected in zip(found, wanted, strict=True):
            assert [one.score for one in got] == pytest.approx([one.score for one in expected], abs=1e-4)
            assert [(one.text, one.length, one.finished) for one in got[:1]] == [
                (one.text, one.length, one.finished) for one in expected[:1]
            ]
            assert {one.text for one in got} == {one.text for one in expected}

    def test_it_scores_the_same(self, pair: tuple[Generator, Generator], prompts: list[Encoded]) -> None:
        targets = [[token % 4000 + 3 for token in prompt.ids[: row % 9]] for row, prompt in enumerate(prompts)]
        found, wanted = (generator.log_probs(prompts, targets) for generator in pair)
        for got, expected in zip(found, wanted, strict=True):
            assert got == pytest.approx(expected, abs=1e-3)


@pytest.fixture(scope="module", params=range(len(SHAPES)), ids=lambda number: f"shape{number}")
def tiny(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[OnnxGenerator, Tokenizer, Any]:
    """A tiny random model whose outputs are the tokens of the tiny knowledge base, and the same in PyTorch."""
    folder = tmp_path_factory.mktemp("tiny")
    checkpoint = make_generator_checkpoint(folder / "checkpoint", seed=request.param, **SHAPES[request.param])
    model, tokenizer = load_generator(checkpoint), load_tokenizer(checkpoint)
    convert_onnx(model, folder, "float32", output_ids(tokenizer, descriptions()), unknown=UNKNOWN)
    own = Tokenizer(checkpoint / "tokenizer.json", 64)
    return OnnxGenerator(folder, own), own, model


def some_prompts(tokenizer: Tokenizer, count: int) -> list[Encoded]:
    return tokenizer.encode(
        [f"{text.lower()} desde hace {number} días" for number, text in enumerate(descriptions()[:count])]
    )


def exhaustive(generator: OnnxGenerator, prompt: Encoded, sequences: list[list[int]]) -> list[float]:
    return [float(np.sum(row)) for row in generator.log_probs([prompt] * len(sequences), sequences)]


def assert_best(found: Found, trie: Trie, sequences: list[list[int]], scores: list[float], best: int) -> None:
    assert found.proof.exact
    wanted = sorted(scores, reverse=True)[:best]
    assert [leaf.log_prob for leaf in found.leaves[:best]] == pytest.approx(wanted, abs=1e-4)
    by_sequence = {tuple(sequence): score for sequence, score in zip(sequences, scores, strict=True)}
    for leaf in found.leaves:
        sequence = tuple(int(token) for token in trie.sequence(leaf.first)[:-1])
        assert leaf.log_prob == pytest.approx(by_sequence[sequence], abs=1e-4)


def test_the_best_descriptions_are_those_of_exhaustive_scoring(tiny: tuple[OnnxGenerator, Tokenizer, Any]) -> None:
    """500 triples of model, trie and prompt for each shape: 2,000 in all."""
    generator, tokenizer, _ = tiny
    dice = random.Random(len(tokenizer.encode_target("tos")))
    every = [tokenizer.encode_target(text) for text in descriptions()]
    prompts = some_prompts(tokenizer, 20)
    all_scores = [exhaustive(generator, prompt, every) for prompt in prompts]
    for _ in range(25):
        rows = sorted(dice.sample(range(len(every)), dice.choice([1, 2, 3, 10, 40, len(every)])))
        trie, _order = Trie.build([every[row] for row in rows], END)
        search = replace(EVERYTHING, best=dice.randint(1, 5), at_once=dice.randint(1, 3))
        found = generator.search_tries(prompts, [trie] * len(prompts), search)
        for answer, scores in zip(found, all_scores, strict=True):
            assert_best(answer, trie, [every[row] for row in rows], [scores[row] for row in rows], search.best)


def test_neighbours_in_a_batch_and_their_tries_change_nothing(tiny: tuple[OnnxGenerator, Tokenizer, Any]) -> None:
    generator, tokenizer, _ = tiny
    every = [tokenizer.encode_target(text) for text in descriptions()]
    tries = [Trie.build(every[start :: number + 1], END)[0] for number, start in enumerate((0, 1, 0, 2, 3))]
    tries.append(tries[0].restricted(np.zeros(len(tries[0]), dtype=bool)))
    prompts = some_prompts(tokenizer, len(tries))
    search = ConstrainedSearch()
    together = generator.search_tries(prompts, tries, search)
    for prompt, trie, found in zip(prompts, tries, together, strict=True):
        (alone,) = generator.search_tries([prompt], [trie], search)
        assert [leaf.first for leaf in alone.leaves] == [leaf.first for leaf in found.leaves]
        assert alone.proof.passes == found.proof.passes
        assert alone.proof.mass == pytest.approx(found.proof.mass, abs=1e-6)
        assert alone.proof.free_log_prob == pytest.approx(found.proof.free_log_prob, abs=1e-4)
    assert together[-1].leaves == ()


def test_rows_that_grow_too_long_together_are_searched_alone(
    tiny: tuple[OnnxGenerator, Tokenizer, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    generator, tokenizer, _ = tiny
    trie, _order = Trie.build([tokenizer.encode_target(text) for text in descriptions()], END)
    prompts = some_prompts(tokenizer, 6)
    wanted = generator.search_tries(prompts, [trie] * 6, ConstrainedSearch())
    monkeypatch.setattr("cielo.generation.onnx_tries.MOST_PLACES", 8)
    found = generator.search_tries(prompts, [trie] * 6, ConstrainedSearch())
    assert [one.leaves[0].first for one in found] == [one.leaves[0].first for one in wanted]
    assert [one.proof.passes for one in found] == [one.proof.passes for one in wanted]


def test_pytorch_held_to_the_trie_finds_the_same(tiny: tuple[OnnxGenerator, Tokenizer, Any]) -> None:
    """With as many beams as descriptions a beam search drops none.

    The processor is that of `prefix_allowed_tokens_fn`. It comes last, so that what it masks is not renormalised.
    """
    generator, tokenizer, model = tiny
    every = [tokenizer.encode_target(text) for text in descriptions()[:6]]
    trie, _ = Trie.build(every, END)
    kept = torch.tensor(sorted(set(generator._model.output_ids.tolist())))  # type: ignore[union-attr]

    def allowed(_batch: int, so_far: torch.Tensor) -> list[int]:
        prefix = so_far.tolist()[1:]
        rows = [[*row, END] for row in every]
        return [row[len(prefix)] for row in rows if row[: len(prefix)] == prefix and len(row) > len(prefix)] or [0]

    def only_outputs(_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        masked = torch.full_like(scores, -math.inf)
        masked[:, kept] = scores[:, kept]
        return torch.log_softmax(masked, dim=-1)

    for prompt in some_prompts(tokenizer, 8):
        (found,) = generator.search_tries([prompt], [trie], replace(EVERYTHING, best=6))
        outputs = model.generate(
            input_ids=torch.tensor([prompt.ids]), num_beams=6, num_return_sequences=6, max_new_tokens=40,
            length_penalty=0.0, early_stopping=False, return_dict_in_generate=True, output_scores=True,
            logits_processor=[only_outputs, PrefixConstrainedLogitsProcessor(allowed, 6)], use_cache=False,
        )  # fmt: skip
        assert [leaf.log_prob for leaf in found.leaves] == pytest.approx(outputs.sequences_scores.tolist(), abs=1e-3)
        texts = [[token for token in row if token not in (0, END)] for row in outputs.sequences.tolist()]
        assert texts == [trie.sequence(leaf.first)[:-1].tolist() for leaf in found.leaves]


class TestFiles:
    @pytest.mark.parametrize(
        "name", [ENCODER, DECODER, "encoder.data", "decoder.data", EMBEDDINGS, ENCODER_BIAS, SETTINGS]
    )
    @pytest.mark.parametrize("fault", ["missing", "empty", "cut"])
    def test_a_damaged_file_is_named_without_a_crash(
        self, mini_models: dict[str, Path], mini_tokenizer: Tokenizer, tmp_path: Path, name: str, fault: str
    ) -> None:
        for file in mini_models["int8"].iterdir():
            content = file.read_bytes()
            if file.name == name:
                content = {"missing": None, "empty": b"", "cut": content[: len(content) // 2]}[fault]
            if content is not None:
                (tmp_path / file.name).write_bytes(content)
        with pytest.raises(BundleError, match="build the bundle again"):
            OnnxGenerator(tmp_path, mini_tokenizer, compute_type="int8")

    def test_the_output_ids_are_those_of_the_embeddings(
        self, mini_models: dict[str, Path], mini_tokenizer: Tokenizer, tmp_path: Path
    ) -> None:
        for file in mini_models["int8"].iterdir():
            (tmp_path / file.name).write_bytes(file.read_bytes())
        for ids in ([0, 1, 1_000_000], [2, 1, 0], [], [-1, 3]):
            np.save(tmp_path / OUTPUT_IDS, np.array(ids, dtype=np.int32))
            with pytest.raises(BundleError, match="output_ids"):
                OnnxGenerator(tmp_path, mini_tokenizer, compute_type="int8")

    def test_another_compute_type_than_the_files_is_refused(
        self, mini_models: dict[str, Path], mini_tokenizer: Tokenizer
    ) -> None:
        with pytest.raises(DeviceError, match="convert the recipe again"):
            OnnxGenerator(mini_models["int8"], mini_tokenizer, compute_type="float32")


def test_batches_are_cut_by_the_budget(mini_models: dict[str, Path], mini_tokenizer: Tokenizer) -> None:
    shape = Bundle.open(default_bundle()).model("ctranslate2").shape
    assert shape is not None
    prompts = mini_tokenizer.encode([f"dolor número {number}" for number in range(12)])
    with OnnxGenerator(mini_models["float32"], mini_tokenizer, plan=ThreadPlan(2)) as generator:
        free = generator.log_probs(prompts, [[5, 6, 7]] * 12)
        generator.limit_memory(3 * shape.row_bytes(20, Scoring(4)), shape)
        for one, other in zip(generator.log_probs(prompts, [[5, 6, 7]] * 12), free, strict=True):
            assert one == pytest.approx(other, abs=1e-4)


class TestWaiting:
    """What the pool's threads do while they wait, as the settings of the session say."""

    @pytest.mark.parametrize(
        ("spinning", "version", "expected"),
        [
            (False, "1.32.0", {"allow_spinning": "1", "spin_duration_us": "20"}),
            (False, "1.31.4", {"allow_spinning": "0"}),
            (True, "1.32.0", {"allow_spinning": "1"}),
            (True, "1.20.1", {"allow_spinning": "1"}),
        ],
    )
    def test_they_spin_for_long_only_where_the_plan_says_so(
        self, spinning: bool, version: str, expected: dict[str, str]
    ) -> None:
        class Options:
            def __init__(self) -> None:
                self.found: dict[str, str] = {}

            def add_session_config_entry(self, key: str, value: str) -> None:
                self.found[key] = value

        options = Options()
        _set_waiting(options, spinning, version)
        wanted = {f"session.intra_op.{key}": value for key, value in expected.items()}
        assert options.found == {**wanted, "session.force_spinning_stop": "1"}
