"""Texts whose line ends changed after they were annotated."""

from __future__ import annotations

from pathlib import Path

import pytest
from cielo.workbench.evaluation.corpora import CodeMap, read_brat, read_code_map, read_codiesp, read_e3c
from cielo.workbench.evaluation.corpora.line_ends import fitting_text
from cielo.workbench.evaluation.records import Corpus
from hypothesis import given
from hypothesis import strategies as st

TEXT = "Mujer de 40 años.\n\nIngresa por neumonía\nbasal derecha.\nNiega tos.\nTiene dolor torácico desde ayer.\n"
ANNOTATED = {"neumonía": "j18.9", "neumonía\nbasal": "j18.9", "tos": "r05", "dolor torácico": "r07.9", "Mujer": "z00"}
BOM = "\ufeff"


def at(text: str, part: str) -> str:
    return f"{text.index(part)} {text.index(part) + len(part)}"


def crlf(text: str) -> str:
    return text.replace("\n", "\r\n")


def codiesp(folder: Path, annotated: str, stored: str, parts: dict[str, str] = ANNOTATED) -> Corpus:
    """A corpus of one document, whose text is `stored` where `annotated` is what its offsets were counted in."""
    (folder / "text_files").mkdir(parents=True)
    (folder / "text_files" / "d1.txt").write_bytes(stored.encode())
    lines = [
        f"d1\tDIAGNOSTICO\t{code}\t{part.replace(chr(10), ' ')}\t"
        + at(annotated, part if part in annotated else crlf(part))
        for part, code in parts.items()
    ]
    (folder / "trainX.tsv").write_bytes("\n".join(lines).encode())
    return read_codiesp(folder)


READINGS = [
    (TEXT, TEXT, None),
    (crlf(TEXT), crlf(TEXT), None),
    (TEXT, crlf(TEXT), "with LF line ends"),
    (crlf(TEXT), TEXT, "with CRLF line ends"),
    (TEXT, BOM + TEXT, "without their byte order mark"),
    (BOM + TEXT, BOM + TEXT, None),
    (TEXT, BOM + crlf(TEXT), "with LF line ends and without their byte order mark"),
    (BOM + TEXT, BOM + crlf(TEXT), "with LF line ends"),
]


@pytest.mark.parametrize(("annotated", "stored", "change"), READINGS)
def test_codiesp_is_read_with_the_line_ends_of_its_annotations(
    tmp_path: Path, annotated: str, stored: str, change: str | None
) -> None:
    corpus = codiesp(tmp_path / "a", annotated, stored)
    plain = codiesp(tmp_path / "b", TEXT, TEXT)
    assert [one.mention.text for one in corpus.mentions] == [one.mention.text for one in plain.mentions]
    assert [one.codes for one in corpus.mentions] == [one.codes for one in plain.mentions]
    sentences = [(one.mention.sentence or "").replace("\r", "").strip(BOM) for one in corpus.mentions]
    assert sentences == [one.mention.sentence for one in plain.mentions]
    assert corpus.skipped == plain.skipped == ()
    assert corpus.notes == (() if change is None else (f"1 document was read {change}, as their annotations count",))


def test_a_mention_of_an_edited_text_is_passed_over_and_the_others_stay(tmp_path: Path) -> None:
    edited = TEXT.replace("Niega tos", "No refiere tos")
    for name, stored in (("lf", edited), ("crlf", crlf(edited))):
        corpus = codiesp(tmp_path / name, TEXT, stored)
        assert [one.mention.text for one in corpus.mentions] == ["neumonía", "neumonía basal", "Mujer"]
        assert [entry.place for entry in corpus.skipped] == ["trainX.tsv, line 3", "trainX.tsv, line 4"]
        for entry in corpus.skipped:
            assert "is not the annotated one; were line ends or the text changed since?" in entry.reason
            assert "tos" not in entry.reason.replace("texto", "") and "dolor" not in entry.reason
        assert len(corpus.notes) == (name == "crlf")


