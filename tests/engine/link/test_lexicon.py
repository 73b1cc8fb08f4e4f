from __future__ import annotations

import csv
import hashlib
import threading
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

import pytest
from cielo.errors import TableError
from cielo.knowledge.codes import code_key, comparison_key
from cielo.link import lexicon as lexicon_module
from cielo.link.lexicon import (
    LeftOut,
    Lexicon,
    LexiconEntry,
    LexiconProblem,
    build,
    check,
    read_lexicon,
    write_lexicon,
)
from cielo.text.normal import fold_spaces, normal_form
from hypothesis import example, given, settings
from hypothesis import strategies as st

MARKER = "Ximénez-secreto"
CODES = ["0210", "3E03", "NA", "0016", "1E5", "00.10", "T68.XXX", "INF", "null", "TRUE", "-1.0"]
NAMES = ["lexicon.tsv", "lexicon.csv"]
TRICKY = st.text("a1,;\"'#\t\r\n\\|\x00\u2028\x85\ufeff ñÑ(=", max_size=12)
TEXTS = (TRICKY | st.text(st.characters(exclude_categories=["Cs"]), max_size=30)).filter(normal_form).map(fold_spaces)
ENTRIES = st.builds(
    LexiconEntry,
    TEXTS,
    st.sampled_from(CODES) | TEXTS.filter(code_key),
    st.sampled_from([None, "diagnosis", "procedure"]) | TEXTS,
    st.none() | st.integers(0, 10**15 - 1),
    st.none() | st.floats(0, 1).map(lambda value: round(value, 4)),
)
ANNOTATIONS = st.lists(
    st.tuples(
        st.sampled_from(["Hipotermia", "hipotermia", "HTA", "hta.", "TC", "¿?", ""]),
        st.sampled_from([None, "", "diagnosis", "procedure"]),
        st.sampled_from(["T68", "t68", "T68.XXX", "I10", "i10", "BW20", "", "-"]),
    ),
    max_size=40,
)


def read(path: Path, content: str | bytes) -> Lexicon:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return read_lexicon(path)


def lines_of(lexicon: Lexicon) -> list[int | None]:
    return [problem.line for problem in lexicon.problems]


# -- build


def test_build_takes_what_is_common_and_pure() -> None:
    annotations = [("Hipotermia", "diagnosis", "t68")] * 9 + [("hipotermia.", "diagnosis", "6A4Z")]
    assert build(annotations).entries == (LexiconEntry("Hipotermia", "t68", "diagnosis", 9, 0.9),)
    assert build(annotations, minimum_purity=0.91).entries == ()
    assert build(annotations, minimum_count=9).entries
    assert build(annotations, minimum_count=10).entries == ()


def test_build_by_kind_or_not() -> None:
    annotations = [("TC", "diagnosis", "R93")] * 2 + [("TC", "procedure", "BW20")] * 2 + [("TC", None, "BW20")] * 2
    assert [(entry.kind, entry.code) for entry in build(annotations).entries] == [
        (None, "BW20"), ("diagnosis", "R93"), ("procedure", "BW20"),
    ]  # fmt: skip
    both = build(annotations, by_kind=False)
    assert (both.entries, len(both.conflicts)) == ((), 1)
    assert build(annotations, by_kind=False, minimum_purity=0.6).entries == (
        LexiconEntry("TC", "BW20", None, 4, 0.6667),
    )


def test_codes_are_compared_by_letters_and_digits_and_kept_in_their_commonest_writing() -> None:
    built = build([("a", None, "t68.x"), ("A", None, "T68X"), ("á", None, "T68X")])
    assert built.entries == (LexiconEntry("A", "T68X", None, 3, 1.0),)
    padded = build([("tos", None, "R05"), ("tos", None, "R05X"), ("tos", None, "R05")])
    assert padded.entries == (LexiconEntry("tos", "R05", None, 3, 1.0),)


def test_ties_are_conflicts_whatever_the_bound() -> None:
    built = build([("a", "d", "I10"), ("a", "d", "I11"), ("a", "d", "i1.1"), ("a", "d", "I10")], minimum_purity=0)
    assert built.entries == ()
    assert built.conflicts == (LeftOut(1, "d", (("I10", 2), ("I11", 2)), "a"),)


