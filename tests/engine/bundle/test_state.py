"""What a machine finds out about a bundle: kept for it alone, and for each backend, device and compute type."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cielo.bundle import state
from cielo.bundle.layout import Bundle
from cielo.bundle.manifest import Check, GeneratorModel, Manifest, ParityFigures
from cielo.bundle.state import (
    Measured,
    has_parity,
    known_parity,
    load_plans,
    plan_file,
    plan_for,
    record_parity,
    save_plans,
)
from cielo.bundle.writing import write_manifest
from cielo.errors import BundleError
from cielo.generation.plan import ThreadPlan
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

TUNED = ThreadPlan(1, 2, 512, "greedy", "active", "tuned")
FAILED = ParityFigures("failed", (Check("generator.log_probs", None, 0.25, "<="),), processor="some")
KEY = "ctranslate2/cpu/int8"


@pytest.fixture(autouse=True)
def _state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CIELO_STATE", str(tmp_path / "state"))


@pytest.fixture
def bundle(bundle_files: Path, manifest: Manifest) -> Bundle:
    return write_manifest(bundle_files, manifest)


@pytest.fixture
def two(bundle_files: Path, manifest: Manifest) -> Bundle:
    """A bundle with the generator for two backends, of which parity was shown for the first alone."""
    shutil.copytree(bundle_files / "generator" / "ctranslate2", bundle_files / "generator" / "other")
    backends = {**manifest.generator.backends, "other": GeneratorModel("int8")}
    return write_manifest(bundle_files, replace(manifest, generator=replace(manifest.generator, backends=backends)))


def files_of(directory: Path) -> dict[str, bytes]:
    return {str(file): file.read_bytes() for file in directory.rglob("*") if file.is_file()}


class TestParity:
    def test_the_figures_of_the_build_are_known(self, bundle: Bundle, shown: ParityFigures) -> None:
        assert known_parity(bundle) == {KEY: shown}

    def test_this_machine_s_figures_are_kept_in_the_state_directory(
        self, tmp_path: Path, bundle: Bundle, shown: ParityFigures
    ) -> None:
        before = files_of(bundle.path)
        file = record_parity(bundle, bundle.execution("cpu", compute_type="float32"), shown)
        assert file.is_relative_to(tmp_path / "state")
        assert files_of(bundle.path) == before
        assert known_parity(Bundle.open(bundle.path)) == {KEY: shown, "ctranslate2/cpu/float32": shown}
        assert [entry.name for entry in file.parent.iterdir()] == [file.name]

    def test_this_machine_s_figures_replace_those_of_the_build(self, bundle: Bundle, shown: ParityFigures) -> None:
        own = bundle.execution("cpu")
        record_parity(bundle, own, FAILED)
        record_parity(bundle, bundle.execution("cpu", compute_type="int16"), shown)
        assert known_parity(bundle) == {KEY: FAILED, "ctranslate2/cpu/int16": shown}
        assert not has_parity(bundle, own)
        record_parity(bundle, own, shown)
        assert known_parity(bundle)[KEY] == shown
        assert bundle.manifest.parity == {KEY: shown}

    def test_a_second_backend_inherits_nothing(self, two: Bundle, shown: ParityFigures) -> None:
        first, second = (two.execution("cpu", backend=name) for name in ("ctranslate2", "other"))
        assert first.compute_type == second.compute_type
        assert has_parity(two, first) and not has_parity(two, second)
        record_parity(two, second, FAILED)
        assert has_parity(two, first) and not has_parity(two, second)
        record_parity(two, first, FAILED)
        record_parity(two, second, shown)
        assert has_parity(two, second) and not has_parity(two, first)

    @pytest.mark.parametrize(
        "figures",
        [
            ParityFigures("passed"),  # without a check nothing was shown
            ParityFigures("unverified", (Check("a", 0.0, 1.0, "<="),)),
            ParityFigures("passed", (Check("a", 2.0, 1.0, "<="),)),
            ParityFigures("passed", (Check("a", None, 1.0, "<="),)),
            ParityFigures("passed", (Check("a", float("nan"), 1.0, "<="),)),
            ParityFigures("passed", (Check("a", 0.0, 1.0, "<="), Check("b", 0.0, 1.0, ">="))),
        ],
    )
    def test_what_shows_no_parity(self, bundle: Bundle, figures: ParityFigures) -> None:
        execution = bundle.execution("cpu")
        record_parity(bundle, execution, figures)
        assert not has_parity(bundle, execution)

    def test_another_bundle_does_not_see_them(self, bundle: Bundle, manifest: Manifest, shown: ParityFigures) -> None:
        record_parity(bundle, bundle.execution("cpu"), FAILED)
        other = write_manifest(bundle.path, replace(manifest, licence="MIT"))
        assert known_parity(other) == {KEY: shown}

    def test_another_processor_does_not_see_them(
        self, bundle: Bundle, shown: ParityFigures, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        record_parity(bundle, bundle.execution("cpu"), FAILED)
        monkeypatch.setattr("cielo.machine.processor_name", lambda: "another")
        assert known_parity(bundle) == {KEY: shown}

    @pytest.mark.parametrize(
        "content",
        [
            b"", b"{", b"\xff", b"[]", b"[1]", b'"cpu"', b"5", b"null", b'{"schema": 1}',
            b'{"schema": 1, "parity": {"ctranslate2/cpu/int8": "passed"}}',
            b'{"schema": 2, "parity": {}}',
            # As a cielo wrote it that knew of one backend alone.
            b'{"cpu/int8": {"status": "failed", "checks": []}}',
        ],
    )  # fmt: skip
    def test_a_damaged_state_file_counts_for_nothing_and_is_replaced(
        self, bundle: Bundle, shown: ParityFigures, content: bytes
    ) -> None:
        file = record_parity(bundle, bundle.execution("cpu"), FAILED)
        file.write_bytes(content)
        assert known_parity(bundle) == {KEY: shown}
        record_parity(bundle, bundle.execution("cpu", compute_type="int16"), shown)
        assert known_parity(bundle) == {KEY: shown, "ctranslate2/cpu/int16": shown}

    def test_a_state_directory_that_cannot_be_written_is_named(
        self, tmp_path: Path, bundle: Bundle, shown: ParityFigures
    ) -> None:
        (tmp_path / "state").touch()
        with pytest.raises(BundleError, match="CIELO_STATE") as caught:
            record_parity(bundle, bundle.execution("cpu"), shown)
        assert str(tmp_path / "state") in str(caught.value)
        assert known_parity(bundle) == {KEY: shown}


def figures(plan: ThreadPlan, single: float, bulk: float) -> Measured:
    return Measured(plan, single, (single - 1, single + 1), bulk, (bulk - 1, bulk + 1))


class TestPlans:
    def test_a_kept_plan_is_used_unless_threads_are_named(self, bundle: Bundle) -> None:
        own, other = bundle.execution("cpu"), bundle.execution("cpu", compute_type="float32")
        assert plan_for(bundle, own).source == "default"
        save_plans(bundle, own, [figures(TUNED, 9.0, 9.0)])
        assert plan_for(bundle, own) == TUNED
        assert plan_for(bundle, other).source == "default"
        assert plan_for(bundle, own, threads=1) == ThreadPlan(1, source="given")

    def test_each_use_has_its_own_best(self, bundle: Bundle) -> None:
        own = bundle.execution("cpu")
        wide, alone = ThreadPlan(8), ThreadPlan(1, 8)
        save_plans(bundle, own, [figures(wide, 50.0, 20.0), figures(alone, 30.0, 25.0)])
        assert plan_for(bundle, own, use="bulk") == replace(wide, source="tuned")
        assert plan_for(bundle, own, use="single") == replace(alone, source="tuned")
        assert plan_for(bundle, own) == replace(wide, source="tuned")

    def test_backends_are_compared_by_what_all_of_them_do(self, bundle: Bundle) -> None:
        own = bundle.execution("cpu")
        greedy = ThreadPlan(1, first_search="greedy")
        save_plans(bundle, own, [figures(ThreadPlan(1), 30.0, 20.0), figures(greedy, 10.0, 5.0)])
        kept = load_plans(bundle, own)
        assert kept is not None
        assert (kept.best("single").plan, kept.figure("single"), kept.figure("bulk")) == (greedy, 30.0, 20.0)
        save_plans(bundle, own, [figures(greedy, 10.0, 5.0)])
        kept = load_plans(bundle, own)
        assert kept is not None and (kept.figure("single"), kept.figure("bulk")) == (10.0, 5.0)

    def test_a_second_backend_has_plans_of_its_own(self, two: Bundle) -> None:
        first, second = (two.execution("cpu", backend=name) for name in ("ctranslate2", "other"))
        save_plans(two, first, [figures(TUNED, 9.0, 9.0)])
        assert load_plans(two, second) is None
        save_plans(two, second, [figures(replace(TUNED, replicas=7), 9.0, 9.0)])
        assert plan_for(two, first) == TUNED
        assert plan_for(two, second) == replace(TUNED, replicas=7)

    def test_a_plan_for_another_number_of_cores_is_not_used(
        self, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        save_plans(bundle, bundle.execution("cpu"), [figures(TUNED, 9.0, 9.0)])
        monkeypatch.setattr(state, "usable_cores", lambda: 64)
        assert load_plans(bundle, bundle.execution("cpu")) is None

    @pytest.mark.parametrize(
        "change",
        [
            {"schema": 99}, {"schema": 2}, {"cores": 0}, {"cores": True}, {"measured": []}, {"measured": {}},
            {"surprise": 1}, {"processor": None}, {"plan": {"replicas": 0}}, {"plan": {"replicas": "2"}},
            {"plan": {"replicas": True}}, {"plan": {"first_search": "other"}}, {"plan": {"surprise": 1}},
            {"entry": {"single_ms": -1}}, {"entry": {"single_ms": None}}, {"entry": {"bulk_range": [1.0]}},
        ],
    )  # fmt: skip
    def test_a_damaged_file_is_told_and_not_used(self, bundle: Bundle, change: dict[str, Any]) -> None:
        own = bundle.execution("cpu")
        path = save_plans(bundle, own, [figures(TUNED, 9.0, 9.0)])
        document = json.loads(path.read_text(encoding="utf-8"))
        entry = document["measured"][0]
        entry["plan"] |= change.get("plan", {})
        entry |= change.get("entry", {})
        document |= {name: value for name, value in change.items() if name not in ("plan", "entry")}
        path.write_text(json.dumps(document), encoding="utf-8")
        with pytest.warns(UserWarning, match="cielo tune"):
            assert plan_for(bundle, own).source == "default"

    @pytest.mark.parametrize(
        "content",
        [
            "", "[]", "{}", "null", '{"schema": 3}',
            # As a cielo wrote it that knew no ways of use.
            '{"schema": 2, "cores": 1, "measured": {}, "plan": {"replicas": 1}}',
        ],
    )  # fmt: skip
    def test_no_other_document_is_used(self, bundle: Bundle, content: str) -> None:
        path = plan_file(bundle, bundle.execution("cpu"))
        path.parent.mkdir(parents=True)
        path.write_text(content, encoding="utf-8")
        with pytest.warns(UserWarning, match="cielo tune"):
            assert plan_for(bundle, bundle.execution("cpu")).source == "default"

    @settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(st.binary(max_size=60))
    def test_no_file_stops_the_linker(self, bundle: Bundle, content: bytes) -> None:
        path = plan_file(bundle, bundle.execution("cpu"))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        with pytest.warns(UserWarning, match="cielo tune"):
            assert plan_for(bundle, bundle.execution("cpu")).source == "default"

    def test_what_is_kept_holds_the_figures(self, bundle: Bundle) -> None:
        entry = figures(TUNED, 1.5, 2.5)
        path = save_plans(bundle, bundle.execution("cpu"), [entry])
        kept = json.loads(path.read_text(encoding="utf-8"))
        assert kept["measured"][0]["single_ms"] == 1.5
        loaded = load_plans(bundle, bundle.execution("cpu"))
        assert loaded is not None and loaded.measured == (entry,)