@pytest.fixture
def code_map(tmp_path: Path) -> CodeMap:
    path = tmp_path / "map.csv"
    path.write_text("cui,code,kind\nC0000001,R05,diagnosis\n", encoding="utf-8")
    return read_code_map(path)


@pytest.mark.parametrize(("annotated", "stored", "change"), READINGS)
def test_brat_is_read_so_too(
    tmp_path: Path, code_map: CodeMap, annotated: str, stored: str, change: str | None
) -> None:
    folder = tmp_path / "brat"
    folder.mkdir()
    (folder / "1.txt").write_bytes(stored.encode())
    marks = [
        f"T{number}\tC0000001 {at(annotated, part)}\t{part}"
        for number, part in enumerate(("neumonía", "tos", "dolor torácico"), 1)
    ]
    (folder / "1.ann").write_text("\n".join(marks), encoding="utf-8")
    corpus = read_brat(folder, code_map)
    assert [one.mention.text for one in corpus.mentions] == ["neumonía", "tos", "dolor torácico"]
    assert [one.mention.sentence for one in corpus.mentions][1:] == ["Niega tos.", "Tiene dolor torácico desde ayer."]
    assert len(corpus.notes) == (change is not None)


def test_brat_passes_over_what_fits_in_no_reading(tmp_path: Path, code_map: CodeMap) -> None:
    folder = tmp_path / "brat"
    folder.mkdir()
    (folder / "1.txt").write_text("Niega la tos.\n", encoding="utf-8")
    (folder / "1.ann").write_text("T1\tC0000001 6 9\ttos\nT2\tC0000001 9 12\ttos\nT3\tC0000001 0 5\n", encoding="utf-8")
    corpus = read_brat(folder, code_map)
    assert [one.mention.text for one in corpus.mentions] == ["tos", "Niega"]
    (skipped,) = corpus.skipped
    assert (skipped.place, "not the annotated one" in skipped.reason) == ("1.ann, line 1", True)


@given(st.lists(st.sampled_from(["dolor", "tos", " ", "\n", "\r\n", "ñ"]), min_size=1, max_size=20), st.data())
def test_a_text_that_fits_is_left_as_it_is(parts: list[str], data: st.DataObject) -> None:
    text = "".join(parts)
    start = data.draw(st.integers(0, len(text) - 1))
    end = data.draw(st.integers(start + 1, len(text)))
    assert fitting_text(text, [(((start, end),), text[start:end])]) == (text, None)
    assert fitting_text(text, []) == (text, None)


@pytest.mark.parametrize(
    ("annotated", "stored", "read"),
    [(TEXT, TEXT, 3), (crlf(TEXT), crlf(TEXT), 3), (crlf(TEXT), TEXT, 3), (TEXT, crlf(TEXT), 3), (TEXT, TEXT + "!", 0)],
)
def test_e3c_says_how_long_its_text_was(
    tmp_path: Path, code_map: CodeMap, annotated: str, stored: str, read: int
) -> None:
    parts = ("neumonía", "tos", "dolor torácico")
    marks = "".join(
        f'<custom:CLINENTITY sofa="1" begin="{annotated.index(part)}" end="{annotated.index(part) + len(part)}" '
        'entityID="C0000001"/>'
        for part in parts
    )
    escaped = stored.replace("\r", "&#13;").replace("\n", "&#10;")
    (tmp_path / "a.xml").write_text(
        '<xmi:XMI xmlns:xmi="x" xmlns:cas="c" xmlns:custom="u" xmlns:t="t">'
        f'<t:DocumentMetaData sofa="1" begin="0" end="{len(annotated)}"/>{marks}'
        f'<cas:Sofa xmi:id="1" sofaString="{escaped}"/></xmi:XMI>',
        encoding="utf-8",
    )
    corpus = read_e3c(tmp_path / "a.xml", code_map)
    assert [one.mention.text for one in corpus.mentions] == list(parts[:read])
    assert len(corpus.skipped) == 3 - read
    assert all("not as long as when it was annotated" in entry.reason for entry in corpus.skipped)
    assert len(corpus.notes) == (annotated != stored and read > 0)