def test_what_is_left_out_is_told_apart() -> None:
    built = build([
        (" ", None, "I10"), ("¡!", None, "I10"), ("uso", None, "-"),  # unusable
        ("rara", "d", "I10"),  # once only
        ("vaga", "d", "I10"), ("vaga", "d", "I11"), ("Vaga", "d", "I10"),
        ("dos", "d", "I12"), ("dos", "d", "I10"), ("dos", "d", "I11"),
    ])  # fmt: skip
    assert (built.unusable, built.annotations, built.entries) == (3, 10, ())
    assert [(left.first, left.codes) for left in built.too_rare] == [(4, (("I10", 1),))]
    assert [(left.first, left.codes) for left in built.conflicts] == [
        (8, (("I10", 1), ("I11", 1), ("I12", 1))), (5, (("I10", 2), ("I11", 1))),
    ]  # fmt: skip
    # Pure enough, and common enough only with the annotations that have other codes.
    seldom = build([("a", None, "I10")] * 9 + [("a", None, "I11")], minimum_count=10)
    assert (len(seldom.too_rare), len(seldom.conflicts)) == (1, 0)
    both = build([("a", None, "I10"), ("a", None, "I11")], minimum_count=3)
    assert (len(both.too_rare), len(both.conflicts)) == (1, 0)


def test_what_is_left_out_is_shown_without_its_text() -> None:
    built = build([(MARKER, "d", "I10"), (f"{MARKER} 2", "d", "I10"), (f"{MARKER} 2", "d", "I11")])
    assert [left.text for left in (*built.too_rare, *built.conflicts)] == [MARKER, f"{MARKER} 2"]
    assert MARKER not in repr((built.too_rare, built.conflicts))


def test_build_of_nothing() -> None:
    built = build([])
    assert (built.entries, built.too_rare, built.conflicts, built.unusable, built.annotations) == ((), (), (), 0, 0)


@given(ANNOTATIONS, st.randoms(), st.integers(1, 4), st.floats(0, 1), st.booleans())
def test_build_counts_rightly_in_any_order(
    annotations: list[tuple[str, str | None, str]], random: object, count: int, purity: float, by_kind: bool
) -> None:
    built = build(annotations, minimum_count=count, minimum_purity=purity, by_kind=by_kind)
    shuffled = list(annotations)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    again = build(iter(shuffled), minimum_count=count, minimum_purity=purity, by_kind=by_kind)
    assert again.entries == built.entries
    assert again.unusable == built.unusable
    usable = [
        (normal_form(text), (kind or None) if by_kind else None, comparison_key(code))
        for text, kind, code in annotations
        if normal_form(text) and code_key(code)
    ]
    groups = Counter((normal, kind) for normal, kind, _ in usable)
    codes = Counter(usable)
    assert built.unusable == len(annotations) - len(usable)
    assert len(groups) == len(built.entries) + len(built.too_rare) + len(built.conflicts)
    taken = {(normal_form(entry.text), entry.kind): entry for entry in built.entries}
    for group, size in groups.items():
        ranked = sorted((times for (*of, _), times in codes.items() if tuple(of) == group), reverse=True)
        best = ranked[0]
        wanted = best >= count and best / size >= purity and ranked.count(best) == 1
        assert (group in taken) == wanted
        if wanted:
            entry = taken[group]
            assert (entry.count, entry.purity) == (best, round(best / size, 4))
            assert codes[*group, comparison_key(entry.code)] == best
            assert entry.text in {text for text, _, _ in annotations}
            assert entry.code in {code for _, _, code in annotations}


@settings(deadline=None)
@given(ANNOTATIONS)
def test_a_built_lexicon_finds_what_it_was_built_from(annotations: list[tuple[str, str | None, str]]) -> None:
    built = build(annotations, minimum_count=1)
    lexicon = Lexicon(built.entries)
    for entry in built.entries:
        assert lexicon.find(entry.text, entry.kind) == entry.code


# -- files


