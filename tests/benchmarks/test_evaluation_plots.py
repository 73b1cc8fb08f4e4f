"""The plots of an evaluation as files that look alike wherever they are shown."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
from cielo.bundle.calibration import Reliability
from cielo.records import Mention
from cielo.workbench.calibration.quality import quality
from cielo.workbench.evaluation.records import Annotated, Corpus, Outcome, RunSettings
from cielo.workbench.evaluation.results import About, to_json
from cielo.workbench.evaluation.run import Run
from cielo.workbench.evaluation.summary import summarize
from click.testing import CliRunner

from benchmarks.evaluation_plots import main
from benchmarks.rivals.plots import MeasuredBar, MeasuredGroup, measured_bars


@pytest.fixture
def evaluation(tmp_path: Path) -> Path:
    entry = Annotated(Mention("fiebre", kind="diagnosis"), ("R50.9",))
    outcomes = tuple(
        Outcome(entry, (code,), code, "diagnosis", "exact", probability=sure)
        for code, sure in (("R50.9", 0.9), ("R51", 0.4), ("R50.9", 0.3))
    )
    run = Run("a run", RunSettings(name="mini", sha256="ab", edition="kb", decoding="probable"), outcomes)
    table = quality([number / 40 for number in range(40)], [number % 3 > 0 for number in range(40)], bins=4)
    calibration = {"probable": Reliability(table, table, 40, 26, 5, "ef" * 32)}
    told = summarize([run], Corpus((entry,) * 3), {}, resamples=10, about=About(), calibration=calibration)
    path = tmp_path / "evaluation.json"
    path.write_bytes(to_json(told))
    return path


def test_each_plot_is_a_file_with_a_ground_of_its_own(evaluation: Path, tmp_path: Path) -> None:
    result = CliRunner().invoke(main, [str(evaluation), str(tmp_path)], catch_exceptions=False)
    assert result.exit_code == 0
    assert {path.name for path in tmp_path.glob("*.svg")} == {"coverage.svg", "reliability.svg"}
    for path in tmp_path.glob("*.svg"):
        content = path.read_text(encoding="utf-8")
        root = ElementTree.fromstring(content)
        ground = root.find("{http://www.w3.org/2000/svg}rect")
        assert ground is not None and ground.attrib["style"] == "fill:#ffffff"
        assert ground.attrib["width"] == root.attrib["width"] and ground.attrib["height"] == root.attrib["height"]
        assert root.attrib["aria-label"] == root.findtext("{http://www.w3.org/2000/svg}title")
        assert "var(" not in content and "url(" not in content and "href" not in content


def test_measured_bars_show_values_quartiles_and_failures() -> None:
    bars = [MeasuredBar("#9ecae1", 20.0, 10.0, 30.0), MeasuredBar("#4292c6", None, failure="crashed <here>")]
    picture = measured_bars("Milliseconds", [MeasuredGroup("a rival", bars)], [("batch 1", "#9ecae1")], "{:.1f}".format)
    root = ElementTree.fromstring(picture.standalone())
    texts = [text.text for text in root.iter("{http://www.w3.org/2000/svg}text")]
    assert {"Milliseconds", "a rival", "batch 1", "20.0", "crashed <here>"} <= set(texts)
    kinds = [node.attrib.get("class") for node in root.iter()]
    assert (kinds.count("bar"), kinds.count("spread"), kinds.count("key")) == (1, 1, 1)
