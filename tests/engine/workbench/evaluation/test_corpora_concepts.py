from __future__ import annotations

from pathlib import Path

import pytest
from cielo.errors import TableError
from cielo.workbench.evaluation.corpora import CodeMap, MappedCode, read_brat, read_code_map, read_corpus, read_e3c
from cielo.workbench.evaluation.records import Corpus
from corpora_made import (
    CODE_MAP,
    MANTRA,
    MANTRA_TEXT,
    NOTES,
    NOTES_TEXT,
    XMI,
    XMI_TEXT,
    utf16,
    write,
    xmi,
)

# The columns of UMLS's MRCONSO that matter here, and ClinIDMap's; the texts are titles, as in its published tables.
CLINIDMAP = (
    "|CUI|LAT|SAB|TTY|CODE|STR|ICD10CM_SPA|ICD10PCS_SPA|SNOMEDCT2ICD10\n"
    "0|C0000001|ENG|MSH|MH|D015746|Belly ache|||R10.0\n"
    "1|C0000001|ENG|ICD10CM|PT|R10.9|Belly ache|Dolor no especificado||\n"
    '2|C0000001|ENG|ICD10CM|ET|R10.9|"Ache of ""belly"" | gut"|Agnosia||\n'
    "3|C0000001|ENG|ICD10PCS|PT|0DJ07ZZ|Look into belly||Inspección|\n"
    "4|C0000002|ENG|ICD10CM|HT|A00-B99|All infections|||\n"
    "5|C0000002|ENG|ICD10AM|PT|A09|Gastroenteritis|||A09\n"
    "6|C0000003|SPA|SCTSPA|PT|123|Tos|R05||\n"
    "7|C0000004|SPA|SCTSPA|PT|124|Biopsia||0HB, 0HBZZZZ|\n"
    "8|C0000005|SPA|SCTSPA|PT|125|Déficit|Anemia por déficit de vitamina B12||\n"
    "9|C0000006|SPA|SCTSPA|PT|126|Sida|B2424.||\n"
)


@pytest.fixture
def code_map(tmp_path: Path) -> CodeMap:
    return read_code_map(write(tmp_path / "maps", {"map.csv": CODE_MAP}) / "map.csv")


def read_map(tmp_path: Path, content: str | bytes, **columns: str | None) -> CodeMap:
    return read_code_map(write(tmp_path, {"map.tsv": content}) / "map.tsv", columns or None)


@pytest.mark.parametrize(
    "content",
    [
        "cui,code\nC0000001,0210\nC0000001,NA\nC0000001,0210\n",
        "\ufeffCUI\tCode\r\nC0000001\t0210|NA\r\n",
        "code;cui\n0210;C0000001\nNA;C0000001\n",
        "C0000001,0210\nC0000001,NA\n",
        "\n\nC0000001\t0210\n\nC0000001\tNA\n",
        '"cui","code"\n"C0000001","0210"\n"C0000001","NA"\n',
    ],
)
def test_a_table_of_two_columns_maps_cuis_to_codes_as_they_are_written(tmp_path: Path, content: str) -> None:
    found = read_map(tmp_path, content)
    assert dict(found) == {"C0000001": (MappedCode("0210"), MappedCode("NA"))}
    assert found.skipped == ()


@pytest.mark.parametrize("header", ["cui,code,kind\n", ""])
def test_a_third_column_gives_the_kind(tmp_path: Path, header: str) -> None:
    found = read_map(tmp_path, f"{header}C0000001,R05,diagnosis\nC0000001,BQ0,procedure\nC0000002,R50,\n")
    assert found["C0000001"] == (MappedCode("R05", "diagnosis"), MappedCode("BQ0", "procedure"))
    assert found["C0000002"] == (MappedCode("R50"),)
    assert (len(found), list(found)) == (2, ["C0000001", "C0000002"])


def test_clinidmap_s_codes_are_those_of_its_rows_and_titles_are_none(tmp_path: Path) -> None:
    found = read_map(tmp_path, CLINIDMAP)
    assert dict(found) == {
        "C0000001": (MappedCode("R10.9", "diagnosis"), MappedCode("0DJ07ZZ", "procedure")),
        "C0000003": (MappedCode("R05", "diagnosis"),),
        "C0000004": (MappedCode("0HB", "procedure"), MappedCode("0HBZZZZ", "procedure")),
    }
    assert found.skipped == ()


def test_other_columns_may_be_named(tmp_path: Path) -> None:
    found = read_map(tmp_path, CLINIDMAP, SNOMEDCT2ICD10="diagnosis")
    assert dict(found) == {
        "C0000001": (MappedCode("R10.0", "diagnosis"),),
        "C0000002": (MappedCode("A09", "diagnosis"),),
    }
    with pytest.raises(TableError, match="has no column OTHER"):
        read_map(tmp_path, CLINIDMAP, OTHER=None)
    with pytest.raises(TableError, match="no header that names the columns"):
        read_map(tmp_path, "C0000001,R05\n", OTHER=None)


