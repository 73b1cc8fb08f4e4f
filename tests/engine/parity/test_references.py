"""References are read as what they are, or refused without a word of the prompts."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cielo.bundle.layout import Bundle, default_bundle
from cielo.errors import BundleError
from cielo.parity.references import References

SECRET = "Paciente de 67 años con neumonía"


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return Bundle.open(default_bundle())


@pytest.fixture(scope="module")
def content(bundle: Bundle) -> dict[str, Any]:
    """The references of the mini, cut down to two prompts, the first of which holds clinical text."""
    whole = json.loads(bundle.references.read_text(encoding="utf-8"))
    names = ("prompts", "prompt_ids", "targets", "target_log_probs", "outputs", "output_log_probs")
    short = {**whole, **{name: whole[name][:2] for name in names}}
    short["searches"] = {name: rows[:2] for name, rows in whole["searches"].items()}
    return {**short, "prompts": [SECRET, short["prompts"][1]]}


def load(tmp_path: Path, bundle: Bundle, content: object) -> References:
    file = tmp_path / "references.json"
    file.write_text(json.dumps(content), encoding="utf-8")
    return References.load(file, bundle.reference_vectors)


def test_the_mini_s_are_read(bundle: Bundle) -> None:
    references = References.load(bundle.references, bundle.reference_vectors)
    assert len(references.prompts) == len(references.searches["probable"]) == 600
    assert len(references.searches["published"][0]) == references.num_beams == 5
    assert references.vectors.shape == (len(references.texts), bundle.manifest.encoder.dimension)


def test_what_was_cut_down_evenly_is_read(tmp_path: Path, bundle: Bundle, content: dict[str, Any]) -> None:
    assert load(tmp_path, bundle, content).prompts[0] == SECRET


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda found: found.pop("targets"), "targets is missing"),
        (lambda found: found.update(format=2), "format: got 2, expected one of 1"),
        (lambda found: found["searches"].pop("probable"), "searches: got none for probable"),
        (lambda found: found["searches"]["probable"].pop(), "searches.probable: got 1 entries, expected 2"),
        (lambda found: found["searches"]["probable"][0].clear(), "got a prompt without a hypothesis"),
        (lambda found: found["prompt_ids"].pop(), "prompt_ids: got 1 entries, expected 2, as many as prompts"),
        (lambda found: found["outputs"].append([1]), "outputs: got 3 entries, expected 2"),
        (lambda found: found["encoder_string_ids"].pop(), "as many as strings"),
        (lambda found: found["prompt_ids"][0].append("x"), r"prompt_ids\[0\]\[\d+\]: got str, expected a whole number"),
        (lambda found: found["target_log_probs"][0].append(float("nan")), "not finite"),
        (lambda found: found["prompts"].append(None), r"prompts\[2\]: got NoneType, expected a text"),
        (lambda found: found.update(searches=[]), "searches: got list, expected a section"),
    ],
)
def test_what_does_not_fit_is_named(
    tmp_path: Path, bundle: Bundle, content: dict[str, Any], change: Callable[[dict[str, Any]], object], problem: str
) -> None:
    changed = json.loads(json.dumps(content))
    change(changed)
    with pytest.raises(BundleError, match=problem) as caught:
        load(tmp_path, bundle, changed)
    assert "build the bundle again" in str(caught.value)
    assert SECRET not in str(caught.value)


def test_files_that_are_not_there_or_no_references_are_refused(tmp_path: Path, bundle: Bundle) -> None:
    for outputs, vectors in ((tmp_path / "no", bundle.reference_vectors), (bundle.references, tmp_path / "no")):
        with pytest.raises(BundleError, match="build the bundle again"):
            References.load(outputs, vectors)
    (tmp_path / "vectors.npz").write_bytes(b"no archive")
    with pytest.raises(BundleError, match="build the bundle again"):
        References.load(bundle.references, tmp_path / "vectors.npz")
