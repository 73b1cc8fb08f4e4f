from __future__ import annotations

import io
import json
import math
import re
import xml.etree.ElementTree as ElementTree
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from bench_fakes import MARKER, PROVENANCE, FakeLinker, FakeTime, make_mentions
from cielo.errors import CieloError
from cielo.workbench.bench import figures, plots
from cielo.workbench.bench.page import to_html
from cielo.workbench.bench.report import show, write_reports
from cielo.workbench.bench.run import BenchResult, BenchSettings, run_bench
from cielo.workbench.bench.statistics import histogram
from cielo.workbench.bench.workload import Workload
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

VOID = {"meta", "br", "hr", "link", "img", "input"}
WORKLOAD = Workload(tuple(make_mentions(40)), "own", "cd" * 32, 2)
LATENCIES = st.lists(st.floats(0, 1e4), min_size=1, max_size=60)


def make_result(linker: FakeLinker | None = None, **settings: Any) -> BenchResult:
    linker = linker or FakeLinker(FakeTime(), lambda mentions: 0.01 + 0.01 * mentions)
    return run_bench(linker, WORKLOAD, BenchSettings(**settings), clock=linker.time.clock())


@pytest.fixture(scope="module")
def result() -> BenchResult:
    return make_result()


@pytest.fixture(scope="module")
def overloaded() -> BenchResult:
    return make_result(FakeLinker(FakeTime()), rate=50.0, seconds=2.0)


