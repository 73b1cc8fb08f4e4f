"""The tables of shared tasks, codes of SNOMED CT, and splits by their names."""

from __future__ import annotations

from pathlib import Path

import pytest
from cielo.errors import TableError
from cielo.workbench.evaluation.corpora import (
    CodeMap,
    MappedCode,
    detect_format,
    read_brat,
    read_code_map,
    read_corpus,
    read_shared_task,
)
from corpora_made import codiesp, write

TEXT = "Mujer con tos seca y fiebre.\nSe hace biopsia de piel.\n"
HEADER = "filename\tmark\tlabel\toff0\toff1\tspan\tcode\tsemantic_rel\n"
MAP = "snomed,code,kind\n1000001,R05,\n1000002,R50.9,diagnosis\n1000003,0HB,procedure\n1000004,R52,diagnosis\n"


def line(span: str, code: str, label: str = "ENFERMEDAD", file: str = "d1", text: str = TEXT, mark: str = "T1") -> str:
    start = text.index(span)
    return f"{file}\t{mark}\t{label}\t{start}\t{start + len(span)}\t{span}\t{code}\tEXACT\n"


TABLE = HEADER + (
    line("tos seca", "1000001")
    + line("fiebre", "1000002+1000004", mark="T2")
    + line("biopsia de piel", "1000003", "PROCEDIMIENTO", mark="T3")
    + line("Mujer", "NO_CODE", mark="T4")
    + line("piel", "9999999", mark="T5")
)


@pytest.fixture
def codes(tmp_path: Path) -> CodeMap:
    return read_code_map(write(tmp_path / "maps", {"map.csv": MAP}) / "map.csv")


def test_a_table_with_its_texts_by_hand(tmp_path: Path, codes: CodeMap) -> None:
    write(tmp_path, {"corpus/linking/table.tsv": TABLE, "corpus/text_files/d1.txt": TEXT})
    corpus = read_corpus(tmp_path / "corpus" / "linking" / "table.tsv", code_map=codes)
    cough, fever, biopsy = corpus.mentions
    assert (cough.mention.text, cough.mention.kind, cough.codes) == ("tos seca", "diagnosis", ("R05",))
    assert (cough.mention.sentence, cough.mention.id) == ("Mujer con tos seca y fiebre.", "d1:T1")
    assert (cough.document, cough.spans) == ("d1", ((10, 18),))
    assert fever.codes == ("R50.9", "R52"), "of several concepts the codes of all are right"
    assert (biopsy.mention.kind, biopsy.mention.sentence) == ("procedure", "Se hace biopsia de piel.")
    assert (corpus.uncoded, corpus.skipped, corpus.notes, corpus.split) == (2, (), (), None)
    assert read_corpus(tmp_path / "corpus", code_map=codes).mentions == corpus.mentions


@pytest.mark.parametrize("place", ["text_files", "txt", "linking/txt", "ner/txt", "linking"])
def test_texts_are_found_where_the_archives_have_them(tmp_path: Path, codes: CodeMap, place: str) -> None:
    write(tmp_path, {"c/linking/t.tsv": TABLE, f"c/{place}/d1.txt": TEXT})
    assert read_shared_task(tmp_path / "c" / "linking" / "t.tsv", codes).mentions[0].mention.sentence


def test_a_table_alone_gives_mentions_without_sentences_and_says_so(tmp_path: Path, codes: CodeMap) -> None:
    corpus = read_shared_task(write(tmp_path, {"t.tsv": TABLE}) / "t.tsv", codes)
    assert [(one.mention.text, one.mention.sentence) for one in corpus.mentions] == [
        ("tos seca", None), ("fiebre", None), ("biopsia de piel", None),
    ]  # fmt: skip
    assert corpus.notes == ("mentions of 1 documents that have no text file were read without a sentence",)


