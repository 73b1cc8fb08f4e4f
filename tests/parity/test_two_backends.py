"""A bundle with the generator for two backends: which of them answers, that they answer alike, and their plans."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cielo.bundle.layout import Bundle
from cielo.bundle.opening import open_bundle
from cielo.bundle.state import load_plans
from cielo.cli import main
from cielo.generation.backends import BACKENDS
from cielo.generation.plan import ThreadPlan
from cielo.link.linker import Linker
from cielo.records import Mention
from cielo.workbench import tuning
from cielo_convert.build import build
from cielo_convert.recipe import Recipe
from click.testing import CliRunner

from tests.checkpoints import descriptions, make_encoder_checkpoint, make_generator_checkpoint, make_recipe


@pytest.fixture(autouse=True)
def _state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CIELO_STATE", str(tmp_path / "state"))


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("two")
    generator = make_generator_checkpoint(folder / "generator", seed=7, d_model=32, d_kv=8, heads=4, decoder_layers=1)
    changes = {"quantization": '"float32"\nbackends = ["ctranslate2", "onnx"]', "prompts": "8"}
    recipe = make_recipe(folder, generator, make_encoder_checkpoint(folder / "encoder"), changes=changes)
    return build(Recipe.load(recipe), folder / "bundle")


def test_each_way_of_use_opens_the_backend_that_is_made_for_it(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []
    of = Linker.open.__func__  # type: ignore[attr-defined]

    def noting(cls: Any, *arguments: Any, **given: Any) -> Linker:
        linker: Linker = of(cls, *arguments, **given)
        opened.append(linker.provenance().backend)
        return linker

    monkeypatch.setattr(Linker, "open", classmethod(noting))
    rows = tmp_path / "rows.csv"
    rows.write_text("text\nneumonía\n", encoding="utf-8")
    settings = ["--bundle", str(bundle), "--device", "cpu"]
    for arguments in (["neumonía"], ["--input", str(rows)], ["neumonía", "--backend", "ctranslate2"]):
        done = CliRunner().invoke(main, ["link", *arguments, *settings])
        assert done.exit_code == 0, done.output
    assert opened == ["onnx", "ctranslate2", "ctranslate2"]


def test_both_backends_give_the_same_links(bundle: Path) -> None:
    mentions = [Mention(text, f"Ingresa por {text}.") for text in descriptions()[:60]]
    found = []
    for backend in BACKENDS:
        with Linker.open(bundle, device="cpu", backend=backend, cache=False) as linker:
            found.append(linker.link(mentions))
    for one, other in zip(*found, strict=True):
        assert other.log_prob == pytest.approx(one.log_prob, abs=1e-3)
        if one.margin is None or one.margin > 1e-3:
            assert (other.generated, other.codes) == (one.generated, one.codes)


def test_what_was_measured_decides(bundle: Path) -> None:
    done = CliRunner().invoke(main, ["tune", str(bundle), "--prompts", "4", "--rounds", "1", "--device", "cpu"])
    assert done.exit_code == 0, done.output
    opened = Bundle.open(bundle)
    figures = {}
    for name in BACKENDS:
        kept = load_plans(opened, opened.execution("cpu", backend=name))
        assert kept is not None
        figures[name] = (kept.figure("single"), kept.figure("bulk"))
        assert f"{name}-cpu-float32" in done.output
    for place, use in enumerate(tuning.USES):
        chosen = open_bundle(bundle, device="cpu", use=use)
        chosen.stages.close()
        assert chosen.plan.source == "tuned"
        fastest = min(entry[place] for entry in figures.values())
        assert figures[chosen.backend][place] <= 1.05 * fastest


def test_a_constrained_search_is_measured_where_it_runs(bundle: Path) -> None:
    opened = Bundle.open(bundle)
    constrained = replace(opened.manifest.generator, decoding="constrained")
    opened = replace(opened, manifest=replace(opened.manifest, generator=constrained))
    tasks = {
        name: tuning._task(opened, opened.execution("cpu", backend=name), prompts=3, workload=None)
        for name in ("ctranslate2", "onnx")
    }
    assert {name: task.decoding for name, task in tasks.items()} == {"ctranslate2": "probable", "onnx": "constrained"}
    for task in tasks.values():
        figures = tuning._in_own_process(ThreadPlan(1, 2), task)
        assert figures is not None and set(figures) == set(tuning.USES)


@pytest.mark.parametrize("backend", ["ctranslate2", "onnx"])
def test_either_backend_alone_opens_and_answers(tmp_path: Path, backend: str) -> None:
    generator = make_generator_checkpoint(tmp_path / "generator", seed=7, d_model=32, d_kv=8, heads=4, decoder_layers=1)
    changes = {"quantization": f'"float32"\nbackends = ["{backend}"]', "prompts": "8"}
    recipe = make_recipe(tmp_path, generator, make_encoder_checkpoint(tmp_path / "encoder"), changes=changes)
    alone = build(Recipe.load(recipe), tmp_path / "bundle")
    assert sorted(file.name for file in (alone / "generator").iterdir()) == sorted([backend, "tokenizer.json"])
    decoding = "constrained" if backend == "onnx" else "probable"
    with Linker.open(alone, device="cpu", decoding=decoding, cache=False) as linker:
        (link,) = linker.link([Mention(descriptions()[3])])
    assert (link.provenance.backend, link.provenance.decoding) == (backend, decoding)
    if decoding == "constrained":
        assert link.generated in descriptions()
        assert link.code is not None
        assert link.proof is not None and link.proof.exact
    else:
        assert link.generated
