from __future__ import annotations

import io
import json
import math
import re
import xml.etree.ElementTree as ElementTree
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from bench_fakes import MARKER, PROVENANCE, FakeLinker, FakeTime, make_mentions
from cielo.errors import CieloError
from cielo.workbench.bench import figures, plots
from cielo.workbench.bench.page import to_html
from cielo.workbench.bench.report import show, write_reports
from cielo.workbench.bench.results import BenchResult, ProcessMemory, from_json, to_json
from cielo.workbench.bench.run import BenchSettings, run_bench
from cielo.workbench.bench.statistics import Spread, histogram
from cielo.workbench.bench.workload import Workload
from hypothesis import given, settings
from hypothesis import strategies as st
from page_reading import (
    corners,
    height_of,
    of_kind,
    pictures_of,
    read,
    refers_to_nothing,
    tables_of,
    titles_of,
    width_of,
)
from rich.console import Console

WORKLOAD = Workload(tuple(make_mentions(40)), "own", "cd" * 32, 2)
LATENCIES = st.lists(st.floats(0, 1e4), min_size=1, max_size=60)


def make_result(linker: FakeLinker | None = None, **asked: Any) -> BenchResult:
    linker = linker or FakeLinker(FakeTime(), lambda mentions: 0.01 + 0.01 * mentions)
    return run_bench(linker, WORKLOAD, BenchSettings(**asked), clock=linker.time.clock())


@pytest.fixture(scope="module")
def result() -> BenchResult:
    return make_result()


@pytest.fixture(scope="module")
def page(result: BenchResult) -> str:
    """The page of `result`; its plots take a second."""
    return to_html(result)


@pytest.fixture(scope="module")
def overloaded() -> BenchResult:
    return make_result(FakeLinker(FakeTime()), rate=50.0, seconds=2.0)


class TestJson:
    def test_it_comes_back_as_it_was(self, result: BenchResult, overloaded: BenchResult, tmp_path: Path) -> None:
        for one in (result, overloaded):
            write_reports(one, tmp_path / "bench.json")
            assert from_json((tmp_path / "bench.json").read_bytes()) == one

    def test_its_names_are_kept(self, result: BenchResult) -> None:
        report = json.loads(to_json(result))
        assert set(report) == {
            "schema", "made", "cielo", "provenance", "plan", "system", "settings", "workload", "lengths", "memory",
            "scenarios",
        }  # fmt: skip
        assert set(report["scenarios"][0]) == {
            "scenario", "settings", "ended_by", "queries", "mentions", "warmup_mentions", "seconds",
            "processor_seconds", "throughput", "throughput_of_repeats", "latency", "stages", "methods", "cached",
            "memory", "samples",
        }  # fmt: skip

    @pytest.mark.parametrize("content", [b"", b"{}", b'{"schema": 1}', b"[]"])
    def test_what_is_no_report_is_refused(self, content: bytes) -> None:
        with pytest.raises(CieloError, match=r"the report is not (valid|JSON in UTF-8)"):
            from_json(content)

    def test_it_names_what_was_measured_and_where(self, result: BenchResult) -> None:
        assert result.provenance == PROVENANCE
        assert result.plan.replicas == 2
        assert result.system.libraries["numpy"]
        assert asdict(result.workload) == {
            "name": "own", "sha256": "cd" * 32, "mentions": 40, "distinct": 40, "left_out": 2,
        }  # fmt: skip
        assert [entry.scenario for entry in result.scenarios] == [
            "single-stream", "multi-stream", "offline", "server",
        ]  # fmt: skip
        assert set(result.lengths) == {"prompt_characters", "input_tokens", "output_tokens"}
        assert list(result.lengths["input_tokens"].values) == sorted(len(m.text) for m in WORKLOAD.mentions)

    def test_raw_samples_give_the_figures(self, overloaded: BenchResult) -> None:
        for entry in overloaded.scenarios:
            calls, queries = entry.samples.calls, entry.samples.queries
            assert len(queries) == entry.queries
            assert sum(call[2] for call in calls) == entry.mentions
            assert all(len(call) == len(entry.samples.call_columns) for call in calls)
            waits = sorted(math.inf if call is None else calls[call][1] - intended for intended, call in queries)
            if entry.latency and len(waits) >= 10:
                p90 = waits[math.ceil(len(waits) * 0.9) - 1]
                told = entry.latency.p90
                assert told is None if math.isinf(p90) else told == pytest.approx(p90, abs=1e-5)
        assert entry.settings["unanswered"] > 0

    def test_a_slower_linker_shows(self) -> None:
        fast, slow = (make_result(FakeLinker(FakeTime(), lambda m, c=cost: c * m)) for cost in (0.01, 0.02))
        for one, other in zip(fast.scenarios, slow.scenarios, strict=True):
            generate = [entry.stages["generate"] / entry.mentions for entry in (one, other)]
            assert generate[1] == pytest.approx(2 * generate[0], rel=0.01)
        rates = [found.scenarios[2].throughput_of_repeats for found in (fast, slow)]
        assert [rate and rate.median for rate in rates] == [pytest.approx(100), pytest.approx(50)]

    def test_too_few_samples_have_no_p99(self) -> None:
        single, *_ = make_result(queries=99).scenarios
        assert single.latency is not None and single.latency.p95 is not None
        assert single.latency.p99 is None
        single, *_ = make_result(queries=100).scenarios
        assert single.latency is not None and single.latency.p99 is not None


