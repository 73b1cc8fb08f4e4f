from __future__ import annotations

import json
from pathlib import Path

import pytest
from cielo.errors import TableError
from cielo.workbench.evaluation.corpora import (
    CORPUS_FORMATS,
    CorpusFormat,
    detect_format,
    read_code_map,
    read_codiesp,
    read_corpus,
    read_rows,
    read_sentences,
)
from corpora_made import (
    ARTICLE,
    CODE_MAP,
    CODIESP,
    MANTRA,
    MANTRA_TEXT,
    PREDICTIONS,
    SENTENCES,
    XMI,
    codiesp,
    write,
)

MINI = Path(__file__).parents[4] / "models" / "mini" / "heldout.tsv"


def test_codiesp_gives_the_corpus_s_texts_and_codes_with_the_sentence_of_the_first_fragment(tmp_path: Path) -> None:
    corpus = read_codiesp(codiesp(tmp_path), "train")
    first, second, third, fourth, fifth = corpus.mentions
    assert (first.mention.text, first.mention.kind, first.codes) == ("fractura de tibia", "diagnosis", ("s82.209b",))
    assert first.mention.sentence == "Mujer con fractura abierta de tibia."
    assert [ARTICLE[start:end] for start, end in first.spans] == ["fractura", "de tibia"]
    assert (first.document, first.mention.id) == ("a1", "a1:1")
    assert (second.mention.kind, second.mention.sentence) == ("procedure", "Se hace TAC y Rx de rodilla izquierda.")
    assert (third.codes, len(third.spans)) == (("0210",), 1)
    assert (fourth.codes, fourth.mention.text) == (("NA",), 'dolor "leve"')
    assert fifth.mention.text == "leve dolor"
    assert corpus.document_codes == {("a1", "diagnosis"): ("s82.209b", "r52"), ("a1", "procedure"): ("0210",)}
    assert (corpus.skipped, corpus.uncoded) == ((), 0)


def test_codiesp_may_lie_in_a_folder_for_each_split(tmp_path: Path) -> None:
    codiesp(tmp_path / "train")
    for name in ("devX.tsv", "devD.tsv", "devP.tsv"):
        content = (tmp_path / "train" / name.replace("dev", "train")).read_text(encoding="utf-8")
        write(tmp_path / "dev", {name: content, "text_files/a1.txt": ARTICLE})
    assert read_codiesp(tmp_path, "train").mentions == read_codiesp(tmp_path, "dev").mentions
    assert read_corpus(tmp_path / "dev" / "devX.tsv") == read_corpus(tmp_path, split="dev")
    with pytest.raises(TableError, match="there are dev, train; name one split"):
        read_codiesp(tmp_path)
    with pytest.raises(TableError, match="no split test, there are dev, train"):
        read_codiesp(tmp_path, "test")


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("a1\tDIAGNOSTICO\tr52\tdolor", "the line has 4 columns; expected 5"),
        ("a1\tOTRO\tr52\tdolor\t0 5", "DIAGNOSTICO or PROCEDIMIENTO in the second column"),
        ("a1\tDIAGNOSTICO\t \tdolor\t0 5", "a code in the third column"),
        ("a9\tDIAGNOSTICO\tr52\tdolor\t0 5", "the document has no text file"),
        ("../a1\tDIAGNOSTICO\tr52\tdolor\t0 5", "no name of a file"),
        ("a\0b\tDIAGNOSTICO\tr52\tdolor\t0 5", "no name of a file"),
        ("a" * 400 + "\tDIAGNOSTICO\tr52\tdolor\t0 5", "cannot be read"),
        ("a1\tDIAGNOSTICO\tr52\tdolor\t0-5", "`start end[;start end…]`"),
        ("a1\tDIAGNOSTICO\tr52\tdolor\t;", "`start end[;start end…]`"),
        ("a1\tDIAGNOSTICO\tr52\tdolor\t-1 5", "`start end[;start end…]`"),
        ("a1\tDIAGNOSTICO\tr52\tdolor\t0 999", "expected 0 <= start <= end <= 100"),
        ("a1\tDIAGNOSTICO\tr52\tdolor\t5 5", "is empty"),
        ("a1\tDIAGNOSTICO\tr52\t \t0 5", "the mention's text is empty"),
        (b"a1\tDIAGNOSTICO\tr52\tdol\xf3r\t0 5", "is not UTF-8"),
        ("a2\tDIAGNOSTICO\tr52\tdolor\t0 5", "is not UTF-8"),
    ],
)
def test_a_line_of_codiesp_that_cannot_be_read_is_named_and_the_others_stay(
    tmp_path: Path, line: str | bytes, reason: str
) -> None:
    assert len(ARTICLE) == 100
    line = line.encode() if isinstance(line, str) else line
    codiesp(tmp_path, line + b"\r\n\r\n" + CODIESP.encode())
    write(tmp_path, {"text_files/a2.txt": "dolor de hígado".encode("latin-1")})
    corpus = read_codiesp(tmp_path)
    assert len(corpus.mentions) == 5
    (skipped,) = corpus.skipped
    assert skipped.place == "trainX.tsv, line 1"
    assert reason in skipped.reason
    assert "dolor" not in skipped.reason


