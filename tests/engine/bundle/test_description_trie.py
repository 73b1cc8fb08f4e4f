"""The trie of a bundle: built of a knowledge base, read back, restricted, and refused where it is damaged."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from cielo.bundle.layout import Bundle, default_bundle
from cielo.bundle.manifest import Manifest, TrieSection
from cielo.bundle.stages import open_trie
from cielo.bundle.trie import ENDS, LEFT_OUT, ROWS, TOKENS, DescriptionTrie
from cielo.bundle.writing import amend, write_manifest
from cielo.errors import BundleError
from cielo.generation.trie import Trie
from cielo.knowledge.reading import KnowledgeBase
from cielo.knowledge.records import DescriptionRow
from cielo.knowledge.subsets import Subset
from cielo.knowledge.writing import write_knowledge_base
from cielo.text.tokenizer import Tokenizer
from hypothesis import given
from hypothesis import strategies as st

ROWS_OF_TABLES = [
    DescriptionRow("R05", "Tos", "diagnosis"),
    DescriptionRow("R05", "tos", "diagnosis", preferred=False),
    DescriptionRow("R05.1", "Tos  aguda", "diagnosis"),
    DescriptionRow("R05.1", "Tos aguda", "diagnosis", preferred=False),
    DescriptionRow("A37", "Tos ferina", "diagnosis"),
    DescriptionRow("BW20", "Tos", "procedure"),
    DescriptionRow("BW21", "Tomografía", "procedure"),
]


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer(Bundle.open(default_bundle()).generator_tokenizer, 64)


@pytest.fixture
def base(tmp_path: Path) -> Iterator[KnowledgeBase]:
    write_knowledge_base(tmp_path / "base.sqlite", ROWS_OF_TABLES)
    opened = KnowledgeBase(tmp_path / "base.sqlite")
    yield opened
    opened.close()


@pytest.fixture
def trie(base: KnowledgeBase, tokenizer: Tokenizer) -> DescriptionTrie:
    return DescriptionTrie.build(base.texts(), tokenizer)


def texts_of(trie: Trie, whole: DescriptionTrie, base: KnowledgeBase) -> list[str]:
    return [base.concept_by_number(whole.number_of(row)).description for row in trie.numbers.tolist()]


SEQUENCES = st.lists(st.lists(st.integers(2, 5) | st.integers(2, 2**31 - 1), max_size=5), max_size=12)


class TestBuilding:
    @given(SEQUENCES)
    def test_rows_are_the_sequences_in_order_with_their_ends(self, sequences: list[list[int]]) -> None:
        trie, order = Trie.build(sequences, 1)
        rows = [trie.sequence(row).tolist() for row in range(len(trie))]
        assert rows == sorted([*sequence, 1] for sequence in sequences)
        assert rows == [[*sequences[place], 1] for place in order]
        for one, other in itertools.pairwise(order):
            assert sequences[one] != sequences[other] or one < other

    def test_each_description_is_one_row_with_its_first_number(
        self, trie: DescriptionTrie, base: KnowledgeBase, tokenizer: Tokenizer
    ) -> None:
        texts = base.texts()
        assert len(trie.trie) == len(set(texts)) == 6
        assert trie.section == TrieSection(6, len(trie.trie.tokens), tokenizer.end_id)
        for number, text in enumerate(texts, start=1):
            row = int(trie.rows[number - 1])
            assert trie.trie.sequence(row).tolist() == [*tokenizer.encode_target(text), tokenizer.end_id]
            assert trie.number_of(row) == texts.index(text) + 1
            trie.check(row, text, tokenizer)
        with pytest.raises(BundleError, match="another knowledge base"):
            trie.check(int(trie.rows[0]), "Tomografía", tokenizer)

    def test_descriptions_of_the_same_tokens_are_rows_of_their_own_side_by_side(
        self, trie: DescriptionTrie, tokenizer: Tokenizer, base: KnowledgeBase
    ) -> None:
        assert tokenizer.encode_target("Tos  aguda") == tokenizer.encode_target("Tos aguda")
        rows = [int(trie.rows[base.texts().index(text)]) for text in ("Tos  aguda", "Tos aguda")]
        assert rows[1] == rows[0] + 1

    def test_nothing_is_a_trie_too(self, tokenizer: Tokenizer, tmp_path: Path) -> None:
        empty = DescriptionTrie.build([], tokenizer)
        empty.save(tmp_path / "trie")
        read = DescriptionTrie.load(tmp_path / "trie", empty.section, tokenizer)
        assert len(read.trie) == len(read.restricted([])) == 0


class TestRestriction:
    @pytest.mark.parametrize(
        ("kind", "subset", "expected"),
        [
            (None, None, {"Tos", "tos", "Tos  aguda", "Tos aguda", "Tos ferina", "Tomografía"}),
            ("procedure", None, {"Tos", "Tomografía"}),
            ("diagnosis", None, {"Tos", "tos", "Tos  aguda", "Tos aguda", "Tos ferina"}),
            (None, Subset(codes=frozenset({"BW20"})), {"Tos"}),
            (None, Subset(codes=frozenset({"R05"})), {"Tos", "tos"}),
            ("diagnosis", Subset(codes=frozenset({"BW20"})), set()),
            (None, Subset(codes=frozenset()), set()),
            (None, Subset(leaf=True), {"Tos", "Tos  aguda", "Tos aguda", "Tos ferina", "Tomografía"}),
        ],
    )
    def test_the_descriptions_of_allowed_codes_stay(
        self,
        trie: DescriptionTrie,
        base: KnowledgeBase,
        kind: str | None,
        subset: Subset | None,
        expected: set[str],
    ) -> None:
        kept = trie.restricted(base.numbers(kind, subset))
        texts = texts_of(kept, trie, base)
        assert len(texts) == len(set(texts))
        if subset is not None and subset.leaf:  # whether R05 has children here depends on the code system
            texts = [text for text in texts if text != "tos"]
        assert set(texts) == expected

    def test_a_description_that_the_trie_lacks_is_another_knowledge_base_s(self, trie: DescriptionTrie) -> None:
        for numbers in ([8], [0], [1, 100]):
            with pytest.raises(BundleError, match="another knowledge base"):
                trie.restricted(numbers)


class TestFiles:
    def test_what_is_written_is_read(self, trie: DescriptionTrie, tokenizer: Tokenizer, tmp_path: Path) -> None:
        trie.save(tmp_path / "trie")
        read = DescriptionTrie.load(tmp_path / "trie", trie.section, tokenizer)
        for name in ("tokens", "begins", "ends"):
            assert np.array_equal(getattr(read.trie, name), getattr(trie.trie, name))
        assert np.array_equal(read.rows, trie.rows)
        assert [read.number_of(row) for row in range(6)] == [trie.number_of(row) for row in range(6)]

    @pytest.mark.parametrize(
        ("name", "change", "reason"),
        [
            (TOKENS, lambda values: values[:-1], "as the manifest says"),
            (ENDS, lambda values: values[:-1], "as the manifest says"),
            (ENDS, lambda values: values[::-1], "does not cut"),
            (ENDS, lambda values: np.where(values == values[2], values[1], values), "does not cut"),
            (ENDS, lambda values: np.where(values == values[2], values[2] + 1, values), "end token"),
            (ENDS, lambda values: values - 1, "does not cut"),
            (TOKENS, lambda values: np.where(np.arange(len(values)) == 0, 1, values), "end token"),
            (TOKENS, lambda values: np.where(values == 1, 5, values), "end token"),
            (TOKENS, lambda values: np.where(np.arange(len(values)) == 0, -1, values), "does not have"),
            (TOKENS, lambda values: np.where(np.arange(len(values)) == 0, 2**31 - 1, values), "does not have"),
            (TOKENS, lambda values: np.where(np.arange(len(values)) == 0, 3999, values), "not in order"),
            (ROWS, lambda values: values + 1, "not there"),
            (ROWS, lambda values: values - 2, "not there"),
            (ROWS, lambda values: values - 1, "leaves out 1 of 6"),
            (ROWS, lambda values: values * 0, "leaves out 5 of 6"),
            (ROWS, lambda values: values[:0], "leaves out 6 of 6"),
            (ROWS, lambda values: values.astype(np.int64), "not a whole list of int32 numbers"),
            (ROWS, lambda values: values[None], "not a whole list of int32 numbers"),
            (ROWS, lambda values: values.astype(">i4"), "not a whole list of int32 numbers"),
            (ROWS, lambda values: values.astype(object), "not a whole list"),
        ],
    )
    def test_a_damaged_file_is_refused_with_one_error(
        self,
        trie: DescriptionTrie,
        tokenizer: Tokenizer,
        tmp_path: Path,
        name: str,
        change: Callable[[np.ndarray], np.ndarray],
        reason: str,
    ) -> None:
        directory = tmp_path / "trie"
        trie.save(directory)
        values = change(np.load(directory / name))
        np.save(directory / name, values if values.dtype != np.int64 or "int32" in reason else values.astype(np.int32))
        with pytest.raises(BundleError, match=f"cannot be read .*{reason}.*build the bundle again"):
            DescriptionTrie.load(directory, trie.section, tokenizer)

    @pytest.mark.parametrize("name", [TOKENS, ENDS, ROWS])
    @pytest.mark.parametrize("content", [None, b"", b"\x93NUMPY", b"x" * 500, b"\x93NUMPY\x01\x00\xff\xff" + b"{" * 90])
    def test_what_is_no_array_is_refused(
        self, trie: DescriptionTrie, tokenizer: Tokenizer, tmp_path: Path, name: str, content: bytes | None
    ) -> None:
        directory = tmp_path / "trie"
        trie.save(directory)
        (directory / name).unlink()
        if content is not None:
            (directory / name).write_bytes(content)
        with pytest.raises(BundleError, match="the trie of the descriptions cannot be read"):
            DescriptionTrie.load(directory, trie.section, tokenizer)

    def test_a_header_that_promises_more_than_the_file_holds(
        self, trie: DescriptionTrie, tokenizer: Tokenizer, tmp_path: Path
    ) -> None:
        directory = tmp_path / "trie"
        trie.save(directory)
        content = (directory / TOKENS).read_bytes()
        size = f"({len(trie.trie.tokens)},), }}      ".encode()
        assert size in content
        (directory / TOKENS).write_bytes(content.replace(size, f"({10**6 + len(size)},), }}".encode().ljust(len(size))))
        with pytest.raises(BundleError, match="cannot be read"):
            DescriptionTrie.load(directory, trie.section, tokenizer)

    def test_any_flipped_byte_is_refused_or_a_trie(
        self, trie: DescriptionTrie, tokenizer: Tokenizer, tmp_path: Path
    ) -> None:
        directory = tmp_path / "trie"
        trie.save(directory)
        dice = np.random.default_rng(0)
        for name in (TOKENS, ENDS, ROWS):
            whole = (directory / name).read_bytes()
            for _ in range(150):
                content = bytearray(whole)
                content[dice.integers(len(content))] ^= 1 << int(dice.integers(8))
                (directory / name).write_bytes(content)
                try:
                    read = DescriptionTrie.load(directory, trie.section, tokenizer)
                except BundleError:
                    continue
                rows = [read.trie.sequence(row).tolist() for row in range(len(read.trie))]
                assert rows == sorted(rows)
            (directory / name).write_bytes(whole)


class TestBundle:
    @pytest.fixture
    def with_trie(self, bundle_files: Path, manifest: Manifest, trie: DescriptionTrie, tokenizer: Tokenizer) -> Bundle:
        trie.save(bundle_files / "trie")
        return write_manifest(bundle_files, manifest_with(manifest, trie.section))

    def test_the_manifest_names_it(self, with_trie: Bundle, trie: DescriptionTrie, tokenizer: Tokenizer) -> None:
        assert Bundle.open(with_trie.path).manifest.trie == trie.section
        assert {f"trie/{name}" for name in (TOKENS, ENDS, ROWS)} <= set(with_trie.manifest.files)
        opened = open_trie(with_trie, tokenizer)
        assert opened is not None and len(opened.trie) == 6

    def test_a_stray_file_beside_it_is_refused(self, with_trie: Bundle) -> None:
        (with_trie.path / "trie" / "kinds.npy").write_bytes(b"")
        with pytest.raises(BundleError, match=r"trie/kinds\.npy is not listed"):
            with_trie.refuse_strays()

    def test_a_bundle_without_one_opens_and_keeps_its_manifest_and_identity(
        self, bundle_files: Path, manifest: Manifest, tokenizer: Tokenizer, tmp_path: Path
    ) -> None:
        bundle = write_manifest(bundle_files, manifest)
        assert bundle.manifest.trie is None
        assert open_trie(bundle, tokenizer) is None
        assert b'"trie"' not in bundle.manifest_file.read_bytes()
        assert b'"trie"' not in amend(bundle, tmp_path / "copy", {}).manifest_file.read_bytes()

    def test_a_manifest_that_does_not_fit_the_files_is_refused(self, with_trie: Bundle, tokenizer: Tokenizer) -> None:
        for section in (TrieSection(7, 3, 1), TrieSection(0, 0, 1)):
            bundle = write_manifest(with_trie.path, manifest_with(with_trie.manifest, section))
            with pytest.raises(BundleError, match="as the manifest says"):
                open_trie(bundle, tokenizer)
        shutil.rmtree(with_trie.path / "trie")
        bundle = write_manifest(with_trie.path, with_trie.manifest)
        with pytest.raises(BundleError, match="cannot be read"):
            open_trie(bundle, tokenizer)


def manifest_with(manifest: Manifest, section: TrieSection) -> Manifest:
    from dataclasses import replace

    return replace(manifest, trie=section)


def test_what_an_output_cannot_hold_is_left_out(base: KnowledgeBase, tokenizer: Tokenizer, tmp_path: Path) -> None:
    texts = base.texts()
    lost = tokenizer.encode_target("Tomografía")

    def writes(tokens: np.ndarray) -> np.ndarray:
        return ~np.isin(tokens, lost[-1:])

    trie = DescriptionTrie.build(texts, tokenizer, writes)
    assert [text for text, row in zip(texts, trie.rows.tolist(), strict=True) if row == LEFT_OUT] == ["Tomografía"]
    numbers = base.numbers("procedure")
    assert texts_of(trie.restricted(numbers), trie, base) == ["Tos"]
    trie.save(tmp_path / "trie")
    again = DescriptionTrie.load(tmp_path / "trie", trie.section, tokenizer)
    assert again.rows.tolist() == trie.rows.tolist()
    assert texts_of(again.trie, again, base) == texts_of(trie.trie, trie, base)
