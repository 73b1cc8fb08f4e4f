from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cielo.bundle.calibration import Reliability
from cielo.errors import TableError
from cielo.workbench.calibration.quality import quality
from cielo.workbench.evaluation.headline import shown_p
from cielo.workbench.evaluation.records import Corpus, Missed, Outcome, RunSettings, Skipped
from cielo.workbench.evaluation.report import to_html, write_page
from cielo.workbench.evaluation.results import (
    About,
    CorpusSummary,
    Evaluation,
    KnowledgeSource,
    RunScores,
    from_json,
    to_json,
)
from cielo.workbench.evaluation.run import Run
from cielo.workbench.evaluation.summary import summarize
from hypothesis import given, settings
from hypothesis import strategies as st
from outcome_fakes import SYSTEMS, outcome
from page_reading import HOSTILE, of_kind, pictures_of, read, refers_to_nothing, tables_of, titles_of

SETTINGS = RunSettings(name="mini", sha256="ab" * 32, edition="kb", decoding="probable")


def make_outcomes(sure: bool = True, worse: int = 0) -> tuple[Outcome, ...]:
    """Return 30 answers in fifteen documents: right ones, wrong ones of several classes, and missing ones."""
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
            annotated={"document": f"d{number % 15}", "spans": ((number, number + 5),), "description": "Hipotermia"},
        )
        for number, code in enumerate(codes)
    )


def make_evaluation(**about: Any) -> Evaluation:
    """Return an evaluation of three runs on CodiEsp's layout."""
    runs = [
        Run("probable", SETTINGS, make_outcomes(), seconds=1.25),
        Run("stored <outputs>", replace(SETTINGS, decoding="stored"), make_outcomes(sure=False, worse=9)),
        Run("probable, pipeline I", replace(SETTINGS, pipeline="I"), make_outcomes(worse=3), seconds=12.5),
    ]
    corpus = Corpus(
        tuple(entry.annotated for entry in runs[0].outcomes), (Skipped("a.ann, line 3", "no code <there>"),), uncoded=2
    )
    named = About(**{"corpus": "dev <set>", "corpus_sha256": "cd" * 32, "bundle": "mini@abababababab", **about})
    chances, right = [number / 40 for number in range(40)], [number % 3 > 0 for number in range(40)]
    table = quality(chances, right, bins=4)
    calibration = {"probable": Reliability(table, table, 40, sum(right), 5, "ef" * 32)}
    found = summarize(runs, corpus, SYSTEMS, resamples=50, about=named, calibration=calibration)
    return replace(found, published_missed=Missed(prompts=1286, missed=198, share=15.396578538102643))


KEPT = make_evaluation()


@pytest.fixture
def told() -> Evaluation:
    return KEPT


@pytest.fixture(scope="module")
def page() -> str:
    """The page of `told`; its plots take a second."""
    return to_html(KEPT)


def with_runs(told: Evaluation, change: Any) -> Evaluation:
    """Return an evaluation whose runs are changed."""
    return replace(told, runs=tuple(map(change, told.runs)))


