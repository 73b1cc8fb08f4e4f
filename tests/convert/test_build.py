"""The whole way: a recipe to a bundle, and nothing where a check fails."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import pytest
from cielo import schema
from cielo.bundle import indexing
from cielo.bundle.layout import Bundle, Layout
from cielo.bundle.manifest import Check
from cielo.errors import BundleError, CheckpointError, ParityError
from cielo.generation.backends import backend
from cielo.link.linker import Linker
from cielo.parity.gate import refuse_failed
from cielo.parity.tolerances import CheckName
from cielo.records import Mention
from cielo.retrieval.index import IndexSettings
from cielo_convert import build as building
from cielo_convert.build import build
from cielo_convert.recipe import Recipe
from cielo_convert.run import run_with_progress
from cielo_convert.sources import Given, Plan, make_plan
from rich.console import Console

from tests.checkpoints import descriptions, make_recipe

CHANGES = {"prompts": "12", "vocabulary": '"knowledge-base"', "pooling": '"mean"'}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory, generator: Path, encoder: Path) -> Bundle:
    folder = tmp_path_factory.mktemp("built")
    recipe = make_recipe(folder / "recipe", generator, encoder, changes=CHANGES)
    console = Console(file=io.StringIO(), force_terminal=True, width=80)
    return run_with_progress(planned(recipe), folder / "bundle", overwrite=False, console=console).bundle


def planned(recipe: Path) -> Plan:
    return make_plan(Recipe.load(recipe), Given(recipe.parent / "sources"))


def test_the_bundle_links(built: Bundle) -> None:
    built.check_hashes()
    assert built.unlisted_files() == []
    with Linker.open(built.path, device="cpu", threads=1) as linker:
        (link,) = linker.link([Mention("neumonía", "Ingresa por neumonía.")])
        assert link.provenance.bundle.sha256 == built.sha256


def test_rows_that_were_not_taken_are_told(
    tmp_path: Path, generator: Path, encoder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = make_recipe(tmp_path, generator, encoder, changes=CHANGES)
    table = Recipe.load(recipe).knowledge_base.tables[0].path
    lines = len(table.read_text(encoding="utf-8").splitlines())
    with table.open("a", encoding="utf-8") as stream:
        stream.writelines(f"Cap.{number:02}\tun capítulo\n" for number in range(21))

    def stop(*_: object) -> None:
        raise CheckpointError("far enough")

    monkeypatch.setattr(building, "make_references", stop)
    console = Console(file=io.StringIO(), width=200)
    with pytest.raises(CheckpointError, match="far enough"):
        run_with_progress(planned(recipe), tmp_path / "out", overwrite=False, console=console)
    told = console.file.getvalue()  # type: ignore[attr-defined]
    assert f"rejected: {table.name}, line {lines + 1}: " in told
    assert told.count("rejected: ") == 21
    assert "1 more" in told
    assert "capítulo" not in told


def test_the_manifest(built: Bundle, generator: Path) -> None:
    manifest = built.manifest
    model = manifest.generator.model
    assert manifest.generator.own_head is True
    assert model.target_tokens is not None and model.source_tokens is not None
    assert model.target_tokens < model.source_tokens
    assert manifest.knowledge_base.descriptions == len(descriptions())
    assert set(manifest.knowledge_base.concepts) == {"diagnosis", "procedure"}
    assert manifest.index.recall_at_1 >= 0.99
    assert manifest.sources["generator"].name == generator.name
    assert str(generator.parent) not in schema.encode(manifest).decode()
    assert list(manifest.parity) == ["ctranslate2/cpu/float32"]
    (figures,) = manifest.parity.values()
    assert figures.passed
    names = {check.name for check in figures.checks}
    early = {"generator.head", "generator.output_scale", "generator.vocabulary"}
    # The others are of the constrained search, which this backend does not have.
    assert {*get_args(CheckName), *early} - names == {"generator.constrained.best", "generator.constrained.scores"}
    assert names <= {*get_args(CheckName), *early}
    assert manifest.trie is not None and manifest.trie.rows == len(set(descriptions()))


def _stub_references(monkeypatch: pytest.MonkeyPatch, built: Bundle) -> None:
    """Take the references of the built bundle, to save the time of making them."""

    def copy(request: Any, layout: Layout, progress: Any = None) -> None:
        layout.references.parent.mkdir()
        layout.references.write_bytes(built.references.read_bytes())
        layout.reference_vectors.write_bytes(built.reference_vectors.read_bytes())

    monkeypatch.setattr(building, "make_references", copy)


def test_a_failed_check_leaves_nothing(
    recipe: Path, built: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _stub_references(monkeypatch, built)  # of mean pooling and a restricted vocabulary: not what this recipe asks for
    before = sorted(tmp_path.iterdir())
    with pytest.raises(ParityError) as caught:
        build(Recipe.load(recipe), tmp_path / "bundle")
    for name in ("encoder.vectors", "generator.log_probs"):
        assert f"{name}: got " in str(caught.value)
    assert "generator.head" not in str(caught.value)
    assert sorted(tmp_path.iterdir()) == before


def test_a_compute_type_that_does_not_run_here_is_marked(
    recipe: Path, built: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _stub_references(monkeypatch, built)
    monkeypatch.setattr(type(backend()), "runnable_compute_types", lambda self, device: frozenset({"float32"}))
    loaded = Recipe.load(recipe)
    loaded = replace(loaded, generator=replace(loaded.generator, quantization="bfloat16"))
    bundle = Bundle.open(build(loaded, tmp_path / "bundle"))
    figures = bundle.manifest.parity["ctranslate2/cuda/bfloat16"]
    assert figures.status == "unverified" and not figures.passed
    assert len(figures.checks) == 3
    with pytest.raises(BundleError, match="exists"):
        build(loaded, tmp_path / "bundle")


def test_a_checkpoint_that_is_not_there_leaves_nothing(recipe: Path, tmp_path: Path) -> None:
    loaded = Recipe.load(recipe)
    loaded = replace(loaded, encoder=replace(loaded.encoder, checkpoint="no/such/place"))
    with pytest.raises(CheckpointError, match="no/such/place"):
        build(loaded, tmp_path / "bundle")
    assert not list(tmp_path.glob("*bundle*"))


def test_a_graph_that_misses_neighbours_is_built_with_more_links(
    recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(indexing, "_GRAPHS", (IndexSettings(2, 2, 1), IndexSettings(16, 200, 64)))
    monkeypatch.setattr(indexing, "_MOST_EF", 1)
    path = recipe.read_text(encoding="utf-8").replace("recall = 0.99", "recall = 1.0")
    recipe.write_text(path, encoding="utf-8")
    bundle = Bundle.open(build(Recipe.load(recipe), tmp_path / "bundle"))
    assert (bundle.manifest.index.m, bundle.manifest.index.recall_at_1) == (16, 1.0)


def test_an_index_of_fewer_dimensions_passes_the_gate(
    tmp_path: Path, built: Bundle, generator: Path, encoder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _stub_references(monkeypatch, built)
    changes = {**CHANGES, "max_distance": "0.8\ndimension = 6"}
    recipe = make_recipe(tmp_path / "recipe", generator, encoder, changes=changes)
    bundle = Bundle.open(build(Recipe.load(recipe), tmp_path / "bundle"))
    index = bundle.manifest.index
    assert index.dimension == 6 and index.rescored is not None and index.rescored >= 50
    assert [figures.passed for figures in bundle.manifest.parity.values()] == [True]
    assert {name for name in bundle.manifest.files if name.startswith("index/1/")} == {
        f"index/1/{name}" for name in ("descriptions.jsonl", "graph.hnsw", "projection.npy", "vectors.npy")
    }
    with Linker.open(bundle.path, device="cpu", threads=1) as linker:
        (link,) = linker.link([Mention("neumonía", "Ingresa por neumonía.")])
        assert link.provenance.bundle.sha256 == bundle.sha256
    for key in ("dimension", "rescored"):
        manifest = json.loads((bundle.path / "manifest.json").read_text(encoding="utf-8"))
        manifest["index"][key] = "6"
        (bundle.path / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
        with pytest.raises(BundleError, match=rf"index\.{key}: got str, expected a whole number"):
            Bundle.open(bundle.path)


def test_failed_checks_are_named_with_figure_and_tolerance() -> None:
    checks = [
        Check("a.good", 0.0, 0.0, "<="),
        Check("a.bad", 0.5, 0.25, "<=", "what it is"),
        Check("a.nan", float("nan"), 0.9, ">="),
    ]
    refuse_failed(checks[:1])
    with pytest.raises(ParityError) as caught:
        refuse_failed(checks)
    assert "a.bad: got 0.5, expected <= 0.25 (what it is)" in str(caught.value)
    assert "a.nan: got nan" in str(caught.value) and "a.good" not in str(caught.value)
