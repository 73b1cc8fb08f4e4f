from __future__ import annotations

import math
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from itertools import pairwise

import pytest
from cielo.workbench.bench.statistics import nice_step
from cielo.workbench.page import axes, plots
from cielo.workbench.page.agreement import Group, agreement
from cielo.workbench.page.canvas import Picture
from cielo.workbench.page.plots import Bar, Estimate, IntervalRow, Series, Stack
from hypothesis import example, given, settings
from hypothesis import strategies as st
from page_reading import HOSTILE, corners, of_kind, pictures_of, read, titles_of, width_of

PERCENT = st.floats(0, 100)
NAMES = st.sampled_from(
    ["a", HOSTILE, "a name that is much longer than any plot has room for at its left", "漢\x1b\ud800"]
)
COLOURS = {"b": "#123456", "c": "#654321"}


def drawn(picture: Picture, where: str = "at-desk") -> ElementTree.Element:
    """Return a plot, after a look at all of its forms."""
    return pictures_of(looked_at(picture), where)[0]


def looked_at(picture: Picture) -> str:
    """Return a plot as it stands in a page, wide and narrow, after a look at these and at its file."""
    content = picture.__html__()
    read(content)
    assert "script" not in read(content).tags
    for root in (*pictures_of(content), *pictures_of(content, "at-phone")):
        assert inside(root)
        assert "id" not in {name for node in root.iter() for name in node.attrib}
    standalone = ElementTree.fromstring(picture.standalone())
    assert "var(" not in picture.standalone() and standalone.attrib["aria-label"]
    return content


@pytest.mark.parametrize(
    "make",
    [
        lambda: plots.intervals([IntervalRow("a", [Estimate("PLI", 50, 40, 70), Estimate("x", 3)], "b")], "%", "t"),
        lambda: plots.bars([Bar("a", 30, 40, "b"), Bar(HOSTILE, 7, faint=True)], "%", "t"),
        lambda: plots.curves([Series("a", [(0, 1), (50, 60)]), Series("b", [(1, 2)])], "%", "%", "t"),
        lambda: plots.stacked([Stack("a", "1", {"b": 0.1, "c": 0.2})], "t", COLOURS),
        lambda: agreement([("c", "circle", [Group(0.2, 0.4, 0.3, 0.3, 7)])], "x", "y", "t"),
    ],
)
def test_the_same_numbers_give_the_same_bytes(make: Callable[[], Picture]) -> None:
    picture = make()
    assert picture.__html__() == picture.__html__() == make().__html__()


def inside(root: ElementTree.Element) -> bool:
    """Tell whether shapes and the beginnings of texts lie within the picture."""
    _, _, width, height = map(float, root.attrib["viewBox"].split())
    points = []
    for node in root.iter():
        if "transform" in node.attrib:
            points.append(tuple(map(float, re.findall(r"-?[\d.]+", node.attrib["transform"]))))
        elif "d" in node.attrib:
            points += zip(*corners(node), strict=True)
        elif "cx" in node.attrib:
            points.append((float(node.attrib["cx"]), float(node.attrib["cy"])))
        elif "x" in node.attrib:
            points.append((float(node.attrib["x"]), float(node.attrib["y"])))
    return all(-7 <= x <= width + 7 and -7 <= y <= height + 7 for x, y in points)


def middle(mark: ElementTree.Element) -> float:
    """Return where a round mark stands across."""
    return float(mark.attrib["cx"])


class TestAxes:
    @settings(deadline=None)
    @given(st.floats(-1e5, 1e5), st.floats(1e-3, 1e5), st.integers(1, 10))
    @example(1.1, 0.001, 1)
    def test_ticks_are_round_few_and_within(self, low: float, span: float, most: int) -> None:
        found = axes.ticks(low, low + span, most)
        assert len(found) <= most + 1
        assert all(low - span * 1e-3 <= tick <= low + span * 1.001 for tick in found)

    @pytest.mark.parametrize("ends", [(0.0, 0.0), (1.0, 0.0), (0.0, math.inf), (math.nan, 1.0)])
    def test_a_range_without_an_axis_is_refused(self, ends: tuple[float, float]) -> None:
        with pytest.raises(ValueError, match="expected a positive, finite range"):
            axes.ticks(*ends)

    @pytest.mark.parametrize(
        ("values", "written"),
        [([0, 20, 40], ["0", "20", "40"]), ([0, 0.25, 0.5], ["0.0", "0.2", "0.5"]), ([0.05, 0.1], ["0.05", "0.10"]),
         ([1000, 2000], ["1,000", "2,000"]), ([3], ["3"]), ([], [])],
    )  # fmt: skip
    def test_numbers_have_the_decimals_that_tell_them_apart(self, values: list[float], written: list[str]) -> None:
        assert list(map(axes.writer(values), values)) == written

    @given(st.lists(st.floats(0, 100), min_size=1, max_size=9), st.floats(0, 10))
    def test_places_are_spread_out_in_their_order(self, places: list[float], gap: float) -> None:
        found = axes.spread_out(places, gap, (0, 100))
        order = sorted(range(len(places)), key=lambda number: (places[number], number))
        assert all(found[above] - found[below] >= gap - 1e-9 for below, above in pairwise(order))