class TestPrivacy:
    def test_no_text_of_the_workload_or_of_a_link_is_in_any_report(
        self, result: BenchResult, overloaded: BenchResult, tmp_path: Path
    ) -> None:
        for one in (result, overloaded):
            write_reports(one, tmp_path / "bench.json", tmp_path / "bench.html")
            stream = io.StringIO()
            show(one, Console(file=stream, width=200))
            for content in (
                *(file.read_text() for file in tmp_path.iterdir()),
                stream.getvalue(),
                repr(one),
                repr(WORKLOAD) * 10,
            ):
                assert len(content) > 500
                assert MARKER.lower() not in content.lower()


class TestPage:
    @pytest.mark.parametrize("name", ["result", "overloaded"])
    def test_it_is_well_formed(self, name: str, request: pytest.FixtureRequest) -> None:
        page = to_html(request.getfixturevalue(name))
        reader = read(page)
        assert page.startswith("<!doctype html>")
        for tag in ("title", "h1", "table", "svg", "dl"):
            assert tag in reader.tags
        assert len(pictures_of(page)) == 9

    def test_it_refers_to_nothing_outside_and_runs_nothing(self, page: str) -> None:
        refers_to_nothing(page)

    def test_it_is_dark_where_that_is_preferred(self, page: str) -> None:
        assert "prefers-color-scheme: dark" in page
        assert "tabular-nums" in page
        light, dark = (set(re.findall(r"--(\w+):", block)) for block in re.findall(r":root {(.*?)}", page, re.DOTALL))
        assert light == dark

    def test_its_title_is_the_bundle_and_what_it_shows_is_escaped(self, page: str) -> None:
        assert "de prueba <1>" not in page
        assert "de prueba &lt;1&gt;" in page
        assert "abababababab" in page

    def test_each_plot_says_how_to_read_it(self, page: str) -> None:
        assert page.count("How to read it") == len(pictures_of(page)) == 9

    def test_it_can_be_made_of_a_kept_json(self, result: BenchResult, page: str) -> None:
        assert to_html(from_json(to_json(result))) == page

    def test_its_tables_have_the_figures(self, result: BenchResult, page: str) -> None:
        overview, stages, memory = tables_of(page)
        assert [row[0] for row in overview[1:]] == ["Single stream", "Multi-stream", "Offline", "Server"]
        assert [row[1] for row in overview[1:]] == [f"{entry.queries:,}" for entry in result.scenarios]
        assert overview[3][2:7] == ["–"] * 5
        assert stages[0] == ["", "tokenize", "generate", "match", "embed", "search", "other", "all"]
        assert len(memory) == 1 + 1 + len(result.scenarios)

    def test_a_phone_gets_every_plot_with_letters_that_can_be_read(self, page: str) -> None:
        for desk, phone in zip(pictures_of(page), pictures_of(page, "at-phone"), strict=True):
            assert desk.attrib["aria-label"] == phone.attrib["aria-label"]
            assert titles_of(desk) == titles_of(phone)
            width = float(phone.attrib["viewBox"].split()[2])
            styles = " ".join(text.attrib["style"] for text in phone.iter("text"))
            assert min(map(float, re.findall(r"size:([\d.]+)px", styles))) * min(1, 326 / width) >= 8

    def test_it_says_that_the_budget_ended_a_scenario_and_what_was_never_answered(
        self, overloaded: BenchResult
    ) -> None:
        text = " ".join(read(to_html(overloaded)).texts)
        lost = overloaded.scenarios[-1].settings["unanswered"]
        assert "ended by the budget" in text
        assert f"{lost} mentions were not answered before the end" in text

    def test_it_warns_of_a_cache(self) -> None:
        linker = FakeLinker(FakeTime(), lambda mentions: 0.01 * mentions)
        assert "came from a cache" not in to_html(make_result(linker, seconds=0.5))
        linker.cached = True
        result = make_result(linker, seconds=0.5)
        assert "came from a cache" in to_html(result)
        stream = io.StringIO()
        show(result, Console(file=stream, width=200))
        assert "from a cache" in stream.getvalue()

    @pytest.mark.parametrize("name", ["single-stream", "multi-stream", "offline", "server"])
    def test_one_scenario_is_enough(self, name: Any) -> None:
        linker = FakeLinker(FakeTime(), lambda mentions: 0.01 * mentions)
        found = make_result(linker, scenarios=(name,), seconds=1.0)
        assert [entry.scenario for entry in found.scenarios] == [name]
        read(to_html(found))

    @pytest.mark.parametrize(("load", "warned"), [(None, False), (0.9, False), (1.5, True)])
    def test_it_warns_of_a_busy_machine(self, result: BenchResult, load: float | None, warned: bool) -> None:
        found = replace(result, system=replace(result.system, load=load, processors=2))
        assert ("The machine was busy" in to_html(found)) == warned

    def test_a_gpu_is_named_where_it_does_the_work(self, result: BenchResult) -> None:
        found = replace(result, system=replace(result.system, gpus=("NVIDIA Nadie 1",)))
        assert "NVIDIA" not in to_html(found).partition("</header>")[0]
        page = to_html(replace(found, provenance=replace(found.provenance, device="cuda")))
        assert "NVIDIA Nadie 1" in page.partition("</header>")[0]
        assert "memory of the GPU" in page

    def test_a_system_without_memory_figures_is_shown(self, result: BenchResult) -> None:
        bare = replace(result.system, memory=None, load=None, libc=None, processors=None, instruction_sets=(), gpus=())
        found = replace(result, memory=ProcessMemory(None, None, None, None), system=bare)
        assert "<h2>Memory</h2>" not in to_html(found)


