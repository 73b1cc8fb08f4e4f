"""The model card's figures beside those of a run: what is found beside a corpus, and what is said to differ."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from cielo.bundle.layout import Bundle, default_bundle
from cielo.knowledge.records import TableSource
from cielo.workbench.bench.system import describe_system
from cielo.workbench.evaluation.published import MODEL, compare_with_card, training_beside
from cielo.workbench.evaluation.records import Corpus, RunSettings
from cielo.workbench.evaluation.results import About, Evaluation, TrainingSource
from cielo.workbench.evaluation.run import Run
from cielo.workbench.evaluation.summary import summarize
from outcome_fakes import SYSTEMS, outcome

SETTINGS = RunSettings(
    name="b", sha256="ab", edition="kb", decoding="published", matching="published", compute_type="float32"
)
OUTCOMES = tuple(outcome("T68" if number % 2 else None, seen=number % 4 == 0) for number in range(12))
TABLES = ("ICD10_diagnosticos_2020.tsv", "ICD10_procedimientos_2020.tsv")


def made(mentions: int = 12, split: str | None = "test") -> Evaluation:
    run = Run("published", SETTINGS, OUTCOMES, seconds=2.5)
    corpus = Corpus(tuple(one.annotated for one in OUTCOMES), split=split)
    about = About(training=(TrainingSource("trainX.tsv", 1, 0),), machine=describe_system())
    found = summarize([run], corpus, SYSTEMS, resamples=100, about=about)
    return replace(found, corpus=replace(found.corpus, mentions=mentions))


def test_nothing_differs_where_all_is_as_the_card_has_it() -> None:
    own = Bundle.open(default_bundle()).manifest
    manifest = replace(
        own,
        name="medical-mt5-large",
        sources={"generator": replace(own.sources["generator"], name=MODEL)},
        prompt=replace(own.prompt, window=None),
        knowledge_base=replace(
            own.knowledge_base, tables=tuple(TableSource(name, "diagnosis", "0" * 64, 1, 0) for name in TABLES)
        ),
    )
    found = compare_with_card(made(4777), manifest)
    assert found.differences == ()
    assert [one.measured for one in found.scores] == [50.0, 50.0, pytest.approx(200 / 3), pytest.approx(200 / 3)]
    assert (found.run, found.model, found.seconds) == ("published", MODEL, 2.5)
    assert describe_system().processor in found.hardware


def test_what_differs_is_listed() -> None:
    evaluation = made(split=None)
    without = replace(evaluation, about=replace(evaluation.about, training=(), machine=None))
    found = compare_with_card(without, Bundle.open(default_bundle()).manifest)
    told = "\n".join(found.differences)
    for words in (
        "the bundle is mini, made from mini/checkpoint/generator", "the edition is cielo mini 1",
        "60 characters around a mention", "12 mentions, of no split that names tell", "no training mentions",
    ):  # fmt: skip
        assert words in told
    assert "compute type" not in told and found.hardware == ""


@pytest.mark.parametrize(
    ("files", "corpus", "found"),
    [
        (("train/trainX.tsv", "dev/devX.tsv", "test/testX.tsv"), ".", ["dev/devX.tsv", "train/trainX.tsv"]),
        (("train/trainX.tsv", "test/testX.tsv"), "test/testX.tsv", ["train/trainX.tsv"]),
        (("trainX.tsv", "devX.tsv", "testX.tsv"), "testX.tsv", ["devX.tsv", "trainX.tsv"]),
        (("test_s.tsv", "train_s.tsv", "dev_s.tsv"), "test_s.tsv", ["train_s.tsv", "dev_s.tsv"]),
        (("test_s.tsv",), "test_s.tsv", []),
        (("s.tsv", "train_s.tsv"), "s.tsv", []),
        (("testX.tsv",), ".", []),
    ],
)
def test_the_training_splits_beside_a_corpus(
    tmp_path: Path, files: tuple[str, ...], corpus: str, found: list[str]
) -> None:
    for name in files:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("")
    assert [file.relative_to(tmp_path).as_posix() for file in training_beside(tmp_path / corpus)] == found
