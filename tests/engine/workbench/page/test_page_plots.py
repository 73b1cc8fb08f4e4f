from __future__ import annotations

import math
import xml.etree.ElementTree as ElementTree
from itertools import pairwise

import pytest
from cielo.workbench.page import drawing, plots
from cielo.workbench.page.plots import Bar, Estimate, Group, Row, Series, Stack
from hypothesis import example, given
from hypothesis import strategies as st

PERCENT = st.floats(0, 100)
NAMES = st.sampled_from(["a", 'a <b> & "c"', "a name that is much longer than any plot has room for at its left"])


def draw(picture: str) -> ElementTree.Element:
    assert "nan" not in picture
    assert "inf" not in picture.replace("infinite", "")
    return ElementTree.fromstring(picture)


def titles(root: ElementTree.Element) -> list[str]:
    return [title.text or "" for title in root.iter("title")]


def inside(root: ElementTree.Element) -> bool:
    """Tell whether marks and bars lie within the picture."""
    _, _, width, height = map(float, root.attrib["viewBox"].split())
    across = [
        float(node.attrib[name]) for node in root.iter() for name in ("x", "cx", "x1", "x2") if name in node.attrib
    ]
    down = [float(node.attrib[name]) for node in root.iter() for name in ("y", "cy", "y1", "y2") if name in node.attrib]
    return all(-1 <= value <= width + 1 for value in across) and all(-1 <= value <= height + 1 for value in down)


class TestDrawing:
    @given(st.floats(-1e5, 1e5), st.floats(1e-3, 1e5), st.integers(1, 10))
    def test_ticks_are_round_few_and_within(self, low: float, span: float, most: int) -> None:
        found = drawing.ticks(low, low + span, most)
        assert len(found) <= most + 1
        assert all(low - span * 1e-3 <= tick <= low + span * 1.001 for tick in found)

    def test_a_frame_may_begin_above_nought(self) -> None:
        frame = drawing.Frame(0, 1, 100, y_low=50)
        assert frame.y(50) == frame.floor
        assert frame.y(100) == frame.top
        assert frame.y(75) == pytest.approx((frame.floor + frame.top) / 2)


@st.composite
def estimates(draw_: st.DrawFn) -> Estimate:
    low, value, high = sorted(draw_(st.tuples(PERCENT, PERCENT, PERCENT)))
    ends = (low, high) if draw_(st.booleans()) else (None, None)
    return Estimate(draw_(NAMES), value, *ends, draw_(st.sampled_from(["circle", "square", "diamond"])))


class TestIntervals:
    @given(st.lists(st.builds(Row, NAMES, st.lists(estimates(), max_size=3), NAMES), min_size=1, max_size=8))
    def test_every_value_is_marked_within_the_picture(self, rows: list[Row]) -> None:
        if not any(row.estimates for row in rows):
            return
        root = draw(plots.intervals(rows, "%", "a <b>"))
        assert inside(root)
        assert root.attrib["aria-label"] == "a <b>"
        marked = [title.partition(": ")[2].split(" ")[0] for title in titles(root)]
        assert marked == [f"{one.value:.2f}" for row in rows for one in row.estimates]

    def test_a_bar_reaches_from_one_end_of_the_interval_to_the_other(self) -> None:
        root = draw(plots.intervals([Row("a", [Estimate("PLI", 50, 40, 70)])], "%", "t"))
        bar = max(
            (line for line in root.iter("line") if line.attrib["class"] == "whisker"),
            key=lambda line: float(line.attrib["x2"]) - float(line.attrib["x1"]),
        )
        dot = next(root.iter("circle"))
        left, at, right = (float(value) for value in (bar.attrib["x1"], dot.attrib["cx"], bar.attrib["x2"]))
        assert (at - left) / (right - left) == pytest.approx(1 / 3, abs=0.01)
        assert titles(root) == ["PLI: 50.00 (40.00 to 70.00)"]

    def test_shapes_tell_measures_apart_without_colour(self) -> None:
        shown = [Estimate("a", 1, shape=shape) for shape in ("circle", "square", "diamond")]
        root = draw(plots.intervals([Row("a", shown)], "%", "t"))
        assert {"circle", "rect", "polygon"} <= {node.tag for node in root}

    @pytest.mark.parametrize(("value", "seen"), [(5.0, True), (-5.0, True)])
    def test_the_reference_is_always_seen(self, value: float, seen: bool) -> None:
        picture = plots.intervals([Row("a", [Estimate("d", value)])], "x", "t", bounds=(-100, 100), reference=0)
        root = draw(picture)
        line = next(line for line in root.iter("line") if line.attrib["class"] == "median")
        dot = next(root.iter("circle"))
        assert inside(root) == seen
        assert (float(dot.attrib["cx"]) > float(line.attrib["x1"])) == (value > 0)


