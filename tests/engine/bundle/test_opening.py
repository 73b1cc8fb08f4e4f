"""Who may be opened: the backend, device and compute type for which parity was shown, and nothing that inherits it."""

from __future__ import annotations

import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cielo.bundle.choosing import Asked, backend_on_gpu, choose_backend
from cielo.bundle.layout import Bundle, Layout, default_bundle
from cielo.bundle.manifest import GeneratorModel, Manifest, ParityFigures
from cielo.bundle.opening import Opened, execution_on, executions_on, open_bundle
from cielo.bundle.state import Measured, record_parity, save_plans
from cielo.bundle.writing import write_manifest
from cielo.errors import BundleError, DeviceError, OptionError, UnverifiedError
from cielo.generation import backends
from cielo.generation.backends import BACKENDS
from cielo.generation.plan import USES, ThreadPlan
from cielo.link.linker import Linker
from cielo.options import LinkOptions
from cielo.records import Mention

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "generation"))

from toy_backend import ToyBackend, constrained_mini, constrained_toy, write_model

pytestmark = pytest.mark.usefixtures("with_one_backend")


@pytest.fixture(autouse=True)
def _state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CIELO_STATE", str(tmp_path / "state"))


def with_toy(bundle: Bundle, *, backend: str = "ctranslate2") -> Manifest:
    """The manifest of a bundle that holds the toy's model too."""
    generator = bundle.manifest.generator
    backends = {**generator.backends, "toy": GeneratorModel("float32")}
    return replace(bundle.manifest, generator=replace(generator, backend=backend, backends=backends))


@pytest.fixture
def two(tmp_path: Path, one_backend: Path, monkeypatch: pytest.MonkeyPatch) -> Bundle:
    """The mini with a second generator, for the toy, for which parity was never shown."""
    monkeypatch.setitem(BACKENDS, "toy", ToyBackend())
    directory = tmp_path / "two"
    shutil.copytree(one_backend, directory)
    write_model(Layout(directory).generator_model("toy"), ["Asma", "Cefalea"])
    return write_manifest(directory, with_toy(Bundle.open(directory)))


def figures(plan: ThreadPlan, single: float, bulk: float) -> Measured:
    return Measured(plan, single, (single, single), bulk, (bulk, bulk))


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
        save_plans(two, two.execution("cpu", backend="toy"), [figures(ThreadPlan(1, batch_tokens=77), 1.0, 1.0)])
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