def test_the_columns_of_the_other_tasks(tmp_path: Path, codes: CodeMap) -> None:
    header = "filename\tann_id\tlabel\tstart_span\tend_span\ttext\tcode\n"
    rows = "d1.txt\tT9\tSINTOMA\t10\t18\ttos seca\t1000001\n"
    path = write(tmp_path, {"t.tsv": header + rows, "txt/d1.txt": TEXT}) / "t.tsv"
    assert detect_format(path) == "shared-task"
    (found,) = read_corpus(path, code_map=codes).mentions
    assert (found.document, found.mention.id, found.mention.kind) == ("d1", "d1:T9", "diagnosis")


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (line("tos", "R05"), "the line's code is none of a concept"),
        (line("tos", ""), "no filename or no code"),
        (line("tos", "1000001", file=""), "no filename or no code"),
        (line("tos", "1000001", file="../d1"), "no name of a file"),
        (line("tos", "1000001").replace("\t10\t", "\tten\t"), "the offsets are not as expected"),
        (line("tos", "1000001").replace("\t10\t13\t", "\t3\t6\t"), "is not the annotated one"),
        (line("tos", "1000001").replace("\t13\t", "\t9999\t"), "expected 0 <= start <= end"),
    ],
)
def test_lines_that_cannot_be_read_are_named_and_the_others_stay(
    tmp_path: Path, codes: CodeMap, row: str, reason: str
) -> None:
    write(tmp_path, {"t.tsv": TABLE + row, "txt/d1.txt": TEXT})
    corpus = read_shared_task(tmp_path / "t.tsv", codes)
    assert len(corpus.mentions) == 3
    (skipped,) = corpus.skipped
    assert skipped.place == "t.tsv, line 7"
    assert reason in skipped.reason and "seca" not in skipped.reason


def test_of_several_tables_one_is_to_be_named(tmp_path: Path, codes: CodeMap) -> None:
    write(tmp_path, {"a/train.tsv": TABLE, "b/test.tsv": TABLE})
    with pytest.raises(TableError, match=r"there are a/train\.tsv, b/test\.tsv; name one of them"):
        read_shared_task(tmp_path, codes)
    assert read_corpus(tmp_path / "a" / "train.tsv", code_map=codes).split == "train"
    with pytest.raises(TableError, match="--code-map"):
        read_corpus(tmp_path / "a" / "train.tsv")


def test_concepts_of_snomed_may_be_numbers(tmp_path: Path) -> None:
    rows = '{"snomed": 1000001, "code": "R05"}\n{"snomed": 7, "code": "R05"}\n{"snomed": true, "code": "R05"}\n'
    found = read_code_map(write(tmp_path, {"map.jsonl": rows}) / "map.jsonl")
    assert dict(found) == {"1000001": (MappedCode("R05"),)}
    assert len(found.skipped) == 2
    without = read_code_map(write(tmp_path, {"map.tsv": "1000001\tR05\tdiagnosis\n"}) / "map.tsv")
    assert dict(without) == {"1000001": (MappedCode("R05", "diagnosis"),)}


def test_notes_may_have_the_cui_behind_the_name(tmp_path: Path) -> None:
    notes = (
        "T1\tDISO 10 18\ttos seca\n#1\tAnnotatorNotes T1\tDry cough (C0000001)\n"
        "T2\tDISO 21 27\tfiebre\n#2\tAnnotatorNotes T2\tFever (finding) (C0000002) | Heat (C0000003)\n"
        "T3\tDISO 0 5\tMujer\n#3\tAnnotatorNotes T3\tWoman (person)\n"
    )
    codes = CodeMap({f"C000000{number}": (MappedCode(f"R0{number}"),) for number in (1, 2, 3)})
    corpus = read_brat(write(tmp_path, {"a.ann": notes, "a.txt": TEXT}), codes)
    assert [one.codes for one in corpus.mentions] == [("R01",), ("R02", "R03")]
    (skipped,) = corpus.skipped
    assert "`name (CUI)`" in skipped.reason


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("train_sentences.csv", "train"), ("a/model_test_predictions.csv", "test"), ("Validation/a.csv", "dev"),
        ("dev.csv", "dev"), ("heldout.csv", None), ("train_and_test.csv", None), ("tested.csv", None),
        ("test_mentions/a.csv", None), ("train/test.csv", "test"), ("distemist_training1.csv", "train"),
    ],
)  # fmt: skip
def test_the_split_is_what_names_say(tmp_path: Path, name: str, split: str | None) -> None:
    assert read_corpus(write(tmp_path, {name: "text,code\ntos,R05\n"}) / name).split == split


def test_the_split_of_codiesp_is_that_of_its_file(tmp_path: Path) -> None:
    corpus = codiesp(tmp_path / "corpus")
    assert read_corpus(corpus).split == "train"
    (corpus / "trainX.tsv").rename(corpus / "ownX.tsv")
    assert read_corpus(corpus).split is None
    corpus.rename(tmp_path / "dev")
    assert read_corpus(tmp_path / "dev").split == "dev"
