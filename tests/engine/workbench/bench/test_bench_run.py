from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from bench_fakes import MARKER, FakeLinker, FakeTime, make_mentions
from cielo.errors import CieloError, TableError
from cielo.link.linker import Linker
from cielo.workbench.bench.results import ScenarioResult
from cielo.workbench.bench.run import SCENARIOS, BenchSettings, run_bench, run_with_reports
from cielo.workbench.bench.workload import Workload
from rich.console import Console

WORKLOAD = Workload(tuple(make_mentions(40)), "own", "cd" * 32)


def make_linker() -> FakeLinker:
    return FakeLinker(FakeTime(), lambda mentions: 0.01 * mentions)


def run(linker: FakeLinker, **settings: Any) -> dict[str, ScenarioResult]:
    result = run_bench(linker, WORKLOAD, BenchSettings(**settings), clock=linker.time.clock())
    return {entry.scenario: entry for entry in result.scenarios}


class TestSettings:
    @pytest.mark.parametrize(
        ("settings", "message"),
        [
            ({"scenarios": ()}, "expected some of single-stream"),
            ({"scenarios": ("offline", "batch")}, "expected some of single-stream"),
            ({"rate": 0.0}, "rate of 0.0"),
            ({"rate": float("nan")}, "rate of nan"),
            ({"query_mentions": 1}, "expected at least 2 and 1"),
            ({"server_batch": 0}, "expected at least 2 and 1"),
            ({"seconds": 0.0}, "expected more than 0"),
            ({"queries": 0}, "queries 0"),
        ],
    )
    def test_what_makes_no_sense_is_refused(self, settings: dict[str, Any], message: str) -> None:
        with pytest.raises(ValueError, match=message):
            BenchSettings(**settings)

    def test_they_reach_the_scenarios(self) -> None:
        found = run(make_linker(), queries=6, query_mentions=5, repeats=4, server_batch=3, warmup=2, seed=9, rate=2.0)
        assert found["single-stream"].queries == 6
        assert found["multi-stream"].settings == {"mentions_per_query": 5}
        assert found["multi-stream"].warmup_mentions == 10
        assert found["offline"].queries == 4
        assert found["server"].settings == {"rate": 2.0, "most_per_batch": 3, "seed": 9, "unanswered": 0}


class TestRun:
    def test_scenarios_run_in_one_order_and_are_announced(self) -> None:
        linker, seen = make_linker(), []
        settings = BenchSettings(scenarios=("server", "offline", "single-stream"), seconds=1.0)
        result = run_bench(linker, WORKLOAD, settings, seen.append, clock=linker.time.clock())
        assert seen == ["single-stream", "offline", "server"]
        assert [entry.scenario for entry in result.scenarios] == seen
        assert [name for name in SCENARIOS if name in seen] == seen

    def test_arrivals_come_at_half_of_the_offline_throughput(self) -> None:
        assert run(make_linker())["server"].settings["rate"] == pytest.approx(50)

    def test_a_server_alone_measures_what_it_can_bear(self) -> None:
        assert run(make_linker(), scenarios=("server",))["server"].settings["rate"] == pytest.approx(50)

    def test_mentions_are_shuffled_in_the_same_way_each_time(self) -> None:
        orders = []
        for seed in (1, 1, 2):
            linker = make_linker()
            run(linker, scenarios=("offline",), seed=seed, repeats=1)
            orders.append(linker.batches[-1])
        assert orders[0] == orders[1] != orders[2]
        assert sorted(orders[0], key=repr) == sorted(WORKLOAD.mentions, key=repr)
        assert orders[0] != list(WORKLOAD.mentions)

    def test_each_mention_s_output_is_counted_once(self) -> None:
        linker = make_linker()
        result = run_bench(linker, WORKLOAD, BenchSettings(), clock=linker.time.clock())
        counted = list(result.lengths["output_tokens"].values)
        assert counted == sorted(len(f"{MARKER} {m.text}") for m in WORKLOAD.mentions)

    def test_all_of_it_is_over_in_a_few_budgets(self) -> None:
        linker = FakeLinker(FakeTime(0.0), lambda mentions: 0.5 + 0.4 * mentions)  # as slow as the published model
        run_bench(linker, Workload(tuple(make_mentions(512)), "default", ""), clock=linker.time.clock())
        assert linker.time.seconds < 100


