"""The mini in another shape, for tests of what has nothing to do with its second backend."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

from cielo.bundle.layout import Bundle, default_bundle
from cielo.bundle.writing import write_manifest


def mini_of_one_backend(directory: Path) -> Bundle:
    """Write a copy of the mini that holds the generator for CTranslate2 alone, decodes `probable`, and has no trie."""
    shutil.copytree(default_bundle(), directory, ignore=shutil.ignore_patterns("onnx", "trie"))
    manifest = Bundle.open(default_bundle()).manifest
    own = {"ctranslate2": manifest.generator.backends["ctranslate2"]}
    generator = replace(manifest.generator, backends=own, decoding="probable")
    parity = {key: figures for key, figures in manifest.parity.items() if key.startswith("ctranslate2/")}
    return write_manifest(directory, replace(manifest, generator=generator, parity=parity, trie=None))
