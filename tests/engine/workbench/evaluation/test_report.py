from __future__ import annotations

import copy
import json
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from cielo.bundle.calibration import Reliability
from cielo.errors import TableError
from cielo.schema import to_builtins
from cielo.workbench.calibration.quality import quality
from cielo.workbench.evaluation.records import Corpus, Outcome, Skipped
from cielo.workbench.evaluation.report import to_html, write_page
from cielo.workbench.evaluation.run import Run
from cielo.workbench.evaluation.summary import summarize
from hypothesis import given, settings
from hypothesis import strategies as st
from outcome_fakes import SYSTEMS, outcome

VOID = {"meta", "br", "hr", "link", "img", "input"}
HOSTILE = "<script>alert('1')</script>\"&amp;<b onclick=x>"
SETTINGS = {
    "name": "mini", "sha256": "ab" * 32, "decoding": "probable", "pipeline": "II", "reference": False, "lexicon": None,
}  # fmt: skip


def make_outcomes(sure: bool = True, worse: int = 0) -> tuple[Outcome, ...]:
    """Return 30 answers in three documents: right ones, wrong ones of several classes, and missing ones."""
    codes = ["T68.XXXA", "T69.0", "I10", None, "E11.9", "T68"] * 5
    return tuple(
        outcome(
            None if number < worse else code,
            ["T68.XXXA", "I15.0"][number % 2] if number % 6 else "T68.XXXA",
            kind="diagnosis" if number % 3 else "procedure",
            method="none" if code is None or number < worse else "semantic" if number % 4 == 1 else "exact",
            probability=0.03 * number + 0.01 if sure else None,
            distance=0.25 if number % 4 == 1 else None,
            seen=number % 5 == 0,
            generated="Hipotermia",
            annotated={"document": f"d{number % 3}", "spans": ((number, number + 5),), "description": "Hipotermia"},
        )
        for number, code in enumerate(codes)
    )


def make_told(**about: Any) -> dict[str, Any]:
    """Return an evaluation of three runs on CodiEsp's layout, as JSON gives it back."""
    runs = [
        Run("probable", SETTINGS, make_outcomes(), seconds=1.25),
        Run("stored <outputs>", {**SETTINGS, "decoding": "stored"}, make_outcomes(sure=False, worse=9)),
        Run("probable, pipeline I", {**SETTINGS, "pipeline": "I"}, make_outcomes(worse=3), seconds=12.5),
    ]
    corpus = Corpus(
        tuple(entry.annotated for entry in runs[0].outcomes), (Skipped("a.ann, line 3", "no code <there>"),), uncoded=2
    )
    named = {"corpus": "dev <set>", "corpus_sha256": "cd" * 32, "bundle": "mini@abababababab", **about}
    told = summarize(runs, corpus, SYSTEMS, resamples=50, about=named)
    told["published_missed"] = {"prompts": 1286, "missed": 198, "share": 15.396578538102643}
    chances, right = [number / 40 for number in range(40)], [number % 3 > 0 for number in range(40)]
    table = quality(chances, right, bins=4)
    told["calibration"] = {"probable": to_builtins(Reliability(table, table, 40, sum(right), 5, "ef" * 32))}
    found: dict[str, Any] = json.loads(json.dumps(told))
    return found


KEPT = make_told()


@pytest.fixture
def told() -> dict[str, Any]:
    return copy.deepcopy(KEPT)