class TestFiles:
    def test_only_what_is_named_is_written(self, result: BenchResult, tmp_path: Path) -> None:
        write_reports(result)
        assert list(tmp_path.iterdir()) == []
        write_reports(result, html_path=tmp_path / "a.html")
        assert [file.name for file in tmp_path.iterdir()] == ["a.html"]

    @pytest.mark.parametrize("where", ["missing/a.json", "."])
    def test_a_place_that_cannot_be_written_is_named(self, result: BenchResult, tmp_path: Path, where: str) -> None:
        with pytest.raises(CieloError, match="cannot be written"):
            write_reports(result, tmp_path / where)
        assert list(tmp_path.iterdir()) == []


class TestTable:
    def test_it_has_a_row_for_each_scenario(self, result: BenchResult, overloaded: BenchResult) -> None:
        stream = io.StringIO()
        show(result, Console(file=stream, width=200))
        show(overloaded, Console(file=stream, width=200))
        lines = stream.getvalue().splitlines()
        for name in ("single-stream", "multi-stream", "offline", "server"):
            assert sum(line.startswith(name) for line in lines) == 2
        assert "p99" in lines[1]
        assert "never answered" in lines[-1]
        assert "–" in lines[-1]


class TestFigures:
    @pytest.mark.parametrize(
        ("value", "written"),
        [(0, "0.00"), (1.234, "1.23"), (12.34, "12.3"), (123.4, "123"), (1234.5, "1,234"), (None, "–"), (0.05, "0.05")],
    )
    def test_three_digits_matter(self, value: float | None, written: str) -> None:
        assert figures.significant(value) == written

    @pytest.mark.parametrize(
        ("value", "written"),
        [(2.5, "2.50 s"), (0.0125, "12.5 ms"), (0.000005, "5.00 µs"), (0, "0.00 µs"), (None, "–")],
    )
    def test_a_time_has_the_unit_that_suits_it(self, value: float | None, written: str) -> None:
        assert figures.seconds(value) == written

    def test_memory_and_shares(self) -> None:
        assert (figures.memory(187_400_000), figures.memory(1_310_000_000)) == ("187 MB", "1.31 GB")
        assert (figures.memory(None), figures.share(0.1234)) == ("–", "12.3\u00a0%")

    @pytest.mark.parametrize(
        ("values", "unit", "written"),
        [
            ([0.0021, 4.0, None], "ms", ["2.10", "4,000.00", "–"]),
            ([0.021, 0.5], "ms", ["21.0", "500.0"]),
            ([2.0, 40.0], "s", ["2.00", "40.00"]),
            ([None], "ms", ["–"]),
        ],
    )
    def test_times_in_a_column_have_one_unit(self, values: list[float | None], unit: str, written: list[str]) -> None:
        chosen = figures.Unit(values)
        assert chosen.name == unit
        assert [chosen.write(value) for value in values] == written


