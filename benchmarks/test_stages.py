"""Time of each stage on the mini: ``pytest benchmarks`` (pytest-benchmark; medians and spread in its table)."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

import pytest
from cielo.bundle.layout import Bundle, default_bundle
from cielo.bundle.stages import Stages, open_stages
from cielo.generation.searches import DECODINGS, SEARCHES
from cielo.link.linker import Linker
from cielo.records import Decoding, Mention
from pytest_benchmark.fixture import BenchmarkFixture

HELD_OUT = Path(__file__).parents[1] / "models" / "mini" / "heldout.tsv"


@pytest.fixture(scope="module")
def mentions() -> list[Mention]:
    with HELD_OUT.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    return [Mention(row["text"], row["sentence"] or None) for row in rows[:64]]


@pytest.fixture(scope="module")
def stages() -> Iterator[Stages]:
    bundle = Bundle.open(default_bundle())
    with open_stages(bundle, bundle.execution("cpu")) as opened:
        yield opened


def test_tokenize(benchmark: BenchmarkFixture, stages: Stages, mentions: list[Mention]) -> None:
    prompts = [stages.prompt(mention.text, mention.sentence) for mention in mentions]
    assert len(benchmark(stages.tokenizer.encode, prompts)) == len(mentions)


@pytest.mark.parametrize("count", [1, 64])
@pytest.mark.parametrize("decoding", DECODINGS)
def test_generate(
    benchmark: BenchmarkFixture, stages: Stages, mentions: list[Mention], decoding: Decoding, count: int
) -> None:
    encoded = stages.tokenizer.encode([stages.prompt(mention.text, mention.sentence) for mention in mentions[:count]])
    assert len(benchmark(stages.generator.generate, encoded, SEARCHES[decoding])) == count


def test_match(benchmark: BenchmarkFixture, stages: Stages) -> None:
    texts = stages.knowledge_base.descriptions("procedure")[:64]
    assert all(benchmark(lambda: [stages.knowledge_base.match(text) for text in texts]))


def test_embed(benchmark: BenchmarkFixture, stages: Stages) -> None:
    texts = stages.knowledge_base.descriptions("procedure")[:64]
    assert benchmark(stages.embedder.embed, texts).shape == (64, stages.embedder.dimension)


def test_search(benchmark: BenchmarkFixture, stages: Stages) -> None:
    vectors = stages.embedder.embed(stages.knowledge_base.descriptions("diagnosis")[:64])
    assert len(benchmark(stages.indexes["diagnosis"].search, vectors, 5)) == 64


def test_link(benchmark: BenchmarkFixture, mentions: list[Mention]) -> None:
    with Linker.open(device="cpu") as linker:
        assert len(benchmark(linker.link, mentions)) == len(mentions)
