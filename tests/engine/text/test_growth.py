"""A tokenizer file that makes texts grow without bound is refused before it is given one."""

from __future__ import annotations

import base64
import json
import os
import struct
from pathlib import Path
from typing import Any

import pytest
from cielo.bundle.layout import Layout, default_bundle
from cielo.errors import BundleError
from cielo.text import tokenizer as module
from cielo.text.growth import refuse_growth
from cielo.text.tokenizer import Tokenizer

DOUBLING = {"type": "Replace", "pattern": {"String": "a"}, "content": "aa"}
TEMPLATE = {
    "type": "TemplateProcessing",
    "single": [{"Sequence": {"id": "A", "type_id": 0}}, {"SpecialToken": {"id": "</s>", "type_id": 0}}],
    "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 0}}],
    "special_tokens": {"</s>": {"id": "</s>", "ids": [1], "tokens": ["</s>"]}},
}


def untyped(step: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in step.items() if name != "type"}


def sequence(name: str, *steps: dict[str, Any]) -> dict[str, Any]:
    return {"type": "Sequence", name: list(steps)}


def charsmap(longest: int) -> str:
    return base64.b64encode(struct.pack("<I", 4) + bytes(4) + b"x\0" + b"y" * longest + b"\0").decode()


@pytest.fixture
def mini() -> dict[str, Any]:
    content: dict[str, Any] = json.loads(Layout(default_bundle()).generator_tokenizer.read_bytes())
    return content


GROWING: dict[str, dict[str, Any]] = {
    "forty doublings": {"normalizer": sequence("normalizers", *[DOUBLING] * 40)},
    "doublings in doublings": {
        "normalizer": sequence("normalizers", sequence("normalizers", *[DOUBLING] * 6), *[DOUBLING] * 6)
    },
    "without their types": {"normalizer": sequence("normalizers", *[untyped(DOUBLING)] * 12)},
    "one long replacement": {"normalizer": {**DOUBLING, "content": "a" * 2000}},
    "a pattern that matches everywhere": {
        "normalizer": {"type": "Replace", "pattern": {"Regex": ""}, "content": "a" * 2000}
    },
    "compatibility forms again and again": {"normalizer": sequence("normalizers", *[{"type": "NFKD"}] * 3)},
    "a long beginning": {"normalizer": {"type": "Prepend", "prepend": "a" * 2000}},
    "a table with a long text": {"normalizer": {"type": "Precompiled", "precompiled_charsmap": charsmap(2000)}},
    "byte after byte": {"pre_tokenizer": sequence("pretokenizers", *[{"type": "ByteLevel"}] * 6)},
    "a template with many texts": {"post_processor": {**TEMPLATE, "single": TEMPLATE["single"] * 600}},
    "a template with many special tokens": {
        "post_processor": {**TEMPLATE, "special_tokens": {"</s>": {"id": "</s>", "ids": [1] * 2000, "tokens": []}}}
    },
    "templates in a row": {
        "post_processor": sequence("processors", *[{**TEMPLATE, "single": TEMPLATE["single"] * 4}] * 9)
    },
    "a decoder that doubles": {"decoder": sequence("decoders", *[DOUBLING] * 40)},
    "a little of each": {
        "normalizer": sequence("normalizers", *[DOUBLING] * 5),
        "pre_tokenizer": {"type": "ByteLevel"},
        "post_processor": {**TEMPLATE, "single": TEMPLATE["single"] * 10},
    },
}  # fmt: skip


@pytest.mark.parametrize("change", GROWING.values(), ids=GROWING)
def test_growth_without_bound_is_refused(tmp_path: Path, mini: dict[str, Any], change: dict[str, Any]) -> None:
    file = tmp_path / "tokenizer.json"
    file.write_text(json.dumps({**mini, **change}), encoding="utf-8")
    with pytest.raises(BundleError, match="more than 1000 times as long"):
        Tokenizer(file)


def test_a_long_affix_is_refused(tmp_path: Path, mini: dict[str, Any]) -> None:
    mini["model"]["continuing_subword_prefix"] = "#" * 101
    with pytest.raises(ValueError, match="continuing_subword_prefix has 101 characters"):
        refuse_growth(json.dumps(mini).encode())


@pytest.mark.parametrize(
    "normalizer",
    [
        None,
        {"type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True, "strip_accents": None},
        sequence("normalizers", {"type": "NFKC"}, {"type": "Lowercase"}, {"type": "Prepend", "prepend": "▁"}),
        {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": "▁"},
        {"type": "Precompiled", "precompiled_charsmap": charsmap(40)},
    ],
)
def test_what_tokenizers_of_models_do_is_let_through(mini: dict[str, Any], normalizer: dict[str, Any] | None) -> None:
    refuse_growth(json.dumps({**mini, "normalizer": normalizer, "pre_tokenizer": {"type": "ByteLevel"}}).encode())


def test_the_tokenizers_of_the_mini_are_let_through() -> None:
    for file in default_bundle().rglob("tokenizer.json"):
        refuse_growth(file.read_bytes())


@pytest.mark.parametrize(
    "content",
    [
        b"", b"[]", b"{", b"null", b"\xff", b"{}", b'{"normalizer": 3}', b"[" * 1_000_000,
        b'{"normalizer":' + b'{"normalizers":[' * 100_000, b'{"normalizer": {"normalizers": 3}}',
        b'{"normalizer": {"precompiled_charsmap": "!"}}', b'{"post_processor": {"single": 3, "special_tokens": 3}}',
    ],
)  # fmt: skip
def test_what_is_no_tokenizer_is_one_error(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "tokenizer.json"
    file.write_bytes(content)
    with pytest.raises(BundleError, match=r"tokenizer\.json is not a tokenizer file of the tokenizers library"):
        Tokenizer(file)


def test_a_fifo_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "tokenizer.json")
    with pytest.raises(BundleError, match="not a regular file"):
        Tokenizer(tmp_path / "tokenizer.json")


def test_a_huge_file_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MOST_BYTES", 1000)
    with pytest.raises(BundleError, match=r"longer than 0\.001 MB"):
        Tokenizer(Layout(default_bundle()).generator_tokenizer)