class TestPage:
    def test_it_is_well_formed_and_has_every_section(self, page: str) -> None:
        reader = read(page)
        assert page.startswith("<!doctype html>")
        heads = re.findall(r"<h2>(.*?)</h2>", page)
        assert heads == [
            "What the paper shows", "Runs", "Comparisons", "Withholding answers", "Confidence", "Where it is right",
            "Mistakes", "CodiEsp’s measures", "Skipped", "What the words mean", "Settings",
        ]  # fmt: skip
        assert {"title", "h1", "table", "svg", "dl", "details"} <= set(reader.tags)

    def test_it_refers_to_nothing_outside_and_runs_nothing(self, page: str) -> None:
        refers_to_nothing(page)

    def test_the_same_evaluation_gives_the_same_page(self, told: Evaluation, page: str) -> None:
        assert to_html(told) == page
        assert to_html(from_json(to_json(told))) == page, "a page can be made again from a kept file"

    def test_each_plot_has_an_alternative_axes_and_a_word_on_reading_it(self, page: str) -> None:
        pictures = pictures_of(page)
        assert len(pictures) == 3 + 1 + 1 + 1 + 4 + 1
        for picture in pictures:
            assert of_kind(picture, "label"), picture.attrib["aria-label"]
            assert of_kind(picture, "tick")
        assert page.count("How to read it") >= len(pictures)

    def test_a_phone_gets_every_plot_with_the_same_figures_and_letters_that_can_be_read(self, page: str) -> None:
        for desk, phone in zip(pictures_of(page), pictures_of(page, "at-phone"), strict=True):
            assert desk.attrib["aria-label"] == phone.attrib["aria-label"]
            assert titles_of(desk) == titles_of(phone)
            width = float(phone.attrib["viewBox"].split()[2])
            sizes = [
                float(size)
                for text in phone.iter("text")
                for size in re.findall(r"size:([\d.]+)px", text.attrib["style"])
            ]
            assert sizes and min(sizes) * min(1, 326 / width) >= 8

    def test_colours_are_the_scheme_s(self, page: str) -> None:
        light, dark = (set(re.findall(r"--(\w+):", block)) for block in re.findall(r":root {(.*?)}", page, re.DOTALL))
        assert light == dark
        for picture in pictures_of(page):
            used = set(re.findall(r"var\(--(\w+)\)", " ".join(node.attrib.get("style", "") for node in picture.iter())))
            assert used and used <= light

    def test_its_head_names_what_was_evaluated(self, told: Evaluation, page: str) -> None:
        head = page.partition("<h2>")[0]
        for words in ("dev &lt;set&gt;", "cdcdcdcdcdcd", "mini@abababababab", "in 15 documents"):
            assert words in head
        split = told.runs[0].splits["all"]
        assert f">{split.plii:.1f} <small>%</small>" in head
        assert "1 place of the corpus could not be used" in head
        assert "maps their annotation to a code: 2 mentions" in head
        assert "15 documents only" in head

    def test_it_holds_none_of_the_mentions(self, page: str) -> None:
        assert "hipotermia" not in page.lower()