@pytest.mark.parametrize("name", NAMES)
@settings(deadline=None, max_examples=200)
@given(entries=st.lists(ENTRIES, min_size=1, max_size=8))
@example([LexiconEntry(text, code) for text, code in zip("abcdefghijk", CODES, strict=True)])
@example(
    [
        LexiconEntry("# de cadera, derecha", "S72"),
        LexiconEntry('"TC" de', "BW20", "#"),
        LexiconEntry("text", "code", "kind", 0, 0.0),
    ]
)
def test_what_is_written_is_read_unchanged(
    tmp_path_factory: pytest.TempPathFactory, name: str, entries: list[LexiconEntry]
) -> None:
    path = tmp_path_factory.mktemp("round") / name
    unique = list({(normal_form(entry.text), entry.kind): entry for entry in entries}.values())
    write_lexicon(path, unique)
    found = read_lexicon(path)
    assert found.problems == ()
    assert len(found.entries) == len(unique)
    assert set(found.entries) == set(unique)
    content = path.read_bytes()
    write_lexicon(path, reversed(found.entries))
    assert path.read_bytes() == content
    assert found.sha256 == Lexicon(tuple(unique)).sha256


def test_a_file_looks_as_people_keep_it(tmp_path: Path) -> None:
    entries = [
        LexiconEntry("TC\tabdominal", "BW20", "procedure", 3, 0.75),
        LexiconEntry("# de\r\ncadera", "S72.0"),
        LexiconEntry("a, b", "0210"),
    ]  # fmt: skip
    for name in NAMES:
        write_lexicon(tmp_path / name, entries)
    assert (tmp_path / NAMES[0]).read_bytes().decode() == (
        "text\tcode\tkind\tcount\tpurity\n"
        "a, b\t0210\t\t\t\n"
        " # de cadera\tS72.0\t\t\t\n"
        "TC abdominal\tBW20\tprocedure\t3\t0.75\n"
    )
    assert (tmp_path / NAMES[1]).read_bytes().decode() == (
        'text,code,kind,count,purity\r\n"a, b",0210,,,\r\n # de cadera,S72.0,,,\r\n'
        "TC abdominal,BW20,procedure,3,0.75\r\n"
    )


def test_a_table_kept_by_hand(tmp_path: Path) -> None:
    content = (
        "\ufeff# ours\r\n\r\ncode \tnote\ttext\tkind\r\nT68\tseen\tHipotermia  leve\tdiagnosis\r\n"
        '#I10\t\tHTA\r\n0210\t\tderivación\r\n\t\t\r\nNA\t"\t nada \t \t\r\n'
    )
    found = read(tmp_path / "hand.txt", content)
    assert found.problems == ()
    assert found.entries == (
        LexiconEntry("Hipotermia leve", "T68", "diagnosis"),
        LexiconEntry("derivación", "0210"),
        LexiconEntry("nada", "NA"),
    )
    assert [entry.line for entry in found.entries] == [4, 6, 8]


def test_a_csv_kept_by_hand(tmp_path: Path) -> None:
    content = 'text,code,note\n#,,\n"dolor, agudo",R52\n"dos\nlíneas",I10,"uno\ndos"\nHTA,I10\n'
    found = read(tmp_path / "hand.CSV", content)
    assert found.problems == ()
    assert found.entries == (
        LexiconEntry("dolor, agudo", "R52"),
        LexiconEntry("dos líneas", "I10"),
        LexiconEntry("HTA", "I10"),
    )
    assert [entry.line for entry in found.entries] == [3, 4, 7]


def test_numbers_that_are_none_are_passed_over(tmp_path: Path) -> None:
    rows = "".join(f"t{row}\tI10\t{count}\t{purity}\n" for row, (count, purity) in enumerate([
        ("3", "0.5"), ("-3", "nan"), ("9" * 5000, "1.5"), ("٣", "1e400"), ("", ""), ("3.0", "0,5"), ("0", "1"),
    ]))  # fmt: skip
    found = read(tmp_path / "numbers.tsv", f"text\tcode\tcount\tpurity\n{rows}")
    assert [(entry.count, entry.purity) for entry in found.entries] == [
        (3, 0.5), (None, None), (None, None), (None, None), (None, None), (None, None), (0, 1.0),
    ]  # fmt: skip
    assert found.problems == ()


