"""The mini in another shape, for tests of what has nothing to do with its second backend."""

from __future__ import annotations

import shutil
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
from cielo import schema
from cielo.bundle.layout import Bundle, Layout, default_bundle
from cielo.bundle.writing import write_manifest
from cielo.parity.references import ReferenceOutputs, References

_OF_STRINGS = ("strings", "texts", "generator_string_ids", "encoder_string_ids")


def mini_of_one_backend(directory: Path) -> Bundle:
    """Write a copy of the mini that holds the generator for CTranslate2 alone, decodes `probable`, and has no trie.

    Its parity is measured on few prompts, as that of `mini_of_few_references`.
    """
    shutil.copytree(default_bundle(), directory, ignore=shutil.ignore_patterns("onnx", "trie"))
    _cut_references(directory, 60)
    manifest = Bundle.open(default_bundle()).manifest
    own = {"ctranslate2": manifest.generator.backends["ctranslate2"]}
    generator = replace(manifest.generator, backends=own, decoding="probable")
    parity = {key: figures for key, figures in manifest.parity.items() if key.startswith("ctranslate2/")}
    return write_manifest(directory, replace(manifest, generator=generator, parity=parity, trie=None))


def mini_of_few_references(directory: Path, prompts: int = 60) -> Bundle:
    """Write a copy of the mini whose parity is measured on few prompts, texts and strings, so that its gate is fast."""
    shutil.copytree(default_bundle(), directory)
    _cut_references(directory, prompts)
    return write_manifest(directory, Bundle.open(default_bundle()).manifest)


def _cut_references(directory: Path, prompts: int) -> None:
    layout = Layout(directory)
    whole = References.load(layout.references, layout.reference_vectors)
    few, some = slice(0, prompts), slice(0, 3 * prompts)
    cut = {
        field.name: getattr(whole, field.name)[few if field.name not in _OF_STRINGS else some]
        for field in fields(ReferenceOutputs)
        if isinstance(getattr(whole, field.name), list)
    }
    searches = {decoding: found[few] for decoding, found in whole.searches.items()}
    outputs = ReferenceOutputs(**cut, searches=searches, num_beams=whole.num_beams, max_new_tokens=whole.max_new_tokens)
    layout.references.write_bytes(schema.encode(outputs))
    np.savez(layout.reference_vectors, vectors=whole.vectors[some])
