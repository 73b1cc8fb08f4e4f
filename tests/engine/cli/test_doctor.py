"""What `cielo doctor` finds, and that it changes nothing."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from cielo.bundle.layout import Bundle, default_bundle
from cielo.bundle.manifest import Check, ParityFigures
from cielo.bundle.state import Measured, plan_file, record_parity, save_plans
from cielo.cache.file import VERSION
from cielo.cli import main
from cielo.errors import BundleError
from cielo.generation.backends import BACKENDS
from cielo.generation.plan import ThreadPlan
from cielo.machine import machine_key
from cielo.workbench.doctor import examining
from cielo.workbench.doctor.examining import Wanted, examine
from cielo.workbench.doctor.records import Report
from click.testing import CliRunner

TUNED = Measured(ThreadPlan(1), 5.0, (5.0, 5.0), 2.0, (2.0, 2.0))


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CIELO_STATE", str(tmp_path / "state"))
    monkeypatch.delenv("CIELO_BUNDLE", raising=False)
    return tmp_path / "state"


@pytest.fixture
def mini(tmp_path: Path) -> Path:
    """A copy of the mini that may be spoilt."""
    return Path(shutil.copytree(default_bundle(), tmp_path / "mini"))


def run(*arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(main, ["doctor", *arguments])
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.exit_code, done.output


def found(report: Report, severity: str) -> str:
    return "\n".join(f"{entry.what} | {entry.remedy}" for entry in report.findings if entry.severity == severity)


def test_the_mini_is_usable_and_the_report_says_by_what() -> None:
    code, told = run()
    assert code == 0
    for words in ("mini@", "every hash", "cielo mini 1", "backend onnx", "use single", "use bulk", "telemetry", "off"):
        assert words in told
    assert told.endswith("usable\n")


def test_the_record_holds_what_is_shown() -> None:
    code, told = run("--json")
    record = json.loads(told)
    assert (code, record["usable"], record["telemetry"]) == (0, True, False)
    bundle = Bundle.open(default_bundle())
    assert (record["bundle"]["sha256"], record["bundle"]["intact"]) == (bundle.sha256, True)
    assert {entry["key"] for entry in record["parity"]} == set(bundle.manifest.parity)
    assert [entry["use"] for entry in record["plans"]] == ["single", "bulk"]
    assert {entry["name"]: entry["held"] for entry in record["backends"]} == {"ctranslate2": "float32", "onnx": "int8"}
    assert record["machine"]["libraries"]["cielo"] == metadata.version("cielo")
    assert record["cache"] is None


def test_nothing_is_written(tmp_path: Path, state: Path) -> None:
    cache = tmp_path / "links.cache"
    assert CliRunner().invoke(main, ["link", "tos", "--cache", str(cache)]).exit_code == 0
    before = {file: (file.read_bytes(), file.stat().st_mtime_ns) for file in tmp_path.rglob("*") if file.is_file()}
    shutil.rmtree(state / "files")
    assert run("--cache", str(cache))[0] == 0
    after = {file: (file.read_bytes(), file.stat().st_mtime_ns) for file in tmp_path.rglob("*") if file.is_file()}
    assert after == {file: content for file, content in before.items() if file.parent.name != "files"}


class TestTheBundle:
    def test_none_there(self, tmp_path: Path) -> None:
        code, told = run("--bundle", str(tmp_path / "nowhere"))
        assert code == 1
        assert "broken: no bundle at" in told
        assert "processor" in told  # the rest is looked at all the same

    def test_a_flipped_bit(self, mini: Path) -> None:
        model = next((mini / "index").rglob("*.hnsw"))
        content = bytearray(model.read_bytes())
        content[100] ^= 1
        model.write_bytes(content)
        report = examine(mini)
        assert report.bundle is not None
        assert (report.usable, report.bundle.intact) == (False, False)
        assert model.name in found(report, "broken")
        code, told = run("--bundle", str(mini))
        assert (code, "NOT as in the manifest" in told) == (1, True)

    def test_a_damaged_calibration(self, mini: Path) -> None:
        (mini / "calibration.json").write_bytes(b"x" * (mini / "calibration.json").stat().st_size)
        assert "calibration.json" in found(examine(mini), "broken")

    def test_one_that_was_never_calibrated(self, one_backend: Path) -> None:
        report = examine(one_backend)
        assert report.bundle is not None
        assert (report.bundle.calibrated == ()) == ("no confidence" in found(report, "note"))

    def test_parity_that_failed_here_is_broken(self) -> None:
        bundle = Bundle.open(default_bundle())
        failed = ParityFigures("failed", (Check("x", 1.0, 0.0, "<="),), machine=machine_key())
        for backend in bundle.manifest.generator.backends:
            record_parity(bundle, bundle.execution("cpu", backend=backend), failed)
        report = examine()
        assert (report.usable, report.plans) == (False, ())
        assert found(report, "broken").count("parity of compute type") == 1  # for both uses, said once
        assert "cielo verify --parity" in found(report, "broken")

    def test_parity_that_was_shown_here_is_no_note(self) -> None:
        bundle = Bundle.open(default_bundle())
        shown = ParityFigures("passed", (Check("x", 0.0, 0.0, "<="),), machine="0" * 16)
        execution = bundle.execution("cpu", backend="onnx")
        record_parity(bundle, execution, shown)
        assert "`cielo verify" in found(examine(), "note")
        record_parity(bundle, execution, replace(shown, machine=machine_key()))
        assert "`cielo verify" not in found(examine(), "note")


class TestPlans:
    def test_nobody_measured(self) -> None:
        report = examine()
        assert {plan.plan.source for plan in report.plans} == {"default"}
        assert f"`cielo tune {default_bundle()}`" in found(report, "slow")

    def test_what_was_measured_is_in_force(self) -> None:
        bundle = Bundle.open(default_bundle())
        for backend in bundle.manifest.generator.backends:
            save_plans(bundle, bundle.execution("cpu", backend=backend), [TUNED])
        report = examine()
        assert [(plan.use, plan.milliseconds) for plan in report.plans] == [("single", 5.0), ("bulk", 2.0)]
        assert "cielo tune" not in found(report, "slow").replace("before `cielo tune`", "")
        assert "measured by `cielo tune`, 5.0 ms a mention" in run()[1]

    def test_measured_with_other_processors(self, monkeypatch: pytest.MonkeyPatch) -> None:
        bundle = Bundle.open(default_bundle())
        save_plans(bundle, bundle.execution("cpu", backend="onnx"), [TUNED])
        monkeypatch.setattr("cielo.bundle.state.usable_cores", lambda: 999)
        assert "measured with other processors" in found(examine(), "slow")

    def test_a_damaged_one(self) -> None:
        bundle = Bundle.open(default_bundle())
        execution = bundle.execution("cpu", backend="onnx")
        save_plans(bundle, execution, [TUNED])
        plan_file(bundle, execution).write_text("{", encoding="utf-8")
        report = examine()
        assert report.usable
        assert "a thread plan is not used" in found(report, "slow")

    def test_threads_that_are_given(self) -> None:
        report = examine(wanted=Wanted(threads=4096))
        assert {plan.plan.source for plan in report.plans} == {"given"}
        assert "4096 threads, " in found(report, "slow")
        assert run("--threads", "4096")[0] == 0

    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            (("--backend", "nonsense"), "nonsense"),
            (("--device", "cuda"), "cuda"),
            (("--backend", "ctranslate2"), "decoding"),
            (("--decoding", "probable", "--compute-type", "int16"), "parity of compute type"),
        ],
    )
    def test_what_cannot_be_had_is_broken(self, arguments: tuple[str, ...], words: str) -> None:
        code, told = run(*arguments)
        assert code == 1
        assert any(line.startswith("broken: ") and words in line for line in told.splitlines())


class TestTheState:
    def test_one_that_cannot_be_written(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "file").write_text("", encoding="utf-8")
        monkeypatch.setenv("CIELO_STATE", str(tmp_path / "file" / "state"))
        report = examine()
        assert (report.usable, report.state.writable) == (True, False)
        assert "CIELO_STATE" in found(report, "slow")

    def test_one_that_the_system_keeps_from_being_written(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(os, "access", lambda *_: False)  # root may write anywhere
        assert not examine().state.writable

    def test_a_user_without_a_home(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def homeless() -> Path:
            raise BundleError("no home")

        monkeypatch.setattr(examining, "state_directory", homeless)
        report = examine()
        assert (report.state.path, report.state.writable) == (None, False)


class TestTheCache:
    @pytest.fixture
    def cache(self, tmp_path: Path) -> Path:
        file = tmp_path / "links.cache"
        assert CliRunner().invoke(main, ["link", "tos", "--cache", str(file)]).exit_code == 0
        return file

    def look(self, file: Path) -> tuple[Report, Any]:
        report = examine(cache=file)
        return report, report.cache

    def test_one_with_links(self, cache: Path) -> None:
        report, facts = self.look(cache)
        assert (report.usable, facts.links, facts.writable) == (True, 1, True)
        assert "(1 link, " in run("--cache", str(cache))[1]

    def test_one_that_is_not_there_yet(self, tmp_path: Path) -> None:
        report, facts = self.look(tmp_path / "new" / "links.cache")
        assert (report.usable, facts.links, facts.writable) == (True, None, True)
        assert list(tmp_path.iterdir()) == []

    def test_an_empty_file(self, tmp_path: Path) -> None:
        (tmp_path / "empty").touch()
        report, facts = self.look(tmp_path / "empty")
        assert (report.usable, facts.links) == (True, 0)

    def test_another_file(self, tmp_path: Path) -> None:
        (tmp_path / "text").write_text("no cache", encoding="utf-8")
        report, _ = self.look(tmp_path / "text")
        assert not report.usable
        assert "is not a result cache" in found(report, "broken")

    def test_a_folder(self, tmp_path: Path) -> None:
        assert not self.look(tmp_path)[0].usable

    @pytest.mark.parametrize(("version", "usable"), [(VERSION - 1, True), (VERSION + 1, False)])
    def test_of_another_schema(self, cache: Path, version: int, usable: bool) -> None:
        connection = sqlite3.connect(cache)
        connection.execute(f"PRAGMA user_version = {version}")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.close()
        report, _ = self.look(cache)
        assert report.usable is usable
        assert f"schema {version}" in found(report, "note" if usable else "broken")

    def test_a_damaged_one(self, cache: Path) -> None:
        content = bytearray(cache.read_bytes())
        content[100:] = b"\xff" * (len(content) - 100)
        cache.write_bytes(content)
        report, _ = self.look(cache)
        assert report.usable
        assert "is damaged" in found(report, "note")


class TestLibraries:
    def test_extras_are_those_of_the_package(self, monkeypatch: pytest.MonkeyPatch) -> None:
        lines = [
            "numpy>=1",
            "nowhere-to-be-had>=2; extra == 'odd'",
            'click; extra == "even"',
            "pytest; extra == 'test'",
        ]
        monkeypatch.setattr(metadata, "requires", lambda name: lines)
        report = examine()
        assert [(entry.name, entry.missing) for entry in report.extras] == [
            ("even", ()),
            ("odd", ("nowhere-to-be-had",)),
        ]
        assert report.usable
        told = run()[1]
        assert "odd (pip install 'cielo[NAME]')" in told

    def test_what_cielo_always_needs_is_broken_where_it_is_missing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(metadata, "requires", lambda name: ["nowhere-to-be-had>=2"])
        report = examine()
        assert "nowhere-to-be-had" in found(report, "broken")

    def test_a_backend_that_does_not_load(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def broken() -> tuple[str, ...]:
            raise ImportError("libother.so: no such file")

        monkeypatch.setattr(BACKENDS["ctranslate2"], "devices", broken)
        report = examine()
        assert "the backend ctranslate2 does not load (libother.so" in found(report, "broken")
        assert {entry.name: entry.runs for entry in report.backends}["ctranslate2"] == {}
        assert len(report.plans) == 2  # the other backend answers


def test_no_text_of_a_user_is_in_it(tmp_path: Path) -> None:
    cache = tmp_path / "links.cache"
    assert CliRunner().invoke(main, ["link", "tosferina rarisima", "--cache", str(cache)]).exit_code == 0
    assert "rarisima" not in run("--json", "--cache", str(cache))[1]
