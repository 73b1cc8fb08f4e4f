"""Texts of any length: read in pieces and cut before they are tokenised, with the same result."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from unittest.mock import patch

import pytest
from cielo.text import pieces as module
from cielo.text.normal import fold_spaces, remove_hidden
from cielo.text.pieces import folded_pieces, joined, visible_pieces, window_of
from cielo.text.prompt import PROMPT, LineEnds, build_prompt
from cielo.text.tokenizer import Encoded, Tokenizer
from hypothesis import example, given, settings
from hypothesis import strategies as st

BUNDLE = Path(__file__).parents[3] / "models" / "mini" / "bundle"
ANY = st.characters(exclude_categories=["Cs"])
TEXTS = st.text(ANY, max_size=40) | st.text("abAßİ .,\n\t\u00ad\u200bñ", max_size=40)


def whole_window(sentence: str, mention: str, window: int) -> str:
    """What `window_of` gives, from the whole text."""
    fold = ["".join(one if len(one := char.casefold()) == 1 else char for char in text) for text in (sentence, mention)]
    start = fold[0].find(fold[1]) if mention else -1
    if start < 0:
        return sentence[: 2 * window + len(mention)].strip()
    return sentence[max(0, start - window) : start + len(mention) + window].strip()


def whole_prompt(term: str, sentence: str, prepare: bool, window: int | None, line_ends: LineEnds) -> str:
    """What `build_prompt` gives, from the whole texts."""
    term, sentence = remove_hidden(term), remove_hidden(sentence)
    shown = fold_spaces(term)
    if not sentence.strip():
        return PROMPT.format(term=shown, sentence=shown)
    if prepare:
        gone = "[\r\n\u0085\u2028\u2029]" if line_ends == "delete" else "(?!)"
        term, sentence = (fold_spaces(re.sub(r"([.,;:])", r"\1 ", re.sub(gone, "", text))) for text in (term, sentence))
    if window is not None:
        sentence = whole_window(sentence, term.strip(), window)
    return PROMPT.format(term=shown, sentence=sentence)


@given(
    st.tuples(TEXTS, TEXTS, TEXTS),
    st.booleans(),
    st.none() | st.integers(0, 12),
    st.sampled_from(["space", "delete"]),
    st.none() | st.integers(1, 150),
    st.integers(1, 9),
)
@example(("a . b", "x ", ""), True, 3, "space", 90, 1)
@example(("", "ß.a", ""), True, 0, "space", None, 2)
@settings(max_examples=400)
def test_a_prompt_made_in_pieces_is_that_of_the_whole_texts(
    texts: tuple[str, str, str],
    prepare: bool,
    window: int | None,
    line_ends: LineEnds,
    longest: int | None,
    piece: int,
) -> None:
    before, term, after = texts
    expected = whole_prompt(term, f"{before}{term}{after}", prepare, window, line_ends)
    with patch.object(module, "_PIECE", piece):
        found = build_prompt(
            term, f"{before}{term}{after}", prepare=prepare, window=window, line_ends=line_ends, longest=longest
        )
    assert found == expected[:longest]


@given(TEXTS, TEXTS, st.integers(0, 9), st.integers(1, 9))
def test_a_window_over_pieces_is_that_of_the_whole(sentence: str, mention: str, window: int, piece: int) -> None:
    parts = [sentence[start : start + piece] for start in range(0, len(sentence), piece)]
    assert window_of(parts, mention, window) == whole_window(sentence, mention, window)


@given(TEXTS, st.integers(1, 9), st.integers(0, 30))
def test_pieces_make_the_folded_text(text: str, piece: int, most: int) -> None:
    with patch.object(module, "_PIECE", piece):
        whole = joined(folded_pieces(visible_pieces(text)), None)
        begun = joined(folded_pieces(visible_pieces(text)), most)
    assert whole.rstrip(" ") == fold_spaces(remove_hidden(text))
    assert whole.startswith(begun)
    assert begun == whole or len(begun) > most + 1


# Words, runs of one character, what the model does not know, spaces of all kinds: many times over.
PARTS = [
    *("dolor ", "aguda", "ñandú, ", "a", "hipo", "pendicectomizado", "Ω", "🎉", "e\u0301", "漢字", "½", "ﬁ", "  "),
    *("</s>", "<mask>", "\u3000", "\n", "\u200d", "▁", "x1.5;", "\u0600", "가", "12"),
]
SEGMENTS = st.lists(
    st.tuples(st.sampled_from(PARTS) | st.text(ANY, min_size=1, max_size=6), st.integers(1, 300)),
    min_size=1,
    max_size=12,
)


@pytest.mark.parametrize("model", ["generator", "encoder"])
@pytest.mark.parametrize("most", [3, 20, 64])
def test_cutting_by_characters_first_gives_what_cutting_by_tokens_gives(model: str, most: int) -> None:
    path = BUNDLE / model / "tokenizer.json"
    cutting, whole = Tokenizer(path, most), Tokenizer(path)
    closing = 1

    @given(SEGMENTS)
    @settings(max_examples=150, deadline=None)
    def check(segments: list[tuple[str, int]]) -> None:
        text = "".join(part * count for part, count in segments)
        (found,), (expected,) = cutting.encode([text]), whole.encode_whole([text])
        beginning = whole.encode_whole([text[: cutting.most_characters]])[0]
        if len(expected.ids) <= most:
            assert found.ids == expected.ids or len(text) > cutting.most_characters
        elif len(beginning.ids) > most + 64 or len(text) <= cutting.most_characters:
            assert found == Encoded(expected.ids[: most - closing] + expected.ids[-closing:], True)
        assert len(found.ids) <= most

    check()


@pytest.mark.parametrize("model", ["generator", "encoder"])
def test_what_makes_few_tokens_is_cut_where_the_bound_says(model: str) -> None:
    tokenizer = Tokenizer(BUNDLE / model / "tokenizer.json", 64)
    text = "🎉" * (tokenizer.most_characters + 1)
    (found,), (shorter,) = tokenizer.encode([text]), tokenizer.encode([text[:-1]])
    assert (found.truncated, shorter.truncated) == (True, False)
    assert found.ids == shorter.ids


def test_without_a_longest_length_nothing_is_cut() -> None:
    tokenizer = Tokenizer(BUNDLE / "generator" / "tokenizer.json")
    assert tokenizer.most_characters is None
    assert len(tokenizer.encode(["dolor " * 20_000])[0].ids) > 20_000


LONG = """
import resource, sys
from pathlib import Path
from cielo.machine import bytes_in
from cielo.text.prompt import build_prompt
from cielo.text.tokenizer import Tokenizer
tokenizer = Tokenizer(Path(sys.argv[1]), 256)
status, longest = Path("/proc/self/status"), tokenizer.most_characters + 1
party = "\\N{PARTY POPPER}" * 5_000_000
texts = [party, "fiebre, " * 2_500_000, "x" * 20_000_000, "\\u00ad" * 10_000_000, " " * 20_000_000]
before = bytes_in(status, "VmHWM")
for text in texts:
    for term, sentence in ((text, "tos"), ("tos", text), (text, text)):
        for window in (60, None):
            prompt = build_prompt(term, sentence, window=window, longest=longest)
            assert len(prompt) <= longest
            assert len(tokenizer.encode([prompt])[0].ids) <= 256
print(bytes_in(status, "VmHWM") - before, resource.getrusage(resource.RUSAGE_SELF).ru_utime)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="no /proc")
def test_texts_of_twenty_megabytes_take_little_memory_and_time() -> None:
    command = [sys.executable, "-c", LONG, str(BUNDLE / "generator" / "tokenizer.json")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    grown, seconds = map(float, done.stdout.split())
    assert grown < 40_000_000
    assert seconds < 60
