"""Stored outputs against tables, with the mini's encoder for pipeline II; every expected score is worked out by hand.

The rows, in the order of the file, and what each table has for them (first rows win as published):

1. diagnosis T68: the twin of a procedure's description; the table is chosen by the kind.
2. procedure 6A4Z0ZZ: its lower-case twin 6A4Z stands first. To the letter it is right, as published it is 6A4Z.
3. procedure BW20: written as in the table, runs of spaces apart.
4. procedure BW201ZZ, written in lower case: to the letter that is BW20, and BW201ZZ comes second.
5. diagnosis A01.0: the description belongs to A01 too, which stands first.
6. diagnosis M54.5: no description, but a near one.
7. diagnosis I10: nothing was generated.
8. procedure 0DTJ: agrees in normal form alone.
9. procedure, whose code no table has: nothing near.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cielo.bundle.layout import Bundle, default_bundle
from cielo.errors import BundleError, TableError
from cielo.knowledge.code_tables import CodeTable
from cielo.knowledge.codes import System
from cielo.options import LinkOptions
from cielo.records import Mention
from cielo.retrieval.embedder import Embedder
from cielo.retrieval.index import Index
from cielo.workbench.evaluation.corpora import read_corpus
from cielo.workbench.evaluation.records import Annotated, Corpus
from cielo.workbench.evaluation.replay import open_replay
from cielo.workbench.evaluation.results import About, SplitScores
from cielo.workbench.evaluation.run import Replay, Run, seen_texts, stored_only
from cielo.workbench.evaluation.summary import summarize

DIAGNOSES = """codigo	descripcion
T68	Hipotermia
A01	Fiebre tifoidea
A01.0	Fiebre tifoidea
I10	Hipertensión esencial (primaria)
M54.5	Lumbago no especificado
"""
PROCEDURES = """codigo	descripcion
6A4Z	hipotermia
6A4Z0ZZ	Hipotermia
BW20	tomografía computarizada (tc) de abdomen
BW201ZZ	Tomografía computarizada (TC) de abdomen
0DTJ	resección de apéndice
"""
D, P = "DIAGNOSTICO", "PROCEDIMIENTO"
ROWS = [
    ("a", "frío intenso", "t68", D, "Hipotermia", "Hipotermia"),
    ("a", "hipotermia inducida", "6a4z0zz", P, "Hipotermia", "Hipotermia"),
    ("b", "TC  de abdomen", "bw20", P, "tomografía computarizada (tc) de abdomen",
     "tomografía computarizada  (tc) de abdomen "),
    ("b", "TAC abdominal", "bw201zz", P, "Tomografía computarizada (TC) de abdomen",
     "tomografía computarizada (tc) de abdomen"),
    ("b", "tifoidea", "a01.0", D, "Fiebre tifoidea", "Fiebre tifoidea"),
    ("c", "lumbalgia", "m54.5", D, "Lumbago no especificado", "Lumbagos no especificados"),
    ("c", "HTA", "i10", D, "Hipertensión esencial (primaria)", ""),
    ("c", "apendicectomía", "0dtj", P, "resección de apéndice", "RESECCION  de apéndice"),
    ("c", "algo", "3e03", P, "otra cosa", "Qwertz uiop"),
]  # fmt: skip
HEADER = ("file_id", "words", "label", "label_type", "descripcion", "pred", "sentence")
SEEN = ("frío intenso", "TC de\u00a0abdomen", "HTA", "tifoideas")


def tables(folder: Path) -> list[CodeTable]:
    (folder / "diagnosis.tsv").write_text(DIAGNOSES, encoding="utf-8")
    (folder / "procedure.tsv").write_text(PROCEDURES, encoding="utf-8")
    return [CodeTable(folder / f"{kind}.tsv", kind) for kind in ("diagnosis", "procedure")]


def predictions(folder: Path) -> Corpus:
    lines = [HEADER, *((*row, f"Frase con {row[1]}.") for row in ROWS)]
    file = folder / "predictions.tsv"
    file.write_text("".join("\t".join(line) + "\n" for line in lines), encoding="utf-8")
    return read_corpus(file)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    return predictions(tmp_path_factory.mktemp("corpus"))


@pytest.fixture(scope="module")
def replay(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Replay]:
    folder = tmp_path_factory.mktemp("tables")
    with open_replay(folder, tables(folder), Bundle.open(default_bundle()), threads=1) as opened:
        yield opened


def answers(run: Run) -> list[str | None]:
    return [outcome.code for outcome in run.outcomes]


def ranked(run: Run) -> list[tuple[str, ...]]:
    return [outcome.ranked for outcome in run.outcomes]


def split(run: Run, corpus: Corpus, name: str = "all") -> SplitScores:
    systems: dict[str, System] = {"diagnosis": "icd-10-cm", "procedure": "icd-10-pcs"}
    return summarize([run], corpus, systems, resamples=100, about=About()).splits[name]


def test_pipeline_one_by_hand(replay: Replay, corpus: Corpus) -> None:
    run = replay.run(corpus, "stored", LinkOptions(pipeline="I"))
    assert answers(run) == ["T68", "6A4Z0ZZ", "BW20", "BW20", "A01", None, None, "0DTJ", None]
    assert ranked(run) == [
        ("T68",), ("6A4Z0ZZ", "6A4Z"), ("BW20", "BW201ZZ"), ("BW20", "BW201ZZ"), ("A01", "A01.0"),
        (), (), ("0DTJ",), (),
    ]  # fmt: skip
    found = split(run, corpus)
    assert found.plii is None
    assert (found.count, found.right, found.no_answer, found.no_exact_match) == (9, 4, 3, 3)
    assert found.pli == pytest.approx(100 * 4 / 9)  # 1, 2, 3, 8
    assert found.accuracy_3 == pytest.approx(100 * 6 / 9)  # and 4 (BW2), 5 (A01)
    assert found.recall_at_3 == found.recall_at_5 == pytest.approx(100 * 6 / 9)
    assert found.mrr == pytest.approx(100 * (4 + 1 / 2 + 1 / 2) / 9)
    assert found.coverage == pytest.approx(100 * 6 / 9)
    assert found.accuracy_covered == pytest.approx(100 * 4 / 6)
    assert found.described == 9
    assert found.text_accuracy == pytest.approx(100 * 4 / 9)  # 1, 2, 3, 5
    assert found.normal_text_accuracy == pytest.approx(100 * 6 / 9)  # and 4, 8


@pytest.mark.parametrize("matching", ["tiered", "published"])
def test_placeholders_count_in_stored_predictions(replay: Replay, corpus: Corpus, matching: Any) -> None:
    first = corpus.mentions[0]
    padded = replace(corpus, mentions=(first, replace(first, codes=("T68.XXX",))))
    run = replay.run(padded, "stored", LinkOptions(pipeline="I", matching=matching))
    assert answers(run) == ["T68", "T68"]
    assert [outcome.known for outcome in run.outcomes] == [True, False]
    assert split(run, padded).pli == 50.0


def test_pipeline_one_as_published_by_hand(replay: Replay, corpus: Corpus) -> None:
    run = replay.run(corpus, "stored", LinkOptions(pipeline="I", matching="published"))
    assert answers(run) == ["T68", "6A4Z", "BW20", "BW20", "A01", None, None, "0DTJ", None]
    assert all(len(codes) <= 1 for codes in ranked(run))  # the first row alone
    found = split(run, corpus)
    assert found.pli == pytest.approx(100 * 3 / 9)  # 1, 3, 8
    assert found.accuracy_3 == pytest.approx(100 * 6 / 9)  # and 2 (6A4), 4, 5
    assert found.mrr == found.recall_at_5 == pytest.approx(100 * 3 / 9)
    assert found.text_accuracy == pytest.approx(100 * 4 / 9)  # of the texts, whatever they are matched with


def test_seen_and_unseen_by_hand(replay: Replay, corpus: Corpus) -> None:
    # Runs of spaces apart, the training mentions' texts are those of rows 1, 3 and 7: `tifoideas` is another text.
    training = Corpus(tuple(Annotated(Mention(text), ("A00",)) for text in SEEN))
    run = replay.run(corpus, "stored", LinkOptions(pipeline="I"), seen=seen_texts([training]))
    seen, unseen = split(run, corpus, "seen"), split(run, corpus, "unseen")
    assert (seen.count, unseen.count, split(run, corpus).count) == (3, 6, 9)
    assert seen.pli == pytest.approx(100 * 2 / 3)
    assert unseen.pli == pytest.approx(100 * 2 / 6)  # 2 and 8 of 2, 4, 5, 6, 8, 9
    assert unseen.accuracy_3 == pytest.approx(100 * 4 / 6)
    assert unseen.mrr == pytest.approx(100 * (2 + 1 / 2 + 1 / 2) / 6)
    assert unseen.text_accuracy == pytest.approx(100 * 2 / 6)


def test_pipeline_two_by_hand(replay: Replay, corpus: Corpus) -> None:
    run = replay.run(corpus, "stored", LinkOptions(pipeline="II"))
    assert answers(run) == ["T68", "6A4Z0ZZ", "BW20", "BW20", "A01", "M54.5", None, "0DTJ", None]
    methods = [outcome.method for outcome in run.outcomes]
    assert methods == ["exact"] * 5 + ["semantic", "none", "exact", "none"]
    # What is near is looked for only where nothing matches, and nothing is near to an empty output.
    assert [outcome.distance is not None for outcome in run.outcomes] == [False] * 5 + [True, False, False, True]
    distances = [run.outcomes[row].distance for row in (5, 8)]
    assert distances[0] is not None and distances[1] is not None
    assert distances[0] <= replay.max_distance < distances[1]
    found = split(run, corpus)
    assert found.pli == pytest.approx(100 * 4 / 9)
    assert found.plii == pytest.approx(100 * 5 / 9)
    assert (found.no_exact_match, found.no_answer) == (3, 2)
    assert run.settings.pipeline == "II"
    assert run.settings.name == "mini"


def test_pipeline_two_as_published_answers_however_far_the_nearest_is(replay: Replay, corpus: Corpus) -> None:
    run = replay.run(corpus, "stored", LinkOptions(pipeline="II", matching="published"))
    assert answers(run)[:8] == ["T68", "6A4Z", "BW20", "BW20", "A01", "M54.5", None, "0DTJ"]
    last = run.outcomes[8]
    assert last.method == "semantic"
    assert last.kind == "procedure"
    assert last.distance is not None and last.distance > replay.max_distance
    found = split(run, corpus)
    assert found.pli == pytest.approx(100 * 3 / 9)
    assert found.plii == pytest.approx(100 * 4 / 9)  # row 9's code is in no table
    assert found.no_answer == 1


def test_as_published_queries_are_in_lower_case_and_search_is_exact(
    replay: Replay, corpus: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[list[str]] = []
    embed = Embedder.embed

    def spy(self: Embedder, texts: Any) -> Any:
        asked.append(list(texts))
        return embed(self, texts)

    def refuse(*_: object) -> None:
        raise AssertionError("the graph was searched")

    monkeypatch.setattr(Embedder, "embed", spy)
    replay.run(corpus, "stored", LinkOptions(pipeline="II"))
    monkeypatch.setattr(Index, "search", refuse)
    replay.run(corpus, "stored", LinkOptions(pipeline="II", matching="published"))
    assert asked == [["Lumbagos no especificados", "Qwertz uiop"], ["lumbagos no especificados", "qwertz uiop"]]


def test_as_published_the_nearest_description_is_that_of_brute_force(replay: Replay, corpus: Corpus) -> None:
    embedder = replay.resolver._embedder
    assert embedder is not None
    texts = [line.split("\t")[1] for line in PROCEDURES.splitlines()[1:]]  # as they are written, not in lower case
    near = embedder.embed(texts) @ embedder.embed(["qwertz uiop"])[0]
    outcome = replay.run(corpus, "stored", LinkOptions(pipeline="II", matching="published")).outcomes[8]
    assert outcome.description == texts[int(np.argmax(near))]
    assert outcome.distance == pytest.approx(2 - 2 * float(near.max()), abs=1e-4)


def test_a_mention_without_a_kind_is_answered_from_all_tables(replay: Replay, tmp_path: Path) -> None:
    file = tmp_path / "predictions.csv"
    file.write_text("text,code,pred\nfrío,6A4Z,hipotermia\nfrío,6A4Z,Hipotermia\n", encoding="utf-8")
    corpus = read_corpus(file)
    run = replay.run(corpus, "stored", LinkOptions(pipeline="I"))
    # To the letter in the order of the tables (T68, then 6A4Z0ZZ for the capital), then in normal form.
    assert ranked(run) == [("6A4Z", "T68", "6A4Z0ZZ"), ("T68", "6A4Z0ZZ", "6A4Z")]
    assert answers(replay.run(corpus, "stored", LinkOptions(pipeline="I", matching="published"))) == ["T68", "T68"]


def test_top_k_bounds_the_candidates(replay: Replay, corpus: Corpus) -> None:
    run = replay.run(corpus, "stored", LinkOptions(pipeline="I", top_k=1))
    assert ranked(run)[3] == ("BW20",)
    assert run.settings.top_k == 1
    assert split(run, corpus).mrr == pytest.approx(100 * 4 / 9)


def test_nothing_is_claimed_that_a_stored_output_does_not_tell(replay: Replay, corpus: Corpus) -> None:
    run = replay.run(corpus, "stored", LinkOptions(pipeline="II"))
    assert {(outcome.probability, outcome.confidence) for outcome in run.outcomes} == {(None, None)}
    assert run.links == ()
    assert run.seconds is None
    assert {outcome.seen for outcome in run.outcomes} == {None}
    assert run.settings.decoding == "stored"


def test_more_rows_than_are_resolved_at_once(replay: Replay, corpus: Corpus) -> None:
    many = Corpus(corpus.mentions * 60)
    assert answers(replay.run(many, "stored", LinkOptions(pipeline="I"))) == 60 * answers(
        replay.run(corpus, "stored", LinkOptions(pipeline="I"))
    )


def test_every_row_of_the_tables_counts_whatever_its_code_looks_like(tmp_path: Path) -> None:
    file = tmp_path / "table.csv"
    file.write_text("code,description\nB020,Uno\nOI-1,Dos\n0016,Tres\n0017,Cuatro\n0018,Cinco\n", encoding="utf-8")
    with open_replay(tmp_path, [CodeTable(file, "any")]) as opened:
        base = opened.resolver.knowledge_base
        assert base.codes("any") == ["B020", "OI-1", "0016", "0017", "0018"]
        assert [source.rejected for source in base.sources] == [0]
        assert opened.encoder == opened.encoder_sha256 == ""
        assert opened.edition == "table.csv"
    with pytest.raises(BundleError, match="closed"):
        base.codes("any")


def test_systems_are_told_by_the_codes(replay: Replay) -> None:
    assert replay.systems == {"diagnosis": "icd-10-cm", "procedure": "icd-10-pcs"}


def test_a_table_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(TableError), open_replay(tmp_path, [CodeTable(tmp_path / "none.tsv", "any")]):
        pass


def test_stored_only_keeps_what_can_be_resolved_and_tells_the_rest(corpus: Corpus) -> None:
    without = replace(corpus.mentions[0], generated=None)
    rows = Corpus((*corpus.mentions[:2], without), corpus.skipped, uncoded=3)
    kept = stored_only(rows, ("diagnosis",))
    assert [entry.mention.text for entry in kept.mentions] == ["frío intenso"]
    assert [entry.place for entry in kept.skipped] == ["mention 2", "mention 3"]
    assert "diagnosis" in kept.skipped[0].reason
    assert "`pred`" in kept.skipped[1].reason
    assert kept.uncoded == 3
    assert all("frío" not in entry.reason and "hipotermia" not in entry.reason for entry in kept.skipped)


def test_seen_texts_are_compared_without_runs_of_spaces_and_nothing_else(tmp_path: Path) -> None:
    file = tmp_path / "train.csv"
    file.write_text('text,code\n"dolor \u00a0 leve ",R52\nDolor leve,R52\n', encoding="utf-8")
    assert seen_texts([read_corpus(file), Corpus(())]) == {"dolor leve", "Dolor leve"}