def test_lines_of_documents_codes_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    codiesp(tmp_path)
    write(tmp_path, {"trainD.tsv": b"a1\tr52\na1 r53\na1\t\xff\n\n", "trainP.tsv": ""})
    corpus = read_codiesp(tmp_path)
    assert corpus.document_codes == {("a1", "diagnosis"): ("r52",)}
    assert [skipped.place for skipped in corpus.skipped] == ["trainD.tsv, line 2", "trainD.tsv, line 3"]


def test_sentence_files_are_read_as_pandas_writes_them(tmp_path: Path) -> None:
    write(tmp_path, {"a.tsv": SENTENCES})
    first, second, third = read_sentences(tmp_path / "a.tsv").mentions
    assert (first.mention.text, first.mention.kind, first.codes) == ("tos seca", "diagnosis", ("R05",))
    assert (first.description, first.document, first.generated, first.spans) == ("Tos", "a1", None, ())
    assert first.mention.sentence == "Refiere tos seca, fiebre y mal estado."
    assert second.mention.sentence == 'Con aspecto de "moneda" en la placa.'
    assert (second.codes, second.description, second.mention.kind) == (("0016",), None, "procedure")
    assert third.mention.sentence == 'Sonda de 8" y "tubo" de goma.'
    assert third.codes == ("T68.XXX", "T68")  # another edition's code for the same description is right too
    assert len({one.mention.id for one in (first, second, third)}) == 3


def test_prediction_files_hold_outputs_and_may_be_csv(tmp_path: Path) -> None:
    write(tmp_path, {"a.csv": PREDICTIONS, "b.tsv": "\ufeffwords\tlabel\tsentence\n\na\tR05\t\n"})
    first, second = read_sentences(tmp_path / "a.csv").mentions
    assert (first.generated, first.mention.sentence) == ("tos", "Refiere tos seca, fiebre.")
    assert (second.generated, second.mention.sentence) == ("", 'Se hace\nplaca "de pie".')
    (bare,) = read_sentences(tmp_path / "b.tsv").mentions
    assert (bare.mention.sentence, bare.mention.kind, bare.document) == (None, None, None)


def test_a_stray_quote_costs_no_other_line(tmp_path: Path) -> None:
    lines = [f'"roto {number}\tfrase\tR0{number}' for number in range(9)]
    write(tmp_path, {"a.tsv": "\n".join(["words\tsentence\tlabel", *lines, 'a\t"x"y\tR1', '"z"\t"s"\t"R2"'])})
    corpus = read_sentences(tmp_path / "a.tsv")
    assert corpus.skipped == ()
    assert [one.codes[0] for one in corpus.mentions] == [*(f"R0{number}" for number in range(9)), "R1", "R2"]
    assert corpus.mentions[0].mention.text == '"roto 0'
    assert (corpus.mentions[-1].mention.text, corpus.mentions[-2].mention.sentence) == ("z", '"x"y')


def test_lines_of_sentence_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    bad = b"a\tb\nc\td\t\t\n\t\tR05\tDIAGNOSTICO\nx\ty\tR05\tTOS\n\xff\ty\tR05\t\nx\t\xc3\xb1\tR05\t\n"
    write(tmp_path, {"a.tsv": b"words\tsentence\tlabel\tlabel_type\n" + bad})
    corpus = read_sentences(tmp_path / "a.tsv")
    assert [one.mention.text for one in corpus.mentions] == ["x"]
    assert [skipped.place for skipped in corpus.skipped] == [f"a.tsv, line {number}" for number in range(2, 7)]
    says = ["has 2 columns; the header has 4", "no code", "text is empty", "label_type", "UTF-8"]
    assert all(part in skipped.reason for part, skipped in zip(says, corpus.skipped, strict=True))


def test_rows_of_our_own_are_read_in_each_format(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "a.tsv": "text\tsentence\tkind\tcode\thow\tpred\ntos\tTiene tos.\tdiagnosis\tR05|R05.9\tvariant\tTos\n",
            "a.csv": 'text,sentence,kind,codes,generated\ntos,Tiene tos.,diagnosis,"R05|R05.9",Tos\n',
            "a.jsonl": json.dumps(
                {"text": "tos", "sentence": "Tiene tos.", "kind": "diagnosis", "codes": ["R05", "R05.9"], "pred": "Tos"}
            ),
        },
    )
    for name, row in (("a.tsv", "2"), ("a.csv", "2"), ("a.jsonl", "1")):
        (found,) = read_rows(tmp_path / name).mentions
        mention = found.mention
        assert (mention.text, mention.sentence, mention.kind, mention.id) == ("tos", "Tiene tos.", "diagnosis", row)
        assert (found.codes, found.generated) == (("R05", "R05.9"), "Tos")