class Reader(HTMLParser):
    """Checks that every tag is closed in its place, and collects tags, attributes, texts and the rows of tables."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.texts: list[str] = []
        self.rows: list[list[str]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)
        if {"td", "th"} & set(self.open):
            self.rows[-1][-1] += ("|" if "small" in self.open else "") + data


def read(page: str) -> Reader:
    reader = Reader()
    reader.feed(page)
    reader.close()
    assert reader.open == []
    for picture in re.findall(r"<svg.*?</svg>", page, re.DOTALL):
        root = ElementTree.fromstring(picture)
        assert root.attrib.get("aria-label") or root.attrib.get("aria-hidden") == "true"
        assert not re.search(r"\bnan\b|\binf\b", picture)
    return reader


def tables_of(page: str) -> list[list[list[str]]]:
    """Return the rows of each table, the head first."""
    return [read(table).rows for table in re.findall(r"<table>.*?</table>", page, re.DOTALL)]


def pictures_of(page: str) -> list[ElementTree.Element]:
    return [ElementTree.fromstring(found) for found in re.findall(r"<svg[^>]*aria-label.*?</svg>", page, re.DOTALL)]


class TestPage:
    def test_it_is_well_formed_and_has_every_section(self, told: dict[str, Any]) -> None:
        page = to_html(told)
        reader = read(page)
        assert page.startswith("<!doctype html>")
        heads = re.findall(r"<h2>(.*?)</h2>", page)
        assert heads == [
            "Runs", "Comparisons", "Withholding answers", "Confidence", "Where it is right", "Mistakes",
            "CodiEsp’s measures", "Skipped", "What the words mean", "Settings",
        ]  # fmt: skip
        assert {"title", "h1", "table", "svg", "dl", "details"} <= set(reader.tags)

    def test_it_refers_to_nothing_outside_and_runs_nothing(self, told: dict[str, Any]) -> None:
        page = to_html(told)
        reader = read(page)
        for reference in ("http://", "https://", "src=", "href", "url(", "@import", "<script", "<iframe", "<link"):
            assert reference not in page, reference
        assert not {"script", "link", "img", "iframe", "object", "a"} & set(reader.tags)
        assert not [name for name, _ in reader.attributes if name.startswith("on")]
        assert "default-src 'none'" in page

    def test_the_same_dictionary_gives_the_same_page(self, told: dict[str, Any]) -> None:
        page = to_html(told)
        assert to_html(json.loads(json.dumps(told))) == page
        assert told == make_told(), "the dictionary is left as it was"

    def test_each_plot_has_an_alternative_axes_and_a_word_on_reading_it(self, told: dict[str, Any]) -> None:
        page = to_html(told)
        pictures = pictures_of(page)
        assert len(pictures) == 3 + 1 + 1 + 1 + 4 + 1
        for picture in pictures:
            labels = [text.text or "" for text in picture.iter("text") if text.attrib["class"] == "label"]
            assert labels, picture.attrib["aria-label"]
            assert [text for text in picture.iter("text") if text.attrib["class"] == "tick"]
        assert page.count("How to read it") >= len(pictures)

    def test_its_head_names_what_was_evaluated(self, told: dict[str, Any]) -> None:
        head = to_html(told).partition("<h2>")[0]
        for words in ("dev &lt;set&gt;", "cdcdcdcdcdcd", "mini@abababababab", "in 3 documents"):
            assert words in head
        split = told["runs"][0]["splits"]["test"]
        assert f">{split['plii']:.1f} <small>%</small>" in head
        assert "1 place of the corpus could not be used" in head
        assert "maps their annotation to a code: 2 mentions" in head
        assert "3 documents only" in head

    def test_it_holds_none_of_the_mentions(self, told: dict[str, Any]) -> None:
        assert "hipotermia" not in to_html(told).lower()


class TestFigures:
    def test_the_runs_are_those_of_the_dictionary(self, told: dict[str, Any]) -> None:
        shown = tables_of(to_html(told))
        for table, name in zip(shown, ("test", "test_unseen", "test_seen"), strict=False):
            assert table[0][:4] == ["run", "PLI", "PLII", "3 characters"]
            for row, run in zip(table[1:], told["runs"], strict=True):
                split = run["splits"][name]
                figures = dict(zip(table[0], row, strict=True))
                assert figures["run"] == run["name"]
                for label, key in (("PLI", "pli"), ("PLII", "plii"), ("3 characters", "accuracy_3")):
                    if key in split:
                        ends = split["intervals"][key]
                        assert figures[label] == f"{split[key]:.2f}|{ends['low']:.2f} to {ends['high']:.2f}"
                    else:
                        assert (figures[label], run["settings"]["pipeline"]) == ("–", "I")
                for label, key in (
                    ("recall@3", "recall_at_3"), ("recall@5", "recall_at_5"), ("MRR", "mrr"),
                    ("answered", "coverage"), ("right of answered", "accuracy_covered"), ("text", "text_accuracy"),
                ):  # fmt: skip
                    assert figures[label] == f"{split[key]:,.2f}"
        assert [row[-1] for row in shown[0][1:]] == ["1.25", "–", "12.5"]

    def test_the_plot_of_runs_marks_the_same_figures(self, told: dict[str, Any]) -> None:
        picture = next(one for one in pictures_of(to_html(told)) if "All mentions" in one.attrib["aria-label"])
        marked = [title.text or "" for title in picture.iter("title")]
        expected = []
        for run in told["runs"]:
            split = run["splits"]["test"]
            for key, label in (("plii", "PLII"), ("pli", "PLI"), ("accuracy_3", "3 characters")):
                if key in split:
                    ends = split["intervals"][key]
                    expected.append(f"{label}: {split[key]:.2f} ({ends['low']:.2f} to {ends['high']:.2f})")
        assert marked == expected

    def test_comparisons_and_what_the_reference_missed(self, told: dict[str, Any]) -> None:
        page = to_html(told)
        table = next(one for one in tables_of(page) if "p (McNemar)" in one[0])
        for row, entry in zip(table[1:], told["comparisons"], strict=True):
            assert row == [
                entry["run"],
                f"{entry['difference']:+.2f}|{entry['low']:+.2f} to {entry['high']:+.2f}",
                f"{entry['p_value']:.3g}",
                f"{entry['mcnemar_p_value']:.3g}",
                *(str(entry[name]) for name in ("only_second", "only_first", "both", "neither")),
            ]
        assert "15.4 % of 1,286 prompts (198)" in page

    def test_groups_are_drawn_with_their_counts(self, told: dict[str, Any]) -> None:
        found = told["runs"][0]["breakdown"]
        pictures = {one.attrib["aria-label"].partition(":")[0]: one for one in pictures_of(to_html(told))}
        for label, groups in (("By kind", found["kinds"]), ("By method", found["methods"])):
            bars = [title.text for title in pictures[label].iter("title")]
            assert bars == [f"{name}: {scores['accuracy']:.2f}" for name, scores in groups.items()]
            notes = [text.text for text in pictures[label].iter("text") if text.attrib["class"] == "note"]
            assert notes == [f"n {scores['count']}" for scores in groups.values()]

    def test_mistakes_are_counted(self, told: dict[str, Any]) -> None:
        page = to_html(told)
        table = next(one for one in tables_of(page) if one[0][0] == "mentions")
        assert table[0][1:] == [run["name"] for run in told["runs"]]
        for column, run in enumerate(told["runs"], start=1):
            counts = {entry["name"]: str(entry["count"]) for entry in run["errors"]}
            assert {row[0]: row[column] for row in table[1:]} == counts
        wrong = 100 - told["runs"][0]["errors"][0]["share"]
        assert f"{wrong:.1f} % wrong" in page

    def test_curves_have_every_point_and_their_areas(self, told: dict[str, Any]) -> None:
        page = to_html(told)
        picture = next(one for one in pictures_of(page) if one.attrib["aria-label"].startswith("Accuracy of the"))
        points = [path.attrib["d"].count("L") + 1 for path in picture.iter("path")]
        assert points == [len(run["coverage_curve"]) for run in told["runs"]]
        table = next(one for one in tables_of(page) if "AURC" in one[0][1])
        assert [row[1] for row in table[1:]] == [f"{run['risk_coverage_area']:.4f}" for run in told["runs"]]

    def test_reliability_is_drawn_where_it_is_known(self, told: dict[str, Any]) -> None:
        page = to_html(told)
        bins = told["calibration"]["probable"]["calibrated"]["bins"]
        picture = next(one for one in pictures_of(page) if "Reliability" in one.attrib["aria-label"])
        assert len(list(picture.iter("circle"))) == len(bins)
        table = next(one for one in tables_of(page) if one[0] == ["confidence", "mean", "right", "mentions"])
        assert [row[-1] for row in table[1:]] == [str(entry["count"]) for entry in bins]
        del told["calibration"]
        without = to_html(told)
        assert "Reliability" not in without
        assert "<h2>Confidence</h2>" not in without

    def test_codiesp_s_measures(self, told: dict[str, Any]) -> None:
        page = to_html(told)
        table = next(one for one in tables_of(page) if "MAP" in one[0])
        measures = told["runs"][0]["codiesp"]["diagnosis"]
        row = next(row for row in table if row[:2] == ["probable", "diagnosis"])
        shown = (measures["map"]["value"], measures["map"]["script"])
        assert row[2:4] == [f"{value:.3f}" for value in shown]
        assert row[5:8] == [f"{measures['micro'][name]:.3f}" for name in ("precision", "recall", "f1")]
        assert "mention by mention" in page
        for run in told["runs"]:
            run["codiesp"] = None
        assert "<h2>CodiEsp" not in to_html(told)

    def test_settings_that_differ_stand_side_by_side(self, told: dict[str, Any]) -> None:
        page = to_html(told)
        table = next(one for one in tables_of(page) if "decoding" in one[0])
        assert table == [
            ["run", "decoding", "pipeline"],
            ["probable", "probable", "II"], ["stored <outputs>", "stored", "II"],
            ["probable, pipeline I", "probable", "I"],
        ]  # fmt: skip
        assert "ab" * 32 in page
        assert "50 resamples of 3" in page

    def test_a_split_that_is_everything_is_not_shown_twice(self, told: dict[str, Any]) -> None:
        for run in told["runs"]:
            run["splits"] = {"test": run["splits"]["test"], "test_unseen": copy.deepcopy(run["splits"]["test"])}
        page = to_html(told)
        assert "Unseen in training: these are all mentions" in page
        assert sum("PLII" in table[0] for table in tables_of(page)) == 1

    @pytest.mark.parametrize(("skipped", "shown"), [(1, "1 place"), (250, "1 of 250 places")])
    def test_skipped_places_are_listed(self, told: dict[str, Any], skipped: int, shown: str) -> None:
        told["corpus"]["skipped"] = skipped
        page = to_html(told)
        assert f"<summary>{shown}</summary>" in page
        assert ["a.ann, line 3", "no code <there>"] in [row for table in tables_of(page) for row in table]
        told["corpus"].update(skipped=0, skipped_places=[])
        assert "<h2>Skipped" not in to_html(told)


def paths(value: Any, here: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Return the way to every value in a dictionary, those of inner dictionaries included."""
    entries: Any = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, entry in list(entries)[:6] if isinstance(value, list) else entries:
        yield (*here, name)
        yield from paths(entry, (*here, name))