class TestTheFastest:
    """What ``auto`` takes where parity was shown for both."""

    @pytest.fixture
    def both(self, two: Bundle, shown: ParityFigures) -> Bundle:
        record_parity(two, two.execution("cpu", backend="toy"), shown)
        return two

    def opened(self, bundle: Bundle, **asked: Any) -> Opened:
        opened = open_bundle(bundle.path, device="cpu", **asked)
        opened.stages.close()
        return opened

    def tuned(self, bundle: Bundle, **measured: Measured) -> None:
        for backend, entry in measured.items():
            save_plans(bundle, bundle.execution("cpu", backend=backend), [entry])

    def test_for_each_use_the_one_that_was_measured_to_be_so(self, both: Bundle) -> None:
        self.tuned(both, ctranslate2=figures(ThreadPlan(2), 9.0, 2.0), toy=figures(ThreadPlan(1, 2), 4.0, 3.0))
        single, bulk = self.opened(both, use="single"), self.opened(both, use="bulk")
        assert (single.backend, bulk.backend, self.opened(both).backend) == ("toy", "ctranslate2", "ctranslate2")
        assert single.plan == ThreadPlan(1, 2, source="tuned")
        assert bulk.plan == ThreadPlan(2, source="tuned")

    @pytest.mark.parametrize(
        ("ms", "backend"), [(9.0, "toy"), (9.4, "toy"), (9.6, "ctranslate2"), (11.0, "ctranslate2")]
    )
    def test_another_must_be_worth_it(self, both: Bundle, ms: float, backend: str) -> None:
        self.tuned(both, ctranslate2=figures(ThreadPlan(2), 10.0, 10.0), toy=figures(ThreadPlan(1), ms, ms))
        assert {self.opened(both, use=use).backend for use in USES} == {backend}

    def test_where_one_was_not_measured_the_stated_rule_decides(
        self, both: Bundle, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.tuned(both, toy=figures(ThreadPlan(1), 1.0, 1.0))
        assert [self.opened(both, use=use).backend for use in USES] == ["ctranslate2", "ctranslate2"]
        monkeypatch.setattr(backends, "_FAST_ALONE", ("toy",))
        assert [self.opened(both, use=use).backend for use in USES] == ["toy", "ctranslate2"]

    def test_figures_of_another_number_of_cores_do_not_count(
        self, both: Bundle, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.tuned(both, ctranslate2=figures(ThreadPlan(2), 9.0, 9.0), toy=figures(ThreadPlan(1), 1.0, 1.0))
        assert self.opened(both).backend == "toy"
        monkeypatch.setattr("cielo.bundle.state.usable_cores", lambda: 64)
        assert self.opened(both).backend == "ctranslate2"

    @pytest.mark.parametrize("given", [{"threads": 1}, {"plan": ThreadPlan(1)}])
    def test_figures_do_not_count_for_other_threads(self, both: Bundle, given: dict[str, Any]) -> None:
        self.tuned(both, ctranslate2=figures(ThreadPlan(2), 9.0, 9.0), toy=figures(ThreadPlan(1), 1.0, 1.0))
        opened = self.opened(both, **given)
        assert (opened.backend, opened.plan.source) == ("ctranslate2", "given" if "threads" in given else "default")

    def test_whatever_was_measured_counts_for_nothing_without_parity(self, two: Bundle) -> None:
        self.tuned(two, ctranslate2=figures(ThreadPlan(2), 9.0, 9.0), toy=figures(ThreadPlan(1), 1.0, 1.0))
        assert [self.opened(two, use=use).backend for use in USES] == ["ctranslate2", "ctranslate2"]
        assert self.opened(two, allow_unverified=True).backend == "ctranslate2"
        assert self.opened(two, allow_unverified=True, backend="toy").backend == "toy"

    def test_one_that_does_not_do_the_decoding_is_not_taken(
        self, both: Bundle, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.tuned(both, ctranslate2=figures(ThreadPlan(2), 9.0, 9.0), toy=figures(ThreadPlan(1), 1.0, 1.0))
        monkeypatch.setitem(BACKENDS, "toy", ToyBackend(decodings=("greedy",)))
        assert self.opened(both).backend == "ctranslate2"
        assert self.opened(both, decoding="greedy").backend == "toy"
        with Linker.open(both.path, device="cpu", decoding="greedy") as linker:
            assert linker.provenance().backend == "toy"

    def test_one_that_this_version_does_not_have_is_not_taken(self, both: Bundle) -> None:
        del BACKENDS["toy"]
        try:
            assert self.opened(both, use="single").backend == "ctranslate2"
        finally:
            BACKENDS["toy"] = ToyBackend()

    def test_a_gpu_is_taken_before_a_faster_way_on_the_processor(
        self, both: Bundle, shown: ParityFigures, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.tuned(both, ctranslate2=figures(ThreadPlan(2), 9.0, 9.0), toy=figures(ThreadPlan(1), 1.0, 1.0))
        record_parity(both, both.execution("cuda", backend="ctranslate2"), shown)
        asked = Asked("auto", "auto", None, "probable", "bulk")
        assert (choose_backend(both, asked), backend_on_gpu(both, asked)) == ("toy", None)
        monkeypatch.setattr(BACKENDS["ctranslate2"].__class__, "devices", lambda self: ("cpu", "cuda"))
        assert (choose_backend(both, asked), backend_on_gpu(both, asked)) == ("toy", "ctranslate2")
        assert backend_on_gpu(both, replace(asked, device="cpu")) is None
        assert backend_on_gpu(both, replace(asked, backend="toy")) is None
        assert choose_backend(both, replace(asked, device="cuda")) == "ctranslate2"

    def test_each_of_the_bundle_s_backends_is_verified_unless_one_is_named(self, two: Bundle) -> None:
        both = ["ctranslate2/cpu/float32", "toy/cpu/float32"]
        assert [entry.key for entry in executions_on(two, device="cpu")] == both
        assert [entry.key for entry in executions_on(two, backend="toy", device="cpu")] == both[1:]
        (narrow,) = executions_on(two, device="cpu", compute_type="int8")
        assert narrow.key == "ctranslate2/cpu/int8"


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