def drawn(picture: Any) -> ElementTree.Element:
    """Return a plot as it is seen on a wide screen, after a look at all of its forms."""
    found = picture.__html__()
    read(found)
    return pictures_of(found)[0]


class TestPlots:
    @settings(max_examples=25, deadline=None)
    @given(LATENCIES, st.integers(0, 100))
    def test_a_distribution_stays_within_its_picture(self, values: list[float], unanswered: int) -> None:
        root = drawn(plots.cdf(values, "a <b>", unanswered=unanswered, marks=(50, 90, 95, 99)))
        x, y, width, height = map(float, root.attrib["viewBox"].split())
        across, down = corners(of_kind(root, "curve")[0])
        assert across == sorted(across), "time runs to the right"
        assert down == sorted(down, reverse=True), "the share never falls"
        assert all(x <= value <= x + width for value in across)
        assert all(y <= value <= y + height for value in down)
        assert root.attrib["aria-label"] == "a <b>"

    def test_queries_without_an_answer_keep_a_distribution_below_the_top(self) -> None:
        def height(unanswered: int) -> float:
            return height_of(of_kind(drawn(plots.cdf([0.1] * 10, "t", unanswered=unanswered)), "curve")[0])

        assert height(30) == pytest.approx(height(0) / 4, abs=0.2)

    def test_what_lies_beyond_the_axis_is_said(self) -> None:
        assert "1 slower, up to 10.0 s" in plots.cdf([0.1] * 50 + [10.0], "t").__html__()
        assert "slower" not in plots.cdf([0.1] * 50 + [0.2], "t").__html__()

    def test_a_distribution_marks_its_percentiles(self) -> None:
        picture = plots.cdf([number / 1000 for number in range(1, 101)], "t", marks=(50, 99))
        assert titles_of(drawn(picture)) == ["p50: 50.0 ms", "p99: 99.0 ms"]
        assert "<title>" not in plots.cdf([0.1], "t", unanswered=99, marks=(50,)).__html__()

    def test_a_timeline_shows_each_mention_and_each_arrival(self) -> None:
        root = drawn(plots.timeline([(0.0, 0.5), (1.0, 0.25)], [2.0, 3.0, 4.0], "t"))
        dots = [(float(dot.attrib["cx"]), float(dot.attrib["cy"])) for dot in root.iter("circle")]
        assert len(dots) == 2
        assert dots[0][0] < dots[1][0]
        assert dots[0][1] < dots[1][1], "half a second stands higher than a quarter"
        rugs = {path.attrib["class"]: path.attrib["d"].count("M") for path in of_kind(root, "rug")}
        assert rugs == {"rug": 2, "rug lost": 3}

    @settings(max_examples=25, deadline=None)
    @given(st.lists(st.integers(0, 900), min_size=1, max_size=100))
    def test_a_histogram_has_a_bar_for_each_bin(self, values: list[int]) -> None:
        data = histogram(values)
        root = drawn(plots.histogram(data, "tokens", "t", {"median": 249, "p95": 458, "p99": 480}))
        bars = [(bar.findtext("title") or "").rpartition(": ") for bar in of_kind(root, "bar")]
        assert [int(count) for _, _, count in bars] == list(data.counts)
        assert [text.text for text in of_kind(root, "mark-name")] == ["median", "p95", "p99"]

    def test_repeats_are_bars_with_their_median(self) -> None:
        root = drawn(plots.repeats([10.0, 20.0, 30.0], Spread(3, 20.0, 10.0, 30.0), "t"))
        first, second, third = of_kind(root, "bar")
        assert height_of(third) == pytest.approx(3 * height_of(first), rel=0.01)
        assert width_of(first) == pytest.approx(width_of(third), abs=0.2)
        _, median = corners(of_kind(root, "median")[0])
        assert median[0] == pytest.approx(min(corners(second)[1]), abs=0.2)