def test_problems_are_reported_by_line_and_without_text(tmp_path: Path) -> None:
    rows = [
        f"{MARKER}\tI10\td", f"{MARKER}\t\td", f"{MARKER}\t-\td", f"\t{MARKER}\td", f"¿?\t{MARKER}\td", MARKER,
        f"otro\t{MARKER}\td\tx", f"{MARKER.lower()}!\tI11\td", f"{MARKER}\ti.10\td", f"{MARKER}\tI11\te",
    ]  # fmt: skip
    content = ("text\tcode\tkind\n" + "\n".join(rows) + "\n").encode() + "añ\tI10\n".encode("latin-1")
    found = read(tmp_path / "bad.tsv", content)
    assert lines_of(found) == [3, 4, 5, 6, 7, 8, 9, 12]
    assert all(MARKER.lower() not in problem.reason.lower() for problem in found.problems)
    conflict = found.problems[6]
    assert "line 2" in conflict.reason
    assert "I1" not in conflict.reason
    assert "UTF-8" in found.problems[7].reason
    assert found.entries == (LexiconEntry(MARKER, "I10", "d"), LexiconEntry(MARKER, "I11", "e"))
    assert found.find(MARKER, "d") == "I10"


def test_a_column_that_is_passed_over_need_not_be_utf8(tmp_path: Path) -> None:
    found = read(tmp_path / "note.tsv", "text\tcode\tseña\nTC\tBW20\tañadido\n".encode("latin-1"))
    assert (found.entries, found.problems) == ((LexiconEntry("TC", "BW20"),), ())


def test_a_quotation_mark_without_its_other_one(tmp_path: Path) -> None:
    found = read(tmp_path / "open.csv", f'text,code\na,I10\n"b"c,I10\nd,I10\n"{MARKER},I10\ne,I10\n')
    assert [entry.text for entry in found.entries] == ["a", "d", "e"]
    assert lines_of(found) == [3, 5]
    assert MARKER not in repr(found.problems)


def test_a_carriage_return_begins_no_line(tmp_path: Path) -> None:
    found = read(tmp_path / "return.tsv", "text\tcode\ndolor\rfuerte\tR52\nHTA\tI10\n")
    assert (found.entries, lines_of(found)) == ((LexiconEntry("HTA", "I10"),), [2])


