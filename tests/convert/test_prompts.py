"""What parity is measured on."""

from __future__ import annotations

from pathlib import Path

import pytest
from cielo.errors import TableError
from cielo.parity.texts import parity_texts, spread
from cielo_convert.prompts import PACKAGED, hostile_strings, parity_prompts, read_mentions

from tests.checkpoints import descriptions


def test_the_packaged_mentions() -> None:
    pairs = read_mentions(PACKAGED)
    assert len(set(pairs)) == len(pairs) >= 400
    assert any(sentence is None for _, sentence in pairs)
    assert any(sentence and text.casefold() not in sentence.casefold() for text, sentence in pairs)


def test_prompts_follow_the_settings() -> None:
    prompts = parity_prompts(None, 300, prepare=True, window=60)
    assert len(set(prompts)) == len(prompts) == 300
    assert all(prompt.startswith("Genera una definición para el término: ") for prompt in prompts)
    whole = parity_prompts(None, 300, prepare=True, window=None)
    assert max(map(len, whole)) > max(map(len, prompts))
    assert parity_prompts(None, 10**6, prepare=False, window=None) != whole


def test_a_table_of_ones_own(tmp_path: Path) -> None:
    table = tmp_path / "mentions.tsv"
    table.write_text("code\tsentence\ttext\nA00\tTiene «tos.\ttos\nB00\t\tfiebre\nC00\tx\t\n", encoding="utf-8")
    assert read_mentions(table) == [("tos", "Tiene «tos."), ("fiebre", None)]
    assert len(parity_prompts(table, 5, prepare=True, window=None)) == 2


@pytest.mark.parametrize("content", [b"", b"mention\n", b"text\n", b"text\n\xff\n"])
def test_tables_that_cannot_be_used(tmp_path: Path, content: bytes) -> None:
    table = tmp_path / "mentions.tsv"
    table.write_bytes(content)
    with pytest.raises(TableError, match=r"mentions\.tsv"):
        parity_prompts(table, 5, prepare=True, window=None)


def test_hostile_strings() -> None:
    prompts = parity_prompts(None, 300, prepare=True, window=60)
    strings = hostile_strings(descriptions(), prompts)
    assert len(set(strings)) == len(strings) >= 2000
    assert strings == hostile_strings(descriptions(), prompts)
    assert {"", "   ", "</s>", "<extra_id_0>", "▁", "\u0301", "\x00"} <= set(strings)
    assert max(map(len, strings)) == 10_000
    assert len(hostile_strings([])) >= 2000
    for text in strings:
        text.encode()  # no lone surrogates, which no tokenizer takes


def test_texts_for_the_encoder() -> None:
    texts = parity_texts(descriptions())
    assert len(set(texts)) == len(texts) >= 300
    assert texts == parity_texts(descriptions())
    assert 60 <= len(set(texts) & set(descriptions())) < len(texts)
    assert len(parity_texts(["a"])) >= 300
    assert parity_texts([]) == []


def test_spread() -> None:
    assert spread("abcdef", 3) == ["a", "c", "e"]
    assert spread("ab", 3) == ["a", "b"]
