"""What the tests of the engine share: a manifest, and the files of a bundle that no model is needed for."""

from __future__ import annotations

from pathlib import Path

import pytest
from cielo.bundle.manifest import (
    Check,
    EncoderSection,
    GeneratorModel,
    GeneratorSection,
    IndexSection,
    KnowledgeBaseSection,
    Manifest,
    ParityFigures,
    PromptSettings,
    SourceModel,
)

CONTENT = {
    "generator/ctranslate2/model.bin": b"generator" * 100,
    "generator/tokenizer.json": b"{}",
    "encoder/model.onnx": b"encoder" * 100,
    "encoder/tokenizer.json": b"{}",
    "knowledge_base.sqlite": b"",
    "index/kinds.json": b"[]",
    "index/0/graph.hnsw": b"graph" * 1000,
    "parity/references.json": '["ñ"]'.encode(),
}


@pytest.fixture
def shown() -> ParityFigures:
    """Figures by which parity was shown."""
    return ParityFigures(status="passed", checks=(Check("generator.log_probs", 0.0, 0.25, "<="),))


@pytest.fixture
def manifest(shown: ParityFigures) -> Manifest:
    """The manifest of a small bundle, as conversion gives it to `write_manifest`."""
    return Manifest(
        name="de prueba",
        licence="CC0-1.0",
        sources={"generator": SourceModel("none", "0" * 64)},
        prompt=PromptSettings(prepare_sentence=True),
        generator=GeneratorSection(
            backend="ctranslate2",
            backends={"ctranslate2": GeneratorModel("int8")},
            vocabulary="full",
            decoding="probable",
            max_source_tokens=64,
        ),
        encoder=EncoderSection(dimension=2, precision="float32", pooling="cls", max_tokens=64),
        knowledge_base=KnowledgeBaseSection("CIE-10-ES 2024", {"diagnosis": 1}, 1),
        index=IndexSection(m=16, ef=64, recall_at_1=1.0, max_distance=0.5),
        parity={"ctranslate2/cpu/int8": shown},
        built_with={},
        files={},
    )


@pytest.fixture
def bundle_files(tmp_path: Path) -> Path:
    """A directory with the files of a bundle, whose contents mean nothing, and without a manifest."""
    directory = tmp_path / "bundle"
    for name, content in CONTENT.items():
        file = directory / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    return directory