PATHS = sorted(paths(KEPT), key=str)


class TestGaps:
    @settings(max_examples=50, deadline=None)
    @given(st.lists(st.sampled_from(PATHS), min_size=1, max_size=8), st.sampled_from(["none", "gone", "nan", "text"]))
    def test_what_is_missing_costs_no_page(self, ways: list[tuple[Any, ...]], how: str) -> None:
        told = copy.deepcopy(KEPT)
        for way in ways:
            place: Any = told
            try:
                for name in way[:-1]:
                    place = place[name]
                place[way[-1]] = {"none": None, "gone": None, "nan": float("nan"), "text": HOSTILE}[how]
                if how == "gone" and isinstance(place, dict):
                    del place[way[-1]]
            except (KeyError, IndexError, TypeError):
                continue  # it went with something around it
        reader = read(to_html(told))
        assert "script" not in reader.tags
        assert "b" not in reader.tags

    @pytest.mark.parametrize("told", [{}, {"runs": []}, {"runs": [{}]}, {"runs": None, "corpus": None, "about": None}])
    def test_next_to_nothing_is_enough(self, told: dict[str, Any]) -> None:
        assert "<h2>What the words mean</h2>" in to_html(told)
        read(to_html(told))

    def test_stored_outputs_have_no_seconds_and_no_bundle(self, told: dict[str, Any]) -> None:
        source = {"name": "tabla <1>", "kind": "diagnosis", "rows": 3, "rejected": 0}
        told["about"] = {"corpus": "preds.tsv", "knowledge_base": [source], "encoder": None}
        page = to_html(told)
        assert "name tabla &lt;1&gt;, kind diagnosis, rows 3" in page
        assert "bundle" not in page.partition("<h2>")[0].partition("<header>")[2].partition("</header>")[0]

    @pytest.mark.parametrize("share", [0.0, 100.0])
    def test_all_right_and_all_wrong(self, share: float) -> None:
        right = Run("a", SETTINGS, tuple(outcome("T68" if not share else "I10", probability=0.5) for _ in range(3)))
        corpus = Corpus(tuple(entry.annotated for entry in right.outcomes))
        page = to_html(summarize([right], corpus, SYSTEMS, resamples=20, about={}))
        read(page)
        assert f"{share:.1f} % wrong" in page

    def test_training_mentions_that_were_not_given_are_spoken_of(self, told: dict[str, Any]) -> None:
        assert "No training mentions were given" not in to_html(told)
        for run in told["runs"]:
            run["splits"] = {"test": run["splits"]["test"]}
        assert "No training mentions were given" in to_html(told)


