"""The CTranslate2 backend: real models, batches, memory, OpenMP."""

from __future__ import annotations

import itertools
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from cielo.generation.backends import backend
from cielo.generation.ctranslate2 import CTranslate2Generator
from cielo.generation.memory import Shape
from cielo.generation.plan import ThreadPlan
from cielo.generation.searches import BeamSearch, certain_first, is_certain
from cielo.text.tokenizer import Encoded, Tokenizer
from cielo_convert.checkpoint import load_tokenizer
from cielo_convert.generator import convert_generator, output_ids

from tests.checkpoints import make_generator_checkpoint

TEXTS = ["asma", "tos"]
LONGEST = 4


@pytest.fixture(scope="module")
def decided(tmp_path_factory: pytest.TempPathFactory) -> tuple[CTranslate2Generator, list[Encoded], list[int]]:
    """A real model whose outputs are made of a handful of tokens, and sharp enough to be certain now and then."""
    directory = tmp_path_factory.mktemp("tiny")
    checkpoint = make_generator_checkpoint(directory / "checkpoint")
    convert_generator(checkpoint, directory / "model", {"ctranslate2": "float32"}, TEXTS)
    tokenizer = Tokenizer(directory / "model" / "tokenizer.json", 64)
    kept = output_ids(load_tokenizer(checkpoint), TEXTS)
    generator = CTranslate2Generator(
        directory / "model" / "ctranslate2", tokenizer, plan=ThreadPlan(2, batch_tokens=64)
    )
    prompts = tokenizer.encode([f"mención número {number} de una frase" for number in range(30)])
    return generator, prompts, [token for token in kept if token != 1]


def test_exhaustive_search_on_a_tiny_vocabulary_agrees(
    decided: tuple[CTranslate2Generator, list[Encoded], list[int]],
) -> None:
    generator, prompts, tokens = decided
    search = BeamSearch(length_penalty=0.0, max_new_tokens=LONGEST)
    found = certain_first(generator, prompts, search)
    beams = generator.generate(prompts, search)
    outputs = [list(ids) for length in range(LONGEST) for ids in itertools.product(tokens, repeat=length)]
    certain = 0
    for prompt, (best,), listed in zip(prompts, found, beams, strict=True):
        if not is_certain(best):
            continue
        certain += 1
        scores = generator.log_probs([prompt] * len(outputs), outputs)
        assert best.log_prob == pytest.approx(max(float(np.sum(row)) for row in scores), abs=1e-4)
        assert listed[0].text == best.text
    assert certain, "no prompt is certain: the test shows nothing"


def test_batches_change_no_answer(decided: tuple[CTranslate2Generator, list[Encoded], list[int]]) -> None:
    generator, prompts, _ = decided
    search = BeamSearch(length_penalty=0.0, max_new_tokens=LONGEST)
    together = generator.generate(prompts, search)
    alone = [generator.generate([prompt], search)[0] for prompt in prompts]
    for one, other in zip(together, alone, strict=True):
        assert one[0].log_prob == pytest.approx(other[0].log_prob, abs=1e-4)


def test_a_limit_of_memory_changes_no_answer(decided: tuple[CTranslate2Generator, list[Encoded], list[int]]) -> None:
    generator, prompts, _ = decided
    search = BeamSearch(length_penalty=0.0, max_new_tokens=LONGEST)
    free = generator.generate(prompts, search)
    generator.limit_memory(1, Shape(2, 64, 128, 10))  # so little that every prompt is decoded alone
    try:
        limited = generator.generate(prompts, search)
    finally:
        generator.limit_memory(10**9, Shape(2, 64, 128, 10))
    for one, other in zip(free, limited, strict=True):
        assert one[0].log_prob == pytest.approx(other[0].log_prob, abs=1e-4)


TUNED = ThreadPlan(1, 2, 512, "greedy", "active", "tuned")


def test_openmp_s_wait_policy_is_set_before_the_library_loads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    code = (
        "import os\nfrom cielo.generation.backends import backend\nfrom cielo.generation.plan import ThreadPlan\n"
        "backend().prepare(ThreadPlan(1, threads=2, wait_policy='active'))\nprint(os.environ.get('OMP_WAIT_POLICY'))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "ACTIVE\n"


def test_where_the_library_is_loaded_already_that_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    monkeypatch.setitem(sys.modules, "ctranslate2", sys)
    with pytest.warns(UserWarning, match="OMP_WAIT_POLICY=ACTIVE"):
        backend().prepare(TUNED)
    backend().prepare(replace(TUNED, wait_policy="passive"))
    backend().prepare(replace(TUNED, threads=1))