def test_rows_may_name_their_document_and_their_description(tmp_path: Path) -> None:
    row = {"text": "tos", "code": "0016", "id": 7, "document": "d", "description": "Tos"}
    write(tmp_path, {"a.jsonl": json.dumps(row)})
    (found,) = read_rows(tmp_path / "a.jsonl").mentions
    assert (found.mention.id, found.document, found.description, found.codes) == ("7", "d", "Tos", ("0016",))


def test_rows_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    rows = [{"text": "tos"}, {"text": "tos", "code": 16}, {"code": "R05"}, {"text": "tos", "code": "R05", "pred": 1}]
    lines = [*map(json.dumps, rows), "{", json.dumps({"text": "tos", "code": "R05"})]
    write(tmp_path, {"a.jsonl": "\n".join(lines), "b.tsv": "text\tcode\ntos\nfiebre\tR50\n"})
    corpus = read_rows(tmp_path / "a.jsonl")
    assert len(corpus.mentions) == 1
    assert [skipped.place for skipped in corpus.skipped] == [f"a.jsonl, line {number}" for number in range(1, 6)]
    assert [skipped.place for skipped in read_rows(tmp_path / "b.tsv").skipped] == ["b.tsv, line 2"]


def test_the_mini_s_held_out_mentions_are_rows() -> None:
    corpus = read_corpus(MINI)
    assert len(corpus.mentions) > 1000
    assert corpus.skipped == ()
    assert {one.mention.kind for one in corpus.mentions} == {"diagnosis", "procedure"}


@pytest.mark.parametrize(
    ("name", "files", "expected"),
    [
        (".", {"trainX.tsv": CODIESP, "text_files/a1.txt": ARTICLE}, "codiesp"),
        (".", {"train/trainX.tsv": CODIESP, "train/text_files/a1.txt": ARTICLE}, "codiesp"),
        ("trainX.tsv", {"trainX.tsv": CODIESP, "text_files/a1.txt": ARTICLE}, "codiesp"),
        ("x", {"x": SENTENCES}, "sentences"),
        ("x", {"x": "\ufeff" + PREDICTIONS}, "sentences"),
        ("x", {"x": XMI}, "e3c"),
        (".", {"es/x.xml": XMI}, "e3c"),
        ("x.ann", {"x.ann": MANTRA, "x.txt": MANTRA_TEXT}, "brat"),
        (".", {"es/x.1.ann": MANTRA, "es/x.1.txt": MANTRA_TEXT}, "brat"),
        ("x.jsonl", {"x.jsonl": '{"text": "tos", "code": "R05"}'}, "rows"),
        ("x.csv", {"x.csv": '"text","code"\ntos,R05\n'}, "rows"),
        ("x.tsv", {"x.tsv": "code\ttext\nR05\ttos\n"}, "rows"),
    ],
)
def test_formats_are_known_by_their_contents(
    tmp_path: Path, name: str, files: dict[str, str | bytes], expected: CorpusFormat
) -> None:
    write(tmp_path / "c", files)
    write(tmp_path, {"map.csv": CODE_MAP})
    path = tmp_path / "c" / name
    assert detect_format(path) == expected
    code_map = read_code_map(tmp_path / "map.csv")
    corpus = read_corpus(str(path), code_map=code_map)
    assert corpus.mentions
    assert corpus == read_corpus(path, expected, code_map=code_map)


@pytest.mark.parametrize("content", ["", "hola\n", "text\n", b"\xff\xfe\x00", "{}"])
@pytest.mark.parametrize("format", CORPUS_FORMATS)
def test_what_is_no_corpus_says_what_was_expected(tmp_path: Path, content: str | bytes, format: CorpusFormat) -> None:
    write(tmp_path, {"x.tsv": content})
    with pytest.raises(TableError, match=r"expected|no column"):
        read_corpus(tmp_path / "x.tsv", format, code_map={})


@pytest.mark.parametrize("format", [None, *CORPUS_FORMATS])
def test_what_is_not_there_or_empty_is_an_error(tmp_path: Path, format: CorpusFormat | None) -> None:
    for path in (tmp_path / "none", tmp_path, tmp_path / "a\0b"):
        with pytest.raises(TableError):
            read_corpus(path, format, code_map={})


def test_unknown_formats_are_refused(tmp_path: Path) -> None:
    write(tmp_path, {"x.txt": "hola\n"})
    with pytest.raises(TableError, match="name it"):
        read_corpus(tmp_path / "x.txt")
    with pytest.raises(TableError, match="given as 'conll'; expected one of codiesp"):
        read_corpus(tmp_path / "x.txt", "conll")  # type: ignore[arg-type]
