"""The card's figures beside those of a converted checkpoint: the whole way, at a tiny shape."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cielo.cli import main
from click.testing import CliRunner


def test_a_converted_bundle_is_evaluated_beside_the_card(
    recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CIELO_STATE", str(tmp_path / "state"))
    bundle, runner = tmp_path / "bundle", CliRunner()
    done = runner.invoke(main, ["convert", str(recipe), "--output", str(bundle)])
    assert done.exit_code == 0, done.output
    header = "file_id\tsentence\twords\tlabel\tlabel_type\n"
    for split, words in (("train", "asma"), ("dev", "cefalea"), ("test", "asma")):
        lines = f"a1\tTiene {words}.\t{words}\tA00\tDIAGNOSTICO\na2\tNo.\tanemia\tA01\tDIAGNOSTICO\n"
        (tmp_path / f"{split}_sentences.tsv").write_text(header + lines, encoding="utf-8")
    corpus = tmp_path / "test_sentences.tsv"
    found = runner.invoke(main, ["evaluate", str(corpus), "--bundle", str(bundle), "--as-published", "--json"])
    assert found.exit_code == 0, found.output
    told = json.loads(found.stdout)
    assert told["runs"][0]["settings"]["decoding"] == told["runs"][0]["settings"]["matching"] == "published"
    assert [source["name"] for source in told["about"]["training"]] == ["train_sentences.tsv", "dev_sentences.tsv"]
    assert told["splits"]["seen"]["count"] == 2
    differences = " ".join(told["card"]["differences"])
    assert "the bundle is tiny" in differences and "compute type" not in differences