class TestFigures:
    def test_the_runs_are_those_of_the_dictionary(self, told: Evaluation, page: str) -> None:
        shown = tables_of(page)[1:]  # after what the paper shows
        for table, name in zip(shown, ("all", "unseen", "seen"), strict=False):
            assert table[0][:4] == ["run", "PLI", "PLII", "3 characters"]
            for row, run in zip(table[1:], told.runs, strict=True):
                split = run.splits[name]
                figures = dict(zip(table[0], row, strict=True))
                assert figures["run"] == run.name
                for label, key in (("PLI", "pli"), ("PLII", "plii"), ("3 characters", "accuracy_3")):
                    if (value := getattr(split, key)) is not None:
                        ends = split.intervals.get(key)  # of the six that are seen there is none
                        beside = "" if ends is None else f"|{ends.low:.2f} to {ends.high:.2f}"
                        assert (figures[label], ends is None) == (f"{value:.2f}{beside}", name == "seen")
                    else:
                        assert (figures[label], run.settings.pipeline) == ("–", "I")
                for label, key in (
                    ("recall@3", "recall_at_3"), ("recall@5", "recall_at_5"), ("MRR", "mrr"),
                    ("answered", "coverage"), ("right of answered", "accuracy_covered"),
                    ("text", "normal_text_accuracy"), ("text, literal", "text_accuracy"),
                ):  # fmt: skip
                    assert figures[label] == f"{getattr(split, key):,.2f}"
        assert [row[-1] for row in shown[0][1:]] == ["1.25", "–", "12.5"]

    def test_the_plot_of_runs_marks_the_same_figures(self, told: Evaluation, page: str) -> None:
        picture = next(one for one in pictures_of(page) if "All mentions" in one.attrib["aria-label"])
        expected = []
        for run in told.runs:
            split = run.splits["all"]
            for key, label in (("plii", "PLII"), ("pli", "PLI"), ("accuracy_3", "3 characters")):
                if (value := getattr(split, key)) is not None:
                    ends = split.intervals[key]
                    expected.append(f"{label}: {value:.2f} ({ends.low:.2f} to {ends.high:.2f})")
        assert titles_of(picture) == expected

    def test_comparisons_and_what_the_published_search_missed(self, told: Evaluation, page: str) -> None:
        table = next(one for one in tables_of(page) if "p (McNemar)" in one[0])
        for row, entry in zip(table[1:], told.comparisons, strict=True):
            assert row == [
                entry.run,
                f"{entry.difference:+.2f}|{entry.low:+.2f} to {entry.high:+.2f}",
                shown_p(entry.p_value, 50).removeprefix("= "),
                shown_p(entry.mcnemar_p_value).removeprefix("= "),
                *(str(getattr(entry, name)) for name in ("only_second", "only_first", "both", "neither")),
            ]
        assert "15.4 % of 1,286 prompts (198)" in page

    def test_groups_are_drawn_with_their_counts(self, told: Evaluation, page: str) -> None:
        found = told.runs[0].breakdown
        pictures = {one.attrib["aria-label"].partition(":")[0]: one for one in pictures_of(page)}
        for label, groups in (("By kind", found.kinds), ("By method", found.methods)):
            bars = titles_of(pictures[label])
            assert bars == [f"{name}: {scores.accuracy:.2f}" for name, scores in groups.items()]
            notes = [text.text for text in of_kind(pictures[label], "note")]
            assert notes == [f"n {scores.count}" for scores in groups.values()]

    def test_mistakes_are_counted(self, told: Evaluation, page: str) -> None:
        table = next(one for one in tables_of(page) if one[0][0] == "mentions")
        assert table[0][1:] == [run.name for run in told.runs]
        for column, run in enumerate(told.runs, start=1):
            counts = {entry.name: str(entry.count) for entry in run.errors}
            assert {row[0]: row[column] for row in table[1:]} == counts
        wrong = 100 - told.runs[0].errors[0].share
        assert f"{wrong:.1f} % wrong" in page

    def test_curves_have_every_point_and_their_areas(self, told: Evaluation, page: str) -> None:
        picture = next(one for one in pictures_of(page) if one.attrib["aria-label"].startswith("Accuracy of the"))
        points = [path.attrib["d"].count("L") + 1 for path in of_kind(picture, "series")]
        assert points == [len(run.coverage_curve) for run in told.runs]
        table = next(one for one in tables_of(page) if "AURC" in one[0][1])
        assert [row[1] for row in table[1:]] == [f"{run.risk_coverage_area:.4f}" for run in told.runs]

    def test_reliability_is_drawn_where_it_is_known(self, told: Evaluation, page: str) -> None:
        bins = told.calibration["probable"].calibrated.bins
        picture = next(one for one in pictures_of(page) if "Reliability" in one.attrib["aria-label"])
        assert len(of_kind(picture, "mark-circle")) == len(of_kind(picture, "mark-square")) == len(bins)
        table = next(one for one in tables_of(page) if one[0] == ["confidence", "mean", "right", "mentions"])
        assert [row[-1] for row in table[1:]] == [str(entry.count) for entry in bins]
        without = to_html(replace(told, calibration={}))
        assert "Reliability" not in without
        assert "<h2>Confidence</h2>" not in without

    def test_codiesp_s_measures(self, told: Evaluation, page: str) -> None:
        table = next(one for one in tables_of(page) if "MAP" in one[0])
        measures = told.runs[0].codiesp.kinds["diagnosis"]
        row = next(row for row in table if row[:2] == ["probable", "diagnosis"])
        shown = (measures.map.value, measures.map.script)
        assert row[2:4] == [f"{value:.3f}" for value in shown]
        assert row[5:8] == [f"{getattr(measures.micro, name):.3f}" for name in ("precision", "recall", "f1")]
        assert "mention by mention" in page
        assert "<h2>CodiEsp" not in to_html(with_runs(told, lambda run: replace(run, codiesp=None)))

    def test_settings_that_differ_stand_side_by_side(self, page: str) -> None:
        table = next(one for one in tables_of(page) if "decoding" in one[0])
        assert table == [
            ["run", "decoding", "pipeline"],
            ["probable", "probable", "II"], ["stored <outputs>", "stored", "II"],
            ["probable, pipeline I", "probable", "I"],
        ]  # fmt: skip
        assert "ab" * 32 in page
        assert "50 resamples of 15" in page

    def test_a_split_that_is_everything_is_not_shown_twice(self, told: Evaluation) -> None:
        def whole(run: RunScores) -> RunScores:
            return replace(run, splits={"all": run.splits["all"], "unseen": copy.deepcopy(run.splits["all"])})

        page = to_html(with_runs(told, whole))
        assert "Unseen in training: these are all mentions" in page
        assert sum("recall@5" in table[0] for table in tables_of(page)) == 1

    @pytest.mark.parametrize(("skipped", "shown"), [(1, "1 place"), (250, "1 of 250 places")])
    def test_skipped_places_are_listed(self, told: Evaluation, skipped: int, shown: str) -> None:
        page = to_html(replace(told, corpus=replace(told.corpus, skipped=skipped)))
        assert f"<summary>{shown}</summary>" in page
        assert ["a.ann, line 3", "no code <there>"] in [row for table in tables_of(page) for row in table]
        none = replace(told.corpus, skipped=0, skipped_places=())
        assert "<h2>Skipped" not in to_html(replace(told, corpus=none))