def test_lines_of_a_map_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    found = read_map(tmp_path, b"cui,code\nC0000001,R05\nC0000002\nC2,R05\n\xff,R05\n\nC0000003,\nC0000004, \xc2\xa0\n")
    assert dict(found) == {"C0000001": (MappedCode("R05"),)}
    assert [(skipped.place, skipped.reason.partition(";")[0]) for skipped in found.skipped] == [
        ("map.tsv, line 3", "the row has 1 columns"),
        ("map.tsv, line 4", "the line's concept is none"),
        ("map.tsv, line 5", "the row is not UTF-8"),
    ]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", "is empty"),
        ("\n \n", "is empty"),
        ("a,b\nC0000001,tos\n", "names no column `cui`"),
        (b"\xff\n", "names no column `cui`"),
        ("cui,title\nC0000001,tos\n", "no column of codes"),
        ("cui,code,code\nC0000001,R05,R05\n", "more than once"),
        ("cui,code\n", "no code of any concept"),
        ("CUI|ICD10CM_SPA\nC0000001|Amebiasis\n", "no code of any concept"),
    ],
)
def test_what_is_no_map_is_refused(tmp_path: Path, content: str | bytes, says: str) -> None:
    with pytest.raises(TableError, match=says):
        read_map(tmp_path, content)
    with pytest.raises(TableError, match="cannot be read"):
        read_code_map(tmp_path / "none")


def shown(corpus: Corpus) -> list[tuple[str, str | None, tuple[str, ...]]]:
    return [(one.mention.text, one.mention.kind, one.codes) for one in corpus.mentions]


def test_e3c_counts_utf_16_units_and_has_sentences_of_its_own(tmp_path: Path, code_map: CodeMap) -> None:
    corpus = read_e3c(write(tmp_path, {"es/x.xml": XMI}) / "es", code_map)
    assert shown(corpus) == [
        ("soplo", "diagnosis", ("R50", "R50.9")),
        ("tos", "diagnosis", ("G44",)),
        ("Alta", "diagnosis", ("R52",)),
    ]
    assert [one.mention.sentence for one in corpus.mentions] == [
        "Varón 🫀 con soplo.",
        "Se queja de tos; niega",  # the corpus's own border
        "Alta.",  # none of its own: found by ours
    ]
    assert [one.mention.text for one in corpus.mentions] == [
        XMI_TEXT[slice(*fragment)] for one in corpus.mentions for fragment in one.spans
    ]
    assert [(one.document, one.mention.id) for one in corpus.mentions] == [("x", f"x:{at}") for at in (20, 21, 22)]
    assert corpus.uncoded == 2  # CUILESS, and a CUI that the map lacks
    assert corpus.skipped == ()
    assert "\r\n" in XMI_TEXT


@pytest.mark.parametrize(
    ("entity", "reason"),
    [
        ((6, 9, "R52"), "neither a CUI nor CUILESS"),
        ((6, 999, "C0000001"), "beyond the text, which has"),
        ((7, 9, "C0000001"), "splits a character"),
        ((9, 8, "C0000001"), "expected 0 <= start <= end"),
        ((-1, 8, "C0000001"), "whole numbers"),
        ((5, 6, "C0000001"), "no visible character"),
    ],
)
def test_an_entity_of_e3c_that_cannot_be_read_is_named(
    tmp_path: Path, code_map: CodeMap, entity: tuple[int, int, str], reason: str
) -> None:
    good = (*utf16(XMI_TEXT, "tos"), "C0000002")
    write(tmp_path, {"x.xml": xmi(XMI_TEXT, [entity, good], [(0, 9999), (3, 2)])})
    corpus = read_e3c(tmp_path / "x.xml", code_map)
    assert len(corpus.mentions) == 1
    (skipped,) = corpus.skipped
    assert skipped.place == "x.xml, entity 1"
    assert reason in skipped.reason


BOMB = (
    '<!DOCTYPE a [<!ENTITY a "aaaaaaaaaa">'
    + "".join(f'<!ENTITY {chr(98 + at)} "{f"&{chr(97 + at)};" * 10}">' for at in range(12))
    + "]>"
)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (XMI.replace("<xmi:XMI", BOMB + "<xmi:XMI", 1), "declares a document type"),
        ("<a>" * 200_000, "nested more than 64 deep"),
        (XMI[:-20], "not well-formed XML"),
        ("<a/>", "holds no text"),
        ("", "not well-formed XML"),
        (b"\xff\xfe<\x00a\x00/\x00>\x00", "not UTF-8"),
    ],
    ids=["bomb", "nested", "cut", "no text", "empty", "UTF-16"],
)
def test_a_file_of_e3c_that_cannot_be_read_is_named(
    tmp_path: Path, code_map: CodeMap, content: str | bytes, reason: str
) -> None:
    write(tmp_path, {"x.xml": content})
    with pytest.raises(TableError, match=reason):
        read_e3c(tmp_path / "x.xml", code_map)
    corpus = read_e3c(write(tmp_path, {"y.xmi": XMI}), code_map)
    assert len(corpus.mentions) == 3
    assert [(one.place, reason in one.reason) for one in corpus.skipped] == [("x.xml", True)]