@st.composite
def estimates(draw: st.DrawFn) -> Estimate:
    low, value, high = sorted(draw(st.tuples(PERCENT, PERCENT, PERCENT)))
    ends = (low, high) if draw(st.booleans()) else (None, None)
    return Estimate(draw(NAMES), value, *ends, draw(st.sampled_from(["circle", "square", "diamond"])))


class TestIntervals:
    @settings(max_examples=12, deadline=None)
    @given(st.lists(st.builds(IntervalRow, NAMES, st.lists(estimates(), max_size=3), NAMES), min_size=1, max_size=8))
    def test_every_value_is_marked_within_the_picture(self, rows: list[IntervalRow]) -> None:
        if not any(row.estimates for row in rows):
            return
        root = drawn(plots.intervals(rows, "%", "a <b>"))
        assert root.attrib["aria-label"] == "a <b>"
        marked = [title.rpartition(": ")[2].split(" ")[0] for title in titles_of(root)]
        assert marked == [f"{one.value:.2f}" for row in rows for one in row.estimates]

    def test_a_bar_reaches_from_one_end_of_the_interval_to_the_other(self) -> None:
        root = drawn(plots.intervals([IntervalRow("a", [Estimate("PLI", 50, 40, 70)])], "%", "t"))
        ends, _ = corners(of_kind(root, "whisker")[0])
        left, at, right = min(ends), middle(next(root.iter("circle"))), max(ends)
        assert (at - left) / (right - left) == pytest.approx(1 / 3, abs=0.01)
        assert titles_of(root) == ["PLI: 50.00 (40.00 to 70.00)"]

    @pytest.mark.parametrize("shown", ["at-desk", "at-phone"])
    def test_values_stand_beside_their_marks_where_a_row_has_several(self, shown: str) -> None:
        row = IntervalRow("a", [Estimate("PLI", 50, 40, 70), Estimate("PLII", 99, 98, 100), Estimate("x", 60)])
        root = drawn(plots.intervals([row, IntervalRow("b", [Estimate("PLI", 55)])], "%", "t"), shown)
        values = of_kind(root, "estimate")
        assert [value.text for value in values] == ["50.0", "99.0", "60.0"]
        places = [float(value.attrib["x"]) for value in values]
        whiskers = [corners(whisker)[0] for whisker in of_kind(root, "whisker")]
        assert places[0] > max(whiskers[0]) and places[1] < min(whiskers[1]), "left of the bar where the plot ends"

    def test_shapes_tell_measures_apart_without_colour(self) -> None:
        shown = [Estimate("a", 1, shape=shape) for shape in ("circle", "square", "diamond")]
        root = drawn(plots.intervals([IntervalRow("a", shown)], "%", "t"))
        marks = [of_kind(root, f"mark-{shape}") for shape in ("circle", "square", "diamond")]
        assert list(map(len, marks)) == [1, 1, 1]
        assert marks[0][0].tag == "circle" and marks[1][0].attrib["d"] != marks[2][0].attrib["d"]

    @pytest.mark.parametrize("value", [5.0, -5.0])
    def test_the_line_to_compare_with_is_always_seen(self, value: float) -> None:
        root = drawn(
            plots.intervals([IntervalRow("a", [Estimate("d", value)])], "x", "t", bounds=(-100, 100), line_at=0)
        )
        across, _ = corners(of_kind(root, "median")[0])
        assert (middle(next(root.iter("circle"))) > across[0]) == (value > 0)

    def test_names_stand_above_their_marks_on_a_phone(self) -> None:
        picture = plots.intervals([IntervalRow("a name", [Estimate("d", 5)])], "x", "t")
        name, mark = (of_kind(drawn(picture, "at-phone"), kind)[0] for kind in ("name", "mark-circle"))
        assert float(name.attrib["y"]) < float(mark.attrib["cy"])
        name, mark = (of_kind(drawn(picture), kind)[0] for kind in ("name", "mark-circle"))
        assert float(name.attrib["x"]) < float(mark.attrib["cx"])


class TestBars:
    @settings(max_examples=12, deadline=None)
    @given(st.lists(st.builds(Bar, NAMES, PERCENT, st.none() | PERCENT, NAMES, st.booleans()), min_size=1, max_size=30))
    def test_bars_are_as_long_as_their_values(self, rows: list[Bar]) -> None:
        root = drawn(plots.bars(rows, "%", "t"))
        lengths = [width_of(bar) for bar in of_kind(root, "bar")]
        with_a_whole_one = plots.bars([*rows, Bar("a", 100)], "%", "t").__html__()
        whole = width_of(of_kind(pictures_of(with_a_whole_one)[0], "bar")[-1])
        assert lengths == pytest.approx([whole * row.value / 100 for row in rows], abs=0.2)
        assert len(of_kind(root, "faint")) == sum(row.faint for row in rows)
        assert len(of_kind(root, "stroke")) == sum(row.stroke is not None for row in rows)


