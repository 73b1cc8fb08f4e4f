"""What the tests of the engine share: a manifest, and the files of a bundle that no model is needed for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

CONTENT = {
    "generator/model.bin": b"generator" * 100,
    "generator/tokenizer.json": b"{}",
    "encoder/model.onnx": b"encoder" * 100,
    "encoder/tokenizer.json": b"{}",
    "knowledge_base.sqlite": b"",
    "index/kinds.json": b"[]",
    "index/0/graph.hnsw": b"graph" * 1000,
    "parity/references.json": '["ñ"]'.encode(),
}


@pytest.fixture
def manifest() -> dict[str, Any]:
    """The manifest of a small bundle, as conversion gives it to `write_manifest`."""
    return {
        "name": "de prueba",
        "licence": "CC0-1.0",
        "sources": {"generator": {"name": "none", "revision": None, "sha256": "0" * 64}},
        "prompt": {"prepare_sentence": True, "window": None},
        "generator": {"compute_type": "int8", "decoding": "probable", "max_source_tokens": 64, "vocabulary": "full"},
        "encoder": {"max_tokens": 64, "dimension": 2, "precision": "float32", "pooling": "cls"},
        "knowledge_base": {"edition": "CIE-10-ES 2024", "concepts": {"diagnosis": 1}, "descriptions": 1},
        "index": {"m": 16, "ef": 64, "recall_at_1": 1.0, "max_distance": 0.5},
        "parity": {"cpu/int8": {"status": "passed"}},
    }


@pytest.fixture
def bundle_files(tmp_path: Path) -> Path:
    """A directory with the files of a bundle, whose contents mean nothing, and without a manifest."""
    directory = tmp_path / "bundle"
    for name, content in CONTENT.items():
        file = directory / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    return directory