@pytest.mark.parametrize(
    "content",
    [
        b"", b"\n\n# text\tcode\n", b"text\n", b"code\tkind\nI10\td\n", b"text\tcode\ttext\n",
        b"text\tcode\tkind\tkind\n", b"\xff\xfe\x00",
    ],
)  # fmt: skip
def test_a_header_that_is_none_is_an_error(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(TableError, match="expected a header with text and code, each once, and tabs"):
        read(tmp_path / "bad.tsv", content)


@pytest.mark.parametrize("content", ["text code\nHTA I10\n", '"text,code\nHTA,I10\n'])
def test_a_csv_header_that_is_none_is_an_error(tmp_path: Path, content: str) -> None:
    with pytest.raises(TableError, match="commas"):
        read(tmp_path / "bad.csv", content)


def test_what_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    for path in (tmp_path / "none.tsv", tmp_path):
        with pytest.raises(TableError, match="cannot be read"):
            read_lexicon(path)


@pytest.mark.parametrize("name", NAMES)
@settings(deadline=None, max_examples=300)
@given(content=st.binary(max_size=200) | st.text('text,code\tkind\n\r"#\x00é1', max_size=120).map(str.encode))
def test_no_bytes_crash_it(tmp_path_factory: pytest.TempPathFactory, name: str, content: bytes) -> None:
    path = tmp_path_factory.mktemp("fuzz") / name
    for beginning in (b"", b"text\tcode\tkind\n", b"text,code,kind\n"):
        try:
            found = read(path, beginning + content)
        except TableError:
            continue
        for entry in found.entries:
            # A mention without a kind may stand between kinds that disagree.
            assert comparison_key(found.find(entry.text, entry.kind) or entry.code) == comparison_key(entry.code)
            assert entry.kind is None or found.find(entry.text, entry.kind) == entry.code
        write_lexicon(path, found.entries)
        again = read_lexicon(path)
        assert (set(again.entries), again.problems) == (set(found.entries), ())


def test_it_is_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "lexicon.tsv"
    write_lexicon(path, [LexiconEntry("a", "I10")])
    before = path.read_bytes()

    def fail(stream: BinaryIO, *_: object) -> None:
        stream.write(b"tex")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(lexicon_module, "write_table", fail)
    with pytest.raises(TableError, match="No space left"):
        write_lexicon(path, [LexiconEntry("b", "I11")])
    monkeypatch.undo()
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(TableError, match="cannot be written"):
        write_lexicon(tmp_path / "none" / "lexicon.tsv", [LexiconEntry("a", "I10")])


def test_a_lexicon_without_a_single_usable_text_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(TableError, match="there is no text for it"):
        write_lexicon(tmp_path / "lexicon.csv", [])
    assert list(tmp_path.iterdir()) == []
    for content, says in (("text,code\n", "0 were passed over"), ("text,code\n¿?,I10\n", "line 2: no text or no code")):
        with pytest.raises(TableError, match=says):
            read(tmp_path / "lexicon.csv", content)


def test_an_unusable_line_never_wins_over_a_good_one(tmp_path: Path) -> None:
    content = "text\tcode\nsíndrome inventado\tI10;I11\nSíndrome inventado\tI10\nsíndrome inventado\tI11\n"
    (tmp_path / "lexicon.tsv").write_text(content, encoding="utf-8")
    found = read_lexicon(tmp_path / "lexicon.tsv", lambda code, kind: code in ("I10", "I11"))
    assert found.find("síndrome inventado") == "I10"
    assert [(problem.line, problem.reason.partition(";")[0]) for problem in found.problems] == [
        (2, "the knowledge base does not know the code in this kind"),
        (4, "another code for the text and kind of line 3, which stands"),
    ]
    with pytest.raises(TableError, match="none of its lines can be used"):
        read_lexicon(tmp_path / "lexicon.tsv", lambda code, kind: False)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", "Texto;Código\r\nHTA;I10\r\nañadido;0210\r\n".encode("cp1252")),
        ("a.csv", b"sep=;\r\ntext;code\r\nHTA;I10\r\na\xf1adido;0210\r\n"),
        ("a.tsv", "text\tcode\nHTA\tI10\nañadido\t0210\n".encode("utf-16")),
        ("a.jsonl", '{"text": "HTA", "code": "I10"}\n{"code": "0210", "text": "añadido"}\n'.encode()),
    ],
)
def test_a_lexicon_is_read_as_every_table_is(tmp_path: Path, name: str, content: bytes) -> None:
    found = read(tmp_path / name, content)
    assert (found.entries, found.problems) == ((LexiconEntry("HTA", "I10"), LexiconEntry("añadido", "0210")), ())


# -- look-up


@pytest.mark.parametrize(
    ("entries", "answers"),
    [
        ([("A1", "d")], {"d": "A1", None: "A1", "": "A1", "p": None}),
        ([("A1", None)], {"d": "A1", None: "A1", "p": "A1"}),
        ([("A1", "d"), ("A1", "p")], {"d": "A1", "p": "A1", None: "A1", "q": None}),
        ([("A1", "p"), ("a.1", "d")], {"d": "a.1", "p": "A1", None: "a.1"}),
        ([("A1", "d"), ("B2", "p")], {"d": "A1", "p": "B2", None: None, "q": None}),
        ([("A1", "d"), ("B2", "p"), ("A1", "q")], {None: None}),
        ([("A1", "d"), ("B2", None)], {"d": "A1", "p": "B2", None: "B2"}),
        ([("A1", "d"), ("B2", "d")], {"d": "A1", None: "A1"}),
        ([("A1", ""), ("B2", None)], {"d": "A1", None: "A1"}),
    ],
)
def test_kinds(entries: list[tuple[str, str | None]], answers: dict[str | None, str | None]) -> None:
    lexicon = Lexicon(tuple(LexiconEntry("Tos", code, kind) for code, kind in entries))
    assert {kind: lexicon.find("tos", kind) for kind in answers} == answers


