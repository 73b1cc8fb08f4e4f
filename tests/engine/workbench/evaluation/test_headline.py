"""What is said first of an evaluation: the best run, the paper's figures, the ceiling; why there is no interval."""

from __future__ import annotations

from dataclasses import replace

import pytest
from cielo.workbench.evaluation.headline import interval_notes, named_best, shown_p, shown_paper
from cielo.workbench.evaluation.records import Corpus, Outcome, RunSettings
from cielo.workbench.evaluation.report import to_html
from cielo.workbench.evaluation.results import About, Evaluation, from_json, to_json
from cielo.workbench.evaluation.run import Run
from cielo.workbench.evaluation.summary import summarize
from outcome_fakes import SYSTEMS, outcome

SETTINGS = RunSettings(name="mini", sha256="ab", edition="kb", decoding="probable", pipeline="II")


def made(right: int, documents: int = 12, split: str | None = "dev") -> tuple[Outcome, ...]:
    """Return twelve answers, so many of them right, the first nine to codes that the knowledge base holds."""
    return tuple(
        outcome(
            "T68" if number < right else "I10",
            "T68",
            generated="hipotermia." if number < 6 else "Otra",
            seen=number < 4,
            known=number < 9,
            text=f"frío {number}",
            annotated={"document": f"d{number % documents}", "description": "Hipotermia"},
        )
        for number in range(12)
    )


def told(*right: int, documents: int = 12, split: str | None = "dev", resamples: int = 2000) -> Evaluation:
    runs = [Run(f"run {number}", SETTINGS, made(count, documents)) for number, count in enumerate(right)]
    corpus = Corpus(tuple(one.annotated for one in runs[0].outcomes), split=split)
    return summarize(runs, corpus, SYSTEMS, resamples=resamples, about=About())


def test_the_paper_s_figures_by_hand() -> None:
    found = told(6)
    every, unseen, seen = found.paper
    assert (every.split, unseen.split, seen.split) == ("all", "unseen", "seen")
    assert (every.mentions, every.text_accuracy, every.pli, every.plii, every.ceiling) == (12, 50.0, 50.0, 50.0, 75.0)
    assert (seen.mentions, seen.text_accuracy, seen.pli, seen.ceiling) == (4, 100.0, 100.0, 100.0)
    assert (unseen.mentions, unseen.text_accuracy, unseen.pli, unseen.ceiling) == (8, 25.0, 25.0, 62.5)
    # Of the twelve documents six get their one right code: MAP 6 / 12; six of twelve answers are right.
    assert (every.map, every.f1, unseen.map) == ({"diagnosis": 0.5}, {"diagnosis": 0.5}, {})
    assert from_json(to_json(found)) == found
    assert list(Evaluation.__dataclass_fields__)[:4] == ["about", "best", "paper", "card"], "first in the JSON too"


def test_the_best_run_stands_in_the_headline_and_is_named() -> None:
    found = told(6, 8, 7)
    assert found.best == named_best(found).name == "run 1"
    page = to_html(found)
    assert ">66.7 <small>%</small></div><p>PLII of “run 1”, the best of 3 runs" in page
    assert "“run 1” is the best of 3 runs on these very mentions" in page
    assert ">75.0 <small>%</small></div><p>have a right code that the knowledge base holds" in page
    alone = to_html(told(6))
    assert "PLII of “run 0”: the first code is right" in alone and "best of" not in alone
    assert told(6, 6).best == "run 0", "of equal ones the first"


@pytest.mark.parametrize(("split", "shown"), [("dev", "dev, unseen in training, 8"), (None, "unseen in training, 8")])
def test_parts_bear_the_name_of_the_split_or_none(split: str | None, shown: str) -> None:
    page = to_html(told(6, split=split))
    assert f"<small>{shown}</small>" in page
    assert ("of the split “dev”" in page) == (split is not None)
    assert "test" not in page.partition("<footer>")[0].partition("<header>")[2].replace("tested", "")


def test_a_part_that_is_everything_is_shown_once() -> None:
    run = Run("a", SETTINGS, tuple(replace(one, seen=True) for one in made(6)))
    found = summarize(
        [run], Corpus(tuple(one.annotated for one in run.outcomes)), SYSTEMS, resamples=100, about=About()
    )
    assert [one.split for one in found.paper] == ["all", "seen"]
    assert [one.split for one in shown_paper(found)] == ["all"]


def test_there_is_no_interval_of_few_documents_and_it_is_said_why() -> None:
    found = told(6, 9, documents=9)
    assert found.splits["all"].clusters == 9
    assert all(split.intervals == {} for split in found.splits.values())
    (compared,) = found.comparisons
    assert (compared.low, compared.high, compared.difference) == (None, None, 25.0)
    (note,) = interval_notes(found)
    assert "all (9), unseen in training (8), seen in training (4)" in note and "fewer than 10" in note
    page = to_html(found)
    assert note in page and "(95\u00a0%:" not in page
    enough = told(6, 9)
    assert set(enough.splits["all"].intervals) == {"pli", "plii", "accuracy_3"}
    (note,) = interval_notes(enough)
    assert note.startswith("No interval for these mentions: unseen in training (8), seen in training (4)")


@pytest.mark.parametrize(
    ("value", "resamples", "shown"),
    [
        (1 / 2001, 2000, "< 0.001"), (0.0009, None, "< 0.001"), (1 / 101, 100, "≤ 0.0099"), (0.0321, 2000, "= 0.0321"),
        (1.0, 100, "= 1"),
    ],
)  # fmt: skip
def test_a_p_value_at_its_floor_is_only_known_to_be_less(value: float, resamples: int | None, shown: str) -> None:
    assert shown_p(value, resamples) == shown


def test_the_floor_is_written_so_on_the_page() -> None:
    page = to_html(told(0, 12))
    assert "&lt; 0.001" in page and "0.0005" not in page
