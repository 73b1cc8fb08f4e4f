"""Bundles of the published shape: converted by the published recipe, or put together for measuring at full size."""

from __future__ import annotations

import re
import resource
import shutil
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from cielo.bundle.layout import ENCODER, GENERATOR, INDEX, KNOWLEDGE_BASE, Layout
from cielo.bundle.manifest import (
    EncoderSection,
    GeneratorSection,
    IndexSection,
    KnowledgeBaseSection,
    Manifest,
    PromptSettings,
    Vocabulary,
)
from cielo.bundle.trie import build_trie
from cielo.bundle.writing import write_manifest, writing
from cielo.knowledge.building import build_knowledge_base
from cielo.knowledge.code_tables import CodeTable
from cielo.knowledge.reading import KnowledgeBase
from cielo.knowledge.records import KnowledgeSummary
from cielo.retrieval.index import Index, IndexSettings, save_all
from cielo_convert.build import build
from cielo_convert.encoder import convert_encoder
from cielo_convert.generator import GeneratorFacts, convert_generator
from cielo_convert.recipe import Recipe

from benchmarks.index import make_vectors
from benchmarks.terminology import words, write_terminology
from benchmarks.true_shape.encoder import Size, make_encoder
from benchmarks.true_shape.generator import make_generator
from benchmarks.true_shape.vocabulary import ROOT

SEED = 1
_PUBLISHED = ROOT / "models" / "medical-mt5-large.toml"
_PARITY_ROWS = 4_000  # of the knowledge base that is embedded for parity: a tenth of a second each
EDITION = "synthetic, with the mini's terms"
FULL_ROWS = 180_000


@dataclass(frozen=True, slots=True)
class Cost:
    """What a step took: seconds, and the peak of this process's resident memory until its end, in GB."""

    step: str
    seconds: float
    peak_gb: float

    def to_dict(self) -> dict[str, Any]:
        """Return the cost as a dictionary."""
        return asdict(self)


def measured(step: str, start: float) -> Cost:
    """Return the cost of a step that began at `start` (`time.perf_counter`)."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
    return Cost(step, time.perf_counter() - start, peak)


def ensure_checkpoint(cache: Path, name: str) -> Path:
    """Return a checkpoint of the cache: ``generator``, ``encoder-large`` or ``encoder-base``; make it if need be."""
    directory = cache / name
    if directory.is_dir():
        return directory
    partial = cache / f".{name}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    if name == "generator":
        make_generator(partial, seed=SEED, words=words())
    else:
        size: Size = "base" if name.endswith("base") else "large"
        make_encoder(partial, size, seed=SEED, words=words())
    return partial.rename(directory)


def ensure_tables(cache: Path, rows: int) -> list[tuple[Path, str]]:
    """Return the tables of a synthetic terminology, the mini's terms among them; write them if need be."""
    directory = cache / f"terms-{rows}"
    if not directory.is_dir():
        partial = cache / f".terms-{rows}.partial"
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        write_terminology(partial, rows=rows, mini=True)
        partial.rename(directory)
    return [(directory / "diagnoses.tsv", "diagnosis"), (directory / "procedures.tsv", "procedure")]


def write_recipe(
    cache: Path,
    *,
    quantization: str,
    precision: str,
    encoder: str,
    prompts: int,
    backends: Sequence[str] = ("ctranslate2",),
) -> Path:
    """Write the published recipe with the cache's checkpoints and tables instead of its own; return its file."""
    names = ", ".join(f'"{name}"' for name in backends)
    tables = ensure_tables(cache, _PARITY_ROWS)
    text = _PUBLISHED.read_text(encoding="utf-8")
    changes = {
        r'"ezotova/[^"]+"(?=\nrevision)': f'"{ensure_checkpoint(cache, "generator")}"',
        r'"cambridgeltl/[^"]+"': f'"{ensure_checkpoint(cache, encoder)}"',
        r'quantization = "\w+"': f'quantization = "{quantization}"\nbackends = [{names}]',
        r'precision = "\w+"': f'precision = "{precision}"',
        r'edition = "[^"]+"': f'edition = "{EDITION}"',
        r'"cie10es/diagnoses.tsv"': f'"{tables[0][0]}"',
        r'"cie10es/procedures.tsv"': f'"{tables[1][0]}"',
        r"prompts = \d+": f'prompts = {prompts}\nmentions = "{ROOT / "engine" / "bench" / "workload.tsv"}"',
        r'name = "medical-mt5-large"': f'name = "true-shape-{quantization}"',
        r'licence = "[^"]+"': 'licence = "CC0-1.0 (a stand-in of the published shape; its answers are the mini\'s)"',
    }
    for pattern, replacement in changes.items():
        text, found = re.subn(pattern, lambda _, new=replacement: new, text, count=1)
        assert found, f"the published recipe holds no {pattern}"
    path = cache / f"recipe-{quantization}-{precision}-{encoder}.toml"
    path.write_text(text, encoding="utf-8")
    return path


