"""Who may be opened: the backend, device and compute type for which parity was shown, and nothing that inherits it."""

from __future__ import annotations

import shutil
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from cielo.bundle.layout import Bundle, Layout, default_bundle
from cielo.bundle.manifest import GeneratorModel, Manifest, ParityFigures
from cielo.bundle.opening import execution_on, open_bundle
from cielo.bundle.state import record_parity, save_plan
from cielo.bundle.writing import write_manifest
from cielo.errors import BundleError, DeviceError, OptionError, UnverifiedError
from cielo.generation.backends import BACKENDS
from cielo.generation.plan import ThreadPlan
from cielo.link.linker import Linker
from cielo.options import LinkOptions
from cielo.records import Mention

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "generation"))

from toy_backend import ToyBackend, constrained_mini, constrained_toy, write_model


@pytest.fixture(autouse=True)
def _state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CIELO_STATE", str(tmp_path / "state"))


def with_toy(bundle: Bundle, *, backend: str = "ctranslate2") -> Manifest:
    """The manifest of a bundle that holds the toy's model too."""
    generator = bundle.manifest.generator
    backends = {**generator.backends, "toy": GeneratorModel("float32")}
    return replace(bundle.manifest, generator=replace(generator, backend=backend, backends=backends))


@pytest.fixture
def two(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bundle:
    """The mini with a second generator, for the toy, for which parity was never shown."""
    monkeypatch.setitem(BACKENDS, "toy", ToyBackend())
    directory = tmp_path / "two"
    shutil.copytree(default_bundle(), directory)
    write_model(Layout(directory).generator_model("toy"), ["Asma", "Cefalea"])
    return write_manifest(directory, with_toy(Bundle.open(directory)))


class TestTwoBackends:
    def test_the_second_inherits_nothing_of_the_first(self, two: Bundle) -> None:
        assert two.model("toy").compute_type == two.model("ctranslate2").compute_type
        with open_bundle(two.path, device="cpu").stages:
            pass
        with pytest.raises(UnverifiedError, match=r"with toy on cpu .*shown: ctranslate2/cpu/float32\).*--backend toy"):
            open_bundle(two.path, device="cpu", backend="toy")

    def test_the_first_inherits_nothing_of_the_second(self, two: Bundle, shown: ParityFigures) -> None:
        record_parity(two, two.execution("cpu", backend="ctranslate2"), replace(shown, status="failed"))
        record_parity(two, two.execution("cpu", backend="toy"), shown)
        with pytest.raises(UnverifiedError, match=r"with ctranslate2 on cpu .*shown: toy/cpu/float32"):
            open_bundle(two.path, device="cpu", backend="ctranslate2")
        opened = open_bundle(two.path, device="cpu", backend="toy")
        opened.stages.close()
        assert (opened.backend, opened.device, opened.compute_type) == ("toy", "cpu", "float32")

    def test_auto_takes_the_bundle_s_own_and_another_only_where_parity_was_shown_for_that_alone(
        self, two: Bundle, shown: ParityFigures
    ) -> None:
        own, other = (two.execution("cpu", backend=name) for name in ("ctranslate2", "toy"))
        record_parity(two, other, shown)
        with open_bundle(two.path).stages as stages:
            assert type(stages.generator).__name__ == "CTranslate2Generator"
        record_parity(two, own, replace(shown, status="failed"))
        with open_bundle(two.path).stages as stages:
            assert type(stages.generator).__name__ == "ToyGenerator"
        record_parity(two, other, replace(shown, status="failed"))
        with pytest.raises(UnverifiedError, match="with ctranslate2"):
            open_bundle(two.path)

    def test_a_plan_is_used_for_its_own_backend_alone(self, two: Bundle) -> None:
        save_plan(two, two.execution("cpu", backend="toy"), ThreadPlan(1, batch_tokens=77), {})
        opened = open_bundle(two.path, device="cpu", backend="ctranslate2")
        opened.stages.close()
        assert opened.plan.source == "default"
        opened = open_bundle(two.path, device="cpu", backend="toy", allow_unverified=True)
        opened.stages.close()
        assert opened.plan.batch_tokens == 77

    def test_a_link_names_the_backend_that_it_comes_from(self, two: Bundle) -> None:
        provenances = []
        for backend in ("ctranslate2", "toy"):
            with Linker.open(two.path, device="cpu", backend=backend, allow_unverified=True) as linker:
                (link,) = linker.link([Mention("asma")])
                provenances.append(link.provenance)
        assert [provenance.backend for provenance in provenances] == ["ctranslate2", "toy"]
        assert replace(provenances[0], backend="toy") == provenances[1]


class TestByDecoding:
    @pytest.fixture
    def both(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bundle:
        monkeypatch.setitem(BACKENDS, "toy", constrained_toy())
        return constrained_mini(tmp_path / "both", ["Asma", "Cefalea"])

    def test_auto_takes_a_backend_that_runs_the_decoding(self, both: Bundle) -> None:
        for decoding, backend in (("constrained", "toy"), ("probable", "ctranslate2"), (None, "ctranslate2")):
            opened = open_bundle(both.path, decoding=decoding)  # type: ignore[arg-type]
            opened.stages.close()
            assert opened.backend == backend
            assert (opened.stages.trie is not None) == (backend == "toy")

    def test_the_linker_opens_one_for_its_decoding(self, both: Bundle) -> None:
        with Linker.open(both.path, decoding="constrained") as linker:
            (link,) = linker.link([Mention("asma")])
            assert (link.provenance.backend, link.provenance.decoding) == ("toy", "constrained")
            assert link.proof is not None and link.proof.exact
            assert linker.link([Mention("asma")], LinkOptions(decoding="probable"))[0].proof is None
        with Linker.open(both.path) as linker, pytest.raises(OptionError, match="open the bundle with the decoding"):
            linker.link([Mention("asma")], LinkOptions(decoding="constrained"))

    def test_a_backend_by_name_must_run_it(self, both: Bundle) -> None:
        with pytest.raises(OptionError, match="the backend ctranslate2 runs published, probable, greedy"):
            open_bundle(both.path, backend="ctranslate2", decoding="constrained")

    def test_where_none_runs_it_the_error_names_the_recipe_s_line(self, monkeypatch: pytest.MonkeyPatch) -> None:
        with pytest.raises(OptionError, match=r'for ctranslate2.*`backends = \["ctranslate2", "onnx"\]`'):
            open_bundle(decoding="constrained")
        monkeypatch.setattr("cielo.generation.backends.BACKENDS", {"ctranslate2": BACKENDS["ctranslate2"]})
        with pytest.raises(OptionError, match="choose another decoding"):
            open_bundle(decoding="constrained")

    def test_parity_is_asked_of_those_that_run_it(self, both: Bundle, shown: ParityFigures) -> None:
        record_parity(both, both.execution("cpu", backend="toy"), replace(shown, status="failed"))
        with pytest.raises(UnverifiedError, match="with toy on cpu"):
            open_bundle(both.path, decoding="constrained")

    def test_an_old_bundle_without_a_trie_opens_and_says_what_to_do(self, two: Bundle) -> None:
        BACKENDS["toy"] = constrained_toy()
        with Linker.open(two.path, backend="toy", allow_unverified=True) as linker:
            assert linker.link([Mention("asma")])[0].code is not None
            with pytest.raises(OptionError, match="convert its recipe again"):
                linker.link([Mention("asma")], LinkOptions(decoding="constrained"))

    def test_a_damaged_trie_is_refused_at_opening(self, both: Bundle) -> None:
        file = both.trie / "rows.npy"
        file.write_bytes(file.read_bytes()[:-4] + bytes(4))
        with pytest.raises(BundleError, match=r"trie/rows\.npy"):
            open_bundle(both.path, decoding="constrained")
        signed = write_manifest(both.path, both.manifest)
        with pytest.raises(BundleError, match="the trie of the descriptions cannot be read"):
            open_bundle(signed.path, decoding="constrained")


class TestOneBackend:
    def test_a_backend_that_the_bundle_does_not_hold_is_refused(self) -> None:
        with pytest.raises(BundleError, match="no generator for the backend 'onnx'; expected one of ctranslate2"):
            open_bundle(backend="onnx")

    def test_a_backend_that_this_version_does_not_have_is_refused(self, two: Bundle) -> None:
        del BACKENDS["toy"]
        with pytest.raises(BundleError, match="got backend 'toy', expected one of ctranslate2"):
            open_bundle(two.path, device="cpu", backend="toy", allow_unverified=True)
        BACKENDS["toy"] = ToyBackend()

    def test_what_stands_in_the_manifest_is_what_is_opened(self) -> None:
        opened = open_bundle(device="cpu")
        opened.stages.close()
        assert (opened.backend, opened.compute_type) == ("ctranslate2", opened.bundle.model("ctranslate2").compute_type)

    def test_a_compute_type_without_parity_is_refused_unless_allowed(self) -> None:
        with pytest.raises(UnverifiedError, match=r"int8 .*--compute-type int8"):
            open_bundle(device="cpu", compute_type="int8")
        opened = open_bundle(device="cpu", compute_type="int8", allow_unverified=True)
        opened.stages.close()
        assert opened.compute_type == "int8"

    def test_what_does_not_run_here_is_refused(self) -> None:
        with pytest.raises(DeviceError, match="int4"):
            open_bundle(device="cpu", compute_type="int4", allow_unverified=True)
        with pytest.raises(DeviceError, match="expected one of"):
            open_bundle(device="tpu", allow_unverified=True)

    def test_how_it_would_run(self) -> None:
        bundle = Bundle.open(default_bundle())
        assert execution_on(bundle, device="cpu").key == "ctranslate2/cpu/float32"
        assert execution_on(bundle, device="cpu", compute_type="int8").key == "ctranslate2/cpu/int8"
        with pytest.raises(BundleError, match="no generator"):
            execution_on(bundle, backend="onnx")

    def test_a_gpu_without_parity_is_not_taken_by_itself(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(BACKENDS["ctranslate2"].__class__, "devices", lambda self: ("cpu", "cuda"))
        opened = open_bundle()
        opened.stages.close()
        assert opened.device == "cpu"
        with pytest.raises(UnverifiedError, match="on cuda"):
            open_bundle(device="cuda")

    def test_a_budget_that_is_too_small_releases_the_models(self, monkeypatch: pytest.MonkeyPatch) -> None:
        closed = []
        monkeypatch.setattr("cielo.bundle.stages.Stages.close", lambda stages: closed.append(stages))
        with pytest.raises(DeviceError, match="give at least"):
            open_bundle(device="cpu", memory=1_000_000)
        assert len(closed) == 1
        monkeypatch.undo()
        closed[0].close()
