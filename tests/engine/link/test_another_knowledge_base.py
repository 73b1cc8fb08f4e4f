"""A knowledge base without vectors in place of the bundle's: exact matches alone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cielo.bundle.layout import default_bundle
from cielo.cli import main
from cielo.errors import BundleError, OptionError
from cielo.knowledge.records import DescriptionRow
from cielo.knowledge.writing import write_knowledge_base
from cielo.link.linker import Linker
from cielo.options import LinkOptions
from cielo.records import Decoding, Mention
from click.testing import CliRunner

MENTION = Mention("TC abdominal", "La TC abdominal es normal.")
TITLE = "tomografía computarizada (tc) de abdomen"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    rows = [
        DescriptionRow("R05", "algo que nadie escribe", "diagnosis"),
        DescriptionRow("XY99", TITLE, "procedure"),
        DescriptionRow("XY98", "otra cosa", "procedure"),
    ]
    write_knowledge_base(tmp_path / "kb.sqlite", rows, edition="otra")
    return tmp_path / "kb.sqlite"


@pytest.mark.parametrize("decoding", ["constrained", "probable", "published"])
def test_what_was_generated_is_matched_in_it(file: Path, decoding: Decoding) -> None:
    options = LinkOptions(pipeline="I", decoding=decoding)
    with Linker.open(knowledge_base=file, decoding=decoding, cache=False) as linker:
        (link,) = linker.link([MENTION], options)
        assert (link.code, link.method, link.title) == ("XY99", "exact", TITLE)
        assert (link.confidence, link.provenance.pipeline, link.provenance.bundle.edition) == (None, "I", "otra")
        assert linker.kinds == ("diagnosis", "procedure")


def test_what_has_no_match_gets_no_code(file: Path) -> None:
    with Linker.open(knowledge_base=file, cache=False) as linker:
        (link,) = linker.link([Mention("tos")], LinkOptions(pipeline="I", decoding="probable"))
        assert (link.code, link.method) == (None, "none")


def test_pipeline_two_is_refused(file: Path) -> None:
    with Linker.open(knowledge_base=file, cache=False) as linker, pytest.raises(OptionError, match="kb replace"):
        linker.link([MENTION])


def test_its_links_are_not_mixed_with_those_of_the_bundle(file: Path, tmp_path: Path) -> None:
    options, found = LinkOptions(pipeline="I"), []
    for base in (None, file, None, file):
        with Linker.open(knowledge_base=base, cache=tmp_path / "cache") as linker:
            (link,) = linker.link([MENTION], options)
            found.append((link.code, link.provenance.bundle.sha256, linker.cache_stats.hits))
    assert [code for code, *_ in found] == ["BW20", "XY99", "BW20", "XY99"]
    assert [hits for *_, hits in found] == [0, 0, 1, 1]
    assert found[0][1] == found[2][1] != found[1][1] == found[3][1]


def test_beside_another_linker_it_is_refused(file: Path) -> None:
    with Linker.open(cache=False) as linker, pytest.raises(OptionError, match="beside another"):
        Linker.open(beside=linker, knowledge_base=file)


def test_what_is_no_knowledge_base_is_refused(tmp_path: Path) -> None:
    (tmp_path / "kb").write_text("no", encoding="utf-8")
    for name in ("kb", "missing"):
        with pytest.raises(BundleError, match="cannot be opened as a knowledge base"):
            Linker.open(knowledge_base=tmp_path / name)


class TestCommand:
    def test_one_mention_and_rows(self, file: Path, tmp_path: Path) -> None:
        (tmp_path / "rows.csv").write_text("text,sentence\nTC abdominal,La TC abdominal es normal.\n", encoding="utf-8")
        one = CliRunner().invoke(main, ["link", "TC abdominal", "--kb", str(file), "--json"])
        rows = ["link", "--input", str(tmp_path / "rows.csv"), "--format", "jsonl", "--kb", str(file)]
        several = CliRunner().invoke(main, rows)
        for result in (one, several):
            assert result.exit_code == 0, result.output
            assert json.loads(result.stdout)["code"] == "XY99"

    def test_pipeline_two_is_refused_where_it_is_asked_for(self, file: Path) -> None:
        result = CliRunner().invoke(main, ["link", "tos", "--kb", str(file), "--pipeline", "II"])
        assert result.exit_code == 2
        assert "expected pipeline I" in result.stderr

    def test_a_bundle_is_no_file(self) -> None:
        assert CliRunner().invoke(main, ["link", "tos", "--kb", str(default_bundle())]).exit_code == 2
