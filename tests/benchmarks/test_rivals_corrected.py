from __future__ import annotations

import json
from pathlib import Path

import pytest
from cielo_convert.checkpoint import has_own_head

from benchmarks.rivals.corrected import corrected_checkpoint, is_tied
from tests.checkpoints import LAYOUTS, Head, Layout, make_generator_checkpoint


def flag(checkpoint: Path) -> bool:
    return bool(json.loads((checkpoint / "config.json").read_text(encoding="utf-8"))["tie_word_embeddings"])


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("says_tied", [True, False])
def test_the_config_says_what_the_files_hold(tmp_path: Path, layout: Layout, says_tied: bool) -> None:
    checkpoint = make_generator_checkpoint(tmp_path / "own", config_flag=says_tied, layout=layout)
    with corrected_checkpoint(checkpoint) as corrected:
        assert flag(corrected) is False
        assert {path.name for path in corrected.iterdir()} == {path.name for path in checkpoint.iterdir()}
        assert has_own_head(corrected)
    assert flag(checkpoint) is says_tied
    assert not corrected.exists()


@pytest.mark.parametrize(("head", "tied"), [("absent", True), ("equal", None)])
@pytest.mark.parametrize("says_tied", [True, False])
def test_a_head_that_is_the_embeddings(tmp_path: Path, head: Head, tied: bool | None, says_tied: bool) -> None:
    checkpoint = make_generator_checkpoint(tmp_path / "tied", tied=True, head=head, config_flag=says_tied)
    assert is_tied(checkpoint) is tied
    with corrected_checkpoint(checkpoint) as corrected:
        assert flag(corrected) is (says_tied if tied is None else tied)
        assert has_own_head(corrected) == has_own_head(checkpoint)