def test_look_up_is_by_normal_form() -> None:
    lexicon = Lexicon(
        (LexiconEntry("Tomografía (TC) de  abdomen", "BW20"), LexiconEntry("¡!", "I10"), LexiconEntry("", "I10"))
    )
    assert lexicon.find("tomografia TC de abdomen.") == "BW20"
    for text in ("tomografia", "", " ", "¿?", "¡!"):
        assert lexicon.find(text) is None
        assert lexicon.find(text, "diagnosis") is None


@given(st.lists(ENTRIES, max_size=6), TEXTS, st.sampled_from([None, "diagnosis", "procedure", "other"]))
def test_find_answers_with_codes_that_serve_the_mention(
    entries: list[LexiconEntry], text: str, kind: str | None
) -> None:
    lexicon = Lexicon(tuple(entries))
    for asked in [text, *(entry.text for entry in entries)]:
        serving = [entry for entry in entries if normal_form(entry.text) == normal_form(asked)]
        serving = [entry for entry in serving if kind is None or entry.kind in (None, kind)]
        found = lexicon.find(asked, kind)
        assert found is None or found in {entry.code for entry in serving}
        if len({comparison_key(entry.code) for entry in serving}) == 1:
            assert found is not None


def test_its_identity_is_that_of_its_answers() -> None:
    one = (LexiconEntry("HTA", "I10", "d", 3, 1.0, 2), LexiconEntry("TC", "BW20"))
    same = Lexicon((LexiconEntry("tc.", "BW20"), LexiconEntry("hta", "I10", "d"), LexiconEntry("HTA", "I10", "d", 9)))
    assert Lexicon(one).sha256 == same.sha256
    others: Iterable[tuple[LexiconEntry, ...]] = (
        (), one[:1], (replace(one[0], code="I11"), one[1]), (replace(one[0], code="i10"), one[1]),
        (replace(one[0], kind=None), one[1]), (replace(one[0], text="HT A"), one[1]),
    )  # fmt: skip
    digests = {Lexicon(entries).sha256 for entries in others}
    assert len(digests) == 6
    assert Lexicon(one).sha256 not in digests
    assert Lexicon(()).sha256 == hashlib.sha256(b'["cielo lexicon 1", []]').hexdigest()


@pytest.mark.usefixtures("every_processor")
def test_it_cannot_be_changed_and_is_shared_by_threads() -> None:
    lexicon = Lexicon(tuple(LexiconEntry(f"texto {number}", f"A{number}") for number in range(200)))
    with pytest.raises(AttributeError):
        lexicon.entries = ()  # type: ignore[misc]
    wrong: list[int] = []

    def ask() -> None:
        wrong.extend(number for number in range(200) if lexicon.find(f"Texto {number}", "d") != f"A{number}")

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


# -- check


def test_codes_that_the_knowledge_base_does_not_know_are_reported(tmp_path: Path) -> None:
    content = f"text\tcode\tkind\n{MARKER}\tI10\td\nb\tI10\tp\nc\tZZZ\nd\tBW20\n"
    lexicon = read(tmp_path / "lexicon.tsv", content)
    known = {("I10", "d"), ("BW20", None)}
    problems = check(lexicon, lambda code, kind: (code, kind) in known)
    assert [problem.line for problem in problems] == [3, 4]
    assert all(isinstance(problem, LexiconProblem) and "ZZZ" not in problem.reason for problem in problems)
    assert check(lexicon, lambda code, kind: True) == []


def test_the_columns_are_those_of_the_csv_module_too(tmp_path: Path) -> None:
    """A CSV of ours is read by others as it is by us."""
    path = tmp_path / "lexicon.csv"
    write_lexicon(path, [LexiconEntry('a "b", c', "0210", "p", 2, 1.0)])
    with path.open(encoding="utf-8", newline="") as stream:
        assert list(csv.DictReader(stream)) == [
            {"text": 'a "b", c', "code": "0210", "kind": "p", "count": "2", "purity": "1.0"}
        ]