def paths(value: Any, here: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Return the way to every value in a dictionary, those of inner dictionaries included."""
    entries: Any = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, entry in list(entries)[:6] if isinstance(value, list) else entries:
        yield (*here, name)
        yield from paths(entry, (*here, name))


PLAIN = json.loads(to_json(KEPT))
PATHS = sorted(paths(PLAIN), key=str)


class TestGaps:
    @settings(max_examples=50, deadline=None)
    @given(st.lists(st.sampled_from(PATHS), min_size=1, max_size=8), st.sampled_from(["none", "gone", "nan", "text"]))
    def test_a_damaged_file_gives_a_page_or_an_error_that_names_the_field(
        self, ways: list[tuple[Any, ...]], how: str
    ) -> None:
        told = copy.deepcopy(PLAIN)
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
        try:
            found = from_json(json.dumps(told).encode())
        except TableError as error:
            assert re.match(r"the evaluation is not (valid|JSON in UTF-8).+give the JSON", str(error), re.DOTALL)
            return
        reader = read(to_html(found))
        assert "script" not in reader.tags
        assert "b" not in reader.tags

    @pytest.mark.parametrize("content", [b"", b"{}", b"[]", b"null", b"\xff", b'{"runs": []}'])
    def test_what_is_no_evaluation_is_refused(self, content: bytes) -> None:
        with pytest.raises(TableError, match=r"the evaluation is not (valid|JSON in UTF-8)"):
            from_json(content)

    @pytest.mark.slow
    @settings(max_examples=25, deadline=None)
    @given(st.data())
    def test_what_may_be_missing_costs_no_page(self, data: st.DataObject) -> None:
        def maybe(**changes: Any) -> dict[str, Any]:
            return {name: value for name, value in changes.items() if data.draw(st.booleans())}

        def thin(run: RunScores) -> RunScores:
            split = replace(
                run.splits["all"],
                **maybe(plii=None, accuracy_covered=None, text_accuracy=None, normal_text_accuracy=None, intervals={}),
            )
            errors = tuple(
                replace(one, **maybe(probability=None, confidence=None, distance=None)) for one in run.errors
            )
            kinds = replace(run.breakdown, **maybe(kinds={}, methods={}, chapters={}, seen={}))
            return replace(
                run, splits={"all": split}, errors=errors, breakdown=kinds,
                **maybe(coverage_curve=(), codiesp=None, seconds=None),
            )  # fmt: skip

        told = with_runs(KEPT, thin)
        told = replace(told, **maybe(comparisons=(), published_missed=None, calibration={}, about=About()))
        told = replace(told, corpus=replace(told.corpus, **maybe(documents=0, skipped=0, uncoded=0, skipped_places=())))
        assert "<h2>What the words mean</h2>" in to_html(told)
        read(to_html(told))

    def test_next_to_nothing_is_enough(self) -> None:
        run = Run("", SETTINGS, (outcome(None, kind=None),))
        told = summarize([run], Corpus((run.outcomes[0].annotated,)), {}, resamples=1, about=About())
        assert told.corpus == CorpusSummary(mentions=1, documents=0, skipped=0, uncoded=0)
        assert "<h2>What the words mean</h2>" in to_html(told)
        read(to_html(told))

    def test_no_run_is_refused(self) -> None:
        with pytest.raises(ValueError, match="no runs"):
            summarize([], Corpus(()), {}, resamples=1, about=About())

    def test_stored_outputs_have_no_seconds_and_no_bundle(self, told: Evaluation) -> None:
        source = KnowledgeSource("tabla <1>", "diagnosis", 3, 0)
        page = to_html(replace(told, about=About(corpus="preds.tsv", knowledge_base=(source,))))
        assert "name tabla &lt;1&gt;, kind diagnosis, rows 3" in page
        assert "bundle" not in page.partition("<h2>")[0].partition("<header>")[2].partition("</header>")[0]

    @pytest.mark.parametrize("share", [0.0, 100.0])
    def test_all_right_and_all_wrong(self, share: float) -> None:
        right = Run("a", SETTINGS, tuple(outcome("T68" if not share else "I10", probability=0.5) for _ in range(3)))
        corpus = Corpus(tuple(entry.annotated for entry in right.outcomes))
        page = to_html(summarize([right], corpus, SYSTEMS, resamples=20, about=About()))
        read(page)
        assert f"{share:.1f} % wrong" in page

    def test_training_mentions_that_were_not_given_are_spoken_of(self, told: Evaluation, page: str) -> None:
        assert "No training mentions were given" not in page
        without = with_runs(told, lambda run: replace(run, splits={"all": run.splits["all"]}))
        assert "No training mentions were given" in to_html(without)


LITERALS = {
    "I",
    "II",
    "tiered",
    "published",
    "probable",
    "stored",
    *(entry["name"] for entry in PLAIN["runs"][0]["errors"]),
}


def spoiled(told: Evaluation, with_what: str) -> Evaluation:
    """Return an evaluation whose every name ends with something that does not belong there."""

    def spoil(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: spoil(entry) for name, entry in value.items()}
        if isinstance(value, list):
            return [spoil(entry) for entry in value]
        return value + with_what if isinstance(value, str) and value not in LITERALS else value

    found = spoil(json.loads(to_json(told)))
    for run in found["runs"]:
        for groups in (run["breakdown"]["kinds"], run["breakdown"]["chapters"], run["codiesp"]["kinds"]):
            groups[with_what] = copy.deepcopy(next(iter(groups.values())))
        run["splits"][with_what] = run["splits"]["seen"]
    found["calibration"][with_what] = found["calibration"].pop("probable")
    return from_json(json.dumps(found).encode())


class TestEscaping:
    def test_names_from_files_are_text(self, told: Evaluation) -> None:
        page = to_html(spoiled(told, HOSTILE))
        reader = read(page)
        assert not {"script", "b"} & set(reader.tags)
        assert not [name for name, _ in reader.attributes if name.startswith("on")]
        assert page.count("&lt;script&gt;") > 20
        assert "{{ 7 * 7 }}$x^2$" in page, "neither Jinja nor matplotlib obeys a name"
        classes = {value for name, value in reader.attributes if name == "class"}
        assert not [value for value in classes if value and "<" in value]

    def test_what_a_terminal_or_a_browser_would_obey_is_shown(self, told: Evaluation) -> None:
        page = to_html(spoiled(told, "\x1b[31m\x00\x7f\x9b\u202e\u2028\n"))
        read(page)
        assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e\u2028]", page)
        assert "␛[31m␀␡\\u009b\\u202e\\u2028" in page


class TestFile:
    def test_it_is_written_whole(self, told: Evaluation, page: str, tmp_path: Path) -> None:
        write_page(tmp_path / "a.html", told)
        assert (tmp_path / "a.html").read_text(encoding="utf-8") == page
        assert [file.name for file in tmp_path.iterdir()] == ["a.html"]

    @pytest.mark.parametrize("where", ["missing/a.html", "folder"])
    def test_a_place_that_cannot_be_written_is_named(self, told: Evaluation, tmp_path: Path, where: str) -> None:
        (tmp_path / "folder").mkdir()
        with pytest.raises(TableError, match=rf"{where}: cannot be written"):
            write_page(tmp_path / where, told)
        assert [file.name for file in tmp_path.rglob("*")] == ["folder"]

    def test_what_stood_there_stays_where_the_page_fails(
        self, told: Evaluation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
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
