"""Calibrations of the mini: fitted on a few development mentions, kept in a copy of the bundle or in place."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from cielo import schema
from cielo.bundle import writing
from cielo.bundle.calibration import Calibrations
from cielo.bundle.layout import CALIBRATION, MANIFEST, Bundle
from cielo.errors import BundleError, CalibrationError, TableError
from cielo.knowledge.subsets import Subset
from cielo.link.confidence import TERMS, confidence
from cielo.link.linker import Linker
from cielo.link.resolver import features_of
from cielo.options import LinkOptions
from cielo.workbench.calibration.calibrate import calibrate, write_calibrated
from cielo.workbench.calibration.fit import FEWEST
from cielo.workbench.calibration.outside import read_outside
from cielo.workbench.evaluation.corpora import read_corpus
from cielo.workbench.evaluation.records import Corpus
from cielo.workbench.evaluation.run import link_corpus
from cielo.workbench.evaluation.scores import is_right
from cielo.workbench.evaluation.summary import corpus_hash

DEVELOPMENT = Path(__file__).parents[4] / "models" / "mini" / "dev.tsv"
OUTSIDE = DEVELOPMENT.with_name("outside-dev.tsv")


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory, one_backend: Path) -> Path:
    """Copy the mini without whatever calibration it comes with."""
    folder = tmp_path_factory.mktemp("bare") / "bundle"
    shutil.copytree(one_backend, folder)
    (folder / CALIBRATION).unlink(missing_ok=True)
    manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    manifest["files"].pop(CALIBRATION, None)
    (folder / MANIFEST).write_text(json.dumps(manifest), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    return Corpus(tuple(islice(read_corpus(DEVELOPMENT).mentions, 120)))


@pytest.fixture(scope="module")
def linker(bare: Path) -> Iterator[Linker]:
    with Linker.open(bare, threads=1, cache=False) as opened:
        yield opened


@pytest.fixture(scope="module")
def fitted(linker: Linker, corpus: Corpus) -> Calibrations:
    return calibrate(linker, corpus, ["probable", "greedy"])


@pytest.fixture(scope="module")
def calibrated(bare: Path, fitted: Calibrations, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("calibrated") / "bundle"
    write_calibrated(Bundle.open(bare), output, {"probable": fitted["probable"]})
    return output


def contents(folder: Path) -> dict[str, bytes]:
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def test_a_search_is_calibrated_by_its_own_links(linker: Linker, corpus: Corpus, fitted: Calibrations) -> None:
    assert list(fitted) == ["probable", "greedy"]
    for decoding in ("probable", "greedy"):
        run = link_corpus(linker, corpus, "n", options=LinkOptions(decoding=decoding))  # type: ignore[arg-type]
        told = fitted[decoding].model
        answered = [outcome for outcome in run.outcomes if outcome.code is not None]
        assert told.mentions == len(answered)
        assert told.right == sum(map(is_right, answered))
        assert told.terms == TERMS
        worth = fitted[decoding].reliability
        assert (worth.mentions, worth.right, worth.data) == (told.mentions, told.right, corpus_hash(corpus))
        assert sum(entry.count for entry in worth.calibrated.bins) == told.mentions
    read = schema.decode(Calibrations, schema.encode(fitted), "it", error=BundleError, remedy="none")
    assert read == fitted


def test_what_is_fitted_is_the_same_every_time(linker: Linker, corpus: Corpus, fitted: Calibrations) -> None:
    assert calibrate(linker, corpus, ["probable"])["probable"] == fitted["probable"]


def test_too_few_mentions_are_refused(linker: Linker, corpus: Corpus) -> None:
    with pytest.raises(CalibrationError, match=str(FEWEST)):
        calibrate(linker, Corpus(corpus.mentions[:20]), ["probable"])


def test_mentions_outside_of_the_knowledge_base_make_it_less_sure_of_them(
    linker: Linker, corpus: Corpus, fitted: Calibrations
) -> None:
    outside = read_outside(OUTSIDE)
    assert len(outside.mentions) >= 120 and not outside.skipped
    run = link_corpus(linker, outside, "outside")
    assert not any(map(is_right, run.outcomes))
    answered = [features for link in run.links if (features := features_of(link)) is not None]
    found = calibrate(linker, corpus, ["probable"], outside=outside)["probable"]
    before = fitted["probable"]
    assert found.reliability.outside == len(answered) == found.model.mentions - before.model.mentions
    assert found.model.right == before.model.right
    assert found.reliability.data != before.reliability.data
    means = [sum(confidence(kept.model, one) for one in answered) / len(answered) for kept in (found, before)]
    assert means[0] < means[1]


def test_what_has_a_code_is_not_outside(tmp_path: Path) -> None:
    table = tmp_path / "outside.csv"
    table.write_text(
        "text,sentence,kind,code\nhola,Dice hola.,diagnosis,\ntos,Tiene tos.,,R05\n,Sin texto.,,\n", encoding="utf-8"
    )
    found = read_outside(table)
    assert [(entry.mention.text, entry.mention.kind, entry.codes) for entry in found.mentions] == [
        ("hola", "diagnosis", ())
    ]
    assert ["the row has a code" in entry.reason for entry in found.skipped] == [True, False]
    table.write_text("text,code\ntos,R05\n", encoding="utf-8")
    with pytest.raises(TableError, match="without codes"):
        read_outside(table)


def test_links_have_a_confidence_where_the_bundle_was_calibrated_for_them(
    calibrated: Path, linker: Linker, corpus: Corpus, fitted: Calibrations
) -> None:
    mentions = [entry.mention for entry in corpus.mentions[:20]]
    assert not linker.calibrations
    assert {link.confidence for link in linker.link(mentions)} == {None}
    model = fitted["probable"].model
    with Linker.open(calibrated, threads=1, cache=False) as opened:
        assert list(opened.calibrations) == ["probable"]
        for link in opened.link(mentions):
            features = features_of(link)
            assert (features is None) == (link.code is None)
            if features is not None:
                assert link.confidence == pytest.approx(confidence(model, features))
                assert 0 <= link.confidence <= 1
        least = opened.link(mentions, LinkOptions(min_confidence=1.0))
        assert {(link.code, link.method) for link in least} == {(None, "none")}
        # It was not fitted for these, and so says nothing of them.
        others: list[dict[str, Any]] = [
            {"decoding": "published"}, {"decoding": "greedy"}, {"matching": "published"}, {"rerank": True},
            {"subset": Subset(kinds=frozenset({"diagnosis"}))},
        ]  # fmt: skip
        for options in others:
            assert {link.confidence for link in opened.link(mentions[:3], LinkOptions(**options))} == {None}, options


def test_the_copy_differs_in_the_calibration_alone(bare: Path, calibrated: Path, fitted: Calibrations) -> None:
    before, after = contents(bare), contents(calibrated)
    assert json.loads(after.pop(CALIBRATION)) == {"probable": schema.to_builtins(fitted["probable"])}
    old, new = json.loads(before.pop(MANIFEST)), json.loads(after.pop(MANIFEST))
    assert before == after
    assert new["files"].pop(CALIBRATION)["size"] == (calibrated / CALIBRATION).stat().st_size
    assert old == new
    opened = Bundle.open(calibrated)
    opened.check_hashes()
    assert opened.unlisted_files() == []
    assert opened.sha256 != Bundle.open(bare).sha256
    assert opened.calibrations() == {"probable": fitted["probable"]}
    assert Bundle.open(bare).calibrations() == {}


def test_in_place_and_those_of_other_searches_stay(calibrated: Path, fitted: Calibrations, tmp_path: Path) -> None:
    folder = tmp_path / "bundle"
    shutil.copytree(calibrated, folder)
    written = write_calibrated(Bundle.open(folder), folder, {"greedy": fitted["greedy"]}, overwrite=True)
    assert written.path == folder
    assert written.calibrations() == fitted
    written.check_hashes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bundle"]
    again = write_calibrated(written, folder, {"probable": fitted["greedy"]}, overwrite=True)
    assert again.calibrations() == {"probable": fitted["greedy"], "greedy": fitted["greedy"]}


def test_what_stands_at_the_output_is_only_replaced_where_that_is_wanted(
    bare: Path, fitted: Calibrations, tmp_path: Path
) -> None:
    output = tmp_path / "out"
    output.mkdir()
    (output / "mine.txt").write_text("mine")
    for target in (output, bare):
        before = contents(target)
        with pytest.raises(BundleError, match="exists"):
            write_calibrated(Bundle.open(bare), target, fitted)
        assert contents(target) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out"]


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_failure_leaves_nothing_behind_and_the_old_bundle_whole(
    bare: Path, fitted: Calibrations, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    folder = tmp_path / "bundle"
    shutil.copytree(bare, folder)
    before = contents(folder)

    def fail(*_: object, **__: object) -> None:
        raise error

    bundle = Bundle.open(folder)
    monkeypatch.setattr(writing, "_write", fail)
    for target in (folder, tmp_path / "other"):
        with pytest.raises(BundleError if isinstance(error, OSError) else KeyboardInterrupt):
            write_calibrated(bundle, target, fitted, overwrite=True)
    assert contents(folder) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bundle"]


def test_a_place_that_cannot_be_written_is_told(bare: Path, fitted: Calibrations, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(BundleError, match="file"):
        write_calibrated(Bundle.open(bare), tmp_path / "file" / "out", fitted)


@pytest.mark.parametrize("content", ["", "[]x", "[" * 100_000, '{"probable": {}}', '{"probable": []}', "\ud800"])
def test_a_damaged_calibration_is_no_calibration_but_an_error(bare: Path, tmp_path: Path, content: str) -> None:
    folder = tmp_path / "bundle"
    shutil.copytree(bare, folder)
    (folder / CALIBRATION).write_bytes(content.encode("utf-8", "surrogatepass"))
    with pytest.raises(BundleError, match="build the bundle again"):
        Bundle.open(folder).calibrations()
