"""`--decoding constrained` on the command line: the mini with a second generator, which searches in tries."""

from __future__ import annotations

import json
import sys
from itertools import islice
from pathlib import Path

import pytest
from cielo.bundle.layout import Bundle
from cielo.cli import main
from cielo.generation.backends import BACKENDS
from cielo.link.confidence import PROVEN_TERMS, TERMS
from cielo.link.linker import Linker
from cielo.options import LinkOptions
from cielo.records import Mention
from click.testing import CliRunner, Result

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "generation"))

from toy_backend import constrained_mini, constrained_toy

DEVELOPMENT = Path(__file__).parents[3] / "models" / "mini" / "dev.tsv"


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return constrained_mini(tmp_path_factory.mktemp("both") / "bundle").path


@pytest.fixture(autouse=True)
def _surroundings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bundle: Path) -> None:
    monkeypatch.setenv("CIELO_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("CIELO_BUNDLE", str(bundle))
    monkeypatch.setitem(BACKENDS, "toy", constrained_toy())


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Some of the development mentions."""
    file = tmp_path_factory.mktemp("corpus") / "dev.tsv"
    with DEVELOPMENT.open(encoding="utf-8") as stream:
        file.write_text("".join(islice(stream, 121)), encoding="utf-8")
    return file


def run(*arguments: str | Path, stdin: bytes | None = None) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments], input=stdin)


def test_a_link_shows_its_proof() -> None:
    result = run("link", "asma", "--decoding", "constrained", "--json")
    assert result.exit_code == 0, result.output
    row = json.loads(result.stdout)
    assert row["proof"]["exact"] is True and row["proof"]["gap"] == 0.0 and row["proof"]["passes"] == 2
    assert (row["method"], row["provenance"]["decoding"], row["provenance"]["backend"]) == (
        "exact", "constrained", "toy",
    )  # fmt: skip
    shown = run("link", "asma", "--decoding", "constrained").stdout
    assert "proof:     no description is more probable; " in shown
    assert "proof" not in run("link", "asma").stdout


def test_a_limit_of_passes_leaves_the_proof_open() -> None:
    result = run("link", "asma", "--decoding", "constrained", "--max-passes", "1", "--json")
    assert json.loads(result.stdout)["proof"]["exact"] is False
    shown = run("link", "asma", "--decoding", "constrained", "--max-passes", "1", "--proven", "1").stdout
    assert "open: one that was not looked at could be more probable by 0.50 nats" in shown
    assert run("link", "asma", "--decoding", "constrained", "--proven", "0").exit_code == 2


def test_rows_have_a_column_for_it(tmp_path: Path) -> None:
    rows = b"text,kind\nasma,\nfractura,diagnosis\n"
    result = run("link", "--input", "-", "--format", "csv", "--input-format", "csv", "--decoding", "constrained",
                 stdin=rows)  # fmt: skip
    assert result.exit_code == 0, result.output
    assert ",proof," in result.stdout.splitlines()[0]
    assert ",proof," not in run("link", "--input", "-", "--format", "csv", "--input-format", "csv", stdin=rows).stdout


def test_a_restriction_is_kept_to() -> None:
    result = run("link", "asma", "--decoding", "constrained", "--chapter", "IX", "--kind", "diagnosis", "--json")
    row = json.loads(result.stdout)
    assert row["code"].startswith("I") and row["proof"]["exact"]


def test_a_bundle_that_cannot_says_which_line_of_the_recipe_helps(
    monkeypatch: pytest.MonkeyPatch, one_backend: Path
) -> None:
    monkeypatch.setenv("CIELO_BUNDLE", str(one_backend))
    result = run("link", "asma", "--decoding", "constrained")
    assert result.exit_code in (1, 2)
    assert 'backends = ["ctranslate2", "onnx"]' in result.stderr
    assert "Traceback" not in result.output


@pytest.mark.parametrize("option", [["--matching", "published"], ["--rerank"]])
def test_what_does_not_go_with_it_is_refused(option: list[str]) -> None:
    result = run("link", "asma", "--decoding", "constrained", *option)
    assert result.exit_code == 2 and "constrained" in result.stderr


def test_evaluation_sets_it_beside_another(corpus: Path) -> None:
    result = run("evaluate", corpus, "--decoding", "probable,constrained", "--json", "--resamples", "100")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert [run["settings"]["decoding"] for run in found["runs"]] == ["probable", "constrained"]


def test_calibration_keeps_the_terms_of_the_proof(corpus: Path, bundle: Path, tmp_path: Path) -> None:
    output = tmp_path / "calibrated"
    result = run("calibrate", bundle, corpus, "--output", output, "--decoding", "constrained",
                 "--decoding", "probable")  # fmt: skip
    assert result.exit_code == 0, result.output
    kept = Bundle.open(output).calibrations()
    assert kept["constrained"].model.terms == PROVEN_TERMS
    assert kept["probable"].model.terms == TERMS
    with Linker.open(output, decoding="constrained") as linker:
        (link,) = linker.link([Mention("asma")])
        assert link.confidence is not None and 0 <= link.confidence <= 1
        assert linker.link([Mention("asma")], LinkOptions(proven=1))[0].confidence is None
        (least,) = linker.link([Mention("una cosa que no es nada")], LinkOptions(min_confidence=1.0))
        assert least.method == "none"


def test_mentions_outside_of_the_knowledge_base_are_fitted_too(corpus: Path, bundle: Path, tmp_path: Path) -> None:
    outside = DEVELOPMENT.with_name("outside-dev.tsv")
    result = run("calibrate", bundle, corpus, "--output", tmp_path / "calibrated", "--decoding", "constrained",
                 "--outside", outside)  # fmt: skip
    assert result.exit_code == 0, result.output
    kept = Bundle.open(tmp_path / "calibrated").calibrations()["constrained"]
    assert kept.reliability.outside == 129 and kept.model.mentions >= 129 + 120
    assert "129 of them to mentions outside of the knowledge base" in " ".join(result.stdout.split())


def test_rows_with_a_code_are_not_outside(corpus: Path, bundle: Path, tmp_path: Path) -> None:
    result = run("calibrate", bundle, corpus, "--output", tmp_path / "calibrated", "--outside", corpus)
    assert result.exit_code == 1 and "without codes" in result.stderr
    assert not (tmp_path / "calibrated").exists()


def test_speed_is_measured_with_it(tmp_path: Path) -> None:
    output = tmp_path / "bench.json"
    result = run("bench", "--decoding", "constrained", "--scenario", "single-stream", "--seconds", "0.2",
                 "--json", output)  # fmt: skip
    assert result.exit_code == 0, result.output
    assert "constrained" in output.read_text(encoding="utf-8")