class TestReports:
    def run(self, linker: FakeLinker, **options: Any) -> tuple[str, str]:
        console, status = (Console(file=io.StringIO(), width=200) for _ in range(2))
        # The command's own clock is the real one; a fake linker answers at once.
        run_with_reports(
            linker,
            settings=BenchSettings(seconds=0.2, queries=10, scenarios=("single-stream",)),
            console=console,
            status=status,
            **options,
        )
        return console.file.getvalue(), status.file.getvalue()  # type: ignore[attr-defined]

    def test_a_file_is_read_run_and_reported(self, tmp_path: Path) -> None:
        source = tmp_path / "m.csv"
        source.write_text(f"text,kind\n{MARKER},diagnosis\n{MARKER},procedure\n,\n{MARKER} 2,\n")
        paths = {"json_path": tmp_path / "a.json", "html_path": tmp_path / "a.html"}
        shown, said = self.run(make_linker(), workload=source, **paths)
        assert "single-stream" in shown
        assert "1 row(s) of the workload" in said
        assert "single-stream …" in said
        report = json.loads(paths["json_path"].read_text())
        assert report["workload"]["left_out"] == 1
        assert report["workload"]["mentions"] == 2
        assert "single-stream".replace("s", "S", 1).replace("-", " ") in paths["html_path"].read_text()
        for content in (shown, said, *(path.read_text() for path in paths.values())):
            assert MARKER not in content

    def test_the_default_workload_is_cielo_s_own(self) -> None:
        linker = make_linker()
        linker.check = lambda mention: None  # type: ignore[method-assign]
        shown, said = self.run(linker)
        assert "single-stream" in shown
        assert "left out" not in said

    @pytest.mark.parametrize("name", ["json_path", "html_path"])
    def test_a_place_that_cannot_be_written_is_refused_before_anything_runs(self, tmp_path: Path, name: str) -> None:
        for path in (tmp_path, tmp_path / "missing" / "a"):
            linker = make_linker()
            with pytest.raises(CieloError, match="cannot be written"):
                self.run(linker, **{name: path})
            assert linker.batches == []

    def test_a_file_without_mentions_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "m.csv").write_text("text\n")
        with pytest.raises(TableError, match="none of its 0 row"):
            self.run(make_linker(), workload=tmp_path / "m.csv")


def test_the_mini_is_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CIELO_STATE", str(tmp_path / "state"))
    monkeypatch.delenv("CIELO_BUNDLE", raising=False)
    settings = BenchSettings(seconds=0.5, queries=4, repeats=1, warmup=1)
    console = Console(file=io.StringIO(), width=200)
    with Linker.open(device="cpu", cache=False) as linker:
        run_with_reports(
            linker,
            settings=settings,
            json_path=tmp_path / "a.json",
            html_path=tmp_path / "a.html",
            console=console,
            status=console,
        )
        sha256 = linker.bundle.sha256
    report = json.loads((tmp_path / "a.json").read_text(encoding="utf-8"))
    assert report["provenance"]["bundle"]["sha256"] == sha256
    assert report["workload"]["mentions"] == 512
    for entry in report["scenarios"]:
        assert entry["cached"] == 0
        assert entry["stages"]["generate"] > 0
        assert entry["throughput"] > 0
        assert sum(entry["methods"].values()) == entry["mentions"] > 0
        assert sum(entry["stages"].values()) > 0
    assert report["lengths"]["input_tokens"]["count"] == 512
    assert report["lengths"]["output_tokens"]["p50"] > 1
    assert f"mini<span>@{sha256[:12]}" in (tmp_path / "a.html").read_text(encoding="utf-8")