def test_mantra_has_cuis_for_types(tmp_path: Path, code_map: CodeMap) -> None:
    write(tmp_path, {"es/1.u2.ann": MANTRA, "es/1.u2.txt": MANTRA_TEXT})
    corpus = read_brat(tmp_path, code_map)
    assert shown(corpus) == [("Otitis media", "diagnosis", ("R50", "R50.9")), ("Otitis externa", "diagnosis", ("G44",))]
    assert [one.spans for one in corpus.mentions] == [((0, 12),), ((0, 6), (21, 28))]
    assert {one.mention.sentence for one in corpus.mentions} == {MANTRA_TEXT}
    assert [one.mention.id for one in corpus.mentions] == ["es/1.u2:T1", "es/1.u2:T2"]
    assert (corpus.skipped, corpus.uncoded) == ((), 0)


def test_notes_may_name_several_cuis_and_broken_ones_are_passed_over(tmp_path: Path, code_map: CodeMap) -> None:
    write(tmp_path, {"1.ann": NOTES, "1.txt": NOTES_TEXT})
    corpus = read_brat(tmp_path / "1.ann", code_map)
    assert shown(corpus) == [
        ("fiebre", "diagnosis", ("R50", "R50.9", "R52")),
        ("biopsia de piel", "procedure", ("0HB",)),
    ]
    assert corpus.uncoded == 1
    (skipped,) = corpus.skipped
    assert (skipped.place, skipped.reason.partition(";")[0]) == ("1.ann, line 5", "the note is broken across lines")


def test_codes_of_two_kinds_leave_the_mention_s_kind_open(tmp_path: Path, code_map: CodeMap) -> None:
    note = "T1\tDISO 0 3\ttos\n#1\tAnnotatorNotes T1\tC0000001; Fever | C0000004; Biopsy\n"
    write(tmp_path, {"1.ann": note, "1.txt": "tos"})
    assert shown(read_brat(tmp_path, code_map)) == [("tos", None, ("R50", "R50.9", "0HB"))]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("T1\tC0000001 0\ttos", "`start end[;start end…]`"),
        ("T1\tC0000001", "`start end[;start end…]`"),
        ("T1\tC0000001 0 99\ttos", "expected 0 <= start <= end <= 3"),
        ("T1\tC0000001 0 3\t", "the mention's text is empty"),
        ("tos y fiebre", "begins like none of BRAT's"),
        ("Tos y fiebre", "begins like none of BRAT's"),
        ("#1\tAnnotatorNotes T8\tC0000001; Fever", "belongs to no annotation"),
        ("T1\tDISO 0 3\ttos\n#1\tAnnotatorNotes T1\tver tos", "the note names no CUI"),
        (b"T1\tC0000001 0 3\t\xff", "not UTF-8"),
    ],
)
def test_a_line_of_brat_that_cannot_be_read_is_named(
    tmp_path: Path, code_map: CodeMap, line: str | bytes, reason: str
) -> None:
    line = line.encode() if isinstance(line, str) else line
    write(tmp_path, {"1.ann": line + b"\nT9\tC0000001 0 3\n", "1.txt": "tos"})
    corpus = read_brat(tmp_path, code_map)
    assert shown(corpus) == [("tos", "diagnosis", ("R50", "R50.9"))]
    (skipped,) = corpus.skipped
    assert skipped.place.startswith("1.ann, line ")
    assert reason in skipped.reason
    assert "tos" not in skipped.reason


def test_files_without_their_text_are_named(tmp_path: Path, code_map: CodeMap) -> None:
    write(tmp_path, {"1.ann": MANTRA, "1.txt": MANTRA_TEXT, "2.ann": MANTRA, "3.ann": MANTRA, "3.txt": b"\xff"})
    corpus = read_brat(tmp_path, code_map)
    assert (len(corpus.mentions), [skipped.place for skipped in corpus.skipped]) == (2, ["2.ann", "3.ann"])


def test_corpora_of_cuis_need_a_map(tmp_path: Path) -> None:
    write(tmp_path, {"1.ann": MANTRA, "1.txt": MANTRA_TEXT, "1.xml": XMI})
    for path in (tmp_path / "1.ann", tmp_path / "1.xml", tmp_path):
        with pytest.raises(TableError, match="give a table that maps concepts to codes"):
            read_corpus(path)
    assert (read_corpus(tmp_path / "1.xml", code_map={}).uncoded, read_corpus(tmp_path, code_map={}).uncoded) == (5, 2)


def test_an_entity_of_e3c_without_a_name_is_named_by_its_place(tmp_path: Path, code_map: CodeMap) -> None:
    named = read_e3c(write(tmp_path, {"x.xml": XMI}) / "x.xml", code_map)
    corpus = read_e3c(
        write(tmp_path, {"x.xml": XMI.replace("<custom:CLINENTITY xmi:id=", "<custom:CLINENTITY no=")}), code_map
    )
    assert [entry.mention.id for entry in corpus.mentions] == [
        f"x:{start}-{end}" for entry in named.mentions for start, end in entry.spans
    ]
