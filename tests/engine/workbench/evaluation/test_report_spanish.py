"""The page and the tables of an evaluation in Spanish: all of them, and nothing in English that cielo says."""

from __future__ import annotations

import io
from dataclasses import fields, replace

import pytest
from cielo.cli import evaluation_shown
from cielo.said import Said
from cielo.text.language import catalogue, speaking
from cielo.workbench.evaluation.breakdowns import SETTINGS
from cielo.workbench.evaluation.gold import GoldCount, GoldSummary
from cielo.workbench.evaluation.records import RunSettings, SubsetSummary
from cielo.workbench.evaluation.report import to_html
from cielo.workbench.evaluation.results import (
    About,
    CardComparison,
    CardScore,
    Evaluation,
    Example,
    KnowledgeSource,
    TrainingSource,
    to_json,
)
from page_reading import english_left, points_left, read, refers_to_nothing, seen_and_heard
from rich.console import Console
from test_report import KEPT

CARD = CardComparison(
    run="probable",
    model="ezotova",
    scores=(
        CardScore(measure="PLI", split="all", card=70.46, spread=0.32, measured=60.0),
        CardScore(measure="PLII", split="unseen", card=53.49, spread=1.34, measured=None),
    ),
    seconds=12.345,
    hardware=Said("{processor}, {count} cores", processor="CPU", count=2),
    differences=(
        Said(
            "{setting} is {value}; the card's is {card}", setting=Said("decoding"), value="probable", card="published"
        ),
        Said("no training mentions were given or found beside the corpus: what is unseen is not known"),
        Said(
            "the corpus has {count:,} mentions, of the split {split}; CodiEsp's test split has {most:,}",
            count=1286,
            split="dev",
            most=4777,
        ),
        Said("the knowledge base holds the right code of {share:.2f} % of the mentions", share=99.07),
    ),
)
EXAMPLE = Example(
    name="near: parent", mention="hipotermia", sentence="Con hipotermia.", kind="diagnosis", codes=("T68",),
    right_description="Hipotermia", code="T6", description="Otra", generated="Otra",
)  # fmt: skip
GOLD = GoldSummary(GoldCount(1286, 12, 900, 10), {"diagnosis": GoldCount(1286, 12, 900, 10)}, 99.07)


def rich() -> Evaluation:
    """Return an evaluation that has every part of the page."""
    lexicon = replace(KEPT.runs[2], name="probable, with the lexicon, pipeline I")
    comparison = replace(KEPT.comparisons[1], run=lexicon.name)
    return replace(
        KEPT,
        runs=(*KEPT.runs[:2], lexicon),
        comparisons=(KEPT.comparisons[0], comparison),
        card=CARD,
        examples=(EXAMPLE, replace(EXAMPLE, name="none", code=None, sentence=None)),
        gold=GOLD,
        about=replace(
            KEPT.about, made="2026-11-30T10:00:00+00:00", options=("--html x.html",),
            knowledge_base=(KnowledgeSource("d.tsv", "diagnosis", 12345, 2),),
            training=(TrainingSource("train.tsv", 1234, 1),),
        ),
        corpus=replace(
            KEPT.corpus, split="test", notes=(Said(
                "{count:,} documents were read {change}, as their annotations count",
                count=2, change=Said("with LF line ends"),
            ),),
        ),
    )  # fmt: skip


def bare() -> Evaluation:
    """Return an evaluation of one run that has as little as can be."""
    corpus = replace(KEPT.corpus, documents=0, skipped=0, skipped_places=())
    runs = (replace(KEPT.runs[0], splits={"all": KEPT.runs[0].splits["all"]}),)
    return replace(KEPT, runs=runs, comparisons=(), published_missed=None, corpus=corpus, calibration={})


@pytest.mark.parametrize("told", [rich(), bare()], ids=["rich", "bare"])
def test_nothing_that_cielo_says_is_left_in_english(told: Evaluation) -> None:
    with speaking("es"):
        page = to_html(told)
    assert '<html lang="es">' in page
    refers_to_nothing(page)
    assert english_left(page) == []
    assert points_left(page) == []


def test_english_that_is_left_would_be_seen() -> None:
    page = to_html(rich())
    assert len(english_left(page)) > 100
    assert len(points_left(page)) > 50


def test_a_spanish_page_leaves_the_english_one_as_it_was() -> None:
    before = to_html(KEPT)
    with speaking("es"):
        spanish = to_html(KEPT)
        with speaking("en"):
            assert to_html(KEPT) == before
    assert to_html(KEPT) == before
    assert '<html lang="en">' in before
    for tag in ("h2", "h3", "table", "td", "dt", "svg", "circle"):
        assert read(spanish).tags.count(tag) == read(before).tags.count(tag), "the same page but for its words"


def test_the_names_of_runs_classes_and_records_are_said() -> None:
    with speaking("es"):
        texts = " ".join(seen_and_heard(to_html(rich())))
    for words in (
        "probable, con el léxico, pipeline I", "próximo: padre", "CPU, 2 núcleos", "diagnóstico",
        "decodificación: probable; en la ficha, published", "el corpus tiene 1.286 menciones, de la partición dev",
        "2 documentos se leyeron con finales de línea LF", "12.345 filas, 2 rechazadas", "15,4 % de 1.286 textos",
    ):  # fmt: skip
        assert words in texts, words


def test_the_record_stays_as_it_is() -> None:
    told = rich()
    with speaking("es"):
        kept = to_json(told)
    assert kept == to_json(told)
    assert "the card's is published" in kept.decode()


@pytest.mark.parametrize("record", [About, RunSettings, SubsetSummary, TrainingSource, KnowledgeSource])
def test_every_setting_has_a_name(record: type) -> None:
    names = {field.name.replace("_", " ") for field in fields(record)}
    assert names <= set(SETTINGS)
    assert names <= set(catalogue()["sentences"])


def test_the_tables_of_the_terminal_are_spanish(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    monkeypatch.setattr(evaluation_shown, "console", lambda: Console(file=stream, width=300, highlight=False))
    with speaking("es"):
        evaluation_shown.show_scores(rich())
    shown = stream.getvalue()
    assert "la mejor de 3 ejecuciones; la base de conocimiento tiene el código correcto del 99,07 %" in shown
    assert "probable, con el léxico, pipeline I frente a probable: -3,33 puntos" in shown
    for english in (" runs", "answered", "right", "against", "measured", "differs", "per cent", "knowledge base"):
        assert english not in shown