class TestCurves:
    @settings(max_examples=12, deadline=None)
    @given(
        st.lists(
            st.builds(Series, NAMES, st.lists(st.tuples(PERCENT, PERCENT), min_size=1, max_size=20)),
            min_size=1,
            max_size=20,
        )
    )
    def test_each_curve_is_drawn_and_named(self, series: list[Series]) -> None:
        content = looked_at(plots.curves(series, "%", "%", "t"))
        for where in ("at-desk", "at-phone"):
            root = pictures_of(content, where)[0]
            paths = [path.attrib["d"] for path in of_kind(root, "series")]
            assert [path.count("L") + 1 for path in paths] == [len(one.points) for one in series]
            names = of_kind(root, "name")
            assert len(names) == len(series)
            places = sorted(float(text.attrib["y"]) for text in names)
            assert all(below - above >= 16.8 for above, below in pairwise(places)), "no name covers another"

    def test_neighbours_differ_in_colour_and_in_dash(self) -> None:
        styles = [plots.series_style(number) for number in range(12)]
        assert len(set(styles)) == 12
        assert all(one[0] != other[0] and one[1] != other[1] for one, other in pairwise(styles))


class TestStacked:
    def test_parts_are_as_long_as_their_shares_of_the_longest(self) -> None:
        rows = [Stack("a", "1", {"b": 0.1, "c": 0.1}), Stack("d", "2", {"b": 0.1, "c": 0.0})]
        root = drawn(plots.stacked(rows, "t", COLOURS, full=0.2, axis="%"))
        bars = [node for node in root.iter() if node.attrib.get("class", "").startswith("part-")]
        lengths = list(map(width_of, bars))
        assert lengths[0] == pytest.approx(lengths[1], abs=0.2) and lengths[1] == pytest.approx(lengths[2], abs=0.2)
        assert lengths[0] > 300
        assert lengths[3] == 0
        assert [bar.attrib["class"] for bar in bars] == ["part-b", "part-c"] * 2
        assert titles_of(root)[0] == "b: 10.0%"
        assert all(COLOURS[bar.attrib["class"][-1]] in bar.attrib["style"] for bar in bars)

    def test_parts_are_named_where_there_is_room(self) -> None:
        root = drawn(plots.stacked([Stack("a", "1 s", {"b": 0.9, "c": 0.1})], "t", COLOURS), "at-phone")
        assert [text.text for text in of_kind(root, "inside")] == ["b 90%"]

    def test_long_names_are_cut(self) -> None:
        name = "a very long name of a run, so long that there is no room for it"
        picture = plots.stacked([Stack(name, "", {"b": 1.0})], "t", COLOURS).__html__()
        assert name not in picture
        assert "a very long name of a run…" not in picture and "a very long name" in picture and "…" in picture


class TestAgreement:
    @settings(max_examples=12, deadline=None)
    @given(st.lists(st.builds(Group, *[st.floats(0, 1)] * 4, st.integers(1, 9999)), min_size=1, max_size=20))
    def test_every_bin_is_marked_with_its_count(self, groups: list[Group]) -> None:
        root = drawn(agreement([("confidence", "circle", groups)], "x", "y", "t"))
        assert len(of_kind(root, "mark-circle")) == len(groups)
        assert [title.rpartition("n ")[2] for title in titles_of(root)] == [f"{one.count:,}" for one in groups]

    def test_what_is_as_sure_as_it_is_right_lies_on_the_line(self) -> None:
        root = drawn(agreement([("c", "circle", [Group(0.2, 0.4, 0.3, 0.3, 7)])], "x", "y", "t"))
        (x1, x2), (y1, y2) = corners(of_kind(root, "median")[0])
        dot = of_kind(root, "mark-circle")[0]
        assert middle(dot) == pytest.approx(x1 + 0.3 * (x2 - x1), abs=0.2)
        assert float(dot.attrib["cy"]) == pytest.approx(y1 + 0.3 * (y2 - y1), abs=0.2)
        assert "7" in [text.text for text in root.iter("text")]


@given(st.floats(1e-9, 1e9), st.integers(1, 50))
@example(1000.0, 1)
@example(0.3, 3)
def test_a_nice_step_is_round_covers_the_span_and_is_not_too_large(span: float, most: int) -> None:
    step = nice_step(span, most)
    assert float(f"{step:e}".partition("e")[0]) in (1.0, 2.0, 5.0)
    assert step * most >= span * (1 - 1e-9)
    assert step / 2.5 * most < span * (1 + 1e-9)


@pytest.mark.parametrize(("span", "most"), [(0.0, 5), (-1.0, 5), (math.inf, 5), (math.nan, 5), (1.0, 0)])
def test_a_span_without_a_step_is_refused(span: float, most: int) -> None:
    with pytest.raises(ValueError, match="expected a positive span"):
        nice_step(span, most)