class Reader(HTMLParser):
    """Checks that every tag is closed in its place, and collects the attributes and the texts."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.texts: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def read(page: str) -> Reader:
    reader = Reader()
    reader.feed(page)
    reader.close()
    assert reader.open == []
    return reader


class TestJson:
    def test_it_comes_back_as_it_was(self, result: BenchResult, tmp_path: Path) -> None:
        write_reports(result, tmp_path / "bench.json")
        assert json.loads((tmp_path / "bench.json").read_text(encoding="utf-8")) == result.to_dict()

    def test_it_names_what_was_measured_and_where(self, result: BenchResult) -> None:
        report = result.to_dict()
        assert report["provenance"] == PROVENANCE.to_dict()
        assert report["plan"]["replicas"] == 2
        assert report["system"]["libraries"]["numpy"]
        assert report["workload"] == {
            "name": "own", "sha256": "cd" * 32, "mentions": 40, "distinct": 40, "left_out": 2,
        }  # fmt: skip
        assert [entry["scenario"] for entry in report["scenarios"]] == [
            "single-stream", "multi-stream", "offline", "server",
        ]  # fmt: skip
        assert set(report["lengths"]) == {"prompt_characters", "input_tokens", "output_tokens"}
        assert report["lengths"]["input_tokens"]["values"] == sorted(len(m.text) for m in WORKLOAD.mentions)

    def test_raw_samples_give_the_figures(self, overloaded: BenchResult) -> None:
        for entry in overloaded.to_dict()["scenarios"]:
            calls, queries = entry["samples"]["calls"], entry["samples"]["queries"]
            assert len(queries) == entry["queries"]
            assert sum(call[2] for call in calls) == entry["mentions"]
            assert all(len(call) == len(entry["samples"]["call_columns"]) for call in calls)
            waits = sorted(math.inf if call is None else calls[call][1] - intended for intended, call in queries)
            if entry["latency"] and len(waits) >= 10:
                p90 = waits[math.ceil(len(waits) * 0.9) - 1]
                told = entry["latency"]["p90"]
                assert told is None if math.isinf(p90) else told == pytest.approx(p90, abs=1e-5)
        assert entry["settings"]["unanswered"] > 0

    def test_a_slower_linker_shows(self) -> None:
        fast, slow = (make_result(FakeLinker(FakeTime(), lambda m, c=cost: c * m)).to_dict() for cost in (0.01, 0.02))
        for one, other in zip(fast["scenarios"], slow["scenarios"], strict=True):
            generate = [entry["stages"]["generate"] / entry["mentions"] for entry in (one, other)]
            assert generate[1] == pytest.approx(2 * generate[0], rel=0.01)
        rates = [report["scenarios"][2]["throughput_of_repeats"]["median"] for report in (fast, slow)]
        assert rates == [pytest.approx(100), pytest.approx(50)]

    def test_too_few_samples_have_no_p99(self) -> None:
        single, *_ = make_result(queries=99).to_dict()["scenarios"]
        assert single["latency"]["p95"] is not None
        assert single["latency"]["p99"] is None
        single, *_ = make_result(queries=100).to_dict()["scenarios"]
        assert single["latency"]["p99"] is not None


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
        page = to_html(request.getfixturevalue(name).to_dict())
        reader = read(page)
        assert page.startswith("<!doctype html>")
        for tag in ("title", "h1", "table", "svg", "dl"):
            assert tag in reader.tags
        pictures = re.findall(r"<svg.*?</svg>", page, re.DOTALL)
        assert len(pictures) == 9
        for picture in pictures:
            ElementTree.fromstring(picture)
            assert "nan" not in picture.lower().replace("answered", "")
            assert "inf" not in picture

    def test_it_refers_to_nothing_outside_and_runs_nothing(self, result: BenchResult) -> None:
        page = to_html(result.to_dict())
        reader = read(page)
        for reference in ("http://", "https://", "src=", "url(", "@import", "//", "<script", "<iframe", "<link"):
            assert reference not in page, reference
        assert not {"script", "link", "img", "iframe", "object", "a"} & set(reader.tags)
        assert not [name for name, _ in reader.attributes if name.startswith("on") or "href" in name]
        assert "default-src 'none'" in page

    def test_it_is_dark_where_that_is_preferred(self, result: BenchResult) -> None:
        page = to_html(result.to_dict())
        assert "prefers-color-scheme: dark" in page
        assert "tabular-nums" in page
        light, dark = (set(re.findall(r"--(\w+):", block)) for block in re.findall(r":root {(.*?)}", page, re.DOTALL))
        assert light - dark == {"inside"}, "white on every stage's colour in both"
        assert dark < light

    def test_its_title_is_the_bundle_and_what_it_shows_is_escaped(self, result: BenchResult) -> None:
        page = to_html(result.to_dict())
        assert "de prueba <1>" not in page
        assert "de prueba &lt;1&gt;" in page
        assert "abababababab" in page

    def test_each_plot_says_how_to_read_it(self, result: BenchResult) -> None:
        page = to_html(result.to_dict())
        assert page.count("How to read it") == page.count("<svg") == 9

    def test_it_can_be_made_of_a_kept_json(self, result: BenchResult) -> None:
        report = result.to_dict()
        assert to_html(json.loads(json.dumps(report))) == to_html(report)

    def test_it_says_that_the_budget_ended_a_scenario_and_what_was_never_answered(
        self, overloaded: BenchResult
    ) -> None:
        text = " ".join(read(to_html(overloaded.to_dict())).texts)
        lost = overloaded.to_dict()["scenarios"][-1]["settings"]["unanswered"]
        assert "ended by the budget" in text
        assert f"{lost} mentions were not answered before the end" in text

    def test_it_warns_of_a_cache(self) -> None:
        linker = FakeLinker(FakeTime(), lambda mentions: 0.01 * mentions)
        assert "came from a cache" not in to_html(make_result(linker, seconds=0.5).to_dict())
        linker.cached = True
        result = make_result(linker, seconds=0.5)
        assert "came from a cache" in to_html(result.to_dict())
        stream = io.StringIO()
        show(result, Console(file=stream, width=200))
        assert "from a cache" in stream.getvalue()

    @pytest.mark.parametrize("name", ["single-stream", "multi-stream", "offline", "server"])
    def test_one_scenario_is_enough(self, name: Any) -> None:
        linker = FakeLinker(FakeTime(), lambda mentions: 0.01 * mentions)
        report = make_result(linker, scenarios=(name,), seconds=1.0).to_dict()
        assert [entry["scenario"] for entry in report["scenarios"]] == [name]
        read(to_html(report))

    @pytest.mark.parametrize(("load", "warned"), [(None, False), (0.9, False), (1.5, True)])
    def test_it_warns_of_a_busy_machine(self, result: BenchResult, load: float | None, warned: bool) -> None:
        report = result.to_dict()
        report["system"].update(load=load, processors=2)
        assert ("The machine was busy" in to_html(report)) == warned

    def test_a_gpu_is_named_where_it_does_the_work(self, result: BenchResult) -> None:
        report = result.to_dict()
        report["system"]["gpus"] = ["NVIDIA Nadie 1"]
        head = to_html(report).partition("</header>")[0]
        assert "NVIDIA" not in head
        report["provenance"]["device"] = "cuda"
        page = to_html(report)
        assert "NVIDIA Nadie 1" in page.partition("</header>")[0]
        assert "memory of the GPU" in page

    def test_a_system_without_memory_figures_is_shown(self, result: BenchResult) -> None:
        report = result.to_dict()
        report["memory"] = {"opened": None, "steady": None, "peak": None, "peak_by": None}
        report["system"].update(memory=None, load=None, libc=None, processors=None, instruction_sets=[], gpus=[])
        assert "<h2>Memory</h2>" not in to_html(report)


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


class TestPlots:
    @given(LATENCIES, st.integers(0, 100))
    def test_a_distribution_stays_within_its_picture(self, values: list[float], unanswered: int) -> None:
        picture = plots.cdf(values, "a <b>", unanswered=unanswered, marks=(50, 90, 95, 99))
        root = ElementTree.fromstring(picture)
        x, y, width, height = map(float, root.attrib["viewBox"].split())
        curve = next(path for path in root.iter("path") if path.attrib["class"] == "curve").attrib["d"]
        across = [float(number) for number in re.findall(r"[MH](-?[\d.]+)", curve)]
        down = [float(number) for number in re.findall(r"V(-?[\d.]+)", curve)]
        assert across == sorted(across), "time runs to the right"
        assert down == sorted(down, reverse=True), "the share never falls"
        assert all(x <= value <= x + width for value in across)
        assert all(y <= value <= y + height for value in down)
        assert root.attrib["aria-label"] == "a <b>"

    def test_queries_without_an_answer_keep_a_distribution_below_the_top(self) -> None:
        def top(unanswered: int) -> float:
            root = ElementTree.fromstring(plots.cdf([0.1] * 10, "t", unanswered=unanswered))
            curve = next(path for path in root.iter("path") if path.attrib["class"] == "curve").attrib["d"]
            return float(re.findall(r"V([\d.]+)", curve)[-1])

        floor = plots.Frame(0, 1, 1).floor
        assert floor - top(30) == pytest.approx((floor - top(0)) / 4, abs=0.2)

    def test_what_lies_beyond_the_axis_is_said(self) -> None:
        assert "1 slower, up to 10.0 s" in plots.cdf([0.1] * 50 + [10.0], "t")
        assert "slower" not in plots.cdf([0.1] * 50 + [0.2], "t")

    def test_a_distribution_marks_its_percentiles(self) -> None:
        picture = plots.cdf([number / 1000 for number in range(1, 101)], "t", marks=(50, 99))
        titles = [title.text for title in ElementTree.fromstring(picture).iter("title")]
        assert titles == ["p50: 50.0 ms", "p99: 99.0 ms"]
        assert "<title>" not in plots.cdf([0.1], "t", unanswered=99, marks=(50,))

    def test_a_timeline_shows_each_mention_and_each_arrival(self) -> None:
        root = ElementTree.fromstring(plots.timeline([(0.0, 0.5), (1.0, 0.25)], [2.0, 3.0, 4.0], "t"))
        dots = [(float(dot.attrib["cx"]), float(dot.attrib["cy"])) for dot in root.iter("circle")]
        assert len(dots) == 2
        assert dots[0][0] < dots[1][0]
        assert dots[0][1] < dots[1][1], "half a second stands higher than a quarter"
        rugs = {path.attrib["class"]: path.attrib["d"].count("M") for path in root.iter("path")}
        assert rugs == {"rug": 2, "rug lost": 3}

    @given(st.lists(st.integers(0, 900), min_size=1, max_size=100))
    def test_a_histogram_has_a_bar_for_each_bin(self, values: list[int]) -> None:
        data = histogram(values)
        root = ElementTree.fromstring(plots.histogram(data, "tokens", "t", {"median": 249, "p95": 458, "p99": 480}))
        bars = [(rect.findtext("title") or "").rpartition(": ") for rect in root.iter("rect")]
        assert [int(count) for _, _, count in bars] == list(data.counts)
        assert [text.text for text in root.iter("text") if text.text in ("median", "p95", "p99")] == [
            "median", "p95", "p99",
        ]  # fmt: skip

    def test_bars_of_parts_are_as_long_as_their_shares(self) -> None:
        rows = [plots.Stack("a", "1 s", {"generate": 0.75, "match": 0.25, "embed": 0.0})]
        root = ElementTree.fromstring(plots.stacked(rows, "t"))
        lengths = {rect.attrib["class"]: float(rect.attrib["width"]) for rect in root.iter("rect")}
        assert lengths["stage-generate"] / lengths["stage-match"] == pytest.approx(3, rel=0.02)
        assert lengths["stage-embed"] == 0

    def test_repeats_are_bars_with_their_median(self) -> None:
        root = ElementTree.fromstring(plots.repeats([10.0, 20.0, 30.0], 10.0, 20.0, 30.0, "t"))
        heights = [float(rect.attrib["height"]) for rect in root.iter("rect") if rect.attrib["class"] == "bar"]
        assert heights[2] == pytest.approx(3 * heights[0], rel=0.01)
        median = next(line for line in root.iter("line") if line.attrib["class"] == "median")
        bars = [rect for rect in root.iter("rect") if rect.attrib["class"] == "bar"]
        assert float(median.attrib["y1"]) == pytest.approx(float(bars[1].attrib["y"]), abs=0.2)

    @given(st.floats(0, 1e5), st.floats(1e-6, 1e5), st.integers(1, 10))
    def test_ticks_are_round_and_few(self, low: float, span: float, most: int) -> None:
        found = plots.ticks(low, low + span, most)
        assert len(found) <= most + 1
        assert all(low - span * 1e-3 <= tick <= low + span * 1.001 for tick in found)