def convert(recipe: Path, output: Path) -> list[Cost]:
    """Convert a recipe as `cielo convert` does; return when each step began, and the cost of all."""
    start = time.perf_counter()
    costs: list[Cost] = []

    def note(step: str, done: int, total: int) -> None:
        if f"until {step}" not in [cost.step for cost in costs]:
            costs.append(measured(f"until {step}", start))

    build(Recipe.load(recipe), output, progress=note)
    return [*costs, measured("all, references and gate included", start)]


def assemble(
    cache: Path,
    output: Path,
    vocabulary: Vocabulary = "knowledge-base",
    backends: Sequence[str] = ("ctranslate2", "onnx"),
) -> list[Cost]:
    """Put together the bundle that is measured: int8 models, 180,000 descriptions, and vectors that are synthetic.

    The first of `backends` is the bundle's own.

    Embedding so many descriptions with a large encoder takes hours, and their vectors would be noise: these have the
    dimension and the structure instead. So no gate is passed, and it opens with `allow_unverified` alone.
    """
    costs: list[Cost] = []
    tables = ensure_tables(cache, FULL_ROWS)
    generator, encoder = ensure_checkpoint(cache, "generator"), ensure_checkpoint(cache, "encoder-large")
    with writing(output) as directory:
        start = time.perf_counter()
        read = [CodeTable(path, kind) for path, kind in tables]
        summary = build_knowledge_base(directory / KNOWLEDGE_BASE, read, edition=EDITION).summary
        base = KnowledgeBase(directory / KNOWLEDGE_BASE)
        by_kind = {kind: base.descriptions(kind) for kind in base.kinds}
        base.close()
        costs.append(measured("knowledge base", start))
        start = time.perf_counter()
        settings = _build_index(by_kind, directory)
        costs.append(measured("index", start))
        start = time.perf_counter()
        texts = (
            None if vocabulary == "full" else list(dict.fromkeys(text for rows in by_kind.values() for text in rows))
        )
        facts = convert_generator(generator, directory / GENERATOR, dict.fromkeys(backends, "int8"), texts)
        costs.append(measured("generator", start))
        start = time.perf_counter()
        convert_encoder(encoder, directory / ENCODER, "int8", "cls", 64)
        costs.append(measured("encoder", start))
        start = time.perf_counter()
        trie = build_trie(Layout(directory)).section
        costs.append(measured("trie", start))
        write_manifest(directory, replace(_manifest(facts, summary, settings, vocabulary), trie=trie))
    return costs


def _build_index(by_kind: dict[str, list[str]], directory: Path) -> IndexSettings:
    settings = IndexSettings(dimension=256)
    indexes = {}
    for kind, texts in by_kind.items():
        with tempfile.TemporaryDirectory(dir=directory) as folder:
            make_vectors(Path(folder), len(texts), 1024, 2, 1.2)
            vectors = np.load(Path(folder) / "vectors.npy")
        indexes[kind] = Index.build(texts, vectors, settings)
    save_all(indexes, directory / INDEX)
    return settings


def _manifest(
    facts: GeneratorFacts, summary: KnowledgeSummary, settings: IndexSettings, vocabulary: Vocabulary
) -> Manifest:
    return Manifest(
        name="true-shape",
        licence="CC0-1.0",
        sources={},
        prompt=PromptSettings(prepare_sentence=True),
        generator=GeneratorSection(
            backend=next(iter(facts.models)),
            backends=facts.models,
            vocabulary=vocabulary,
            decoding="published",
            max_source_tokens=512,
        ),
        encoder=EncoderSection(dimension=1024, precision="int8", pooling="cls", max_tokens=64),
        knowledge_base=KnowledgeBaseSection(EDITION, summary.concepts, summary.descriptions),
        index=IndexSection(
            m=settings.m,
            ef=settings.ef,
            recall_at_1=0.0,
            max_distance=0.8,
            ef_construction=settings.ef_construction,
            dimension=settings.dimension,
            rescored=settings.rescored,
        ),
        parity={},
        built_with={},
        files={},
    )