class TestEscaping:
    def test_names_from_files_are_text(self, told: dict[str, Any]) -> None:
        def spoil(value: Any) -> Any:
            if isinstance(value, dict):
                return {name: spoil(entry) for name, entry in value.items()}
            if isinstance(value, list):
                return [spoil(entry) for entry in value]
            return value + HOSTILE if isinstance(value, str) else value

        told = spoil(told)
        for run in told["runs"]:
            for groups in (run["breakdown"]["kinds"], run["breakdown"]["chapters"], run["codiesp"], run["settings"]):
                groups[HOSTILE] = copy.deepcopy(next(iter(groups.values())))
            run["splits"][HOSTILE] = run["splits"]["test_seen"]
        told["calibration"][HOSTILE] = told["calibration"].pop("probable")
        page = to_html(told)
        reader = read(page)
        assert not {"script", "b"} & set(reader.tags)
        assert not [name for name, _ in reader.attributes if name.startswith("on")]
        assert page.count("&lt;script&gt;") > 20
        classes = {value for name, value in reader.attributes if name == "class"}
        assert not [value for value in classes if value and "<" in value]


class TestFile:
    def test_it_is_written_whole(self, told: dict[str, Any], tmp_path: Path) -> None:
        write_page(tmp_path / "a.html", told)
        assert (tmp_path / "a.html").read_text(encoding="utf-8") == to_html(told)
        assert [file.name for file in tmp_path.iterdir()] == ["a.html"]

    @pytest.mark.parametrize("where", ["missing/a.html", "folder"])
    def test_a_place_that_cannot_be_written_is_named(self, told: dict[str, Any], tmp_path: Path, where: str) -> None:
        (tmp_path / "folder").mkdir()
        with pytest.raises(TableError, match=rf"{where}: cannot be written"):
            write_page(tmp_path / where, told)
        assert [file.name for file in tmp_path.rglob("*")] == ["folder"]

    def test_what_stood_there_stays_where_the_page_fails(
        self, told: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = tmp_path / "a.html"
        path.write_text("before")

        def full(self: Path, *_: Any, **__: Any) -> int:
            self.write_bytes(b"<!doctype")
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(Path, "write_text", full)
        with pytest.raises(TableError, match="No space left on device"):
            write_page(path, told)
        assert path.read_text() == "before"
        assert [file.name for file in tmp_path.iterdir()] == ["a.html"]
