from __future__ import annotations

from pathlib import Path

import pytest
from cielo.errors import BundleError
from cielo.text.tokenizer import Encoded, Tokenizer
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, decoders, models, pre_tokenizers, processors
from tokenizers import Tokenizer as FastTokenizer

WORDS = ["dolor", "abdominal", "agudo", "fiebre", "a"]


def save_tokenizer(path: Path, *, opening: str = "", closing: str = " </s>", padding: str = "<pad>") -> Path:
    pieces = [padding, "</s>", "<unk>", "<s>", "<sep>", *(f"▁{word}" for word in WORDS)]
    fast = FastTokenizer(models.WordLevel({piece: number for number, piece in enumerate(pieces)}, unk_token="<unk>"))
    fast.pre_tokenizer = pre_tokenizers.Metaspace()
    fast.decoder = decoders.Metaspace()
    fast.add_special_tokens([AddedToken(token, special=True) for token in (padding, "</s>", "<unk>", "<s>", "<sep>")])
    fast.post_processor = processors.TemplateProcessing(
        single=f"{opening}$A{closing}".strip(),
        special_tokens=[("</s>", 1), ("<s>", 3), ("<sep>", 4)],
    )
    # A file may bring truncation and padding of its own; neither may act here.
    fast.enable_truncation(3)
    fast.enable_padding(length=16)
    fast.save(str(path))
    return path


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tokenizer(tmp_path_factory.mktemp("tokenizer") / "tokenizer.json")


def test_ids_end_in_the_closing_token_and_are_neither_cut_nor_padded(file: Path) -> None:
    encoded = Tokenizer(file).encode(["dolor abdominal agudo fiebre", "fiebre", ""])
    assert encoded == [Encoded([5, 6, 7, 8, 1], False), Encoded([8, 1], False), Encoded([1], False)]


def test_no_texts_give_no_ids(file: Path) -> None:
    assert Tokenizer(file).encode([]) == []


def test_an_unknown_word_is_the_unknown_token(file: Path) -> None:
    assert Tokenizer(file).encode(["dolor zzz"])[0].ids == [5, 2, 1]


@pytest.mark.parametrize(
    ("most", "expected"),
    [
        (5, Encoded([5, 6, 7, 8, 1], False)),
        (4, Encoded([5, 6, 7, 1], True)),
        (2, Encoded([5, 1], True)),
        (1, Encoded([1], True)),
    ],
)
def test_a_text_that_is_too_long_keeps_its_closing_token(file: Path, most: int, expected: Encoded) -> None:
    assert Tokenizer(file, most).encode(["dolor abdominal agudo fiebre"]) == [expected]


def test_encoding_whole_ignores_the_longest_length(file: Path) -> None:
    assert Tokenizer(file, 2).encode_whole(["dolor abdominal"]) == [Encoded([5, 6, 1], False)]


@given(st.lists(st.lists(st.sampled_from(WORDS), max_size=12).map(" ".join), max_size=6), st.integers(1, 14))
@settings(max_examples=50)
def test_truncation_is_told_and_never_exceeds_the_length(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str], most: int
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.json"
    tokenizer = Tokenizer(path if path.exists() else save_tokenizer(path), most)
    for cut, whole in zip(tokenizer.encode(texts), tokenizer.encode_whole(texts), strict=True):
        assert cut.truncated == (len(whole.ids) > most)
        assert len(cut.ids) == min(most, len(whole.ids))
        assert cut.ids[-1] == 1
        assert cut.ids[:-1] == whole.ids[: len(cut.ids) - 1]


@pytest.mark.parametrize(
    ("opening", "closing", "tokens", "cut"),
    [
        ("", " </s>", ["</s>"], [5, 6, 1]),
        ("<s> ", " </s>", ["</s>"], [3, 5, 1]),
        ("", " <sep> </s>", ["<sep>", "</s>"], [5, 4, 1]),
        ("<s> ", "", [], [3, 5, 6]),
        ("", "", [], [5, 6, 7]),
    ],
)
def test_the_closing_tokens_are_read_from_the_file(
    tmp_path: Path, opening: str, closing: str, tokens: list[str], cut: list[int]
) -> None:
    tokenizer = Tokenizer(save_tokenizer(tmp_path / "tokenizer.json", opening=opening, closing=closing), 3)
    assert tokenizer.closing_tokens == tokens
    assert tokenizer.encode(["dolor abdominal agudo fiebre"])[0] == Encoded(cut, True)


def test_a_target_has_no_special_tokens(file: Path) -> None:
    assert Tokenizer(file).encode_target("dolor agudo") == [5, 7]


def test_tokens_and_ids_are_each_other_s_inverse(file: Path) -> None:
    tokenizer = Tokenizer(file)
    assert tokenizer.tokens([5, 7, 1]) == ["▁dolor", "▁agudo", "</s>"]
    assert tokenizer.decode(["▁dolor", "▁agudo", "</s>"]) == "dolor agudo"


def test_ids_and_tokens_that_are_not_in_the_vocabulary_do_not_raise(file: Path) -> None:
    tokenizer = Tokenizer(file)
    assert tokenizer.tokens([5, 999_999]) == ["▁dolor", ""]
    assert tokenizer.decode(["▁dolor", "<extra_id_7>", ""]) == "dolor"
    assert tokenizer.decode([]) == ""


def test_special_tokens_are_left_out_of_a_decoded_text(file: Path) -> None:
    assert Tokenizer(file).decode(["<pad>", "▁fiebre", "<unk>", "</s>", "<pad>"]) == "fiebre"


def test_the_vocabulary_counts_every_token(file: Path) -> None:
    assert Tokenizer(file).vocabulary_size == 5 + len(WORDS)


def test_the_padding_id_is_that_of_the_file(tmp_path: Path) -> None:
    assert Tokenizer(save_tokenizer(tmp_path / "a.json")).padding_id == 0
    other = FastTokenizer.from_file(str(save_tokenizer(tmp_path / "b.json", padding="<none>")))
    other.add_special_tokens(["[PAD]"])
    other.save(str(tmp_path / "c.json"))
    assert Tokenizer(tmp_path / "b.json").padding_id == 0
    assert Tokenizer(tmp_path / "c.json").padding_id == other.token_to_id("[PAD]") > 0


@pytest.mark.parametrize("content", [None, b"", b"{}", b"[1, 2]", b"\xff\xfe", b'{"version": "1.0"'])
def test_a_file_that_is_no_tokenizer_is_refused(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "tokenizer.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(BundleError, match=r"tokenizer\.json is not a tokenizer file"):
        Tokenizer(path)


def test_a_truncated_file_is_refused(tmp_path: Path, file: Path) -> None:
    whole = file.read_bytes()
    path = tmp_path / "tokenizer.json"
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(BundleError, match="build the bundle again"):
        Tokenizer(path)
