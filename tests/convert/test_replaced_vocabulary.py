"""Another knowledge base in a bundle whose output vocabulary is cut down: what it cannot write is told and left out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from cielo.bundle.layout import Bundle
from cielo.bundle.stages import open_trie
from cielo.cli import main
from cielo.link.linker import Linker
from cielo.records import Mention
from cielo.text.tokenizer import Tokenizer
from cielo_convert.build import build
from cielo_convert.recipe import Recipe
from click.testing import CliRunner, Result

from tests.checkpoints import descriptions, make_recipe

CHANGES = {"prompts": "12", "vocabulary": '"knowledge-base"'}


@pytest.fixture(scope="module")
def cut(tmp_path_factory: pytest.TempPathFactory, generator: Path, encoder: Path) -> Bundle:
    folder = tmp_path_factory.mktemp("cut")
    recipe = Recipe.load(make_recipe(folder / "recipe", generator, encoder, changes=CHANGES))
    return Bundle.open(build(recipe, folder / "bundle"))


@pytest.fixture(scope="module")
def foreign(cut: Bundle) -> str:
    """A token that the cut vocabulary lacks, as text."""
    tokenizer = Tokenizer(cut.generator_tokenizer)
    trie = open_trie(cut, tokenizer)
    assert trie is not None
    known = set(np.unique(trie.trie.tokens).tolist())
    texts = (chr(letter) for letter in range(ord("A"), 0x17F))
    return next(
        text for text in texts if not set(tokenizer.encode_target(f"x{text}x")) <= {*known, tokenizer.unknown_id}
    )


def replace(cut: Bundle, folder: Path, titles: list[str]) -> Result:
    table = folder / "next.tsv"
    rows = "".join(f"A{number:02}\t{title}\n" for number, title in enumerate(titles))
    table.write_text(f"code\tdescription\n{rows}", encoding="utf-8")
    command = ["kb", "replace", str(cut.path), "--table", f"diagnosis={table}", "--output", str(folder / "new")]
    return CliRunner().invoke(main, [*command, "--unwritable", str(folder / "no.tsv")])


def test_what_cannot_be_written_is_told_and_left_out_of_the_trie(cut: Bundle, foreign: str, tmp_path: Path) -> None:
    titles = [*descriptions()[:20], f"x{foreign}x"]
    result = replace(cut, tmp_path, titles)
    assert result.exit_code == 3, result.output
    assert "cannot be written: A20 (diagnosis): the output vocabulary lacks a token of it" in result.stderr
    lines = (tmp_path / "no.tsv").read_text(encoding="utf-8").splitlines()
    assert [line.split("\t")[0] for line in lines] == ["code", "A20"]
    bundle = Bundle.open(tmp_path / "new")
    trie = open_trie(bundle, Tokenizer(bundle.generator_tokenizer))
    assert trie is not None
    assert (len(trie.trie), trie.rows.tolist().count(-1)) == (20, 1)
    assert all(figures.passed for figures in bundle.manifest.parity.values())
    (check,) = [
        one for one in bundle.manifest.parity["ctranslate2/cpu/float32"].checks if one.name == "trie.vocabulary"
    ]
    assert "1 more are left out" in check.detail
    with Linker.open(bundle.path, threads=1) as linker:
        (link,) = linker.link([Mention(f"x{foreign}x")])
        assert link.provenance.bundle.sha256 == bundle.sha256


def test_a_table_of_which_nothing_can_be_written_is_refused(cut: Bundle, foreign: str, tmp_path: Path) -> None:
    result = replace(cut, tmp_path, [f"x{foreign}x"])
    assert (result.exit_code, (tmp_path / "new").exists()) == (1, False)
    assert "can write none of the 1 descriptions" in result.stderr