class TestBars:
    @given(st.lists(st.builds(Bar, NAMES, PERCENT, st.none() | PERCENT, NAMES, st.booleans()), min_size=1, max_size=30))
    def test_bars_are_as_long_as_their_values(self, rows: list[Bar]) -> None:
        root = draw(plots.bars(rows, "%", "t"))
        assert inside(root)
        lengths = [float(rect.attrib["width"]) for rect in root.iter("rect")]
        whole = float(draw(plots.bars([*rows, Bar("a", 100)], "%", "t")).findall("rect")[-1].attrib["width"])
        assert lengths == pytest.approx([whole * row.value / 100 for row in rows], abs=0.2)
        assert sum("faint" in rect.attrib["class"] for rect in root.iter("rect")) == sum(row.faint for row in rows)
        strokes = [line for line in root.iter("line") if line.attrib["class"] == "stroke"]
        assert len(strokes) == sum(row.stroke is not None for row in rows)


class TestCurves:
    @given(
        st.lists(
            st.builds(Series, NAMES, st.lists(st.tuples(PERCENT, PERCENT), min_size=1, max_size=20)),
            min_size=1,
            max_size=20,
        )
    )
    def test_each_curve_is_drawn_and_named(self, series: list[Series]) -> None:
        root = draw(plots.curves(series, "%", "%", "t"))
        assert inside(root)
        paths = [path.attrib["d"] for path in root.iter("path")]
        assert [path.count("L") + 1 for path in paths] == [len(one.points) for one in series]
        names = [text for text in root.iter("text") if text.attrib["class"] == "name"]
        assert len(names) == len(series)
        places = sorted(float(text.attrib["y"]) for text in names)
        assert all(below - above >= 16.8 for above, below in pairwise(places)), "no name covers another"

    def test_neighbours_differ_in_colour_and_in_dash(self) -> None:
        kinds = [set(plots.series_kind(number).split()) for number in range(12)]
        assert len({frozenset(kind) for kind in kinds}) == 12
        assert all(one & other == {"series"} for one, other in pairwise(kinds))


class TestStacked:
    def test_parts_are_as_long_as_their_shares_of_the_longest(self) -> None:
        rows = [Stack("a", "1", {"b": 0.1, "c": 0.1}), Stack("d", "2", {"b": 0.1, "c": 0.0})]
        root = draw(plots.stacked(rows, "t", lambda name: f"kind-{name}", full=0.2, axis="%"))
        lengths = [float(rect.attrib["width"]) for rect in root.iter("rect")]
        assert lengths[0] == lengths[1] == lengths[2] > 300
        assert lengths[3] == 0
        assert [rect.attrib["class"] for rect in root.iter("rect")] == ["kind-b", "kind-c"] * 2
        assert titles(root)[0] == "b: 10.0%"

    def test_long_names_are_cut(self) -> None:
        name = "a very long name of a run"
        picture = plots.stacked([Stack(name, "", {"b": 1.0})], "t", str)
        assert name not in picture
        assert "a very long n…" in picture


class TestAgreement:
    @given(st.lists(st.builds(Group, *[st.floats(0, 1)] * 4, st.integers(1, 9999)), min_size=1, max_size=20))
    def test_every_bin_is_marked_with_its_count(self, groups: list[Group]) -> None:
        root = draw(plots.agreement([("confidence", "circle", groups)], "x", "y", "t"))
        assert inside(root)
        assert len(list(root.iter("circle"))) == len(groups)
        assert [title.rpartition("n ")[2] for title in titles(root)] == [f"{one.count:,}" for one in groups]

    def test_what_is_as_sure_as_it_is_right_lies_on_the_line(self) -> None:
        root = draw(plots.agreement([("c", "circle", [Group(0.2, 0.4, 0.3, 0.3, 7)])], "x", "y", "t"))
        line = next(line for line in root.iter("line") if line.attrib["class"] == "median")
        dot = next(root.iter("circle"))
        x1, x2, y1, y2 = (float(line.attrib[name]) for name in ("x1", "x2", "y1", "y2"))
        assert float(dot.attrib["cx"]) == pytest.approx(x1 + 0.3 * (x2 - x1), abs=0.2)
        assert float(dot.attrib["cy"]) == pytest.approx(y1 + 0.3 * (y2 - y1), abs=0.2)
        assert "7" in [text.text for text in root.iter("text")]


@given(st.floats(1e-9, 1e9), st.integers(1, 50))
@example(1000.0, 1)
@example(0.3, 3)
def test_a_nice_step_is_round_covers_the_span_and_is_not_too_large(span: float, most: int) -> None:
    step = drawing.nice_step(span, most)
    assert float(f"{step:e}".partition("e")[0]) in (1.0, 2.0, 5.0)
    assert step * most >= span * (1 - 1e-9)
    assert step / 2.5 * most < span * (1 + 1e-9)


@pytest.mark.parametrize(("span", "most"), [(0.0, 5), (-1.0, 5), (math.inf, 5), (math.nan, 5), (1.0, 0)])
def test_a_span_without_a_step_is_refused(span: float, most: int) -> None:
    with pytest.raises(ValueError, match="expected a positive span"):
        drawing.nice_step(span, most)
