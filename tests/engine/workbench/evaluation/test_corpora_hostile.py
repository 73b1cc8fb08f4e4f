"""Whatever the bytes of a corpus are: a corpus, or an error that says what was expected."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from cielo.errors import TableError
from cielo.workbench.evaluation.corpora import (
    CorpusFormat,
    MappedCode,
    read_brat,
    read_code_map,
    read_codiesp,
    read_corpus,
    read_e3c,
    read_rows,
    read_sentences,
)
from cielo.workbench.evaluation.records import Corpus
from corpora_made import (
    CODE_MAP,
    CODIESP,
    MANTRA,
    NOTES,
    NOTES_TEXT,
    PREDICTIONS,
    SENTENCES,
    XMI,
    codiesp,
    write,
)
from hypothesis import given, settings
from hypothesis import strategies as st

MAP = {f"C000000{number}": (MappedCode("R05", "diagnosis"),) for number in range(1, 5)}
ROWS = 'text\tsentence\tkind\tcode\ntos\tTiene tos.\tdiagnosis\tR05\nfiebre\t"Tiene" fiebre.\t\tR50|R50.9\n'
JSON_ROWS = '{"text": "tos", "code": "R05"}\n{"text": "fiebre", "codes": ["R50"], "sentence": "Tiene fiebre."}\n'
# Words of the fixtures' texts; none may come up in what is said about a file.
WORDS = ("fractura", "izquierda", "fiebre", "cefalea", "otitis", "soplo", "queja", "moneda", "placa")
PIECES = st.sampled_from(
    [b"", b"\t", b"\n", b"\r\n", b'"', b"\xff", b"\x00", b"|", b";", b"<", b"&#0;", b"&a;", b"T1\t", b"#", b"-1",
     b"99999", b"\xf0\x9f\xab\x80", b"\xef\xbb\xbf", b"9" * 5000, b"{", b"[" * 3000, b",", b"<!DOCTYPE a>",
     b"CUILESS", b"0 0"]
)  # fmt: skip


@st.composite
def mutated(draw: st.DrawFn, *valid: str) -> bytes:
    """Valid contents with some stretches replaced, or nothing valid at all."""
    if draw(st.integers(0, 9)) == 0:
        return draw(st.binary(max_size=300))
    content = draw(st.sampled_from(valid)).encode()
    for _ in range(draw(st.integers(0, 5))):
        start = draw(st.integers(0, len(content)))
        end = start + draw(st.integers(0, 12))
        content = content[:start] + draw(st.one_of(PIECES, st.binary(max_size=6))) + content[end:]
    return content


def check(corpus: Corpus) -> None:
    assert all(one.codes and all(one.codes) for one in corpus.mentions)
    assert all(isinstance(one.mention.id, str) for one in corpus.mentions)
    said = " ".join(f"{skipped.place} {skipped.reason}" for skipped in corpus.skipped)
    assert not any(word in said.casefold() for word in WORDS)


def attempt(path: Path, format: CorpusFormat) -> None:
    """Read by the format's name, and as the contents tell."""
    readers = {
        "codiesp": lambda: read_codiesp(path),
        "sentences": lambda: read_sentences(path),
        "e3c": lambda: read_e3c(path, MAP),
        "brat": lambda: read_brat(path, MAP),
        "rows": lambda: read_rows(path),
    }
    for read in (readers[format], lambda: read_corpus(path, code_map=MAP)):
        try:
            check(read())
        except TableError as error:
            assert not any(word in str(error).casefold() for word in WORDS)


@pytest.mark.parametrize(
    ("format", "name", "valid"),
    [
        ("sentences", "x.tsv", (SENTENCES, PREDICTIONS)),
        ("rows", "x.tsv", (ROWS,)),
        ("rows", "x.csv", (ROWS.replace("\t", ","),)),
        ("rows", "x.jsonl", (JSON_ROWS,)),
        ("e3c", "x.xml", (XMI,)),
    ],
)
@given(data=st.data())
@settings(max_examples=100, deadline=None)
def test_files(data: st.DataObject, format: CorpusFormat, name: str, valid: tuple[str, ...]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        attempt(write(Path(folder), {name: data.draw(mutated(*valid))}) / name, format)


@given(mutated(CODIESP), mutated("a1\tr52\na1\tr05\n"), mutated(NOTES_TEXT))
@settings(max_examples=100, deadline=None)
def test_folders_of_codiesp(lines: bytes, codes: bytes, text: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        codiesp(Path(folder), lines)
        write(Path(folder), {"trainD.tsv": codes, "text_files/a2.txt": text})
        attempt(Path(folder), "codiesp")


@given(mutated(NOTES, MANTRA), mutated(NOTES_TEXT))
@settings(max_examples=200, deadline=None)
def test_folders_of_brat(lines: bytes, text: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        attempt(write(Path(folder), {"1.ann": lines, "1.txt": text, "2.ann": NOTES, "2.txt": NOTES_TEXT}), "brat")


@given(mutated(CODE_MAP, "CUI|SAB|CODE|STR|ICD10CM_SPA\nC0000001|ICD10CM|R05|Tos|\nC0000002|MSH|D1|fiebre|R50\n"))
@settings(max_examples=200, deadline=None)
def test_maps(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = write(Path(folder), {"map.csv": content}) / "map.csv"
        try:
            found = read_code_map(path)
        except TableError as error:
            assert not any(word in str(error).casefold() for word in WORDS)
            return
        assert found
        assert all(codes and all(one.code for one in codes) for codes in found.values())


@pytest.mark.parametrize("cell", ['"', '"a', 'a"b', '""c', '"a"b"'])
def test_stray_quotes_in_every_line_cost_none_of_them(tmp_path: Path, cell: str) -> None:
    write(tmp_path, {"x.tsv": "words\tsentence\tlabel\n" + f"{cell}a\tR05\tR05\n" * 20_000})
    corpus = read_sentences(tmp_path / "x.tsv")
    assert [one.mention.text for one in corpus.mentions] == [f"{cell}a"] * 20_000
    assert corpus.skipped == ()


def test_a_stray_quote_in_csv_costs_no_more_than_the_lines_next_to_it(tmp_path: Path) -> None:
    lines = ['"roto,R05,R05', *["tos,R05,R05"] * 2_000]
    write(tmp_path, {"x.csv": "words,sentence,label\n" + "\n".join(lines * 10)})
    assert len(read_sentences(tmp_path / "x.csv").mentions) == 20_010
